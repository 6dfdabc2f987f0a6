"""A combo box that shows human names for the values of a parameter, and greys with a reason what cannot be chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt

#: Flags of an item, kept by Qt under this role (Qt::UserRole - 1): selectable and enabled, or neither.
_FLAGS_ROLE = 255
_ENABLED, _DISABLED = 33, 0


class ChoiceBox:
    """Binds a QComboBox to values with titles.

    Parameters
    ----------
    comboBox
        Filled here.
    titles
        What is shown, by value.
    changed
        Called with the value that a user has chosen.
    """

    def __init__(self, comboBox, titles: Mapping[str, str], changed: Callable[[str], None]) -> None:
        self._box, self._changed = comboBox, changed
        self._values: list[str] = []
        self._reasons: dict[str, str] = {}
        self._filling = False
        self.setTitles(titles)
        if not comboBox.connect("currentIndexChanged(int)", self._indexChanged):
            raise RuntimeError("The combo box has lost its signal.")

    @property
    def value(self) -> str:
        index = self._box.currentIndex
        return self._values[index] if 0 <= index < len(self._values) else ""

    def setTitles(self, titles: Mapping[str, str]) -> None:
        """Show other choices; the chosen value stays if it is still there."""
        if list(titles.items()) == [(v, self._box.itemText(n)) for n, v in enumerate(self._values)]:
            return
        before, self._filling = self.value, True
        self._box.clear()
        self._values = list(titles)
        for title in titles.values():
            self._box.addItem(title)
        self._filling = False
        self.setReasons(self._reasons)
        if before in self._values:
            self.select(before)

    def select(self, value: str) -> None:
        """Show a value without telling anybody; one that is not among the choices is added as it is."""
        if value not in self._values:
            self._filling = True
            self._values.append(value)
            self._box.addItem(value)
            self._filling = False
        index = self._values.index(value)
        if self._box.currentIndex != index:
            self._filling = True
            self._box.setCurrentIndex(index)
            self._filling = False

    def setReasons(self, reasons: Mapping[str, str]) -> None:
        """Grey the values that have a reason, and show it as the tooltip of the item."""
        self._reasons = dict(reasons)
        for index, value in enumerate(self._values):
            reason = self._reasons.get(value, "")
            self._box.setItemData(index, _DISABLED if reason else _ENABLED, _FLAGS_ROLE)
            self._box.setItemData(index, reason, qt.Qt.ToolTipRole)

    def reasonOf(self, value: str) -> str:
        """Why a value cannot be chosen; empty if it can."""
        return self._reasons.get(value, "")

    def isOffered(self, value: str) -> bool:
        """Whether a user can choose a value."""
        return value in self._values and not self._reasons.get(value)

    def _indexChanged(self, _index: int) -> None:
        if not self._filling and self.value:
            self._changed(self.value)
