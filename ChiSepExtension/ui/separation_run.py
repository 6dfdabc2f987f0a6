"""One run in a child process: the handle that `ChiSepModuleLogic.process(waitForCompletion=False)` returns."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qt
import slicer

from ..errors import Cancelled, ChiSepError, InputError, MemoryLimitError
from ..mrml.job import JOB_FILE, PACKAGE_ROOT, error_of, read_results, write_job
from ..mrml.separation import SeparationJob
from .process_runner import ProcessRunner, pythonExecutable

#: Share of the progress bar that writing the job takes.
_PREPARED = 0.05
_MEMORY_FULL = ("The memory is full.", "Close other programs or scenes, or crop the images.")


@dataclass
class RunCallbacks:
    """What a run tells; every callback comes on the GUI thread. Exactly one of the last three ends a run."""

    progress: Callable[[float, str], None] = field(default=lambda fraction, message: None)
    log: Callable[[str], None] = field(default=lambda line: None)
    finished: Callable[[Any], None] = field(default=lambda result: None)
    failed: Callable[[ChiSepError], None] = field(default=lambda error: None)
    cancelled: Callable[[], None] = field(default=lambda: None)


class SeparationRun:
    """Writes the job echo by echo between events, starts the child, reads its lines, hands the maps over.

    Parameters
    ----------
    job
        Inputs and where the maps go (`mrml.separation.SeparationJob`).
    callbacks
        Who wants to know.
    program
        Python to run; tests give another one.
    """

    def __init__(self, job: SeparationJob, callbacks: RunCallbacks, program: str = "") -> None:
        self._job, self.callbacks = job, callbacks
        self._program = program or pythonExecutable()
        self._folder = Path(tempfile.mkdtemp(prefix="chisep-"))
        self._steps = write_job(self._folder, job.echoes, job.options.to_dict(), mask=job.mask, r2_hz=job.r2_hz)
        self._runner = ProcessRunner(self._readLine, self._readErrorLine, self._ended)
        self._done: dict[str, Any] | None = None
        self._error: ChiSepError | None = None
        self._lastErrorLines: list[str] = []
        self._cancelled = False
        self.isRunning = True
        self._tags = [
            (slicer.mrmlScene, slicer.mrmlScene.AddObserver(slicer.mrmlScene.StartCloseEvent, self._sceneCloses))
        ]
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._prepare)
        self._timer.start()

    def cancel(self) -> None:
        """End the run; `callbacks.cancelled` comes when the child is gone, at most 2 s later."""
        if not self.isRunning or self._cancelled:
            return
        self._cancelled = True
        if self._runner.isRunning:
            self._runner.stop()
        else:
            self._close(self.callbacks.cancelled)

    def abandon(self) -> None:
        """End the run without a word: its scene or its module goes away."""
        if self.isRunning:
            self._runner.abandon()
            self._close(None)

    def _sceneCloses(self, *_args) -> None:
        if self.isRunning:
            self._runner.abandon()
            self._close(self.callbacks.cancelled)

    def _prepare(self) -> None:
        """Write one echo, then let events pass."""
        if self._cancelled:
            return
        try:
            share = next(self._steps)
        except ChiSepError as error:
            self._close(self.callbacks.failed, error)
            return
        except OSError as error:
            message = f"The images could not be handed to the computation: {error}."
            self._close(self.callbacks.failed, InputError(message, "Is the temporary folder's disk full?"))
            return
        except MemoryError:
            self._close(self.callbacks.failed, MemoryLimitError(*_MEMORY_FULL))
            return
        except Exception as error:  # whatever it is: the timer must not go on for ever
            logging.exception("The images could not be handed over")
            message = f"The images could not be handed to the computation: {type(error).__name__}: {error}."
            self._close(self.callbacks.failed, InputError(message, "See the log."))
            return
        self.callbacks.progress(_PREPARED * share, "Preparing")
        if share >= 1.0:
            self._timer.stop()
            worker = PACKAGE_ROOT / "ChiSepExtension" / "worker.py"
            self._runner.start(self._program, [str(worker), str(self._folder / JOB_FILE)])

    def _readLine(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self.callbacks.log(line)
            return
        kind = event.get("event")
        if kind == "started":
            self._runner.setGroupLeader(event["pid"])
            if self._cancelled:
                self._runner.stop()
        elif kind == "progress":
            fraction = _PREPARED + (1 - _PREPARED) * float(event.get("fraction", 0.0))
            self.callbacks.progress(fraction, str(event.get("message", "")))
        elif kind == "log":
            self.callbacks.log(str(event.get("message", "")))
        elif kind == "done":
            self._done = event
        elif kind == "error":
            self._error = error_of(event)

    def _readErrorLine(self, line: str) -> None:
        self._lastErrorLines = [*self._lastErrorLines[-4:], line]
        self.callbacks.log(line)

    def _ended(self, exitCode: int, problem: str) -> None:
        if self._cancelled or isinstance(self._error, Cancelled):
            self._close(self.callbacks.cancelled)
        elif self._error is not None:
            self._close(self.callbacks.failed, self._error)
        elif problem or exitCode != 0 or self._done is None:
            self._close(self.callbacks.failed, self._plainFailure(exitCode, problem))
        else:
            self._collect()

    def _collect(self) -> None:
        try:
            maps, provenance = read_results(self._folder, self._done)
            result = self._job.deliver(maps, provenance)
        except ChiSepError as error:
            self._close(self.callbacks.failed, error)
        except MemoryError:
            self._close(self.callbacks.failed, MemoryLimitError(*_MEMORY_FULL))
        except Exception as error:  # whatever it is: the run must not seem to go on for ever
            logging.exception("The maps could not be read")
            message = f"The maps could not be read: {type(error).__name__}: {error}."
            self._close(self.callbacks.failed, InputError(message, "See the log."))
        else:
            self.callbacks.progress(1.0, "Done")
            self._close(self.callbacks.finished, result)

    def _plainFailure(self, exitCode: int, problem: str) -> ChiSepError:
        said = next((line for line in reversed(self._lastErrorLines) if line.strip()), "")
        detail = f" It said last: {said}" if said else ""
        if problem.startswith("The program could not be started"):
            return InputError(problem, "Slicer's own Python is missing: is the installation complete?")
        if problem:
            return InputError(
                f"The computation ended unexpectedly.{detail}",
                "Usually the memory was full: close other programs, or crop the images. Nothing in the scene changed.",
            )
        return InputError(f"The computation failed with exit code {exitCode}.{detail}", "The log has the details.")

    def _close(self, tell: Callable | None, *arguments) -> None:
        """End everything, then tell how it ended."""
        self.isRunning = False
        self._timer.stop()
        self._steps.close()
        for scene, tag in self._tags:
            scene.RemoveObserver(tag)
        self._tags = []
        shutil.rmtree(self._folder, ignore_errors=True)
        if tell is not None:
            tell(*arguments)
