"""What one reader says about the lesions of one case, safe on disk after every change.

The working file is JSON, written whole by atomic rename: a crash leaves the state before or after the last change,
never half of it. What the reader is doing right now (the draft) is saved as well, so that a killed program loses at
most one key press.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from ..errors import InputError
from ..notice import RESEARCH_USE
from .blinding import Presentation, reading_order
from .codebook import Codebook, codebook_from_json
from .components import LesionSet
from .tables import write_json

_KIND = "chisep-ratings"
_SCHEMA = 1


@dataclass(frozen=True)
class Rating:
    """One committed judgement of one lesion.

    Parameters
    ----------
    repeat
        True for the second, hidden showing of a lesion.
    codes
        Code by field of the codebook; a field that was not looked at is absent.
    excluded
        Why the lesion was left out; empty if it was rated.
    outline
        Hash of the outline that was seen: another outline makes the rating stale.
    display
        Windows and other display settings during the rating, as "window_chi_para_ppb": (0.0, 50.0).
    display_changed
        True if a window differed from the preset.
    committed
        UTC, ISO 8601.
    seconds
        From showing to commit; recorded, not shown.
    """

    uid: str
    repeat: bool = False
    codes: Mapping[str, str] = field(default_factory=dict)
    excluded: str = ""
    comment: str = ""
    flag: bool = False
    outline: str = ""
    display: Mapping[str, object] = field(default_factory=dict)
    display_changed: bool = False
    committed: str = ""
    seconds: float | None = None


class RatingFile:
    """The rating file of one reader and one case; every method that changes something saves it.

    Make one with `create` or `open`. ``order`` is the reading order; lesions that appear later (a split) come last.
    """

    def __init__(self, path: Path, codebook: Codebook, content: dict, now: Callable[[], datetime]) -> None:
        self.path = path
        self.codebook = codebook
        self._content = content
        self._now = now
        self._ratings = {(r.uid, r.repeat): r for r in (Rating(**entry) for entry in content["ratings"])}
        self._drafts = {(r.uid, r.repeat): r for r in (Rating(**entry) for entry in content["drafts"])}
        self._stamp: tuple[int, int] | None = None

    @classmethod
    def create(
        cls,
        path: str | os.PathLike,
        codebook: Codebook,
        lesions: LesionSet,
        *,
        rater: str,
        case: str,
        patient: str = "",
        seed: int | None = 0,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> RatingFile:
        """Start a rating file; an existing one is never overwritten.

        Parameters
        ----------
        rater, case, patient
            Codes of letters and digits, no names; the patient's code groups the cases of one person.
        seed
            Of the reading order with hidden repeats (blind reading); None reads in order of volume without repeats.
        """
        path = Path(path)
        for what, code in (("rater", rater), ("case", case), ("patient", patient or case)):
            if not re.fullmatch("[A-Za-z0-9]+", code):
                raise InputError(f"The {what} code {code!r} is not usable.", "Use letters and digits only, no names.")
        if path.exists():
            raise InputError(f"{path} exists.", "Open it to go on, or choose another name.")
        order = (
            [Presentation(n, uid, False) for n, uid in enumerate(lesions.uids)]
            if seed is None
            else reading_order(lesions.uids, seed)
        )
        content = {
            "kind": _KIND,
            "schema": _SCHEMA,
            "notice": RESEARCH_USE,
            "rater": rater,
            "case": case,
            "patient": patient or case,
            "seed": seed,
            "blind": seed is not None,
            "codebook": codebook.content,
            "codebook_sha256": codebook.sha256,
            "started": _iso(now()),
            "order": [[p.uid, p.is_repeat] for p in order],
            "ratings": [],
            "drafts": [],
        }
        ratings = cls(path, codebook, content, now)
        ratings._save()
        return ratings

    @classmethod
    def open(
        cls, path: str | os.PathLike, *, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    ) -> RatingFile:
        """Go on with a rating file, also after a crash."""
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["kind"] != _KIND or content["schema"] != _SCHEMA:
                raise ValueError(f"kind {content['kind']}, schema {content['schema']}")
            codebook = codebook_from_json(content["codebook"])
            if codebook.sha256 != content["codebook_sha256"]:
                raise ValueError("its codebook was changed by hand")
            ratings = cls(path, codebook, content, now)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no usable rating file: {error}", "Restore it from a copy.") from error
        _remove_partial(path)
        ratings._stamp = ratings._stamp_on_disk()
        return ratings

    @property
    def rater(self) -> str:
        return self._content["rater"]

    @property
    def case(self) -> str:
        return self._content["case"]

    @property
    def patient(self) -> str:
        return self._content["patient"]

    @property
    def seed(self) -> int | None:
        return self._content["seed"]

    @property
    def is_blind(self) -> bool:
        return self._content["blind"]

    @property
    def order(self) -> tuple[Presentation, ...]:
        return tuple(Presentation(n, uid, repeat) for n, (uid, repeat) in enumerate(self._content["order"]))

    @property
    def ratings(self) -> tuple[Rating, ...]:
        """Committed ratings in reading order; those of lesions that no longer exist come last."""
        places = {(uid, repeat): n for n, (uid, repeat) in enumerate(self._content["order"])}
        return tuple(sorted(self._ratings.values(), key=lambda r: places.get((r.uid, r.repeat), len(places))))

    def rating(self, uid: str, repeat: bool = False) -> Rating | None:
        return self._ratings.get((uid, repeat))

    def draft(self, uid: str, repeat: bool = False) -> Rating:
        """What was chosen but not committed; an empty rating at the start. Nothing is ever pre-selected."""
        return self._drafts.get((uid, repeat), Rating(uid, repeat))

    def may_show(self, what: str, uid: str, repeat: bool = False) -> bool:
        """Whether the reader may see something of a lesion at this showing.

        Parameters
        ----------
        what
            "hint" (an automatic suggestion, such as the change against a matched prior) and "rating" (what was said
            of it): after the commit of this showing only. "numbers" (measures): so in blind reading, else always.
        """
        if what not in ("hint", "numbers", "rating"):
            raise ValueError(f"{what!r} is none of hint, numbers, rating.")
        return (uid, repeat) in self._ratings or (what == "numbers" and not self.is_blind)

    def change(
        self, uid: str, repeat: bool = False, *, codes: Mapping[str, str | None] | None = None, **other
    ) -> Rating:
        """Change the draft: ``codes`` by field (None clears one), ``comment``, ``flag``, ``display`` ….

        Codes whose condition is gone (core inside rim, after rim was changed) are dropped.
        """
        self._require_open(uid, repeat)
        old = self.draft(uid, repeat)
        merged = {**old.codes, **(codes or {})}
        kept = self.codebook.without_orphans({k: v for k, v in merged.items() if v is not None})
        self.codebook.check(kept, complete=False)
        draft = replace(old, codes=kept, **other)
        self._drafts[uid, repeat] = draft
        self._save()
        return draft

    def commit(
        self,
        uid: str,
        repeat: bool = False,
        *,
        outline: str,
        excluded: str = "",
        seconds: float | None = None,
        **change,
    ) -> Rating:
        """Turn the draft (with last changes) into a rating. ``excluded`` gives the reason to leave the lesion out."""
        self._require_open(uid, repeat)
        old = self.draft(uid, repeat)
        codes = self.codebook.without_orphans(
            {k: v for k, v in {**old.codes, **change.pop("codes", {})}.items() if v is not None}
        )
        self.codebook.check(codes, complete=not excluded)
        rating = replace(
            old, codes=codes, excluded=excluded, outline=outline, seconds=seconds, committed=_iso(self._now()), **change
        )
        self._ratings[uid, repeat] = rating
        self._drafts.pop((uid, repeat), None)
        self._save()
        return rating

    def reopen(self, uid: str, repeat: bool = False) -> Rating:
        """Make a committed rating a draft again."""
        rating = self._ratings.pop((uid, repeat), None)
        if rating is None:
            raise InputError("This lesion is not rated.", "Rate it first.")
        self._drafts[uid, repeat] = replace(rating, committed="", excluded="")
        self._save()
        return self._drafts[uid, repeat]

    def follow(self, lesions: LesionSet) -> None:
        """Take over the current outlines: new lesions join the end of the order, lost ones leave it.

        Ratings of lost lesions stay in the file: an undo brings the lesion back with its rating.
        """
        existing = set(lesions.uids)
        order = [(uid, repeat) for uid, repeat in self._content["order"] if uid in existing]
        known = {uid for uid, _ in order}
        order += [(uid, False) for uid in lesions.uids if uid not in known]
        if [list(entry) for entry in order] != self._content["order"]:
            self._content["order"] = [list(entry) for entry in order]
            self._save()

    def stale(self, lesions: LesionSet) -> tuple[Rating, ...]:
        """Ratings whose lesion has another outline now than the reader saw."""
        outlines = {lesion.uid: lesion.outline for lesion in lesions.lesions}
        return tuple(r for r in self.ratings if r.uid in outlines and r.outline != outlines[r.uid])

    def unrated(self, lesions: LesionSet | None = None) -> tuple[Presentation, ...]:
        """Places of the reading order without a valid rating: none yet, or a stale one."""
        stale = {(r.uid, r.repeat) for r in self.stale(lesions)} if lesions else set()
        return tuple(
            p for p in self.order if (p.uid, p.is_repeat) not in self._ratings or (p.uid, p.is_repeat) in stale
        )

    def next_unrated(self, after: int = -1, lesions: LesionSet | None = None) -> Presentation | None:
        """The first place without a valid rating behind position ``after``, wrapping round; None if all are rated."""
        waiting = self.unrated(lesions)
        return next((p for p in waiting if p.position > after), waiting[0] if waiting else None)

    def progress_text(self, lesions: LesionSet | None = None) -> str:
        """ "23/61 · 4 flagged"; hidden repeats count like all others."""
        done = len(self._content["order"]) - len(self.unrated(lesions))
        places = {(uid, repeat) for uid, repeat in self._content["order"]}
        flagged = len({r.uid for key, r in {**self._ratings, **self._drafts}.items() if r.flag and key in places})
        return f"{done}/{len(places)} · {flagged} flagged"

    def _require_open(self, uid: str, repeat: bool) -> None:
        if (uid, repeat) in self._ratings:
            raise InputError("This lesion is rated and committed.", "Re-open it to change the rating.")
        if [uid, repeat] not in self._content["order"]:
            raise InputError("This lesion is not in the reading order.", "Load the lesions of this rating file.")

    def _save(self) -> None:
        if self._stamp is not None and self._stamp_on_disk() != self._stamp:
            raise InputError(
                f"{self.path} was changed by another program since it was opened.",
                "Close the other window, and open the file again; the last change was not saved.",
            )
        self._content["ratings"] = [asdict(rating) for rating in self.ratings]
        self._content["drafts"] = [asdict(rating) for rating in self._drafts.values()]
        write_json(self.path, self._content)
        self._stamp = self._stamp_on_disk()

    def _stamp_on_disk(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino


def summary_counts(ratings: Iterable[Rating], codebook: Codebook) -> dict[str, dict[str, int]]:
    """How often each code was given, by field; hidden repeats and excluded lesions are left out.

    Counts, never conclusions.
    """
    used: Sequence[Rating] = [r for r in ratings if not r.repeat and not r.excluded]
    return {f.name: {code: sum(r.codes.get(f.name) == code for r in used) for code in f.order} for f in codebook.fields}


def _remove_partial(path: Path) -> None:
    """Remove what a killed writer of this file left behind."""
    for folder in path.parent.glob(".partial-*"):
        content = [item.name for item in folder.iterdir()]
        if content in ([], [path.name]):
            shutil.rmtree(folder, ignore_errors=True)


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")
