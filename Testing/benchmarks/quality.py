"""How often the checks are wrong: ``python Testing/benchmarks/quality.py [--heads 24] [--json FILE]``.

Every head is another anatomy, voxel size, tilt, echo train, noise and method. The gate and the checks after the run
are asked about the clean scan (any red row of theirs is a false alarm; rows that hang on the header alone are not
counted) and about seeded errors: inverted phase, swapped sources, ppb for ppm, maps mirrored left to right. Exit
status 1 if an error is missed or more than 5 % of the clean runs raise an alarm.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ChiSepExtension.given_maps import GivenMaps
from ChiSepExtension.options import Options
from ChiSepExtension.phantom import default_grid, make_head, simulate_gradient_echo, simulate_r2_map
from ChiSepExtension.pipeline import run
from ChiSepExtension.quality.after_run import check_result
from ChiSepExtension.quality.gate import check_inputs

SPACINGS = (2.0, 2.4, (3.0, 1.8, 1.8), (2.0, 2.6, 2.2))
SNRS = (150, 80, 50, 35)
TILTS_DEG = (0, 15, 28)
TRAINS_MS = ((5, 11, 17, 23, 29), (4, 12, 20, 28), (2.5, 5.5, 8.5, 11.5, 14.5, 17.5, 20.5, 23.5), (4.5, 13, 25))
METHODS = ("closed-form", "r2star-qsm", "least-squares", "iterative")

#: Rows of the gate that the images decide.
DATA_ROWS = ("phase", "slices", "phase-sign", "echo-order", "magnitude-scale", "phase-linearity", "signal-to-noise")
DATA_ROWS += ("ghosts", "mask")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=24)
    parser.add_argument("--first", type=int, default=0, help="number of the first head")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for number in range(options.first, options.first + options.heads):
        rows.append(check_head(number))
        sys.stdout.write(json.dumps(rows[-1], ensure_ascii=False) + "\n")
        sys.stdout.flush()
    alarms = {when: sum(bool(row[when]) for row in rows) for when in ("red_before", "red_after")}
    seeded = [color for row in rows for color in row["seeded"].values()]
    missed = sum(color != "red" for color in seeded)
    undecided = sum(color == "amber" for color in seeded)
    summary = {"heads": len(rows), **alarms, "seeded": len(seeded), "missed": missed, "of_these_amber": undecided}
    sys.stdout.write(json.dumps(summary) + "\n")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "summary": summary}, indent=1), encoding="utf-8")
    return int(missed > 0 or max(alarms.values()) > 0.05 * len(rows))


def check_head(number: int) -> dict:
    spacing = SPACINGS[number % 4]
    tilt = np.radians(TILTS_DEG[number % 3])
    c, s = np.cos(tilt), np.sin(tilt)
    rotation = np.array([[1, 0, 0], [0, c, -s], [0, s, c]] if number % 2 else [[c, 0, s], [0, 1, 0], [-s, 0, c]])
    snr, train, method = SNRS[number // 4 % 4], TRAINS_MS[number // 3 % 4], METHODS[number % 4]
    tesla = 7.0 if number % 8 == 7 else 3.0
    lesions = (7 * number) % 40
    head = make_head(default_grid(None, spacing, rotation), seed=100 + number, lesions=lesions, value_spread=0.2)
    times = [t / 1e3 for t in train]
    scan = simulate_gradient_echo(head, snr=snr, seed=number, echo_times_s=times, field_strength_t=tesla).series
    inverted = replace(scan, phase=-scan.phase)
    choices, given = Options(method=method), GivenMaps(r2_hz=simulate_r2_map(head, seed=number))
    began = time.perf_counter()
    gate = check_inputs(scan, given=given, options=choices)
    gate_s = time.perf_counter() - began
    result = run(scan, choices, given=given)
    began = time.perf_counter()
    checked = check_result(result, scan)
    check_s = time.perf_counter() - began
    para, dia = result.chi_para, result.chi_dia
    wrong = {
        "sources": replace(result, chi_para=dia, chi_dia=para),
        "unit": replace(result, chi_para=1e3 * para, chi_dia=1e3 * dia),
        "side": replace(result, chi_para=np.flip(para, 2), chi_dia=np.flip(dia, 2)),
    }
    seeded = {key: check_result(maps, scan).row(key).color for key, maps in wrong.items()}
    seeded["phase-sign"] = check_result(run(inverted, choices, given=given), inverted).row("phase-sign").color
    seeded["phase-sign before"] = check_inputs(inverted, given=given, options=choices).row("phase-sign").color
    return {
        "head": number,
        "grid": scan.grid.describe(),
        "snr": snr,
        "echoes": len(train),
        "tesla": tesla,
        "method": method,
        "red_before": [key for key in DATA_ROWS if gate.row(key).color == "red"],
        "amber_before": [key for key in DATA_ROWS if gate.row(key).color == "amber"],
        "red_after": [row.key for row in checked.of_color("red")],
        "amber_after": [row.key for row in checked.of_color("amber")],
        "seeded": seeded,
        "seconds": {"gate": round(gate_s, 1), "checks": round(check_s, 1)},
    }


if __name__ == "__main__":
    sys.exit(main())
