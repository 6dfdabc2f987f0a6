"""The keys of Read mode: there while somebody reads, silent while he edits outlines or types, gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
import slicer

from .key_positions import digitOf
from .keys import Keys

#: A held key that repeats sends releases, too: the peek ends when no press has followed for this long.
_RELEASE_MS = 80
#: A text field does not keep these for itself: their action decides.
_ENDS_TEXT = ("Return", "Enter")
_TEXT_FIELDS = ("QLineEdit", "QTextEdit", "QPlainTextEdit", "QAbstractSpinBox")


def isTyping() -> bool:
    """True while a text field has the keys."""
    field = qt.QApplication.focusWidget()
    if field is None:
        return False
    return any(field.inherits(name) for name in _TEXT_FIELDS) or (field.inherits("QComboBox") and field.editable)


class ReadKeys:
    """Shortcuts for letters, and a filter for digits (by place, see `key_positions`) and for the key that is held.

    Parameters
    ----------
    actions
        What to call, by key sequence; letters and named keys only.
    digit
        ``digit(number, shift)``; returns True if it meant something.
    peek
        ``peek(True)`` when H goes down, ``peek(False)`` when it comes up.
    """

    def __init__(
        self,
        actions: Mapping[str, Callable[[], None]],
        digit: Callable[[int, bool], bool],
        peek: Callable[[bool], None],
    ) -> None:
        self._letters = Keys({k: action if k in _ENDS_TEXT else _unlessTyping(action) for k, action in actions.items()})
        self._filter = _Filter(digit, peek)
        self._isInstalled = self._isEnabled = False

    @property
    def areActive(self) -> bool:
        return self._isInstalled and self._isEnabled

    def install(self) -> None:
        """Begin to listen; twice is harmless, and without a main window there are no keys."""
        if self._isInstalled or slicer.util.mainWindow() is None:
            return
        self._letters.install()
        slicer.app.installEventFilter(self._filter)
        self._isInstalled = self._isEnabled = True

    def setEnabled(self, enabled: bool) -> None:
        """Off while the Segment Editor owns the keys: two shortcuts on one key silence each other.

        The filter goes, too: every paint and mouse event of the application would enter Python while somebody draws.
        """
        if self._isInstalled and enabled != self._isEnabled:
            if enabled:
                slicer.app.installEventFilter(self._filter)
            else:
                slicer.app.removeEventFilter(self._filter)
        self._isEnabled = enabled
        self._letters.setEnabled(enabled)
        self._filter.setListening(enabled)

    def remove(self) -> None:
        if self._isInstalled:
            if self._isEnabled:
                slicer.app.removeEventFilter(self._filter)
            self._letters.remove()
        self._filter.setListening(False)
        self._filter.setListening(True)
        self._isInstalled = self._isEnabled = False


class _Filter(qt.QObject):
    """Sees every event of the application while it is installed."""

    def __init__(self, digit, peek) -> None:
        qt.QObject.__init__(self)
        self._digit, self._peek = digit, peek
        self._listening, self._peeking = True, False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_RELEASE_MS)
        self._timer.connect("timeout()", self._released)

    def setListening(self, listening: bool) -> None:
        self._listening = listening
        if not listening:
            self._timer.stop()
            self._released()

    def eventFilter(self, _receiver, event) -> bool:
        kind = event.type()
        if kind != qt.QEvent.KeyPress and kind != qt.QEvent.KeyRelease:
            return False
        if not self._listening:
            return False
        if event.key() == qt.Qt.Key_H and not int(event.modifiers()):
            return self._hold(kind == qt.QEvent.KeyPress)
        if kind == qt.QEvent.KeyRelease or event.isAutoRepeat() or isTyping() or _isBlocked():
            return False
        found = digitOf(event)
        # True ends the event here: its way to the other receivers would rate twice.
        return found is not None and bool(self._digit(*found))

    def _hold(self, pressed: bool) -> bool:
        if pressed:
            if isTyping() or _isBlocked():
                return False
            self._timer.stop()
            if not self._peeking:
                self._peeking = True
                self._peek(True)
        elif self._peeking:
            self._timer.start()
        return False

    def _released(self) -> None:
        if self._peeking:
            self._peeking = False
            self._peek(False)


def _isBlocked() -> bool:
    """A dialog or a menu has the keys."""
    return qt.QApplication.activeModalWidget() is not None or qt.QApplication.activePopupWidget() is not None


def _unlessTyping(action: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        if not isTyping():
            action()

    return call
