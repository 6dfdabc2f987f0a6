"""Lesions as one segmentation node: a segment per lesion, its identifier in a tag, and back to a label array.

All lesions come in through one label map, so that they share a layer: hundreds of layers would make every view slow.
Outlines are read back whole, whatever the Segment Editor has done to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
import vtk.util.numpy_support

from ..errors import InputError
from ..geometry import Grid
from ..lesions.components import Lesion, LesionSet
from ..lesions.lesion_files import UID_TAG, LabelFile
from .volumes import grid_of, set_array

#: Kind attribute of the node, and the reference to the map whose grid the outlines lie on.
KIND, KIND_VALUE, MAP_REFERENCE = "ChiSep.kind", "lesions", "ChiSep.map"
PARENTS_TAG = "ChiSep.ParentUIDs"
#: Outline of a lesion that is not being looked at.
NEIGHBOUR_COLOR = (0.62, 0.62, 0.62)

_REPRESENTATION = "Binary labelmap"


@dataclass(frozen=True)
class SegmentEntry:
    """A segment of a node: ``value`` is its voxels' value in `SegmentLabels.labels`; ``uid`` empty if it has none."""

    segment_id: str
    value: int
    uid: str
    name: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SegmentLabels:
    """Voxels of all segments on one grid: int32 (z, y, x), and who they are."""

    labels: np.ndarray
    entries: tuple[SegmentEntry, ...]
    round_trip_dice: float = float("nan")


def write_lesions_node(scene, lesions: LesionSet, name: str, *, reference=None):
    """A new segmentation node with one segment per lesion, named as the lesion, grey. Returns the node.

    Parameters
    ----------
    reference
        Volume whose grid the outlines lie on: the Segment Editor paints on it.
    """
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    if len(lesions):
        labelmap = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "lesions to import")
        highest = max(lesion.label for lesion in lesions.lesions)
        set_array(labelmap, lesions.labels.astype(np.int16 if highest < 2**15 else np.int32), lesions.grid)
        done = slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelmap, node)
        scene.RemoveNode(labelmap)
        if not done:
            scene.RemoveNode(node)
            raise InputError("The lesions could not be put into a segmentation.", "Is the memory full?")
    segmentation = node.GetSegmentation()
    by_label = {lesion.label: lesion for lesion in lesions.lesions}
    was = node.StartModify()
    for n in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(n)
        _describe(segment, by_label[segment.GetLabelValue()])
    node.EndModify(was)
    node.CreateDefaultDisplayNodes()
    if reference is not None:
        adopt(node, reference)
    return node


def adopt(node, reference) -> None:
    """Mark a segmentation as the lesions of a map, and let the Segment Editor paint on the map's grid."""
    node.SetAttribute(KIND, KIND_VALUE)
    node.SetNodeReferenceID(MAP_REFERENCE, reference.GetID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference)


def lesion_nodes(scene) -> list:
    """The segmentations that hold lesions of a review."""
    nodes = [
        scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode")
        for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"))
    ]
    return [node for node in nodes if node.GetAttribute(KIND) == KIND_VALUE]


def read_segments(node, grid: Grid, *, resample: bool = False) -> SegmentLabels:
    """All segments of a node as one label array; empty segments have an entry and no voxel.

    Raises
    ------
    InputError
        If the node lies under a transform, segments overlap, or their voxels do not lie on the grid. They are
        resampled (nearest neighbour) only if told so.
    """
    if node.GetParentTransformNode() is not None:
        raise InputError(
            f"“{node.GetName()}” lies under the transform “{node.GetParentTransformNode().GetName()}”.",
            "Harden the transform, or move the segmentation out of it (Data module).",
        )
    segmentation = node.GetSegmentation()
    layers: dict[int, tuple[object, list[tuple[int, int]]]] = {}
    entries = []
    for n in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(n)
        image = segment.GetRepresentation(_REPRESENTATION)
        parents = tuple(filter(None, _tag(segment, PARENTS_TAG).split(",")))
        uid, name = segment_uid(segment), segment.GetName() or ""
        entries.append(SegmentEntry(segmentation.GetNthSegmentID(n), n + 1, uid, name, parents))
        if image is not None and image.GetPointData().GetScalars() is not None:
            # Segments of one layer share the image object, which the dictionary keeps alive: its id stays its own.
            layers.setdefault(id(image), (image, []))[1].append((segment.GetLabelValue(), n + 1))
    labels = np.zeros(grid.shape, np.int32)
    dice: list[float] = []
    for image, pairs in layers.values():
        placed, overlap = _placed(image, pairs, grid, resample, node.GetName())
        if ((labels > 0) & (placed > 0)).any():
            raise InputError(
                f"Segments of “{node.GetName()}” overlap.", "Each voxel may belong to one lesion: remove the overlap."
            )
        np.maximum(labels, placed, out=labels)
        dice += [overlap] if overlap == overlap else []
    return SegmentLabels(labels, tuple(entries), min(dice, default=float("nan")))


def segment_uid(segment) -> str:
    """The lesion's identifier in a segment's tags; empty if there is none."""
    return _tag(segment, UID_TAG)


def segment_ids(node) -> dict[str, str]:
    """Segment IDs by lesion identifier."""
    segmentation = node.GetSegmentation()
    ids = {}
    for n in range(segmentation.GetNumberOfSegments()):
        uid = segment_uid(segmentation.GetNthSegment(n))
        if uid:
            ids[uid] = segmentation.GetNthSegmentID(n)
    return ids


def write_changes(node, before: LesionSet, after: LesionSet) -> None:
    """Bring the segments from one set of lesions to the next; untouched segments are not written."""
    segmentation = node.GetSegmentation()
    ids = segment_ids(node)
    old = {lesion.uid: lesion.outline for lesion in before.lesions}
    was = node.StartModify()
    for uid in set(ids) - set(after.uids):
        segmentation.RemoveSegment(ids[uid])
    changed = [lesion for lesion in after.lesions if lesion.uid not in ids or old.get(lesion.uid) != lesion.outline]
    # What shrinks is written before what grows, so that no voxel has two owners on the way.
    for lesion in sorted(changed, key=lambda item: item.uid not in ids):
        segment_id = ids.get(lesion.uid) or segmentation.AddEmptySegment("", lesion.name, NEIGHBOUR_COLOR)
        _describe(segmentation.GetSegment(segment_id), lesion)
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
            _crop(after, lesion), node, segment_id, slicer.vtkSlicerSegmentationsModuleLogic.MODE_REPLACE
        )
    node.EndModify(was)


def name_segments(node, lesions: LesionSet, entries: tuple[SegmentEntry, ...], by_value: dict[int, str]) -> None:
    """Give segments drawn by hand the identifier and name of the lesion that they have become."""
    was = node.StartModify()
    for entry in entries:
        uid = by_value.get(entry.value, "")
        if uid and uid != entry.uid and uid in lesions.uids:
            _describe(node.GetSegmentation().GetSegment(entry.segment_id), lesions[uid])
    node.EndModify(was)


def labels_of(source, grid: Grid, *, resample: bool = False) -> tuple[LabelFile, float]:
    """Labels with identifiers of a segmentation or a label map (or mask) node, on the grid of the maps.

    Returns
    -------
    labels
        Segments that are named as lesions ("L007") keep their number.
    round_trip_dice
        Of the resampling; NaN if there was none.

    Raises
    ------
    InputError
        If it lies on another grid and resampling was not asked for: nothing is transposed or cut to fit.
    """
    if not source.IsA("vtkMRMLSegmentationNode"):
        own = LabelFile(slicer.util.arrayFromVolume(source), grid_of(source), {}, {})
        return own.resampled(grid) if resample and not own.grid.matches(grid) else (own.on(grid), float("nan"))
    found = read_segments(source, grid, resample=resample)
    present = np.bincount(found.labels.reshape(-1), minlength=len(found.entries) + 1) > 0
    drawn = [entry for entry in found.entries if present[entry.value]]
    if len(drawn) == 1 and not drawn[0].uid:  # one mask of all lesions: connected components
        return LabelFile(found.labels, grid, {}, {}), found.round_trip_dice
    numbers = lesion_numbers(drawn)
    label_of = np.zeros(len(found.entries) + 1, np.int32)
    for entry in drawn:
        label_of[entry.value] = numbers[entry.value]
    uids = {numbers[entry.value]: entry.uid for entry in drawn}
    parents = {numbers[entry.value]: entry.parents for entry in drawn}
    return LabelFile(label_of[found.labels], grid, uids, parents), found.round_trip_dice


def lesion_numbers(entries: list[SegmentEntry] | tuple[SegmentEntry, ...]) -> dict[int, int]:
    """Lesion label by segment value: the number in the segment's name, if every name has its own."""
    matches = {entry.value: re.fullmatch(r"L(\d{3,})", entry.name) for entry in entries}
    if all(matches.values()):
        numbers = {value: int(match[1]) for value, match in matches.items()}
        if len(set(numbers.values())) == len(numbers) and min(numbers.values(), default=1) > 0:
            return numbers
    return {entry.value: entry.value for entry in entries}


def _describe(segment, lesion: Lesion) -> None:
    segment.SetName(lesion.name)
    segment.SetColor(*NEIGHBOUR_COLOR)
    segment.SetTag(UID_TAG, lesion.uid)
    if lesion.parents:
        segment.SetTag(PARENTS_TAG, ",".join(lesion.parents))


def _tag(segment, name: str) -> str:
    value = vtk.mutable("")
    return str(value.get()) if segment.GetTag(name, value) else ""


def _crop(lesions: LesionSet, lesion: Lesion):
    """The lesion's voxels as an oriented image of its box."""
    z, y, x = lesion.box
    image = slicer.vtkOrientedImageData()
    image.SetExtent(x.start, x.stop - 1, y.start, y.stop - 1, z.start, z.stop - 1)
    image.SetImageToWorldMatrix(_matrix(lesions.grid))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    voxels[:] = (lesions.labels[lesion.box] == lesion.label).reshape(-1)
    return image


def _matrix(grid: Grid) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(grid.ijk_to_ras.ravel().tolist())
    return matrix


def _placed(image, pairs, grid: Grid, resample: bool, name: str) -> tuple[np.ndarray, float]:
    """A layer on the grid, with the values of `SegmentLabels`."""
    x0, x1, y0, y1, z0, z1 = image.GetExtent()
    shape = (z1 - z0 + 1, y1 - y0 + 1, x1 - x0 + 1)
    if min(shape) < 1:
        return np.zeros(grid.shape, np.int32), float("nan")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    to_ras = np.array([matrix.GetElement(*rc) for rc in np.ndindex(4, 4)]).reshape(4, 4)
    to_ras[:3, 3] += to_ras[:3, :3] @ (x0, y0, z0)
    stored = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
    highest = max(int(stored.max(initial=0)), *(value for value, _ in pairs))
    value_of = np.zeros(highest + 1, np.int32)
    for stored_value, value in pairs:
        value_of[stored_value] = value
    own = LabelFile(value_of[stored], Grid(shape, to_ras), {}, {}, is_cropped=True)
    if not (own.labels > 0).any():
        return np.zeros(grid.shape, np.int32), float("nan")
    if not resample:
        return own.on(grid).labels, float("nan")
    try:
        return own.on(grid).labels, float("nan")
    except InputError:
        moved, dice = own.resampled(grid)
        return moved.labels.astype(np.int32), dice
