"""Heads from label maps: a made-up map with known places, and the reference maps where they are available."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from ChiSepExtension.cli import main
from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.phantom import Label, default_grid, make_head
from ChiSepExtension.phantom.label_maps import _LANDMARKS, LabelMapAnatomy
from ChiSepExtension.volume_io import read_volume, write_volume

OFFSET_RAS = np.array([11.0, -7.0, 23.0])  # where the brain's origin lies in the file


def made_up_map() -> tuple[np.ndarray, Grid]:
    """Blocks of the landmark structures at their brain coordinates, in white matter, bone and skin; stored as LPI."""
    shape = (95, 105, 90)
    matrix = np.diag([-2.0, -2.0, -2.0, 1.0])
    matrix[:3, 3] = OFFSET_RAS + (90, 86, 92)
    grid = Grid(shape, matrix)
    points = grid.index_to_ras(np.stack(np.indices(shape), axis=-1)) - OFFSET_RAS
    radius = np.linalg.norm((points - (0, -17, 5)) / (68, 86, 70), axis=-1)
    codes = np.zeros(shape, np.int16)
    codes[radius < 1.2] = 511
    codes[radius < 1.12] = 515
    codes[radius < 1.0] = 24
    codes[radius < 0.97] = 2
    for (left, right), (x, y, z) in _LANDMARKS.items():
        for code, side in ((left, -1), (right, 1)):
            near = np.abs(points - (side * x, y, z)).max(axis=-1) < 4.1
            codes[near] = code
    return codes, grid


@lru_cache(maxsize=1)
def plain() -> LabelMapAnatomy:
    return LabelMapAnatomy(*made_up_map())


def reference_map() -> Path:
    base = os.environ.get("CHISEP_REFERENCE_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data"
    path = Path(base) / "anatomy" / "synthseg" / "training_seg_17.nii.gz"
    if not path.is_file():
        pytest.skip("no reference label maps (set CHISEP_REFERENCE_DATA)")
    return path


def test_brain_coordinates_come_from_the_structures():
    """The brain's origin of the file lands on the procedural head's origin, whatever the file's own origin."""
    anatomy = plain()
    origin = anatomy.to_ras(np.zeros((1, 3)))
    np.testing.assert_allclose(anatomy.to_brain(origin), 0, atol=0.1)
    np.testing.assert_allclose(origin[0], (0, 12, -2), atol=0.1)
    pallidum, _ = anatomy.labels(anatomy.to_ras(np.array([(19.5, -4.5, -0.5), (-19.5, -4.5, -0.5)])))
    assert set(pallidum) == {Label.PALLIDUM}


def test_turn_warp_and_flip_are_undone_by_the_inverse():
    anatomy = LabelMapAnatomy(*made_up_map(), seed=3, rotation_deg=10, scale=0.08, warp_mm=3, flip=True)
    points = np.random.default_rng(0).uniform(-60, 60, (200, 3)).astype(np.float32)
    np.testing.assert_allclose(anatomy.to_ras(anatomy.to_brain(points)), points, atol=0.02)


def test_flip_changes_sides():
    codes, grid = made_up_map()
    codes[np.isin(codes, (12,))] = 2  # no putamen on the left but for one voxel
    z, y, x = np.round(grid.ras_to_index(np.array([-25.5, 2.0, 1.5]) + OFFSET_RAS)).astype(int)
    codes[z, y, x] = 12
    straight, flipped = LabelMapAnatomy(codes, grid), LabelMapAnatomy(codes, grid, flip=True)
    right = np.array([[27.5, 14.0, -0.5]], np.float32)  # RAS of the right putamen
    left = right * (-1, 1, 1)
    assert straight.labels(right)[0][0] == Label.PUTAMEN != straight.labels(left)[0][0]
    assert flipped.labels(left)[0][0] == Label.PUTAMEN != flipped.labels(right)[0][0]


def test_small_nuclei_are_added_where_the_map_has_none():
    codes, grid = made_up_map()
    points = grid.index_to_ras(np.stack(np.indices(grid.shape), axis=-1)) - OFFSET_RAS
    codes[np.linalg.norm((points - (0, -20, -14)) / (18, 16, 14), axis=-1) < 1] = 16
    anatomy = LabelMapAnatomy(codes, grid)
    found, brain = anatomy.labels(anatomy.to_ras(np.array([(5, -19.5, -9.5), (-9.5, -17, -14)])))
    assert list(found) == [Label.RED_NUCLEUS, Label.SUBSTANTIA_NIGRA]
    assert brain.all()


def test_air_specks_beside_the_brain_become_fluid():
    codes, grid = made_up_map()
    speck = tuple(np.round(grid.ras_to_index(np.array([40.0, -17, 30]) + OFFSET_RAS)).astype(int))
    codes[speck] = 0
    anatomy = LabelMapAnatomy(codes, grid)
    points = anatomy.to_ras(np.array([[40.0, -17, 30]], np.float32))
    assert anatomy.labels(points)[0][0] == Label.CSF


def test_a_map_without_nuclei_is_refused():
    codes, grid = made_up_map()
    codes[codes == 13] = 2
    with pytest.raises(InputError, match="13"):
        LabelMapAnatomy(codes, grid)


def test_reference_head_gives_consistent_truth():
    head = make_head(default_grid(spacing_mm=2.5), anatomy=LabelMapAnatomy.read(reference_map()), seed=1)
    inside = head.brain_mask
    assert 1000 < inside.sum() * head.grid.voxel_volume_mm3 / 1000 < 1800
    np.testing.assert_allclose(head.chi_total[inside], (head.chi_para - head.chi_dia)[inside], atol=1e-7)
    assert not np.isin(head.labels[inside], (0, 12, 13, 14, 15, 17, 18)).any()
    for label in (Label.RED_NUCLEUS, Label.SUBSTANTIA_NIGRA, Label.DENTATE, Label.MS_LESION):
        assert (head.labels == label).any()


def test_command_simulates_the_head_of_a_label_map(tmp_path):
    codes, grid = made_up_map()
    write_volume(tmp_path / "map.nii.gz", codes, grid)
    given = ["--anatomy", str(tmp_path / "map.nii.gz"), "--spacing", "6", "--lesions", "0"]
    assert main(["simulate", str(tmp_path / "case"), *given, "--echo-times", "0.005", "0.015"]) == 0
    (truth,) = (tmp_path / "case").rglob("*labels*.nii.gz")
    labels, _ = read_volume(truth)
    assert (labels == Label.PALLIDUM).any() and (labels == Label.SKIN).any()
    assert main(["simulate", str(tmp_path / "other"), "--nuclei", str(tmp_path / "map.nii.gz")]) != 0
