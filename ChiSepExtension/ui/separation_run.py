"""One run in a child process: the handle that `ChiSepModuleLogic.process(waitForCompletion=False)` returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..mrml.job import read_results
from ..mrml.separation import SeparationJob
from .child_job import ChildJob, RunCallbacks

__all__ = ["RunCallbacks", "SeparationRun"]


class SeparationRun(ChildJob):
    """Separates in a child process and writes the maps into the scene, one per event-loop turn.

    Parameters
    ----------
    job
        Inputs and where the maps go (`mrml.separation.SeparationJob`).
    callbacks
        Who wants to know; ``finished`` gets a `SeparationResult`.
    program
        Python to run; tests give another one.
    """

    def __init__(self, job: SeparationJob, callbacks: RunCallbacks, program: str = "") -> None:
        self._job: SeparationJob | None = job
        super().__init__(job.write, callbacks, program)

    def _close(self, tell: Callable | None, *arguments) -> None:
        self._job = None  # its nodes and settings go with it; see `ChildJob._close`
        super()._close(tell, *arguments)

    def _collect(self, folder: Path, done: dict[str, Any]) -> Iterator[Any]:
        self.callbacks.progress(1.0, "Maps into the scene")
        result = None
        for result in self._job.deliver_steps(*read_results(folder, done)):
            yield result
        for _step in self.callbacks.showing(result):
            yield None
        yield result
