"""A gradient-echo series from image files: one 4-D file, or one file per echo, with or without sidecars."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..volume_io import read_volume
from .gradient_echo import GradientEchoSeries
from .phase_scaling import to_radians
from .sidecar import Sidecar, refuse_phase_difference

logger = logging.getLogger(__name__)


def read_images(
    magnitude: Sequence[str | Path],
    phase: Sequence[str | Path],
    *,
    echo_times: Sequence[float] | None = None,
    field_strength_t: float | None = None,
    phase_scaling: str = "auto",
) -> GradientEchoSeries:
    """Read magnitude and phase files into a validated series.

    Parameters
    ----------
    magnitude, phase
        One 4-D file each (echoes last), or one 3-D file per echo.
    echo_times
        In seconds (values above 1 are taken as ms, and this is said); None takes them from the sidecars.
    field_strength_t
        B0 in tesla; None takes it from the sidecars.
    phase_scaling
        "auto" or the name of a known span (see `phase_scaling`).

    Raises
    ------
    InputError
        For everything that does not fit together, with the remedy.
    """
    remarks: list[str] = []
    magnitude_files, phase_files = _paths(magnitude, "magnitude"), _paths(phase, "phase")
    for path in phase_files:
        refuse_phase_difference(path, Sidecar.beside(path))
    magnitude_echoes, grid = _stack(magnitude_files, "magnitude")
    phase_echoes, phase_grid = _stack(phase_files, "phase")
    if not phase_grid.matches(grid):
        raise InputError(
            f"Magnitude and phase lie on different grids: {grid.describe()} and {phase_grid.describe()}.",
            "Give magnitude and phase of one scan. Phase must not be resampled.",
        )
    if len(phase_echoes) == 1 and len(magnitude_echoes) == 2:
        raise InputError(
            "There are two magnitude images but one phase image: this looks like a field map (phase difference).",
            "χ-separation needs the phase of every echo of a multi-echo GRE.",
        )
    sidecars = [Sidecar.beside(path) for path in magnitude_files]
    phase_sidecars = [Sidecar.beside(path) for path in phase_files]
    times = _echo_times(echo_times, sidecars, phase_sidecars, len(magnitude_echoes), remarks)
    order = _file_order(times, magnitude_files, phase_files, given=echo_times is not None, remarks=remarks)
    if order is not None:
        times, magnitude_echoes, phase_echoes = times[order], magnitude_echoes[order], phase_echoes[order]
    magnitude_echoes = _unsigned(magnitude_echoes, remarks)
    if len(magnitude_echoes) == len(phase_echoes):
        _refuse_swapped(magnitude_echoes, phase_echoes)
    units = {s.stated_unit for s in phase_sidecars}
    radians, span = to_radians(
        phase_echoes, scaling=phase_scaling, stated_unit=units.pop() if len(units) == 1 else None
    )
    remarks.append(f"Phase read as {span.description}.")
    for remark in remarks:
        logger.info(remark)
    return GradientEchoSeries(
        magnitude_echoes,
        radians,
        times,
        _field_strength(field_strength_t, sidecars + phase_sidecars),
        grid,
        provenance={
            "files": _describe_files(magnitude_files, "magnitude") + _describe_files(phase_files, "phase"),
            "phase_scaling": span.name,
            "manufacturer": next((s.fields["Manufacturer"] for s in sidecars if "Manufacturer" in s.fields), None),
            "remarks": remarks,
        },
    ).validate()


def echo_times_in_seconds(values: Sequence[float], remarks: list[str] | None = None) -> np.ndarray:
    """Echo times in s; a value above 1 means that all are in ms, which is added to ``remarks``.

    No gradient echo is read out after 1 s, and none before 1 ms is written as a number above 1 in any other unit.
    """
    times = np.asarray(list(values), dtype=np.float64).ravel()
    if times.size and np.nanmax(times) > 1:
        shown = ", ".join(f"{t:g}" for t in times)
        if remarks is not None:
            remarks.append(f"Echo times {shown} are above 1 and were taken as milliseconds.")
        times = times / 1e3
    return times


def _paths(files: Sequence[str | Path] | str | Path, kind: str) -> list[Path]:
    if isinstance(files, (str, Path)):
        files = [files]
    paths = [Path(f) for f in files]
    if not paths:
        raise InputError(f"No {kind} file was given.", "Give one 4-D file or one file per echo.")
    if len(set(paths)) != len(paths):
        raise InputError(f"A {kind} file was given twice.", "Give every echo once.")
    return paths


def _stack(paths: list[Path], kind: str) -> tuple[np.ndarray, Grid]:
    """(echo, z, y, x) in the files' own number type, and the grid they share."""
    first, grid = read_volume(paths[0])
    if len(paths) == 1:
        return (first if first.ndim == 4 else first[np.newaxis]), grid
    stack: list[np.ndarray] = []
    for path in paths:
        array, other = (first, grid) if path is paths[0] else read_volume(path)
        if array.ndim == 4 and array.shape[0] == 1:
            array = array[0]
        if array.ndim != 3:
            raise InputError(
                f"{path} is 4-D with {array.shape[0]} volumes, but several {kind} files were given.",
                "Give one 4-D file, or one 3-D file per echo.",
            )
        if not other.matches(grid):
            raise InputError(
                f"{path} lies on another grid ({other.describe()}) than {paths[0].name} ({grid.describe()}).",
                "Give the echoes of one scan.",
            )
        stack.append(array)
    return np.stack(stack), grid


def _echo_times(
    given: Sequence[float] | None,
    magnitude: list[Sidecar],
    phase: list[Sidecar],
    echoes: int,
    remarks: list[str],
) -> np.ndarray:
    if given is not None:
        return echo_times_in_seconds(given, remarks)
    found = _sidecar_times(magnitude), _sidecar_times(phase)
    times = found[0] if found[0] is not None else found[1]
    if times is None:
        raise InputError(
            f"The echo times of the {echoes} echoes are not known: no sidecar states them.",
            "Give them (--echo-times 0.005 0.011 0.017, in seconds), or put the JSON sidecars beside the images.",
        )
    both = found[0] is not None and found[1] is not None
    if both and (len(found[0]) != len(found[1]) or np.abs(np.subtract(*found)).max() > 1e-5):
        raise InputError(
            "Magnitude and phase sidecars state different echo times: "
            f"{', '.join(f'{t:g}' for t in found[0])} and {', '.join(f'{t:g}' for t in found[1])}.",
            "Give magnitude and phase in the same order of echoes.",
        )
    return echo_times_in_seconds(times, remarks)


def _sidecar_times(sidecars: list[Sidecar]) -> list[float] | None:
    lists = [s.echo_times for s in sidecars]
    if any(values is None for values in lists):
        return None
    return [t for values in lists for t in values]


def _file_order(
    times: np.ndarray, magnitude: list[Path], phase: list[Path], *, given: bool, remarks: list[str]
) -> np.ndarray | None:
    """Order by echo time where each file's own sidecar states it; times that the user typed are never reordered."""
    one_file_each = len(magnitude) == len(phase) == len(times) and len(times) > 1
    if given or not one_file_each or (np.diff(times) > 0).all():
        return None
    remarks.append("The files were sorted by the echo times in their sidecars.")
    return np.argsort(times, kind="stable")


def _unsigned(magnitude: np.ndarray, remarks: list[str]) -> np.ndarray:
    """Undo 16-bit unsigned numbers stored as signed: whatever is brighter than 32767 has turned negative.

    Only where the positive values reach the end of the signed range too, which a real-part image does not.
    """
    if magnitude.dtype == np.int16 and magnitude.min() < 0 and magnitude.max() > 0.9 * 32767:
        remarks.append("Negative magnitude values were 16-bit unsigned numbers stored as signed; 65536 was added.")
        return magnitude.view(np.uint16)
    return magnitude


def _refuse_swapped(magnitude: np.ndarray, phase: np.ndarray) -> None:
    if magnitude.min() < 0 <= phase.min():
        raise InputError(
            "The magnitude has negative values and the phase has none: they seem to be swapped.",
            "Give magnitude files as magnitude and phase files as phase.",
        )


def _field_strength(given: float | None, sidecars: list[Sidecar]) -> float:
    if given is not None:
        return given
    values = {round(s.field_strength_t, 3) for s in sidecars if s.field_strength_t}
    if not values:
        raise InputError(
            "The field strength is not known: no sidecar states MagneticFieldStrength.",
            "Give it in tesla (--field-strength 3).",
        )
    if max(values) - min(values) > 0.01:
        raise InputError(f"The sidecars state different field strengths: {sorted(values)} T.", "Give one scan.")
    return next(s.field_strength_t for s in sidecars if s.field_strength_t)


def _describe_files(paths: list[Path], role: str) -> list[dict[str, Any]]:
    return [{"role": role, "name": path.name, "sha256": file_sha256(path)} for path in paths]


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
