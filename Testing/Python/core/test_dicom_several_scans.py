"""Several scans in one folder: what belongs together is found by time, repetition, processing and coil."""

from __future__ import annotations

import pydicom
import pytest

from ChiSepExtension.acquisition.dicom import examine, read_dicom
from ChiSepExtension.errors import InputError
from ChiSepExtension.phantom.dicom_files import write_dicom
from Testing.Python.core.dicom_scan import assert_same_scan, difference, edit, headers, scan


def test_magnitude_and_phase_are_paired_by_their_time_of_acquisition(tmp_path):
    first, second = scan(seed=1), scan(seed=2)
    write_dicom(tmp_path, first, style="siemens", name="a", acquired="101500.5", first_series=5)
    write_dicom(tmp_path, second, style="siemens", name="b", acquired="102300.5", first_series=7)
    for path in tmp_path.iterdir():  # one study, one frame of reference: only time and series differ
        edit(path, StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4")
    found = examine(tmp_path)
    assert [s.series_numbers for s in found.usable] == [[5, 6], [7, 8]]
    with pytest.raises(InputError, match=r"(?s)2 gradient-echo scans that could be used.*--series"):
        found.gradient_echo()
    assert_same_scan(found.gradient_echo(series=8), second)
    assert_same_scan(found.gradient_echo(series="#1"), first)


def test_magnitude_of_one_run_and_phase_of_another_are_not_paired(tmp_path):
    write_dicom(tmp_path, scan(seed=1), style="siemens", name="a", acquired="101500.5", first_series=5)
    write_dicom(tmp_path, scan(seed=2), style="siemens", name="b", acquired="102300.5", first_series=7)
    for path, header in headers(sorted(tmp_path.iterdir())):
        edit(path, StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4")
        if header.SeriesNumber in (6, 7):
            path.unlink()
    found = examine(tmp_path)
    assert not found.usable
    assert any("different times" in remark and "--series 5,8" in remark for remark in found.remarks)
    assert_same_phase(found.gradient_echo(series="5,8"), scan(seed=2))  # the user says that they are one


def assert_same_phase(read, truth):
    assert difference(read, truth)[1] < 1.6e-3


def test_a_dynamic_series_is_one_entry(tmp_path):
    for n in range(6):
        write_dicom(
            tmp_path, scan(echo_times_s=(0.03, 0.05), seed=n), style="siemens", name=f"d{n}", acquisition_number=n + 1
        )
    for path, header in headers(sorted(tmp_path.iterdir())):
        if "P" in header.ImageType or header.EchoTime != 30:
            path.unlink()
        else:
            edit(path, StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4", SeriesInstanceUID="1.2.5")
    found = examine(tmp_path)
    assert [s.title for s in found] == ["Single-echo GRE"]
    assert "first of 6 repetitions" in found.scans[0].remarks[0]


def test_repetitions_within_one_series_are_scans_of_their_own(tmp_path):
    truths = [scan(seed=n) for n in (1, 2)]
    for n, truth in enumerate(truths):
        write_dicom(tmp_path, truth, style="philips", name=f"r{n}", acquisition_number=n + 1)
    for path in tmp_path.iterdir():
        edit(path, StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4", SeriesInstanceUID="1.2.5")
    found = examine(tmp_path)
    assert len(found.usable) == 2
    assert_same_scan(found.gradient_echo(series="#1"), truths[0])
    assert_same_scan(found.gradient_echo(series="#2"), truths[1])


def test_the_version_without_distortion_correction_is_used(tmp_path):
    truth = scan()
    write_dicom(tmp_path, truth, style="siemens", name="nd", first_series=5)
    write_dicom(tmp_path, scan(seed=3), style="siemens", name="dis", first_series=9)
    for path, header in headers(sorted(tmp_path.iterdir())):
        edit(path, StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4")
        if header.SeriesNumber >= 9:
            edit(path, ImageType=[*header.ImageType[:3], "DIS2D"])
    found = examine(tmp_path)
    (used,) = found.usable
    assert used.series_numbers == [5, 6]
    assert any("DIS2D, series 9" in remark for remark in used.remarks)
    assert_same_scan(used.read(), truth)


def test_corrected_phase_is_used_where_the_magnitude_is_corrected_only(tmp_path):
    truth = scan()
    write_dicom(tmp_path, scan(seed=3), style="siemens", name="nd", first_series=5)
    write_dicom(tmp_path, truth, style="siemens", name="dis", first_series=9)
    for path, header in headers(sorted(tmp_path.iterdir())):
        edit(path, StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4")
        if header.SeriesNumber >= 9:
            edit(path, ImageType=[*header.ImageType[:3], "DIS2D"])
        elif header.SeriesNumber == 5:  # magnitude without correction was not exported
            path.unlink()
    (used,) = examine(tmp_path).usable
    assert used.series_numbers == [9, 10]
    assert any("interpolates phase" in remark for remark in used.remarks)
    assert_same_scan(used.read(), truth)


def test_magnitude_and_phase_that_differ_in_distortion_correction_are_refused(tmp_path):
    for path, header in headers(write_dicom(tmp_path, scan(), style="siemens")):
        if "P" in header.ImageType:
            edit(path, ImageType=["ORIGINAL", "PRIMARY", "P", "DIS2D"])
    with pytest.raises(InputError, match="differ in distortion correction"):
        read_dicom(tmp_path)


def test_uncombined_coil_images_are_recognised(tmp_path):
    for n in range(3):
        write_dicom(tmp_path, scan(seed=n), style="siemens", name=f"c{n}", first_series=5)
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.private_block(0x0051, "SIEMENS MR HEADER", create=True).add_new(0x0F, "LO", f"H{path.name[1]}")
        dataset.save_as(path)
        number = pydicom.dcmread(path).SeriesNumber
        edit(path, StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4", SeriesInstanceUID=f"1.2.5.{number}")
    with pytest.raises(InputError, match="3 receive coils are stored one by one"):
        read_dicom(tmp_path)


# --- without acquisition times, as anonymised files are


def without_times(folder, *lost):
    """One study in one space whose headers state no time; the series with these numbers are lost."""
    for path, header in headers(sorted(folder.iterdir())):
        if header.SeriesNumber in lost:
            path.unlink()
        else:
            times = dict.fromkeys(("AcquisitionTime", "AcquisitionDateTime", "ContentTime", "SeriesTime"))
            edit(path, StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4", **times)


def two_scans(folder, style):
    truths = scan(seed=1), scan(seed=2)
    write_dicom(folder, truths[0], style=style, name="a", first_series=5)
    write_dicom(folder, truths[1], style=style, name="b", first_series=25)
    return truths


@pytest.mark.parametrize("style", ["siemens", "interoperability"])
def test_without_times_one_scan_is_read_and_this_is_said(tmp_path, style):
    truth = scan()
    write_dicom(tmp_path, truth, style=style)
    without_times(tmp_path)
    read = read_dicom(tmp_path)
    assert_same_scan(read, truth)
    assert any("Acquisition times are missing: series 5, 6" in remark for remark in read.provenance["remarks"])


@pytest.mark.parametrize("style", ["siemens", "interoperability"])
def test_without_times_two_complete_scans_are_told_apart_by_their_numbers(tmp_path, style):
    truths = two_scans(tmp_path, style)
    without_times(tmp_path)
    found = examine(tmp_path)
    assert len(found.usable) == 2
    assert_same_scan(found.gradient_echo(series=5), truths[0])
    assert_same_scan(found.gradient_echo(series=26), truths[1])


def test_without_times_phase_of_a_later_scan_does_not_replace_a_lost_one(tmp_path):
    _, second = two_scans(tmp_path, "siemens")
    without_times(tmp_path, 6)  # magnitude 5 alone, then magnitude 25 and phase 26
    found = examine(tmp_path)
    assert not found.usable
    with pytest.raises(InputError, match=r"times are missing.* 5, 25, 26 .*--series 25,26"):
        found.gradient_echo()
    assert_same_scan(found.gradient_echo(series="25,26"), second)


@pytest.mark.parametrize("lost", [(5,), (5, 6), (10,), (11, 12), (12,), (25,), (30,), (31, 32)])
def test_without_times_an_echo_of_another_scan_does_not_replace_a_lost_one(tmp_path, lost):
    truths = two_scans(tmp_path, "interoperability")  # series 5–12 and 25–32, one for each echo and part
    without_times(tmp_path, *lost)
    found = examine(tmp_path)
    assert not found.usable
    with pytest.raises(InputError, match="Choose the series that were acquired together"):
        found.gradient_echo()
    whole = 25 if lost[0] < 20 else 5
    assert_same_scan(found.gradient_echo(series=",".join(map(str, range(whole, whole + 8)))), truths[whole == 25])


def test_without_times_series_that_interleave_are_asked_for(tmp_path):
    truths = two_scans(tmp_path, "siemens")
    for path, header in headers(sorted(tmp_path.iterdir())):
        edit(path, SeriesNumber={5: 5, 25: 6, 6: 7, 26: 8}[header.SeriesNumber])
    without_times(tmp_path)
    found = examine(tmp_path)
    assert not found.usable
    with pytest.raises(InputError, match="Choose the series that were acquired together"):
        found.gradient_echo()
    assert_same_scan(found.gradient_echo(series="5,7"), truths[0])
    assert_same_scan(found.gradient_echo(series="6,8"), truths[1])


def test_without_times_scans_of_another_repetition_time_stay_apart(tmp_path):
    truth = scan()
    write_dicom(tmp_path, truth, style="siemens", name="a", first_series=5)
    write_dicom(tmp_path, scan(echo_times_s=(0.03, 0.04)), style="siemens", name="b", first_series=7)
    for path, header in headers(sorted(tmp_path.iterdir())):
        if header.SeriesNumber >= 7:
            edit(path, RepetitionTime="99")
    without_times(tmp_path)
    assert_same_scan(examine(tmp_path).gradient_echo(series=5), truth)
