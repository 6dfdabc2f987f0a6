"""Files of a simulated scan: vendors' phase numbers by their formulas, BIDS names, sidecars, truth."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.phantom import make_head, simulate_case, simulate_gradient_echo, stored_phase, write_bids
from ChiSepExtension.volume_io import read_volume


def angles() -> np.ndarray:
    return np.linspace(-np.pi, np.pi, 2001, dtype=np.float32)[:-1]


@pytest.mark.parametrize(
    ("scaling", "back", "step_rad"),
    [
        ("radians", lambda v: v, 1e-6),
        ("siemens", lambda v: v / 4096 * np.pi, np.pi / 2048),
        ("siemens-unsigned", lambda v: v / 4096 * 2 * np.pi - np.pi, np.pi / 2048),
        ("philips", lambda v: v / 1000, 1.53455e-3),
        ("degrees", lambda v: v * np.pi / 180, 1e-6),
    ],
)
def test_vendor_formula_gives_back_the_angle(scaling, back, step_rad):
    """Half a stored step, and a turn where +π is stored as -π."""
    stored = stored_phase(angles(), scaling).astype(np.float64)
    error = np.angle(np.exp(1j * (back(stored) - angles())))
    assert np.abs(error).max() <= step_rad / 2 + 1e-3 * (scaling == "philips") + 1e-5


@pytest.mark.parametrize(
    ("scaling", "low", "high", "dtype"),
    [
        ("siemens", -4096, 4094, np.int16),
        ("siemens-unsigned", 0, 4095, np.uint16),
        ("philips", -3142.0, 3142.0, np.float32),
    ],
)
def test_stored_span_is_the_vendors(scaling, low, high, dtype):
    stored = stored_phase(np.linspace(-np.pi, np.pi, 100_001, dtype=np.float32), scaling)
    assert stored.dtype == dtype
    assert stored.min() == pytest.approx(low)
    assert stored.max() == pytest.approx(high, abs=0.1)


def test_siemens_steps_are_even_numbers():
    assert not (stored_phase(angles(), "siemens") % 2).any()


def test_unknown_scaling_is_refused_by_name():
    with pytest.raises(InputError, match="siemens-unsigned"):
        stored_phase(angles(), "hitachi")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    head = make_head(spacing_mm=5.0, seed=1, lesions=8)
    acquisition = simulate_gradient_echo(head, echo_times_s=(0.004, 0.012, 0.02), seed=1)
    return head, acquisition, write_bids(tmp_path_factory.mktemp("bids"), acquisition, head, scaling="siemens")


def test_files_have_bids_names(case):
    _, _, written = case
    assert [p.name for p in written.magnitude] == [f"sub-01_echo-{n}_part-mag_MEGRE.nii.gz" for n in (1, 2, 3)]
    assert written.phase[0].name == "sub-01_echo-1_part-phase_MEGRE.nii.gz"
    assert written.phase[0].parent == written.folder / "sub-01" / "anat"
    assert (written.folder / "dataset_description.json").is_file()


def test_sidecar_tells_echo_time_and_field(case):
    _, _, written = case
    fields = json.loads(written.phase[1].with_name("sub-01_echo-2_part-phase_MEGRE.json").read_text())
    assert fields["EchoTime"] == pytest.approx(0.012)
    assert fields["MagneticFieldStrength"] == 3.0
    assert fields["ImagingFrequency"] == pytest.approx(127.732, abs=1e-3)
    assert fields["Manufacturer"] == "Siemens"


def test_magnitude_fills_twelve_bits_with_one_scale(case):
    _, acquisition, written = case
    stored = np.stack([read_volume(path)[0] for path in written.magnitude]).astype(float)
    assert stored.max() == 4095 and stored.min() >= 0
    np.testing.assert_allclose(
        stored, acquisition.series.magnitude * 4095 / acquisition.series.magnitude.max(), atol=0.51
    )


def test_phase_and_grid_come_back(case):
    _, acquisition, written = case
    stored, grid = read_volume(written.phase[2])
    assert grid.matches(acquisition.grid)
    error = np.angle(np.exp(1j * (stored / 4096 * np.pi - acquisition.series.phase[2])))
    assert np.abs(error).max() <= np.pi / 4096 + 1e-5


def test_truth_lies_beside_the_data(case):
    head, acquisition, written = case
    for name, expected in {
        "chi_para": head.chi_para,
        "r2star": head.r2star_hz,
        "local_field": acquisition.local_field_ppm,
        "lesions": head.lesion_labels,
        "brain_mask": head.brain_mask,
    }.items():
        np.testing.assert_allclose(read_volume(written.truth_folder / f"{name}.nii.gz")[0], expected, rtol=1e-6)
    listed = json.loads((written.truth_folder / "simulation.json").read_text())["lesions"]
    assert [row["number"] for row in listed] == [lesion.number for lesion in head.lesions]


def test_ge_parts_hold_the_complex_signal_with_every_second_slice_turned(case, tmp_path):
    head, acquisition, _ = case
    written = write_bids(tmp_path, acquisition, head, scaling="ge")
    real = read_volume(written.anat_folder / "sub-01_echo-1_part-real_MEGRE.nii.gz")[0].astype(float)
    imaginary = read_volume(written.anat_folder / "sub-01_echo-1_part-imag_MEGRE.nii.gz")[0].astype(float)
    signal = real + 1j * imaginary
    signal[1::2] *= -1
    expected = acquisition.series.magnitude[0] * np.exp(1j * acquisition.series.phase[0])
    expected *= 4095 / acquisition.series.magnitude.max()
    assert np.abs(signal - expected).max() < 0.75  # rounding of both parts


def test_one_call_makes_a_case_on_an_oblique_grid(tmp_path):
    c, s = np.cos(0.3), np.sin(0.3)
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    seen = []
    written = simulate_case(
        tmp_path,
        shape=(24, 32, 28),
        spacing_mm=(8.0, 7.0, 7.0),
        rotation=rotation,
        lesions=0,
        scaling="philips",
        echo_times_s=(0.005, 0.015),
        progress=lambda fraction, message: seen.append(fraction),
    )
    grid = read_volume(written.r2_map)[1]
    assert grid.shape == (24, 32, 28)
    assert grid.b0_angle_deg == pytest.approx(np.degrees(0.3), abs=0.01)
    assert seen == sorted(seen) and seen[-1] == 1.0


@pytest.mark.parametrize("scaling", ["radians", "siemens", "siemens-unsigned", "philips"])
def test_the_reader_understands_what_the_simulator_writes(case, tmp_path, scaling):
    from ChiSepExtension.acquisition import read_gradient_echo

    head, acquisition, _ = case
    write_bids(tmp_path, acquisition, head, scaling=scaling)
    series = read_gradient_echo(tmp_path)
    np.testing.assert_allclose(series.echo_times_s, acquisition.series.echo_times_s)
    error = np.angle(np.exp(1j * (series.phase - acquisition.series.phase)))
    assert np.abs(error).max() < 3e-3
