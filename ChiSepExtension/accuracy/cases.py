"""The benchmark's cases: a head with known truth, and what the pipeline measures on it before it separates."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..geometry import Grid
from ..given_maps import GivenMaps
from ..options import Options
from ..phantom.head import Head, default_grid, make_head
from ..phantom.scanner import Acquisition, simulate_gradient_echo, simulate_r2_map
from ..progress import NEVER, CancelToken, Progress, part, silent
from ..run_state import RunState
from ..separation.select import field_confidence
from ..stages import find_brain, measure_field, measure_relaxation
from ..volume_io import atomic_path
from .regimes import PROCEDURAL, Conditions

#: "isolated" separates the true local field and relaxation rates; "end-to-end" what the pipeline makes of the images.
STAGES = ("isolated", "end-to-end")

#: Voxels kept around the brain.
_MARGIN = 10

#: Raised when the cases change, so that stored ones are made again.
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a method is given, (z, y, x): field in ppm, rates in s⁻¹, weight of any scale."""

    local_field_ppm: np.ndarray
    r2star_hz: np.ndarray
    r2prime_hz: np.ndarray
    mask: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, eq=False)
class Case:
    """Truth, (z, y, x), cut to the brain; susceptibilities in ppm, positive. ``inputs`` by stage."""

    name: str
    head: str
    conditions: Conditions
    grid: Grid
    brain: np.ndarray
    labels: np.ndarray
    lesion_labels: np.ndarray
    lesion_types: np.ndarray
    chi_para: np.ndarray
    chi_dia: np.ndarray
    inputs: dict[str, Inputs] = field(default_factory=dict)


def find_heads(anatomy: str | Path | None) -> dict[str, Path | None]:
    """Names of the benchmark's heads and their label maps: those held out of every training, and a procedural one."""
    from ..training.heads import held_out_label_maps

    files = [] if anatomy is None else held_out_label_maps(anatomy)
    return {path.name.removesuffix(".nii.gz"): path for path in files} | {PROCEDURAL: None}


def load_case(
    name: str,
    path: Path | None,
    conditions: Conditions,
    folder: Path,
    *,
    shape: tuple[int, int, int] | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> Case:
    """A case from disk, or made and written there.

    Parameters
    ----------
    name, path
        Head and its label map; None for the procedural head.
    folder
        For ``<case>.npz``; about 300 MB at 1 mm.
    shape
        Of the grid, for tests; otherwise it holds the head.
    """
    key = json.dumps([_VERSION, name, conditions.to_dict(), shape])
    stored = Path(folder) / f"{name}-{conditions.regime}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.npz"
    if not stored.is_file():
        arrays, grid = _make(path, conditions, shape, progress, cancel)
        with atomic_path(stored) as temporary:
            np.savez(temporary, matrix=grid.ijk_to_ras, **arrays)
    with np.load(stored, allow_pickle=False) as content:
        arrays = {key: content[key] for key in content.files}
    grid = Grid(arrays["brain"].shape, arrays.pop("matrix"))
    inputs = {}
    for stage in STAGES:
        maps = {key.partition(":")[2]: arrays.pop(key) for key in list(arrays) if key.startswith(stage + ":")}
        inputs[stage] = Inputs(**maps)
    return Case(f"{name}, {conditions.regime}", name, conditions, grid, **arrays, inputs=inputs)


def _make(
    path: Path | None,
    conditions: Conditions,
    shape: tuple[int, int, int] | None,
    progress: Progress,
    cancel: CancelToken,
) -> tuple[dict[str, np.ndarray], Grid]:
    head = _head(path, conditions, shape, part(progress, 0.0, 0.3), cancel)
    scan = simulate_gradient_echo(
        head,
        echo_times_s=conditions.echo_times_s,
        snr=conditions.snr,
        seed=conditions.seed,
        progress=part(progress, 0.3, 0.5),
        cancel=cancel,
    )
    r2_hz = simulate_r2_map(head, noise_hz=conditions.r2_noise_hz, bias=conditions.r2_bias, seed=conditions.seed)
    measured = _measure(scan, r2_hz, RunState(part(progress, 0.5, 1.0), cancel))
    brain = head.brain_mask
    true = Inputs(
        np.where(brain, scan.local_field_ppm, 0).astype(np.float32),
        np.where(brain, head.r2star_hz, 0).astype(np.float32),
        np.where(brain, head.r2prime_hz, 0).astype(np.float32),
        brain,
        brain.astype(np.float32),
    )
    arrays: dict[str, np.ndarray] = {
        "brain": brain,
        "labels": head.labels,
        "lesion_labels": head.lesion_labels,
        "lesion_types": head.lesion_types,
        "chi_para": head.chi_para,
        "chi_dia": head.chi_dia,
    }
    for stage, inputs in zip(STAGES, (true, measured)):
        arrays |= {f"{stage}:{name}": array for name, array in vars(inputs).items()}
    box = _box(brain | measured.mask)
    matrix = head.grid.ijk_to_ras.copy()
    matrix[:3, 3] = head.grid.index_to_ras(np.array([s.start for s in box], float))
    cut = {name: np.ascontiguousarray(array[box]) for name, array in arrays.items()}
    return cut, Grid(cut["brain"].shape, matrix)


def _head(
    path: Path | None,
    conditions: Conditions,
    shape: tuple[int, int, int] | None,
    progress: Progress,
    cancel: CancelToken,
) -> Head:
    anatomy = None
    if path is not None:
        from ..phantom.label_maps import LabelMapAnatomy

        anatomy = LabelMapAnatomy.read(path, seed=conditions.seed)
    angle = np.radians(conditions.tilt_deg)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    grid = default_grid(shape, conditions.spacing_mm, turn if conditions.tilt_deg else None)
    return make_head(
        grid,
        anatomy=anatomy,
        seed=conditions.seed,
        lesions=conditions.lesions,
        lesion_spread=conditions.lesion_spread,
        dr_para=conditions.dr_para,
        dr_dia=conditions.dr_dia,
        texture=conditions.texture,
        value_spread=conditions.value_spread,
        partial_volume=conditions.partial_volume,
        progress=progress,
        cancel=cancel,
    )


def _measure(scan: Acquisition, r2_hz: np.ndarray, state: RunState) -> Inputs:
    """What `pipeline.run` has in hand when it comes to the separation."""
    series, turn = scan.series.in_closest_ras()
    given = GivenMaps(r2_hz=turn.apply(r2_hz))
    options = Options()
    brain = find_brain(series, GivenMaps(), state)
    _, field_ppm, mask = measure_field(series, brain, options, GivenMaps(), state)
    r2star_hz, r2prime_hz = measure_relaxation(series, mask, options, given, state)
    weight = field_confidence(series.magnitude, series.echo_times_s)
    return Inputs(*(turn.invert(array) for array in (field_ppm, r2star_hz, r2prime_hz, mask, weight)))


def _box(inside: np.ndarray) -> tuple[slice, ...]:
    found = ndimage.find_objects(inside.astype(np.uint8))
    if not found:
        raise InputError("The head of a case has no brain on its grid.", "Choose a larger grid.")
    return tuple(slice(max(0, s.start - _MARGIN), min(n, s.stop + _MARGIN)) for s, n in zip(found[0], inside.shape))
