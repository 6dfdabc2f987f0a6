"""What the reading screen shows of a lesion: place, progress, codes, numbers and a small picture; and what it hides."""

from __future__ import annotations

import math
import tempfile
import time
from html import escape
from pathlib import Path

import qt
from slicer.i18n import tr as _

from ..errors import without_command_line
from ..lesions.blinding import Presentation
from ..lesions.measure_tables import shown_map
from ..lesions.measures import LesionMeasures
from ..lesions.ratings import Rating
from ..mrml.lesion_review import LesionReview
from ..mrml.review_files import write_thumbnail

_TILE = 96
FATIGUE_MINUTES = 45
_NAMES = {
    "chi_para": "χ-para",
    "chi_dia": "χ-dia",
    "chi_total": "χ-total",
    "qsm": "QSM",
    "r2star": "R2*",
    "r2prime": "R2′",
}
_FLAGS = {
    "small": "below 3 mm: listed, not counted", "edge": "partly outside the mask of the maps",
    "nawm_global": "compared with the white matter of the whole brain",
    "no_reference": "no surroundings to compare with",
    "vein": "meets a vessel", "resampled": "outline resampled",
}  # fmt: skip
#: Keys and what they do; K, L and O belong to the display of the maps, also outside of the reading.
KEY_SHEET = (
    ("W .", "next lesion"), ("Q ,", "previous lesion"), ("N / Shift+N", "next / previous unrated"),
    ("1 2 3 4 0", "χ-para reduced, similar, increased, rim, cannot tell"),
    ("Shift+1 2 3 0", "χ-dia reduced, similar, increased, cannot tell"),
    ("P / Shift+P", "rim lesion yes or no / confidence"), ("C", "central vein sign"),
    ("Enter", "commit, go to the next unrated"), ("Backspace", "re-open"), ("E", "exclude, with a reason"),
    ("U", "flag"), ("M", "comment"), ("H (hold)", "outlines off"), ("J", "center on the lesion"),
    ("K / L / O", "layout / window / overlay"), ("S", "save picture"), ("Shift+E", "edit the outline"),
    ("?", "this sheet"),
)  # fmt: skip


class ReadingView:
    """Widgets of ``ReviewRead.ui`` that show; what they do is in `review_read`."""

    def __init__(self, ui) -> None:
        self._ui = ui
        self._folder = tempfile.TemporaryDirectory(prefix="chisep-thumbnail-")
        self._thumbnailOf: tuple[str, str] | None = None
        ui.readMessageLabel.visible = False

    def cleanup(self) -> None:
        self._folder.cleanup()

    def tell(self, text: str) -> None:
        self._ui.readMessageLabel.text = without_command_line(text)
        self._ui.readMessageLabel.visible = bool(text)

    def showStart(self, isInScene: bool) -> None:
        """No reading is under way."""
        ui = self._ui
        ui.startWidget.visible, ui.cardWidget.visible = True, False
        ui.readMessageLabel.visible = bool(ui.readMessageLabel.text)
        ui.startButton.text = _("Go on with the reading of this scene") if isInScene else _("Start reading")
        ui.readButton.text = _("Read")

    def show(self, review: LesionReview, card, *, editing: bool) -> None:
        """Show the place of the reading order that the review looks at."""
        ui, place = self._ui, review.current
        ratings, lesions = review.reading, review.outlines.history.current
        rating = ratings.rating(place.uid, place.is_repeat)
        isStale = rating is not None and rating.outline != lesions[place.uid].outline
        isOpen, isFree = rating is None, not review.is_locked
        ui.startWidget.visible, ui.cardWidget.visible = False, True
        ui.readMessageLabel.visible = bool(ui.readMessageLabel.text)
        ui.placeLabel.text = placeName(review, place) + (
            _(" · outline changed since")
            if isStale
            else ""
            if isOpen
            else _(" · excluded")
            if rating.excluded
            else _(" · rated")
        )
        progress = ratings.progress_text(lesions)
        ui.progressLabel.text = progress
        ui.readButton.text = _("Read") + "   " + progress
        ui.readProgressBar.setRange(0, len(ratings.order))
        ui.readProgressBar.setValue(len(ratings.order) - len(ratings.unrated(lesions)))
        for widget in (ui.codesWidget, ui.moreCodesWidget, ui.orderTable, ui.thumbnailLabel):
            widget.visible = not editing
        ui.editorWidget.visible = editing
        ui.keysLabel.visible = bool(ui.keysLabel.text) and not editing
        shown = self._readable(review, place, rating)
        card.show(shown.codes, isOpen and isFree)
        if not ui.commentEdit.focus:
            ui.commentEdit.text = shown.comment
        ui.flagCheckBox.checked = shown.flag
        for widget in (ui.commentEdit, ui.flagCheckBox, ui.excludeComboBox, ui.excludeButton):
            widget.enabled = isOpen and isFree
        ui.commitButton.enabled = (isOpen or isStale) and isFree
        ui.reopenButton.enabled = not isOpen and isFree
        ui.numbersLabel.text = _numbers(review, place)
        ui.numbersLabel.visible = bool(ui.numbersLabel.text) and not editing
        self._showThumbnail(review, place.uid)

    @staticmethod
    def _readable(review: LesionReview, place: Presentation, rating: Rating | None) -> Rating:
        """The draft, or what was said before; not in blind reading, for the lesion may come back."""
        if rating is None:
            return review.reading.draft(place.uid, place.is_repeat)
        return Rating(place.uid) if review.reading.is_blind and not review.is_locked else rating

    def _showThumbnail(self, review: LesionReview, uid: str) -> None:
        key = (uid, review.outlines.history.current[uid].outline)
        if self._thumbnailOf == key:
            return
        path = write_thumbnail(review, uid, Path(self._folder.name) / "lesion.png", tile=_TILE)
        self._ui.thumbnailLabel.setPixmap(qt.QPixmap(str(path)))
        self._thumbnailOf = key


class Fatigue:
    """Readers tire: after a while a line says so, once."""

    def __init__(self) -> None:
        self._start, self._isTold = time.monotonic(), False

    def text(self) -> str:
        minutes = (time.monotonic() - self._start) / 60
        if minutes < FATIGUE_MINUTES or self._isTold:
            return ""
        self._isTold = True
        return _("You have been reading for {minutes:.0f} minutes. A break keeps the ratings alike.").format(
            minutes=minutes
        )


def placeName(review: LesionReview, place: Presentation) -> str:
    """What the lesion is called on screen: in blind reading its place in the order, which tells nothing."""
    if review.reading.is_blind:
        return _("Lesion {number} of {count}").format(number=place.position + 1, count=len(review.reading.order))
    lesion = review.outlines.history.current[place.uid]
    return f"{lesion.name} · {lesion.max_diameter_mm:.1f} mm"


def keySheet() -> str:
    """Keys as an HTML table, two columns."""
    half = (len(KEY_SHEET) + 1) // 2
    rows = []
    for left, right in zip(KEY_SHEET[:half], (*KEY_SHEET[half:], ("", ""))):
        cells = "".join(
            f"<td><b>{escape(k)}</b>&nbsp;</td><td>{escape(_(what))}&nbsp;&nbsp;</td>" for k, what in (left, right)
        )
        rows.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _numbers(review: LesionReview, place: Presentation) -> str:
    """Local numbers, where the reader may see them; what suggests a code only after the commit."""
    ratings = review.reading
    if not ratings.may_show("numbers", place.uid, place.is_repeat) or (ratings.is_blind and not review.is_locked):
        return ""
    row = review.measured(place.uid)
    if row is None:
        return ""
    lines = [_line(name, row) for name in row.maps]
    if ratings.may_show("hint", place.uid, place.is_repeat):
        arc = row.maps["chi_para"].rim_arc if "chi_para" in row.maps else math.nan
        if not math.isnan(arc):
            lines.append(
                _("rim in {share:.0%} of the perimeter (a hint; noise alone gives 10 to 30 %)").format(share=arc)
            )
        prior = review.prior_of(place.uid)
        if prior is not None:
            lines.append(_("against the earlier visit: {change}").format(change=prior.change))
    if row.flags:
        lines.append(", ".join(_(_FLAGS.get(flag, flag)) for flag in row.flags))
    return "\n".join(lines)


def _line(name: str, row: LesionMeasures) -> str:
    shown, s = shown_map(name), row.maps[name]
    decimals = 0 if shown.unit == "ppb" else 1
    text = f"{_NAMES.get(name, name)}  {s.median * shown.factor:.{decimals}f} {shown.unit}"
    if not math.isnan(s.contrast):
        text += f"  ({s.contrast * shown.factor:+.{decimals}f} " + _("to its surroundings") + ")"
    return text.replace("-", "−").replace("χ−", "χ-")
