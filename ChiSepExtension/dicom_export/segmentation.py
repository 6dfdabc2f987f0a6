"""Lesion outlines as DICOM Segmentation: one segment per lesion, with the identifier that it keeps for ever."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError
from ..lesions.components import LesionSet
from ..lesions.lesion_files import COLORS
from ..notice import RESEARCH_USE
from .codes import ABNORMAL_STRUCTURE, BRAIN, LESION, Concept, coded
from .parametric_map import EQUIPMENT, MANUFACTURER, drop_references, frame_geometry, restore_geometry
from .reference import Reference, new_uid, on_frames
from .requirement import require_highdicom
from .segmentation_reader import PARENTS

#: How outlines came to be: "manual" is drawn, "semiautomatic" is found by a program and checked by a reader.
ALGORITHM_TYPES = {"manual": "MANUAL", "semiautomatic": "SEMIAUTOMATIC"}

_FAMILY = Concept("123109", "DCM", "Manual Processing")


def lesion_segmentation(
    lesions: LesionSet,
    reference: Reference,
    *,
    source: Any = None,
    algorithm: str = "semiautomatic",
    algorithm_name: str = "lesion outlines",
    series_number: int = 1,
):
    """Segmentation (a pydicom dataset) of all lesions; segment ``n`` is the n-th lesion of the set.

    TrackingUID is the lesion's UID and TrackingID its short name, so that a reader of the file finds it again in the
    tables. Binary, not a label map: that is what other readers know.

    Parameters
    ----------
    source
        Parametric Map on the same frames that the outlines are shown on.
    algorithm
        One of `ALGORITHM_TYPES`.
    """
    highdicom = require_highdicom()
    if algorithm not in ALGORITHM_TYPES:
        raise InputError(f"{algorithm!r} outlines?", f"Say {', '.join(ALGORITHM_TYPES)}.")
    if not len(lesions):
        raise InputError("There is no lesion to export.", "Give a mask with at least one lesion.")
    identification = None
    if algorithm != "manual":
        identification = highdicom.AlgorithmIdentificationSequence(
            name=algorithm_name[:64], family=coded(_FAMILY), version=__version__, source=MANUFACTURER
        )
    descriptions = []
    for number, lesion in enumerate(lesions.lesions, start=1):
        color = COLORS[(lesion.label - 1) % len(COLORS)]
        description = highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=lesion.name,
            segmented_property_category=coded(ABNORMAL_STRUCTURE),
            segmented_property_type=coded(LESION),
            algorithm_type=ALGORITHM_TYPES[algorithm],
            algorithm_identification=identification,
            tracking_uid=lesion.uid,
            tracking_id=lesion.name,
            anatomic_regions=[coded(BRAIN)],
            display_color=highdicom.color.CIELabColor.from_rgb(*(int(color[i : i + 2], 16) for i in (1, 3, 5))),
        )
        if lesion.parents:
            # ST holds 1024 characters; parents beyond are dropped here and stay in the table.
            kept = [uid for n, uid in enumerate(lesion.parents) if n < 20]
            description.SegmentDescription = PARENTS + " ".join(kept)
        descriptions.append(description)
    numbers = np.zeros(int(lesions.labels.max()) + 1, np.uint16)
    numbers[[lesion.label for lesion in lesions.lesions]] = np.arange(1, len(lesions) + 1)
    array = on_frames(numbers[lesions.labels], lesions.grid, reference)
    geometry = frame_geometry(reference.grid)
    dataset = highdicom.seg.Segmentation(
        source_images=[reference.header if source is None else source],
        pixel_array=array,
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=new_uid(),
        series_number=series_number,
        sop_instance_uid=new_uid(),
        instance_number=1,
        **EQUIPMENT,
        content_label="LESIONS",
        content_description=RESEARCH_USE,
        series_description=f"Lesion outlines. {RESEARCH_USE}",
        **geometry,
    )
    restore_geometry(dataset, geometry)
    if source is None:
        drop_references(dataset)
    return dataset
