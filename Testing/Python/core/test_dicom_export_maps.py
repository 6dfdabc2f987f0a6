"""Maps as DICOM Parametric Maps: voxels, geometry, codes, references, identity."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from ChiSepExtension.dicom_export.export import export_dicom
from ChiSepExtension.dicom_export.planes import to_frames
from ChiSepExtension.dicom_export.reference import read_headers
from ChiSepExtension.dicom_export.requirement import require_highdicom
from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.lesions.components import find_lesions
from ChiSepExtension.lesions.deidentify import Identity, IdentityFound, search
from ChiSepExtension.lesions.lesion_files import read_labels
from ChiSepExtension.notice import RESEARCH_USE
from Testing.Python.core.dicom_source import JANE, PATIENT, scan_images

highdicom = pytest.importorskip("highdicom", reason="highdicom writes the DICOM objects (extra: dicom)")

SHAPE = (10, 14, 12)
OBLIQUE = Rotation.from_euler("xyz", [10, -15, 20], degrees=True).as_matrix() @ np.diag([-1, 1, 1])
#: Head in sagittal slices, stored from the left: i runs anterior to posterior, j downwards.
SAGITTAL = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], float)


def make_map(shape=SHAPE, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 0.1, shape).astype(np.float32)


def points(array: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """LPS mm and value of every voxel."""
    index = np.argwhere(np.ones(array.shape, bool))
    return grid.index_to_ras(index) * [-1, -1, 1], array[tuple(index.T)]


def frame_points(path) -> tuple[np.ndarray, np.ndarray]:
    """LPS mm and value of every voxel, frame by frame from the attributes of PS3.3 C.7.6.2.1.1, without our code."""
    ds = pydicom.dcmread(path)
    values = np.frombuffer(ds.FloatPixelData, "<f4").reshape(ds.NumberOfFrames, ds.Rows, ds.Columns)
    shared = ds.SharedFunctionalGroupsSequence[0]
    across, down = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    d_row, d_column = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    rows, columns = np.meshgrid(np.arange(ds.Rows), np.arange(ds.Columns), indexing="ij")
    in_plane = columns[..., None] * across * d_column + rows[..., None] * down * d_row
    positions = [g.PlanePositionSequence[0].ImagePositionPatient for g in ds.PerFrameFunctionalGroupsSequence]
    placed = np.array(positions, float)[:, None, None] + in_plane
    return placed.reshape(-1, 3), values.reshape(-1)


def assert_same_voxels(found, expected, tolerance_mm):
    distance, nearest = cKDTree(found[0]).query(expected[0])
    assert len(found[0]) == len(expected[0]) and distance.max() < tolerance_mm
    assert np.array_equal(found[1][nearest], expected[1])


@pytest.mark.parametrize("rotation", [None, OBLIQUE, SAGITTAL], ids=["straight", "oblique", "sagittal"])
def test_a52_map_has_identical_voxels_at_the_same_place(tmp_path, rotation):
    # DICOM writes decimals with 16 characters: 1e-9 of a length of 100 mm is far below the criterion of 1e-4 mm.
    grid = Grid.from_spacing(SHAPE, (1.5, 0.9, 0.8), rotation)
    chi = make_map()
    (path,) = export_dicom(tmp_path, {"chi_para": chi}, grid, case="C001")
    assert_same_voxels(frame_points(path), points(chi, grid), 1e-4)


def test_a52_spacing_is_not_rounded_to_that_of_any_other_image(tmp_path):
    """40 nm more than a round number: highdicom takes spacings within 1e-4 for the same, 12 µm over 300 voxels."""
    grid = Grid.from_spacing((2, 4, 300), (1.00004, 1.00004, 1.00004))
    chi = make_map(grid.shape)
    (path,) = export_dicom(tmp_path, {"chi_para": chi}, grid, case="C001")
    assert_same_voxels(frame_points(path), points(chi, grid), 1e-4)
    (path,) = export_dicom(tmp_path, {}, grid, case="C001", lesions=find_lesions(chi > 0, grid))
    index = read_labels(path).grid.index_to_ras(np.array([0, 0, 299]))
    ends = grid.index_to_ras(np.array([[z, y, x] for z in (0, 1) for y in (0, 3) for x in (0, 299)]))
    assert np.linalg.norm(ends - index, axis=1).min() < 1e-4


def test_a52_map_reads_back_with_highdicom(tmp_path):
    grid, chi = Grid.from_spacing(SHAPE, (1.5, 0.9, 0.8), OBLIQUE), make_map()
    (path,) = export_dicom(tmp_path, {"chi_para": chi}, grid, case="C001")
    volume = highdicom.imread(path).get_volume(apply_real_world_transform=True)
    index = np.argwhere(np.ones(volume.spatial_shape, bool))
    placed = np.c_[index, np.ones(len(index))] @ volume.affine.T
    assert_same_voxels((placed[:, :3], volume.array.reshape(-1).astype(np.float32)), points(chi, grid), 1e-4)


def test_a52_map_reads_back_with_the_reader_of_slicer(tmp_path):
    """dcmqi is what Slicer loads Parametric Maps with; it shares no code with ours or highdicom."""
    if shutil.which("paramap2itkimage") is None:
        pytest.skip("dcmqi (paramap2itkimage) is not installed")
    grid, chi = Grid.from_spacing(SHAPE, (1.5, 0.9, 0.8), OBLIQUE), make_map()
    (path,) = export_dicom(tmp_path, {"chi_para": chi}, grid, case="C001")
    command = ["paramap2itkimage", "--inputDICOM", str(path), "--outputDirectory", str(tmp_path), "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    image = sitk.ReadImage(str(tmp_path / "pmap.nrrd"))
    array = sitk.GetArrayFromImage(image)
    index = np.argwhere(np.ones(array.shape, bool))
    matrix = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    found = index[:, ::-1] @ matrix.T + np.array(image.GetOrigin())
    assert_same_voxels((found, array.reshape(-1)), points(chi, grid), 1e-4)


def test_map_says_quantity_unit_source_and_research(tmp_path):
    grid = Grid.from_spacing(SHAPE)
    maps = {"chi_dia": make_map(), "r2star": 200 * make_map()}
    dia, r2star = map(pydicom.dcmread, export_dicom(tmp_path, maps, grid, case="C001"))
    for ds, quantity, unit in ((dia, "126396", "ppm"), (r2star, "126395", "/s")):
        mapping = ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        first, second = mapping.QuantityDefinitionSequence
        assert (first.ConceptCodeSequence[0].CodeValue, first.ConceptCodeSequence[0].CodingSchemeDesignator) == (
            quantity,
            "DCM",
        )
        assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == unit
        assert second.ConceptCodeSequence[0].CodingSchemeDesignator == "99CHISEP"
        assert (ds.ContentQualification, ds.BitsAllocated, "FloatPixelData" in ds) == ("RESEARCH", 32, True)
    code = dia.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].QuantityDefinitionSequence[1]
    assert code.ConceptCodeSequence[0].CodeValue == "chi_dia"


def test_a67_notice_and_research_stand_in_every_map(tmp_path):
    (path,) = export_dicom(tmp_path, {"chi_para": make_map()}, Grid.from_spacing(SHAPE), case="C001")
    ds = pydicom.dcmread(path)
    assert RESEARCH_USE in ds.ContentDescription and RESEARCH_USE in ds.SeriesDescription
    assert ds.ContentQualification == "RESEARCH"


def assert_no_error(path):
    """By dciodvfy of dicom3tools, where it is installed."""
    if shutil.which("dciodvfy") is not None:
        result = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        assert [line for line in result.stderr.splitlines() if line.startswith("Error")] == []


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy of dicom3tools is not installed")
def test_validator_finds_no_error(tmp_path):
    maps = {"chi_para": make_map(), "chi_total": make_map() - 0.05, "r2prime": 100 * make_map()}
    for path in export_dicom(tmp_path, maps, Grid.from_spacing(SHAPE, rotation=OBLIQUE), case="C001"):
        result = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        assert [line for line in result.stderr.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize(
    "rotation", [OBLIQUE, SAGITTAL, np.diag([1, -1, -1.0])], ids=["oblique", "sagittal", "flipped"]
)
def test_frames_are_upright_for_a_viewer(rotation):
    grid = Grid.from_spacing(SHAPE, (1.5, 0.9, 0.8), rotation)
    frames = to_frames(grid)
    cosines = np.diag([-1, -1, 1]) @ frames.target.ijk_to_ras[:3, :3]
    across, down, along = (cosines / np.linalg.norm(cosines, axis=0)).T
    sagittal = abs(along[0]) > 0.9
    assert across[1 if sagittal else 0] > 0.8 and (-down[2] if sagittal else down[1]) > 0.8
    assert np.allclose(np.cross(across, down), along, atol=1e-9)
    chi = make_map()
    turned = frames.apply(chi)
    assert_same_voxels(points(turned, frames.target), points(chi, grid), 1e-9)


def test_study_and_frames_refer_to_the_scan(tmp_path):
    frames = to_frames(Grid.from_spacing(SHAPE, (1.5, 0.9, 0.8), OBLIQUE)).target
    sources = read_headers(scan_images(tmp_path / "scan", frames))
    stored = Grid.from_spacing(SHAPE, (1.5, 0.9, 0.8), OBLIQUE)  # the maps are stored in another order
    chi = make_map()
    (path,) = export_dicom(tmp_path / "out", {"chi_para": chi}, stored, case="C001", sources=sources)
    ds = pydicom.dcmread(path)
    assert (ds.StudyInstanceUID, ds.FrameOfReferenceUID) == (
        sources[0].StudyInstanceUID,
        sources[0].FrameOfReferenceUID,
    )
    assert_same_voxels(frame_points(path), points(chi, stored), 1e-4)
    positions = {str(s.SOPInstanceUID): np.array(s.ImagePositionPatient, float) for s in sources}
    for group in ds.PerFrameFunctionalGroupsSequence:
        here = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        named = [s.ReferencedSOPInstanceUID for s in group.DerivationImageSequence[0].SourceImageSequence]
        assert len(named) == 4 and all(np.abs(positions[uid] - here).max() < 1e-4 for uid in named)


@pytest.mark.parametrize("style", ["siemens-xa", "philips-enhanced"])
def test_enhanced_images_are_referred_to_as_a_whole(tmp_path, style):
    """Frames of several echoes in one file: the file is named, not its frames."""
    grid = to_frames(Grid.from_spacing(SHAPE)).target
    sources = read_headers(scan_images(tmp_path / "scan", grid, style))
    (path,) = export_dicom(tmp_path / "out", {"chi_para": make_map()}, grid, case="C001", sources=sources)
    ds = pydicom.dcmread(path)
    (derivation,) = ds.SharedFunctionalGroupsSequence[0].DerivationImageSequence
    named = {item.ReferencedSOPInstanceUID for item in derivation.SourceImageSequence}
    listed = {i.ReferencedSOPInstanceUID for s in ds.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence}
    assert named == listed == {source.SOPInstanceUID for source in sources}
    assert_no_error(path)


def test_a60_patient_of_the_scan_is_in_no_byte_unless_asked(tmp_path):
    grid = to_frames(Grid.from_spacing(SHAPE)).target
    sources = read_headers(scan_images(tmp_path / "scan", grid))
    assert search([tmp_path / "scan"], JANE)  # the search does find it where it is
    export_dicom(tmp_path / "out", {"chi_para": make_map()}, grid, case="C001", sources=sources)
    assert search([tmp_path / "out"], JANE) == []
    ds = pydicom.dcmread(tmp_path / "out/chi_para.dcm")
    assert (ds.PatientID, ds.PatientIdentityRemoved, ds.StudyDate) == ("C001", "YES", "")
    export_dicom(tmp_path / "named", {"chi_para": make_map()}, grid, case="C001", sources=sources, identify=True)
    ds = pydicom.dcmread(tmp_path / "named/chi_para.dcm")
    assert (str(ds.PatientName), ds.PatientID, ds.PatientBirthDate, ds.PatientSex) == PATIENT
    assert "PatientIdentityRemoved" not in ds


def test_a60_a_hit_leaves_no_file(tmp_path):
    grid = Grid.from_spacing(SHAPE)
    with pytest.raises(IdentityFound):
        export_dicom(tmp_path, {"chi_para": make_map()}, grid, case="C001", identity=Identity(names=["CHI_PARA"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keyword", ["ImageComments", "DataSetTrailingPadding"])
def test_a60_identity_before_and_behind_the_voxels_is_found(tmp_path, keyword):
    (path,) = export_dicom(tmp_path, {"chi_para": make_map()}, Grid.from_spacing(SHAPE), case="C001")
    ds = pydicom.dcmread(path)
    assert search([path], JANE) == []
    setattr(ds, keyword, "seen by Doe, Jane " if keyword == "ImageComments" else b"PAT0815 ")
    ds.save_as(path)
    assert len(search([path], JANE)) == 1


def test_case_code_that_is_the_patient_id_is_refused(tmp_path):
    grid = to_frames(Grid.from_spacing(SHAPE)).target
    sources = read_headers(scan_images(tmp_path / "scan", grid))
    with pytest.raises(InputError, match="case code"):
        export_dicom(tmp_path / "out", {"chi_para": make_map()}, grid, case="PAT0815", sources=sources)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("chi_para", lambda m: 1000 * m, "ppb"),
        ("chi_para", lambda m: m * np.nan, "finite"),
        ("t1", lambda m: m, "code"),
    ],
)
def test_maps_that_are_no_ppm_are_refused(tmp_path, name, change, reason):
    with pytest.raises(InputError, match=reason):
        export_dicom(tmp_path, {name: change(make_map())}, Grid.from_spacing(SHAPE), case="C001")
    assert list(tmp_path.iterdir()) == []


def test_images_of_two_studies_are_refused(tmp_path):
    grid = to_frames(Grid.from_spacing(SHAPE)).target
    scan_images(tmp_path / "a", grid)
    scan_images(tmp_path / "b", grid, name="another")
    with pytest.raises(InputError, match="several studies"):
        export_dicom(
            tmp_path / "out",
            {"chi_para": make_map()},
            grid,
            case="C1",
            sources=read_headers([tmp_path / "a", tmp_path / "b"]),
        )


def test_files_are_not_overwritten_unasked(tmp_path):
    grid = Grid.from_spacing(SHAPE)
    export_dicom(tmp_path, {"chi_para": make_map()}, grid, case="C001")
    with pytest.raises(InputError, match="exists"):
        export_dicom(tmp_path, {"chi_para": make_map()}, grid, case="C001")
    export_dicom(tmp_path, {"chi_para": make_map()}, grid, case="C001", overwrite=True)


def test_without_highdicom_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match="pip install 'highdicom"):
        require_highdicom()


def test_highdicom_that_is_too_old_is_refused(monkeypatch):
    monkeypatch.setattr(highdicom, "__version__", "0.27.1")
    with pytest.raises(InputError, match="too old"):
        require_highdicom()
