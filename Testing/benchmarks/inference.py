"""Inference against plain PyTorch, as a table: ``python Testing/benchmarks/inference.py [--width 32] [--device cpu]``.

The full size takes 9 GB and some minutes. Exit status 1 if the engine misses its aims (CPU: 0.35 of time and memory).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ChiSepExtension.networks.benchmark import BRAIN, SHAPE, WAYS, benchmark_inference

#: Largest part of plain PyTorch's time and memory, by kind of device.
AIMS = {"cpu": (0.35, 0.35), "cuda": (0.25, 0.5), "mps": (0.35, 0.5)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE)
    parser.add_argument("--brain", type=int, nargs=3, default=BRAIN)
    parser.add_argument("--ways", nargs="+", default=[*WAYS, "engine-float32-small", "plain-box"])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    figures = benchmark_inference(
        device=options.device,
        base_width=options.width,
        shape=tuple(options.shape),
        brain=tuple(options.brain),
        ways=tuple(options.ways),
        threads=options.threads,
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    write = sys.stdout.write
    write(f"{figures['processor']}, {figures['cores']} cores; width {options.width}, {options.shape}\n")
    write(f"{'way':22} {'type':9} {'s':>7} {'×':>6} {'GB':>6} {'×':>6} {'TFLOP/s':>8} {'max ppb':>9} {'NRMSE':>9}\n")
    for way, result in figures["ways"].items():
        on_device = "device_peak_bytes" in result
        peak = result["device_peak_bytes"] if on_device else result["peak_bytes"]
        ratio = result.get("device_peak_ratio" if on_device else "peak_ratio", float("nan"))
        write(
            f"{way:22} {result.get('dtype', 'float32'):9} {result['seconds']:7.2f} "
            f"{result.get('time_ratio', float('nan')):6.3f} {(peak or 0) / 1e9:6.2f} {ratio:6.3f} "
            f"{result['tflops']:8.2f} {result.get('largest_difference_ppb', float('nan')):9.2g} "
            f"{result.get('nrmse', float('nan')):9.2g}\n"
        )
    time_aim, memory_aim = AIMS[options.device.partition(":")[0]]
    best = figures["ways"].get("engine-auto", {})
    peak = best.get("device_peak_ratio", best.get("peak_ratio"))
    missed = best.get("time_ratio", 0) > time_aim or (peak is not None and peak > memory_aim)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
