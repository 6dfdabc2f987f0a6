"""A spin echo in the scene: loaded with times and angle, handed over as stored, refused beside an R2 map."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import slicer

from ChiSepExtension.acquisition.gradient_echo import GradientEchoSeries
from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid, turned_onto
from ChiSepExtension.mrml.echoes import echo_sequence, echo_times_of
from ChiSepExtension.mrml.loading import load_folder
from ChiSepExtension.mrml.separation import SeparationJob
from ChiSepExtension.mrml.spin_echo import load_spin_echo, spin_echo_input
from ChiSepExtension.mrml.volumes import set_array
from ChiSepExtension.phantom.dicom_files import write_dicom
from ChiSepExtension.volume_io import write_volume

GRID = Grid.from_spacing((6, 8, 10), (2.0, 1.0, 1.0))
OWN_GRID = Grid.from_spacing((4, 10, 9), (4.0, 1.2, 1.2))
TIMES = [0.012, 0.024, 0.036]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A spin echo as dcm2niix leaves it: one file per echo with its sidecar, refocusing angle included."""
    for n, time in enumerate(TIMES, start=1):
        stem = tmp_path / f"sub-01_echo-{n}_MESE"
        write_volume(f"{stem}.nii.gz", np.full(OWN_GRID.shape, 100.0 / n, np.float32), OWN_GRID)
        Path(f"{stem}.json").write_text(json.dumps({"EchoTime": time, "FlipAngle": 160}))
    return tmp_path


def gradient_echo():
    rng, scene, times = np.random.default_rng(0), slicer.mrmlScene, [0.004, 0.008]
    magnitude = echo_sequence(scene, "m", rng.uniform(1, 9, (2, *GRID.shape)), GRID, times, field_strength_t=3)
    return magnitude, echo_sequence(scene, "p", rng.uniform(-3, 3, (2, *GRID.shape)), GRID, times)


def test_times_angle_and_grid_come_with_the_folder(folder):
    found = spin_echo_input(load_spin_echo(slicer.mrmlScene, folder))
    assert found.echo_times_s == pytest.approx(TIMES)
    assert found.refocusing_deg == 160
    assert found.grid.matches(OWN_GRID)
    assert [echo.max() for echo in found.arrays()] == pytest.approx([100, 50, 100 / 3], rel=1e-6)


def test_job_carries_it_on_its_own_grid(folder, tmp_path):
    sequence = load_spin_echo(slicer.mrmlScene, folder)
    job = SeparationJob.prepare(slicer.mrmlScene, *gradient_echo(), spin_echo=sequence)
    target = tmp_path / "job"
    target.mkdir()
    list(job.write(target))
    facts = json.loads((target / "job.json").read_text())["spin_echo"]
    assert facts["echo_times_s"] == pytest.approx(echo_times_of(sequence))
    assert facts["refocusing_deg"] == 160
    assert np.load(target / facts["magnitude"]).shape == (3, *OWN_GRID.shape)


def test_r2_map_and_spin_echo_together_are_refused(folder):
    sequence = load_spin_echo(slicer.mrmlScene, folder)
    r2 = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "R2")
    set_array(r2, np.full(GRID.shape, 13, np.float32), GRID)
    with pytest.raises(InputError, match="more than one is chosen"):
        SeparationJob.prepare(slicer.mrmlScene, *gradient_echo(), r2=r2, spin_echo=sequence)


def test_sequence_without_echo_times_is_refused():
    magnitude, _ = gradient_echo()
    magnitude.SetIndexName("frame")
    with pytest.raises(InputError, match="no multi-echo spin echo"):
        spin_echo_input(magnitude)


def test_folder_of_dicom_files_is_loaded_like_any_other(tmp_path):
    """Phase in radians comes back within half a step of the scanner's 12 bits."""
    rng = np.random.default_rng(1)
    phase = rng.uniform(-3.1, 3.1, (3, *GRID.shape)).astype(np.float32)
    magnitude = rng.uniform(10, 1000, phase.shape).astype(np.float32)
    write_dicom(tmp_path, GradientEchoSeries(magnitude, phase, [0.005, 0.01, 0.015], 3.0, GRID))
    loaded = load_folder(slicer.mrmlScene, tmp_path)
    assert loaded.echo_times_s == pytest.approx([0.005, 0.01, 0.015])
    assert loaded.field_strength_t == pytest.approx(3.0, abs=0.01)
    series = SeparationJob.prepare(slicer.mrmlScene, loaded.magnitude, loaded.phase).echoes.series()
    turned = turned_onto(series.phase[0], series.grid, GRID)
    assert np.abs(turned - phase[0]).max() < np.pi / 4095 + 1e-3
