"""The vessel mask on tubes, blobs, rims and sheets of known position."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.lesions.vessels import vessel_mask, vesselness
from Testing.Python.core.lesion_phantom import ball

SHAPE = (36, 36, 40)
GRID = Grid.from_spacing(SHAPE)
FULL = np.ones(SHAPE, bool)


def measured(truth: np.ndarray, contrast: float, noise: float = 0.003) -> np.ndarray:
    """Map of 17 ppb with the structure, blurred by 1.3 mm (the width assumed for the networks), with noise."""
    from scipy import ndimage

    generator = np.random.Generator(np.random.PCG64(0))
    blurred = ndimage.gaussian_filter(truth.astype(float) * contrast, 1.3 / 2.355)
    return (0.017 + blurred + noise * generator.standard_normal(SHAPE)).astype(np.float32)


def tube(direction, diameter: float) -> np.ndarray:
    unit = np.array(direction, float) / np.linalg.norm(direction)
    offset = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in SHAPE], indexing="ij"), -1)
    return np.linalg.norm(offset - (offset @ unit)[..., None] * unit, axis=-1) <= diameter / 2


@pytest.mark.parametrize("width", [1.0, 1.4])
def test_gaussian_tube_of_a_tried_width_gives_its_contrast(width):
    """Closed form: 4 sigma^2 times the curvature of the smoothed tube is its contrast; 3 % for the sampling."""
    z, y, _ = np.indices(SHAPE)
    values = 0.017 + 0.05 * np.exp(-((z - 18) ** 2 + (y - 18.0) ** 2) / (2 * width**2))
    assert vesselness(values, FULL, GRID)[18, 18, 20] == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 2, 3)])
@pytest.mark.parametrize("diameter", [1.5, 2.0, 3.0])
def test_vein_is_found_and_nothing_else(direction, diameter):
    from scipy import ndimage

    truth = tube(direction, diameter)
    found = vessel_mask(measured(truth, 0.15), FULL, GRID)
    assert (found & truth).sum() / truth.sum() >= 0.95
    assert not (found & ~ndimage.binary_dilation(truth, np.ones((3, 3, 3)), iterations=2)).any()


@pytest.mark.parametrize("diameter", [5, 8, 12])
@pytest.mark.parametrize("is_rim", [True, False])
def test_lesions_solid_or_with_rim_are_no_vessels(diameter, is_rim):
    truth = ball(SHAPE, (18, 18, 20), diameter)
    if is_rim:
        truth &= ~ball(SHAPE, (18, 18, 20), diameter - 2)
    assert not vessel_mask(measured(truth, 0.03, noise=0.002), FULL, GRID).any()


@pytest.mark.parametrize("diameter", [10, 12, 16])
@pytest.mark.parametrize("contrast", [0.05, 0.08])
def test_strong_iron_rim_is_a_sheet_not_a_vessel(diameter, contrast):
    centre = (18, 18, 20)
    rim = ball(SHAPE, centre, diameter) & ~ball(SHAPE, centre, diameter - 2)
    assert not vessel_mask(measured(rim, contrast), FULL, GRID).any()


def test_sheet_and_noise_are_no_vessels():
    sheet = np.zeros(SHAPE)
    sheet[18:20] = 1
    assert not vessel_mask(measured(sheet, 0.05), FULL, GRID).any()
    assert not vessel_mask(measured(np.zeros(SHAPE), 0), FULL, GRID).any()


def test_edge_of_the_mask_makes_no_vessel():
    mask = ball(SHAPE, (18, 18, 20), 30)
    values = np.where(mask, measured(np.zeros(SHAPE), 0), 0)
    assert not vessel_mask(values, mask, GRID).any()


def test_anisotropic_voxels_give_the_same_vein():
    """A vein along x in voxels of 1.5 mm across: as many millimetres as with 1 mm voxels, within a voxel layer."""
    grid = Grid.from_spacing(SHAPE, (1.5, 1.0, 1.0))
    z, y, _ = np.indices(SHAPE)
    values = 0.017 + 0.08 * np.exp(-(((z - 18) * 1.5) ** 2 + (y - 18.0) ** 2) / 2)
    found = vessel_mask(values.astype(np.float32), FULL, grid)
    assert found[18, 18, 3:-3].all() and not found[18, :15].any() and not found[:16].any()


def test_shapes_must_agree():
    with pytest.raises(InputError):
        vesselness(np.zeros((3, 4, 5)), FULL, GRID)
