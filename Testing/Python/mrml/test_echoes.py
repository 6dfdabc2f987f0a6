"""Echoes in the scene: sequences with echo times, from folders, from loaded volumes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
from slicer.util import arrayFromVolume

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.echoes import echo_input, echo_sequence, echo_times_of, natural_order
from ChiSepExtension.mrml.loading import format_echo_times, gather_echoes, load_folder, parse_echo_times
from ChiSepExtension.mrml.volumes import grid_of, set_array
from ChiSepExtension.volume_io import write_volume

GRID = Grid.from_spacing((4, 5, 6), (2.0, 1.0, 1.0))
TIMES = [0.004, 0.0081, 0.0122]


def sequences(phase_scaling="radians"):
    rng = np.random.default_rng(0)
    magnitude = rng.uniform(50, 100, (3, *GRID.shape)).astype(np.float32)
    phase = rng.uniform(-np.pi, np.pi, (3, *GRID.shape)).astype(np.float32)
    scene = slicer.mrmlScene
    return (
        echo_sequence(scene, "sub magnitude", magnitude, GRID, TIMES, field_strength_t=2.89),
        echo_sequence(scene, "sub phase", phase, GRID, TIMES, phase_scaling=phase_scaling),
        magnitude,
        phase,
    )


def volume(name, value=1.0, grid=GRID):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    set_array(node, np.full(grid.shape, value, np.float32), grid)
    return node


def test_sequence_index_is_the_echo_time_in_milliseconds():
    magnitude, *_ = sequences()
    assert magnitude.GetIndexName() == "EchoTime"
    assert magnitude.GetIndexUnit() == "ms"
    assert float(magnitude.GetNthIndexValue(0)) == 4
    assert np.allclose(echo_times_of(magnitude), TIMES, atol=1e-7)


def test_series_has_the_voxels_of_the_nodes():
    magnitude_node, phase_node, magnitude, phase = sequences()
    series = echo_input(magnitude_node, phase_node).series()
    assert np.array_equal(series.magnitude, magnitude)
    assert np.array_equal(series.phase, phase)
    assert series.field_strength_t == 2.89
    assert series.grid.matches(GRID)


def test_stored_phase_is_scaled_to_radians():
    """Siemens integers -4096..4094 become -π..π: 0 stays 0, 2048 is a quarter turn."""
    magnitude_node, _, _, _ = sequences()
    stored = np.linspace(-4096, 4094, 3 * 120).reshape(3, *GRID.shape).round().astype(np.float32)
    stored[0, 0, 0, :2] = (0, 2048)
    phase_node = echo_sequence(slicer.mrmlScene, "stored", stored, GRID, TIMES)
    series = echo_input(magnitude_node, phase_node).series()
    assert np.allclose(series.phase[0, 0, 0, :2], (0, np.pi / 2), atol=1e-5)


def test_plain_4d_sequence_has_no_echo_times():
    """Slicer's reader numbers the images 0, 1, 2: that is not an echo time."""
    magnitude, *_ = sequences()
    magnitude.SetIndexName("time")
    assert echo_times_of(magnitude) is None


def test_index_in_seconds_is_understood():
    magnitude, *_ = sequences()
    magnitude.SetIndexUnit("s")
    assert echo_times_of(magnitude) == pytest.approx([1e3 * t for t in TIMES], abs=1e-9)


def test_echoes_closer_than_a_millisecond_stay_apart():
    """Ultrashort echoes 0.8 ms apart: a sequence would merge index values within 0.001 of each other."""
    times = [0.0008, 0.0016, 0.0024, 0.0032]
    sequence = echo_sequence(slicer.mrmlScene, "short", np.ones((4, *GRID.shape), np.float32), GRID, times)
    assert sequence.GetNumberOfDataNodes() == 4
    assert echo_times_of(sequence) == pytest.approx(times, abs=1e-9)


@pytest.mark.parametrize("times", [[0.004, 0.008, 0.008], [0.004, 0.008]])
def test_every_echo_needs_a_time_of_its_own(times):
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(InputError, match="echo times"):
        echo_sequence(slicer.mrmlScene, "m", np.ones((3, *GRID.shape), np.float32), GRID, times)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, p: (m, None), "No phase is chosen"),
        (lambda m, p: (m, [p.GetNthDataNode(0)]), "3 magnitude echoes but 1 phase"),
        (lambda m, p: ([m.GetNthDataNode(0)], [p.GetNthDataNode(0)]), "only one echo"),
    ],
)
def test_what_does_not_fit_is_told(change, message):
    magnitude, phase, *_ = sequences()
    with pytest.raises(InputError, match=message):
        echo_input(*change(magnitude, phase), echo_times_s=TIMES, field_strength_t=3)


def test_phase_on_another_grid_is_refused():
    magnitude, *_ = sequences()
    other = Grid.from_spacing(GRID.shape, (2.0, 1.0, 1.1))
    phase = [volume(f"phase {n}", grid=other) for n in range(3)]
    with pytest.raises(InputError, match="another grid"):
        echo_input(magnitude, phase)


def test_natural_order():
    names = ["echo10", "echo9", "echo1"]
    assert [names[n] for n in natural_order(names)] == ["echo1", "echo9", "echo10"]


def test_superscript_in_a_name_is_no_number():
    """`str.isdigit` is true for a superscript, and `int` refuses it."""
    assert natural_order(["²2", "²1"]) == [1, 0]


def test_loaded_volumes_become_one_sequence_in_natural_order():
    volumes = [volume(f"gre_echo{n}_mag", value=n) for n in (10, 2, 1)]
    sequence = gather_echoes(slicer.mrmlScene, volumes, "magnitude", [0.004, 0.008, 0.012])
    values = [arrayFromVolume(sequence.GetNthDataNode(n)).max() for n in range(3)]
    assert values == [1, 2, 10]
    assert sequence.GetName() == "gre magnitude"
    assert echo_times_of(sequence) == pytest.approx([0.004, 0.008, 0.012])


def test_folder_fills_echoes_times_and_field(tmp_path):
    rng = np.random.default_rng(0)
    for n, time in enumerate(TIMES, start=1):
        for part, low, high in (("mag", 10, 100), ("phase", -np.pi, np.pi)):
            stem = f"sub-07_echo-{n}_part-{part}_MEGRE"
            write_volume(tmp_path / f"{stem}.nii.gz", rng.uniform(low, high, GRID.shape).astype(np.float32), GRID)
            sidecar = {"EchoTime": time, "MagneticFieldStrength": 3}
            (tmp_path / f"{stem}.json").write_text(json.dumps(sidecar))
    loaded = load_folder(slicer.mrmlScene, tmp_path)
    assert loaded.echo_times_s == pytest.approx(TIMES)
    assert loaded.field_strength_t == 3
    assert loaded.magnitude.GetName() == "sub-07_MEGRE magnitude"
    assert loaded.phase.GetNumberOfDataNodes() == 3
    # A NIfTI header stores the matrix in float32.
    assert grid_of(loaded.magnitude.GetNthDataNode(0)).matches(GRID, tolerance_mm=1e-4)


def test_folder_without_echo_times_asks_for_them(tmp_path):
    rng = np.random.default_rng(0)
    for n in (1, 2, 3):
        for part, low, high in (("mag", 10, 100), ("phase", -np.pi, np.pi)):
            path = tmp_path / f"sub-07_echo-{n}_part-{part}_MEGRE.nii.gz"
            write_volume(path, rng.uniform(low, high, GRID.shape).astype(np.float32), GRID)
    with pytest.raises(InputError, match="echo times"):
        load_folder(slicer.mrmlScene, tmp_path)
    loaded = load_folder(slicer.mrmlScene, tmp_path, echo_times_s=TIMES, field_strength_t=1.5)
    assert loaded.echo_times_s == pytest.approx(TIMES)
    assert loaded.field_strength_t == 1.5


@pytest.mark.parametrize("text", ["4, 8.1, 12.2", "4.0 8.1 12.2 ms", "4;8.1;12.2", "4 ms, 8.1 ms, 12.2 ms"])
def test_echo_times_are_read_as_milliseconds(text):
    assert parse_echo_times(text) == pytest.approx([0.004, 0.0081, 0.0122])


@pytest.mark.parametrize("text", ["0.004, 0.008", "four", "4000, 8000"])
def test_echo_times_in_another_unit_are_refused(text):
    with pytest.raises(InputError):
        parse_echo_times(text)


def test_echo_times_line_comes_back():
    assert parse_echo_times(format_echo_times(TIMES)) == pytest.approx(TIMES, abs=1e-9)
