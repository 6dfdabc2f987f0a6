"""Apply and Cancel, the progress bar, messages and the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import ChiSepError, without_command_line
from .child_job import ChildJob, RunCallbacks
from .stage_times import duration

_LOG_LINES = 2000
#: Before this share of a run the time that is left is a guess.
_TELL_FROM = 0.1


def _nothing(result: Any) -> None:
    """Nobody waits for a result."""


class RunPanel:
    """The part of the module's panel that starts, shows and ends child processes, one at a time.

    Parameters
    ----------
    ui
        Widgets of the .ui by name.
    apply
        What Apply does when nothing is under way.
    """

    def __init__(self, ui, apply: Callable[[], None]) -> None:
        self._ui, self._apply = ui, apply
        self._run: ChildJob | None = None
        self._finished: Callable[[Any], None] = _nothing
        self._problem = ""
        self._began = 0.0
        self._doneText = ""
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
        """What the button does."""
        if not self.isRunning:
            self._apply()
            return
        self._ui.stageLabel.text = _("Cancelling…")
        self._ui.applyButton.enabled = False
        self._run.cancel()

    def begin(
        self,
        start: Callable[[RunCallbacks], ChildJob],
        finished: Callable[[Any], None],
        done: str = "",
        showing: Callable[[Any], Iterator[Any]] = lambda result: iter(()),
    ) -> None:
        """Start something in a child process and show how it goes.

        Parameters
        ----------
        start
            ``start(callbacks)`` returns the handle; raises `ChiSepError` if it cannot start.
        finished
            Called with the result if it ends well; may begin the next.
        done
            What is said then.
        showing
            See `RunCallbacks`.
        """
        self.showMessage("")
        self._finished, self._began, self._doneText = finished, time.monotonic(), done or _("Done")
        try:
            self._run = start(
                RunCallbacks(
                    self._onProgress,
                    self.log,
                    self._onFinished,
                    self._onFailed,
                    self._onCancelled,
                    self._onSilent,
                    showing,
                )
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
        self._run, self._finished = None, _nothing
        self._showIdle()

    def refuse(self, reason: str) -> None:
        """Nothing was started; inline, without a dialog."""
        self._showIdle(_("Not started."))
        self.showMessage(reason)

    def showMessage(self, text: str) -> None:
        """A warning or an error, inline."""
        text = without_command_line(text)
        self._ui.messageLabel.text = text
        self._ui.messageLabel.visible = bool(text)

    def showError(self, error: Exception) -> None:
        """An error of ours: inline, in the log, and as Slicer's dialog."""
        text = without_command_line(str(error))
        self.showMessage(text)
        self.log(text)
        slicer.util.errorDisplay(text)

    def log(self, line: str) -> None:
        """One line for the log of the panel and Slicer's own."""
        logging.info(line)
        self._ui.logText.appendPlainText(line)

    def _onProgress(self, fraction: float, message: str) -> None:
        self._ui.progressBar.value = int(round(100 * fraction))
        elapsed = time.monotonic() - self._began
        if _TELL_FROM <= fraction < 1 and elapsed > 2:
            left = duration(elapsed * (1 - fraction) / fraction)
            message = _("{stage} · about {left} left").format(stage=message, left=left)
        self._ui.stageLabel.text = message

    def _onSilent(self, seconds: float) -> None:
        self._ui.stageLabel.text = _(
            "No news from the computation for {time}. It may still be at work; Cancel ends it, nothing in the scene "
            "changes."
        ).format(time=duration(seconds))

    def _onFinished(self, result) -> None:
        # What is told once must not be kept: it holds the sequences of the run.
        self._run, finished, self._finished = None, self._finished, _nothing
        self._showIdle(self._doneText)
        finished(result)

    def _onFailed(self, error: ChiSepError) -> None:
        self._run, self._finished = None, _nothing
        self._showIdle(_("Failed"))
        self.showError(error)

    def _onCancelled(self) -> None:
        self._run, self._finished = None, _nothing
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
            button.toolTip = without_command_line(self._problem) or _(
                "Compute the maps in a process of its own; Slicer stays usable."
            )
        for each in (self._ui.resetButton, self._ui.checkButton):
            each.enabled = not running
