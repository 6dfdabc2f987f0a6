"""Lock and export of a research read, from the review in the scene to files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import vtk

from ..errors import InputError
from ..lesions.deidentify import Identity
from ..lesions.exports import BidsCase, Export, export_review
from ..lesions.measure_tables import measure_rows
from ..lesions.rating_tables import RatingTable
from ..lesions.tables import format_value, write_json
from ..notice import RESEARCH_USE
from .lesion_jump import field_of_view_mm
from .lesion_review import LesionReview
from .volumes import array_of, grid_of

if TYPE_CHECKING:
    from ..lesions.strip import Strip


@dataclass(frozen=True)
class ReadLock:
    """A locked read: SHA-256 over outlines, ratings, measures and provenance of this version."""

    version: int
    sha256: str
    locked_utc: str


def lock_path(review: LesionReview) -> Path:
    """The lock beside the rating file."""
    path = review.reading.path
    return path.with_name(f"{path.stem}_lock.json")


def lock_review(review: LesionReview) -> ReadLock:
    """Lock the read: from here on nothing changes until it is unlocked.

    Raises
    ------
    InputError
        If lesions are neither rated nor excluded, or the read is locked already.
    """
    if review.is_locked:
        raise InputError("The research read is locked already.", "Unlock it to change it.")
    waiting = review.reading.unrated(review.lesions)
    if waiting:
        raise InputError(
            f"{len(waiting)} of {len(review.reading.order)} showings are neither rated nor excluded.",
            "Rate them, or exclude them with a reason.",
        )
    earlier = read_lock(review)
    lock = ReadLock(
        version=1 if earlier is None else earlier.version + 1,
        sha256=content_sha256(review),
        locked_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    write_json(lock_path(review), {"kind": "chisep-read-lock", "notice": RESEARCH_USE, "locked": True, **vars(lock)})
    review.is_locked = True
    return lock


def unlock_review(review: LesionReview) -> None:
    """Allow changes again; the next lock is the next version, and what was exported stays as it is."""
    lock = read_lock(review)
    if not review.is_locked or lock is None:
        raise InputError("The research read is not locked.", "Lock it first.")
    write_json(lock_path(review), {"kind": "chisep-read-lock", "notice": RESEARCH_USE, "locked": False, **vars(lock)})
    review.is_locked = False


def read_lock(review: LesionReview) -> ReadLock | None:
    """The last lock of this read, None if it was never locked."""
    content = _lock_content(review)
    return None if content is None else ReadLock(content["version"], content["sha256"], content["locked_utc"])


def resume_lock(review: LesionReview) -> None:
    """Take over from the file whether the read is locked."""
    content = _lock_content(review)
    review.is_locked = content is not None and bool(content.get("locked"))


def is_intact(review: LesionReview) -> bool:
    """True if everything under the lock is as it was when it was locked."""
    lock = read_lock(review)
    return lock is not None and lock.sha256 == content_sha256(review)


def content_sha256(review: LesionReview) -> str:
    """SHA-256 over outlines, ratings, measures and provenance, in a form that does not depend on the file's layout."""
    content = {
        "ratings": json.loads(review.reading.path.read_text(encoding="utf-8")),
        "outlines": [[lesion.uid, lesion.outline] for lesion in review.lesions.lesions],
        # In the digits of the table: the last bits may differ between machines.
        "measures": [
            {name: format_value(value) for name, value in row.items()} for row in measure_rows(review.measure())
        ],
        "provenance": provenance(review),
    }
    plain = json.dumps(content, sort_keys=True, ensure_ascii=True, default=str, separators=(",", ":"))
    return hashlib.sha256(plain.encode("ascii")).hexdigest()


def provenance(review: LesionReview) -> dict[str, Any]:
    """What made the maps and with which settings they were read; no path, no name."""
    reading = review.reading
    return {
        "Case": review.case,
        "Maps": review.maps.provenance(),
        "Codebook": f"{reading.codebook.version} {reading.codebook.sha256}",
        "Seed": reading.seed,
        "Blind": reading.is_blind,
        "Vessels": review.vessels_from,
        "MaskResampled": not np.isnan(review.outlines.resampled_dice),
        "RoundTripDice": None if np.isnan(review.outlines.resampled_dice) else review.outlines.resampled_dice,
    }


def export_read(
    review: LesionReview,
    root: str | Path,
    *,
    case: BidsCase | None = None,
    identity: Identity | None = None,
    consensus: str | Path | None = None,
    with_maps: bool = True,
) -> Export:
    """Write the locked read as a BIDS derivative below ``root``, search it for the identity, lock its files.

    Raises
    ------
    InputError
        If the read is not locked or has changed under its lock.
    IdentityFound
        If the patient's name, ID or birth date stands in anything that would be written.
    """
    lock = _require_lock(review)
    measures = review.measure()
    lesions = review.lesions
    maps = review.maps.arrays()
    exported = {name: array for name, array in maps.items() if name != "qsm"} if with_maps else None
    about = {
        "Case": review.case,
        "Variant": review.maps.provenance().get("method", "n/a"),
        "Grid": lesions.grid.describe(),
        "Vessels": review.vessels_from,
        "WhiteMatter": "given" if review.maps.given("white_matter") is not None else "whole mask of the maps",
        "Resampled": not np.isnan(review.outlines.resampled_dice),
    }
    figures = sorted(picture_folder(review).glob("*.png")) if picture_folder(review).is_dir() else []
    return export_review(
        root,
        case or BidsCase(review.case),
        lesions=lesions,
        measures=measures,
        measures_about=about,
        ratings=[RatingTable.of([review.reading], {review.case: lesions})],
        provenance={**provenance(review), "VTKVersion": vtk.vtkVersion.GetVTKVersion(), "Lock": vars(lock)},
        identity=identity,
        consensus=consensus,
        maps=exported,
        figures=figures,
    )


def export_dicom_read(
    review: LesionReview, folder: str | Path, *, identity: Identity | None = None, sources: Sequence[Any] = ()
) -> tuple[Path, ...]:
    """Write the locked read as DICOM: parametric maps, segmentation, and values with ratings as structured document.

    Parameters
    ----------
    sources
        Headers of the scan (`dicom_export.reference.read_headers`); without them the study is a new one.

    Raises
    ------
    InputError
        If the read is not locked, has changed under its lock, or highdicom is missing.
    IdentityFound
        If the patient's identity stands in a file.
    """
    from ..dicom_export.codes import MAPS
    from ..dicom_export.export import export_dicom

    _require_lock(review)
    lesions, arrays = review.lesions, review.maps.arrays()
    rows = [replace(r, maps={n: s for n, s in r.maps.items() if n in MAPS}) for r in review.measure()]
    return export_dicom(
        folder,
        {name: array for name, array in arrays.items() if name in MAPS},
        lesions.grid,
        case=review.case,
        lesions=lesions,
        measures=rows,
        ratings=[RatingTable.of([review.reading], {review.case: lesions})],
        sources=sources,
        identity=identity,
        origin=str(review.maps.provenance().get("method", "")),
    )


def picture_folder(review: LesionReview) -> Path:
    """Where picture strips of this read go."""
    return review.reading.path.parent / "figures"


def strip_of(review: LesionReview, uid: str, *, label: str = "", tile: int = 220) -> Strip:
    """Picture strip of a lesion: anatomical volumes on the maps' grid first, then the maps."""
    from ..lesions.strip import lesion_strip  # with Pillow, without which the module must load

    arrays: dict[str, np.ndarray] = {}
    for name in review.maps.anatomy_ids:
        node = review.maps.node(name)
        if grid_of(node).matches(review.maps.grid):
            arrays[name] = array_of(node)
    arrays.update(review.maps.arrays())
    lesion = review.lesions[uid]
    return lesion_strip(
        arrays, review.lesions, uid, case=review.case, label=label, tile=tile, field_mm=field_of_view_mm(lesion)
    )


def write_thumbnail(review: LesionReview, uid: str, path: str | Path, *, tile: int = 96) -> Path:
    """Write a small picture of both sources around a lesion, without outline, for the reading screen."""
    from ..lesions.strip import lesion_thumbnail

    arrays = {name: array for name, array in review.maps.arrays().items() if name in ("chi_para", "chi_dia")}
    arrays = arrays or dict(list(review.maps.arrays().items())[:1])
    lesion = review.lesions[uid]
    lesion_thumbnail(arrays, review.lesions, uid, field_mm=field_of_view_mm(lesion), tile=tile).save(path)
    return Path(path)


def save_strip(review: LesionReview) -> Path:
    """Write the picture strip of the lesion that is looked at, named by its place: blind readers learn nothing."""
    place = review.current
    label = f"lesion {place.position + 1}" if review.reading.is_blind else review.lesions[place.uid].name
    path = picture_folder(review) / f"{review.case}_{label.replace(' ', '-')}.png"
    return strip_of(review, place.uid, label=label).write(path)


def _require_lock(review: LesionReview) -> ReadLock:
    lock = read_lock(review)
    if not review.is_locked or lock is None:
        raise InputError("The research read is not locked.", "Lock it, then export.")
    if not is_intact(review):
        raise InputError("Something has changed since the read was locked.", "Unlock, look at it, and lock again.")
    return lock


def _lock_content(review: LesionReview) -> dict[str, Any] | None:
    path = lock_path(review)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["kind"] != "chisep-read-lock":
            raise ValueError("it is another kind of file")
        int(content["version"]), str(content["sha256"]), str(content["locked_utc"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.name} is no usable lock: {error}", "Restore it from a copy.") from error
    return content
