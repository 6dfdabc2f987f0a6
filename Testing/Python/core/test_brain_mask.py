from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.phantom.head import default_grid, make_head
from ChiSepExtension.phantom.scanner import simulate_gradient_echo
from ChiSepExtension.phantom.tissues import Label
from ChiSepExtension.preprocessing.brain_mask import block_expand, block_mean, brain_mask, otsu_threshold


@lru_cache(maxsize=2)
def scanned_head(spacing=2.4, seed=4):
    head = make_head(default_grid(None, spacing), seed=seed, lesions=6)
    return head, simulate_gradient_echo(head, snr=100.0).series


def brain_and_csf(head):
    """The brain with fluid and vessels between its folds: what a mask may cover."""
    fluid = np.isin(head.labels, [Label.CSF, Label.VEIN, Label.DURA, Label.CHOROID_PLEXUS])
    near = ndimage.distance_transform_edt(~head.brain_mask, sampling=head.grid.spacing_mm) <= 25.0
    return head.brain_mask | (fluid & near)


def check(mask, head, most_in_skull=0.005):
    brain = head.brain_mask
    assert np.count_nonzero(brain & ~mask) < 0.03 * np.count_nonzero(brain)
    # Beyond 3 mm from brain and fluid lie skull and scalp.
    near = ndimage.distance_transform_edt(~brain_and_csf(head), sampling=head.grid.spacing_mm) <= 3.0
    assert np.count_nonzero(mask & ~near) < most_in_skull * np.count_nonzero(brain)
    assert np.count_nonzero(mask & ~brain_and_csf(head)) < max(0.005, most_in_skull) * np.count_nonzero(brain)
    assert ndimage.label(mask)[1] == 1
    assert np.array_equal(ndimage.binary_fill_holes(mask), mask)


def test_whole_head_gives_brain_without_scalp():
    head, series = scanned_head()
    check(brain_mask(series.magnitude, series.phase, series.echo_times_s, series.grid), head)


def test_thick_slices():
    head, series = scanned_head((4.0, 2.0, 2.0))
    mask = brain_mask(series.magnitude, series.phase, series.echo_times_s, series.grid)
    check(mask, head, most_in_skull=0.025)  # a slice is as thick as the inner table: marrow is reached here and there


def test_noisy_head():
    head, series = scanned_head()
    rng = np.random.default_rng(0)
    signal = series.magnitude * np.exp(1j * series.phase)
    level = np.median(series.magnitude[0][head.brain_mask]) / 15  # SNR 15 instead of about 100
    signal += level * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    check(brain_mask(np.abs(signal), np.angle(signal), series.echo_times_s, series.grid), head)


def test_surface_coil():
    head, series = scanned_head()
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in head.grid.shape], indexing="ij")
    coil = np.exp(0.8 * y + 0.5 * (x**2 + y**2 + z**2)).astype(np.float32)  # five times from front to back
    check(brain_mask(series.magnitude * coil, series.phase, series.echo_times_s, series.grid), head)


def test_skull_stripped_data_are_kept_as_they_are():
    head, series = scanned_head()
    given = ndimage.binary_fill_holes(head.brain_mask)
    given = ndimage.label(given)[0] == 1 + np.argmax(np.bincount(ndimage.label(given)[0].ravel())[1:])
    mask = brain_mask(series.magnitude * given, series.phase * given, series.echo_times_s, series.grid)
    assert np.array_equal(mask, given & (series.magnitude[0] > 0))


def test_air_set_to_zero_by_the_scanner_is_no_skull_stripping():
    head, series = scanned_head()
    body = ndimage.binary_fill_holes(series.magnitude[0] > 0.1 * np.median(series.magnitude[0][head.brain_mask]))
    check(brain_mask(series.magnitude * body, series.phase * body, series.echo_times_s, series.grid), head)


def test_block_filled_by_brain_is_all_brain():
    head, series = scanned_head()
    depth = ndimage.distance_transform_edt(ndimage.binary_closing(head.brain_mask, iterations=3))
    z, y, x = np.unravel_index(np.argmax(depth), depth.shape)
    block = (slice(z - 7, z + 8), slice(y - 9, y + 10), slice(x - 8, x + 9))
    part = (slice(None), *block)
    grid = Grid.from_spacing(head.brain_mask[block].shape, series.grid.spacing_mm)
    mask = brain_mask(series.magnitude[part], series.phase[part], series.echo_times_s, grid)
    assert mask.mean() > 0.98


def test_slab_without_crown_and_base():
    head, series = scanned_head()
    z = int(np.median(np.argwhere(head.brain_mask)[:, 0]))
    slab = slice(z, z + 12)
    grid = Grid.from_spacing(head.brain_mask[slab].shape, series.grid.spacing_mm)
    mask = brain_mask(series.magnitude[:, slab], series.phase[:, slab], series.echo_times_s, grid)
    brain, allowed = head.brain_mask[slab], brain_and_csf(head)[slab]
    assert np.count_nonzero(brain & ~mask) < 0.03 * np.count_nonzero(brain)
    assert np.count_nonzero(mask & ~allowed) < 0.06 * np.count_nonzero(brain)


def test_single_slice_works():
    head, series = scanned_head()
    z = int(np.median(np.argwhere(head.brain_mask)[:, 0])) + 8
    one = slice(z, z + 1)
    grid = Grid.from_spacing((1, *head.brain_mask.shape[1:]), series.grid.spacing_mm)
    mask = brain_mask(series.magnitude[:, one], series.phase[:, one], series.echo_times_s, grid)
    brain = head.brain_mask[one]
    assert 2 * np.count_nonzero(mask & brain) / (mask.sum() + brain.sum()) > 0.9


def test_veins_and_lesions_stay_inside():
    head, series = scanned_head()
    mask = brain_mask(series.magnitude, series.phase, series.echo_times_s, series.grid)
    deep = ndimage.distance_transform_edt(head.brain_mask, sampling=head.grid.spacing_mm) > 4
    lesions = deep & (head.lesion_labels > 0)
    assert lesions.any()
    assert mask[lesions].all()


def test_real_crop_is_all_brain():
    from ChiSepExtension.volume_io import read_volume

    root = os.environ.get("CHISEP_REFERENCE_DATA")
    folder = (Path(root) if root else Path(__file__).resolve().parents[4] / "shared" / "data") / "real/gre3_brain_crop"
    if not folder.exists():
        pytest.skip("reference data real/gre3_brain_crop is not here; set CHISEP_REFERENCE_DATA to have this test run")
    magnitude, grid = read_volume(folder / "mag.nii.gz")
    phase, _ = read_volume(folder / "phase.nii.gz")
    mask = brain_mask(magnitude, phase, np.array([4e-3, 8e-3, 12e-3]), grid)
    assert mask.mean() > 0.95


def test_noise_and_nothing_are_refused():
    rng = np.random.default_rng(0)
    shape = (2, 20, 20, 20)
    grid = Grid.from_spacing(shape[1:], (2.0, 2.0, 2.0))
    times = np.array([5e-3, 10e-3])
    with pytest.raises(InputError, match="No brain was found"):
        brain_mask(rng.rayleigh(1.0, shape), rng.uniform(-np.pi, np.pi, shape), times, grid)
    with pytest.raises(InputError, match="empty"):
        brain_mask(np.zeros(shape), np.zeros(shape), times, grid)


def test_otsu_separates_two_classes():
    values = np.concatenate(
        [np.random.default_rng(0).normal(1, 0.2, 5000), np.random.default_rng(1).normal(3, 0.3, 800)]
    )
    assert 1.5 < otsu_threshold(values) < 2.5


def test_blocks_go_down_and_up_again():
    values = np.random.default_rng(0).random((7, 9, 10)).astype(np.float32)
    assert block_mean(values, (2, 3, 5)).shape == (4, 3, 2)
    assert np.isclose(block_mean(values, (2, 3, 5))[0, 0, 0], values[:2, :3, :5].mean())
    z, y, x = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in (40, 41, 42)], indexing="ij")
    ball = z**2 + y**2 + x**2 < 15**2
    again = block_expand(block_mean(ball.astype(np.float32), (2, 2, 2)) > 0.5, (2, 2, 2), ball.shape)
    assert 2 * np.count_nonzero(ball & again) / (ball.sum() + again.sum()) > 0.95
