"""A job that a child process does: written echo by echo between events, watched line by line, ended as a whole."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qt
import slicer

from ..errors import Cancelled, ChiSepError, InputError, MemoryLimitError
from ..mrml.job import JOB_FILE, PACKAGE_ROOT, error_of
from .process_runner import ProcessRunner, pythonExecutable

#: Share of the progress bar that writing the job takes.
_PREPARED = 0.05
#: No line from the child for this long is worth a word: a stage reports at least once per second.
SILENCE_S = 90.0
_MEMORY_FULL = ("The memory is full.", "Close other programs or scenes, or crop the images.")


@dataclass
class RunCallbacks:
    """What a run tells; every callback comes on the GUI thread. Exactly one of the last three ends a run.

    ``silent(seconds)`` comes about once per second while the child has said nothing for `SILENCE_S`.
    ``showing(result)`` yields after each small step that is to be done before ``finished``, such as one map made ready
    for the views.
    """

    progress: Callable[[float, str], None] = field(default=lambda fraction, message: None)
    log: Callable[[str], None] = field(default=lambda line: None)
    finished: Callable[[Any], None] = field(default=lambda result: None)
    failed: Callable[[ChiSepError], None] = field(default=lambda error: None)
    cancelled: Callable[[], None] = field(default=lambda: None)
    silent: Callable[[float], None] = field(default=lambda seconds: None)
    showing: Callable[[Any], Iterator[Any]] = field(default=lambda result: iter(()))


class ChildJob:
    """Writes the job, starts the child, reads its lines, hands the answer to `_collect`.

    Parameters
    ----------
    write
        ``write(folder) -> Iterator[float]``: writes the job in small steps; the job file exists when 1.0 has come.
    callbacks
        Who wants to know.
    program
        Python to run; tests give another one.
    """

    def __init__(self, write: Callable[[Path], Iterator[float]], callbacks: RunCallbacks, program: str = "") -> None:
        self.callbacks = callbacks
        self._program = program or pythonExecutable()
        self._folder = Path(tempfile.mkdtemp(prefix="chisep-"))
        self._steps = write(self._folder)
        self._collecting: Iterator[Any] | None = None
        self._result: Any = None
        self._runner = ProcessRunner(self._readLine, self._readErrorLine, self._ended)
        self._done: dict[str, Any] | None = None
        self._error: ChiSepError | None = None
        self._lastErrorLines: list[str] = []
        self._cancelled = False
        self.isRunning = True
        self._tags = [
            (slicer.mrmlScene, slicer.mrmlScene.AddObserver(slicer.mrmlScene.StartCloseEvent, self._sceneCloses))
        ]
        self._timer = self._makeTimer(0, self._step)
        self._heard = time.monotonic()
        self._watch = self._makeTimer(1000, self._watchSilence)

    def cancel(self) -> None:
        """End the job; `callbacks.cancelled` comes when the child is gone, at most 2 s later."""
        if not self.isRunning or self._cancelled or self._collecting is not None:
            return  # the maps are on their way into the scene: half of them would be worse than all
        self._cancelled = True
        if self._runner.isRunning:
            self._runner.stop()
        else:
            self._close(self.callbacks.cancelled)

    def abandon(self) -> None:
        """End the job without a word: its scene or its module goes away."""
        if self.isRunning:
            self._runner.abandon()
            self._close(None)

    def _collect(self, folder: Path, done: dict[str, Any]) -> Iterator[Any]:
        """Take the answer over in small steps; the last value yielded is the result."""
        raise NotImplementedError

    @staticmethod
    def _makeTimer(interval: int, slot: Callable[[], None]):
        timer = qt.QTimer()
        timer.setInterval(interval)
        timer.connect("timeout()", slot)
        timer.start()
        return timer

    def _sceneCloses(self, *_args) -> None:
        if self.isRunning:
            self._runner.abandon()
            self._close(self.callbacks.cancelled)

    def _step(self) -> None:
        """Write one echo, or take one map over, then let events pass."""
        if self._cancelled:
            return
        collecting = self._collecting is not None
        what = "maps could not be read" if collecting else "images could not be handed to the computation"
        try:
            value = next(self._collecting if collecting else self._steps)
        except ChiSepError as error:
            self._close(self.callbacks.failed, error)
        except StopIteration:
            self._close(self.callbacks.finished, self._result)
        except OSError as error:
            self._close(
                self.callbacks.failed, InputError(f"The {what}: {error}.", "Is the temporary folder's disk full?")
            )
        except MemoryError:
            self._close(self.callbacks.failed, MemoryLimitError(*_MEMORY_FULL))
        except Exception as error:  # whatever it is: the timer must not go on for ever
            logging.exception("The %s", what)
            message = f"The {what}: {type(error).__name__}: {error}."
            self._close(self.callbacks.failed, InputError(message, "See the log."))
        else:
            if collecting:
                self._result = value
            else:
                self._prepared(value)

    def _prepared(self, share: float) -> None:
        self.callbacks.progress(_PREPARED * share, "Preparing")
        if share >= 1.0:
            self._timer.stop()
            worker = PACKAGE_ROOT / "ChiSepExtension" / "worker.py"
            self._heard = time.monotonic()
            self._runner.start(self._program, [str(worker), str(self._folder / JOB_FILE)])

    def _watchSilence(self) -> None:
        silence = time.monotonic() - self._heard
        if self._runner.isRunning and silence > SILENCE_S:
            self.callbacks.silent(silence)

    def _readLine(self, line: str) -> None:
        self._heard = time.monotonic()
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
        self._heard = time.monotonic()
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
            self._collecting = self._collect(self._folder, self._done)
            self._timer.start()

    def _plainFailure(self, exitCode: int, problem: str) -> ChiSepError:
        said = next((line for line in reversed(self._lastErrorLines) if line.strip()), "")
        detail = f" It said last: {said}" if said else ""
        if problem.startswith("The program could not be started"):
            return InputError(problem, "Slicer's own Python is missing: is the installation complete?")
        if any("memory" in line.lower() for line in self._lastErrorLines):  # libraries that end the process themselves
            return MemoryLimitError(f"There was not enough memory for this run.{detail}", _MEMORY_FULL[1])
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
        self._watch.stop()
        for steps in (self._steps, self._collecting):
            if steps is not None:
                steps.close()
        for scene, tag in self._tags:
            scene.RemoveObserver(tag)
        self._tags = []
        shutil.rmtree(self._folder, ignore_errors=True)
        # PythonQt keeps slots of timers and processes alive, and with them this object: it must not hold images, nodes
        # and the panel, too.
        self._steps, self._collecting, self._result, self._done = iter(()), None, None, None
        self.callbacks = RunCallbacks()
        if tell is not None:
            tell(*arguments)
