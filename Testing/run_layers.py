"""Run the test layers one after another, each in a process of its own, and print one summary (`make test`).

Every layer runs even when an earlier one failed; the exit status is 1 when any of them failed. A layer that this
machine cannot run (a missing system library) is listed as skipped with the reason, never left out silently; set
CHISEP_REQUIRE_ALL_LAYERS=1 to make that a failure, as continuous integration should.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from system_libraries import missing_packages

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Layer:
    """One process of the test run."""

    name: str
    #: Arguments after the Python interpreter.
    arguments: tuple[str, ...]
    needs_graphics: bool = False


LAYERS = (
    Layer("lint", ("-m", "ruff", "check", ".")),
    Layer("format", ("-m", "ruff", "format", "--check", ".")),
    Layer("core", ("-m", "pytest", "-rs", "Testing/Python/core")),
    Layer("mrml", ("-m", "pytest", "-rs", "Testing/Python/mrml")),
    Layer("widget", ("-m", "pytest", "-rs", "Testing/Python/widget"), needs_graphics=True),
)

#: Last line of pytest, such as "3 failed, 120 passed in 61.20s (0:01:01)".
SUMMARY_LINE = re.compile(r"^(\d+ \w+, )*\d+ \w+ in [\d.]+s|^no tests ran")


@dataclass(frozen=True)
class Outcome:
    """How a layer ended: ``passed``, ``FAILED`` or ``skipped``, with one line of detail."""

    name: str
    verdict: str
    seconds: float
    detail: str


def environment() -> dict[str, str]:
    """The caller's environment, without a display: the tests draw offscreen wherever they run."""
    variables = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return variables | {"QT_QPA_PLATFORM": "offscreen", "PYTHONUNBUFFERED": "1"}


def run_layer(layer: Layer, missing: list[str]) -> Outcome:
    """Run one layer with its output passed through; ``missing`` are system packages that graphics would need."""
    if layer.needs_graphics and missing:
        verdict = "FAILED" if os.environ.get("CHISEP_REQUIRE_ALL_LAYERS") == "1" else "skipped"
        return Outcome(layer.name, verdict, 0.0, f"system packages are missing: {' '.join(missing)}")
    sys.stdout.write(f"\n== {layer.name}: python {' '.join(layer.arguments)}\n")
    sys.stdout.flush()
    started = time.monotonic()
    command = [sys.executable, *layer.arguments]
    detail = ""
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if SUMMARY_LINE.search(line) or not SUMMARY_LINE.search(detail):  # Qt may speak after pytest's summary
                detail = line.strip() or detail
    seconds = time.monotonic() - started
    verdict = "passed" if process.returncode == 0 else "FAILED"
    if process.returncode < 0:
        detail = f"killed by signal {-process.returncode}; {detail}"
    elif "pytest" in layer.arguments and not re.search(r"\b[1-9]\d* passed", detail):
        verdict, detail = "FAILED", f"no test passed; {detail}"  # all of them skipped is no pass
    return Outcome(layer.name, verdict, seconds, detail)


def main(argv: list[str] | None = None) -> int:
    """Run the chosen layers (all of them by default)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [layer.name for layer in LAYERS]
    parser.add_argument("layers", nargs="*", metavar="LAYER", help=f"any of {', '.join(known)}; all by default")
    chosen = parser.parse_args(argv).layers or known
    if unknown := set(chosen) - set(known):
        parser.error(f"unknown layer: {', '.join(sorted(unknown))}")
    layers = [layer for layer in LAYERS if layer.name in chosen]
    missing = missing_packages() if any(layer.needs_graphics for layer in layers) else []
    outcomes = [run_layer(layer, missing) for layer in layers]
    sys.stdout.write("\n== summary\n")
    for outcome in outcomes:
        sys.stdout.write(f"{outcome.name:8}{outcome.verdict:8}{outcome.seconds:7.1f} s  {outcome.detail}\n")
    return int(any(outcome.verdict == "FAILED" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
