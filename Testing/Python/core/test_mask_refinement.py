"""What of a mask can be believed, and masks in mm: rims, holes, single slices, cut images."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.geometry import Grid
from ChiSepExtension.preprocessing.field_fit import FieldFit
from ChiSepExtension.preprocessing.mask_refinement import eroded, filled, largest_piece, reliable_mask


def ball(grid, radius_mm):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    return np.linalg.norm(grid.index_to_ras(index), axis=-1) < radius_mm


def fit_with(residual, error):
    zero = np.zeros(residual.shape, np.float32)
    return FieldFit(zero, zero, residual.astype(np.float32), error.astype(np.float32))


def test_bad_voxels_of_the_rim_go_and_bad_voxels_inside_stay():
    grid = Grid.from_spacing((40, 40, 40), (2.0, 2.0, 2.0))
    mask = ball(grid, 34.0)
    residual, error = np.full(mask.shape, 0.05), np.ones(mask.shape)
    residual[20, 20, 34:38] = 1.0  # beside air
    error[20, 4:7, 20] = 10.0  # skull
    residual[20, 20, 20] = error[22, 20, 20] = 10.0  # a vein and a bleeding in the middle
    refined = reliable_mask(mask, fit_with(residual, error), grid)
    assert not refined[20, 20, 34:38].any() and not refined[20, 4:7, 20].any()
    assert refined[20, 20, 20] and refined[22, 20, 20]
    assert not (refined & ~mask).any()
    assert np.count_nonzero(refined) > 0.97 * np.count_nonzero(mask)


def test_a_clean_mask_stays_as_it_is():
    grid = Grid.from_spacing((30, 30, 30), (2.0, 2.0, 2.0))
    mask = np.zeros(grid.shape, bool)
    mask[4:26, 4:26, 4:26] = True
    assert np.array_equal(reliable_mask(mask, fit_with(np.zeros(mask.shape), np.ones(mask.shape)), grid), mask)


def test_a_scan_that_is_noisy_everywhere_keeps_its_mask():
    grid = Grid.from_spacing((30, 30, 30), (2.0, 2.0, 2.0))
    mask = ball(grid, 26.0)
    assert np.array_equal(reliable_mask(mask, fit_with(np.full(mask.shape, 0.5), np.ones(mask.shape)), grid), mask)


@pytest.mark.parametrize("shape", [(1, 40, 40), (2, 40, 40), (40, 1, 40)])
def test_thin_images_are_refined_too(shape):
    grid = Grid.from_spacing(shape, (2.0, 2.0, 2.0))
    mask = ball(grid, 30.0)
    refined = reliable_mask(mask, fit_with(np.zeros(shape), np.ones(shape)), grid)
    assert np.count_nonzero(refined) > 0.95 * np.count_nonzero(mask)


def test_erosion_is_in_millimetres_and_spares_what_the_image_cuts():
    grid = Grid.from_spacing((20, 40, 40), (4.0, 1.0, 1.0))
    mask = np.zeros(grid.shape, bool)
    mask[:15, 5:35, 5:35] = True
    smaller = eroded(mask, 3.0, grid)
    assert np.flatnonzero(smaller.any(axis=(1, 2))).tolist() == list(range(15))  # the nearest slice is 4 mm away
    assert np.flatnonzero(smaller.any(axis=(0, 2))).tolist() == list(range(8, 32))
    assert np.array_equal(eroded(mask, 0.0, grid), mask)
    assert eroded(np.ones(grid.shape, bool), 5.0, grid).all()


def test_holes_of_lesions_and_veins_are_filled():
    mask = np.zeros((12, 20, 20), bool)
    mask[1:11, 2:18, 2:18] = True
    full = mask.copy()
    mask[5, 9:12, 9:12] = False
    mask[3:9, 5, 5] = False
    assert np.array_equal(filled(mask), full)
    one = full[5:6].copy()
    one[0, 9:12, 9:12] = False
    assert np.array_equal(filled(one), full[5:6])


def test_the_largest_piece_remains():
    mask = np.zeros((5, 10, 10), bool)
    mask[1:4, 1:6, 1:6] = True
    mask[2, 8, 8] = True
    kept = largest_piece(mask)
    assert kept.sum() == 75 and not kept[2, 8, 8]
