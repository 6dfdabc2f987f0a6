"""The quality page: it is drawn from what a run holds, in letters that the font has."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ChiSepExtension.acquisition import GradientEchoSeries
from ChiSepExtension.geometry import Grid
from ChiSepExtension.notice import RESEARCH_USE
from ChiSepExtension.quality import after_run, gate_data, gate_files, gate_header, plausibility, slices
from ChiSepExtension.quality.gate import Gate, GateRow, Override
from ChiSepExtension.quality.gate_rows import MENDS
from ChiSepExtension.quality.qc_sheet import plain, qc_sheet
from ChiSepExtension.result import Result


@lru_cache(maxsize=1)
def run() -> tuple[GradientEchoSeries, Result]:
    grid = Grid.from_spacing((20, 24, 22), (4.0, 4.0, 4.0))
    rng = np.random.default_rng(0)
    mask = np.linalg.norm(np.indices(grid.shape) - np.array([[[[9.5]]], [[[11.5]]], [[[10.5]]]]), axis=0) < 9
    rate = np.where(mask, rng.uniform(10, 40, grid.shape), 0).astype(np.float32)
    times = np.array([0.005, 0.015, 0.025])
    magnitude = 1000 * mask * np.exp(-times.reshape(-1, 1, 1, 1) * rate)
    series = GradientEchoSeries(magnitude, rng.uniform(-3, 3, magnitude.shape), times, 3.0, grid)
    chi = np.where(mask, rng.uniform(0, 0.06, grid.shape), 0).astype(np.float32)
    return series, Result(chi, chi, rate, rate / 2, chi, mask, grid)


def page(**provenance) -> np.ndarray:
    series, result = run()
    return np.asarray(qc_sheet(series, replace(result, provenance=provenance)))


def test_a_run_without_checks_still_has_a_page():
    drawn = page()
    assert drawn.shape[1] == 1500 and drawn.std() > 10


def test_a_red_row_shows_as_a_red_dot_and_a_green_one_as_green():
    rows = [GateRow("field", "Field strength", color, "1.5 T", "Not tested.") for color in ("red", "green")]
    drawn = page(gate=Gate((rows[0],)).to_dict(), checks=Gate((rows[1],)).to_dict())
    left, right = drawn[:, :750], drawn[:, 750:]
    red, green = np.array((235, 70, 60)), np.array((70, 190, 90))
    assert (left == red).all(axis=2).sum() > 30 and not (right == red).all(axis=2).any()
    assert (right == green).all(axis=2).sum() > 30


def test_a62_the_override_takes_a_line_of_its_own_on_the_page():
    gate = Gate((GateRow("field", "Field strength", "red", "1.5 T", "Not tested."),))
    override = Override("Phantom study at 1.5 T", "AB", "2026-11-22T14:05:00Z")
    without, with_it = page(gate=gate.to_dict()), page(gate=gate.overridden(override).to_dict())
    assert with_it.shape[0] == without.shape[0] + 22


def test_a_picture_of_another_axis_order_is_the_same_picture():
    series, result = run()
    backwards = np.diag([-1.0, 1.0, 1.0, 1.0])
    backwards[0, 3] = series.grid.shape[2] - 1
    turned = Grid(series.grid.shape, series.grid.ijk_to_ras @ backwards)
    flip = {
        name: getattr(result, name)[..., ::-1].copy() for name in ("chi_para", "chi_dia", "r2star_hz", "r2prime_hz")
    }
    other_series = replace(series, magnitude=series.magnitude[..., ::-1], phase=series.phase[..., ::-1], grid=turned)
    other = replace(result, **flip, mask=result.mask[..., ::-1].copy(), grid=turned)
    np.testing.assert_array_equal(np.asarray(qc_sheet(series, result)), np.asarray(qc_sheet(other_series, other)))


def texts() -> list[str]:
    """Every literal text of the checks."""
    found = [RESEARCH_USE, *MENDS.values()]
    for module in (after_run, gate_data, gate_files, gate_header, plausibility):
        found += re.findall(r'(?<!")"([^"\n]+)"(?!")', inspect.getsource(module))
    return found


def test_the_trust_of_a_run_is_drawn_where_there_is_one():
    series, result = run()
    trusted = np.asarray(qc_sheet(series, replace(result, trust=np.where(result.mask, 1, 0).astype(np.float32))))
    yellow = np.array((253, 231, 37))  # the end of viridis, where trust is 1
    assert (trusted[:260] == yellow).all(axis=2).sum() > 1000
    assert not (page()[:260] == yellow).all(axis=2).any()


def test_no_text_of_a_check_loses_a_letter():
    lost = {text for text in texts() if plain(text).count("?") > text.count("?")}
    assert not lost


def test_the_font_has_every_letter():
    font = slices.font(14)
    missing = bytes(font.getmask("\U0010fffd"))
    letters = set("".join(plain(text) for text in texts())) - {" "}
    assert not {letter for letter in letters if bytes(font.getmask(letter)) == missing}
