from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.phantom.head import default_grid, make_head
from ChiSepExtension.phantom.scanner import simulate_gradient_echo
from ChiSepExtension.preprocessing.bipolar import find_bipolar_phase, remove_bipolar_phase
from ChiSepExtension.preprocessing.vendor_repair import (
    find_phase_sign,
    find_slice_alternation,
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


def bipolar_scan(strength):
    """Phases of a smooth field and offset with ±g on odd and even echoes, three turns of 4 g across the image."""
    shape = (24, 40, 36)
    grid = Grid.from_spacing(shape, (2.0, 1.5, 1.5))
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


def test_bipolar_phase_is_found_and_removed():
    grid, times, phase, magnitude, mask, alternating = bipolar_scan(2.0)
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
