"""The table of the input check: colours, reasons, one-click mends, and the override in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from ..errors import InputError, without_command_line
from ..quality.gate_rows import AMBER, GREEN, MENDS, RED, Gate, Override
from .compat import pixmapOf, settingText, storeSetting

#: Sign and colours of a row: colour is never the only cue. The text is black on all three.
_MARKS = {GREEN: ("✔", "#CDEBCF"), AMBER: ("!", "#FBE3B3"), RED: ("✖", "#F6C1BD")}
_RATER = "rater"
#: Mends that the panel does by a click, and what the button says.
_CLICKS = {
    "invert-phase": "Invert",
    "repair-slices": "Repair",
    "correct-bipolar": "Correct",
    "reorder-echoes": "Sort",
    "rescale-magnitude": "Rescale",
    "unsigned-magnitude": "Repair",
    "name-vendor": "Type…",
    "choose-r2star-method": "Change",
    "choose-model-method": "Change",
    "use-default-dr": "Default",
    "give-echo-times": "Type…",
    "give-field-strength": "Type…",
    "give-mask": "Choose…",
    "give-r2": "Choose…",
    "verify-weights": "Weights…",
}
_HEIGHT_OF_TABLE, _WIDTH_OF_TITLES = 240, 130


class GatePanel:
    """Shows a `Gate` and says whether a run may start.

    Parameters
    ----------
    ui
        Widgets of the .ui by name.
    mend
        ``mend(name)`` for a row's button.
    changed
        Called when the override has been edited.
    """

    def __init__(self, ui, mend: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._ui, self._mend, self._changed = ui, mend, changed
        self._gate: Gate | None = None
        self._state: Any = None
        self._buttons: list = []
        self._pictures: list = []
        table = ui.gateTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Check"), _("Found, and what it means"), ""])
        table.verticalHeader().hide()
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header = table.horizontalHeader()
        header.setSectionResizeMode(1, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(2, qt.QHeaderView.ResizeToContents)
        table.setColumnWidth(0, _WIDTH_OF_TITLES)
        table.setMinimumHeight(_HEIGHT_OF_TABLE)
        ui.overrideUserEdit.text = settingText(_RATER)
        connected = [
            ui.overrideEdit.connect("textChanged(QString)", lambda _text: self._edited()),
            ui.overrideUserEdit.connect("textChanged(QString)", lambda _text: self._edited()),
        ]
        if not all(connected):
            raise RuntimeError("A control of the input check has lost its signal.")
        self.clear()

    def isCurrent(self, state: Any) -> bool:
        """Whether the check that is shown was made from these inputs and choices."""
        return self._gate is not None and self._state == state

    def clear(self) -> None:
        """Nothing has been checked; an override of other inputs is forgotten."""
        self._gate = self._state = None
        self._showPictures({})
        self._ui.overrideEdit.text = ""
        self._fill(())
        self._ui.gateLabel.text = _("Not checked yet: a run does it first.")
        self.refresh()

    def refresh(self) -> None:
        """What is seen: the table if there is one, the lines for words where something is red."""
        self._ui.gateTable.visible = self._gate is not None
        self._ui.overrideWidget.visible = self._gate is not None and self._gate.color == RED

    def show(self, gate: Gate, state: Any, pictures: Mapping[str, bytes] | None = None) -> None:
        """Show what was found for inputs and choices that `isCurrent` recognises; the worst rows come first.

        ``pictures`` prove what a mend would do, by the mend's name, as PNG.
        """
        self._gate, self._state = gate, state
        self._showPictures(dict(pictures or {}))
        rows = sorted(gate.rows, key=lambda row: -(GREEN, AMBER, RED).index(row.color))
        self._fill(rows)
        counts = {color: len(gate.of_color(color)) for color in _MARKS}
        self._ui.gateLabel.text = _("{red} red, {amber} amber, {green} green").format(**counts)
        self.refresh()

    def passed(self) -> Gate:
        """The gate with its override.

        Raises
        ------
        InputError
            If a row is red and the override does not say why it may be passed, or by whom.
        """
        if self._gate is None:
            raise InputError("The inputs have not been checked.", "Press “Check”.")
        if self._gate.color != RED:
            return self._gate
        if not self._ui.overrideEdit.text.strip():
            return self._gate.require()
        override = Override.now(self._ui.overrideEdit.text, self._ui.overrideUserEdit.text)
        storeSetting(_RATER, override.user)
        return self._gate.overridden(override)

    def problem(self) -> str:
        """Why the check stops a run; empty if it does not, or has not been made."""
        if self._gate is None or self._gate.color != RED:
            return ""
        if not self._ui.overrideEdit.text.strip():
            titles = ", ".join(row.title for row in self._gate.of_color(RED))
            return _("The input check is red: {titles}. Mend it, or say why it may be passed.").format(titles=titles)
        try:
            Override.now(self._ui.overrideEdit.text, self._ui.overrideUserEdit.text)
        except InputError as error:
            return str(error)
        return ""

    def _showPictures(self, pictures: dict[str, bytes]) -> None:
        """One below the other, each with what its mend does."""
        for label in self._pictures:
            label.hide()  # not setParent(None): without a parent it is a window, which may take the keys
            self._ui.gateButton.layout().removeWidget(label)
            label.deleteLater()
        self._pictures = []
        for name, png in pictures.items():
            picture = pixmapOf(png)
            if picture is None:
                continue
            label = qt.QLabel()
            label.setPixmap(picture)
            label.setToolTip(without_command_line(MENDS[name]))
            self._ui.gateButton.layout().addWidget(label)
            self._pictures.append(label)

    def _edited(self) -> None:
        if self._gate is not None:
            self._changed()

    def _fill(self, rows) -> None:
        table = self._ui.gateTable
        table.setRowCount(0)
        self._buttons = []
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            mark, color = _MARKS[row.color]
            for column, text in enumerate((f"{mark} {row.title}", f"{row.value}\n{row.reason}", "")):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(f"{row.title}: {row.value}. {row.reason}")
                item.setBackground(qt.QBrush(qt.QColor(color)))
                item.setForeground(qt.QBrush(qt.QColor("#000000")))
                table.setItem(number, column, item)
            if row.mend in _CLICKS:
                self._addButton(number, row.mend)

    def _addButton(self, number: int, mend: str) -> None:
        button = qt.QPushButton(_(_CLICKS[mend]))
        button.setToolTip(without_command_line(MENDS[mend]))
        button.connect("clicked(bool)", lambda _checked=False, mend=mend: self._mend(mend))
        self._buttons.append(button)
        self._ui.gateTable.setCellWidget(number, 2, button)
