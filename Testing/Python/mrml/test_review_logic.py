"""The review as a script: case, outlines, numbers, ratings, agreement, lock, export; and no patient in any of it."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import slicer

from ChiSepExtension.errors import InputError
from ChiSepExtension.lesions.deidentify import Identity, IdentityFound, search
from ChiSepExtension.mrml.review_logic import ReviewLogic
from ChiSepExtension.volume_io import write_volume
from Testing.Python.mrml.lesion_case import SPHERES, add_maps, add_volume, small_head

NAME, PATIENT_ID, BIRTH = "Sonnenschein^Klärchen", "PAT-77731", "19811103"


class Logic(ReviewLogic):
    """The mixin without the rest of the module."""

    def getParameterNode(self):
        raise AssertionError("the review was told its maps; it needs no parameter node")


@pytest.fixture
def logic():
    found = Logic()
    yield found
    found.endReview()


@pytest.fixture
def started(logic, tmp_path):
    head = small_head()
    mask = add_volume("brain", head.mask, head.grid, "vtkMRMLLabelMapVolumeNode")
    logic.startReview(add_maps(head), mask=mask, case="C007")
    outlines = add_volume("outlines", head.lesion_mask, head.grid, "vtkMRMLLabelMapVolumeNode")
    logic.importLesions(outlines)
    logic.startReading(tmp_path, "AB", blind=False)
    return logic


def rate_everything(logic, **codes) -> None:
    for uid in logic.review.lesions.uids:
        logic.rate(uid, **{"para": "hypo", "dia": "iso", **codes})


def add_patient(node) -> None:
    """A patient with study and series in the subject hierarchy, as the DICOM module makes them."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), NAME)
    hierarchy.SetItemAttribute(patient, "DICOM.PatientName", NAME)
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", PATIENT_ID)
    hierarchy.SetItemAttribute(patient, "DICOM.PatientBirthDate", BIRTH)
    study = hierarchy.CreateStudyItem(patient, f"{NAME} 20240501")
    hierarchy.SetItemAttribute(study, "DICOM.StudyDate", "20240501")
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(study, node)
    hierarchy.SetItemParent(item, study)
    hierarchy.SetItemUID(item, "DICOM", "1.2.826.0.1.3680043.77731")
    node.SetName(f"{NAME} T1")
    node.SetAttribute("DICOM.instanceUIDs", f"1.2.3 {PATIENT_ID}")
    node.SetDescription(f"loaded for {PATIENT_ID}")


def test_the_whole_way_in_eight_lines(started, tmp_path):
    uid = started.review.lesions.uids[0]
    assert started.rate(uid, para="rim").committed == ""  # the myelin side is missing yet
    assert started.rate(uid, dia="hypo", comment="thin").committed
    assert len(started.measure()) == len(SPHERES)
    rate_everything(started)
    started.lock()
    export = started.export(tmp_path / "out", deidentified=False)
    assert export.version == 1 and all(path.is_file() for path in export.files)


def test_rating_without_a_review_says_what_to_do(logic):
    with pytest.raises(InputError, match="import a lesion mask"):
        logic.rate("2.25.1", para="iso")


def test_rating_again_opens_the_committed_one(started):
    uid = started.review.lesions.uids[0]
    started.rate(uid, para="iso", dia="iso")
    assert started.rate(uid, para="hyper").codes == {"para": "hyper", "dia": "iso"}


def test_two_readers_meet_two_orders_and_one_reader_always_the_same(logic, tmp_path):
    head = small_head()
    logic.startReview(add_maps(head), case="C007")
    logic.importLesions(add_volume("outlines", head.lesion_mask, head.grid, "vtkMRMLLabelMapVolumeNode"))
    orders = [
        [place.uid for place in logic.startReading(tmp_path / folder, rater).order]
        for folder, rater in (("a", "AB"), ("b", "CD"), ("c", "AB"))
    ]
    assert orders[0] == orders[2] != orders[1]


def test_agreement_of_two_reads(started, tmp_path):
    rate_everything(started)
    first = started.review.reading.path
    started.startReading(tmp_path / "second", "CD", blind=False)
    rate_everything(started)
    found = started.agreement(first, started.review.reading.path)
    para = next(f for f in found.fields if f.field == "para" and not f.with_na)
    assert (para.agreed, para.n) == (len(SPHERES), len(SPHERES))


def test_case_of_a_bids_folder_is_loaded_with_maps_anatomy_and_mask(logic, tmp_path):
    head = small_head()
    anat, derived = tmp_path / "sub-01" / "anat", tmp_path / "derivatives" / "chisep" / "sub-01" / "anat"
    write_volume(anat / "sub-01_FLAIR.nii.gz", head.maps["r2star"].astype(np.float32), head.grid)
    write_volume(derived / "sub-01_desc-paramagnetic_Chimap.nii.gz", head.maps["chi_para"], head.grid)
    write_volume(derived / "sub-01_desc-diamagnetic_Chimap.nii.gz", head.maps["chi_dia"], head.grid)
    write_volume(derived / "sub-01_desc-lesions_mask.nii.gz", head.lesion_mask.astype(np.uint8), head.grid)
    case = logic.loadCase(tmp_path, "sub-01")
    assert set(case.maps) == {"chi_para", "chi_dia"} and set(case.anatomy) == {"FLAIR"}
    assert case.maps["chi_para"].GetVoxelValueUnits().GetCodeValue() == "[ppm]"
    logic.startReview()
    assert len(logic.importLesions(case.lesions)) == len(SPHERES)


def test_case_that_is_not_there_and_ambiguous_maps_are_refused(logic, tmp_path):
    with pytest.raises(InputError, match="There is no sub-09"):
        logic.loadCase(tmp_path, "09")
    head = small_head()
    for pipeline in ("one", "two"):
        folder = tmp_path / "derivatives" / pipeline / "sub-01" / "anat"
        write_volume(folder / "sub-01_desc-paramagnetic_Chimap.nii.gz", head.maps["chi_para"], head.grid)
    with pytest.raises(InputError, match="2 folders have maps"):
        logic.loadCase(tmp_path, "01")


def test_raw_case_gives_its_echoes(logic, tmp_path):
    from ChiSepExtension.phantom import simulate_case

    simulate_case(tmp_path / "phantom", spacing_mm=6.0, seed=1)
    case = logic.loadCase(tmp_path / "phantom", "01")
    assert case.echoes is not None and len(case.echoes.echo_times_s) > 2 and not case.maps


def test_unknown_variant_is_refused(logic):
    with pytest.raises(InputError, match="variant"):
        logic.runSepnet("r2")


@pytest.mark.parametrize("ending", [".mrml", ".mrb"])
def test_a60_the_patient_is_in_no_byte_of_the_saved_scene(logic, tmp_path, ending):
    head = small_head()
    maps, flair = add_maps(head), add_volume("FLAIR", head.maps["r2star"].astype(np.float32), head.grid)
    stranger = add_volume("other", head.maps["qsm"].astype(np.float32), head.grid)
    add_patient(flair)
    stranger.SetName(f"{NAME} T2")
    identity = Identity([NAME], [PATIENT_ID], [BIRTH])
    logic.startReview(maps, anatomy={"FLAIR": flair}, case="C007")
    logic.importLesions(add_volume("outlines", head.lesion_mask, head.grid, "vtkMRMLLabelMapVolumeNode"))
    logic.startReading(tmp_path / "reading", "AB")
    logic.rate(logic.review.current.uid, logic.review.current.is_repeat, para="iso", dia="iso")
    folder = tmp_path / "saved"
    folder.mkdir()
    assert slicer.util.saveScene(str(folder / f"scene{ending}"))
    assert search([folder], identity) == []
    assert search([tmp_path / "reading"], identity) == []
    assert flair.GetName() == "C007 FLAIR"


def test_a60_the_search_opens_the_packed_copy_of_the_ratings(started, tmp_path):
    """A comment with the name, slipped past the check of `rate`, is found in .mrml and .mrb."""
    review = started.review
    review.change({"para": "iso", "dia": "iso"}, comment="seen with PAT-77731")
    review.commit()
    for ending in (".mrml", ".mrb"):
        folder = tmp_path / ending[1:]
        folder.mkdir()
        assert slicer.util.saveScene(str(folder / f"scene{ending}"))
        assert {hit.kind for hit in search([folder], Identity([], [PATIENT_ID], []))} == {"ID"}


def test_a60_comment_with_the_patients_name_is_refused_at_once(logic, tmp_path):
    head = small_head()
    flair = add_volume("FLAIR", head.maps["r2star"].astype(np.float32), head.grid)
    add_patient(flair)
    logic.startReview(add_maps(head), anatomy={"FLAIR": flair}, case="C007")
    logic.importLesions(add_volume("outlines", head.lesion_mask, head.grid, "vtkMRMLLabelMapVolumeNode"))
    logic.startReading(tmp_path, "AB", blind=False)
    with pytest.raises(InputError, match="patient's name"):
        logic.rate(logic.review.lesions.uids[0], comment="Frau Sonnenschein, T2")


def test_a60_export_without_a_known_identity_is_refused(started, tmp_path):
    rate_everything(started)
    started.lock()
    with pytest.raises(IdentityFound, match="not known"):
        started.export(tmp_path / "out")
    assert started.export(tmp_path / "out", identity=Identity([NAME], [PATIENT_ID], [BIRTH])).files


def test_a60_export_is_searched_for_what_the_scene_knew(logic, tmp_path):
    head = small_head()
    maps = add_maps(head)
    add_patient(maps["qsm"])
    logic.startReview(maps, case="C007")
    logic.importLesions(add_volume("outlines", head.lesion_mask, head.grid, "vtkMRMLLabelMapVolumeNode"))
    logic.startReading(tmp_path, "AB", blind=False)
    rate_everything(logic)
    logic.review.reopen()
    logic.review.change(comment=f"as in {PATIENT_ID}")
    logic.review.commit()
    logic.lock()
    with pytest.raises(IdentityFound, match="ID"):
        logic.export(tmp_path / "out")


def test_a33_identifiers_survive_the_dicom_segmentation(started, tmp_path):
    pytest.importorskip("highdicom")
    rate_everything(started)
    started.lock()
    files = started.exportDicom(tmp_path / "dicom", identity=Identity([NAME], [PATIENT_ID], [BIRTH]))
    uids = set(started.review.lesions.uids)
    segmentation = next(path for path in files if path.name.endswith("_seg.dcm"))
    started.unlock()
    assert set(started.importLesions(segmentation).uids) == uids


def test_a34_names_and_dates_leave_the_scene_when_the_review_begins(logic):
    head = small_head()
    maps = add_maps(head)
    add_patient(maps["qsm"])
    logic.startReview(maps, case="C007")
    scene = slicer.mrmlScene
    scene.SetSaveToXMLString(1)
    scene.Commit()
    scene.SetSaveToXMLString(0)
    text = scene.GetSceneXMLString()
    for word in ("Sonnenschein", PATIENT_ID, BIRTH, "20240501", "3680043"):
        assert word not in text


def test_a67_notice_stands_in_ratings_lock_and_every_exported_json(started, tmp_path):
    rate_everything(started)
    started.lock()
    export = started.export(tmp_path / "out", deidentified=False)
    working = list(tmp_path.glob("*.json"))
    files = [*working, *(path for path in export.files if path.suffix == ".json")]
    assert len(files) > 5
    for path in files:
        assert "not for diagnosis" in str(json.loads(path.read_text(encoding="utf-8"))), path.name


def test_a71_review_of_a_script_needs_no_main_window(started, host, tmp_path):
    with host.no_main_window():
        rate_everything(started)
        started.lock()
        assert started.export(tmp_path / "out", deidentified=False).files


def test_saved_bundle_is_a_zip_with_packed_ratings(started, tmp_path):
    started.rate(started.review.lesions.uids[0], para="iso", dia="iso")
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    with zipfile.ZipFile(path) as bundle:
        scene = next(bundle.read(name) for name in bundle.namelist() if name.endswith(".mrml"))
    assert b"chisep-packed:" in scene and b"hypo" not in scene
