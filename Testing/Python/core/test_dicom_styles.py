"""A simulated scan written in the style of each vendor comes back as it was: values, times, place, field strength."""

from __future__ import annotations

import dataclasses

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from ChiSepExtension.acquisition import read_gradient_echo
from ChiSepExtension.acquisition.dicom import examine, read_dicom
from ChiSepExtension.acquisition.spin_echo import SpinEchoSeries, read_spin_echo
from ChiSepExtension.errors import InputError
from ChiSepExtension.phantom.dicom_files import DICOM_STYLES, write_dicom, write_dicom_spin_echo
from ChiSepExtension.volume_io import read_volume, write_volume
from Testing.Python.core.dicom_scan import assert_same_scan, scan


@pytest.mark.parametrize("style", DICOM_STYLES)
def test_every_style_of_an_oblique_scan_comes_back(tmp_path, style):
    truth = scan()
    write_dicom(tmp_path, truth, style=style)
    assert_same_scan(read_dicom(tmp_path), truth)


@pytest.mark.parametrize("style", ["siemens", "philips-enhanced"])
def test_a_straight_scan_comes_back(tmp_path, style):
    truth = scan(turned=False)
    write_dicom(tmp_path, truth, style=style)
    assert_same_scan(read_dicom(tmp_path), truth)


def test_stored_integers_come_back_exactly(tmp_path):
    truth = scan()
    write_dicom(tmp_path, truth, style="siemens")
    read = read_dicom(tmp_path)
    # The two formulas of the vendor, written apart from the code under test.
    magnitude = np.rint(truth.magnitude * (4095 / float(truth.magnitude.max())))
    np.testing.assert_array_equal(read.magnitude, magnitude)
    stored = np.floor((truth.phase.astype(np.float64) / (2 * np.pi) + 0.5) * 4096 + 0.5) % 4096
    np.testing.assert_allclose(read.phase, (2 * stored - 4096) / 4096 * np.pi, atol=1e-6)


def test_nifti_and_dicom_of_the_same_integers_are_one_series(tmp_path):
    truth = scan()
    write_dicom(tmp_path / "dicom", truth, style="siemens")
    read = read_dicom(tmp_path / "dicom")
    stored = np.floor((truth.phase.astype(np.float64) / (2 * np.pi) + 0.5) * 4096 + 0.5) % 4096
    magnitude = np.rint(truth.magnitude * (4095 / float(truth.magnitude.max()))).astype(np.int16)
    write_volume(tmp_path / "mag.nii.gz", magnitude, truth.grid)
    write_volume(tmp_path / "phase.nii.gz", (2 * stored - 4096).astype(np.int16), truth.grid)
    nifti = read_gradient_echo(
        magnitude=[tmp_path / "mag.nii.gz"],
        phase=[tmp_path / "phase.nii.gz"],
        echo_times=list(truth.echo_times_s),
        field_strength=truth.field_strength_t,
    )
    np.testing.assert_array_equal(read.magnitude, nifti.magnitude)
    np.testing.assert_array_equal(read.phase, nifti.phase)
    assert read.grid.matches(nifti.grid, 1e-3)


def test_geometry_is_that_of_an_independent_reader(tmp_path):
    paths = write_dicom(tmp_path, scan(), style="siemens")
    read = read_dicom(tmp_path)
    first_echo = paths[:6]
    assert {(h.EchoTime, h.ImageType[2]) for h in map(pydicom.dcmread, first_echo)} == {(5, "M")}
    sorter = sitk.ImageSeriesReader()
    sorter.SetFileNames([str(path) for path in first_echo])
    sitk.WriteImage(sorter.Execute(), str(tmp_path / "itk.nii.gz"))
    array, grid = read_volume(tmp_path / "itk.nii.gz")
    assert read.grid.matches(grid, 1e-3)
    np.testing.assert_array_equal(read.magnitude[0], array)


def test_a_grid_that_runs_downwards_is_the_same_head(tmp_path):
    truth = scan()
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    flip[2, 3] = truth.grid.shape[0] - 1
    upside = type(truth.grid)(truth.grid.shape, truth.grid.ijk_to_ras @ flip)
    downwards = type(truth)(truth.magnitude[:, ::-1], truth.phase[:, ::-1], truth.echo_times_s, 2.8936, upside)
    write_dicom(tmp_path, downwards, style="siemens")
    assert_same_scan(read_dicom(tmp_path), truth)  # slices along the normal, as every reader sorts them


def test_slopes_of_magnitude_and_phase_frames_of_one_file_are_honoured(tmp_path):
    (path,) = write_dicom(tmp_path, scan(), style="philips-enhanced")
    frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    slopes = {float(f.PixelValueTransformationSequence[0].RescaleSlope) for f in frames}
    assert slopes == {1.23663, 1.53455}  # the trap: the first frame's slope makes phase 0..5288
    read = read_dicom(tmp_path)
    assert read.provenance["phase_scaling"] == "milliradians"
    assert -np.pi - 1e-3 < read.phase.min() < -3.1
    assert 3.1 < read.phase.max() < np.pi + 1e-3


def test_frames_of_one_scan_interleaved_over_several_files_are_put_together(tmp_path):
    truth = scan()
    (path,) = write_dicom(tmp_path, truth, style="philips-enhanced")
    whole = pydicom.dcmread(path)
    frames, pixels = whole.PerFrameFunctionalGroupsSequence, whole.pixel_array
    for n in range(3):  # magnitude and phase, echoes and slices mixed in each
        whole.PerFrameFunctionalGroupsSequence = list(frames)[n::3]
        whole.PixelData = pixels[n::3].tobytes()
        whole.NumberOfFrames = len(pixels[n::3])
        whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{n}"
        whole.save_as(tmp_path / f"part{n}.dcm")
    path.unlink()
    assert_same_scan(read_dicom(tmp_path), truth)


def test_slopes_that_differ_from_slice_to_slice_are_honoured(tmp_path):
    truth = scan()
    (path,) = write_dicom(tmp_path, truth, style="philips-enhanced")
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array.astype(np.float64)
    for n, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        values = frame.PixelValueTransformationSequence[0]
        if values.RescaleType == "normalized":
            factor = 1 + (n % 7) / 8
            values.RescaleSlope = f"{1.23663 * factor:.8f}"
            pixels[n] = np.rint(pixels[n] / factor)
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset.save_as(path)
    read = read_dicom(tmp_path)
    scale = truth.magnitude.max() / read.magnitude.max()
    # Half a step of the coarsest slope, 1.75 times the usual one, and the same for the maximum that scales.
    assert np.abs(read.magnitude * scale - truth.magnitude).max() / truth.magnitude.max() < 2 / 4095


def test_a_real_world_value_mapping_is_used_where_it_is_the_only_scaling(tmp_path):
    truth = scan()
    for path in write_dicom(tmp_path, truth, style="philips"):
        dataset = pydicom.dcmread(path)
        mapping = pydicom.Dataset()
        mapping.RealWorldValueSlope = float(dataset.RescaleSlope)
        mapping.RealWorldValueIntercept = float(dataset.RescaleIntercept)
        dataset.RealWorldValueMappingSequence = [mapping]
        del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType
        dataset.save_as(path)
    assert_same_scan(read_dicom(tmp_path), truth)


def test_philips_display_scales_that_differ_between_echoes_keep_the_decay(tmp_path):
    truth = scan()
    for path in write_dicom(tmp_path, truth, style="philips"):
        dataset = pydicom.dcmread(path)
        block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        is_second = dataset.EchoNumbers == 2 and "M" in dataset.ImageType
        # The console shows the second echo three times too bright; slope times scale slope tells.
        block.add_new(0x0E, "FL", 3.0 if is_second else 1.0)
        if is_second:
            dataset.PixelData = (3 * dataset.pixel_array).astype("<u2").tobytes()
            dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.save_as(path)
    read = read_dicom(tmp_path)
    assert_same_scan(read, truth)
    assert any("display scales" in remark for remark in read.provenance["remarks"])


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"], ids=["RLE", "JPEG-LS"])
def test_lossless_compression_is_read(tmp_path, syntax):
    if syntax.endswith("80"):
        pytest.importorskip("jpeg_ls", reason="pyjpegls encodes the files of this test")
    truth = scan(echo_times_s=(0.005, 0.011))
    for path in write_dicom(tmp_path, truth, style="siemens"):
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax)
        dataset.save_as(path)
    assert_same_scan(read_dicom(tmp_path), truth)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
@pytest.mark.parametrize("style", ["ge", "philips-enhanced"])
def test_every_byte_order_and_encoding_is_read(tmp_path, syntax, style):
    truth = scan(echo_times_s=(0.005, 0.011))
    for path in write_dicom(tmp_path, truth, style=style):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = syntax
        big = syntax == "1.2.840.10008.1.2.2"
        if big:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        pydicom.dcmwrite(
            path, dataset, implicit_vr=syntax == "1.2.840.10008.1.2", little_endian=not big, force_encoding=True
        )
    assert_same_scan(read_dicom(tmp_path), truth)


def test_files_without_preamble_are_read(tmp_path):
    truth = scan(echo_times_s=(0.005, 0.011))
    for path in write_dicom(tmp_path, truth, style="siemens"):
        dataset = pydicom.dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert path.read_bytes()[:2] == b"\x08\x00"
    assert_same_scan(read_dicom(tmp_path), truth)


@pytest.mark.parametrize("style", ["philips-enhanced", "ge"])
def test_jpeg_lossless_is_read_as_archives_send_it(tmp_path, style):
    truth = scan(echo_times_s=(0.005, 0.011))
    for path in write_dicom(tmp_path, truth, style=style):
        dataset = pydicom.dcmread(path)
        pixels = dataset.pixel_array
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG")
        frames = []
        for frame in pixels if pixels.ndim == 3 else pixels[np.newaxis]:
            writer.Execute(sitk.GetImageFromArray(frame[np.newaxis]), str(tmp_path / "one.dcm"), True, 90)
            one = pydicom.dcmread(tmp_path / "one.dcm")
            frames += pydicom.encaps.generate_frames(one.PixelData, number_of_frames=1)
        (tmp_path / "one.dcm").unlink()
        assert one.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = pydicom.encaps.encapsulate(frames)
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = one.file_meta.TransferSyntaxUID
        dataset.save_as(path)
    assert_same_scan(read_dicom(tmp_path), truth)


def test_compression_that_cannot_be_decoded_is_named(tmp_path):
    for path in write_dicom(tmp_path, scan(echo_times_s=(0.005, 0.011)), style="siemens"):
        dataset = pydicom.dcmread(path)
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(40)])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
        dataset.save_as(path)
    with pytest.raises(InputError, match=r"JPEG 2000.*cannot be decoded.*without compression"):
        read_dicom(tmp_path)


def test_lossy_compression_is_refused(tmp_path):
    for path in write_dicom(tmp_path, scan(echo_times_s=(0.005, 0.011)), style="siemens"):
        dataset = pydicom.dcmread(path)
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + bytes(40)])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.51"
        dataset.save_as(path)
    with pytest.raises(InputError, match="lossy compression destroys phase"):
        read_dicom(tmp_path)


def test_unsigned_magnitude_stored_as_signed_is_mended(tmp_path):
    bright = scan(echo_times_s=(0.005, 0.011))
    shading = np.linspace(0.2, 1, bright.grid.shape[2])  # a coil's: values all over the 16 bits
    truth = dataclasses.replace(bright, magnitude=bright.magnitude * shading)
    for path in write_dicom(tmp_path, truth, style="siemens"):
        dataset = pydicom.dcmread(path)
        if "M" in dataset.ImageType:
            wide = (dataset.pixel_array.astype(np.uint32) * 16).astype("<u2")  # 0..65520: beyond 32767 turns negative
            dataset.PixelData = wide.tobytes()
            dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 1
        dataset.save_as(path)
    read = read_dicom(tmp_path)
    assert_same_scan(read, truth)
    assert any("65536" in remark for remark in read.provenance["remarks"])


def test_what_the_scanner_says_is_kept_and_who_was_scanned_is_not(tmp_path):
    write_dicom(tmp_path, scan(), style="siemens")
    kept = read_dicom(tmp_path).provenance
    assert kept["manufacturer"] == "SIEMENS"
    assert kept["dicom"]["repetition_time_s"] == pytest.approx(0.038)
    assert kept["dicom"]["flip_angle_deg"] == 15
    assert kept["dicom"]["software_versions"] == "syngo MR E11"
    assert kept["dicom"]["imaging_frequency_mhz"] == pytest.approx(123.2, abs=0.1)
    assert kept["phase_image_type"] == ["ORIGINAL", "PRIMARY", "P", "ND"]
    assert kept["series_description"] == "megre"
    assert "PHANTOM-01" not in str(kept)
    assert "Simulated" not in str(kept)
    assert "2.25." not in str(kept)
    asked = read_dicom(tmp_path, keep_identity=True).provenance
    assert asked["patient"]["identifier"] == "PHANTOM-01"


def test_the_examination_is_json_without_the_patient(tmp_path):
    import json

    write_dicom(tmp_path, scan(), style="siemens")
    text = json.dumps(examine(tmp_path).to_dict())
    assert "PHANTOM-01" not in text
    assert json.loads(text)["scans"][0]["usable"] is True


def test_a_spin_echo_series_comes_back(tmp_path):
    rng = np.random.default_rng(1)
    magnitude = rng.uniform(50, 1000, (5, 6, 14, 18)).astype(np.float32)
    truth = SpinEchoSeries(magnitude, np.arange(1, 6) * 0.012, scan().grid, 180.0)
    write_dicom_spin_echo(tmp_path, truth)
    found = examine(tmp_path)
    assert [s.title for s in found] == ["Multi-echo spin echo (5 echoes)"]
    read = found.spin_echo()
    assert read.refocusing_deg == 180
    np.testing.assert_allclose(read.echo_times_s, truth.echo_times_s)
    np.testing.assert_allclose(read.magnitude / read.magnitude.max(), magnitude / magnitude.max(), atol=0.51 / 4095)
    with pytest.raises(InputError, match="no gradient-echo scan"):
        found.gradient_echo()


def test_gradient_and_spin_echo_of_one_examination_are_told_apart(tmp_path):
    truth = scan()
    magnitude = np.random.default_rng(1).uniform(50, 1000, (4, 6, 14, 18)).astype(np.float32)
    write_dicom(tmp_path, truth, style="siemens", name="a")
    write_dicom_spin_echo(tmp_path, SpinEchoSeries(magnitude, np.arange(1, 5) * 0.011, truth.grid), name="b")
    assert_same_scan(read_gradient_echo(tmp_path), truth)
    np.testing.assert_allclose(read_spin_echo(tmp_path).echo_times_s, [0.011, 0.022, 0.033, 0.044])


def test_what_was_turned_in_phase_of_ge_is_said(tmp_path):
    write_dicom(tmp_path, scan(), style="ge")
    kept = read_dicom(tmp_path).provenance
    assert kept["phase_repairs"] == ["repair-slices", "invert-phase"]
    assert any("not verified on a scanner" in remark for remark in kept["remarks"])


@pytest.mark.parametrize("name", ["GE", "General Electric", "GE MEDICAL SYSTEMS"])
def test_a_manufacturer_that_is_named_replaces_one_that_was_taken_away(tmp_path, name):
    truth = scan()
    codes = {0: "M", 1: "P", 2: "R", 3: "I"}
    for path in write_dicom(tmp_path, truth, style="ge"):
        dataset = pydicom.dcmread(path)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", codes[int(dataset[0x0043102F].value)]]
        dataset.remove_private_tags()
        dataset.Manufacturer = ""
        dataset.save_as(path)
    assert "invert-phase" not in read_dicom(tmp_path).provenance.get("phase_repairs", [])
    read = read_gradient_echo(tmp_path, manufacturer=name)
    assert_same_scan(read, truth)
    assert read.provenance["phase_repairs"] == ["repair-slices", "invert-phase"]
    assert read.provenance["manufacturer"] == name


def test_a_manufacturer_that_is_named_is_kept_of_nifti_files(tmp_path):
    truth = scan()
    for kind in ("magnitude", "phase"):
        write_volume(tmp_path / f"{kind}.nii", getattr(truth, kind), truth.grid)
    read = read_gradient_echo(
        magnitude=[tmp_path / "magnitude.nii"],
        phase=[tmp_path / "phase.nii"],
        echo_times=list(truth.echo_times_s),
        field_strength=3.0,
        manufacturer="GE",
    )
    assert read.provenance["manufacturer"] == "GE"


def two_spin_echoes(folder):
    rng = np.random.default_rng(1)
    for name, number, step in (("a", 20, 0.011), ("b", 30, 0.013)):
        magnitude = rng.uniform(50, 1000, (4, 6, 14, 18)).astype(np.float32)
        series = SpinEchoSeries(magnitude, np.arange(1, 5) * step, scan().grid)
        time = f"10{number}00"
        yield write_dicom_spin_echo(folder, series, name=name, first_series=number, acquired=time)


def test_one_of_several_spin_echoes_is_chosen_by_its_series(tmp_path):
    list(two_spin_echoes(tmp_path))
    with pytest.raises(InputError, match=r"2 spin-echo scans.*") as caught:
        read_spin_echo(tmp_path)
    assert "--spin-echo-series" in caught.value.remedy
    assert read_spin_echo(tmp_path, series=30).echo_times_s[0] == pytest.approx(0.013)


def test_dicom_files_of_a_spin_echo_may_be_given_as_files(tmp_path):
    _, second = two_spin_echoes(tmp_path)
    assert read_spin_echo(second, refocusing_deg=150).echo_times_s[0] == pytest.approx(0.013)


def test_a_series_of_what_is_not_dicom_is_refused(tmp_path):
    path = write_volume(tmp_path / "se.nii", np.ones((3, 4, 5, 6), np.float32), scan(shape=(4, 5, 6)).grid)
    with pytest.raises(InputError, match="no DICOM files"):
        read_spin_echo(path, series=3)


def test_too_few_slices_of_ge_to_see_their_alternation_are_refused(tmp_path):
    write_dicom(tmp_path, scan(shape=(3, 14, 18)), style="ge")
    with pytest.raises(InputError, match="With 3 slices it cannot be told"):
        read_dicom(tmp_path)


def test_an_unknown_style_is_refused(tmp_path):
    with pytest.raises(InputError, match="no DICOM style"):
        write_dicom(tmp_path, scan(), style="hitachi")
