"""The comparison of preprocessing: its cases, rows, tables and aims."""

from __future__ import annotations

import json
from functools import lru_cache

import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.preprocessing.benchmark import CASES, SCANS, benchmark_preprocessing, make_case, make_scan
from ChiSepExtension.preprocessing.benchmark_table import markdown, missed_aims


@lru_cache(maxsize=1)
def rows():
    return benchmark_preprocessing(["quick"], ["standard", "inverted"])


def row(stage, scan="standard"):
    return next(r for r in rows() if r["stage"] == stage and r["scan"] == scan)


def test_every_stage_has_its_time_and_error():
    stages = {r["stage"] for r in rows() if r["scan"] == "standard"}
    assert {"phase offset", "unwrapping, template", "field fit", "R2*: nonlinear", "R2: EPG dictionary"} <= stages
    assert any(stage.startswith("background: RESHARP") for stage in stages)
    assert all(r["seconds"] >= 0 for r in rows())
    json.dumps(rows())


def test_the_chain_beats_the_references_of_the_same_run():
    ours = row("field fit")["nrmse_eroded"]
    assert ours < 3  # the noise; one wrong turn in a thousand voxels makes 10
    assert ours < row("reference: numpy")["nrmse_eroded"]


def test_an_inverted_scan_gives_the_same_field_after_its_repair():
    assert row("field fit", "inverted")["nrmse_eroded"] == pytest.approx(row("field fit")["nrmse_eroded"], rel=0.02)
    assert row("repair", "inverted")["seconds"] >= 0


def test_the_zero_map_has_an_error_of_100_percent():
    assert row("background: zero map")["nrmse_own"] == pytest.approx(100)


def test_tables_name_cases_and_stages():
    text = markdown(rows())
    assert "### quick, standard" in text and "### quick, inverted" in text
    assert "| phase offset |" in text
    widths = {line.count("|") for line in text.split("### ")[1].splitlines() if line.startswith("|")}
    assert len(widths) == 1  # all rows of a table have its columns


def test_aims_that_are_missed_are_named():
    common = {"case": "full", "scan": "standard"}
    slow = [
        {**common, "stage": "phase offset", "seconds": 4.0},
        {**common, "stage": "unwrapping, template", "seconds": 4.0, "wrap_errors_percent": 0.1},
        {**common, "stage": "field fit", "seconds": 1.0, "rmse_eroded_ppb": 0.5},
    ]
    assert missed_aims(slow) == ["full, offset + unwrapping + field: seconds 9 > 8"]
    slow[0]["seconds"] = 1.0
    assert missed_aims(slow) == []


def test_faults_are_in_the_scans_that_are_named_after_them():
    case = make_case("quick")
    scan, broken = make_scan(case, "alternated")
    assert not (broken.phase == scan.series.phase).all()
    assert len(SCANS["8-echoes"][0]) == 8 and "full" in CASES
    for wrong in (lambda: make_case("1024"), lambda: make_scan(case, "wish")):
        with pytest.raises(InputError, match="There is no"):
            wrong()
