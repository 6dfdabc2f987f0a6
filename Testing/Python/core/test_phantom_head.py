"""The procedural head: one object on every grid, consistent truth, plausible sizes, left and right told apart."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from ChiSepExtension.errors import Cancelled, InputError
from ChiSepExtension.geometry import Grid, to_closest_ras
from ChiSepExtension.phantom import Head, Label, LesionType, default_grid, make_head
from ChiSepExtension.phantom.tissues import TISSUES, venous_chi_ppm
from ChiSepExtension.progress import CancelToken


@lru_cache(maxsize=4)
def head(spacing_mm: float = 3.0, seed: int = 0) -> Head:
    return make_head(spacing_mm=spacing_mm, seed=seed)


def volume_ml(some: Head, *labels: int) -> float:
    return float(np.isin(some.labels, labels).sum()) * some.grid.voxel_volume_mm3 / 1000


def centroid(some: Head, label: int) -> np.ndarray:
    return some.grid.index_to_ras(np.argwhere(some.labels == label)).mean(axis=0)


def turned_grid(grid: Grid) -> Grid:
    """The same voxels stored in another order: axes permuted, two of them flipped."""
    matrix = grid.ijk_to_ras[:, [1, 2, 0, 3]].copy()
    shape_ijk = [grid.shape[::-1][n] for n in (1, 2, 0)]
    for axis in (0, 2):
        matrix[:3, 3] += matrix[:3, axis] * (shape_ijk[axis] - 1)
        matrix[:3, axis] *= -1
    return Grid(tuple(shape_ijk[::-1]), matrix)


def test_truth_is_consistent_in_the_brain():
    h = head()
    inside = h.brain_mask
    np.testing.assert_allclose(h.chi_total[inside], (h.chi_para - h.chi_dia)[inside], atol=1e-7)
    np.testing.assert_allclose(h.r2star_hz, h.r2_hz + h.r2prime_hz)
    np.testing.assert_allclose(h.r2prime_hz, 137 * (h.chi_para + h.chi_dia), rtol=1e-5)
    assert h.chi_para.min() >= 0 and h.chi_dia.min() >= 0
    assert not h.chi_para[~inside].any() and not h.chi_dia[~inside].any()


def test_relaxivities_are_parameters():
    grid = default_grid(spacing_mm=5.0)
    h = make_head(grid, lesions=0, dr_para=120.0, dr_dia=100.0)
    np.testing.assert_allclose(h.r2prime_hz, 120 * h.chi_para + 100 * h.chi_dia, rtol=1e-5)


def test_same_seed_same_head_other_seed_other_head():
    again = make_head(spacing_mm=3.0, seed=0)
    np.testing.assert_array_equal(again.labels, head().labels)
    np.testing.assert_array_equal(again.chi_para, head().chi_para)
    assert np.mean(make_head(spacing_mm=3.0, seed=5).labels != head().labels) > 0.05


def test_flipped_and_permuted_grid_shows_the_same_head():
    """Voxel centres coincide; float32 coordinates round differently, which may tip a voxel at a surface."""
    turned = make_head(turned_grid(head().grid))
    turn = to_closest_ras(turned.grid)
    assert turn.target.matches(head().grid)
    assert np.mean(turn.apply(turned.labels) == head().labels) > 0.9995
    for name in ("chi_para", "chi_dia", "r2_hz"):
        same = np.isclose(turn.apply(getattr(turned, name)), getattr(head(), name), rtol=1e-3, atol=1e-5)
        assert same.mean() > 0.998, name  # the vein that tips a voxel also reaches its neighbours by partial volume


def test_oblique_anisotropic_grid_shows_the_same_head():
    """Volume within 8 %, place within 0.7 mm, susceptibility within 4 %: sampling of nuclei of 300 voxels and more."""
    angle = np.radians(25)
    c, s = np.cos(angle), np.sin(angle)
    rotation = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    straight = make_head(default_grid(spacing_mm=2.2), lesions=0, partial_volume=0, texture=0)
    oblique = make_head((66, 90, 78), (2.6, 2.0, 2.0), rotation, lesions=0, partial_volume=0, texture=0)
    assert oblique.grid.b0_angle_deg == pytest.approx(25)
    for label in (Label.PUTAMEN, Label.THALAMUS, Label.CAUDATE):
        assert volume_ml(oblique, label) == pytest.approx(volume_ml(straight, label), rel=0.08)
        assert np.linalg.norm(centroid(oblique, label) - centroid(straight, label)) < 0.7
        inside, other = oblique.labels == label, straight.labels == label
        assert oblique.chi_para[inside].mean() == pytest.approx(straight.chi_para[other].mean(), rel=0.04)


def test_left_and_right_differ():
    h = head()
    assert centroid(h, Label.CALCIFICATION)[0] > 20  # right
    sides = np.array([lesion.centre_ras[0] for lesion in h.lesions])
    assert np.sum(sides < 0) > np.sum(sides > 0)
    mirrored = h.labels[:, :, ::-1]
    assert np.mean(mirrored[h.brain_mask] != h.labels[h.brain_mask]) > 0.2


@pytest.mark.parametrize(
    ("labels", "low", "high"),
    [
        ((Label.CAUDATE,), 5.5, 11),
        ((Label.PUTAMEN,), 7, 13),
        ((Label.PALLIDUM,), 2, 4.5),
        ((Label.THALAMUS, Label.PULVINAR), 9, 17),
        ((Label.RED_NUCLEUS,), 0.3, 1.2),
        ((Label.SUBSTANTIA_NIGRA,), 0.4, 1.6),
        ((Label.DENTATE,), 0.8, 3.5),
    ],
)
def test_nuclei_have_the_size_of_nuclei(labels, low, high):
    """Both sides together, in ml, within the spread of healthy adults."""
    assert low < volume_ml(head(2.0), *labels) < high


def test_brain_has_the_size_and_make_up_of_a_brain():
    h = head()
    brain = h.brain_mask.sum() * h.grid.voxel_volume_mm3 / 1000
    assert 1300 < brain < 1900
    white = np.isin(h.labels, (8, 20, 21, 22, 23, 24, 25, 26, 28)) & h.brain_mask
    grey = np.isin(h.labels, (9, 29, 32)) & h.brain_mask
    assert 0.22 < white.sum() / h.brain_mask.sum() < 0.45
    assert 0.30 < grey.sum() / h.brain_mask.sum() < 0.55


def test_the_brain_mask_holds_neither_bone_nor_air_nor_sinus():
    h = head(2.0)
    assert not np.isin(h.labels[h.brain_mask], (0, 12, 13, 14, 15, 17, 18)).any()
    assert h.chi_para[h.brain_mask].max() <= venous_chi_ppm() + 1e-3


def test_regional_means_follow_the_table():
    """Without blur and texture the mean of a nucleus is the table's value; veins that cross it may add 3 ppb."""
    h = make_head(spacing_mm=3.0, lesions=0, texture=0, partial_volume=0)
    for label in (Label.PALLIDUM, Label.PUTAMEN, Label.CAUDATE, Label.THALAMUS):
        tissue = TISSUES[label]
        assert 1000 * np.median(h.chi_para[h.labels == label]) == pytest.approx(tissue.chi_para_ppb, abs=1e-3)
        assert 1000 * np.median(h.chi_dia[h.labels == label]) == pytest.approx(tissue.chi_dia_ppb, abs=1e-3)
        assert np.median(h.r2_hz[h.labels == label]) == pytest.approx(1000 / tissue.t2_ms, rel=1e-4)


def test_venous_susceptibility_by_hand():
    """4π · 0.42 · (0.273 · 0.38 - 0.008) = 0.5053 ppm."""
    assert venous_chi_ppm(0.42, 0.62) == pytest.approx(0.5053, abs=1e-4)


def test_all_seven_lesion_types_are_there_and_labelled():
    h = head(2.0)
    assert set(np.unique(h.lesion_types)) == {0, *(int(kind) for kind in LesionType)}
    for lesion in h.lesions:
        kinds = np.unique(h.lesion_types[h.lesion_labels == lesion.number])
        assert set(kinds) <= {int(lesion.kind)}
    np.testing.assert_array_equal(h.lesion_labels > 0, h.lesion_types > 0)


def around_lesion(kind: LesionType, **options) -> Head:
    """A 48 mm cube of 1.2 mm voxels around the first lesion of a type: the head is a function of position."""
    lesion = next(lesion for lesion in head().lesions if lesion.kind == kind)
    grid = Grid.from_spacing((40, 40, 40), (1.2, 1.2, 1.2))
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] += lesion.centre_ras
    return make_head(Grid(grid.shape, matrix), seed=0, texture=0, **options)


def test_iron_rim_is_brighter_than_its_core():
    h = around_lesion(LesionType.IRON_RIM)
    rim = h.chi_para[h.labels == Label.LESION_RIM].mean()
    core = h.chi_para[(h.lesion_types == LesionType.IRON_RIM) & (h.labels == Label.MS_LESION)].mean()
    assert rim > core + 0.010


def test_isointense_lesion_hides_in_the_total_only():
    """χpara and χdia both fall by about the same amount: |Δχ| < 3 ppb while Δχdia > 6 ppb, against white matter."""
    h = around_lesion(LesionType.ISOINTENSE_BOTH_FALL, partial_volume=0)
    core = (h.lesion_types == LesionType.ISOINTENSE_BOTH_FALL) & (h.labels == Label.MS_LESION)
    white = h.labels == Label.WHITE_MATTER
    total = np.median(h.chi_total[core]) - np.median(h.chi_total[white])
    dia = np.median(h.chi_dia[core]) - np.median(h.chi_dia[white])
    assert abs(total) < 0.003
    assert dia < -0.006


def test_healthy_head_has_no_lesions():
    h = make_head(spacing_mm=5.0, lesions=0)
    assert not h.lesion_labels.any() and h.lesions == []


def test_a_grid_beside_the_head_is_refused():
    matrix = np.eye(4)
    matrix[:3, 3] = 900
    with pytest.raises(InputError, match="does not meet"):
        make_head(Grid((8, 8, 8), matrix))


def test_cancel_stops_the_head():
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        make_head(spacing_mm=6.0, cancel=token)
