"""Files to a series: what is read, in which unit, and what is refused with which words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ChiSepExtension.acquisition import GradientEchoSeries, read_gradient_echo
from ChiSepExtension.acquisition.phase_scaling import KNOWN_SPANS, detect_span, to_radians
from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.volume_io import write_volume

TIMES = [0.005, 0.011, 0.017]
GRID = Grid.from_spacing((10, 12, 14), (2.0, 1.0, 1.0))


def noisy_scan(seed: int = 0, echoes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A bright box in a noise-filled field of view: phase fills its whole period in the background."""
    rng = np.random.default_rng(seed)
    shape = (echoes, *GRID.shape)
    signal = np.zeros(shape, dtype=complex)
    for n in range(echoes):
        signal[n, 2:8, 2:10, 2:12] = 1000 * np.exp(-0.1 * n) * np.exp(1j * 0.8 * (n + 1))
    signal += rng.normal(0, 20, shape) + 1j * rng.normal(0, 20, shape)
    return np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)


def write_scan(folder, magnitude, phase, *, sidecars=True, name="sub-01", field_strength=3.0):
    paths = {"mag": [], "phase": []}
    for n, time in enumerate(TIMES[: len(magnitude)]):
        for part, data in (("mag", magnitude), ("phase", phase)):
            stem = f"{name}_echo-{n + 1}_part-{part}_MEGRE"
            paths[part].append(write_volume(folder / f"{stem}.nii.gz", data[n], GRID))
            if sidecars:
                content = {"EchoTime": time, "MagneticFieldStrength": field_strength}
                (folder / f"{stem}.json").write_text(json.dumps(content))
    return paths


def series(**changes) -> GradientEchoSeries:
    magnitude, phase = noisy_scan()
    fields = {"magnitude": magnitude, "phase": phase, "echo_times_s": TIMES, "field_strength_t": 3.0, "grid": GRID}
    return GradientEchoSeries(**{**fields, **changes})


# --- files


def test_bids_folder_is_read_with_times_field_strength_and_geometry(tmp_path):
    magnitude, phase = noisy_scan()
    write_scan(tmp_path, magnitude, phase)
    read = read_gradient_echo(tmp_path)
    np.testing.assert_array_equal(read.magnitude, magnitude)
    np.testing.assert_allclose(read.phase, phase, atol=1e-6)
    np.testing.assert_allclose(read.echo_times_s, TIMES)
    assert read.field_strength_t == 3.0
    assert read.grid.matches(GRID, 1e-4)


def test_one_4d_file_each_with_typed_echo_times(tmp_path):
    magnitude, phase = noisy_scan()
    files = [write_volume(tmp_path / f"{n}.nii.gz", a, GRID) for n, a in (("m", magnitude), ("p", phase))]
    read = read_gradient_echo(magnitude=files[:1], phase=files[1:], echo_times=TIMES, field_strength=3)
    np.testing.assert_array_equal(read.magnitude, magnitude)


def test_echo_times_above_one_are_milliseconds_and_this_is_said(tmp_path):
    paths = write_scan(tmp_path, *noisy_scan(), sidecars=False)
    read = read_gradient_echo(magnitude=paths["mag"], phase=paths["phase"], echo_times=[5, 11, 17], field_strength=3)
    np.testing.assert_allclose(read.echo_times_s, TIMES)
    assert any("milliseconds" in remark for remark in read.provenance["remarks"])


def test_files_in_any_order_are_sorted_by_their_sidecars(tmp_path):
    magnitude, phase = noisy_scan()
    paths = write_scan(tmp_path, magnitude, phase)
    read = read_gradient_echo(magnitude=paths["mag"][::-1], phase=paths["phase"][::-1])
    np.testing.assert_array_equal(read.magnitude, magnitude)
    np.testing.assert_allclose(read.echo_times_s, TIMES)


def test_magnitude_and_phase_in_different_order_are_refused(tmp_path):
    paths = write_scan(tmp_path, *noisy_scan())
    with pytest.raises(InputError, match="different echo times"):
        read_gradient_echo(magnitude=paths["mag"], phase=paths["phase"][::-1])


def test_imaging_frequency_is_believed_over_the_nominal_field_strength(tmp_path):
    write_scan(tmp_path, *noisy_scan())
    for path in tmp_path.glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "ImagingFrequency": 123.177385}))
    # 123.177385 MHz / 42.577478518 MHz/T, by hand
    assert read_gradient_echo(tmp_path).field_strength_t == pytest.approx(2.89302, abs=1e-5)


def test_dcm2niix_names_are_recognised(tmp_path):
    magnitude, phase = noisy_scan()
    for n, time in enumerate(TIMES):
        for ending, data, kind in (("", magnitude, "M"), ("_ph", phase, "P")):
            stem = f"gre_5_e{n + 1}{ending}"
            write_volume(tmp_path / f"{stem}.nii.gz", data[n], GRID)
            sidecar = {"EchoTime": time, "MagneticFieldStrength": 3, "ImageType": ["ORIGINAL", "PRIMARY", kind, "ND"]}
            (tmp_path / f"{stem}.json").write_text(json.dumps(sidecar))
    np.testing.assert_array_equal(read_gradient_echo(tmp_path).magnitude, magnitude)


def test_two_scans_in_one_folder_are_named_not_guessed(tmp_path):
    write_scan(tmp_path, *noisy_scan(), name="sub-01_run-1")
    write_scan(tmp_path, *noisy_scan(), name="sub-01_run-2")
    with pytest.raises(InputError, match="2 multi-echo scans.*run-1.*run-2"):
        read_gradient_echo(tmp_path)


def test_what_a_mac_leaves_beside_the_files_is_no_data(tmp_path):
    magnitude, phase = noisy_scan()
    write_scan(tmp_path, magnitude, phase)
    for path in list(tmp_path.iterdir()):
        (tmp_path / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
    np.testing.assert_array_equal(read_gradient_echo(tmp_path).magnitude, magnitude)


def test_missing_echo_times_ask_for_them(tmp_path):
    paths = write_scan(tmp_path, *noisy_scan(), sidecars=False)
    with pytest.raises(InputError, match="--echo-times"):
        read_gradient_echo(magnitude=paths["mag"], phase=paths["phase"], field_strength=3)


def test_a_phase_difference_is_refused_by_its_sidecar(tmp_path):
    paths = write_scan(tmp_path, *noisy_scan())
    sidecar = tmp_path / "sub-01_echo-1_part-phase_MEGRE.json"
    sidecar.write_text(json.dumps({"EchoTime1": 0.00519, "EchoTime2": 0.00765}))
    with pytest.raises(InputError, match="phase-difference"):
        read_gradient_echo(magnitude=paths["mag"], phase=paths["phase"])


def test_two_magnitudes_and_one_phase_are_a_field_map(tmp_path):
    paths = write_scan(tmp_path, *noisy_scan(), sidecars=False)
    with pytest.raises(InputError, match="field map"):
        read_gradient_echo(magnitude=paths["mag"][:2], phase=paths["phase"][:1], echo_times=TIMES[:2], field_strength=3)


def test_magnitude_given_as_phase_is_refused(tmp_path):
    magnitude, phase = noisy_scan()
    scaled = np.round(magnitude / magnitude.max() * 4095).astype(np.int16)  # looks like unsigned 12-bit phase
    paths = write_scan(tmp_path, magnitude, scaled)
    with pytest.raises(InputError, match="does not behave like a phase"):
        read_gradient_echo(magnitude=paths["mag"], phase=paths["phase"])


def test_swapped_magnitude_and_phase_are_refused(tmp_path):
    magnitude, phase = noisy_scan()
    paths = write_scan(tmp_path, magnitude, phase)
    with pytest.raises(InputError, match="swapped"):
        read_gradient_echo(magnitude=paths["phase"], phase=paths["mag"])


def test_grids_that_differ_are_refused(tmp_path):
    paths = write_scan(tmp_path, *noisy_scan())
    shifted = Grid(GRID.shape, GRID.ijk_to_ras @ np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    write_volume(paths["phase"][1], noisy_scan()[1][1], shifted)
    with pytest.raises(InputError, match="another grid"):
        read_gradient_echo(tmp_path)


def test_a_truncated_file_is_named(tmp_path):
    paths = write_scan(tmp_path, *noisy_scan())
    paths["mag"][1].write_bytes(paths["mag"][1].read_bytes()[:200])
    with pytest.raises(InputError, match="echo-2_part-mag"):
        read_gradient_echo(tmp_path)


def test_unsigned_magnitude_stored_as_signed_is_mended(tmp_path):
    magnitude, phase = noisy_scan()
    magnitude *= np.linspace(0.1, 1, magnitude.shape[-1])  # a coil's shading: values all over the 16 bits
    unsigned = np.round(magnitude / magnitude.max() * 65535).astype(np.uint16)
    paths = write_scan(tmp_path, unsigned.view(np.int16), phase)
    read = read_gradient_echo(magnitude=paths["mag"], phase=paths["phase"])
    np.testing.assert_array_equal(read.magnitude, unsigned.astype(np.float32))


# --- phase scaling


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        # Hand formulas of each vendor, written apart from the code under test.
        ("radians", lambda p: p),
        ("radians-unsigned", lambda p: p + np.pi),
        ("siemens-unsigned", lambda p: np.clip(np.round((p + np.pi) / (2 * np.pi) * 4096), 0, 4095)),
        ("siemens", lambda p: 2 * np.clip(np.round((p + np.pi) / (2 * np.pi) * 4096), 0, 4095) - 4096),
        ("milliradians", lambda p: np.round((1000 * p + 3142) / 1.53455) * 1.53455 - 3142),
        ("degrees", lambda p: np.degrees(p)),
        ("signed-12-bit", lambda p: np.clip(np.round(p / np.pi * 2048), -2048, 2047)),
        ("header-slope", lambda p: p / np.pi * 0.0036743768),
    ],
)
def test_every_known_span_comes_back_as_radians(name, stored):
    phase = noisy_scan()[1]
    radians, span = to_radians(stored(phase.astype(np.float64)).astype(np.float32))
    assert span.name == name
    # Half a stored step: 2π/4096/2 for 12 bit is the coarsest.
    wrapped = np.angle(np.exp(1j * (radians - phase)))
    assert np.abs(wrapped).max() < np.pi / 4096 + 1e-3


def test_the_decision_is_joint_so_a_short_echo_is_not_stretched():
    phase = noisy_scan()[1]
    phase[0] *= 0.4  # the first echo stays within ±1.26 rad
    radians, _ = to_radians(phase / np.pi * 4096)
    np.testing.assert_allclose(radians, phase, atol=1e-4)


@pytest.mark.parametrize("factor", [1.7, 30.0, 900.0, 0.2])
def test_a_span_that_is_none_of_the_known_is_refused(factor):
    with pytest.raises(InputError, match="none of the known spans"):
        detect_span(noisy_scan()[1] * factor)


def test_radians_that_fill_no_period_are_believed_only_with_a_sidecar():
    smooth = np.full((2, 4, 4, 4), 0.3, np.float32)
    smooth[1] = 0.9
    with pytest.raises(InputError):
        detect_span(smooth)
    assert detect_span(smooth, stated_unit="rad").name == "radians"


def test_a_sidecar_that_claims_rad_for_4096_is_not_believed():
    stored = np.round(noisy_scan()[1] / np.pi * 4096)
    assert detect_span(stored, stated_unit="rad").name == "siemens"


def test_spans_have_distinct_names():
    assert len({span.name for span in KNOWN_SPANS}) == len(KNOWN_SPANS)


# --- validation


def test_a_good_series_is_accepted():
    assert series().validate().number_of_echoes == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"echo_times_s": TIMES[:2]}, "3 echoes but 2 echo times"),
        ({"echo_times_s": [0.005, 0.005, 0.011]}, "same echo time"),
        ({"echo_times_s": [0.011, 0.005, 0.017]}, "ascending"),
        ({"echo_times_s": [0.0, 0.005, 0.011]}, "positive"),
        ({"field_strength_t": 30000.0}, "not plausible"),
        ({"grid": Grid.from_spacing((10, 12, 15))}, "differ in shape"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    with pytest.raises(InputError, match=words) as caught:
        series(**changes).validate()
    assert caught.value.remedy


def test_one_echo_is_refused():
    magnitude, phase = noisy_scan(echoes=1)
    with pytest.raises(InputError, match="only one echo"):
        series(magnitude=magnitude, phase=phase, echo_times_s=[0.005]).validate()


@pytest.mark.parametrize("name", ["magnitude", "phase"])
def test_nan_is_refused_with_its_count(name):
    values = dict(zip(("magnitude", "phase"), noisy_scan()))[name]
    values[0, 0, 0, :3] = np.nan
    with pytest.raises(InputError, match="3 values that are not numbers"):
        series(**{name: values}).validate()


# --- real data


@pytest.mark.parametrize(("file", "span"), [("phase.nii.gz", "radians"), ("phase_raw.nii.gz", "header-slope")])
def test_real_crop_is_read_in_radians_whatever_its_header_says(reference_data, file, span):
    folder = reference_data / "real" / "gre3_brain_crop"
    read = read_gradient_echo(
        magnitude=[folder / "mag.nii.gz"], phase=[folder / file], echo_times=[4, 8, 12], field_strength=7
    )
    assert read.provenance["phase_scaling"] == span
    reference = read_gradient_echo(
        magnitude=[folder / "mag.nii.gz"], phase=[folder / "phase.nii.gz"], echo_times=[4, 8, 12], field_strength=7
    )
    assert np.abs(np.angle(np.exp(1j * (read.phase - reference.phase)))).max() < 5e-3
