"""Progress and cancellation, passed into every stage that can take longer than a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .errors import Cancelled

#: ``progress(fraction, message)`` with a fraction of the whole work in 0..1.
Progress = Callable[[float, str], None]


def silent(fraction: float, message: str) -> None:
    """Report nothing: the default of every stage."""


class CancelToken:
    """A flag that another thread (or a signal handler) sets and the running stage checks.

    Stages call `check` at least once per second of work, which keeps the promise of cancelling within two seconds.
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if the user has asked to stop."""
        if self._event.is_set():
            raise Cancelled()


class _NeverCancelled(CancelToken):
    def cancel(self) -> None:
        raise RuntimeError("This is the shared default token; pass a CancelToken of your own to be able to cancel.")


#: Default for stages that were called without a token.
NEVER = _NeverCancelled()


def part(progress: Progress, start: float, stop: float) -> Progress:
    """Return a callback whose 0..1 fills the span ``start..stop`` of ``progress``.

    >>> seen = []
    >>> part(lambda f, m: seen.append(f), 0.5, 1.0)(0.5, "half of the second half")
    >>> seen
    [0.75]
    """

    def report(fraction: float, message: str) -> None:
        progress(start + (stop - start) * min(max(fraction, 0.0), 1.0), message)

    return report
