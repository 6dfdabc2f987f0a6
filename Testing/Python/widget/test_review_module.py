"""The review inside the real module: layout and window of the reading, sections, life cycle, the Logic's methods."""

from __future__ import annotations

import inspect
from pathlib import Path

import chisep_testhost
import pytest
import slicer

from ChiSepExtension.mrml.layout import LAYOUTS, READ, composite_of
from ChiSepExtension.mrml.outputs import write_maps
from ChiSepExtension.mrml.parameters import select_outputs
from ChiSepExtension.mrml.verdict import Verdict, record_verdict
from Testing.Python.mrml.lesion_case import SPHERES, add_volume, small_head

MODULE_FILE = Path(__file__).resolve().parents[3] / "ChiSepModule" / "ChiSepModule.py"
#: The names that scripts rely on, with arguments that must stay.
CONTRACT = {
    "loadCase": ["bids", "sub", "ses"],
    "gate": [],
    "runSepnet": ["variant"],
    "importLesions": ["node"],
    "measure": [],
    "rate": ["uid"],
    "agreement": ["a", "b"],
    "lock": [],
    "export": ["path"],
}


@pytest.fixture
def widget(host):
    chisep_testhost.load_module(MODULE_FILE)
    slicer.util.selectModule("ChiSepModule")
    return slicer.modules.ChiSepModuleWidget


def choose_maps(widget, **provenance) -> None:
    """Maps as a run of the module leaves them, and an image of lesions."""
    head = small_head()
    maps = {key: head.maps[key] for key in ("chi_para", "chi_dia", "chi_total")}
    maps.update(r2star_hz=head.maps["r2star"], mask=head.mask)
    nodes = write_maps(slicer.mrmlScene, maps, head.grid, name="sub-01", provenance=provenance)
    select_outputs(widget.panel.parameters, nodes)
    outlines = add_volume("outlines", head.lesion_mask, head.grid, "vtkMRMLLabelMapVolumeNode")
    widget.review.ui["ReviewLesions"].lesionsSelector.setCurrentNode(outlines)


def open_reading(widget, folder, *, blind: bool = False) -> None:
    lesions, read = widget.review.ui["ReviewLesions"], widget.review.ui["ReviewRead"]
    lesions.importButton.click()
    read.readButton.collapsed = False
    read.readingFolderPath.currentPath = str(folder)
    read.raterEdit.text, read.blindCheckBox.checked = "AB", blind
    read.startButton.click()


@pytest.mark.parametrize("name", CONTRACT)
def test_the_logic_has_the_methods_that_scripts_call(widget, name):
    parameters = inspect.signature(getattr(type(widget.logic), name)).parameters
    assert [p for p in parameters if p != "self"][: len(CONTRACT[name])] == CONTRACT[name]
    required = [
        n
        for n, p in parameters.items()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and n not in ("self", *CONTRACT[name])
    ]
    assert not required


def test_reading_shows_the_maps_in_the_reading_layout_and_the_lesion_window(widget, tmp_path):
    choose_maps(widget)
    open_reading(widget, tmp_path)
    assert widget.review.read.isReading
    assert slicer.app.layoutManager().layout == LAYOUTS[READ].number
    shown = slicer.mrmlScene.GetNodeByID(composite_of(slicer.mrmlScene, "ChiSepReadPara").GetForegroundVolumeID())
    assert shown.GetDisplayNode().GetWindowLevelMax() == 50  # A10: chi-para 0 to 50 ppb
    lesion = widget.logic.review.lesions[widget.logic.review.current.uid]
    point = widget.logic.review.maps.grid.index_to_ras(list(lesion.jump_voxel))
    node = slicer.app.layoutManager().sliceWidget("ChiSepReadDia").mrmlSliceNode()
    assert node.GetSliceOffset() == pytest.approx(point[2], abs=0.5)


def test_a74_layout_and_window_are_as_before_after_the_reading(widget, tmp_path):
    choose_maps(widget)
    before = widget.panel.parameters.preset, widget.panel.parameters.viewLayout
    open_reading(widget, tmp_path)
    assert widget.panel.parameters.preset == "Lesion"
    widget.review.ui["ReviewRead"].endButton.click()
    assert (widget.panel.parameters.preset, widget.panel.parameters.viewLayout) == before


def test_a13_window_of_the_reading_is_stored_as_the_preset(widget, tmp_path):
    choose_maps(widget)
    open_reading(widget, tmp_path)
    review = widget.logic.review
    review.change({"para": "iso", "dia": "iso"})
    rating = review.commit()
    assert rating.display["window_chi_para_ppb"] == (0.0, 50.0)
    assert not rating.display_changed


def test_maps_of_a_run_are_judged_before_lesions_are_rated(widget, tmp_path):
    choose_maps(widget, method="closed-form")
    open_reading(widget, tmp_path)
    read = widget.review.ui["ReviewRead"]
    assert not widget.review.read.isReading and "Judge the maps first" in read.readMessageLabel.text
    record_verdict(widget.logic.review.maps.nodes.values(), Verdict.now("pass", "", "AB"))
    read.startButton.click()
    assert widget.review.read.isReading


def test_a34_blind_reading_hides_the_sections_that_tell_the_pipeline(widget, tmp_path):
    choose_maps(widget)
    open_reading(widget, tmp_path, blind=True)
    for name in ("inputsButton", "methodButton", "weightsButton", "qualityButton", "logButton", "outputsButton"):
        assert not getattr(widget.ui, name).isVisibleTo(widget.parent), name
    widget.review.ui["ReviewRead"].endButton.click()
    for name in ("inputsButton", "methodButton", "weightsButton", "qualityButton", "logButton", "outputsButton"):
        assert getattr(widget.ui, name).isVisibleTo(widget.parent), name


def test_edit_mode_silences_the_keys_of_the_module_too(widget, tmp_path):
    choose_maps(widget)
    open_reading(widget, tmp_path)
    states = []
    widget.panel.keys.setEnabled, original = states.append, widget.panel.keys.setEnabled
    widget.review.read.setEditing(True)
    widget.review.read.setEditing(False)
    widget.panel.keys.setEnabled = original
    assert states == [False, True]


def test_module_can_be_left_and_entered_during_a_reading(widget, tmp_path):
    choose_maps(widget)
    open_reading(widget, tmp_path)
    slicer.util.selectModule("")
    assert not widget.review.read.keys.areActive
    slicer.util.selectModule("ChiSepModule")
    assert widget.review.read.keys.areActive


def test_closed_scene_ends_the_reading_and_a_loaded_one_offers_to_go_on(widget, tmp_path):
    choose_maps(widget)
    open_reading(widget, tmp_path)
    widget.logic.rate(widget.logic.review.lesions.uids[0], para="rim", dia="hypo", comment="한글 | : 😀")
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    assert not widget.review.read.isReading and not widget.logic.hasReview
    slicer.util.loadScene(path)
    read = widget.review.ui["ReviewRead"]
    assert "Go on" in read.startButton.text
    read.readingFolderPath.currentPath = str(tmp_path)
    read.startButton.click()
    assert widget.review.read.isReading
    assert [rating.comment for rating in widget.logic.review.reading.ratings] == ["한글 | : 😀"]


def test_reload_of_the_module_ends_the_reading_without_a_trace(widget, tmp_path):
    choose_maps(widget)
    open_reading(widget, tmp_path)
    widget.onReload()
    again = slicer.modules.ChiSepModuleWidget
    assert again is not widget and not again.review.read.isReading
    assert len(list(tmp_path.glob("*_ratings.json"))) == 1


def test_trust_map_of_the_run_enters_the_measures(widget):
    import numpy as np

    choose_maps(widget)
    head = small_head()
    widget.panel.parameters.trust = add_volume("trust", np.full(head.grid.shape, 0.75, np.float32), head.grid)
    widget.review.ui["ReviewLesions"].importButton.click()
    rows = widget.logic.measure()
    assert len(rows) == len(SPHERES)
    assert all(row.trust_frac == pytest.approx(0.75) for row in rows)
