"""Reading DICOM, timed: ``python Testing/benchmarks/dicom.py [--slices 100] [--matrix 256]``.

Writes a simulated scan of slices × 5 echoes × 2 files (1,000 by default) in the style of each vendor, examines it and
reads it. Exit status 1 if 1,000 classic files take longer than 10 s.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ChiSepExtension.acquisition import GradientEchoSeries
from ChiSepExtension.acquisition.dicom import examine
from ChiSepExtension.geometry import Grid
from ChiSepExtension.phantom.dicom_files import write_dicom

#: Most seconds for 1,000 files, examined and read.
AIM_S = 10.0
TIMES_S = (0.005, 0.011, 0.017, 0.023, 0.029)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--matrix", type=int, default=256)
    parser.add_argument("--styles", nargs="+", default=["siemens", "philips-enhanced"])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    grid = Grid.from_spacing((options.slices, options.matrix, options.matrix), (1.5, 0.9, 0.9))
    rng = np.random.default_rng(0)
    shape = (len(TIMES_S), *grid.shape)
    magnitude = rng.random(shape, dtype=np.float32)
    phase = rng.random(shape, dtype=np.float32) * np.float32(2 * np.pi) - np.float32(np.pi)
    series = GradientEchoSeries(magnitude, phase, TIMES_S, 3.0, grid)
    figures = {style: _measure(series, style) for style in options.styles}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    columns = ("files", "images", "megabytes", "examine_s", "read_s")
    sys.stdout.write(f"{'style':18}" + "".join(f"{name:>11}" for name in columns) + "\n")
    for style, row in figures.items():
        sys.stdout.write(f"{style:18}" + "".join(f"{row[name]:11.4g}" for name in columns) + "\n")
    classic = [f for f in figures.values() if f["files"] > 100]
    return int(any((f["examine_s"] + f["read_s"]) * 1000 / f["files"] > AIM_S for f in classic))


def _measure(series: GradientEchoSeries, style: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        paths = write_dicom(folder, series, style=style)
        began = time.perf_counter()
        found = examine(folder)
        examined = time.perf_counter()
        found.gradient_echo()
        read = time.perf_counter()
        return {
            "files": len(paths),
            "images": sum(len(scan.images) for scan in found),
            "megabytes": sum(path.stat().st_size for path in paths) / 1e6,
            "examine_s": examined - began,
            "read_s": read - examined,
        }


if __name__ == "__main__":
    sys.exit(main())
