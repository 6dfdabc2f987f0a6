"""Apply and Cancel, the progress bar, messages and the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from ..errors import ChiSepError
from .separation_run import RunCallbacks

_LOG_LINES = 2000


class RunPanel:
    """The part of the module's panel that starts, shows and ends a run.

    Parameters
    ----------
    ui
        Widgets of the .ui by name.
    start
        ``start(callbacks) -> SeparationRun``; raises `ChiSepError` if the run cannot start.
    finished
        Called with the result of a run that has ended well.
    """

    def __init__(self, ui, start: Callable, finished: Callable) -> None:
        self._ui, self._start, self._finished = ui, start, finished
        self._run = None
        self._problem = ""
        ui.logText.setMaximumBlockCount(_LOG_LINES)
        self._showIdle()

    @property
    def isRunning(self) -> bool:
        return self._run is not None and self._run.isRunning

    def setProblem(self, problem: str) -> None:
        """Why Apply cannot be pressed; empty if it can."""
        self._problem = problem
        self._updateButton()

    def applyOrCancel(self) -> None:
        """What the one button does: start a run, or end the one that is under way."""
        if self.isRunning:
            self._ui.stageLabel.text = _("Cancelling…")
            self._ui.applyButton.enabled = False
            self._run.cancel()
            return
        self.showMessage("")
        try:
            self._run = self._start(
                RunCallbacks(self._onProgress, self.log, self._onFinished, self._onFailed, self._onCancelled)
            )
        except ChiSepError as error:
            self._onFailed(error)
            return
        self._ui.progressBar.visible = True
        self._ui.progressBar.value = 0
        self._updateButton()

    def abandon(self) -> None:
        """End a run without a word."""
        if self._run is not None:
            self._run.abandon()
        self._run = None
        self._showIdle()

    def showMessage(self, text: str) -> None:
        """A warning or an error, inline."""
        self._ui.messageLabel.text = text
        self._ui.messageLabel.visible = bool(text)

    def showError(self, error: Exception) -> None:
        """An error of ours: inline, in the log, and as Slicer's dialog."""
        self.showMessage(str(error))
        self.log(str(error))
        slicer.util.errorDisplay(str(error))

    def log(self, line: str) -> None:
        """One line for the log of the panel and Slicer's own."""
        logging.info(line)
        self._ui.logText.appendPlainText(line)

    def _onProgress(self, fraction: float, message: str) -> None:
        self._ui.progressBar.value = int(round(100 * fraction))
        self._ui.stageLabel.text = message

    def _onFinished(self, result) -> None:
        self._run = None
        self._showIdle(_("Done"))
        self.showMessage("\n".join(result.warnings))
        self._finished(result)

    def _onFailed(self, error: ChiSepError) -> None:
        self._run = None
        self._showIdle(_("Failed"))
        self.showError(error)

    def _onCancelled(self) -> None:
        self._run = None
        self._showIdle(_("Cancelled; the scene is as before."))

    def _showIdle(self, stage: str = "") -> None:
        self._ui.stageLabel.text = stage
        self._ui.progressBar.visible = False
        self._updateButton()

    def _updateButton(self) -> None:
        button, running = self._ui.applyButton, self.isRunning
        button.text = _("Cancel") if running else _("Apply")
        button.enabled = running or not self._problem
        if running:
            button.toolTip = _("Stop the computation. Nothing in the scene changes.")
        else:
            button.toolTip = self._problem or _("Compute the maps in a process of its own; Slicer stays usable.")
        self._ui.resetButton.enabled = not running
