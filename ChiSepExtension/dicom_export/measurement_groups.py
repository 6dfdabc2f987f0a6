"""Values and ratings of the lesions as a structured DICOM object after TID 1500, one measurement group per lesion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .. import __version__
from ..errors import InputError
from ..lesions.codebook import Codebook
from ..lesions.components import make_uid
from ..lesions.measures import LesionMeasures
from ..lesions.rating_tables import RatingTable
from ..lesions.ratings import Rating
from ..notice import RESEARCH_USE
from ..progress import NEVER, CancelToken, Progress, silent
from .codes import (
    BRAIN,
    BRAIN_MRI,
    COMMENT,
    COVERAGE,
    CUBIC_MILLIMETER,
    DIAMETER,
    LESION,
    MAPS,
    MAXIMUM,
    MILLIMETER,
    NO_UNITS,
    PRIVATE,
    STATISTICS,
    VOLUME,
    Concept,
    coded,
    private_scheme,
)
from .parametric_map import EQUIPMENT, MANUFACTURER
from .reference import new_uid
from .requirement import require_highdicom

#: A lesion that a reader left out carries this code and no other.
EXCLUDED = Concept("excluded", PRIVATE, "Excluded by the reader")
RATED = Concept("rating_state", PRIVATE, "State of the rating")


def lesion_measurements(
    measures: Sequence[LesionMeasures],
    segmentation: Any,
    maps: Mapping[str, Any],
    *,
    ratings: RatingTable | None = None,
    case: str = "",
    series_number: int = 1,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
):
    """Comprehensive 3D SR (a pydicom dataset), COMPLETE and UNVERIFIED: nobody answers for it clinically.

    Free text (comments, reasons) is not taken over: it stays in the tables.

    Parameters
    ----------
    segmentation
        Of the same lesions, in the same order; groups refer to its segments.
    maps
        Parametric Maps by name; measurements of a map refer to it.
    ratings
        Of one reader; hidden repeats are left out. Rows of other cases than ``case`` are left out.

    Raises
    ------
    InputError
        If lesions differ between segmentation, measures and ratings, or ratings are older than their outline.
    """
    highdicom = require_highdicom()
    sr = highdicom.sr
    segments = {str(s.TrackingUID): s for s in segmentation.SegmentSequence}
    if [m.uid for m in measures] != list(segments):
        raise InputError("The measures are of other lesions.", "Measure again after the last change of outlines.")
    rated = _ratings_of(ratings, case, segments)
    sources = [sr.SourceImageForSegmentation(m.SOPClassUID, m.SOPInstanceUID) for m in maps.values()]
    if not sources:
        raise InputError("Lesion values need a map to refer to.", "Export at least one map with them.")
    groups = []
    for n, row in enumerate(measures):
        cancel.check()
        progress(0.5 * n / len(measures), f"Values of lesion {row.name}")
        segment = segments[row.uid]
        groups.append(
            sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(uid=row.uid, identifier=row.name),
                referenced_segment=sr.ReferencedSegment(
                    sop_class_uid=segmentation.SOPClassUID,
                    sop_instance_uid=segmentation.SOPInstanceUID,
                    segment_number=int(segment.SegmentNumber),
                    source_images=sources[:1],
                ),
                finding_type=coded(LESION),
                finding_sites=[sr.FindingSite(coded(BRAIN))],
                measurements=_measurements(row, maps),
                qualitative_evaluations=_evaluations(rated.get(row.uid), ratings) or None,
            )
        )
    content = sr.MeasurementReport(
        observation_context=_observers(ratings),
        procedure_reported=coded(BRAIN_MRI),
        imaging_measurements=groups,
    )
    notice = sr.TextContentItem(coded(COMMENT), RESEARCH_USE, sr.RelationshipTypeValues.CONTAINS)
    content[0].ContentSequence.append(notice)
    return sr.Comprehensive3DSR(
        evidence=[segmentation, *maps.values()],
        content=content[0],
        series_instance_uid=new_uid(),
        series_number=series_number,
        sop_instance_uid=new_uid(),
        instance_number=1,
        **EQUIPMENT,
        is_complete=True,
        is_verified=False,
        series_description=f"Lesion values. {RESEARCH_USE}",
        coding_schemes=[private_scheme()],
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )


def _observers(ratings: RatingTable | None):
    sr = require_highdicom().sr
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=make_uid("dicom device", __version__), name=MANUFACTURER, manufacturer_name=MANUFACTURER
    )
    person = None
    if ratings is not None:
        attributes = sr.PersonObserverIdentifyingAttributes(name=f"{ratings.rater}^")
        person = sr.ObserverContext(coded(Concept("121006", "DCM", "Person")), attributes)
    return sr.ObservationContext(
        observer_person_context=person,
        observer_device_context=sr.ObserverContext(coded(Concept("121007", "DCM", "Device")), device),
    )


def _measurements(row: LesionMeasures, maps: Mapping[str, Any]) -> list[Any]:
    sr = require_highdicom().sr
    found = [
        sr.Measurement(coded(VOLUME), row.volume_mm3, coded(CUBIC_MILLIMETER)),
        sr.Measurement(coded(DIAMETER), row.max_diameter_mm, coded(MILLIMETER), derivation=coded(MAXIMUM)),
        sr.Measurement(coded(COVERAGE), row.coverage, coded(NO_UNITS)),
    ]
    for name, statistics in row.maps.items():
        if name not in MAPS:
            continue
        codes = MAPS[name]
        images = None
        if name in maps:
            images = [sr.SourceImageForMeasurement(maps[name].SOPClassUID, maps[name].SOPInstanceUID)]
        for key, derivation in STATISTICS.items():
            value = getattr(statistics, key)
            if math.isfinite(value):
                found.append(
                    sr.Measurement(
                        coded(codes.quantity),
                        value,
                        coded(codes.unit),
                        derivation=coded(derivation),
                        method=coded(codes.method),
                        referenced_images=images,
                    )
                )
    return found


def _evaluations(rating: Rating | None, table: RatingTable | None) -> list[Any]:
    """Codes of the codebook as questions and answers; the scheme's version is the codebook's."""
    if rating is None or table is None:
        return []
    sr = require_highdicom().sr
    if rating.excluded:
        return [sr.QualitativeEvaluation(coded(RATED), coded(EXCLUDED))]
    found = []
    for field in table.codebook.fields:
        if field.name in rating.codes:
            question, answer = rating_concepts(table.codebook, field.name, rating.codes[field.name])
            found.append(sr.QualitativeEvaluation(coded(question), coded(answer)))
    return found


def rating_concepts(codebook: Codebook, field: str, code: str) -> tuple[Concept, Concept]:
    """Question and answer of a rating as private codes: ("para", …) and ("para.hypo", …).

    The answer carries its question, for the same word means different things in two of them.
    """
    asked = codebook[field]
    label = next(c.label for c in asked.codes if c.code == code)
    question = Concept(field, PRIVATE, asked.label[:64], codebook.version)
    return question, Concept(f"{field}.{code}", PRIVATE, label[:64], codebook.version)


def _ratings_of(table: RatingTable | None, case: str, segments: Mapping[str, Any]) -> dict[str, Rating]:
    if table is None:
        return {}
    rows = [row for row in table.first.values() if not case or row.case == case]
    stale = sum(row.stale for row in rows)
    if stale:
        raise InputError(
            f"{stale} ratings of rater {table.rater} are older than the outline of their lesion.",
            "Rate these lesions again before the export.",
        )
    rated = {row.rating.uid: row.rating for row in rows}
    if not set(rated) & set(segments):
        raise InputError(f"No rating of rater {table.rater} is of these lesions.", "Give the ratings of this case.")
    return rated
