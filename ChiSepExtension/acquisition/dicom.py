"""DICOM in: what a folder of scanner files holds, and the multi-echo scan in it as a series.

>>> from ChiSepExtension.acquisition.dicom import examine, read_dicom
>>> print(examine("export"))                                            # doctest: +SKIP
>>> series = read_dicom("export")                                       # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, part, silent
from .dicom_classify import classify, fold_repetitions
from .dicom_headers import Foreign, ImageHeader, read_headers
from .dicom_image_type import MAGNITUDE, PHASE
from .dicom_pixels import in_threads
from .dicom_runs import TIMES_MISSING
from .dicom_scan import FIELD_MAP, GRADIENT_ECHO, OTHER, SPIN_ECHO, FoundScan
from .dicom_sort import sort_images
from .dicom_table import table
from .gradient_echo import GradientEchoSeries
from .spin_echo import SpinEchoSeries

Paths = str | os.PathLike | Iterable[str | os.PathLike]


@dataclass(frozen=True, eq=False)
class Acquisitions:
    """What was found among DICOM files. Prints as a table.

    Parameters
    ----------
    scans
        In the order of their series numbers.
    foreign
        Files that hold no MR image, by kind: {"not DICOM": 12, "structured report": 1}.
    unreadable
        (file, reason) of damaged files.
    remarks
        About the folder as a whole.
    images
        Headers of all MR images.
    """

    scans: tuple[FoundScan, ...]
    foreign: dict[str, int]
    unreadable: tuple[tuple[Path, str], ...] = ()
    remarks: tuple[str, ...] = ()
    images: tuple[ImageHeader, ...] = ()

    def __str__(self) -> str:
        return table(self)

    def __iter__(self):
        return iter(self.scans)

    def __len__(self) -> int:
        return len(self.scans)

    @property
    def usable(self) -> tuple[FoundScan, ...]:
        """Gradient-echo scans that can be used as they are."""
        return tuple(scan for scan in self.scans if scan.usable and scan.kind == GRADIENT_ECHO)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: without paths and without the patient."""
        return {
            "scans": [scan.to_dict() for scan in self.scans],
            "other_files": dict(self.foreign),
            "unreadable_files": len(self.unreadable),
            "remarks": list(self.remarks),
        }

    def choose(self, series: int | str | None = None, kind: str = GRADIENT_ECHO) -> FoundScan:
        """The one scan of a kind, or the one that ``series`` names.

        Parameters
        ----------
        series
            A series number, "#2" for the second scan of the list, a series UID, or a part of the description. Several
            numbers ("5,8") take the images of these series as one scan, whenever they say they were acquired.

        Raises
        ------
        InputError
            If there is none or more than one; the message lists what is there.
        """
        numbers = [] if series is None else str(series).replace(",", " ").split()
        if len(numbers) > 1 and all(number.isdigit() for number in numbers):
            return self._together({int(number) for number in numbers}, kind)
        if series is not None:
            named = [scan for scan in self.scans if _is_named(scan, str(series).strip())]
            of_kind = [scan for scan in named if scan.kind == kind]
            found = [scan for scan in of_kind if scan.usable] or of_kind or named
            if len(found) == 1:
                return found[0]
            count = "no scan" if not found else f"{len(found)} scans"
            raise InputError(
                f"There is {count} with series “{series}”.\n{self}",
                "Give a series number of the list, or #1, #2, … for its place in it.",
            )
        right = [scan for scan in self.scans if scan.kind == kind]
        usable = [scan for scan in right if scan.usable]
        if len(usable) == 1:
            return usable[0]
        if len(usable) > 1:
            flag = "--spin-echo-series" if kind == SPIN_ECHO else "--series"
            raise InputError(
                f"There are {len(usable)} {kind} scans that could be used.\n{self}", f"Choose one of them ({flag})."
            )
        if not right and kind == GRADIENT_ECHO:
            right = [scan for scan in self.scans if scan.kind == FIELD_MAP]
        if len(right) == 1:
            return right[0]
        raise InputError(f"There is no {kind} scan that can be used.\n{self}", _remedy(self, right))

    def _together(self, numbers: set[int], kind: str) -> FoundScan:
        """The images of several series as one scan."""
        images = [image for image in self.images if image.series_number in numbers]
        drafts, remarks = sort_images(images, by_time=False)
        scans = tuple(classify(draft, number) for number, draft in enumerate(drafts, start=1))
        return Acquisitions(scans, {}, (), tuple(remarks)).choose(kind=kind)

    def gradient_echo(self, series: int | str | None = None, **options: Any) -> GradientEchoSeries:
        """Read the one usable multi-echo GRE, or the one named; options as of `FoundScan.read`."""
        return self.choose(series).read(**options)

    def spin_echo(self, series: int | str | None = None, **options: Any) -> SpinEchoSeries:
        """Read the one multi-echo spin echo, or the one named; options as of `FoundScan.read_spin_echo`."""
        return self.choose(series, SPIN_ECHO).read_spin_echo(**options)


def examine(paths: Paths, *, progress: Progress = silent, cancel: CancelToken = NEVER) -> Acquisitions:
    """Find out what a folder, a file or a list of both holds; headers only, no pixels.

    Raises
    ------
    InputError
        If a path does not exist. Whatever the files hold is reported, not raised.
    """
    files = _files(paths)
    images: list[ImageHeader] = []
    foreign: Counter[str] = Counter()
    unreadable: list[tuple[Path, str]] = []
    for done, found in enumerate(in_threads(read_headers, files), start=1):
        cancel.check()
        if isinstance(found, Foreign):
            foreign[found.kind] += 1
            if found.kind == "unreadable":
                unreadable.append((found.path, found.reason))
        else:
            images += found
        if done % 16 == 0 or done == len(files):
            progress(done / len(files), "Reading DICOM headers")
    drafts, remarks = sort_images(images)
    cancel.check()
    scans = fold_repetitions([classify(draft, number) for number, draft in enumerate(drafts, start=1)])
    remarks += _apart_in_time(scans)
    return Acquisitions(scans, dict(sorted(foreign.items())), tuple(unreadable), tuple(remarks), tuple(images))


def read_dicom(
    paths: Paths,
    *,
    series: int | str | None = None,
    phase_scaling: str = "auto",
    echo_times: Sequence[float] | None = None,
    field_strength: float | None = None,
    manufacturer: str | None = None,
    keep_identity: bool = False,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> GradientEchoSeries:
    """Read the one usable multi-echo gradient-echo scan among DICOM files.

    Parameters
    ----------
    paths
        A folder (searched with all below it), a file, or a list of both; other files may lie among them.
    series
        Which scan, if there are several: see `Acquisitions.choose`.
    phase_scaling, echo_times, field_strength, manufacturer, keep_identity
        See `FoundScan.read`.

    Raises
    ------
    InputError
        If there is no such scan or more than one: the message lists what is there and what is wrong with it.
    """
    found = examine(paths, progress=part(progress, 0.0, 0.4), cancel=cancel)
    return found.gradient_echo(
        series,
        phase_scaling=phase_scaling,
        echo_times=echo_times,
        field_strength=field_strength,
        manufacturer=manufacturer,
        keep_identity=keep_identity,
        progress=part(progress, 0.4, 1.0),
        cancel=cancel,
    )


def _files(paths: Paths) -> list[Path]:
    given = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(p) for p in paths]
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            files += [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"There is no file or folder {path}.", "Check the path.")
    return sorted({file for file in files if file.is_file()})


def _apart_in_time(scans: Sequence[FoundScan]) -> list[str]:
    """Magnitude and phase that would go together but for the time at which they say they were acquired."""
    remarks = []
    alone = [scan for scan in scans if scan.kind == OTHER and scan.grid is not None and len(scan.parts) == 1]
    for magnitude in (scan for scan in alone if scan.parts == (MAGNITUDE,)):
        for phase in (scan for scan in alone if scan.parts == (PHASE,)):
            same = magnitude.study_uid == phase.study_uid and magnitude.grid.matches(phase.grid)
            timed = all(v.acquisition_time_s is not None for v in (*magnitude.volumes, *phase.volumes))
            if same and timed and len(magnitude.echo_times_s) == len(phase.echo_times_s) > 1:
                first, second = magnitude.series_numbers, phase.series_numbers
                numbers = ",".join(map(str, [*first, *second]))
                remarks.append(
                    f"Magnitude (#{magnitude.number}) and phase (#{phase.number}) lie on one grid but were acquired at "
                    f"different times. If they are one scan, choose both (--series {numbers})."
                )
    return remarks


def _is_named(scan: FoundScan, name: str) -> bool:
    if name.startswith("#"):
        return name[1:] == str(scan.number)
    if name.isdigit():
        return int(name) in scan.series_numbers
    return name in scan.series_uids or bool(name) and name.lower() in scan.description.lower()


def _remedy(found: Acquisitions, right: Sequence[FoundScan]) -> str:
    ambiguous = [problem.remedy for scan in right for problem in scan.problems if problem.code == TIMES_MISSING]
    if ambiguous:
        return ambiguous[0]
    if not found.scans:
        return "Point to the folder with the scanner's DICOM files; archives (.zip, .tar) have to be unpacked first."
    return "Export magnitude and phase of every echo of a multi-echo GRE from the scanner or the archive."
