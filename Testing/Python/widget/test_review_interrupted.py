"""A reading that is left, saved, closed, or whose maps and outlines change under it."""

from __future__ import annotations

import pytest
import slicer

from ChiSepExtension.mrml.layout import composite_of
from ChiSepExtension.mrml.outputs import write_maps
from ChiSepExtension.mrml.verdict import Verdict, record_verdict, verdict_of
from Testing.Python.mrml.lesion_case import small_head
from Testing.Python.widget.test_review_module import choose_maps, open_reading, widget  # noqa: F401

TELLING = ("inputsButton", "gateButton", "methodButton", "outputsButton", "logButton", "applyButton", "readoutLabel")


@pytest.fixture
def judged(widget):  # noqa: F811
    """The module with maps of a run that somebody has passed."""
    choose_maps(widget, method="sepnet-r2star")
    nodes = [widget.panel.parameters.chiPara, widget.panel.parameters.chiDia]
    record_verdict(nodes, Verdict.now("pass", "", "AB"))
    return widget


def read_of(widget):  # noqa: F811
    return widget.review.ui["ReviewRead"]


def test_a_blind_reading_is_gone_on_with_after_its_end(judged, tmp_path):
    open_reading(judged, tmp_path, blind=True)
    read_of(judged).endButton.click()
    read_of(judged).startButton.click()
    assert judged.review.read.isReading, read_of(judged).readMessageLabel.text


def test_a_blind_reading_is_gone_on_with_from_a_saved_scene(judged, tmp_path):
    open_reading(judged, tmp_path, blind=True)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    read_of(judged).readingFolderPath.currentPath = str(tmp_path)
    read_of(judged).startButton.click()
    assert judged.review.read.isReading, read_of(judged).readMessageLabel.text


def test_closing_the_scene_in_a_blind_reading_brings_the_sections_back(judged, tmp_path):
    open_reading(judged, tmp_path, blind=True)
    assert all(not getattr(judged.ui, name).isVisibleTo(judged.parent) for name in TELLING)
    slicer.mrmlScene.Clear(0)
    assert all(getattr(judged.ui, name).isVisibleTo(judged.parent) for name in TELLING if name != "readoutLabel")


def test_a34_no_node_tells_a_blind_reader_how_the_maps_were_made(judged, tmp_path):
    open_reading(judged, tmp_path, blind=True)
    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    told = [
        (node.GetName(), name)
        for node in nodes
        for name in node.GetAttributeNames()
        if "sepnet" in (node.GetAttribute(name) or "")
    ]
    assert not told


def test_new_voxels_keep_their_own_provenance_when_the_old_is_given_back(judged, tmp_path):
    open_reading(judged, tmp_path, blind=True)
    node, head = judged.logic.review.maps.node("chi_para"), small_head()
    write_maps(
        slicer.mrmlScene,
        {"chi_para": head.maps["chi_para"]},
        head.grid,
        name="again",
        provenance={"method": "closed-form"},
        outputs={"chi_para": node},
    )
    judged.logic.endReview()
    assert "closed-form" in node.GetAttribute("ChiSep.provenance")


def test_the_verdict_comes_back_with_the_end_of_the_review(judged, tmp_path):
    node = judged.panel.parameters.chiPara
    open_reading(judged, tmp_path, blind=True)
    assert verdict_of(node) is None
    judged.logic.endReview()
    assert verdict_of(node).verdict == "pass"


def test_lesions_are_not_exchanged_under_a_reader(judged, tmp_path):
    open_reading(judged, tmp_path)
    review = judged.logic.review
    judged.review.ui["ReviewLesions"].importButton.click()
    assert judged.logic.review is review and judged.review.read.isReading


def test_the_views_show_the_maps_that_are_rated(judged, tmp_path):
    """Another output was chosen between import and start."""
    judged.review.ui["ReviewLesions"].importButton.click()
    head = small_head()
    other = write_maps(
        slicer.mrmlScene, {"chi_para": 0 * head.maps["chi_para"]}, head.grid, name="other", provenance={}
    )
    judged.panel.parameters.chiPara = other["chi_para"]
    ui = read_of(judged)
    ui.readButton.collapsed = False
    ui.readingFolderPath.currentPath, ui.raterEdit.text, ui.blindCheckBox.checked = str(tmp_path), "AB", False
    ui.startButton.click()
    shown = slicer.mrmlScene.GetNodeByID(composite_of(slicer.mrmlScene, "ChiSepReadPara").GetForegroundVolumeID())
    assert judged.logic.review.maps.node("chi_para").GetName() in shown.GetName()
    ui.endButton.click()
    assert judged.panel.parameters.chiPara is other["chi_para"]


@pytest.mark.parametrize("removed", ["outlines", "map"])
def test_a_reading_can_be_left_when_its_nodes_are_gone(judged, tmp_path, removed):
    open_reading(judged, tmp_path)
    review = judged.logic.review
    slicer.mrmlScene.RemoveNode(review.node if removed == "outlines" else review.maps.node("chi_para"))
    judged.review.read.step(1)
    judged.review.read.setEditing(True)
    slicer.util.selectModule("")
    slicer.util.selectModule("ChiSepModule")
    judged.review.read.end()
    assert not judged.review.read.isReading


def test_the_lesion_is_marked_again_when_the_module_is_entered_again(judged, tmp_path):
    open_reading(judged, tmp_path)
    segmentation = judged.logic.review.node.GetSegmentation()

    def colors():
        return [segmentation.GetNthSegment(n).GetColor() for n in range(segmentation.GetNumberOfSegments())]

    before = colors()
    slicer.util.selectModule("")
    assert colors() != before
    slicer.util.selectModule("ChiSepModule")
    assert colors() == before
