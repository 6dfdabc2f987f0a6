"""Inference against plain PyTorch, as a table: ``python Testing/benchmarks/inference.py [--width 32] [--device cpu]``.

The full size takes 9 GB and some minutes. Exit status 1 if the engine misses its aims (CPU: 0.35 of time and memory,
CUDA: 0.25 of time and 0.5 of memory).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ChiSepExtension.networks.benchmark import ROLES, SHAPE, WAYS, benchmark_inference, missed_aims, table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE)
    parser.add_argument("--spacing", type=float, default=1.0, help="voxel size in mm")
    parser.add_argument("--ways", nargs="+", default=[*WAYS, "engine-float32-small", "plain-box"])
    parser.add_argument("--networks", nargs="+", choices=ROLES, help="one after the other; by default by the device")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    figures = benchmark_inference(
        device=options.device,
        base_width=options.width,
        shape=tuple(options.shape),
        spacing_mm=options.spacing,
        ways=tuple(options.ways),
        roles=options.networks and tuple(options.networks),
        threads=options.threads,
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(figures) + "\n")
    missed = missed_aims(figures)
    for line in missed:
        sys.stderr.write(f"Aim missed: {line}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
