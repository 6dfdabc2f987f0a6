"""The card of one lesion: a button per code, built from the codebook, and nothing chosen before the reader chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
from slicer.i18n import tr as _

from ..lesions.codebook import Code, Codebook, Field

#: Fields with a row of buttons; the others are chosen from a list.
BUTTON_FIELDS = ("para", "para_core", "dia", "dia_pattern", "prl", "prl_conf", "cvs", "cvs_excl")
_COLUMNS = 3
#: The panel is 500 pixels wide on a small screen: labels short, their full text in the tooltip.
_SHORT = {
    "para_core": "Core", "dia_pattern": "Where", "prl": "PRL", "prl_conf": "Confidence", "cvs": "CVS",
    "cvs_excl": "Reason",
}  # fmt: skip


class LesionCard:
    """Code buttons and lists.

    Parameters
    ----------
    codebook
        What may be chosen.
    rows
        Widget with a QFormLayout, for the rows of buttons.
    grid
        Widget with a QGridLayout, for the lists.
    choose
        ``choose(field, code)``; code None takes the choice back.
    """

    def __init__(self, codebook: Codebook, rows, grid, choose: Callable[[str, str | None], None]) -> None:
        self.codebook, self._choose = codebook, choose
        self._buttons: dict[tuple[str, str], object] = {}
        self._rows: dict[str, tuple[object, object]] = {}
        self._lists: dict[str, object] = {}
        self._made: list = []
        for field in codebook.fields:
            if field.name in BUTTON_FIELDS:
                self._addRow(rows, field)
        others = [field for field in codebook.fields if field.name not in BUTTON_FIELDS]
        for place, field in enumerate(others):
            self._addList(grid, field, place)

    def show(self, codes: Mapping[str, str], enabled: bool) -> None:
        """Show what is chosen; nothing is chosen that is not in ``codes``."""
        for (name, code), button in self._buttons.items():
            button.checked = codes.get(name) == code
            button.enabled = enabled
        for name, box in self._lists.items():
            order = self.codebook[name].order
            box.blockSignals(True)
            box.setCurrentIndex(order.index(codes[name]) + 1 if name in codes else 0)
            box.blockSignals(False)
            box.enabled = enabled
        for name, (label, row) in self._rows.items():
            condition = self.codebook[name].only_if
            visible = condition is None or codes.get(condition[0]) == condition[1]
            label.visible = row.visible = visible

    def cycle(self, name: str, codes: Mapping[str, str], among: tuple[str, ...] | None = None) -> None:
        """Choose the next code of a field, the first if none is chosen."""
        order = among or self.codebook[name].order
        now = codes.get(name)
        self._choose(name, order[(order.index(now) + 1) % len(order)] if now in order else order[0])

    def release(self) -> None:
        """Remove what was built, before another codebook's card."""
        for widget in self._made:
            widget.setParent(None)
            widget.deleteLater()
        self._made, self._buttons, self._rows, self._lists = [], {}, {}, {}

    def _addRow(self, rows, field: Field) -> None:
        row = qt.QWidget(rows)
        layout = qt.QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        keys = field.keys or {}
        for code in field.codes:
            button = qt.QToolButton(row)
            button.text = _caption(code, keys.get(code.code, ""))
            button.checkable = True
            button.toolTip = f"{code.label}: {code.definition}" + _keyHint(keys.get(code.code, ""))
            button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
            button.connect("clicked(bool)", lambda on, n=field.name, c=code.code: self._choose(n, c if on else None))
            layout.addWidget(button)
            self._buttons[field.name, code.code] = button
        label = qt.QLabel(rows)
        label.text = _SHORT.get(field.name, field.label) + ":"
        label.toolTip = f"{field.label}. {field.description}"
        rows.layout().addRow(label, row)
        self._rows[field.name] = (label, row)
        self._made += [row, label]

    def _addList(self, grid, field: Field, place: int) -> None:
        box = qt.QComboBox(grid)
        box.addItem(f"{field.label}: —")
        for code in field.codes:
            box.addItem(f"{field.label}: {code.label}")
        box.toolTip = field.description
        box.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        box.minimumContentsLength = 8  # its longest entry would widen the whole panel
        box.connect("activated(int)", lambda n, f=field: self._choose(f.name, f.order[n - 1] if n else None))
        grid.layout().addWidget(box, place // _COLUMNS, place % _COLUMNS)
        self._lists[field.name] = box
        self._made.append(box)


def keyOf(codebook: Codebook, digit: int, shift: bool) -> tuple[str, str] | None:
    """Field and code of a digit key in the codebook's own table of keys."""
    wanted = f"Shift+{digit}" if shift else str(digit)
    for field in codebook.fields:
        for code, key in (field.keys or {}).items():
            if key == wanted:
                return field.name, code
    return None


def _caption(code: Code, key: str) -> str:
    short = code.label.split(" (")[0]
    return f"{key.replace('Shift+', '⇧')} {short}" if key else short


def _keyHint(key: str) -> str:
    return " " + _("(key {key})").format(key=key) if key else ""
