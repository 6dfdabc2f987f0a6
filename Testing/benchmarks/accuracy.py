"""Accuracy against known truth: ``python Testing/benchmarks/accuracy.py DIR --anatomy DIR [--weights DIR…]``.

Exit status 1 if the networks miss one of the project's aims (`ChiSepExtension.accuracy.aims`). A repeated call goes on
where the last one stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ChiSepExtension.accuracy.aims import missed
from ChiSepExtension.accuracy.benchmark import Settings, run_benchmark
from ChiSepExtension.accuracy.commands import write_results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--anatomy", type=Path, help="folder of whole-head label maps")
    parser.add_argument("--weights", type=Path, nargs="+", help="further bundles, such as other training seeds")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    rows = run_benchmark(
        Settings(device=options.device),
        options.output,
        anatomy=options.anatomy,
        weights=options.weights,
        progress=lambda fraction, message: sys.stderr.write(f"{100 * fraction:3.0f} % {message}\n"),
    )
    sys.stdout.write(write_results(rows, options.output))
    lines = missed(rows)
    for line in lines:
        sys.stderr.write(f"Aim missed: {line}\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
