"""Lesions of a mask: connected components with identifiers, sizes and a voxel to jump to."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..geometry import Grid, Reorientation, to_closest_ras
from .canonical import Box, canonical_box, canonical_view, storage_index
from .regions import core_of

#: Lesions below this diameter are listed but not counted (NAIMS rules leave them out of the central vein sign).
COUNTED_FROM_MM = 3.0

#: Root of the name-based UUIDs: fixed for ever, or old tables lose their lesions.
_NAMESPACE = uuid.UUID("6f1d2a52-8f0e-5c1b-9b7e-7a4d1c0f3e65")


@dataclass(frozen=True)
class Lesion:
    """One lesion outline on the grid of its `LesionSet`.

    Parameters
    ----------
    uid
        Identifier for ever, a DICOM UID below 2.25; the same for every reader who loads the same mask.
    label
        Value of its voxels in the label array; never used again for another lesion of the set.
    box
        Slices (z, y, x) around it.
    outline
        Hash of its voxels: two outlines are the same if and only if it is.
    max_diameter_mm
        Largest distance between boundary voxel centres plus one voxel in that direction.
    jump_voxel
        (z, y, x) of a voxel inside it through which its slices are large in all three orientations.
    parents
        UIDs of the lesions it was split or merged from.
    """

    uid: str
    label: int
    box: Box
    outline: str
    n_voxels: int
    volume_mm3: float
    max_diameter_mm: float
    centroid_ras: tuple[float, float, float]
    jump_voxel: tuple[int, int, int]
    parents: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"L{self.label:03d}"

    @property
    def is_small(self) -> bool:
        """Below 3 mm: listed, not counted."""
        return self.max_diameter_mm < COUNTED_FROM_MM - 1e-3


@dataclass(frozen=True, eq=False)
class LesionSet:
    """Label array and the lesions in it. Do not write into ``labels``: edits make a new set (see `lineage`)."""

    labels: np.ndarray
    grid: Grid
    lesions: tuple[Lesion, ...]

    def __getitem__(self, uid: str) -> Lesion:
        for lesion in self.lesions:
            if lesion.uid == uid:
                return lesion
        raise InputError(f"There is no lesion {uid}.", "Load the lesion list that belongs to this table.")

    def __len__(self) -> int:
        return len(self.lesions)

    @property
    def uids(self) -> tuple[str, ...]:
        return tuple(lesion.uid for lesion in self.lesions)

    @property
    def counted(self) -> tuple[Lesion, ...]:
        """The lesions of 3 mm and more."""
        return tuple(lesion for lesion in self.lesions if not lesion.is_small)

    def mask(self, uid: str) -> np.ndarray:
        """bool (z, y, x) of one lesion."""
        return self.labels == self[uid].label


def find_lesions(mask: np.ndarray, grid: Grid, *, case: str = "") -> LesionSet:
    """26-connected components of a mask, largest first.

    Parameters
    ----------
    mask
        (z, y, x), bool or numbers of which all above 0 are lesion.
    case
        Code of the case; enters the identifiers, so that equal voxels in two cases differ.

    Raises
    ------
    InputError
        If the shapes differ, or the values are neither 0 and 1 nor whole numbers (a probability map).
    """
    from scipy import ndimage

    binary = _as_whole_numbers(mask, grid) > 0
    labels = np.zeros(grid.shape, np.int32)
    occupied = _bounding_box(binary)
    if occupied is not None:
        # Touching by a corner is connected: a lesion of thin sheets must not fall apart.
        ndimage.label(binary[occupied], structure=np.ones((3, 3, 3), bool), output=labels[occupied])
    return _ordered(labels, grid, case)


def lesions_from_labels(
    labels: np.ndarray,
    grid: Grid,
    *,
    case: str = "",
    uids: Mapping[int, str] | None = None,
    parents: Mapping[int, tuple[str, ...]] | None = None,
) -> LesionSet:
    """One lesion per value of a label map: confluent lesions that somebody separated stay separate.

    Parameters
    ----------
    labels
        (z, y, x) whole numbers, 0 is background.
    uids
        Identifiers by label value, where the map comes with a table; then the labels keep their values and order.
        An empty one is derived from the voxels. Without the table the lesions are numbered by volume.

    Raises
    ------
    InputError
        If the shapes differ, values are not whole numbers, or the table lacks a label or names one UID twice.
    """
    values = _as_whole_numbers(labels, grid)
    if uids is None:
        distinct = np.unique(values[values > 0])
        renumbered = np.searchsorted(distinct, values) + 1
        renumbered[values <= 0] = 0
        return _ordered(renumbered.astype(np.int32), grid, case)
    kept = np.where(values > 0, values, 0).astype(np.int32)
    boxes = _boxes(kept)
    missing = sorted(set(boxes) - set(uids))
    given = [uid for uid in uids.values() if uid]
    if missing or len(set(given)) != len(given):
        raise InputError(
            f"The lesion table does not fit the label map: no identifier for labels {missing[:5]}."
            if missing
            else "The lesion table names one identifier for two labels.",
            "Give the table that was written together with this label map.",
        )
    parents = parents or {}
    turn = to_closest_ras(grid)
    lesions = [
        describe_lesion(
            kept, grid, label, boxes[label], uid=uids[label], case=case, parents=parents.get(label, ()), turn=turn
        )
        for label in sorted(boxes)
    ]
    return LesionSet(kept, grid, tuple(lesions))


def describe_lesion(
    labels: np.ndarray,
    grid: Grid,
    label: int,
    box: Box,
    *,
    uid: str = "",
    case: str = "",
    parents: tuple[str, ...] = (),
    turn: Reorientation | None = None,
) -> Lesion:
    """Size, position and identifiers of the voxels of one label; without ``uid`` it is derived from the voxels."""
    turn = turn or to_closest_ras(grid)
    box_ras = canonical_box(box, turn)
    inside = canonical_view(labels, turn)[box_ras] == label
    start = np.array([b.start for b in box_ras])
    voxels = np.argwhere(inside) + start
    outline = _outline_hash(voxels, turn.target.shape)
    centroid = turn.target.index_to_ras(voxels.mean(axis=0))
    spacing = np.array(turn.target.spacing_mm)
    jump = storage_index(start + _jump_voxel(inside), turn)
    return Lesion(
        uid=uid or make_uid(case, *parents, outline),
        label=int(label),
        box=box,
        outline=outline,
        n_voxels=len(voxels),
        volume_mm3=len(voxels) * grid.voxel_volume_mm3,
        max_diameter_mm=_max_diameter(inside, spacing),
        centroid_ras=tuple(float(v) for v in centroid),
        jump_voxel=tuple(int(v) for v in jump),
        parents=tuple(parents),
    )


def make_uid(*parts: str) -> str:
    """DICOM UID "2.25.<UUID>" (at most 44 characters) of name-based UUID of the parts."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(parts)).int}"


def _as_whole_numbers(mask: np.ndarray, grid: Grid) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.shape != grid.shape:
        raise InputError(
            f"The lesion mask has {mask.shape} voxels, the maps {grid.shape} (z, y, x).",
            "Give a mask on the grid of the maps; it is never transposed or cut to fit.",
        )
    if mask.dtype.kind in "bui":
        return mask
    if not np.isfinite(mask).all() or (mask != np.rint(mask)).any():
        raise InputError(
            "The lesion mask holds fractions, as a probability map does.",
            "Apply the threshold of your segmentation tool first, and give the binary mask.",
        )
    return mask.astype(np.int32)


def _ordered(labels: np.ndarray, grid: Grid, case: str) -> LesionSet:
    turn = to_closest_ras(grid)
    boxes = _boxes(labels)
    found = [describe_lesion(labels, grid, label, box, case=case, turn=turn) for label, box in boxes.items()]
    # The outline hash settles ties, for it does not depend on the storage order.
    found.sort(key=lambda lesion: (-lesion.n_voxels, lesion.outline))
    new_label = np.zeros(max(boxes, default=0) + 1, np.int32)
    for position, lesion in enumerate(found, start=1):
        new_label[lesion.label] = position
    lesions = tuple(Lesion(**{**vars(lesion), "label": position}) for position, lesion in enumerate(found, start=1))
    return LesionSet(new_label[labels], grid, lesions)


def _boxes(labels: np.ndarray) -> dict[int, Box]:
    from scipy import ndimage

    return {n: box for n, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None}


def _bounding_box(mask: np.ndarray) -> Box | None:
    ranges = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(hit):
            return None
        ranges.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(ranges)


def _outline_hash(voxels: np.ndarray, shape: tuple[int, int, int]) -> str:
    digest = hashlib.sha256(np.array(shape, "<i4").tobytes())
    digest.update(np.ascontiguousarray(voxels, dtype="<i4").tobytes())
    return digest.hexdigest()[:32]


def _max_diameter(inside: np.ndarray, spacing: np.ndarray) -> float:
    """Largest distance between boundary voxel centres plus the voxel's size in that direction, in mm."""
    # A farthest pair consists of ends of lines of voxels along every axis: those few are compared, all with all.
    candidate = inside & ~core_of(inside)
    for axis in range(3):
        first = inside.argmax(axis=axis, keepdims=True)
        last = inside.shape[axis] - 1 - np.flip(inside, axis).argmax(axis=axis, keepdims=True)
        position = np.arange(inside.shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
        candidate &= (position == first) | (position == last)
    points = np.argwhere(candidate) * spacing
    best, direction = 0.0, np.zeros(3)
    for start in range(0, len(points), 512):  # 512 against all: 20,000 points stay below 100 MB
        chunk = points[start : start + 512]
        squared = sum((chunk[:, np.newaxis, axis] - points[np.newaxis, :, axis]) ** 2 for axis in range(3))
        row, column = np.unravel_index(int(squared.argmax()), squared.shape)
        if squared[row, column] > best:
            best, direction = float(squared[row, column]), chunk[row] - points[column]
    if best == 0.0:  # a single voxel has no direction
        return float(np.prod(spacing) ** (1 / 3))
    unit = direction / np.sqrt(best)
    return float(np.sqrt(best) + np.linalg.norm(unit * spacing))


def _jump_voxel(inside: np.ndarray) -> np.ndarray:
    """Index in the box of a lesion voxel whose three slices show most of the lesion; nearest to the centre at ties."""
    areas = [inside.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    voxels = np.argwhere(inside)
    seen = sum(area[voxels[:, axis]] / area.max() for axis, area in enumerate(areas))
    distance = np.linalg.norm(voxels - voxels.mean(axis=0), axis=1)
    return voxels[np.lexsort((distance, -np.round(seen, 9)))[0]]
