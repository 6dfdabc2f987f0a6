"""A map as DICOM Parametric Map: float voxels as they are, with coded quantity and unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError
from ..geometry import Grid
from ..notice import RESEARCH_USE
from .codes import BRAIN, MAPS, MEASUREMENT_METHOD, Concept, coded, private_scheme
from .planes import frame_orientation, frame_position
from .reference import Reference, new_uid, on_frames
from .requirement import require_highdicom

MANUFACTURER = "ChiSepExtension"
#: DICOM asks for a serial number of the equipment; a program has its version.
EQUIPMENT = {
    "manufacturer": MANUFACTURER,
    "manufacturer_model_name": MANUFACTURER,
    "software_versions": __version__,
    "device_serial_number": __version__,
}
#: Characters that a comment (LT) holds.
MAX_COMMENT = 10240
#: No tissue of the brain has more; a map beyond it is in ppb.
MAX_PPM = 2.0
_SOURCE_IMAGE = Concept("121322", "DCM", "Source image for image processing operation")
_CALCULATED = Concept("113097", "DCM", "Unspecified method of calculation")


def parametric_map(
    name: str, array: np.ndarray, grid: Grid, reference: Reference, *, origin: str = "", series_number: int = 1
):
    """Parametric Map (a pydicom dataset) of one map.

    Parameters
    ----------
    name
        One of `codes.MAPS`.
    array
        (z, y, x) on ``grid``; ppm or 1/s, ``chi_dia`` positive. Written as float32, bit by bit.
    origin
        How the map was made, for its comment.

    Raises
    ------
    InputError
        If the name is unknown, values are not finite, or a susceptibility is not in ppm.
    """
    highdicom = require_highdicom()
    if name not in MAPS:
        raise InputError(f"There is no DICOM code for a map {name!r}.", f"Export one of {', '.join(MAPS)}.")
    codes = MAPS[name]
    values = np.ascontiguousarray(on_frames(np.asarray(array, np.float32), grid, reference))
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise InputError(f"{count} voxels of {name} are not finite.", "Set them to 0 outside the mask first.")
    low, high = float(values.min()), float(values.max())
    if codes.unit.value == "ppm" and max(-low, high) >= MAX_PPM:
        raise InputError(
            f"The map {name} reaches {max(-low, high):.3g}, which is no susceptibility of a brain in ppm.",
            "Was it stored in ppb? DICOM gets ppm.",
        )
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label=codes.label,
        lut_explanation=codes.method.meaning,
        unit=coded(codes.unit),
        value_range=(low, high),
        slope=1,
        intercept=0,
        quantity_definition=coded(codes.quantity),
    )
    mapping.QuantityDefinitionSequence.append(
        highdicom.sr.CodeContentItem(name=coded(MEASUREMENT_METHOD), value=coded(codes.method))
    )
    lower, upper = codes.window
    # The default function is defined for widths of 1 and more, that is for whole numbers.
    window = highdicom.VOILUTTransformation((lower + upper) / 2, upper - lower, voi_lut_function="LINEAR_EXACT")
    geometry = frame_geometry(reference.grid)
    dataset = highdicom.pm.ParametricMap(
        source_images=[reference.header],
        pixel_array=values,
        series_instance_uid=new_uid(),
        series_number=series_number,
        sop_instance_uid=new_uid(),
        instance_number=1,
        **EQUIPMENT,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[window],
        content_label=codes.label,
        content_description=RESEARCH_USE,
        coding_schemes=[private_scheme()],
        content_qualification=highdicom.ContentQualificationValues.RESEARCH,
        series_description=f"{codes.label}. {RESEARCH_USE}",
        **geometry,
    )
    if origin:
        dataset.ImageComments = origin[:MAX_COMMENT]
    dataset.BodyPartExamined = "BRAIN"  # not paired: no laterality
    dataset.ContentCreatorName = None  # may be empty, may not be absent
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_brain()]
    restore_geometry(dataset, geometry)
    _put_in_order(dataset, values)
    _refer_to_sources(dataset, reference)
    return dataset


def _brain():
    from pydicom.dataset import Dataset

    item = Dataset()
    item.FrameLaterality, item.AnatomicRegionSequence = "U", [coded(BRAIN)]
    return item


def frame_geometry(grid: Grid) -> dict[str, object]:
    """The arguments of highdicom's images for frames on ``grid``."""
    highdicom = require_highdicom()
    k, j, i = grid.spacing_mm
    return {
        "pixel_measures": highdicom.PixelMeasuresSequence((j, i), slice_thickness=k, spacing_between_slices=k),
        "plane_orientation": highdicom.PlaneOrientationSequence("PATIENT", frame_orientation(grid)),
        "plane_positions": [
            highdicom.PlanePositionSequence("PATIENT", frame_position(grid, n)) for n in range(grid.shape[0])
        ],
    }


def restore_geometry(dataset, geometry: dict[str, object]) -> None:
    """Put back the exact spacing and orientation: highdicom takes those of a source image that differ by up to 1e-4."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence = geometry["pixel_measures"]
    shared.PlaneOrientationSequence = geometry["plane_orientation"]


def _put_in_order(dataset, values: np.ndarray) -> None:
    """Bring the frames back into the order of the array, along the normal; highdicom sorts them against it.

    Both are valid, but Slicer's reader of Parametric Maps (dcmqi 1.5.7) mirrors a map whose frames run against it.
    """
    frames = list(dataset.PerFrameFunctionalGroupsSequence)
    positions = np.array([f.PlanePositionSequence[0].ImagePositionPatient for f in frames], float)
    orientation = np.array(
        dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    )
    order = np.argsort(positions @ np.cross(orientation[:3], orientation[3:]).astype(float))
    for number, n in enumerate(order, start=1):
        frames[n].FrameContentSequence[0].DimensionIndexValues = [number]
    dataset.PerFrameFunctionalGroupsSequence = [frames[n] for n in order]
    dataset.FloatPixelData = values.astype("<f4").tobytes()


def drop_references(dataset) -> None:
    """Remove what refers to the made-up header, which is no image that anybody has."""
    for keyword in ("ReferencedSeriesSequence", "SourceImageSequence"):
        if keyword in dataset:
            delattr(dataset, keyword)
    for group in (*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence):
        if "DerivationImageSequence" in group:
            del group.DerivationImageSequence


def _refer_to_sources(dataset, reference: Reference) -> None:
    """Name the source images of the object and, where they lie on the same planes, of each frame."""
    from pydicom.dataset import Dataset

    drop_references(dataset)
    series: dict[str, list[Dataset]] = {}
    for image in reference.images:
        series.setdefault(str(image.SeriesInstanceUID), []).append(_instance(image))
    if series:
        dataset.ReferencedSeriesSequence = []
        for uid, instances in series.items():
            item = Dataset()
            item.SeriesInstanceUID, item.ReferencedInstanceSequence = uid, instances
            dataset.ReferencedSeriesSequence.append(item)
    if reference.images and not reference.by_plane:
        dataset.SharedFunctionalGroupsSequence[0].DerivationImageSequence = [_derivation(reference.images)]
    for group, images in zip(dataset.PerFrameFunctionalGroupsSequence, reference.by_plane):
        group.DerivationImageSequence = [_derivation(images, same_place=True)]


def _derivation(images: Sequence[Any], *, same_place: bool = False):
    from pydicom.dataset import Dataset

    derivation = Dataset()
    derivation.DerivationCodeSequence = [coded(_CALCULATED)]
    derivation.SourceImageSequence = [_instance(image) for image in images]
    for source in derivation.SourceImageSequence:
        source.PurposeOfReferenceCodeSequence = [coded(_SOURCE_IMAGE)]
        if same_place:
            source.SpatialLocationsPreserved = "YES"
    return derivation


def _instance(image):
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item
