"""Ratings as a table: one row per lesion and showing, with the codebook in the JSON file beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .codebook import Codebook, codebook_from_json
from .components import LesionSet
from .ratings import Rating, RatingFile
from .tables import MISSING, Column, escape, read_table, unescape, write_table


@dataclass(frozen=True)
class RatedLesion:
    """A rating with the codes of its case and patient, and whether the outline has changed since."""

    case: str
    patient: str
    rating: Rating
    stale: bool = False


@dataclass(frozen=True)
class RatingTable:
    """All ratings of one rater, over one or more cases."""

    rater: str
    codebook: Codebook
    rows: tuple[RatedLesion, ...]
    source: str = ""

    @classmethod
    def of(cls, files: Sequence[RatingFile], lesions: Mapping[str, LesionSet] | None = None) -> RatingTable:
        """Table of a reader's rating files; ``lesions`` by case tells which ratings are stale."""
        if not files:
            raise InputError("There is no rating file.", "Choose at least one.")
        first = files[0]
        rows = []
        for file in files:
            if file.rater != first.rater or file.codebook.sha256 != first.codebook.sha256:
                raise InputError(
                    f"{file.path.name} is of another rater or codebook than {first.path.name}.",
                    "Put files of one rater and one codebook into a table.",
                )
            stale: set[tuple[str, bool]] = set()
            if lesions and file.case in lesions:
                stale = {(r.uid, r.repeat) for r in file.stale(lesions[file.case])}
            rows += [RatedLesion(file.case, file.patient, r, (r.uid, r.repeat) in stale) for r in file.ratings]
        return cls(first.rater, first.codebook, tuple(rows), ", ".join(str(file.path) for file in files))

    @property
    def first(self) -> dict[str, RatedLesion]:
        """First showings by lesion UID."""
        return {row.rating.uid: row for row in self.rows if not row.rating.repeat}

    @property
    def repeated(self) -> dict[str, RatedLesion]:
        """Hidden second showings by lesion UID."""
        return {row.rating.uid: row for row in self.rows if row.rating.repeat}


def write_ratings(
    path: str | os.PathLike, table: RatingTable, about: Mapping[str, object] | None = None
) -> tuple[Path, Path]:
    """Write the TSV and the JSON file that embeds the codebook; returns both paths."""
    columns, rows = ratings_rows(table)
    embedded = {
        "Rater": table.rater,
        "Codebook": table.codebook.content,
        "CodebookVersion": table.codebook.version,
        "CodebookSHA256": table.codebook.sha256,
    }
    return write_table(path, columns, rows, {**embedded, **(about or {})})


def ratings_rows(table: RatingTable) -> tuple[list[Column], list[dict[str, object]]]:
    """Columns and rows of the table; free text is escaped."""
    display = sorted({key for row in table.rows for key in row.rating.display})
    pairs = {k for k in display if any(isinstance(r.rating.display.get(k), (list, tuple)) for r in table.rows)}
    columns = [
        Column("case", "Code of the case."),
        Column("patient", "Code of the patient; groups cases for confidence intervals."),
        Column("lesion_uid", "Identifier of the lesion outline."),
        Column("repeat", "1 for the hidden second showing of a lesion.", levels={"0": "first", "1": "second showing"}),
        Column("position", "Place among the rows of this table, which keep the reading order."),
    ]
    for field in table.codebook.fields:
        levels = {code.code: f"{code.label}: {code.definition}" for code in field.codes}
        columns.append(Column(field.name, f"{field.label}. {field.description}", levels=levels))
    escaped = "Escaped as inside a JSON string."
    columns += [
        Column("excluded", f"Reason to leave the lesion out; n/a if it was rated. {escaped}"),
        Column("flag", "1 if flagged for the consensus session."),
        Column("comment", f"Comment of the rater. {escaped}"),
        Column("stale", "1 if the outline was changed after the rating."),
        Column("outline", "Hash of the outline that was rated."),
        Column("display_changed", "1 if a display window differed from the preset during the rating."),
        Column("committed_utc", "Time of the commit, UTC."),
        Column("seconds", "Time from showing to commit.", units="s"),
    ]
    for key in display:
        what = f"Display setting {key} during the rating"
        if key in pairs:
            columns += [Column(f"{key}_min", f"{what}, lower end."), Column(f"{key}_max", f"{what}, upper end.")]
        else:
            columns.append(Column(key, f"{what}. {escaped}"))
    rows = []
    for position, row in enumerate(table.rows):
        r = row.rating
        fields: dict[str, object] = {
            "case": row.case,
            "patient": row.patient,
            "lesion_uid": r.uid,
            "repeat": r.repeat,
            "position": position,
            **r.codes,
            "excluded": escape(r.excluded),
            "flag": r.flag,
            "comment": escape(r.comment),
            "stale": row.stale,
            "outline": r.outline,
            "display_changed": r.display_changed,
            "committed_utc": r.committed,
            "seconds": r.seconds,
        }
        for key, value in r.display.items():
            if key in pairs and value is not None:
                fields[f"{key}_min"], fields[f"{key}_max"] = value
            elif value is not None:
                fields[key] = escape(value) if isinstance(value, str) else value
        rows.append(fields)
    return columns, rows


def read_ratings(path: str | os.PathLike) -> RatingTable:
    """Read ratings: a table (TSV with its JSON file) or a working file (JSON). Row order does not matter.

    Raises
    ------
    InputError
        If the codebook is missing, a code is not in it, or a lesion stands twice.
    """
    path = Path(path)
    if path.suffix.lower() == ".json" and _is_working_file(path):
        return RatingTable.of([RatingFile.open(path)])
    if path.suffix.lower() == ".json":
        path = path.with_suffix(".tsv")
    rows, about = read_table(path)
    if "Codebook" not in about:
        raise InputError(
            f"{path.with_suffix('.json')} with the codebook is missing.", "Keep the TSV and its JSON file together."
        )
    codebook = codebook_from_json(about["Codebook"])
    if codebook.sha256 != about.get("CodebookSHA256"):
        raise InputError(f"The codebook beside {path} was changed after the export.", "Restore the original file.")
    rated, seen = [], set()
    for number, row in enumerate(rows, start=2):
        try:
            rating = _rating(row, codebook)
            place = RatedLesion(row["case"], row["patient"], rating, row["stale"] == "1")
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}, line {number}: {error}.", "Restore the original table.") from error
        if (rating.uid, rating.repeat) in seen:
            raise InputError(f"{path}, line {number}: lesion {rating.uid} stands twice.", "Remove one row.")
        seen.add((rating.uid, rating.repeat))
        rated.append(place)
    return RatingTable(str(about.get("Rater", "")), codebook, tuple(rated), str(path))


def _is_working_file(path: Path) -> bool:
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("kind") == "chisep-ratings"
    except (OSError, ValueError, AttributeError):
        return False


def _rating(row: Mapping[str, str], codebook: Codebook) -> Rating:
    def text(name: str) -> str:
        return "" if row[name] == MISSING else unescape(row[name])

    codes = {name: row[name] for name in codebook.names if row[name] != MISSING}
    codebook.check(codes, complete=False)
    return Rating(
        uid=row["lesion_uid"],
        repeat=row["repeat"] == "1",
        codes=codes,
        excluded=text("excluded"),
        comment=text("comment"),
        flag=row["flag"] == "1",
        outline=text("outline"),
        display_changed=row["display_changed"] == "1",
        committed=text("committed_utc"),
        seconds=None if row["seconds"] == MISSING else float(row["seconds"]),
    )
