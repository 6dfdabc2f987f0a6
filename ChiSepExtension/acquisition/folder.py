"""Which files of a folder belong together: BIDS entities first, JSON sidecars where the names say nothing."""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .sidecar import Sidecar, refuse_phase_difference, without_suffix

_ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9]+)")
_ECHO_NAME = re.compile(r"_e(\d+)(_ph)?([a-z]?)$")


@dataclass
class EchoFiles:
    """Magnitude and phase files of one scan, each sorted by echo."""

    name: str
    magnitude: list[Path] = field(default_factory=list)
    phase: list[Path] = field(default_factory=list)


def find_echoes(folder: str | Path) -> EchoFiles:
    """Find the one multi-echo magnitude and phase scan in a folder (BIDS data set, subject, session or plain).

    Raises
    ------
    InputError
        If there is no such scan, or more than one: the message names them.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", "Check the path.")
    scans = list_scans(folder)
    complete = [scan for scan in scans if scan.magnitude and scan.phase]
    if not complete:
        raise InputError(*_nothing_found(folder, scans))
    if len(complete) > 1:
        names = "; ".join(sorted(scan.name for scan in complete))
        raise InputError(
            f"{folder} holds {len(complete)} multi-echo scans: {names}.",
            "Point to the folder of one of them, or name its files (--magnitude, --phase).",
        )
    return complete[0]


def holds_only_dicom(folder: str | Path) -> bool:
    """Whether a folder holds DICOM files and no NIfTI scan beside them."""
    folder = Path(folder)
    return folder.is_dir() and not list_scans(folder) and _first_dicom(folder) is not None


def is_dicom(path: str | Path) -> bool:
    """Whether a file begins as DICOM files do, whatever its name."""
    with contextlib.suppress(OSError), Path(path).open("rb") as stream:
        start = stream.read(132)
        # The second form is that of exports without the 128 bytes of preamble.
        return start[128:] == b"DICM" or (start[:2] == b"\x08\x00" and start[3:4] == b"\x00")
    return False


def _first_dicom(folder: Path) -> Path | None:
    """A DICOM file below the folder."""
    for place, _, names in os.walk(folder):
        for path in (Path(place) / name for name in sorted(names)):
            if is_dicom(path):
                return path
    return None


def list_scans(folder: Path) -> list[EchoFiles]:
    """Every group of magnitude or phase files below a folder, derivatives and hidden folders left out."""
    groups: dict[str, dict[str, list[tuple[float, Path]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(p for pattern in ("*.nii", "*.nii.gz") for p in folder.rglob(pattern)):
        inside = path.relative_to(folder).parts[:-1]
        # Names that begin with a dot are not data; "._name" is what a Mac leaves on a stick.
        if path.name.startswith(".") or any(
            part.startswith(".") or part in ("derivatives", "sourcedata") for part in inside
        ):
            continue
        sidecar = Sidecar.beside(path)
        part = _part(path, sidecar)
        if part is None:
            continue
        if part == "phase":
            try:
                refuse_phase_difference(path, sidecar)
            except InputError:
                part = "phase-difference"
        group, echo = _scan_and_echo(path, sidecar)
        groups[f"{'/'.join(inside)}/{group}".lstrip("/")][part].append((echo, path))
    scans = []
    for name, parts in sorted(groups.items()):
        ordered = {part: [path for _, path in sorted(files)] for part, files in parts.items()}
        if set(parts) == {"phase-difference"} or (ordered.get("phase-difference") and not ordered.get("phase")):
            scans.append(EchoFiles(f"{name} (phase difference)"))
            continue
        scans.append(EchoFiles(name, ordered.get("mag", []), ordered.get("phase", [])))
    return scans


def _part(path: Path, sidecar: Sidecar) -> str | None:
    stem = without_suffix(path).name
    entities = dict(_ENTITY.findall(stem))
    if "part" in entities:
        return {"mag": "mag", "phase": "phase"}.get(entities["part"])
    stated = sidecar.part()
    if stated:
        return stated
    if re.search(r"(_ph|_phase)\d*$", stem, re.IGNORECASE) or re.match(r"ph(ase)?(_|\d|$)", stem, re.IGNORECASE):
        return "phase"
    if re.search(r"(_mag|_magnitude)\d*$", stem, re.IGNORECASE) or re.match(r"mag(_|\d|$|n)", stem, re.IGNORECASE):
        return "mag"
    if re.search(r"_e\d+$", stem):
        return "mag"
    return None


def _scan_and_echo(path: Path, sidecar: Sidecar) -> tuple[str, float]:
    """Name of the scan (the file name without echo and part) and a key that sorts its echoes."""
    stem = without_suffix(path).name
    entities = _ENTITY.findall(stem)
    by_name = _ECHO_NAME.search(stem)
    echo = next((float(value) for key, value in entities if key == "echo" and value.isdigit()), None)
    if echo is None and by_name:
        echo = float(by_name.group(1))
    times = sidecar.echo_times
    if times and len(times) == 1:
        echo = times[0]
    name = re.sub(r"_?(echo|part)-[a-zA-Z0-9]+", "", stem)
    name = _ECHO_NAME.sub("", name)
    name = re.sub(r"_?(phase|magnitude|mag|ph)(?=_|\d|$)", "", name, flags=re.IGNORECASE)
    name = re.sub(r"_?\d+$", "", name) if echo is None else name
    if echo is None:
        number = re.search(r"(\d+)$", stem)
        echo = float(number.group(1)) if number else 0.0
    return name.strip("_") or "scan", echo


def _nothing_found(folder: Path, scans: list[EchoFiles]) -> tuple[str, str]:
    if any("phase difference" in scan.name for scan in scans):
        return (
            f"{folder} holds a phase-difference image (a field map), not the phase of every echo.",
            "χ-separation needs magnitude and phase of every echo of a multi-echo GRE.",
        )
    if scans and _first_dicom(folder) is not None:
        return (
            f"{folder} holds NIfTI images without a complete scan, and DICOM files.",
            "Read the DICOM files alone (--dicom), or complete the NIfTI scan.",
        )
    found = [f"{s.name}: {len(s.magnitude)} magnitude, {len(s.phase)} phase" for s in scans]
    seen = f" Found {'; '.join(found)}." if found else ""
    return (
        f"{folder} holds no multi-echo scan with magnitude and phase.{seen}",
        "Files are recognised by BIDS names (echo-1_part-phase), by ImageType in their JSON sidecar, "
        "or name them (--magnitude, --phase).",
    )
