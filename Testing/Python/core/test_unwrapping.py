from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.preprocessing.romeo import wrap
from ChiSepExtension.preprocessing.unwrapping import romeo_quality, unwrap

TE = np.array([5e-3, 11e-3, 17e-3, 23e-3, 29e-3])


def smooth_field(shape, amplitude_hz, seed=0):
    """A sum of a ramp and a few plane waves, steps between voxels well below half a turn at TE 29 ms."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    field = sum(rng.uniform(-0.5, 0.5) * g for g in grid)
    for _ in range(3):
        field = field + 0.4 * np.sin(sum(rng.uniform(-3, 3) * g for g in grid) + rng.uniform(0, 6))
    return (amplitude_hz * field).astype(np.float32)


def echoes(field_hz, times=TE, offset=0.0, noise=0.0, seed=1):
    rng = np.random.default_rng(seed)
    true = np.stack([2 * np.pi * field_hz * t + offset for t in times]).astype(np.float32)
    signal = np.exp(1j * true) + noise * (rng.standard_normal(true.shape) + 1j * rng.standard_normal(true.shape))
    return true, np.angle(signal).astype(np.float32), np.abs(signal).astype(np.float32)


def ball(shape, radius=0.9):
    grid = np.meshgrid(*[(2 * np.arange(n) + 1) / n - 1 for n in shape], indexing="ij")
    return sum(g * g for g in grid) < radius**2


@pytest.mark.parametrize("mode", ["individual", "template"])
@pytest.mark.parametrize("shape", [(31, 40, 37), (1, 48, 45), (24, 1, 33), (2, 30, 31), (5, 5, 5)])
def test_clean_phase_comes_back_exactly_in_any_shape(shape, mode):
    true, phase, magnitude = echoes(smooth_field(shape, 60 if min(shape) > 5 else 8))
    mask = ball(shape)
    result = unwrap(phase, magnitude, TE, mask, mode=mode)
    # 1e-4 rad: float32 rounding of phases up to 20 rad; a wrong wrap would be 6.28.
    assert np.abs((result - true)[:, mask]).max() < 1e-4
    assert not result[:, ~mask].any()


def test_agrees_with_scikit_image_on_clean_phase():
    restoration = pytest.importorskip("skimage.restoration")
    shape = (28, 33, 30)
    _, phase, magnitude = echoes(smooth_field(shape, 45))
    mask = ball(shape, 2.0)
    ours = unwrap(phase, magnitude, TE, mask)
    for echo in (0, 4):
        theirs = restoration.unwrap_phase(phase[echo])
        difference = (ours[echo] - theirs) / (2 * np.pi)
        assert np.ptp(difference) < 1e-4  # one constant for the whole volume
        assert abs(difference.mean() - np.rint(difference.mean())) < 1e-4  # and it is a whole turn


@pytest.mark.parametrize("mode", ["individual", "template"])
def test_noise_costs_few_voxels(mode):
    shape = (40, 40, 40)
    true, phase, magnitude = echoes(smooth_field(shape, 60), noise=0.12)
    mask = ball(shape)
    result = unwrap(phase, magnitude, TE, mask, mode=mode)
    wrong = np.rint((result - true)[:, mask] / (2 * np.pi)) != 0
    # At SNR 8 single voxels may be off by chance (noise above half a turn against the neighbours), regions may not.
    assert wrong.mean() < 2e-3


def test_each_component_gets_the_same_turns_in_every_echo():
    shape = (20, 40, 40)
    field = smooth_field(shape, 30)
    field[:, :, 22:] += 45  # two pieces with different mean fields: at TE 29 ms they are more than a turn apart
    true, phase, magnitude = echoes(field)
    mask = np.ones(shape, bool)
    mask[:, :, 18:22] = False
    result = unwrap(phase, magnitude, TE, mask)
    assert np.abs((result - true)[:, mask]).max() < 1e-4


@pytest.mark.parametrize("mode", ["individual", "template"])
def test_thousand_components(mode):
    shape = (30, 30, 30)
    true, phase, magnitude = echoes(smooth_field(shape, 40))
    mask = np.zeros(shape, bool)
    mask[::3, ::3, ::3] = True
    mask[1::3, ::3, ::3] = True  # 1000 pieces of 2 voxels
    result = unwrap(phase, magnitude, TE, mask, mode=mode)
    assert np.abs((result - true)[:, mask]).max() < 1e-4


def test_offset_makes_template_mode_fall_back_to_individual_echoes():
    shape = (32, 32, 32)
    ramp = np.linspace(-2.5, 2.5, 32, dtype=np.float32)
    true, phase, magnitude = echoes(smooth_field(shape, 60), offset=ramp)
    mask = ball(shape)
    result = unwrap(phase, magnitude, TE, mask, mode="template")
    turns = np.rint((result - true)[:, mask] / (2 * np.pi))
    assert (turns == turns[:, :1]).all()  # whole echoes may be off by turns, no line runs through one


def test_phase_offset_below_half_a_turn_keeps_echoes_on_one_line():
    shape = (32, 32, 32)
    ramp = np.linspace(-1.2, 1.2, 32, dtype=np.float32)
    true, phase, magnitude = echoes(smooth_field(shape, 60), offset=ramp)
    mask = ball(shape)
    assert np.abs((unwrap(phase, magnitude, TE, mask) - true)[:, mask]).max() < 1e-4


def test_phase_outside_the_mask_does_not_matter():
    shape = (24, 24, 24)
    _, phase, magnitude = echoes(smooth_field(shape, 60), noise=0.1)
    mask = ball(shape)
    other = phase.copy()
    other[:, ~mask] = np.random.default_rng(3).uniform(-np.pi, np.pi, (5, np.count_nonzero(~mask)))
    assert np.array_equal(unwrap(phase, magnitude, TE, mask), unwrap(other, magnitude, TE, mask))


def test_thin_sheet_and_single_voxel():
    shape = (16, 16, 16)
    true, phase, magnitude = echoes(smooth_field(shape, 20))
    mask = np.zeros(shape, bool)
    mask[8] = True
    mask[2, 2, 2] = True
    assert np.abs((unwrap(phase, magnitude, TE, mask) - true)[:, mask]).max() < 1e-4


def test_one_and_two_echoes():
    shape = (20, 20, 20)
    true, phase, magnitude = echoes(smooth_field(shape, 60), times=TE[:2])
    mask = ball(shape)
    assert np.abs((unwrap(phase, magnitude, TE[:2], mask) - true)[:, mask]).max() < 1e-4
    alone = unwrap(phase[:1], magnitude[:1], TE[:1], mask)
    assert np.ptp((alone - true[:1])[:, mask]) < 1e-4


def test_laplacian_follows_smooth_phase():
    shape = (40, 40, 40)
    true, phase, magnitude = echoes(smooth_field(shape, 20), times=TE[:2])
    mask = np.ones(shape, bool)
    error = unwrap(phase, magnitude, TE[:2], mask, method="laplacian") - true
    # Not exact by nature: discretisation of the Laplacian. Phases span ±1.5 rad and ±3.5 rad.
    assert np.std(error[0]) < 0.05
    assert np.std(error[1]) < 0.25


def test_quality_tells_tissue_from_noise():
    shape = (24, 24, 24)
    field = smooth_field(shape, 30)
    _, phase, magnitude = echoes(field, noise=0.02)
    air = np.zeros(shape, bool)
    air[:, :, 12:] = True
    rng = np.random.default_rng(5)
    phase[:, air] = rng.uniform(-np.pi, np.pi, (5, np.count_nonzero(air)))
    magnitude[:, air] = rng.rayleigh(0.02, (5, np.count_nonzero(air)))
    quality = romeo_quality(phase, magnitude, TE)
    assert quality[:, :, :11].min() > 0.6
    assert quality[:, :, 13:].mean() < 0.25
    assert quality.min() >= 0 and quality.max() <= 1


def test_empty_mask_and_wrong_shapes_are_refused():
    phase = np.zeros((2, 4, 4, 4), np.float32)
    with pytest.raises(InputError, match="mask is empty"):
        unwrap(phase, phase, TE[:2], np.zeros((4, 4, 4), bool))
    with pytest.raises(InputError, match="disagree"):
        unwrap(phase, phase, TE, np.ones((4, 4, 4), bool))
    with pytest.raises(InputError, match="no unwrapping method"):
        unwrap(phase, phase, TE[:2], np.ones((4, 4, 4), bool), method="magic")


def test_wrap_keeps_float32_and_range():
    values = np.linspace(-40, 40, 1001, dtype=np.float32)
    wrapped = wrap(values)
    assert wrapped.dtype == np.float32
    assert np.abs(wrapped).max() <= np.pi + 1e-5
    assert np.allclose(np.exp(1j * wrapped), np.exp(1j * values), atol=1e-5)


@pytest.mark.parametrize("mode", ["individual", "template"])
def test_values_that_are_no_numbers_outside_the_mask_do_no_harm(mode):
    shape = (20, 24, 22)
    true, phase, magnitude = echoes(smooth_field(shape, 40))
    mask = ball(shape)
    phase[:, ~mask] = np.nan
    magnitude[:, ~mask] = np.nan
    result = unwrap(phase, magnitude, TE, mask, mode=mode)
    assert np.abs((result - true)[:, mask]).max() < 1e-4
