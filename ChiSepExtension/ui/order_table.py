"""The reading order as a table: in blind reading places and states only, otherwise names and sizes as well."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from ..mrml.lesion_review import LesionReview

_ROW_HEIGHT = 22


class OrderTable:
    """Follows the ratings; a click goes to the place.

    Parameters
    ----------
    table
        QTableWidget.
    goTo
        ``goTo(position)``.
    """

    def __init__(self, table, goTo: Callable[[int], None]) -> None:
        self._table, self._goTo = table, goTo
        self._places: list[tuple[str, bool]] = []
        self._states: list[str] = []
        table.verticalHeader().defaultSectionSize = _ROW_HEIGHT
        if not table.connect("cellClicked(int,int)", lambda row, _column: self._goTo(row)):
            raise RuntimeError("The reading order has lost its signal.")

    def fill(self, review: LesionReview) -> None:
        """Build the rows anew: lesions have come or gone."""
        ratings, lesions, table = review.reading, review.outlines.history.current, self._table
        self._places = [(place.uid, place.is_repeat) for place in ratings.order]
        self._states = [""] * len(self._places)
        headers = [_("#"), _("State")] if ratings.is_blind else [_("#"), _("Lesion"), _("mm"), _("State")]
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        table.setRowCount(len(self._places))
        for row, (uid, _repeat) in enumerate(self._places):
            texts = [str(row + 1)]
            if not ratings.is_blind:
                texts += [lesions[uid].name, f"{lesions[uid].max_diameter_mm:.1f}"]
            for column, text in enumerate([*texts, ""]):
                item = qt.QTableWidgetItem(text)
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        self.update(review)

    def update(self, review: LesionReview) -> None:
        """Write the states that have changed, and select the current place."""
        if [(place.uid, place.is_repeat) for place in review.reading.order] != self._places:
            self.fill(review)
            return
        column = self._table.columnCount - 1
        for row, text in enumerate(states(review)):
            if text != self._states[row]:
                self._table.item(row, column).setText(text)
                self._states[row] = text
        if self._table.currentRow() != review.current.position:
            self._table.blockSignals(True)
            self._table.setCurrentCell(review.current.position, 0)
            self._table.blockSignals(False)


def states(review: LesionReview) -> list[str]:
    """State of every place in words with a sign before them: colour is never the only cue."""
    ratings, lesions = review.reading, review.outlines.history.current
    outlines = {lesion.uid: lesion.outline for lesion in lesions.lesions}
    found = []
    for place in ratings.order:
        rating = ratings.rating(place.uid, place.is_repeat)
        draft = ratings.draft(place.uid, place.is_repeat)
        if rating is None:
            text = _("… begun") if draft.codes or draft.comment or draft.flag else ""
        elif rating.outline != outlines[place.uid]:
            text = _("! outline changed")
        else:
            text = _("× excluded") if rating.excluded else _("✓ rated")
        found.append(text + (_("  ⚑ flagged") if (rating or draft).flag else ""))
    return found
