"""Faults of scanners and converters: each is made on purpose, found, shown and mended."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.phantom.head import default_grid, make_head
from ChiSepExtension.phantom.scanner import simulate_gradient_echo
from ChiSepExtension.preprocessing.bipolar import correct_bipolar, find_bipolar_phase, remove_bipolar_phase
from ChiSepExtension.preprocessing.echo_checks import find_echo_order
from ChiSepExtension.preprocessing.romeo import wrap
from ChiSepExtension.preprocessing.vendor_repair import (
    REPAIRS,
    detect,
    find_phase_sign,
    find_slice_alternation,
    repair,
    repair_slice_alternation,
)


@lru_cache(maxsize=1)
def scanned_head():
    head = make_head(default_grid(None, 2.6), seed=5, lesions=4)
    return head, simulate_gradient_echo(head)


def same_phase(a, b):
    return np.abs(np.angle(np.exp(1j * (a - b)))).max()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_alternating_slices_are_found_and_repaired(axis):
    series = scanned_head()[1].series
    turn = np.zeros(series.grid.shape, np.float32)
    np.moveaxis(turn, axis, 0)[1::2] = np.pi
    alternating = np.angle(np.exp(1j * (series.phase + turn))).astype(np.float32)
    found = find_slice_alternation(alternating[0], series.magnitude[0])
    assert found.axis == axis and found.cosine < -0.5
    # Float32 rounding of a few additions of π.
    assert same_phase(repair_slice_alternation(alternating, found), series.phase) < 1e-5


def test_ordinary_slices_are_left_alone():
    series = scanned_head()[1].series
    found = find_slice_alternation(series.phase[0], series.magnitude[0])
    assert found.axis is None and found.cosine > 0.5
    assert np.array_equal(repair_slice_alternation(series.phase, found), series.phase)


def test_sign_of_phase_is_told_from_iron_and_veins():
    head, scan = scanned_head()
    right = find_phase_sign(scan.local_field_ppm, head.r2star_hz, head.brain_mask, head.grid)
    wrong = find_phase_sign(-scan.local_field_ppm, head.r2star_hz, head.brain_mask, head.grid)
    assert right.inverted is False and wrong.inverted is True
    assert right.contrast == pytest.approx(-wrong.contrast, rel=1e-4)


def test_sign_stays_open_where_nothing_tells():
    grid = Grid.from_spacing((32, 32, 32))
    rng = np.random.default_rng(0)
    field = 0.01 * rng.standard_normal(grid.shape)
    rate = rng.uniform(10, 20, grid.shape)
    assert find_phase_sign(field, rate, np.ones(grid.shape, bool), grid).inverted is None


def bipolar_scan(strength, fineness=1):
    """Phases of a smooth field and offset with ±g on odd and even echoes, three turns of 4 g across the image."""
    shape = (24 * fineness, 40 * fineness, 36 * fineness)
    grid = Grid.from_spacing(shape, (2.0 / fineness, 1.5 / fineness, 1.5 / fineness))
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    times = np.array([4e-3, 8e-3, 12e-3, 16e-3])
    alternating = strength * (x + 0.2 * y**2)
    rng = np.random.default_rng(0)
    signal = [
        np.exp(-20 * t) * np.exp(1j * (2 * np.pi * t * 40 * (y + z * x) + 0.8 * z + (-1) ** n * alternating))
        for n, t in enumerate(times)
    ]
    signal = np.array([s + 0.02 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) for s in signal])
    mask = z**2 + y**2 + x**2 < 0.9
    return grid, times, np.angle(signal), np.abs(signal), mask, alternating


@pytest.mark.parametrize("fineness", [1, 2])  # at 1 mm and less it is looked for in blocks
def test_bipolar_phase_is_found_and_removed(fineness):
    grid, times, phase, magnitude, mask, alternating = bipolar_scan(2.0, fineness)
    found = find_bipolar_phase(phase, magnitude, times, mask, grid)
    assert found.looks_bipolar
    error = (found.alternating_rad - alternating)[mask]
    assert np.abs(np.median(error) / (np.pi / 2) - np.rint(np.median(error) / (np.pi / 2))) < 0.02  # known mod π/2
    # Smoothing over 4 mm bends the estimate at the border of the mask only.
    assert np.std(error) < 0.06
    again = find_bipolar_phase(remove_bipolar_phase(phase, found), magnitude, times, mask, grid)
    assert again.spread_rad < 0.1 and not again.looks_bipolar


def test_monopolar_scan_does_not_look_bipolar():
    grid, times, phase, magnitude, mask, _ = bipolar_scan(0.0)
    assert not find_bipolar_phase(phase, magnitude, times, mask, grid).looks_bipolar


def test_bipolar_correction_needs_three_equally_spaced_echoes():
    grid, _, phase, magnitude, mask, _ = bipolar_scan(0.0)
    for times in ([4e-3, 8e-3], [4e-3, 8e-3, 14e-3]):
        with pytest.raises(InputError, match="3 equally spaced"):
            find_bipolar_phase(phase[: len(times)], magnitude[: len(times)], np.array(times), mask, grid)


# --- all faults together


SWAPPED = [2, 1, 0, 3, 4]


@lru_cache(maxsize=1)
def small_scan():
    head = make_head(default_grid(None, 3.2), seed=5, lesions=2)
    return head, simulate_gradient_echo(head, snr=80).series


def alternated(series):
    turn = np.zeros(series.grid.shape, np.float32)
    turn[1::2] = np.pi
    return replace(series, phase=wrap(series.phase + turn))


def bipolar(series):
    ramp = np.linspace(-1.2, 1.2, series.grid.shape[2], dtype=np.float32)
    sign = np.array([1, -1, 1, -1, 1], np.float32).reshape(-1, 1, 1, 1)
    return replace(series, phase=wrap(series.phase + sign * ramp))


def scaled(series):
    factors = np.array([1, 1.4, 0.8, 1.2, 1.0], np.float32).reshape(-1, 1, 1, 1)
    return replace(series, magnitude=series.magnitude * factors)


def signed(series):
    values = np.rint(series.magnitude * (60000 / series.magnitude.max()))
    return replace(series, magnitude=np.where(values > 32767, values - 65536, values))


FAULTS = {
    "repair-slices": alternated,
    "invert-phase": lambda s: replace(s, phase=-s.phase),
    "correct-bipolar": bipolar,
    "reorder-echoes": lambda s: replace(s, phase=s.phase[SWAPPED], magnitude=s.magnitude[SWAPPED]),
    "rescale-magnitude": scaled,
    "unsigned-magnitude": signed,
}


def relative_decay(series, where):
    return np.array([np.median(echo[where]) for echo in series.magnitude]) / np.median(series.magnitude[0][where])


@pytest.mark.parametrize("name", REPAIRS)
def test_each_fault_is_found_alone_shown_and_mended(name):
    head, series = small_scan()
    broken = FAULTS[name](series)
    findings = detect(broken, mask=head.brain_mask)
    assert [f.name for f in findings if f.found] == [name]
    finding = next(f for f in findings if f.found)
    assert finding.picture is not None and finding.picture.before.shape == finding.picture.after.shape
    assert not np.allclose(finding.picture.before, finding.picture.after)
    mended = repair(broken, [name], mask=head.brain_mask)
    # The bipolar phase comes back to smoothing; everything else to rounding.
    difference = np.abs(wrap(mended.phase - series.phase))[:, head.brain_mask]
    assert np.percentile(difference, 95) < (0.05 if name == "correct-bipolar" else 1e-4)
    decay = relative_decay(series, head.brain_mask)
    np.testing.assert_allclose(relative_decay(mended, head.brain_mask), decay, rtol=0.02)
    assert mended.provenance["repairs"][-1]["name"] == name and mended.provenance["repairs"][-1]["done"]
    json.dumps([f.to_dict() for f in findings]), json.dumps(mended.provenance)


def test_a_good_scan_has_no_findings_and_repairs_leave_it_alone():
    head, series = small_scan()
    assert not any(f.found for f in detect(series))  # the brain is found by itself here
    same = repair(series, [name for name in REPAIRS if name != "invert-phase"], mask=head.brain_mask)
    assert np.array_equal(same.phase, series.phase) and np.array_equal(same.magnitude, series.magnitude)
    assert not any(entry["done"] for entry in same.provenance["repairs"])


def test_alternating_inverted_bipolar_echoes_in_the_wrong_order():
    head, series = small_scan()
    broken = FAULTS["reorder-echoes"](FAULTS["invert-phase"](alternated(bipolar(series))))
    found = [f.name for f in detect(broken, mask=head.brain_mask) if f.found]
    assert found == ["repair-slices", "reorder-echoes", "correct-bipolar", "invert-phase"]
    difference = np.abs(wrap(repair(broken, found, mask=head.brain_mask).phase - series.phase))[:, head.brain_mask]
    assert np.percentile(difference, 95) < 0.05


def test_phase_alone_out_of_order_is_told_from_its_growth():
    head, series = small_scan()
    found = find_echo_order(series.phase[SWAPPED], series.magnitude, series.echo_times_s, head.brain_mask)
    assert found.magnitude == (0, 1, 2, 3, 4) and list(found.phase) == SWAPPED
    true = find_echo_order(series.phase, series.magnitude, series.echo_times_s, head.brain_mask)
    times = series.echo_times_s / series.echo_times_s[-1]
    # Noise and the phase offset shift the estimate by a few percent of the last echo time.
    np.testing.assert_allclose(true.relative_times, times, atol=0.08)


def test_an_unknown_repair_is_refused():
    with pytest.raises(InputError, match="no repair"):
        repair(small_scan()[1], ["wish"])


def test_the_stage_of_a_run_corrects_when_it_must():
    head, series = small_scan()
    untouched, facts, warnings = correct_bipolar(series, head.brain_mask)
    assert untouched is series and not facts["corrected"] and not warnings
    corrected, facts, warnings = correct_bipolar(bipolar(series), head.brain_mask)
    assert facts["corrected"] and facts["spread_rad"] > 1 and "alternating directions" in warnings[0]
    assert np.percentile(np.abs(wrap(corrected.phase - series.phase))[:, head.brain_mask], 95) < 0.05
    kept, facts, _ = correct_bipolar(bipolar(series), head.brain_mask, "off")
    assert not facts["corrected"] and np.array_equal(kept.phase, bipolar(series).phase)
    two = replace(series, phase=series.phase[:2], magnitude=series.magnitude[:2], echo_times_s=series.echo_times_s[:2])
    assert correct_bipolar(two, head.brain_mask)[1]["not_tested"]
    with pytest.raises(InputError, match="3 equally spaced"):
        correct_bipolar(two, head.brain_mask, "on")
