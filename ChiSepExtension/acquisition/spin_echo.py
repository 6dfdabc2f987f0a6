"""What a multi-echo spin-echo scan measured, and how it is read: NIfTI files with sidecars, or a BIDS folder."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from .folder import holds_only_dicom, is_dicom
from .images import _describe_files, _sidecar_times, _stack, _unsigned, echo_times_in_seconds
from .sidecar import Sidecar, without_suffix

_ECHO = re.compile(r"_?echo-\d+|_e\d+$")

#: No refocusing pulse is nominally below this, no excitation pulse of a spin echo above: many sidecars state the
#: excitation in ``FlipAngle`` (90), others the refocusing pulse (180, 160, 120).
_LEAST_REFOCUSING_DEG = 95.0


@dataclass(frozen=True, eq=False)
class SpinEchoSeries:
    """Magnitude of a multi-echo spin-echo scan.

    Parameters
    ----------
    magnitude
        (echo, z, y, x) float32, arbitrary unit, one scale for all echoes, ≥ 0.
    echo_times_s
        (echo,) in seconds, ascending.
    grid
        Of one echo; not that of the gradient echo.
    refocusing_deg
        Nominal refocusing flip angle; None if it is not known.
    provenance
        Where the data came from, JSON-able.
    """

    magnitude: np.ndarray
    echo_times_s: np.ndarray
    grid: Grid
    refocusing_deg: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "magnitude", np.asarray(self.magnitude, np.float32))
        object.__setattr__(self, "echo_times_s", np.asarray(self.echo_times_s, np.float64).ravel())

    @property
    def number_of_echoes(self) -> int:
        return int(self.magnitude.shape[0])

    @property
    def is_echo_train(self) -> bool:
        """True if the echoes lie at 1, 2, 3 … times the first echo time, as those of one CPMG train do."""
        times = self.echo_times_s
        return bool(np.abs(times / times[0] - np.arange(1, len(times) + 1)).max() <= 0.02)

    def validate(self) -> SpinEchoSeries:
        """Return self, or raise `InputError` with the reason and the remedy."""
        magnitude, times = self.magnitude, self.echo_times_s
        if magnitude.ndim != 4 or magnitude.shape[1:] != self.grid.shape:
            raise InputError(
                f"The spin-echo magnitude {magnitude.shape} does not lie on its grid {self.grid.shape}.",
                "Give (echo, z, y, x) with the grid of one echo.",
            )
        if len(times) != len(magnitude):
            raise InputError(
                f"There are {len(magnitude)} spin echoes but {len(times)} echo times.",
                "Give one echo time per echo, in the order of the images.",
            )
        if len(times) < 2:
            raise InputError(
                "There is only one spin echo: R2 cannot be told from it.",
                "Give all echoes of a multi-echo spin-echo scan, or leave the spin echo out.",
            )
        shown = ", ".join(f"{1e3 * t:g}" for t in times)
        if not np.isfinite(times).all() or times.min() <= 0 or (np.diff(times) <= 1e-6).any() or times.max() > 2:
            raise InputError(f"The spin-echo times ({shown} ms) must ascend from above 0.", "Give them in seconds.")
        if not np.isfinite(magnitude).all() or magnitude.min() < 0:
            raise InputError(
                "The spin-echo magnitude holds negative values, or values that are not numbers.",
                "Were phase or real images given as magnitude?",
            )
        for n, echo in enumerate(magnitude):
            if not echo.any():
                raise InputError(f"Spin echo {n + 1} is empty (all zero).", "Check that file or leave out that echo.")
        angle = self.refocusing_deg
        if angle is not None and not 20 <= angle <= 220:
            raise InputError(f"A refocusing flip angle of {angle:g}° is not plausible.", "Give it in degrees.")
        return self


def read_spin_echo(
    source: str | Path | Sequence[str | Path],
    *,
    echo_times: Sequence[float] | None = None,
    refocusing_deg: float | None = None,
    series: int | str | None = None,
) -> SpinEchoSeries:
    """Read a multi-echo spin-echo scan.

    Parameters
    ----------
    source
        A folder with one such scan (BIDS ``_MESE``, files that differ in ``echo-N`` only, or DICOM files), one 4-D
        file with the echoes last, one file per echo, or DICOM files and folders of them.
    echo_times
        In seconds; values above 2 are taken as ms, and this is said. None takes them from the sidecars.
    refocusing_deg
        Nominal refocusing flip angle; None takes ``RefocusingFlipAngle``, or ``FlipAngle`` above 95°, from the
        sidecars. A ``FlipAngle`` of up to 95° is the excitation's and says nothing about it.
    series
        Which scan of DICOM files, see `dicom.Acquisitions.choose`.

    Raises
    ------
    InputError
        With the reason and the remedy.
    """
    given = [Path(source)] if isinstance(source, (str, Path)) else [Path(path) for path in source]
    if given and all(is_dicom(path) or holds_only_dicom(path) for path in given):
        from .dicom import examine

        read = examine(given).spin_echo(series, echo_times=echo_times)
        return read if refocusing_deg is None else replace(read, refocusing_deg=refocusing_deg).validate()
    if series is not None:
        raise InputError(
            "A spin-echo series was chosen, but there are no DICOM files.", "Choose a series of DICOM files only."
        )
    if isinstance(source, (str, Path)):
        source = _files_in(Path(source)) if Path(source).is_dir() else [source]
    paths = [Path(path) for path in source]
    if not paths:
        raise InputError("No spin-echo file was given.", "Give a folder, one 4-D file or one file per echo.")
    remarks: list[str] = []
    sidecars = [Sidecar.beside(path) for path in paths]
    if echo_times is None:
        times = _sidecar_times(sidecars)
        if times is None:
            raise InputError(
                "The spin-echo times are not known: the sidecars do not state EchoTime.",
                "Give them in seconds, in the order of the echoes.",
            )
    else:
        times = list(echo_times)
    times = _in_seconds(times, remarks)
    magnitude, grid = _stack(paths, "spin-echo")
    if len(times) == len(magnitude) and (np.diff(times) < 0).any() and echo_times is None:
        order = np.argsort(times, kind="stable")
        times, magnitude = times[order], magnitude[order]
        remarks.append("The spin echoes were sorted by the echo times in their sidecars.")
    if refocusing_deg is None:
        refocusing_deg = _refocusing(sidecars)
    provenance = {"files": _describe_files(paths, "spin echo"), "remarks": remarks}
    return SpinEchoSeries(_unsigned(magnitude, remarks), times, grid, refocusing_deg, provenance).validate()


def _in_seconds(times: Sequence[float], remarks: list[str]) -> np.ndarray:
    """No spin echo of the brain is read out after 2 s, none before 2 ms: larger numbers are milliseconds."""
    values = np.asarray(times, np.float64).ravel()
    if values.size and 1 < np.nanmax(values) <= 2:
        return values
    return echo_times_in_seconds(values, remarks)


def _refocusing(sidecars: Sequence[Sidecar]) -> float | None:
    for sidecar in sidecars:
        stated = sidecar.number("RefocusingFlipAngle")
        if stated is None:
            stated = sidecar.number("FlipAngle")
            stated = stated if stated is not None and stated > _LEAST_REFOCUSING_DEG else None
        if stated is not None:
            return stated
    return None


def _files_in(folder: Path) -> list[Path]:
    """The files of the one multi-echo spin echo below a folder; ``_MESE`` files if there are any."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(p for pattern in ("*.nii", "*.nii.gz") for p in folder.rglob(pattern)):
        inside = path.relative_to(folder).parts[:-1]
        if any(part.startswith(".") or part in ("derivatives", "sourcedata") for part in (*inside, path.name)):
            continue
        stem = without_suffix(path).name
        if "part-phase" in stem or stem.endswith(("_MEGRE", "_ph")) or Sidecar.beside(path).part() == "phase":
            continue
        groups["/".join((*inside, _ECHO.sub("", stem)))].append(path)
    named = {name: files for name, files in groups.items() if name.endswith("_MESE")}
    found = named or {
        name: files
        for name, files in groups.items()
        if len(files) > 1 or len(Sidecar.beside(files[0]).echo_times or ()) > 1
    }
    if len(found) != 1:
        listed = "; ".join(sorted(found)) or "none"
        raise InputError(
            f"{folder} holds {len(found)} multi-echo spin-echo scans ({listed}).",
            "Point to the folder of one, or give its files.",
        )
    files = next(iter(found.values()))
    return sorted(files, key=lambda path: (Sidecar.beside(path).echo_times or [0.0])[0])
