"""A second scan in the same scene: nothing of the first one is overwritten, taken for its own, or shown over it."""

from __future__ import annotations

import json
from pathlib import Path

import chisep_testhost
import numpy as np
import pytest
import slicer

from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.echoes import echo_sequence
from ChiSepExtension.mrml.outputs import write_maps
from ChiSepExtension.mrml.parameters import select_outputs
from ChiSepExtension.volume_io import write_volume

MODULE_FILE = Path(__file__).resolve().parents[3] / "ChiSepModule" / "ChiSepModule.py"
GRID = Grid.from_spacing((6, 8, 10), (4, 2, 2))


@pytest.fixture
def widget(host):
    chisep_testhost.load_module(MODULE_FILE)
    slicer.util.selectModule("ChiSepModule")
    return slicer.modules.ChiSepModuleWidget


def magnitude_of(name, times=(0.005, 0.01, 0.015), field_strength_t=7):
    echoes = np.random.default_rng(0).uniform(1, 9, (len(times), *GRID.shape))
    return echo_sequence(slicer.mrmlScene, f"{name} magnitude", echoes, GRID, times, field_strength_t=field_strength_t)


def maps_of(magnitude):
    """What a run on this magnitude leaves in the scene."""
    maps = {key: np.full(GRID.shape, 0.05, np.float32) for key in ("chi_para", "chi_dia", "chi_total")}
    return write_maps(slicer.mrmlScene, maps, GRID, name="a", provenance={}, inputs={"magnitude": magnitude})


def unknown_sequence():
    """Of a reader that knows no echo times: its index is a count."""
    node = magnitude_of("unknown")
    node.SetIndexName("frame")
    node.SetAttribute("ChiSep.fieldStrengthTesla", None)
    return node


def write_scan(folder, sidecar):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for n in (1, 2, 3):
        for part, low, high in (("mag", 10, 100), ("phase", -np.pi, np.pi)):
            stem = folder / f"sub-02_echo-{n}_part-{part}_MEGRE"
            write_volume(f"{stem}.nii.gz", rng.uniform(low, high, GRID.shape).astype(np.float32), GRID)
            if sidecar:
                Path(f"{stem}.json").write_text(json.dumps({"EchoTime": 0.006 * n, "MagneticFieldStrength": 3}))
    return folder


def load(widget, folder):
    widget.ui.folderPath.currentPath = str(folder)
    widget.ui.loadButton.click()


def with_first_scan(widget):
    first = magnitude_of("a")
    widget.ui.magnitudeSelector.setCurrentNode(first)
    nodes = maps_of(first)
    select_outputs(widget.panel.parameters, nodes)
    return nodes


def test_maps_of_the_first_scan_are_deselected_with_its_magnitude(widget):
    with_first_scan(widget)
    widget.ui.magnitudeSelector.setCurrentNode(magnitude_of("b"))
    assert widget.ui.chiParaSelector.currentNode() is None


def test_node_that_no_run_has_filled_stays_selected(widget):
    with_first_scan(widget)
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "my iron")
    widget.ui.chiParaSelector.setCurrentNode(mine)
    widget.ui.magnitudeSelector.setCurrentNode(magnitude_of("b"))
    assert widget.ui.chiParaSelector.currentNode() is mine


def test_load_deselects_maps_and_masks_of_the_first_scan(widget, tmp_path):
    with_first_scan(widget)
    mask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "mask of a")
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mask of a")
    parameters = widget.panel.parameters
    parameters.maskVolume, parameters.maskSegmentation = mask, segmentation
    load(widget, write_scan(tmp_path, sidecar=True))
    assert parameters.maskVolume is parameters.maskSegmentation is None
    assert widget.ui.chiDiaSelector.currentNode() is None
    assert widget.ui.applyButton.enabled, widget.ui.applyButton.toolTip


def test_map_of_the_first_scan_does_not_lie_over_the_second(widget, tmp_path):
    nodes = with_first_scan(widget)
    slicer.util.setSliceViewerLayers(foreground=nodes["chi_para"], foregroundOpacity=1)
    load(widget, write_scan(tmp_path, sidecar=True))
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() is not None
    assert not red.GetForegroundVolumeID()


def test_echo_times_of_the_first_scan_are_not_those_of_a_folder_without_any(widget, tmp_path):
    with_first_scan(widget)
    load(widget, write_scan(tmp_path, sidecar=False))
    assert "No sidecar" in widget.ui.messageLabel.text
    assert widget.ui.magnitudeSelector.currentNode().GetName() == "a magnitude"


def test_typed_echo_times_are_taken_and_told(widget, tmp_path):
    with_first_scan(widget)
    widget.ui.echoTimesEdit.text = "4, 8, 12"
    load(widget, write_scan(tmp_path, sidecar=False))
    assert widget.ui.magnitudeSelector.currentNode().GetName() == "sub-02_MEGRE magnitude"
    assert "4, 8, 12 ms" in widget.ui.messageLabel.text
    assert widget.ui.fieldStrengthSpinBox.value == 3  # not the 7 T of the first scan


def test_times_retyped_as_they_were_are_typed(widget, tmp_path):
    with_first_scan(widget)
    widget.ui.echoTimesEdit.textEdited.emit("5, 10, 15")
    load(widget, write_scan(tmp_path, sidecar=False))
    assert widget.ui.magnitudeSelector.currentNode().GetName() == "sub-02_MEGRE magnitude"


def test_magnitude_without_times_does_not_inherit_them(widget):
    with_first_scan(widget)
    widget.ui.magnitudeSelector.setCurrentNode(unknown_sequence())
    assert widget.ui.echoTimesEdit.text == ""
    assert widget.ui.fieldStrengthSpinBox.value == 3


def test_typed_times_stay_for_a_magnitude_without_any(widget):
    widget.ui.echoTimesEdit.text = "4, 8, 12"
    widget.ui.magnitudeSelector.setCurrentNode(unknown_sequence())
    assert widget.ui.echoTimesEdit.text == "4, 8, 12"


def test_load_without_a_folder_asks_for_one(widget, monkeypatch, tmp_path):
    monkeypatch.chdir(write_scan(tmp_path, sidecar=True))
    load(widget, "")
    assert widget.ui.messageLabel.text == "Choose a folder first."
    assert widget.ui.magnitudeSelector.currentNode() is None


def test_one_node_for_two_maps_is_told_before_the_run(widget):
    first = magnitude_of("a")
    widget.ui.magnitudeSelector.setCurrentNode(first)
    widget.ui.phaseSelector.setCurrentNode(magnitude_of("a phase"))
    assert widget.ui.applyButton.enabled
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "my iron")
    widget.ui.chiParaSelector.setCurrentNode(mine)
    widget.ui.chiDiaSelector.setCurrentNode(mine)
    assert not widget.ui.applyButton.enabled
    assert "my iron" in widget.ui.applyButton.toolTip
