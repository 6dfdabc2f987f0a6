"""Preprocessing beside references of the same run: ``python Testing/benchmarks/preprocessing.py [--quick]``.

The full size (256 x 256 x 176, 5 echoes) takes 6 GB and some minutes. Exit status 1 if an aim of
`preprocessing.benchmark_table.AIMS` is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ChiSepExtension.preprocessing.benchmark import CASES, SCANS, benchmark_preprocessing
from ChiSepExtension.preprocessing.benchmark_table import markdown, missed_aims


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["128", "128-oblique", "thick", "full"])
    parser.add_argument("--scans", nargs="+", choices=SCANS, default=["standard"])
    parser.add_argument("--quick", action="store_true", help="one small head, for a look at the table")
    parser.add_argument("--seed", type=int, default=0, help="of the procedural head and the noise")
    parser.add_argument("--anatomy", type=Path, help="label map instead of the procedural head")
    parser.add_argument("--no-references", action="store_true")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    options = parser.parse_args()
    rows = benchmark_preprocessing(
        ["quick"] if options.quick else options.cases,
        options.scans,
        seed=options.seed,
        anatomy=None if options.anatomy is None else str(options.anatomy),
        references=not options.no_references,
        progress=lambda fraction, message: sys.stderr.write(f"{100 * fraction:3.0f} % {message}\n"),
    )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    text = markdown(rows)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    sys.stdout.write(text + "\n")
    missed = missed_aims(rows)
    for line in missed:
        sys.stderr.write(f"Aim missed: {line}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
