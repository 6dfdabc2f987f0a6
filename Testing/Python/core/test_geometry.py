"""Grids: where voxels are, where B0 points, and turning arrays without loss."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid, to_closest_ras
from ChiSepExtension.volume_io import atomic_path, read_volume, write_volume


def rotation_about_x(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


ORIENTATIONS = [
    np.array([[sign * (row == axis) for axis, sign in zip(order, signs)] for row in range(3)], dtype=float)
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3))
]


def test_b0_of_a_straight_grid_is_its_slice_axis():
    np.testing.assert_allclose(Grid.from_spacing((4, 5, 6)).b0_direction, [1, 0, 0])


def test_b0_of_a_tilted_grid_leans_by_the_tilt():
    grid = Grid.from_spacing((4, 5, 6), rotation=rotation_about_x(25))
    # By hand: i stays R; k = (0, -sin, cos) and j = (0, cos, sin), so S has cos on k (z) and sin on j (y).
    np.testing.assert_allclose(grid.b0_direction, [np.cos(np.radians(25)), np.sin(np.radians(25)), 0], atol=1e-12)
    assert grid.b0_angle_deg == pytest.approx(25)


def test_spacing_is_in_array_order():
    assert Grid.from_spacing((4, 5, 6), (3.0, 2.0, 1.0)).spacing_mm == pytest.approx((3, 2, 1))


@pytest.mark.parametrize("rotation", ORIENTATIONS)
def test_turning_to_ras_keeps_every_voxel_at_its_place_and_inverts_exactly(rotation):
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    grid = Grid.from_spacing(array.shape, (3.0, 2.0, 1.0), rotation)
    turn = to_closest_ras(grid)
    turned = turn.apply(array)
    assert turn.target.orientation == "RAS"
    index = np.array([1, 3, 2])
    there = np.rint(turn.target.ras_to_index(grid.index_to_ras(index))).astype(int)
    assert turned[tuple(there)] == array[tuple(index)]
    np.testing.assert_array_equal(turn.invert(turned), array)


@pytest.mark.parametrize("rotation", [np.eye(3), np.diag([-1.0, -1.0, 1.0]), rotation_about_x(20)])
def test_files_keep_values_and_place(tmp_path, rotation):
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    grid = Grid.from_spacing(array.shape, (3.0, 2.0, 1.0), rotation)
    read, read_grid = read_volume(write_volume(tmp_path / "map.nii.gz", array, grid))
    np.testing.assert_array_equal(read, array)
    assert read_grid.matches(grid, 1e-4)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "map.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["map.txt"]


def test_a_sheared_matrix_is_refused():
    matrix = np.eye(4)
    matrix[0, 1] = 0.2
    with pytest.raises(InputError, match="right angles"):
        Grid((4, 5, 6), matrix)


def test_left_and_right_are_told_apart():
    grid = Grid.from_spacing((4, 5, 6))
    mirrored = Grid((4, 5, 6), np.diag([-1.0, 1.0, 1.0, 1.0]) @ grid.ijk_to_ras)
    assert grid.orientation == "RAS" and mirrored.orientation == "LAS"
    assert not grid.matches(mirrored)


def test_rounding_of_a_file_does_not_change_the_voxel_size():
    """What is stored as float32 or turned through a matrix comes back with 1e-7 mm of error or less."""
    sizes = {Grid.from_spacing((4, 4, 4), (1 + e, 3 - e, 2 + e)).spacing_mm for e in (0, 3e-12, -2e-11, 1e-7)}
    assert sizes == {(1.0, 3.0, 2.0)}
