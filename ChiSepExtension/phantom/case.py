"""One call from a seed to a folder of files: head, scan, BIDS data set and truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..progress import NEVER, CancelToken, Progress, part, silent
from .anatomy import AnatomyModel
from .files import WrittenCase, write_bids
from .head import DEFAULT_DR, default_grid, make_head
from .scanner import DEFAULT_ECHO_TIMES_S, simulate_gradient_echo, simulate_r2_map


def simulate_case(
    folder: str | Path,
    *,
    shape: tuple[int, int, int] | None = None,
    spacing_mm: float | tuple[float, float, float] = 1.2,
    rotation: np.ndarray | None = None,
    anatomy: AnatomyModel | None = None,
    seed: int = 0,
    lesions: int = 24,
    echo_times_s: tuple[float, ...] | list[float] = DEFAULT_ECHO_TIMES_S,
    field_strength_t: float = 3.0,
    snr: float = 100.0,
    r2_noise_hz: float = 0.8,
    r2_bias: float = 0.0,
    dr_para: float = DEFAULT_DR,
    dr_dia: float = DEFAULT_DR,
    scaling: str = "siemens",
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> WrittenCase:
    """Make a head, scan it, and write what a scanner would give, with the truth under ``derivatives/truth``.

    Parameters
    ----------
    folder
        Of the BIDS data set; made if it does not exist.
    shape, spacing_mm, rotation
        Of the grid, see `default_grid`: array order (z, y, x), mm, 3x3 rotation of the ijk axes.
    anatomy
        Shape of the head, such as `label_maps.LabelMapAnatomy`; None for the procedural one of the seed.
    seed
        Of anatomy, lesions, coil and noise.
    lesions
        Number of MS lesions; 0 for a healthy head.
    snr
        Peak signal-to-noise ratio of the first echo.
    r2_noise_hz, r2_bias
        Error of the R2 map, see `simulate_r2_map`.
    scaling
        How phase is stored, one of `SCALINGS`.
    """
    head = make_head(
        default_grid(shape, spacing_mm, rotation),
        anatomy=anatomy,
        seed=seed,
        lesions=lesions,
        dr_para=dr_para,
        dr_dia=dr_dia,
        progress=part(progress, 0.0, 0.45),
        cancel=cancel,
    )
    acquisition = simulate_gradient_echo(
        head,
        echo_times_s=echo_times_s,
        field_strength_t=field_strength_t,
        snr=snr,
        seed=seed,
        progress=part(progress, 0.45, 0.75),
        cancel=cancel,
    )
    cancel.check()
    progress(0.75, "Writing files")
    r2_map = simulate_r2_map(head, noise_hz=r2_noise_hz, bias=r2_bias, seed=seed)
    case = write_bids(folder, acquisition, head, scaling=scaling, r2_map=r2_map)
    progress(1.0, "Simulated acquisition written")
    return case
