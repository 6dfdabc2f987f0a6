"""What was measured: series of echoes with their times, field strength and place in space, and how to read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .gradient_echo import GradientEchoSeries

__all__ = ["GradientEchoSeries", "read_gradient_echo"]


def read_gradient_echo(
    folder: str | Path | None = None,
    *,
    magnitude: Sequence[str | Path] = (),
    phase: Sequence[str | Path] = (),
    echo_times: Sequence[float] | None = None,
    field_strength: float | None = None,
    phase_scaling: str = "auto",
) -> GradientEchoSeries:
    """Read a multi-echo gradient-echo scan.

    Parameters
    ----------
    folder
        A BIDS folder (``part-mag``, ``part-phase``) or a folder of NIfTI files with sidecars, holding one scan; or
        give the files themselves:
    magnitude, phase
        One 4-D file each, echoes last, or one file per echo.
    echo_times
        In seconds; None takes them from the JSON sidecars. Values above 1 are taken as ms, and this is said.
    field_strength
        In tesla; None takes it from the sidecars.
    phase_scaling
        "auto", or the name of a span in `phase_scaling.KNOWN_SPANS`.

    Returns
    -------
    GradientEchoSeries
        Validated, phase in radians.

    Raises
    ------
    InputError
        With the reason and the remedy.
    """
    from ..errors import InputError
    from .folder import find_echoes
    from .images import read_images

    if folder is not None:
        if magnitude or phase:
            raise InputError("A folder and files were given.", "Give one or the other.")
        found = find_echoes(folder)
        magnitude, phase = found.magnitude, found.phase
    if not magnitude or not phase:
        raise InputError("Magnitude and phase are both needed.", "Give a folder, or files of both.")
    return read_images(
        magnitude,
        phase,
        echo_times=echo_times,
        field_strength_t=field_strength,
        phase_scaling=phase_scaling,
    )
