"""The joint session: discordant and flagged lesions, a final code for each, and who decided why.

The files of the raters are read and never written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError
from .agreement import pairs_of
from .codebook import Codebook
from .rating_tables import RatingTable
from .tables import MISSING, Column, escape, read_table, unescape, write_table

UNRESOLVED = "unresolved"


@dataclass(frozen=True)
class Decision:
    """One lesion and field that needs a decision.

    Parameters
    ----------
    a, b
        Codes of the raters; empty if a rater gave none.
    cause
        "discordant" or "flagged".
    final
        The joint code, "unresolved", or empty if not decided yet.
    by, reason
        Who decided (rater codes) and why.
    """

    case: str
    uid: str
    field: str
    a: str
    b: str
    cause: str
    final: str = ""
    by: str = ""
    reason: str = ""


def discordant(a: RatingTable, b: RatingTable, fields: Sequence[str] | None = None) -> tuple[Decision, ...]:
    """What the joint session has to look at: differing codes, and the required fields of flagged lesions.

    A lesion that one rater excluded and the other did not is discordant in the field "excluded".
    """
    found = []
    for x, y in pairs_of(a, b):
        one, other = x.rating, y.rating
        if bool(one.excluded) != bool(other.excluded):
            found.append(Decision(x.case, one.uid, "excluded", _yes(one.excluded), _yes(other.excluded), "discordant"))
            continue
        flagged = one.flag or other.flag
        for field in a.codebook.fields:
            if fields is not None and field.name not in fields:
                continue
            code_a, code_b = one.codes.get(field.name, ""), other.codes.get(field.name, "")
            if code_a != code_b:
                found.append(Decision(x.case, one.uid, field.name, code_a, code_b, "discordant"))
            elif flagged and field.required:
                found.append(Decision(x.case, one.uid, field.name, code_a, code_b, "flagged"))
    return tuple(found)


class Consensus:
    """The consensus file (TSV and JSON), saved after every decision."""

    def __init__(self, path: str | os.PathLike, a: RatingTable, b: RatingTable, fields: Sequence[str] | None = None):
        """Start the session, or go on with the file if it exists."""
        self.path = Path(path)
        self._a, self._b = a, b
        self._decisions = {(d.uid, d.field): d for d in discordant(a, b, fields)}
        if self.path.exists():
            self._resume()
        self._save()

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return tuple(self._decisions.values())

    @property
    def codebook(self) -> Codebook:
        """The codebook of both raters."""
        return self._a.codebook

    @property
    def open(self) -> tuple[Decision, ...]:
        """What is not decided yet; "unresolved" counts as decided."""
        return tuple(d for d in self.decisions if not d.final)

    def resolve(self, uid: str, field: str, final: str, *, by: str, reason: str = "") -> Decision:
        """Store the joint code, or "unresolved", with the rater codes that decided."""
        if (uid, field) not in self._decisions:
            raise InputError(f"{field!r} of lesion {uid} needs no decision.", "Choose one of the discordant list.")
        allowed = ("yes", "no") if field == "excluded" else self._a.codebook[field].order
        if final not in (*allowed, UNRESOLVED):
            raise InputError(f"{final!r} is no code of {field!r}.", f"Use one of {', '.join(allowed)}, {UNRESOLVED}.")
        if not by:
            raise InputError("Who decided is missing.", "Give the rater codes, such as AB+CD.")
        decision = replace(self._decisions[uid, field], final=final, by=by, reason=reason)
        self._decisions[uid, field] = decision
        self._save()
        return decision

    def _save(self) -> None:
        columns = [
            Column("case", "Code of the case."),
            Column("lesion_uid", "Identifier of the lesion outline."),
            Column("field", "Field of the codebook, or excluded."),
            Column("a", f"Code of rater {self._a.rater}; n/a if none was given."),
            Column("b", f"Code of rater {self._b.rater}; n/a if none was given."),
            Column(
                "cause", "Why the lesion was looked at again.", levels={"discordant": "codes differ", "flagged": ""}
            ),
            Column("final", "Joint code; unresolved if none was found; n/a if not decided yet."),
            Column("by", "Codes of those who decided. Escaped as inside a JSON string."),
            Column("reason", "Note on the decision. Escaped as inside a JSON string."),
        ]
        rows = [
            {
                **{k: v for k, v in vars(d).items() if k != "uid"},
                "lesion_uid": d.uid,
                "by": escape(d.by),
                "reason": escape(d.reason),
            }
            for d in self.decisions
        ]
        about = {
            "Raters": [self._a.rater, self._b.rater],
            "Codebook": self._a.codebook.content,
            "CodebookVersion": self._a.codebook.version,
            "CodebookSHA256": self._a.codebook.sha256,
        }
        write_table(self.path, columns, rows, about)

    def _resume(self) -> None:
        rows, about = read_table(self.path)
        if about.get("CodebookSHA256") != self._a.codebook.sha256 or about.get("Raters") != [
            self._a.rater,
            self._b.rater,
        ]:
            raise InputError(
                f"{self.path} is the consensus of other raters or another codebook.", "Choose another file name."
            )
        for row in rows:
            key = (row["lesion_uid"], row["field"])
            same = key in self._decisions and (_text(row["a"]), _text(row["b"])) == (
                self._decisions[key].a,
                self._decisions[key].b,
            )
            if row["final"] == MISSING:
                continue
            if not same:
                raise InputError(
                    f"{self.path}: the ratings of lesion {key[0]} have changed since the decision on {key[1]!r}.",
                    "Start a new consensus file.",
                )
            self._decisions[key] = replace(
                self._decisions[key], final=row["final"], by=_text(row["by"]), reason=_text(row["reason"])
            )


def _yes(reason: str) -> str:
    return "yes" if reason else "no"


def _text(field: str) -> str:
    return "" if field == MISSING else unescape(field)
