"""Lesion outlines from a DICOM Segmentation, ours or another program's, read with pydicom alone."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..lesions.lesion_files import LabelFile
from .planes import grid_of_frames

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
#: Before the identifiers of a segment's parents in its description.
PARENTS = "Parents: "
#: Frames may lie off the lattice by this much: DICOM writes positions with 16 characters.
_TOLERANCE_MM = 1e-2


def read_dicom_segmentation(path: str | os.PathLike) -> LabelFile:
    """Labels and identifiers of a Segmentation file; frames without a segment are not in it, so it is cropped.

    Segments named "L007", as ours are, keep that number as their label; TrackingUID becomes the lesion's UID.

    Raises
    ------
    InputError
        If the file is none, frames lie on no common lattice, segments overlap, or they are fractions.
    """
    import pydicom

    path = Path(path)
    try:
        dataset = pydicom.dcmread(path)
        if dataset.SOPClassUID not in (_SEGMENTATION, _LABEL_MAP_SEGMENTATION):
            raise InputError(f"{path.name} is DICOM, but no segmentation.", "Give a DICOM SEG file, NIfTI or NRRD.")
        return _label_file(dataset, path.name)
    except InputError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in pydicom
        raise InputError(f"{path} is no readable DICOM segmentation: {error}", "Export it again.") from error


def _label_file(dataset: Any, name: str) -> LabelFile:
    if dataset.SegmentationType not in ("BINARY", "LABELMAP"):
        raise InputError(f"{name} holds fractions.", "Apply a threshold where it was made, and export it as binary.")
    frames = _frames(dataset)
    orientation = _one(dataset, "PlaneOrientationSequence", "ImageOrientationPatient", 6, name)
    spacing = _one(dataset, "PixelMeasuresSequence", "PixelSpacing", 2, name)
    positions = np.array([_group(dataset, n, "PlanePositionSequence").ImagePositionPatient for n in range(len(frames))])
    planes, lattice = _lattice(dataset, positions.astype(float), np.array(orientation), name)
    grid = grid_of_frames(orientation, spacing, lattice, (int(planes.max()) + 1, *frames.shape[1:]))
    segments = {int(s.SegmentNumber): s for s in dataset.SegmentSequence if int(s.SegmentNumber) > 0}
    labels_of = _label_values(segments)
    labels = np.zeros(grid.shape, np.int32)
    for n, frame in enumerate(frames):
        if dataset.SegmentationType == "LABELMAP":
            parts = [(int(value), frame == value) for value in np.unique(frame) if int(value) in segments]
        else:
            number = _group(dataset, n, "SegmentIdentificationSequence").ReferencedSegmentNumber
            parts = [(int(number), frame > 0)]
        plane = labels[planes[n]]
        for number, inside in parts:
            if (plane[inside] > 0).any():
                label = segments[number].get("SegmentLabel", number)
                raise InputError(f"Segment {label} of {name} overlaps another.", "Each voxel may be of one lesion.")
            plane[inside] = labels_of[number]
    uids = {labels_of[n]: str(s.get("TrackingUID", "")) for n, s in segments.items()}
    parents = {labels_of[n]: _parents(str(s.get("SegmentDescription", ""))) for n, s in segments.items()}
    return LabelFile(labels, grid, uids, parents, is_cropped=True)


def _frames(dataset: Any) -> np.ndarray:
    """(frame, row, column)."""
    shape = (int(dataset.NumberOfFrames), int(dataset.Rows), int(dataset.Columns))
    if dataset.BitsAllocated == 1 and not dataset.file_meta.TransferSyntaxUID.is_compressed:
        bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
        return bits[: int(np.prod(shape))].reshape(shape)
    return dataset.pixel_array.reshape(shape)


def _group(dataset: Any, frame: int, keyword: str) -> Any:
    """Item of a functional group of a frame, or of the one that all frames share."""
    own = dataset.PerFrameFunctionalGroupsSequence[frame]
    return (own if keyword in own else dataset.SharedFunctionalGroupsSequence[0])[keyword].value[0]


def _one(dataset: Any, sequence: str, keyword: str, length: int, name: str) -> list[float]:
    """A value that all frames must share."""
    if sequence in dataset.SharedFunctionalGroupsSequence[0]:
        frames = [0]
    else:
        frames = range(int(dataset.NumberOfFrames))
    values = np.array([_group(dataset, n, sequence)[keyword].value for n in frames], float).reshape(-1, length)
    if np.ptp(values, axis=0).max() > 1e-4:
        raise InputError(f"The frames of {name} differ in {keyword}.", "Export the lesions on one grid.")
    return [float(v) for v in values[0]]


def _lattice(dataset: Any, positions: np.ndarray, orientation: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Plane of each frame, counted from the first, and the positions of the first and second plane."""
    normal = np.cross(orientation[:3], orientation[3:])
    depth = (positions - positions[0]) @ normal
    order = np.unique(np.round(depth, 3))
    gaps = np.diff(order)
    measures = _group(dataset, 0, "PixelMeasuresSequence")
    nominal = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
    step = float(nominal) if nominal else float(gaps.min()) if len(gaps) else 1.0
    if len(gaps) and abs(gaps.min() / step - round(gaps.min() / step)) > 1e-2:
        step = float(gaps.min())  # the header's thickness is not the distance of the planes
    planes = np.rint((depth - depth.min()) / step).astype(int)
    first = positions[planes.argmin()]
    # The exact step from the planes that are farthest apart; the header's is rounded.
    last = int(planes.argmax())
    vector = (positions[last] - first) / planes[last] if planes[last] else normal * step
    if np.abs(first + planes[:, None] * vector - positions).max() > _TOLERANCE_MM:
        raise InputError(f"The frames of {name} lie on no common lattice.", "Export the lesions on one regular grid.")
    return planes, np.array([first, first + vector])


def _label_values(segments: dict[int, Any]) -> dict[int, int]:
    """Label by segment number: the number in names like "L007" if all have one of their own, else the segment's."""
    found = {n: re.fullmatch(r"L(\d{1,9})", str(s.get("SegmentLabel", "")).strip()) for n, s in segments.items()}
    if all(found.values()):
        values = {n: int(match[1]) for n, match in found.items()}
        if len(set(values.values())) == len(values) and min(values.values()) > 0:
            return values
    return {n: n for n in segments}


def _parents(description: str) -> tuple[str, ...]:
    return tuple(description[len(PARENTS) :].split()) if description.startswith(PARENTS) else ()
