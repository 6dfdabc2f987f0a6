"""Sign, unit, side and edge: one small fact each, whose breach would give plausible, wrong maps."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from ChiSepExtension.acquisition import GradientEchoSeries
from ChiSepExtension.dipole import dipole_field
from ChiSepExtension.geometry import Grid
from ChiSepExtension.given_maps import GivenMaps
from ChiSepExtension.options import Options
from ChiSepExtension.pipeline import run
from ChiSepExtension.preprocessing.background import remove_background
from ChiSepExtension.preprocessing.brain_mask import without_rim
from ChiSepExtension.quality.figures import overlay_picture
from ChiSepExtension.quality.slices import cut
from ChiSepExtension.result import Result
from ChiSepExtension.volume_io import read_volume, write_volume
from Testing.Python.core.simple_head import TIMES, SimpleHead


def test_iron_raises_the_field_at_its_poles_and_lowers_it_at_its_equator():
    grid = Grid.from_spacing((48, 48, 48))
    index = np.indices(grid.shape) - 23.5
    ball = np.sqrt((index**2).sum(axis=0)) < 8
    field = dipole_field((0.1 * ball).astype(np.float32), grid)
    # χ/3 · (a/r)³ · (3cos²θ − 1) at r = 16: 0.1/3/8 · 2 on the axis of B0 (z), half of it and negative beside.
    pole, equator = field[39:41, 23:25, 23:25].mean(), field[23:25, 39:41, 23:25].mean()
    assert pole == pytest.approx(0.1 / 3 / 8 * 2, rel=0.06)  # the voxels of the ball's surface are whole or not there
    assert equator == pytest.approx(-0.1 / 3 / 8, rel=0.06)


def test_the_local_field_is_in_ppm_of_the_scans_own_field_strength():
    head = SimpleHead(Grid.from_spacing((44, 46, 48)))
    result = run(head.scan(snr=None), Options(background="vsharp"), given=head.given())
    truth = remove_background(head.field_ppm, head.mask, head.grid, method="vsharp", deconvolve=False).field_ppm
    inside = result.mask
    slope = np.polyfit(truth[inside], result.local_field_ppm[inside], 1)[0]
    # Without noise the chain is linear: Hz taken for ppm or a wrong gyromagnetic ratio changes the slope itself.
    assert slope == pytest.approx(1, abs=0.02)


def test_a_nifti_header_holds_the_matrix_to_ras(tmp_path):
    """The bytes of the file, read without the library that wrote them: srow_x, srow_y, srow_z at 280."""
    grid = Grid.from_spacing((4, 5, 6), (3.0, 2.0, 1.5))
    path = write_volume(tmp_path / "map.nii", np.zeros(grid.shape, np.float32), grid)
    rows = np.array(struct.unpack("<12f", path.read_bytes()[280:328])).reshape(3, 4)
    np.testing.assert_allclose(rows, grid.ijk_to_ras[:3], atol=1e-5)


def test_a_file_that_itk_wrote_in_lps_is_read_in_ras(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.float32))
    image.SetOrigin((10.0, 20.0, 30.0))  # left, posterior, superior
    sitk.WriteImage(image, str(tmp_path / "map.nrrd"))
    _, grid = read_volume(tmp_path / "map.nrrd")
    np.testing.assert_allclose(grid.index_to_ras(np.zeros(3)), (-10, -20, 30))
    assert grid.orientation == "LPS"


@pytest.mark.parametrize(
    ("plane", "towards", "row_half", "column_half"),
    [
        # Radiological: patient's right at the left; anterior or superior at the top; sagittal looks to the right.
        ("axial", "RA", "top", "left"),
        ("coronal", "RS", "top", "left"),
        ("sagittal", "AS", "top", "left"),
    ],
)
def test_pictures_show_the_patients_right_at_the_left(plane, towards, row_half, column_half):
    grid = Grid.from_spacing((10, 12, 14))
    axes = {"S": 0, "A": 1, "R": 2}
    index = [n // 2 for n in grid.shape]
    for letter in towards:
        index[axes[letter]] = grid.shape[axes[letter]] - 2
    volume = np.zeros(grid.shape, np.float32)
    volume[tuple(index)] = 1
    normal = next(axis for letter, axis in axes.items() if letter not in towards)
    shown = cut(plane, index[normal], grid, 100).of(volume)
    (row,), (column,) = np.nonzero(shown)
    assert ("top" if row < shown.shape[0] / 2 else "bottom") == row_half
    assert ("left" if column < shown.shape[1] / 2 else "right") == column_half


def test_fifty_ppb_are_drawn_in_the_colour_of_the_middle_of_the_bar():
    grid = Grid.from_spacing((20, 20, 20))
    flat = np.ones(grid.shape, np.float32)
    zero, mask = 0 * flat, flat > 0
    black = GradientEchoSeries(np.stack([zero, zero]), np.stack([zero, zero]), TIMES[:2], 3.0, grid)
    result = Result(0.05 * flat, zero, zero, zero, zero, mask, grid)
    picture = np.asarray(overlay_picture(black, result, height=100))
    shown = picture[36 + 30, 10 + 30].astype(float)  # in the first (χ_para, axial) picture, away from its letters
    # 35 % of a black magnitude and 65 % of the published inferno at its middle, (188, 55, 84).
    np.testing.assert_allclose(shown, 0.65 * np.array([188, 55, 84]), atol=2)


def test_a_computed_mask_loses_its_outermost_voxel_but_a_stripped_or_cut_one_does_not():
    grid = Grid.from_spacing((20, 20, 20), (2.0, 2.0, 2.0))
    mask = np.zeros(grid.shape, bool)
    mask[5:15, 5:15, :] = True  # cut by the image along x
    thinner = without_rim(mask, np.ones(grid.shape, np.float32), grid)
    expected = np.zeros_like(mask)
    expected[6:14, 6:14, :] = True
    np.testing.assert_array_equal(thinner, expected)
    np.testing.assert_array_equal(without_rim(mask, mask.astype(np.float32), grid), mask)


def test_the_pipeline_takes_the_rim_off_a_computed_mask_and_leaves_a_given_one(monkeypatch):
    from ChiSepExtension.preprocessing import brain_mask

    head = SimpleHead(Grid.from_spacing((44, 46, 48)))
    monkeypatch.setattr(brain_mask, "brain_mask", lambda *_: head.mask)
    computed = run(head.scan(), Options(), given=GivenMaps(r2_hz=head.r2_hz))
    given = run(head.scan(), Options(), given=head.given())
    np.testing.assert_array_equal(given.brain_mask, head.mask)
    np.testing.assert_array_equal(computed.brain_mask, without_rim(head.mask, head.scan().magnitude[0], head.grid))
    assert computed.brain_mask.sum() < head.mask.sum()
