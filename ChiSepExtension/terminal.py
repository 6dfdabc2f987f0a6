"""What the command line shows: a bar on a terminal, plain lines otherwise; results on stdout, the rest on stderr."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .progress import Progress


def show(text: str) -> None:
    """A line of result on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show_error(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """Yield a progress callback that draws a bar, or writes one line per stage where there is no terminal."""
    if sys.stderr.isatty():
        yield _bar()
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
    else:
        yield _lines()


def _bar() -> Progress:
    began = time.monotonic()

    def report(fraction: float, message: str) -> None:
        width = max(10, min(40, shutil.get_terminal_size().columns - 50))
        full = round(width * min(max(fraction, 0.0), 1.0))
        bar = "█" * full + "·" * (width - full)
        sys.stderr.write(f"\r\x1b[K{bar} {100 * fraction:3.0f} % {time.monotonic() - began:4.0f} s  {message}")
        sys.stderr.flush()

    return report


def _lines() -> Progress:
    last_step, last_time = "", 0.0

    def report(fraction: float, message: str) -> None:
        nonlocal last_step, last_time
        step, now = message.partition(",")[0], time.monotonic()  # "Total variation, iteration 31" is one step
        if step != last_step or now - last_time > 10:
            last_step, last_time = step, now
            show_error(f"{100 * fraction:3.0f} %  {message}")

    return report
