"""The section “Quality”: the picture of a run, and a person's verdict on its maps."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from ..errors import ChiSepError
from ..mrml.verdict import FAIL, PASS, REMARK, Verdict, record_verdict, verdict_of
from .choice_box import ChoiceBox
from .compat import pixmapOf, settingText, storeSetting
from .console_line import callText

_OPEN = ""
_RATER = "rater"
_WIDTH = 440


class QualityPanel:
    """Shows the picture that came with the maps and stores the verdict with them.

    Parameters
    ----------
    ui
        Widgets of the .ui by name.
    outputs
        Callable that returns the chosen maps by key.
    runPanel
        Shows errors and the log.
    """

    def __init__(self, ui, outputs: Callable[[], dict], runPanel) -> None:
        self._ui, self._outputs, self._run = ui, outputs, runPanel
        self._picture = self._window = None
        titles = {
            _OPEN: _("Not judged yet"),
            PASS: _("Pass"),
            REMARK: _("Pass with remark"),
            FAIL: _("Fail"),
        }
        self.verdict = ChoiceBox(ui.verdictComboBox, titles, lambda _value: self._updateButton())
        ui.verdictUserEdit.text = settingText(_RATER)
        connected = [
            ui.verdictButton.connect("clicked(bool)", lambda _checked=False: self.record()),
            ui.qualityOpenButton.connect("clicked(bool)", lambda _checked=False: self.open()),
        ]
        if not all(connected):
            raise RuntimeError("A control of the quality section has lost its signal.")
        self._updateButton()

    def update(self) -> None:
        """Show the verdict that is stored with the chosen maps."""
        nodes = self._nodes()
        stored = verdict_of(nodes[0]) if nodes else None
        self.verdict.select(stored.verdict if stored is not None else _OPEN)
        self._ui.verdictRemarkEdit.text = stored.remark if stored is not None else ""
        self._updateButton()

    def showPicture(self, png: bytes) -> None:
        """Show the picture of a run; empty clears it."""
        self.close()
        self._picture = pixmapOf(png) if png else None
        label = self._ui.qualityPicture
        label.wordWrap = self._picture is None  # a label that wraps gives a picture no height
        if self._picture is None:
            label.setMinimumHeight(0)
            label.text = _("The picture of a run comes with its maps.")
        else:
            small = self._picture.scaledToWidth(min(_WIDTH, self._picture.width()), qt.Qt.SmoothTransformation)
            label.setMinimumHeight(small.height())
            label.setPixmap(small)
        self._ui.qualityOpenButton.enabled = self._picture is not None

    def open(self) -> None:
        """Show the picture at its full size in a window."""
        if self._picture is None:
            return
        if self._window is None:
            self._window = qt.QScrollArea()
            self._window.setWindowTitle(_("Quality of the maps"))
            label = qt.QLabel()
            label.setPixmap(self._picture)
            self._window.setWidget(label)
            self._window.resize(min(1200, self._picture.width() + 30), min(800, self._picture.height() + 30))
        self._window.show()

    def close(self) -> None:
        """Close the window of the picture."""
        if self._window is not None:
            self._window.hide()
            self._window.deleteLater()
        self._window = None

    def record(self) -> None:
        """Store the verdict with the maps."""
        nodes, by = self._nodes(), self._ui.verdictUserEdit.text
        try:
            verdict = Verdict.now(self.verdict.value, self._ui.verdictRemarkEdit.text, by)
        except ChiSepError as error:
            self._run.showError(error)
            return
        record_verdict(nodes, verdict)
        storeSetting(_RATER, verdict.by)
        arguments = {"nodes": nodes, "verdict": verdict.verdict, "remark": verdict.remark, "by": verdict.by}
        self._run.log(callText("ChiSepModuleLogic().recordVerdict", **arguments))
        self._run.showMessage(_("The verdict is stored with {n} maps.").format(n=len(nodes)))

    def _nodes(self) -> list:
        return [node for node in self._outputs().values() if node is not None]

    def _updateButton(self) -> None:
        self._ui.verdictButton.enabled = self.verdict.value != _OPEN and bool(self._nodes())
        self._ui.qualityOpenButton.enabled = self._picture is not None
