"""The R2 map that lies beside the echoes comes with them, and one that does not fit is left out and told."""

from __future__ import annotations

import json

import numpy as np
import slicer
from slicer.util import arrayFromVolume

from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.loading import load_folder
from ChiSepExtension.mrml.volumes import unit_of
from ChiSepExtension.volume_io import write_volume

GRID = Grid.from_spacing((4, 5, 6), (2.0, 1.0, 1.0))


def write_echoes(folder):
    rng = np.random.default_rng(0)
    for n, echo_time in enumerate((0.005, 0.01, 0.015), start=1):
        for part, low, high in (("mag", 10, 100), ("phase", -np.pi, np.pi)):
            stem = folder / f"sub-01_echo-{n}_part-{part}_MEGRE"
            write_volume(f"{stem}.nii.gz", rng.uniform(low, high, GRID.shape).astype(np.float32), GRID)
            stem.with_name(f"{stem.name}.json").write_text(
                json.dumps({"EchoTime": echo_time, "MagneticFieldStrength": 3})
            )


def r2_values(grid=GRID):
    return np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape)


def test_r2_map_comes_with_the_echoes(tmp_path):
    write_echoes(tmp_path)
    write_volume(tmp_path / "sub-01_R2map.nii.gz", r2_values(), GRID)
    loaded = load_folder(slicer.mrmlScene, tmp_path)
    assert loaded.r2_map.GetName() == "sub-01_R2map"
    assert np.array_equal(arrayFromVolume(loaded.r2_map), r2_values())
    assert unit_of(loaded.r2_map) == "/s"


def test_r2_map_stored_the_other_way_round_is_turned(tmp_path):
    """The same voxels in space with the first axis stored backwards: (x, y, z) of voxel i is that of voxel n-1-i."""
    write_echoes(tmp_path)
    matrix = GRID.ijk_to_ras.copy()
    matrix[:, 3] += matrix[:, 0] * (GRID.shape[2] - 1)
    matrix[:, 0] *= -1
    write_volume(tmp_path / "sub-01_R2map.nii.gz", r2_values()[:, :, ::-1].copy(), Grid(GRID.shape, matrix))
    assert np.array_equal(arrayFromVolume(load_folder(slicer.mrmlScene, tmp_path).r2_map), r2_values())


def test_r2_map_on_another_grid_is_left_out_and_told(tmp_path):
    write_echoes(tmp_path)
    other = Grid.from_spacing((4, 5, 7), (2.0, 1.0, 1.0))
    write_volume(tmp_path / "sub-01_R2map.nii.gz", r2_values(other), other)
    loaded = load_folder(slicer.mrmlScene, tmp_path)
    assert loaded.r2_map is None
    assert any("another grid" in remark for remark in loaded.remarks)


def test_of_two_r2_maps_none_is_guessed(tmp_path):
    write_echoes(tmp_path)
    for name in ("a_R2map.nii.gz", "b_R2map.nii.gz"):
        write_volume(tmp_path / name, r2_values(), GRID)
    loaded = load_folder(slicer.mrmlScene, tmp_path)
    assert loaded.r2_map is None
    assert any("2 R2 maps" in remark for remark in loaded.remarks)


def test_r2star_map_is_no_r2_map(tmp_path):
    write_echoes(tmp_path)
    write_volume(tmp_path / "sub-01_R2starmap.nii.gz", r2_values(), GRID)
    assert load_folder(slicer.mrmlScene, tmp_path).r2_map is None


def test_damaged_r2_map_does_not_keep_the_echoes_away(tmp_path):
    write_echoes(tmp_path)
    (tmp_path / "sub-01_R2map.nii.gz").write_bytes(b"not an image")
    loaded = load_folder(slicer.mrmlScene, tmp_path)
    assert loaded.r2_map is None
    assert any("sub-01_R2map.nii.gz was not loaded" in remark for remark in loaded.remarks)
    assert loaded.magnitude.GetNumberOfDataNodes() == 3


def test_nan_in_an_r2_map_becomes_zero(tmp_path):
    write_echoes(tmp_path)
    values = r2_values() + 1
    values[0, 0, :2] = (np.nan, np.inf)
    write_volume(tmp_path / "sub-01_R2map.nii.gz", values, GRID)
    array = arrayFromVolume(load_folder(slicer.mrmlScene, tmp_path).r2_map)
    assert array[0, 0, :3].tolist() == [0, 0, 3]
