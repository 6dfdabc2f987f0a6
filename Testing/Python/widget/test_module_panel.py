"""The real module file and .ui on the host: what a user sees and clicks, from loading to maps, errors and scenes."""

from __future__ import annotations

import json
import stat
import sys
import time
from pathlib import Path

import chisep_testhost
import numpy as np
import pytest
import slicer
from slicer.util import arrayFromVolume

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.layout import LAYOUT_ID, composite_of
from ChiSepExtension.mrml.outputs import provenance_of
from ChiSepExtension.mrml.sample import add_simulated_head
from ChiSepExtension.mrml.volumes import set_array
from ChiSepExtension.ui import child_job
from ChiSepExtension.ui.module_panel import BOUND_BY_HAND
from ChiSepExtension.volume_io import write_volume
from Testing.Python.widget.panel_case import (
    ANSWERS,
    MODULE_FILE,
    apply_and_wait,
    choose_scan,
    make_program,
    open_module,
    wait_until,
)

CONTROLS = ("QPushButton", "QComboBox", "QLineEdit", "QDoubleSpinBox", "QCheckBox", "qMRMLNodeComboBox", "QListWidget")


@pytest.fixture
def widget(host):
    return open_module()


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """A stand-in for Slicer's Python that answers at once."""
    program = make_program(tmp_path, ANSWERS)
    monkeypatch.setattr(child_job, "pythonExecutable", lambda: str(program))


def choose_simulated_head(widget):
    scan = add_simulated_head(slicer.mrmlScene, spacing_mm=4.0)
    widget.ui.magnitudeSelector.setCurrentNode(scan.magnitude)
    assert widget.ui.phaseSelector.currentNode() is scan.phase  # comes with its magnitude, and so does the R2 map
    assert widget.ui.r2Selector.currentNode() is scan.r2_map
    return scan


def test_every_parameter_has_its_control(widget):
    bound = {w.property("SlicerParameterName") for w in vars(widget.ui).values() if hasattr(w, "property")}
    assert set(widget.panel.parameters.allParameters) - bound == set(BOUND_BY_HAND)
    assert all(hasattr(widget.ui, control) for control in BOUND_BY_HAND.values())


def test_every_control_has_a_tooltip(widget):
    for name, control in vars(widget.ui).items():
        if control.className() in CONTROLS and not name.startswith("qt_"):
            assert control.toolTip, f"{name} has no tooltip"


def test_research_use_is_always_visible(widget):
    assert widget.ui.noticeLabel.text == "Research use only — not for diagnosis"
    for name in ("inputsButton", "outputsButton", "advancedButton", "displayButton", "logButton"):
        getattr(widget.ui, name).collapsed = True
    assert widget.ui.noticeLabel.isVisibleTo(widget.parent)


def test_apply_says_why_it_is_disabled(widget):
    assert not widget.ui.applyButton.enabled
    assert "magnitude and phase" in widget.ui.applyButton.toolTip
    _, phase = choose_scan(widget)
    widget.ui.phaseSelector.setCurrentNode(None)
    assert widget.ui.applyButton.toolTip.startswith("Choose phase")
    widget.ui.phaseSelector.setCurrentNode(phase)
    assert widget.ui.applyButton.enabled
    widget.ui.echoTimesEdit.text = "5, 11"
    assert not widget.ui.applyButton.enabled
    assert "3 echoes but 2 echo times" in widget.ui.applyButton.toolTip


def test_echo_times_and_field_come_with_the_magnitude(widget):
    choose_scan(widget)
    assert widget.ui.echoTimesEdit.text == "5, 11, 17"
    assert widget.ui.fieldStrengthSpinBox.value == 7


def test_method_that_needs_r2_asks_for_it(widget):
    choose_scan(widget)
    widget.panel.parameters.method = "sepnet-r2prime"
    assert "measured R2 or R2′" in widget.ui.applyButton.toolTip
    assert not widget.ui.applyButton.enabled


def test_click_on_apply_computes_selects_and_shows(widget):
    """Voxels of 4 mm are red: the run waits for words."""
    scan = choose_simulated_head(widget)
    widget.ui.applyButton.click()
    wait_until(lambda: not widget.panel.run.isRunning)
    assert widget.ui.stageLabel.text == "Not started."
    assert "too coarse" in widget.ui.messageLabel.text
    assert not widget.ui.applyButton.enabled
    widget.ui.overrideEdit.text = "a test on a coarse grid"
    widget.ui.overrideUserEdit.text = "tester"
    apply_and_wait(widget)
    override = provenance_of(widget.ui.chiParaSelector.currentNode())["gate"]["override"]
    assert (override["text"], override["user"]) == ("a test on a coarse grid", "tester")
    para = widget.ui.chiParaSelector.currentNode()
    assert para.GetName() == "simulated-head chi-para"
    assert arrayFromVolume(para).max() > 0.02
    assert para.GetNodeReference("ChiSep.magnitude") is scan.magnitude
    assert widget.ui.applyButton.text == "Apply"
    assert widget.ui.stageLabel.text == "Done"
    assert slicer.app.layoutManager().layout == LAYOUT_ID
    shown = slicer.mrmlScene.GetNodeByID(composite_of(slicer.mrmlScene, "ChiSepPara").GetForegroundVolumeID())
    assert shown.GetName() == "simulated-head chi-para [ppb]"
    assert "ChiSepModuleLogic().process(magnitude=" in widget.ui.logText.toPlainText()

    before = slicer.mrmlScene.GetNumberOfNodes()
    apply_and_wait(widget)
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert widget.ui.chiParaSelector.currentNode() is para


def test_preset_changes_the_window_of_shown_maps(widget, quick):
    choose_scan(widget)
    apply_and_wait(widget)
    copy = slicer.mrmlScene.GetNodeByID(composite_of(slicer.mrmlScene, "ChiSepDia").GetForegroundVolumeID())
    assert copy.GetDisplayNode().GetWindowLevelMax() == 100
    widget.panel.parameters.preset = "Lesion"
    assert copy.GetDisplayNode().GetWindowLevelMax() == 60


def test_leaving_brings_the_layout_back(widget, quick):
    before = slicer.app.layoutManager().layout
    choose_scan(widget)
    apply_and_wait(widget)
    slicer.util.selectModule("")
    assert slicer.app.layoutManager().layout == before
    slicer.util.selectModule("ChiSepModule")
    assert slicer.app.layoutManager().layout == LAYOUT_ID


def test_scene_save_and_load_brings_selection_and_views(widget, quick, tmp_path):
    choose_scan(widget)
    widget.panel.parameters.preset = "Lesion"
    apply_and_wait(widget)
    before = arrayFromVolume(widget.ui.chiParaSelector.currentNode()).copy()
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    shown = slicer.mrmlScene.GetNodeByID(composite_of(slicer.mrmlScene, "ChiSepPara").GetForegroundVolumeID())
    assert shown.GetName().endswith("[ppb]")  # the views are as before the save
    slicer.mrmlScene.Clear(0)
    assert not widget.ui.applyButton.enabled
    slicer.util.loadScene(path)
    assert widget.ui.magnitudeSelector.currentNode().GetName() == "sub-01 magnitude"
    assert np.array_equal(arrayFromVolume(widget.ui.chiParaSelector.currentNode()), before)
    assert widget.ui.presetComboBox.currentText.startswith("Lesion")
    assert widget.ui.applyButton.enabled
    shown = slicer.mrmlScene.GetNodeByID(composite_of(slicer.mrmlScene, "ChiSepPara").GetForegroundVolumeID())
    assert shown.GetName() == "sub-01 chi-para [ppb]"


def test_reset_brings_defaults_and_removes_nothing(widget):
    magnitude, _ = choose_scan(widget)
    widget.panel.parameters.method = "iterative"
    widget.ui.drAutomaticCheckBox.checked = False
    widget.ui.resetButton.click()
    assert widget.ui.magnitudeSelector.currentNode() is None
    assert widget.panel.parameters.method == "closed-form"
    assert widget.ui.drAutomaticCheckBox.checked
    assert not widget.ui.drParaSpinBox.enabled
    assert magnitude.GetScene() is slicer.mrmlScene


def test_load_fills_everything(widget, tmp_path):
    grid, rng = Grid.from_spacing((6, 8, 8), (2, 1, 1)), np.random.default_rng(0)
    for n, echo_time in enumerate((0.005, 0.01, 0.015), start=1):
        for part, low, high in (("mag", 10, 100), ("phase", -np.pi, np.pi)):
            stem = tmp_path / f"sub-03_echo-{n}_part-{part}_MEGRE"
            write_volume(f"{stem}.nii.gz", rng.uniform(low, high, grid.shape).astype(np.float32), grid)
            sidecar = {"EchoTime": echo_time, "MagneticFieldStrength": 7}
            Path(f"{stem}.json").write_text(json.dumps(sidecar))
    widget.ui.folderPath.currentPath = str(tmp_path)
    widget.ui.loadButton.click()
    assert widget.ui.magnitudeSelector.currentNode().GetName() == "sub-03_MEGRE magnitude"
    assert widget.ui.phaseSelector.currentNode().GetName() == "sub-03_MEGRE phase"
    assert widget.ui.echoTimesEdit.text == "5, 10, 15"
    assert widget.ui.fieldStrengthSpinBox.value == 7
    assert widget.ui.applyButton.enabled, widget.ui.applyButton.toolTip
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert slicer.mrmlScene.GetNodeByID(red.GetBackgroundVolumeID()).GetName() == "sub-03_MEGRE mean magnitude"


def test_load_of_a_wrong_folder_is_told(widget, tmp_path):
    widget.ui.folderPath.currentPath = str(tmp_path)
    widget.ui.loadButton.click()
    assert "holds no multi-echo scan" in widget.ui.messageLabel.text


def test_echoes_are_picked_from_loaded_volumes(widget):
    grid = Grid.from_spacing((4, 4, 4))
    for n in (1, 2, 10):
        for part in ("mag", "phase"):
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"gre_{part}_echo{n}")
            set_array(node, np.full(grid.shape, n, np.float32), grid)
    widget.ui.echoTimesEdit.text = "5, 10, 15"
    widget.ui.volumesGroup.collapsed = False
    rows = [widget.ui.volumeList.item(row) for row in range(widget.ui.volumeList.count)]
    for row in rows:
        row.setSelected("mag" in row.text())
    widget.ui.useAsMagnitudeButton.click()
    magnitude = widget.ui.magnitudeSelector.currentNode()
    assert [arrayFromVolume(magnitude.GetNthDataNode(n)).max() for n in range(3)] == [1, 2, 10]
    assert widget.ui.echoTimesEdit.text == "5, 10, 15"


def test_readout_is_in_ppb_and_goes_when_the_cursor_leaves(widget, quick):
    choose_scan(widget)
    apply_and_wait(widget)
    para = widget.ui.chiParaSelector.currentNode()
    array = arrayFromVolume(para)
    k, j, i = np.unravel_index(array.argmax(), array.shape)
    import vtk

    matrix = vtk.vtkMatrix4x4()
    para.GetIJKToRASMatrix(matrix)
    ras = matrix.MultiplyPoint((int(i), int(j), int(k), 1))[:3]
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionRAS(ras)
    assert widget.ui.readoutLabel.text.startswith(f"χ-para {1e3 * array.max():.0f} ppb")
    crosshair.SetCursorPositionInvalid()
    assert widget.ui.readoutLabel.text == "—"
    # A map under a transform is shown, and left out of the read-out.
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    para.SetAndObserveTransformNodeID(transform.GetID())
    widget.ui.showButton.click()
    crosshair.SetCursorPositionRAS(ras)
    assert "χ-para" not in widget.ui.readoutLabel.text
    assert "χ-dia" in widget.ui.readoutLabel.text


def test_panel_is_made_without_a_main_window(host):
    chisep_testhost.load_module(MODULE_FILE)
    with host.no_main_window():
        panel = slicer.modules.chisepmodule.widgetRepresentation()
        panel.enter()
        assert not panel.self().ui.applyButton.enabled
        panel.exit()


def test_module_runs_its_own_test(widget):
    slicer.modules.ChiSepModuleInstance.runTest()


def test_failure_of_a_run_is_shown_and_apply_comes_back(widget, monkeypatch, tmp_path):
    choose_scan(widget)
    monkeypatch.setattr(child_job, "pythonExecutable", lambda: str(tmp_path / "no-such-python"))
    widget.ui.applyButton.click()
    wait_until(lambda: not widget.panel.run.isRunning)
    assert "could not be started" in widget.ui.messageLabel.text
    assert widget.ui.stageLabel.text == "Failed"
    assert widget.ui.applyButton.text == "Apply"
    assert widget.ui.applyButton.enabled


def test_apply_becomes_cancel_and_cancel_leaves_the_scene_alone(widget, monkeypatch, tmp_path):
    choose_scan(widget)
    path = tmp_path / "slow"
    path.write_text(f"#!{sys.executable}\nimport time; time.sleep(60)")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(child_job, "pythonExecutable", lambda: str(path))
    before = slicer.mrmlScene.GetNumberOfNodes()
    widget.ui.applyButton.click()
    assert widget.ui.applyButton.text == "Cancel"
    assert widget.ui.progressBar.isVisibleTo(widget.parent)
    for _ in range(20):
        slicer.app.processEvents()
    began = time.monotonic()
    widget.ui.applyButton.click()
    wait_until(lambda: not widget.panel.run.isRunning)
    assert time.monotonic() - began < 2
    assert widget.ui.stageLabel.text.startswith("Cancelled")
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_closing_the_scene_ends_the_run_and_the_panel_is_ready_again(widget, quick):
    choose_scan(widget)
    widget.ui.applyButton.click()
    slicer.mrmlScene.Clear(0)
    assert not widget.logic.isRunning
    assert widget.ui.applyButton.text == "Apply"
    choose_scan(widget)
    apply_and_wait(widget)
    assert widget.ui.chiParaSelector.currentNode() is not None


def test_reload_during_a_run_ends_it_and_reads_the_package_again(widget, quick, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "ChiSepExtension"]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # put back for the tests that come after
    choose_scan(widget)
    widget.ui.applyButton.click()
    old, package = widget.logic, sys.modules["ChiSepExtension.mrml.maps"]
    widget.onReload()
    assert not old.isRunning
    assert sys.modules["ChiSepExtension.mrml.maps"] is not package
    new = slicer.modules.ChiSepModuleWidget
    assert new is not widget
    assert new.ui.magnitudeSelector.currentNode().GetName() == "sub-01 magnitude"
    assert new.ui.applyButton.enabled


def test_readout_goes_on_after_a_reload(widget, quick, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "ChiSepExtension"]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])
    choose_scan(widget)
    apply_and_wait(widget)
    widget.onReload()
    slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCursorPositionRAS([0.0, 0.0, 0.0])
    assert slicer.modules.ChiSepModuleWidget.ui.readoutLabel.text.startswith("χ-para")


def test_run_that_ends_while_another_module_is_open_is_not_lost(widget, quick):
    choose_scan(widget)
    widget.ui.applyButton.click()
    slicer.util.selectModule("")
    wait_until(lambda: not widget.panel.run.isRunning)
    slicer.util.selectModule("ChiSepModule")
    assert widget.ui.chiParaSelector.currentNode().GetName() == "sub-01 chi-para"


def test_run_that_ends_after_another_scan_was_chosen_is_shown_but_not_selected(widget, quick):
    """Selected, the next run on the other scan would overwrite its maps."""
    first, _ = choose_scan(widget)
    widget.ui.applyButton.click()
    choose_scan(widget)
    wait_until(lambda: not widget.panel.run.isRunning)
    assert widget.ui.chiParaSelector.currentNode() is None
    shown = slicer.mrmlScene.GetNodeByID(composite_of(slicer.mrmlScene, "ChiSepPara").GetForegroundVolumeID())
    assert shown.GetNodeReference("ChiSep.shownCopyOf").GetNodeReference("ChiSep.magnitude") is first


def test_map_that_cannot_be_shown_is_told(widget, quick, monkeypatch):
    choose_scan(widget)
    apply_and_wait(widget)

    def fail(*arguments):
        raise InputError("It cannot be shown.", "Choose another.")

    monkeypatch.setattr(widget.panel.views, "show", fail)
    widget.ui.showButton.click()
    assert widget.ui.messageLabel.text == "It cannot be shown. Choose another."
