"""Distances and random fields that the procedural head is made of."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.phantom.random_fields import RandomField
from ChiSepExtension.phantom.shapes import ellipsoid, smooth_union, spline, tube


def test_distance_to_a_sphere_is_exact():
    points = np.array([(0, 0, 0), (3, 0, 0), (0, 7, 0), (0, 3, 4)], np.float32)
    np.testing.assert_allclose(ellipsoid(points, (0, 0, 0), (5, 5, 5)), (-5, -2, 2, 0), atol=1e-5)


def test_an_ellipsoid_is_filled_to_its_centre():
    assert ellipsoid(np.array([(2, 3, 4)], np.float32), (2, 3, 4), (5, 2, 9))[0] == pytest.approx(-2)


def test_turning_an_ellipsoid_moves_its_long_axis():
    points = np.array([(0, 4, 0), (4, 0, 0)], np.float32)
    along_y, along_x = ellipsoid(points, (0, 0, 0), (5, 2, 2), turn_z_deg=90)
    assert along_y < 0 < along_x


def test_tube_tapers():
    path = np.array([(0, 0, 0), (10, 0, 0)])
    points = np.array([(0, 3, 0), (10, 3, 0), (5, 3, 0)], np.float32)
    np.testing.assert_allclose(tube(points, path, [3.0, 1.0]), (0, 2, 1), atol=1e-5)


def test_smooth_union_is_the_minimum_away_from_the_seam():
    assert smooth_union(np.array([1.0]), np.array([9.0]), 4.0)[0] == 1.0
    assert smooth_union(np.array([1.0]), np.array([1.0]), 4.0)[0] == pytest.approx(0.0)  # 1 mm fillet of a 4 mm width


def test_spline_goes_through_its_nodes():
    nodes = [(0, 0, 0), (1, 2, 0), (3, 1, 5), (4, 4, 4)]
    np.testing.assert_allclose(spline(nodes, 5)[::5], nodes, atol=1e-12)


def test_random_field_has_unit_variance_and_its_wavelength():
    """Along a line the strongest period of a narrow shell is the asked one; a cut through 3-D only lengthens it."""
    field = RandomField(np.random.default_rng(0), 20.0, bandwidth=0.1)
    grid = np.stack(np.meshgrid(*[np.arange(0, 288, 6.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    values = field(grid)
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(0.9, abs=0.1)  # linear interpolation takes off a little
    line = np.column_stack([np.arange(0, 288, 1.0), np.full(288, 33.0), np.full(288, 77.0)])
    power = np.abs(np.fft.rfft(field(line))) ** 2
    assert power[int(288 / 20) + 4 :].sum() < 0.05 * power.sum()


def test_random_field_is_a_function_of_position():
    points = np.random.default_rng(1).uniform(-100, 100, (50, 3))
    first = RandomField(np.random.default_rng(4), 30.0)
    again = RandomField(np.random.default_rng(4), 30.0)
    np.testing.assert_array_equal(first(points), again(points))
    np.testing.assert_array_equal(first(points[::-1]), first(points)[::-1])


def test_sheets_give_the_distance_to_the_zero_level():
    """Along its steepest direction the value grows by 1 per mm, within the blur of a random field."""
    field = RandomField(np.random.default_rng(2), 40.0, bandwidth=0.1, sheets=True)
    points = np.random.default_rng(3).uniform(-100, 100, (4000, 3))
    near = np.abs(field(points)) < 1.5
    points = points[near]
    step = 0.5
    slopes = [(field(points + step * e) - field(points - step * e)) / (2 * step) for e in np.eye(3)]
    slope = np.sqrt(np.sum(np.square(slopes), axis=0))
    assert np.median(slope) == pytest.approx(1.0, abs=0.1)
