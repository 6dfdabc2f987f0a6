"""The accuracy benchmark in its quick size, and the definitions that it does not share with `quality`."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ChiSepExtension.accuracy import benchmark
from ChiSepExtension.accuracy.aims import aims, missed
from ChiSepExtension.accuracy.benchmark import QUICK, check_no_leak, run_benchmark
from ChiSepExtension.accuracy.cases import load_case
from ChiSepExtension.accuracy.commands import accuracy_command
from ChiSepExtension.accuracy.lesion_scores import area_under_curve, category, score_lesions, sensitivity_at
from ChiSepExtension.accuracy.methods import NetworkMethod, Workbench, trained_heads
from ChiSepExtension.accuracy.regimes import FIRST_SEED, draw_conditions
from ChiSepExtension.accuracy.scores import score
from ChiSepExtension.accuracy.summary import agreement, strongest
from ChiSepExtension.cli import main
from ChiSepExtension.errors import InputError
from ChiSepExtension.training import heads

_SMALL = replace(QUICK, regimes=("a",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("accuracy")


@pytest.fixture(scope="module")
def rows(folder):
    return run_benchmark(_SMALL, folder)


@pytest.fixture(scope="module")
def case(folder, rows):
    conditions = draw_conditions("a", 0, lesions=_SMALL.lesions, spacing_mm=_SMALL.spacing_mm)
    return load_case("procedural", None, conditions, folder / "cases")


def test_zero_map_has_errors_of_100_percent_and_the_truth_none(rows, case):
    zero = next(row for row in rows if row.method == "zero map" and row.stage == "isolated").scores
    assert zero["chi_para"]["nrmse"] == pytest.approx(100) and zero["chi_dia"]["hfen"] == pytest.approx(100)
    perfect = score(case, (case.chi_para, case.chi_dia), case.brain)
    assert perfect["chi_dia"]["nrmse"] == 0 and perfect["chi_para"]["xsim"] == pytest.approx(1)
    assert perfect["deep_grey"]["slope"] == pytest.approx(1)
    assert all(bias == 0 for pair in perfect["regions"].values() for bias in pair.values())


def test_offset_of_one_source_is_its_bias_in_every_region(case):
    """10 ppb more χpara: NRMSE blind to it, bias and cross-talk not."""
    shifted = score(case, (case.chi_para + np.float32(0.01), case.chi_dia), case.brain)
    assert shifted["chi_para"]["nrmse"] < 0.01 and shifted["chi_para"]["bias_ppb"] == pytest.approx(10, abs=0.01)
    assert shifted["regions"]["white matter"] == pytest.approx({"chi_para": 10, "chi_dia": 0}, abs=0.01)
    assert shifted["cross_talk"]["para_in_white_matter_ppb"] == pytest.approx(10, abs=0.01)


def test_true_maps_put_every_lesion_in_its_category(case):
    found = score_lesions(case, (case.chi_para, case.chi_dia), case.brain)
    assert found and all(lesion["category"] == lesion["true_category"] for lesion in found)
    assert all(lesion["bias_dia_ppb"] == 0 for lesion in found)


def test_methods_get_the_stated_dr_and_not_the_true_ones(case, monkeypatch):
    seen = []

    def separate(**given):
        seen.append((given["dr"], given["options"].dr_para))
        zero = np.zeros(case.grid.shape, np.float32)
        return SimpleNamespace(chi_para=zero, chi_dia=zero), {}

    monkeypatch.setattr("ChiSepExtension.accuracy.methods.separate", separate)
    Workbench(case, case.inputs["isolated"]).run("closed form")
    stated = case.conditions.stated_dr
    assert seen == [((stated, stated), stated)] and stated not in (case.conditions.dr_para, case.conditions.dr_dia)


def test_shifted_conditions_lie_outside_those_of_training():
    recipes = [heads.draw_recipe(seed) for seed in range(300)]
    ratios = [r.dr_para / r.dr_dia for r in recipes]
    means = [(r.dr_para + r.dr_dia) / 2 for r in recipes]
    for number in range(20):
        shifted = draw_conditions("b", number)
        mean = (shifted.dr_para + shifted.dr_dia) / 2
        assert not min(means) <= mean <= max(means)
        assert not min(ratios) <= shifted.dr_para / shifted.dr_dia <= max(ratios)
        assert abs(shifted.stated_dr / mean - 1) > 0.05 and shifted.r2_bias < min(r.r2_bias for r in recipes)
        assert shifted.seed < heads.FIRST_TRAINING_SEED and shifted.seed == FIRST_SEED + number
        assert shifted.spacing_mm == (2.0, 1.0, 1.0) and abs(shifted.tilt_deg) > 12


def test_benchmark_goes_on_where_it_stopped(rows, folder, monkeypatch):
    monkeypatch.setattr(Workbench, "run", lambda *_: pytest.fail("a stored score was made again"))
    again = run_benchmark(_SMALL, folder)
    assert [row.scores["chi_dia"]["bias_ppb"] for row in again] == [row.scores["chi_dia"]["bias_ppb"] for row in rows]


def test_network_trained_on_a_head_of_the_benchmark_is_refused(tmp_path):
    network = NetworkMethod("sepnet-r2prime", tmp_path, "own", "", ("training_seg_05", "training_seg_18"))
    check_no_leak(network, ["training_seg_17", "procedural"])
    with pytest.raises(InputError, match="training_seg_18"):
        check_no_leak(network, ["training_seg_17", "training_seg_18"])


def test_heads_of_an_earlier_run_count_as_trained_on():
    earlier = {"data": {"label_maps": ["training_seg_18.nii.gz"], "seeds": [5, 6]}}
    details = {"data": {"label_maps": ["training_seg_05.nii.gz"], "seeds": [7, 7]}, "started_from": earlier}
    assert set(trained_heads(details)) == {"training_seg_05", "training_seg_18", "5", "6", "7"}


def test_command_writes_tables_numbers_and_pictures(rows, folder):
    text = accuracy_command(folder, quick=True, regimes=["a"])
    assert "| closed form, smoothed R2′ |" in text and (folder / "accuracy.md").read_text(encoding="utf-8") == text
    numbers = json.loads((folder / "accuracy.json").read_text(encoding="utf-8"))
    assert set(numbers["summary"]) == {"a, isolated", "a, end-to-end"}
    assert len(list(folder.glob("accuracy-procedural-a-*.png"))) == 2


def test_unknown_head_or_method_is_named(tmp_path):
    for wrong in ({"heads": ("nobody",)}, {"methods": ("magic",)}):
        with pytest.raises(InputError, match="nobody|magic"):
            run_benchmark(replace(_SMALL, **wrong), tmp_path)


def test_network_pipelines_are_run_with_their_weights(case, monkeypatch, tmp_path):
    asked = []

    def separate(**given):
        asked.append((given["options"].method, given["options"].weights, given["qsm"]))
        zero = np.zeros(case.grid.shape, np.float32)
        return SimpleNamespace(chi_para=zero, chi_dia=zero), {}

    monkeypatch.setattr("ChiSepExtension.accuracy.methods.separate", separate)
    Workbench(case, case.inputs["isolated"]).run(NetworkMethod("sepnet-r2star", tmp_path, "own", ""))
    assert asked == [("sepnet-r2star", str(tmp_path), None)]


def test_area_under_the_curve_and_sensitivity_of_hand_made_scores():
    """Positives 3, 1 and negatives 2, 0: three of four pairs are in order."""
    assert area_under_curve([3, 1], [2, 0]) == 0.75
    assert area_under_curve([1], [1]) == 0.5 and math.isnan(area_under_curve([], [1]))
    negatives = list(range(100))  # 5 of 100 may exceed the limit: it is 94
    assert sensitivity_at([94, 95, 200], negatives) == pytest.approx(2 / 3)


def test_category_follows_contrasts_and_rim():
    def values(contrast, rim_core=math.nan, rim_arc=math.nan):
        return SimpleNamespace(contrast=contrast, rim_core=rim_core, rim_arc=rim_arc)

    assert category(values(0.02), values(-0.01)) == "hyper/hypo"
    assert category(values(0.0), values(0.0)) == "iso/iso"
    assert category(values(0.0, 0.02, 0.9), values(-0.01)) == "rim/hypo"
    assert category(values(0.0, 0.02, 0.5), values(-0.01)) == "iso/hypo"  # not two thirds of the perimeter


def test_agreement_counts_lesions_that_both_methods_measured():
    def row(method, categories):
        found = [{"number": n, "category": c} for n, c in categories.items()]
        return benchmark.Row("17", "a", "isolated", method, 0.0, {}, found)

    found = agreement(
        [row("x", {1: "iso/hypo", 2: "rim/hypo", 3: "iso/iso"}), row("y", {1: "iso/hypo", 2: "iso/hypo"})], "x", "y"
    )
    assert (found["same"], found["lesions"]) == (1, 2)


def _row(method, source_nrmse, category="iso/hypo", lesions=260):
    """A row of regime (a) whose scores are all given by one number."""
    source = {"nrmse": source_nrmse, "nrmse_core": 1.0, "nrmse_detrended": 1.0, "bias_ppb": 0.0}
    scores = {
        **{name: dict(source) for name in ("chi_para", "chi_dia", "chi_total")},
        "regions": {"white matter": {"chi_para": -6.0, "chi_dia": 4.0}},
        "streaks": {"near_sources_ppb": source_nrmse},
    }
    lesion = {key: 0.0 for key in ("bias_para_ppb", "bias_dia_ppb", "mae_para_ppb", "mae_dia_ppb")}
    lesion |= {"rim_core_ppb": math.nan, "rim_recovery": math.nan, "rim": False, "diameter_mm": 5.0}
    lesion |= {"category": category, "true_category": "iso/hypo"}
    found = [{"number": n, **lesion} for n in range(lesions)]
    return benchmark.Row("17", "a", "isolated", method, 1.0, scores, found)


def test_aims_compare_with_the_strongest_conventional_method_and_count_lesions():
    """20 of 50 % is 0.4 of the conventional; 30 of 20 % is 1.5; -6 ppb is more than 5; no category is the same."""
    rows = [_row("closed form", 50.0), _row("χ-sepnet-R2′ (x)", 20.0), _row("χ-sepnet-R2* (x)", 30.0, "rim/hypo")]
    found = {aim.what: aim for aim in aims(rows)}
    assert found["NRMSE of chi_para, R2′ to strongest conventional"].met
    assert found["NRMSE of chi_dia, R2* to R2′"].reached == pytest.approx(1.5)
    assert found["largest bias of chi_para in white matter and nuclei, ppb"].met is False
    assert found["category of R2′ and R2* the same, of 260 lesions"].reached == 0
    assert found["rims of 8 mm and more found at 5 % false rims"].met is None  # there was none to find
    assert len(missed(rows)) == 4 and "1.5" in missed(rows)[1]


def test_few_lesions_do_not_decide_the_agreement():
    rows = [_row("χ-sepnet-R2′ (x)", 20.0, lesions=20), _row("χ-sepnet-R2* (x)", 20.0, lesions=20)]
    assert next(aim for aim in aims(rows) if "category" in aim.what).met is None


def test_output_folder_is_asked_for(capsys):
    assert main(["benchmark", "accuracy"]) != 0
    assert "--output" in capsys.readouterr().err


def test_strongest_conventional_method_is_never_a_network(rows):
    better = replace(rows[0], method="χ-sepnet-R2′ (x)", scores={"chi_para": {"nrmse": 1.0}})
    assert strongest([*rows, better], "chi_para")[0].startswith("closed form")
