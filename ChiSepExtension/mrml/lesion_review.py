"""The review of one case in a scene: outlines, numbers that follow them, and what a reader says about each lesion.

Everything that the reading screen shows is asked from here, and everything it does is one call of a method here, so
that a script can do the same without a window.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..lesions.blinding import Presentation
from ..lesions.codebook import load_codebook
from ..lesions.components import Lesion, LesionSet
from ..lesions.lesion_files import read_labels
from ..lesions.lineage import Event, PriorMatch, match_prior
from ..lesions.measures import LesionMeasures, Measurer
from ..lesions.ratings import Rating, RatingFile
from ..progress import NEVER, CancelToken, Progress, part, silent
from .lesion_display import COMPLETED, FLAGGED, IN_PROGRESS, NOT_STARTED, set_status
from .lesion_outlines import LesionOutlines, observe, unobserve
from .lesion_segmentation import labels_of
from .review_maps import ReviewMaps


class LesionReview:
    """Lesions, numbers and ratings of a case.

    Parameters
    ----------
    scene
        MRML scene; the review ends when it is closed.
    maps
        What is measured and shown.
    case
        Code of the case (letters and digits): what nodes, pictures and files are called after.
    """

    def __init__(self, scene, maps: ReviewMaps, *, case: str = "C001", patient: str = "") -> None:
        self.scene, self.maps, self.case, self.patient = scene, maps, case, patient or case
        self.ratings: RatingFile | None = None
        self.is_locked = False
        self.is_closed = False
        #: Called after outlines have changed, and after something that a saved scene should hold.
        self.changed: Callable[[], None] = lambda: None
        self.stored: Callable[[], None] = lambda: None
        self._position = 0
        self._shown_at = 0.0
        self._rows: dict[str, LesionMeasures] = {}
        self._rows_of: LesionSet | None = None
        self._measurer: tuple[tuple, Measurer] | None = None
        self.vessels_from = "not looked for"
        self._prior: dict[str, PriorMatch] = {}
        self._observed: list[tuple[Any, int]] = []
        reference = next(iter(maps.nodes.values()))
        self.outlines = LesionOutlines(
            scene, reference, maps.grid, case, followed=self._followed, touched=lambda: self.changed()
        )
        self._observed.append(observe(scene, scene.StartCloseEvent, self.close))

    # --- outlines -------------------------------------------------------------------------------------------------

    def import_lesions(self, source, *, resample: bool = False) -> LesionSet:
        """Take over outlines from a segmentation, a label map or a file, see `LesionOutlines.take_over`."""
        self._require_open()
        lesions = self.outlines.take_over(source, resample=resample)
        self._rows, self._rows_of = {}, None
        self.stored()
        return lesions

    @property
    def node(self):
        """The segmentation of the lesions."""
        return self.outlines.node

    @property
    def lesions(self) -> LesionSet:
        """Lesions as they are drawn now."""
        return self.outlines.current

    def split(self, uid: str, parts: np.ndarray | None = None) -> tuple[Lesion, ...]:
        """Replace a lesion by its connected components (or the given parts)."""
        self._require_open()
        return self.outlines.split(uid, parts)

    def merge(self, uids: Sequence[str]) -> Lesion:
        """Replace lesions by one."""
        self._require_open()
        return self.outlines.merge(uids)

    def delete(self, uid: str) -> None:
        """Remove a lesion's outline; its rating stays in the file."""
        self._require_open()
        self.outlines.delete(uid)

    def undo(self) -> Event | None:
        """Take the last change of outlines back."""
        self._require_open()
        return self.outlines.undo()

    def _followed(self) -> None:
        if self.ratings is not None:
            self.ratings.follow(self.outlines.history.current)
            self.update_status()
        self.changed()

    def match_prior(self, source) -> tuple[PriorMatch, ...]:
        """Match with the lesions of an earlier visit (node or file, registered to the maps); a hint for later."""
        if hasattr(source, "GetID"):
            prior = labels_of(source, self.maps.grid)[0].lesions(f"{self.case} prior")
        else:
            prior = read_labels(source).on(self.maps.grid).lesions(f"{self.case} prior")
        matches = match_prior(self.lesions, prior)
        self._prior = {match.uid: match for match in matches if match.uid}
        return matches

    def prior_of(self, uid: str) -> PriorMatch | None:
        return self._prior.get(uid)

    # --- numbers --------------------------------------------------------------------------------------------------

    def measure(self, *, progress: Progress = silent, cancel: CancelToken = NEVER) -> tuple[LesionMeasures, ...]:
        """One row per lesion; after an edit only the lesions that it can have changed are measured again."""
        lesions = self.lesions
        measurer = self._current_measurer(progress, cancel)
        if self._rows_of is not None and self._rows_of is not lesions:
            outlines = {lesion.uid: lesion.outline for lesion in self._rows_of.lesions}
            gone = set(outlines) - set(lesions.uids)
            new = {lesion.uid for lesion in lesions.lesions if outlines.get(lesion.uid) != lesion.outline}
            stale = {*measurer.affected(self._rows_of, gone), *measurer.affected(lesions, new)}
            self._rows = {uid: row for uid, row in self._rows.items() if uid in lesions.uids and uid not in stale}
        missing = {uid for uid in lesions.uids if uid not in self._rows}
        if missing:
            rows = measurer.measure(lesions, missing, progress=part(progress, 0.6, 1.0), cancel=cancel)
            self._rows.update({row.uid: row for row in rows})
        self._rows_of = lesions
        return tuple(self._rows[uid] for uid in lesions.uids)

    def measured(self, uid: str) -> LesionMeasures | None:
        """The row of a lesion if it has been measured as it is drawn now; measures nothing itself."""
        return self._rows.get(uid) if self._rows_of is self.outlines.history.current else None

    def _current_measurer(self, progress: Progress, cancel: CancelToken) -> Measurer:
        stamp = self.maps.stamp
        if self._measurer is None or self._measurer[0] != stamp:
            region = self.maps.region()
            arrays = self.maps.arrays(region)
            vessels, self.vessels_from = self.maps.vessels(arrays, region, part(progress, 0.0, 0.6), cancel)
            measurer = Measurer(
                arrays,
                region,
                self.maps.grid,
                white_matter=self.maps.optional("white_matter"),
                vessels=vessels,
                trust=self.maps.optional("trust"),
                resampled=not math.isnan(self.outlines.resampled_dice),
            )
            self._measurer, self._rows, self._rows_of = (stamp, measurer), {}, None
        return self._measurer[1]

    # --- ratings --------------------------------------------------------------------------------------------------

    def start_reading(self, path: str | Path, *, rater: str, seed: int | None = 0) -> RatingFile:
        """Open the rating file, or start one: with a seed blind (shuffled, hidden repeats), without in order."""
        path = Path(path)
        if path.exists():
            ratings = RatingFile.open(path)
            if (ratings.rater, ratings.case) != (rater, self.case):
                raise InputError(
                    f"{path.name} belongs to rater {ratings.rater} and case {ratings.case}.", "Choose another folder."
                )
        else:
            ratings = RatingFile.create(
                path, load_codebook(), self.lesions, rater=rater, case=self.case, patient=self.patient, seed=seed
            )
        self.ratings = ratings
        if ratings.is_blind:
            self.maps.conceal()
        ratings.follow(self.lesions)
        first = ratings.next_unrated(lesions=self.lesions)
        self.go_to(first.position if first else 0)
        self.update_status()
        self.stored()
        return ratings

    @property
    def current(self) -> Presentation:
        """The place of the reading order that is looked at."""
        order = self.reading.order
        self._position = min(self._position, len(order) - 1)
        return order[self._position]

    def go_to(self, position: int) -> Presentation:
        """Look at a place of the reading order; positions wrap round."""
        order = self.reading.order
        if not order:
            raise InputError("No lesion is left to read.", "Undo the deletion, or import lesions.")
        self._position = position % len(order)
        self._shown_at = time.monotonic()
        return self.current

    def next_unrated(self) -> Presentation | None:
        """The next place without a valid rating, None if all are rated."""
        return self.reading.next_unrated(self._position, self.lesions)

    def previous_unrated(self) -> Presentation | None:
        waiting = self.reading.unrated(self.lesions)
        before = [place for place in waiting if place.position < self._position]
        return before[-1] if before else waiting[-1] if waiting else None

    def change(self, codes: Mapping[str, str | None] | None = None, **other) -> Rating:
        """Change the draft of the current place: ``codes`` by field, ``comment``, ``flag``."""
        self._require_open()
        place = self.current
        return self.reading.change(place.uid, place.is_repeat, codes=codes, **other)

    def commit(self, *, excluded: str = "", **change) -> Rating:
        """Turn the draft of the current place into a rating, with the windows it was made in."""
        place = self.current
        return self.commit_rating(
            place.uid, place.is_repeat, excluded=excluded, seconds=time.monotonic() - self._shown_at, **change
        )

    def commit_rating(self, uid: str, repeat: bool = False, *, excluded: str = "", seconds=None, **change) -> Rating:
        """Commit the draft of a lesion's showing; a stale rating is replaced."""
        self._require_open()
        ratings, lesions = self.reading, self.lesions
        if ratings.rating(uid, repeat) in ratings.stale(lesions):
            ratings.reopen(uid, repeat)
        display, differs = self.maps.display_state()
        rating = ratings.commit(
            uid,
            repeat,
            outline=lesions[uid].outline,
            excluded=excluded,
            seconds=seconds,
            display=display,
            display_changed=differs,
            **change,
        )
        self.update_status()
        self.stored()
        return rating

    def reopen(self) -> Rating:
        """Make the rating of the current place a draft again."""
        self._require_open()
        place = self.current
        rating = self.reading.reopen(place.uid, place.is_repeat)
        self.update_status()
        self.stored()
        return rating

    def update_status(self) -> None:
        """Slicer's own status per segment; in blind reading only at the end: it would tell the repeats."""
        ratings = self.ratings
        lesions = self.outlines.history.current
        if ratings is None or (ratings.is_blind and ratings.unrated(lesions)):
            return
        stale = {r.uid for r in ratings.stale(lesions)}
        status = {}
        for uid in lesions.uids:
            rating, draft = ratings.rating(uid), ratings.draft(uid)
            if (rating or draft).flag:
                status[uid] = FLAGGED
            elif rating is not None and uid not in stale:
                status[uid] = COMPLETED
            else:
                status[uid] = IN_PROGRESS if draft.codes or uid in stale else NOT_STARTED
        set_status(self.node, status)

    @property
    def reading(self) -> RatingFile:
        """The rating file; `InputError` before a reading has been started."""
        if self.ratings is None:
            raise InputError("No reading has been started.", "Give a rater code and a folder, and start.")
        return self.ratings

    def _require_open(self) -> None:
        if self.is_locked:
            raise InputError("The research read is locked.", "Unlock it; the changed read becomes a new version.")

    # --- life -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the review; nodes and files stay."""
        if not self.is_closed:
            self.maps.reveal()
        self.is_closed = True
        self.outlines.close()
        unobserve(self._observed)
        self.changed = self.stored = lambda: None
