"""The reading screen: one lesion after the other, three key presses each, every press on disk at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from ..errors import ChiSepError
from ..mrml.lesion_segmentation import segment_ids
from ..mrml.review_files import save_strip
from ..mrml.review_scene import find
from .console_line import callText
from .order_table import OrderTable
from .outline_editor import OutlineEditor
from .reading_view import Fatigue, ReadingView, keySheet, placeName
from .review_actions import keyActions
from .review_card import LesionCard, keyOf
from .review_keys import ReadKeys, isTyping
from .review_surroundings import NoSurroundings
from .review_views import ReviewViews
from .waiting import busy

_SYNC_MS = 300
_EXCLUSIONS = ("not a lesion", "motion", "misregistration", "mask edge", "vein")


class ReadPart:
    """Read and Edit modes of one reading.

    Parameters
    ----------
    ui
        Widgets of ``ReviewRead.ui`` by name.
    logic
        The module's Logic.
    log
        Takes a line for the log.
    refreshed
        Called after something was rated, for the other sections.
    surroundings
        The rest of the module's panel.
    """

    def __init__(self, ui, logic, log: Callable[[str], None], refreshed: Callable[[], None], surroundings=None) -> None:
        self.ui, self._logic, self._log, self._refreshed = ui, logic, log, refreshed
        self._surroundings = surroundings or NoSurroundings()
        self._review = None
        self.card: LesionCard | None = None
        self.views = ReviewViews()
        self.editor = OutlineEditor(ui.editorWidget.layout())
        self._view = ReadingView(ui)
        self._isEntered = False
        self._fatigue = Fatigue()
        self.keys = ReadKeys(self.actions(), self._digit, self._peek)
        self.order = OrderTable(ui.orderTable, self.goTo)
        self._syncTimer = qt.QTimer()
        self._syncTimer.setSingleShot(True)
        self._syncTimer.setInterval(_SYNC_MS)
        ui.readingFolderPath.filters = ctk.ctkPathLineEdit.Dirs
        for reason in ("", *_EXCLUSIONS):
            ui.excludeComboBox.addItem(reason)
        for widget in (ui.startWidget, ui.cardWidget, ui.codesWidget, ui.moreCodesWidget, ui.editorWidget):
            widget.layout().setContentsMargins(0, 0, 0, 0)
        connected = [
            self._syncTimer.connect("timeout()", self.sync),
            ui.readButton.connect("contentsCollapsed(bool)", lambda _collapsed: self.refresh()),
            ui.commentEdit.connect("editingFinished()", self._commentEdited),
            ui.commentEdit.connect("returnPressed()", lambda: ui.commentEdit.clearFocus()),
            ui.flagCheckBox.connect("clicked(bool)", lambda on: self._do(lambda: self._review.change(flag=bool(on)))),
        ]
        for button, action in (
            (ui.startButton, self.start),
            (ui.readModeButton, lambda: self.setEditing(False)),
            (ui.editModeButton, lambda: self.setEditing(True)),
            (ui.excludeButton, self.exclude),
            (ui.previousButton, lambda: self.step(-1)),
            (ui.nextButton, lambda: self.step(1)),
            (ui.nextUnratedButton, lambda: self.nextUnrated()),
            (ui.commitButton, self.commit),
            (ui.reopenButton, self.reopen),
            (ui.recenterButton, self.recenter),
            (ui.pictureButton, self.savePicture),
            (ui.keysButton, self.toggleKeySheet),
            (ui.endButton, self.end),
        ):
            connected.append(button.connect("clicked(bool)", lambda _on, a=action: a()))
        if not all(connected):
            raise RuntimeError("A control of the reading screen has lost its signal.")
        self.refresh()

    @property
    def isReading(self) -> bool:
        review = self._review
        return review is not None and not review.is_closed and review.ratings is not None

    @property
    def isEditing(self) -> bool:
        return bool(self.ui.editModeButton.checked)

    def start(self) -> None:
        """Start the reading, or go on with the one in the folder or in the scene."""
        ui, logic = self.ui, self._logic
        folder, rater = ui.readingFolderPath.currentPath.strip(), ui.raterEdit.text.strip()
        if not folder or (not rater and find(slicer.mrmlScene) is None):
            self.tell(_("Give a rater code and a folder."))
            return
        try:
            if not logic.hasReview:
                if logic.resumeReview(folder) is None:
                    self.tell(_("Import a lesion mask first."))
                    return
                self._log(callText("ChiSepModuleLogic().resumeReview", folder=folder))
            problem = self._surroundings.whyNot(logic.review)
            if problem:
                self.tell(problem)
                return
            if logic.review.ratings is None:
                blind = bool(ui.blindCheckBox.checked)
                logic.startReading(folder, rater, blind=blind)
                self._log(callText("ChiSepModuleLogic().startReading", folder=folder, rater=rater, blind=blind))
            if not logic.review.reading.is_blind:
                busy(logic.measure)
        except ChiSepError as error:
            self.tell(str(error))
            return
        self._begin(logic.review)

    def _begin(self, review) -> None:
        self._review = review
        review.changed = self._edited
        if self.card is not None:
            self.card.release()
        self.card = LesionCard(review.reading.codebook, self.ui.codesWidget, self.ui.moreCodesWidget, self.choose)
        self._fatigue = Fatigue()
        self.ui.readModeButton.checked = True
        if self._isEntered:
            self.keys.install()
        self._surroundings.begin(review)
        self.tell("")
        self.order.fill(review)
        self.goTo(review.current.position)
        self.ui.orderTable.setFocus()  # hiding the start button would hand the keys to a text field
        self._refreshed()

    def end(self) -> None:
        """Leave the reading; its file is complete."""
        self._leave()
        self._review = None
        self._surroundings.end()
        self.refresh()
        self._refreshed()

    def enter(self) -> None:
        """The module is shown."""
        self._isEntered = True
        if self.isReading and not self.isEditing:
            self.keys.install()
        self.recenter()  # leaving took the colour off the lesion, and other modules move the views
        self.refresh()

    def exit(self) -> None:
        """The module is left: no key, no colour and no crosshair of ours stays."""
        self._isEntered = False
        if self.isReading and self.isEditing:
            self.ui.readModeButton.checked = True
        self._leave()

    def cleanup(self) -> None:
        self._isEntered = False
        self._leave()
        self._review = None
        self.editor.release()
        self._view.cleanup()

    def sceneCloses(self) -> None:
        """Nothing of the scene may be held."""
        self.keys.remove()
        self._syncTimer.stop()
        self.editor.release()
        self._review = None
        self._surroundings.end(isSceneOpen=False)
        self.refresh()

    def _leave(self) -> None:
        self.keys.remove()
        self._syncTimer.stop()
        self.editor.leave()
        self._do(lambda: self.views.leave(self._review))

    def actions(self) -> dict[str, Callable[[], None]]:
        """What the letter keys do."""
        return keyActions(self)

    def goTo(self, position: int) -> None:
        """Look at a place of the reading order."""

        def show() -> None:
            place = self._review.go_to(position)
            self.views.show(self._review, place.uid)

        if self.isReading:
            self._do(show)

    def step(self, by: int) -> None:
        """The place before or after; the order wraps round."""
        if self.isReading:
            self.goTo(self._review.current.position + by)

    def nextUnrated(self, backwards: bool = False) -> None:
        """The next place without a valid rating, or the one before."""
        if not self.isReading:
            return
        place = self._review.previous_unrated() if backwards else self._review.next_unrated()
        if place is None:
            self.tell(_("Every lesion is rated or excluded."))
        else:
            self.goTo(place.position)

    def recenter(self) -> None:
        """Centre the views again, after somebody has scrolled."""
        if self.isReading:
            self._do(lambda: self.views.show(self._review, self._review.current.uid))

    def choose(self, name: str, code: str | None) -> None:
        """Choose a code of a field, or take the choice back."""
        if self.isReading and self._isOpen():
            self._do(lambda: self._review.change({name: code}))

    def toggleFlag(self) -> None:
        if self.isReading and self._isOpen():
            self._do(lambda: self._review.change(flag=not self._draft().flag))

    def commit(self, excluded: str = "") -> None:
        """Store the rating, and go to the next lesion that has none."""
        if not self.isReading:
            return
        if self.ui.commentEdit.focus:
            self.ui.commentEdit.clearFocus()
        review, place = self._review, self._review.current
        name = placeName(review, place)

        def store() -> None:
            self._logic.requireAnonymous(f"{self.ui.commentEdit.text} {excluded}")
            rating = review.commit(excluded=excluded, comment=self.ui.commentEdit.text)
            # The log is read, too: in blind reading it must not tell what was said of a lesion that comes back.
            if not review.reading.is_blind:
                said = {**rating.codes, "comment": rating.comment or None, "flag": rating.flag or None}
                line = callText("ChiSepModuleLogic().rate", uid=place.uid, **said, excluded=excluded or None)
                self._log(line)

        if self._do(store):
            self.ui.excludeComboBox.setCurrentIndex(0)
            self.tell(self._fatigue.text())
            if review.next_unrated() is None:
                self.tell(_("{name} was the last one. Lock the research read when you are done.").format(name=name))
            else:
                self.nextUnrated()
            self._refreshed()

    def enterPressed(self) -> None:
        """Enter ends a text; only outside of texts it commits."""
        if self.ui.commentEdit.focus:
            self.ui.commentEdit.clearFocus()
        elif self.ui.excludeComboBox.focus:
            self.exclude()
        elif not isTyping():
            self.commit()

    def exclude(self) -> None:
        """Leave the lesion out, with the reason in the list."""
        reason = self.ui.excludeComboBox.currentText.strip()
        if not reason:
            self.tell(_("Choose or type why the lesion is excluded."))
            self.ui.excludeComboBox.setFocus()
            return
        self.ui.excludeComboBox.clearFocus()
        self.commit(excluded=reason)

    def reopen(self) -> None:
        """Make the rating of this place a draft again."""
        if self.isReading:
            self._do(self._review.reopen)
            self._refreshed()

    def savePicture(self) -> None:
        """Write the picture strip of this lesion."""
        if self.isReading:
            saved: list[Path] = []
            if self._do(lambda: saved.append(busy(lambda: save_strip(self._review)))):
                self.tell(_("Picture: {name}").format(name=saved[0].name))

    def toggleKeySheet(self) -> None:
        """Show which key does what, or hide it."""
        self.ui.keysLabel.text = "" if self.ui.keysLabel.text else keySheet()
        self.refresh()

    def setEditing(self, editing: bool) -> None:
        """Read mode or Edit mode: exactly one of them has the keys."""
        if not self.isReading:
            return
        if editing and self._review.is_locked:
            self.tell(_("The research read is locked. Unlock it; the changed read becomes a new version."))
            editing = False
        self.ui.editModeButton.checked = editing
        self.ui.readModeButton.checked = not editing
        self.keys.setEnabled(not editing)
        self._surroundings.setEditing(editing)
        if editing:
            self._do(self._openEditor)
        else:
            self.editor.leave()
            self.sync()
        self.refresh()
        if not editing:
            self.ui.orderTable.setFocus()

    def _openEditor(self) -> None:
        review = self._review
        segment = segment_ids(review.node).get(review.current.uid, "")
        source = next(iter([*review.maps.anatomy_ids, *review.maps.ids]))
        self.editor.enter(review.node, review.maps.node(source), segment)

    def sync(self) -> None:
        """Follow what was painted."""
        if self.isReading and self._review.outlines.is_dirty:
            self._do(self._review.outlines.sync)
            self.order.fill(self._review)
            self._refreshed()

    def refresh(self) -> None:
        """Show the state of the reading; also after the section was opened, which shows everything in it."""
        if not self.isReading:
            self._view.showStart(find(slicer.mrmlScene) is not None)
            return
        try:
            self._view.show(self._review, self.card, editing=self.isEditing)
            self.order.update(self._review)
        except ChiSepError as error:  # a map or the outlines were removed: the way out must stay open
            self.tell(str(error))

    def tell(self, text: str) -> None:
        """A line below the card; never a dialog per lesion."""
        self._view.tell(text)

    def _do(self, action: Callable[[], object]) -> bool:
        """Run an action; an error of ours is told in the panel. True if it went well."""
        try:
            action()
        except ChiSepError as error:
            self.tell(str(error))
            return False
        finally:
            self.refresh()
        return True

    def _isOpen(self) -> bool:
        place = self._review.current
        return self._review.reading.rating(place.uid, place.is_repeat) is None

    def _draft(self):
        place = self._review.current
        return self._review.reading.draft(place.uid, place.is_repeat)

    def cycle(self, name: str, among: tuple[str, ...] | None = None) -> None:
        if self.isReading and self._isOpen():
            self.card.cycle(name, self._draft().codes, among)

    def _digit(self, digit: int, shift: bool) -> bool:
        meant = keyOf(self.card.codebook, digit, shift) if self.isReading else None
        if meant is not None:
            self.choose(*meant)
        return meant is not None

    def _peek(self, hidden: bool) -> None:
        if self.isReading:
            self.views.peek(self._review, hidden)

    def _commentEdited(self) -> None:
        if self.isReading and self._isOpen() and self.ui.commentEdit.text != self._draft().comment:
            self._do(lambda: self._review.change(comment=self.ui.commentEdit.text))

    def _edited(self) -> None:
        """Somebody paints: wait until the stroke has ended."""
        self._syncTimer.start()
