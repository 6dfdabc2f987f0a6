"""Lesion outlines, values and ratings as DICOM: identifiers, voxels, codes, and back."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from ChiSepExtension.dicom_export.codes import Concept
from ChiSepExtension.dicom_export.export import export_dicom
from ChiSepExtension.dicom_export.measure_rows import read_measures
from ChiSepExtension.dicom_export.measurement_groups import rating_concepts
from ChiSepExtension.dicom_export.reference import read_headers
from ChiSepExtension.errors import InputError
from ChiSepExtension.lesions.codebook import load_codebook
from ChiSepExtension.lesions.components import find_lesions
from ChiSepExtension.lesions.deidentify import search
from ChiSepExtension.lesions.lesion_files import read_lesions, write_lesions, write_segmentation
from ChiSepExtension.lesions.lineage import OutlineHistory
from ChiSepExtension.lesions.measure_tables import write_measures
from ChiSepExtension.lesions.measures import measure_lesions
from ChiSepExtension.lesions.rating_tables import RatingTable, write_ratings
from ChiSepExtension.lesions.ratings import RatingFile
from ChiSepExtension.notice import RESEARCH_USE
from Testing.Python.core.dicom_source import JANE, scan_images
from Testing.Python.core.lesion_phantom import Sphere, phantom, stored_as

highdicom = pytest.importorskip("highdicom", reason="highdicom writes the DICOM objects (extra: dicom)")

SHAPE = (40, 48, 44)
SPHERES = [Sphere((20, 24, 12), 9, "rim"), Sphere((20, 24, 26), 7, "hyper"), Sphere((14, 14, 20), 1, "hypo")]
CODES = {"para": "rim", "para_core": "hyper", "dia": "hypo", "dia_pattern": "whole"}


@pytest.fixture(scope="module")
def head():
    return phantom(SHAPE, SPHERES)


@pytest.fixture(scope="module")
def lesions(head):
    return find_lesions(head.lesion_mask, head.grid, case="C001")


@pytest.fixture(scope="module")
def measures(head, lesions):
    return measure_lesions(lesions, head.maps, head.mask, white_matter=head.white_matter)


@pytest.fixture
def ratings(tmp_path, lesions):
    file = RatingFile.create(tmp_path / "AB.json", load_codebook(), lesions, rater="AB", case="C001", seed=None)
    first, second, _ = lesions.lesions
    file.commit(first.uid, outline=first.outline, codes=CODES, comment="seen with Dr DOE")
    file.commit(second.uid, outline=second.outline, excluded="vein of Jane")
    return RatingTable.of([file])


@pytest.fixture
def exported(tmp_path, head, lesions, measures, ratings):
    maps = {name: head.maps[name] for name in ("chi_para", "chi_dia", "r2star")}
    options = {"case": "C001", "lesions": lesions, "measures": measures, "ratings": [ratings]}
    files = export_dicom(tmp_path / "out", maps, head.grid, **options)
    return {path.name: path for path in files}


def groups_of(path):
    """Measurement groups of the object, by TrackingUID, through highdicom's reader."""
    document = highdicom.sr.srread(path)
    groups = document.content.get_volumetric_roi_measurement_groups()
    return document, {group.tracking_uid: group for group in groups}


def test_a52_one_segment_per_lesion_with_its_tracking_uid(exported, lesions):
    ds = pydicom.dcmread(exported["lesions_seg.dcm"])
    assert [(s.TrackingUID, s.TrackingID, s.SegmentAlgorithmType) for s in ds.SegmentSequence] == [
        (lesion.uid, lesion.name, "SEMIAUTOMATIC") for lesion in lesions.lesions
    ]


def test_a52_voxels_of_every_segment_are_those_of_the_lesion(exported, lesions):
    """Bits and positions straight from the attributes, without our reader."""
    ds = pydicom.dcmread(exported["lesions_seg.dcm"])
    bits = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")
    frames = bits[: ds.NumberOfFrames * ds.Rows * ds.Columns].reshape(-1, ds.Rows, ds.Columns)
    shared = ds.SharedFunctionalGroupsSequence[0]
    across, down = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    d_row, d_column = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    found = {n: [] for n in range(1, len(lesions) + 1)}
    for frame, group in zip(frames, ds.PerFrameFunctionalGroupsSequence):
        row, column = np.nonzero(frame)
        origin = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        points = origin + np.outer(column, across * d_column) + np.outer(row, down * d_row)
        found[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber].append(points)
    for number, lesion in enumerate(lesions.lesions, start=1):
        index = lesions.grid.ras_to_index(np.concatenate(found[number]) * [-1, -1, 1])
        assert np.abs(index - np.rint(index)).max() < 1e-4
        voxels = {tuple(v) for v in np.rint(index).astype(int)}
        assert voxels == {tuple(v) for v in np.argwhere(lesions.mask(lesion.uid))}


def test_a52_simpleitk_counts_the_same_voxels(exported, lesions):
    """SimpleITK knows no positions of segments, but unpacks the frames by code of its own."""
    image = sitk.ReadImage(str(exported["lesions_seg.dcm"]))
    assert int((sitk.GetArrayViewFromImage(image) > 0).sum()) == sum(x.n_voxels for x in lesions.lesions)


@pytest.mark.parametrize("form", ["seg.nrrd", "nii.gz", "dcm"])
def test_a33_identifiers_and_voxels_survive_every_file(tmp_path, head, lesions, form):
    history = OutlineHistory(lesions, case="C001")
    history.split(lesions.uids[0], (np.arange(SHAPE[2]) > 12) + np.ones(SHAPE))
    history.merge(history.current.uids[-2:])
    history.split(history.current.uids[-1], (np.arange(SHAPE[1])[:, None] > 24) + np.ones(SHAPE))
    edited = history.current
    if form == "dcm":
        *_, path = export_dicom(tmp_path, {}, head.grid, case="C001", lesions=edited)
    elif form == "nii.gz":
        path = write_lesions(tmp_path / "l_dseg.nii.gz", edited)[0]
    else:
        path = write_segmentation(tmp_path / "l.seg.nrrd", edited)
    again = read_lesions(path, grid=head.grid)
    assert {(x.uid, x.label, x.parents) for x in again.lesions} == {(x.uid, x.label, x.parents) for x in edited.lesions}
    assert np.array_equal(again.labels, edited.labels)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a33_outlines_come_back_onto_maps_stored_in_any_order(tmp_path, head, order):
    mask, grid = stored_as(head.lesion_mask, head.grid, order, (0, 2))
    lesions = find_lesions(mask, grid, case="C001")
    (path,) = export_dicom(tmp_path, {}, grid, case="C001", lesions=lesions)
    again = read_lesions(path, grid=grid)
    assert again.uids == lesions.uids and np.array_equal(again.labels, lesions.labels)
    here = read_lesions(path, grid=head.grid)
    assert np.array_equal(here.labels > 0, head.lesion_mask)


def test_a_segmentation_of_other_maps_is_refused(tmp_path, head, lesions):
    (path,) = export_dicom(tmp_path, {}, head.grid, case="C001", lesions=lesions)
    shifted = head.grid.ijk_to_ras.copy()
    shifted[0, 3] += 0.4
    with pytest.raises(InputError):
        read_lesions(path, grid=replace(head.grid, ijk_to_ras=shifted))


def test_a_map_is_no_segmentation(exported):
    with pytest.raises(InputError, match="no segmentation"):
        read_lesions(exported["chi_para.dcm"])


def test_label_map_segmentation_of_another_program_is_read(tmp_path, head, lesions):
    """Made by highdicom from an image series: label map encoding, no names like ours, no tracking."""
    from ChiSepExtension.dicom_export.planes import to_frames

    frames = to_frames(head.grid)
    scan = read_headers(scan_images(tmp_path / "scan", frames.target))
    sources = [image for image in scan if "M" in image.ImageType and image.EchoNumbers == 1]
    for image in sources:
        image.AccessionNumber = image.StudyID = ""
    codes = highdicom.sr.CodedConcept("52988006", "SCT", "Lesion")
    segmentation = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=frames.apply(lesions.labels).astype(np.uint8),
        segmentation_type="LABELMAP",
        segment_descriptions=[highdicom.seg.SegmentDescription(n, f"s{n}", codes, codes, "MANUAL") for n in (1, 2, 3)],
        series_instance_uid="2.25.1",
        series_number=1,
        sop_instance_uid="2.25.2",
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
    )
    segmentation.save_as(tmp_path / "other.dcm")
    again = read_lesions(tmp_path / "other.dcm", grid=head.grid, case="C001")
    assert np.array_equal(again.labels, lesions.labels) and again.uids == lesions.uids


def test_a53_values_are_those_of_the_measures_in_ppm(exported, measures):
    _, groups = groups_of(exported["lesions_rater-AB_sr.dcm"])
    assert list(groups) == [row.uid for row in measures]
    for row in measures:
        values = {}
        for item in groups[row.uid].get_measurements():
            if item.name.value == "126396":
                assert (item.unit.value, item.unit.scheme_designator) == ("ppm", "UCUM")
                values[item.method.value, item.derivation.value] = item.value
        for name in ("chi_para", "chi_dia"):
            # A DICOM decimal has 16 characters, which is 1e-12 of a ppm.
            assert values[name, "373099004"] == pytest.approx(row.maps[name].median, abs=1e-12)
            assert values[name, "contrast"] == pytest.approx(row.maps[name].contrast, abs=1e-12)
    (volume,) = (m for m in groups[measures[0].uid].get_measurements() if m.name.value == "118565006")
    assert (volume.value, volume.unit.value) == (pytest.approx(measures[0].volume_mm3), "mm3")


def test_a53_complete_unverified_and_rated_by_code(exported, lesions):
    document, groups = groups_of(exported["lesions_rater-AB_sr.dcm"])
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    first, second, third = (groups[uid].get_qualitative_evaluations() for uid in lesions.uids)
    found = {e.name.value: (e.value.value, e.value.scheme_designator) for e in first}
    assert found == {field: (f"{field}.{code}", "99CHISEP") for field, code in CODES.items()}
    assert [e.value.value for e in second] == ["excluded"] and third == []
    assert document.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99CHISEP"


def test_hidden_second_showing_is_left_out(tmp_path, head, lesions, measures, ratings):
    first = ratings.rows[0]
    again = replace(first, rating=replace(first.rating, repeat=True, codes={"para": "iso", "dia": "iso"}))
    maps = {"chi_para": head.maps["chi_para"]}
    options = {"lesions": lesions, "measures": measures, "ratings": [replace(ratings, rows=(*ratings.rows, again))]}
    *_, path = export_dicom(tmp_path / "out", maps, head.grid, case="C001", **options)
    found = groups_of(path)[1][first.rating.uid].get_qualitative_evaluations()
    assert {e.name.value: e.value.value for e in found}["para"] == "para.rim"


def test_a53_values_refer_to_their_segment_and_map(exported, lesions):
    _, groups = groups_of(exported["lesions_rater-AB_sr.dcm"])
    seg, para = (pydicom.dcmread(exported[name]) for name in ("lesions_seg.dcm", "chi_para.dcm"))
    for number, uid in enumerate(lesions.uids, start=1):
        segment = groups[uid].referenced_segment
        assert segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert segment.referenced_segment_numbers == [number]
    methods = {m.method.value: m for m in groups[lesions.uids[0]].get_measurements() if m.method is not None}
    (image,) = methods["chi_para"].referenced_images
    assert image.referenced_sop_instance_uid == para.SOPInstanceUID


def test_a60_no_free_text_and_no_identity_in_any_file(tmp_path, head, lesions, measures, ratings):
    """The scan's patient is in its headers and in the comments; neither reaches the files."""
    from ChiSepExtension.dicom_export.planes import to_frames

    sources = read_headers(scan_images(tmp_path / "scan", to_frames(head.grid).target))
    folder = tmp_path / "out"
    options = {"lesions": lesions, "measures": measures, "ratings": [ratings], "sources": sources}
    export_dicom(folder, {"chi_para": head.maps["chi_para"]}, head.grid, case="C001", **options)
    assert len(list(folder.iterdir())) == 3 and search([folder], JANE) == []
    assert b"seen with" not in (folder / "lesions_rater-AB_sr.dcm").read_bytes()


def test_a67_notice_stands_in_outlines_and_values(exported):
    seg, sr = (pydicom.dcmread(exported[name]) for name in ("lesions_seg.dcm", "lesions_rater-AB_sr.dcm"))
    assert RESEARCH_USE in seg.ContentDescription and RESEARCH_USE in sr.SeriesDescription
    assert RESEARCH_USE in [item.TextValue for item in sr.ContentSequence if item.ValueType == "TEXT"]


def test_validator_finds_no_error(exported):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy of dicom3tools is not installed")
    for name in ("lesions_seg.dcm", "lesions_rater-AB_sr.dcm"):
        result = subprocess.run(["dciodvfy", "-new", str(exported[name])], capture_output=True, text=True, check=False)
        assert [line for line in result.stderr.splitlines() if line.startswith("Error")] == []


def test_dcmqi_reads_outlines_and_values(exported, lesions, tmp_path):
    """dcmqi is what Slicer's extensions read these objects with; it shares no code with ours or highdicom."""
    if shutil.which("segimage2itkimage") is None:
        pytest.skip("dcmqi (segimage2itkimage, tid1500reader) is not installed")
    command = ["segimage2itkimage", "--inputDICOM", str(exported["lesions_seg.dcm"]), "-t", "nrrd"]
    subprocess.run([*command, "--outputDirectory", str(tmp_path)], check=True, capture_output=True)
    for number, lesion in enumerate(lesions.lesions, start=1):
        image = sitk.ReadImage(str(tmp_path / f"{number}.nrrd"))
        index = np.argwhere(sitk.GetArrayViewFromImage(image) > 0)
        points = [image.TransformIndexToPhysicalPoint([int(v) for v in i[::-1]]) for i in index]
        placed = lesions.grid.ras_to_index(np.array(points) * [-1, -1, 1])
        assert np.abs(placed - np.rint(placed)).max() < 1e-4
        expected = {tuple(v) for v in np.argwhere(lesions.mask(lesion.uid))}
        assert {tuple(v) for v in np.rint(placed).astype(int)} == expected
    command = ["tid1500reader", "--inputDICOM", str(exported["lesions_rater-AB_sr.dcm"])]
    subprocess.run([*command, "--outputMetadata", str(tmp_path / "sr.json")], check=True, capture_output=True)
    read = json.loads((tmp_path / "sr.json").read_text(encoding="utf-8"))
    assert [m["TrackingUniqueIdentifier"] for m in read["Measurements"]] == list(lesions.uids)


def test_table_reads_back_as_the_measures_it_was_written_from(tmp_path, measures):
    path, _ = write_measures(tmp_path / "m.tsv", measures, {})
    for again, row in zip(read_measures(path), measures):
        for name, statistics in row.maps.items():
            # The table keeps eight digits.
            expected = pytest.approx(vars(statistics), rel=1e-7, nan_ok=True)
            assert vars(again.maps[name]) == expected
        assert replace(
            again, maps={}, volume_mm3=0, max_diameter_mm=0, coverage=0, vein_frac=0, trust_frac=0
        ) == replace(row, maps={}, volume_mm3=0, max_diameter_mm=0, coverage=0, vein_frac=0, trust_frac=0)


def test_code_beyond_sixteen_characters_goes_into_the_long_value(exported, lesions):
    question, answer = rating_concepts(load_codebook(), "dia_pattern", "whole")
    assert (
        answer == Concept("dia_pattern.whole", "99CHISEP", "whole lesion", "1.0")
        and question.meaning == "Where reduced"
    )
    ds = pydicom.dcmread(exported["lesions_rater-AB_sr.dcm"])
    long = [e.value for e in ds.iterall() if e.keyword == "LongCodeValue"]
    assert long == ["dia_pattern.whole"]


def test_stale_ratings_and_other_lesions_are_refused(tmp_path, head, lesions, measures, ratings):
    maps = {"chi_para": head.maps["chi_para"]}
    stale = replace(ratings, rows=tuple(replace(row, stale=True) for row in ratings.rows))
    with pytest.raises(InputError, match="older than the outline"):
        export_dicom(tmp_path / "a", maps, head.grid, case="C001", lesions=lesions, measures=measures, ratings=[stale])
    with pytest.raises(InputError, match="other lesions"):
        export_dicom(tmp_path / "b", maps, head.grid, case="C001", lesions=lesions, measures=measures[:2])
    assert not list((tmp_path / "a").glob("*")) and not list((tmp_path / "b").glob("*"))


def test_a53_two_hundred_lesions(tmp_path):
    """200 lesions, 200 segments, 200 measurement groups, each with a susceptibility in ppm."""
    shape = (24, 48, 48)
    mask = np.zeros(shape, bool)
    for z, y, x in [(z, y, x) for z in range(2, 24, 5) for y in range(2, 48, 5) for x in range(2, 48, 8)][:200]:
        mask[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = True
    head = phantom(shape, [])
    lesions = find_lesions(mask, head.grid, case="C001")
    maps = {"chi_para": head.maps["chi_para"]}
    measures = measure_lesions(lesions, maps, np.ones(shape, bool))
    _, seg, sr = export_dicom(tmp_path, maps, head.grid, case="C001", lesions=lesions, measures=measures)
    assert len(lesions) == 200 and [s.TrackingUID for s in pydicom.dcmread(seg).SegmentSequence] == list(lesions.uids)
    document = pydicom.dcmread(sr)
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    (values,) = [i for i in document.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    assert len(values.ContentSequence) == 200
    for group in values.ContentSequence:
        numbers = [i for i in group.ContentSequence if i.ConceptNameCodeSequence[0].get("CodeValue") == "126396"]
        units = {i.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue for i in numbers}
        assert numbers and units == {"ppm"}


def test_command_line_from_files_to_files(tmp_path, head, lesions, measures, ratings):
    from ChiSepExtension.cli import main
    from ChiSepExtension.volume_io import write_volume

    maps = tmp_path / "maps"
    write_volume(maps / "desc-paramagnetic_Chimap.nii.gz", head.maps["chi_para"], head.grid)
    write_volume(maps / "desc-brain_mask.nii.gz", head.mask, head.grid)
    provenance = {
        "software": {"ChiSepExtension": "9.9"},
        "options": {"method": "sepnet-r2star", "weights": "jane/weights"},
        "findings": {"separation": {"weights": {"name": "w", "separation": {"sha256": "ab12"}}}},
    }
    (maps / "provenance.json").write_text(json.dumps(provenance))
    outlines = write_lesions(tmp_path / "l_dseg.nii.gz", lesions)[0]
    table = write_measures(tmp_path / "m.tsv", measures, {})[0]
    rated = write_ratings(tmp_path / "r.tsv", ratings)[0]
    command = ["dicom-export", str(maps), "-o", str(tmp_path / "out"), "--case", "C001", "--lesions", str(outlines)]
    assert main([*command, "--table", str(table), "--ratings", str(rated)]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"chi_para.dcm", "lesions_seg.dcm", "lesions_rater-AB_sr.dcm"}
    comment = pydicom.dcmread(tmp_path / "out/chi_para.dcm").ImageComments
    assert all(word in comment for word in ("9.9", "sepnet-r2star", "ab12")) and "jane" not in comment
    assert main(command) == 2


def test_outlines_of_a_dicom_file_are_measured(tmp_path, head, exported, lesions):
    from ChiSepExtension.lesions.commands import measure_command
    from ChiSepExtension.lesions.tables import read_table
    from ChiSepExtension.volume_io import write_volume

    write_volume(tmp_path / "desc-paramagnetic_Chimap.nii.gz", head.maps["chi_para"], head.grid)
    maps = [tmp_path / "desc-paramagnetic_Chimap.nii.gz"]
    measure_command(maps, exported["lesions_seg.dcm"], tmp_path / "t.tsv", vessels=None)
    assert [row["lesion_uid"] for row in read_table(tmp_path / "t.tsv")[0]] == list(lesions.uids)
