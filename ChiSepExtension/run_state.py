"""What accumulates while a run goes through its stages: times, findings, warnings, progress."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .progress import CancelToken, Progress, part

#: Share of the whole run at which each stage begins, from a 1 mm head on 2 cores.
STAGE_SHARES = {
    "mask": (0.00, 0.08),
    "field": (0.08, 0.40),
    "background": (0.40, 0.52),
    "r2": (0.52, 0.56),
    "relaxation": (0.56, 0.58),
    "inversion": (0.58, 0.85),
    "separation": (0.85, 1.00),
}


class RunState:
    """What accumulates while the stages run: times, parameters found, warnings."""

    def __init__(self, progress: Progress, cancel: CancelToken) -> None:
        self.progress, self.cancel = progress, cancel
        self.times: dict[str, float] = {}
        self.facts: dict[str, Any] = {}
        self.warnings: list[str] = []

    @contextmanager
    def stage(self, name: str, message: str) -> Iterator[Progress]:
        self.cancel.check()
        start, stop = STAGE_SHARES[name]
        self.progress(start, message)
        began = time.perf_counter()
        yield part(self.progress, start, stop)
        self.times[name] = round(time.perf_counter() - began, 3)

    def check(self, *checks: tuple[dict[str, Any], list[str]]) -> None:
        for facts, warnings in checks:
            self.facts.setdefault("checks", {}).update(facts)
            self.warnings.extend(warnings)
