"""Whom and what the exported objects belong to: patient, study, frame of reference, and the images they come from.

Without the DICOM images of the scan all of it is made up from the code of the case. With them, the study and the frame
of reference are those of the images, so that an archive shows the maps beside them; the patient stays the code of the
case unless asked otherwise.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid, turned_onto
from ..lesions.components import make_uid
from ..lesions.deidentify import Identity
from .planes import frame_position, grid_of_frames, to_frames

_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
_ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
#: Patient and study attributes that come along when the patient is to be identified, with DICOM's type-2 empty value.
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "IssuerOfPatientID", "PatientAge")
_STUDY = ("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyDescription")
#: Attributes whose values must not stand in a de-identified file.
_IDS = ("PatientID", "AccessionNumber", "OtherPatientIDs", "PatientTelephoneNumbers", "PatientAddress")
_NAMES = ("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName")
DEIDENTIFICATION = "Patient and study replaced by case code, source UIDs kept"


@dataclass(frozen=True, eq=False)
class Reference:
    """Patient, study and source images of an export.

    Parameters
    ----------
    grid
        Of the frames that will be written.
    header
        Dataset (pydicom) with the patient, study, frame of reference and equipment attributes that are copied.
    images
        Datasets of the source images; empty without them.
    by_plane
        Source images of each frame; empty if they lie on other planes.
    identities
        What must not stand in the files; empty if the patient is to be identified or is not known.
    """

    grid: Grid
    header: Any
    images: tuple[Any, ...] = ()
    by_plane: tuple[tuple[Any, ...], ...] = ()
    identities: tuple[Identity, ...] = ()


def read_headers(source: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Any]:
    """Headers of the MR images among files or in a folder; other files are left out.

    Raises
    ------
    InputError
        If there is none.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    paths = [Path(source)] if isinstance(source, (str, os.PathLike)) else [Path(path) for path in source]
    files = [f for p in paths for f in (sorted(p.rglob("*")) if p.is_dir() else [p]) if f.is_file()]
    headers = []
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
            if header.SOPClassUID in (_MR_IMAGE, _ENHANCED_MR_IMAGE):
                headers.append(header)
        except (InvalidDicomError, OSError, AttributeError, ValueError, KeyError):
            continue
    if not headers:
        raise InputError(
            "There is no readable DICOM MR image among the source images.",
            "Give the folder of the gradient-echo series that the maps were computed from, or leave it out.",
        )
    return headers


def make_reference(
    grid: Grid, case: str, sources: Sequence[Any] = (), *, identify: bool = False, identity: Identity | None = None
) -> Reference:
    """Reference of an export of maps or lesions on ``grid``.

    Parameters
    ----------
    case
        Code of the case: becomes patient name and ID unless ``identify``.
    sources
        Headers of the images that the maps were computed from, of one study and frame of reference.
    identify
        Copy patient and study attributes of the sources.
    identity
        Further words that must not stand in the files.

    Raises
    ------
    InputError
        If the case code is unusable, sources are of several studies, or there are none to identify the patient by.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,16}", case) and not (identify and sources):
        raise InputError(f"The case code {case!r} is not usable.", "Use up to 16 letters and digits, no name.")
    if identify and not sources:
        raise InputError("The patient is not known without the DICOM images of the scan.", "Give the source images.")
    if not sources:
        known = (identity,) if identity else ()
        return Reference(to_frames(grid).target, _made_up_header(grid, case), identities=known)
    studies = {(str(s.get("StudyInstanceUID", "")), str(s.get("FrameOfReferenceUID", ""))) for s in sources}
    if len(studies) > 1 or not all(next(iter(studies))):
        raise InputError(
            "The source images are of several studies or frames of reference, or do not tell theirs.",
            "Give the images of the gradient-echo scan alone.",
        )
    header = _made_up_header(grid, case or "n/a")
    first = sources[0]
    header.StudyInstanceUID, header.FrameOfReferenceUID = first.StudyInstanceUID, first.FrameOfReferenceUID
    if identify:
        for keyword in ("PatientIdentityRemoved", "DeidentificationMethod"):
            delattr(header, keyword)
        for keyword in (*_PATIENT, *_STUDY):
            if keyword in first:
                setattr(header, keyword, first[keyword].value)
    identities = () if identify else tuple(filter(None, (_identity_of(sources), identity)))
    if any(words.kinds_in(case.encode()) for words in identities):
        raise InputError("The case code holds the patient's name, ID or birth date.", "Choose a code of your own.")
    for group in _groups_of_planes(sources):
        frames = _grid_of(group)
        if frames is not None and turned_onto(np.zeros(grid.shape, bool), grid, frames) is not None:
            images = tuple(image for plane in group for image in plane)
            return Reference(frames, header, images, group, identities)
    return Reference(to_frames(grid).target, header, tuple(sources), (), identities)


def on_frames(array: np.ndarray, grid: Grid, reference: Reference) -> np.ndarray:
    """An array (z, y, x) of the maps' grid in the order of the frames; nothing is interpolated."""
    turned = turned_onto(array, grid, reference.grid)
    if turned is None:
        raise InputError("The maps and lesions lie on different grids.", "Export them on one grid.")
    return turned


def new_uid() -> str:
    """A DICOM UID that nobody else has."""
    return f"2.25.{uuid.uuid4().int}"


def _made_up_header(grid: Grid, case: str):
    from pydicom.dataset import Dataset

    place = hashlib.sha256(np.round(grid.ijk_to_ras, 3).tobytes() + bytes(str(grid.shape), "ascii")).hexdigest()
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SOPClassUID, header.SOPInstanceUID, header.SeriesInstanceUID = _MR_IMAGE, new_uid(), new_uid()
    header.StudyInstanceUID = make_uid("dicom study", case)
    header.FrameOfReferenceUID = make_uid("dicom frame of reference", case, place)
    header.PositionReferenceIndicator = None
    header.Modality = "MR"
    header.PatientName, header.PatientID = f"{case}^", case  # the caret: a family name alone, as DICOM writes it
    header.PatientIdentityRemoved, header.DeidentificationMethod = "YES", DEIDENTIFICATION
    for keyword in ("PatientBirthDate", "PatientSex", *_STUDY[:-1]):
        setattr(header, keyword, None)
    # highdicom asks for the geometry of an image; the exported objects get their own.
    header.Rows = header.Columns = 1
    header.PixelSpacing, header.SliceThickness = [1.0, 1.0], 1.0
    header.ImagePositionPatient, header.ImageOrientationPatient = [0.0] * 3, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return header


def _identity_of(sources: Sequence[Any]) -> Identity:
    def values(*keywords: str) -> set[str]:
        found = [source.get(keyword) for source in sources for keyword in keywords]
        parts = [v for value in found for v in (value if isinstance(value, (list, tuple)) else [value])]
        return {str(v) for v in parts if v}

    # Numbers of three digits stand in every header.
    ids = {word for word in values(*_IDS) if len(word) > 3}
    return Identity(names=values(*_NAMES), ids=ids, birth_dates=values("PatientBirthDate"))


def _groups_of_planes(sources: Sequence[Any]) -> list[tuple[tuple[Any, ...], ...]]:
    """Classic images of one orientation and matrix, by plane, in the order of the slice normal."""
    stacks: dict[tuple, dict[tuple, list[Any]]] = {}
    needed = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
    for source in sources:
        if source.SOPClassUID == _MR_IMAGE and all(source.get(keyword) for keyword in needed):
            orientation = tuple(round(float(v), 4) for v in source.ImageOrientationPatient)
            spacing = tuple(round(float(v), 4) for v in source.PixelSpacing)
            position = tuple(round(float(v), 3) for v in source.ImagePositionPatient)
            stack = stacks.setdefault((orientation, spacing, source.Rows, source.Columns), {})
            stack.setdefault(position, []).append(source)
    groups = []
    for (orientation, *_), planes in stacks.items():
        normal = np.cross(orientation[:3], orientation[3:])
        groups.append(tuple(tuple(planes[p]) for p in sorted(planes, key=lambda p, n=normal: float(n @ np.array(p)))))
    return groups


def _grid_of(group: tuple[tuple[Any, ...], ...]) -> Grid | None:
    """Grid of evenly spaced planes; None if they are none."""
    if len(group) < 2:
        return None
    first = group[0][0]
    positions = np.array([plane[0].ImagePositionPatient for plane in group], float)
    orientation = [float(v) for v in first.ImageOrientationPatient]
    spacing = [float(v) for v in first.PixelSpacing]
    try:
        grid = grid_of_frames(orientation, spacing, positions, (len(group), int(first.Rows), int(first.Columns)))
    except InputError:  # sheared: a tilted gantry
        return None
    even = all(np.allclose(frame_position(grid, k), p, atol=1e-2) for k, p in enumerate(positions))
    return grid if even else None
