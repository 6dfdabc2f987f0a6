"""Scans among DICOM files: what the DICOM browser can offer of them, and the sequence nodes they become."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..acquisition.dicom import examine
from ..acquisition.dicom_image_type import MAGNITUDE, PHASE
from ..acquisition.dicom_pixels import pixel_problems
from ..acquisition.dicom_scan import COMPUTED, FIELD_MAP, GRADIENT_ECHO, FoundScan
from ..errors import ChiSepError, InputError
from ..geometry import Grid
from .echoes import PARTNER_PHASE, SOURCE, echo_sequence
from .loading import LoadedEchoes, format_echo_times
from .volumes import Code, set_array, set_meaning

logger = logging.getLogger(__name__)

#: Slicer's plugin for plain volumes, which stacks all echoes of a series, offers 0.5.
READY, FIELD_MAP_OFFER, PARTS_OFFER, REFUSED = 1.0, 0.9, 0.8, 0.2
#: Attribute that the DICOM plugins of Slicer put on what they load, and that its export reads.
INSTANCE_UIDS = "DICOM.instanceUIDs"
SIGNAL = Code("110852", "DCM", "MR signal intensity")
NO_UNITS = Code("1", "UCUM", "no units")
RADIANS = Code("rad", "UCUM", "rad")


@dataclass(frozen=True, eq=False)
class Offer:
    """One line of the DICOM browser.

    Parameters
    ----------
    name, tooltip, warning
        For people; ``warning`` is empty if there is none.
    files
        All files of the scan; the first one tells the browser which series the offer is for.
    confidence
        0..1; the browser checks the offer with the highest one of each series.
    leads
        False for the offers that hold further series of a scan back from being loaded as something else: whoever
        loads one of these gets the scan, unless it is there already.
    """

    name: str
    tooltip: str
    warning: str
    files: tuple[str, ...]
    confidence: float
    scan: FoundScan
    leads: bool = True


@dataclass(frozen=True, eq=False)
class LoadedPart:
    """A node that was made of one part of a scan (magnitude, phase, …) and the files it came from."""

    role: str
    node: Any
    files: tuple[str, ...]


def find_offers(file_lists: Iterable[Sequence[str]]) -> list[Offer]:
    """What can be offered of files, given as one list per series. Reads headers only and never raises.

    Scans with one volume in all are left to Slicer's own plugin.
    """
    files = [Path(file) for files in file_lists for file in files]
    try:
        scans = examine([file for file in files if file.is_file()]).scans
    except ChiSepError:
        return []
    return [offer for scan in scans for offer in _offers(scan)]


def load_scan(scene, scan: FoundScan, *, name: str = "") -> list[LoadedPart]:
    """Load a scan: one sequence node per part, with echo times; a part with one volume becomes a volume node.

    Of a multi-echo GRE, phase is in radians, paramagnetic-positive, and the magnitude names it as its partner, so that
    a run can start at once. Parts of other scans, and phase whose scaling is not known, keep the scanner's numbers.
    Nodes are called ``name``, or as the series where it is empty, and the part.

    Raises
    ------
    InputError
        If the slices make no volumes, or pixels cannot be decoded.
    """
    if scan.kind == GRADIENT_ECHO and not _unmet(scan):
        try:
            return _load_gradient_echo(scene, scan, name=name)
        except InputError as error:
            if PHASE not in scan.parts:
                raise
            logger.warning("Phase is loaded with the numbers of the scanner: %s", error)
    arrays, grid, _ = scan.read_parts()
    parts = {role: _load_part(scene, scan, role, echoes, grid, name) for role, echoes in arrays.items()}
    if {MAGNITUDE, PHASE} <= set(parts):
        parts[MAGNITUDE].node.SetNodeReferenceID(PARTNER_PHASE, parts[PHASE].node.GetID())
    return list(parts.values())


def load_dicom_folder(
    scene,
    folder: str | Path,
    *,
    echo_times_s: Sequence[float] | None = None,
    field_strength_t: float | None = None,
) -> LoadedEchoes:
    """Load the one multi-echo GRE of a folder of DICOM files; see `loading.load_folder`."""
    scan = examine(folder).choose()
    parts = {part.role: part.node for part in _load_gradient_echo(scene, scan, echo_times_s, field_strength_t)}
    magnitude = parts[MAGNITUDE]
    source = json.loads(magnitude.GetAttribute(SOURCE) or "{}")
    strength = scan.field_strength_t or field_strength_t or 3.0
    times = list(scan.echo_times_s or echo_times_s or ())
    return LoadedEchoes(magnitude, parts[PHASE], times, strength, list(source.get("remarks", [])))


def is_loaded(scene, scan: FoundScan) -> bool:
    """Whether every image of the scan is in a node of the scene that was loaded from DICOM."""
    there: set[str] = set()
    for index in range(scene.GetNumberOfNodes()):
        there.update((scene.GetNthNode(index).GetAttribute(INSTANCE_UIDS) or "").split())
    return {image.sop_uid for image in scan.images} <= there


def scan_name(scan: FoundScan) -> str:
    """ "5: gre_5echo" as Slicer names a series, or the title where the header has no description."""
    number = f"{scan.series_numbers[0]}: " if scan.series_numbers else ""
    first = scan.description.split(", ")[0]
    return f"{number}{first or scan.title}"


def _offers(scan: FoundScan) -> list[Offer]:
    if scan.kind == COMPUTED or len(scan.volumes) < 2:
        return []
    confidence = _confidence(scan)
    warning = " ".join(f"{p.message} {p.remedy}".strip() for p in scan.problems)
    title = f"{scan_name(scan)}: {scan.title}" if scan.description else scan_name(scan)
    if confidence == REFUSED:
        title = f"{title}, cannot be loaded"
    series: dict[str, list[str]] = {}
    for image in sorted(scan.images, key=lambda i: (i.part != MAGNITUDE, i.series_number or 0)):
        series.setdefault(image.series_uid, []).append(str(image.path))
    lists = [list(dict.fromkeys(files)) for files in series.values()]
    offers = []
    for n, own in enumerate(lists):
        others = [file for other in lists if other is not own for file in other]
        name = title if n == 0 else f"{title} (continued)"
        offers.append(Offer(name, _tooltip(scan), warning, (*own, *others), confidence, scan, n == 0))
    return offers


def _confidence(scan: FoundScan) -> float:
    grid = scan.grid
    on_one_grid = grid is not None and all(v.grid is not None and v.grid.matches(grid) for v in scan.volumes)
    if not on_one_grid or pixel_problems(scan.volumes) or any(v.part == "contradictory" for v in scan.volumes):
        return REFUSED
    if scan.usable or (scan.kind == GRADIENT_ECHO and not _unmet(scan)):
        return READY
    return FIELD_MAP_OFFER if scan.kind == FIELD_MAP else PARTS_OFFER


def _unmet(scan: FoundScan) -> bool:
    """Whether something is wrong beyond a field strength that the panel asks for anyway."""
    return any(problem.code != "field-strength" for problem in scan.problems)


def _tooltip(scan: FoundScan) -> str:
    lines = [scan.title]
    if scan.echo_times_s:
        lines.append(f"Echo times: {format_echo_times(scan.echo_times_s)} ms")
    if scan.grid is not None:
        lines.append(scan.grid.describe())
    field = scan.field_strength_t
    lines.append(", ".join(filter(None, (scan.vendor, f"{field:.3g} T" if field else ""))))
    return "\n".join([line for line in lines if line] + list(scan.remarks))


def _load_gradient_echo(
    scene,
    scan: FoundScan,
    echo_times_s: Sequence[float] | None = None,
    field_strength_t: float | None = None,
    name: str = "",
) -> list[LoadedPart]:
    known = scan.field_strength_t is not None and not any(p.code == "field-strength" for p in scan.problems)
    series = scan.read(
        echo_times=None if scan.echo_times_s else echo_times_s,
        field_strength=None if known else (field_strength_t or 3.0),
    )
    if not known:
        remark = f"The headers do not clearly state the field strength; {series.field_strength_t:g} T was taken."
        series.provenance["remarks"] = [*series.provenance.get("remarks", []), remark]
    parts = []
    for role, quantity, unit in ((MAGNITUDE, SIGNAL, NO_UNITS), (PHASE, None, RADIANS)):
        node = echo_sequence(
            scene,
            f"{name or scan_name(scan)} {role}",
            getattr(series, role),
            series.grid,
            series.echo_times_s,
            field_strength_t=series.field_strength_t if known or field_strength_t else None,
            phase_scaling="radians" if role == PHASE else None,
            source=series.provenance if role == MAGNITUDE else None,
        )
        for n in range(node.GetNumberOfDataNodes()):
            set_meaning(node.GetNthDataNode(n), quantity, unit)
        parts.append(_part(scan, role, node))
    parts[0].node.SetNodeReferenceID(PARTNER_PHASE, parts[1].node.GetID())
    return parts


def _load_part(scene, scan: FoundScan, role: str, echoes: np.ndarray, grid: Grid, name: str = "") -> LoadedPart:
    name = f"{name or scan_name(scan)} {role}"
    if len(echoes) == 1:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
        set_array(node, echoes[0], grid)
        node.CreateDefaultDisplayNodes()
        volumes = [node]
    else:
        times = [volume.echo_time_s for volume in scan.volumes_of(role)]
        shown = {f"{1e3 * t:.4f}" for t in times if t is not None}
        node = echo_sequence(
            scene,
            name,
            echoes,
            grid,
            times if len(shown) == len(times) else None,
            field_strength_t=scan.field_strength_t,
            source=scan.provenance() if role == MAGNITUDE else None,
        )
        volumes = [node.GetNthDataNode(n) for n in range(node.GetNumberOfDataNodes())]
    if role == MAGNITUDE:
        for volume in volumes:
            set_meaning(volume, SIGNAL, NO_UNITS)
    return _part(scan, role, node)


def _part(scan: FoundScan, role: str, node: Any) -> LoadedPart:
    """Note on a node which images it holds; parts computed from real and imaginary images hold both."""
    images = [image for volume in scan.volumes_of(role) for image in volume.images] or scan.images
    node.SetAttribute(INSTANCE_UIDS, " ".join(dict.fromkeys(image.sop_uid for image in images)))
    return LoadedPart(role, node, tuple(dict.fromkeys(str(image.path) for image in images)))
