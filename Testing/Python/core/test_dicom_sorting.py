"""Scans are found among mixed files, in any order, and what is wrong with them is said by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset

from ChiSepExtension.acquisition import read_gradient_echo
from ChiSepExtension.acquisition.dicom import examine, read_dicom
from ChiSepExtension.errors import Cancelled, InputError
from ChiSepExtension.phantom.dicom_files import write_dicom
from ChiSepExtension.progress import CancelToken
from Testing.Python.core.dicom_scan import assert_same_scan, edit, headers, scan


def write_object(path: Path, sop_class: str, **values) -> None:
    """A DICOM object that is no MR image."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)


def add_foreign_files(folder: Path, template: Path) -> int:
    """Sixty files such as lie in a hospital's export: 22 of no MR image, 38 of other MR series."""
    for n in range(6):
        (folder / f"notes {n}.txt").write_text("export")
    (folder / "._scan_00001.dcm").write_bytes(b"\x00\x05\x16\x07")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "cut.dcm").write_bytes(template.read_bytes()[:150])
    (folder / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(300))
    write_object(folder / "DICOMDIR", "1.2.840.10008.1.3.10")
    write_object(folder / "report.dcm", "1.2.840.10008.5.1.4.1.1.88.33", Modality="SR")
    write_object(folder / "document.dcm", "1.2.840.10008.5.1.4.1.1.104.1", Modality="DOC")
    for n in range(5):
        write_object(folder / f"capture{n}.dcm", "1.2.840.10008.5.1.4.1.1.7", Modality="OT", Rows=8, Columns=8)
        if n < 4:
            write_object(folder / f"ct{n}.dcm", "1.2.840.10008.5.1.4.1.1.2", Modality="CT", Rows=8, Columns=8)
    others = [
        ("SWI", ["ORIGINAL", "PRIMARY", "M", "SWI", "ND"], 30, 10),
        ("mIP", ["ORIGINAL", "PRIMARY", "M", "MNIP", "ND"], 31, 8),
        ("T2 star map", ["DERIVED", "PRIMARY", "M", "T2_STAR MAP", "ND"], 32, 6),
        ("ADC", ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND"], 33, 6),
        ("localizer", ["ORIGINAL", "PRIMARY", "M", "ND"], 1, 3),
        ("t1", ["ORIGINAL", "PRIMARY", "M", "ND"], 40, 5),
    ]
    turns = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])
    for name, image_type, number, count in others:
        for n in range(count):
            path = folder / f"{name} {n}.dcm"
            shutil.copy(template, path)
            changes = {"ImageOrientationPatient": turns[n]} if name == "localizer" else {}
            edit(
                path,
                ImageType=image_type,
                SeriesDescription=name,
                SeriesNumber=number,
                SeriesInstanceUID=f"1.2.3.{number}",
                SOPInstanceUID=f"1.2.3.{number}.{n}",
                AcquisitionTime=f"10{number:02d}00",
                ImagePositionPatient=[0.0, 0.0, 3.0 * n],
                **changes,
            )
    return 22 + sum(count for *_, count in others)


def test_a_mixed_shuffled_folder_gives_the_same_series_in_any_order(tmp_path):
    truth = scan(echo_times_s=(0.004, 0.009, 0.0145, 0.02, 0.0255, 0.031), shape=(10, 12, 14))
    paths = write_dicom(tmp_path / "a", truth, style="siemens")
    foreign = add_foreign_files(tmp_path / "a", paths[0])
    files = sorted((tmp_path / "a").iterdir())
    assert (len(paths), foreign, len(files)) == (120, 60, 180)
    first = None
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(files))
        folder = tmp_path / f"shuffled{seed}"
        for n, k in enumerate(order):  # other names in other subfolders: only the content tells
            target = folder / f"{n % 4}" / f"IM{n:04d}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(files[k], target)
        read = read_dicom(folder)
        assert_same_scan(read, truth)
        first = first or read
        np.testing.assert_array_equal(read.magnitude, first.magnitude)
        np.testing.assert_array_equal(read.phase, first.phase)
        assert read.provenance == first.provenance


def test_the_table_names_what_is_there(tmp_path):
    paths = write_dicom(tmp_path, scan(), style="siemens")
    add_foreign_files(tmp_path, paths[0])
    text = str(examine(tmp_path))
    for words in (
        "Multi-echo GRE (magnitude + phase, 4 echoes)",
        "5 11 17.5 23",
        "18×14×6 voxels",
        "Siemens 2.89 T",
        "Susceptibility-weighted image (SWI) (10 images)",
        "Projection (MIP)",
        "T2* or R2* map",
        "Diffusion map",
        "1 × DICOMDIR",
        "5 × secondary capture",
        "1 × structured report",
        "4 × CT image",
        "Would be used:",
    ):
        assert words in text


def test_a_series_for_each_echo_and_part_is_one_row(tmp_path):
    write_dicom(tmp_path, scan(), style="interoperability")
    row = next(line for line in str(examine(tmp_path)).splitlines() if line.startswith("#1"))
    assert row.split()[1] == "5–12"  # 4 echoes, magnitude and phase


def test_a_list_of_files_is_read_like_their_folder(tmp_path):
    truth = scan()
    paths = write_dicom(tmp_path, truth, style="philips")
    assert_same_scan(read_dicom(paths[::-1]), truth)


def test_a_folder_of_dicom_files_is_read_by_the_front_door(tmp_path):
    truth = scan()
    write_dicom(tmp_path, truth, style="siemens")
    assert_same_scan(read_gradient_echo(tmp_path), truth)
    assert_same_scan(read_gradient_echo(dicom=tmp_path, series=5), truth)


def test_copied_files_are_used_once(tmp_path):
    truth = scan()
    paths = write_dicom(tmp_path / "a", truth, style="siemens")
    (tmp_path / "b").mkdir()
    for path in paths[:30]:
        shutil.copy(path, tmp_path / "b" / path.name)
    found = examine(tmp_path)
    assert_same_scan(found.gradient_echo(), truth)
    assert any("30 images are there more than once" in remark for remark in found.remarks)


# --- one slice wrong


def test_a_missing_slice_is_named(tmp_path):
    paths = write_dicom(tmp_path, scan(), style="siemens")
    paths[2].unlink()
    with pytest.raises(InputError, match=r"1 slice is missing between scan_00002.dcm and scan_00004.dcm") as caught:
        read_dicom(tmp_path)
    assert "Magnitude of echo time 5 ms" in str(caught.value)


def test_a_missing_last_slice_shows_against_the_other_echoes(tmp_path):
    paths = write_dicom(tmp_path, scan(), style="siemens")
    paths[5].unlink()
    with pytest.raises(InputError, match=r"has 5 slices, the .* has 6: missing at .* mm"):
        read_dicom(tmp_path)


def test_every_second_slice_missing_in_all_volumes_is_seen(tmp_path):
    for n, path in enumerate(write_dicom(tmp_path, scan(), style="siemens")):
        if n % 2:
            path.unlink()
    with pytest.raises(InputError, match="lie 4.00 mm apart, but the headers state 2.00 mm"):
        read_dicom(tmp_path)


def test_slices_with_a_gap_are_no_missing_slices(tmp_path):
    truth = scan()
    for path in write_dicom(tmp_path, truth, style="siemens"):  # 1.2 mm slices every 2 mm, as multi-slice scans have
        edit(path, SliceThickness="1.2", SpacingBetweenSlices="2", MRAcquisitionType="2D")
    assert_same_scan(read_dicom(tmp_path), truth)


def test_an_uneven_slice_is_named(tmp_path):
    paths = write_dicom(tmp_path, scan(turned=False), style="siemens")
    x, y, z = pydicom.dcmread(paths[3]).ImagePositionPatient
    edit(paths[3], ImagePositionPatient=[x, y, z + 0.5])
    with pytest.raises(InputError, match=r"not evenly spaced: .* scan_00004.dcm"):
        read_dicom(tmp_path)


def test_a_slice_out_of_line_is_named(tmp_path):
    paths = write_dicom(tmp_path, scan(turned=False), style="siemens")
    x, y, z = pydicom.dcmread(paths[3]).ImagePositionPatient
    edit(paths[3], ImagePositionPatient=[x + 4, y, z])
    with pytest.raises(InputError, match=r"scan_00004.dcm lies 4.00 mm out of line"):
        read_dicom(tmp_path)


def test_a_gantry_tilt_is_refused_with_its_angle(tmp_path):
    for path, header in headers(write_dicom(tmp_path, scan(turned=False), style="siemens")):
        x, y, z = header.ImagePositionPatient
        edit(path, ImagePositionPatient=[x, y + 0.2 * z, z])
    with pytest.raises(InputError, match=r"sheared by 11.31° \(gantry tilt\)"):  # atan 0.2
        read_dicom(tmp_path)


def test_a_slope_that_differs_in_one_slice_is_named(tmp_path):
    paths = write_dicom(tmp_path, scan(), style="philips")
    edit(paths[3], RescaleSlope="2.5")
    with pytest.raises(InputError, match=r"scan_00004.dcm has another rescale slope and intercept \(2.5, 0\)"):
        read_dicom(tmp_path)


def test_pixels_of_another_size_than_the_header_are_refused(tmp_path):
    paths = write_dicom(tmp_path, scan(), style="siemens")
    edit(paths[3], PixelData=bytes(100))
    with pytest.raises(InputError, match=r"scan_00004.dcm cannot be read: it holds 100 bytes"):
        read_dicom(tmp_path)


# --- echoes and parts


def test_echoes_that_share_one_echo_time_ask_for_the_times(tmp_path):
    truth = scan()
    for path in write_dicom(tmp_path, truth, style="siemens"):
        edit(path, EchoTime="5")  # as some GE sequences write it
    with pytest.raises(InputError, match="do not state their own echo times.*--echo-times"):
        read_dicom(tmp_path)
    assert_same_scan(read_dicom(tmp_path, echo_times=list(truth.echo_times_s)), truth)


def test_without_echo_times_and_numbers_the_images_cannot_be_told_apart(tmp_path):
    for path in write_dicom(tmp_path, scan(), style="siemens"):
        edit(path, EchoTime=None, EchoNumbers=None)
    with pytest.raises(InputError, match="4 different images lie at one place"):
        read_dicom(tmp_path)


def test_magnitude_alone_is_named(tmp_path):
    for path, header in headers(write_dicom(tmp_path, scan(), style="siemens")):
        if "P" in header.ImageType:
            path.unlink()
    with pytest.raises(InputError, match="without phase"):
        read_dicom(tmp_path)


def test_two_magnitudes_and_one_phase_are_a_field_map(tmp_path):
    for path, header in headers(write_dicom(tmp_path, scan(echo_times_s=(0.005, 0.0075)), style="siemens")):
        if "P" in header.ImageType and header.EchoNumbers == 1:
            path.unlink()
    found = examine(tmp_path)
    assert [s.kind for s in found] == ["field-map"]
    with pytest.raises(InputError, match="phase difference"):
        read_dicom(tmp_path)


def test_an_echo_without_phase_is_named(tmp_path):
    for path, header in headers(write_dicom(tmp_path, scan(), style="siemens")):
        if "P" in header.ImageType and header.EchoNumbers == 3:
            path.unlink()
    with pytest.raises(InputError, match=r"no phase at 17.5 ms"):
        read_dicom(tmp_path)


def test_phase_of_one_echo_in_another_scale_is_refused(tmp_path):
    for path, header in headers(write_dicom(tmp_path, scan(), style="siemens")):
        if "P" in header.ImageType and header.EchoNumbers == 2:
            edit(path, RescaleSlope=None, RescaleIntercept=None)
    with pytest.raises(InputError, match="2 different spans"):
        read_dicom(tmp_path)


def test_magnitude_labelled_as_phase_is_refused(tmp_path):
    for path, header in headers(write_dicom(tmp_path, scan(), style="siemens-research")):
        kind = "P" if "M" in header.ImageType else "M"
        edit(path, ImageType=["ORIGINAL", "PRIMARY", kind, "ND"])
    with pytest.raises(InputError, match="does not behave like a phase|none of the known spans"):
        read_dicom(tmp_path)


def test_a_series_that_does_not_say_its_part_is_magnitude_and_this_is_said(tmp_path):
    truth = scan()
    for path, header in headers(write_dicom(tmp_path, truth, style="siemens")):
        if "M" in header.ImageType:
            edit(path, ImageType=["ORIGINAL", "PRIMARY", "OTHER"])
    found = examine(tmp_path)
    assert_same_scan(found.gradient_echo(), truth)
    assert any("taken as magnitude" in remark for remark in found.remarks)


# --- field strength, cancel, paths


def test_field_strength_and_frequency_that_contradict_are_refused_until_it_is_given(tmp_path):
    for path in write_dicom(tmp_path, scan(), style="siemens"):
        edit(path, MagneticFieldStrength="7")
    with pytest.raises(InputError, match="state 7 T, but an imaging frequency of 123"):
        read_dicom(tmp_path)
    assert read_dicom(tmp_path, field_strength=2.9).field_strength_t == 2.9


def test_examining_can_be_cancelled_and_tells_its_progress(tmp_path):
    write_dicom(tmp_path, scan(), style="siemens")
    seen = []
    examine(tmp_path, progress=lambda fraction, message: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    token = CancelToken()
    with pytest.raises(Cancelled):
        read_dicom(tmp_path, progress=lambda fraction, message: token.cancel(), cancel=token)


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(InputError, match="No MR images"):
        read_dicom(tmp_path)


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputError, match="no file or folder"):
        examine(tmp_path / "nothing")


# --- real files


def test_the_dual_echo_of_a_real_philips_scanner_is_sorted(reference_data):
    folder = reference_data / "real" / "philips_dual_echo_bottle_dicom"
    read = read_dicom(folder)
    np.testing.assert_allclose(read.echo_times_s, [0.007001, 0.010])
    assert read.magnitude.shape == (2, 30, 96, 96)
    assert read.grid.spacing_mm == pytest.approx((4.0, 2.8125, 2.8125))
    assert read.provenance["phase_scaling"] == "milliradians"
    assert 3.0 < read.field_strength_t < 3.01  # 127.767 MHz
    # The file of one slice by hand: the trap is another echo or part at the same place.
    path = next(p for p, h in headers(folder.glob("*.dcm")) if h.InstanceNumber == 1)
    dataset = pydicom.dcmread(path)
    k = round((float(dataset.ImagePositionPatient[2]) + 58) / 4)
    expected = dataset.pixel_array * float(dataset.RescaleSlope)
    np.testing.assert_allclose(read.magnitude[0, k], expected, rtol=1e-6)


def test_the_field_map_of_a_real_siemens_scanner_is_refused(reference_data):
    folder = reference_data / "real" / "siemens_phase_difference_bottle_dicom"
    found = examine(folder)
    assert [s.kind for s in found] == ["field-map"]
    with pytest.raises(InputError, match="field map: two magnitudes.*phase difference"):
        read_dicom(folder)
