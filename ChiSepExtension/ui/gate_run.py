"""The input gate in a child process: it looks at every voxel, which the application must not wait for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..mrml.separation import SeparationJob
from ..quality.gate_rows import Gate
from .child_job import ChildJob, RunCallbacks

__all__ = ["CheckedInputs", "GateRun", "RunCallbacks"]


@dataclass(frozen=True)
class CheckedInputs:
    """What the check has found, and the pictures (PNG) that prove what a mend would do, by the mend's name."""

    gate: Gate
    pictures: dict[str, bytes] = field(default_factory=dict)


class GateRun(ChildJob):
    """Checks the inputs of a job; ``finished`` gets `CheckedInputs`.

    Parameters
    ----------
    job
        What would be run.
    """

    def __init__(self, job: SeparationJob, callbacks: RunCallbacks, program: str = "") -> None:
        super().__init__(lambda folder: job.write(folder, task="check"), callbacks, program)

    def _collect(self, folder: Path, done: dict[str, Any]) -> Iterator[Any]:
        pictures = {name: (folder / file).read_bytes() for name, file in done.get("pictures", {}).items()}
        yield CheckedInputs(Gate.from_dict(done["gate"]), pictures)
