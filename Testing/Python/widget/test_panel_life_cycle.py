"""Coming and going: what the module leaves behind (nothing), what it brings back, and which keys it owns while open."""

from __future__ import annotations

import resource
import sys

import chisep_testhost
import pytest
import qt
import slicer
from chisep_testhost.leftovers import observer_counts, shortcuts

from ChiSepExtension.mrml.layout import LAYOUTS, composite_of
from ChiSepExtension.ui import child_job
from Testing.Python.widget.panel_case import (
    ANSWERS,
    MODULE_FILE,
    apply_and_wait,
    choose_scan,
    make_program,
    open_module,
    wait_until,
)


@pytest.fixture
def quick(monkeypatch, tmp_path):
    program = make_program(tmp_path, ANSWERS)
    monkeypatch.setattr(child_job, "pythonExecutable", lambda: str(program))


def press(key: str) -> None:
    """Fire the module's shortcut of this key; fails where there is not exactly one."""
    found = [s for s in slicer.util.mainWindow().findChildren(qt.QShortcut) if s.key.toString() == key]
    assert len(found) == 1, f"{len(found)} shortcuts on {key}"
    assert found[0].enabled
    found[0].activated.emit()


def node_names() -> list[str]:
    scene = slicer.mrmlScene
    return sorted(scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes()))


def test_a70_fifty_visits_leave_nothing(host, quick):
    widget = open_module()
    choose_scan(widget)
    apply_and_wait(widget)
    for _ in range(3):  # what is made once is there now
        slicer.util.selectModule("")
        slicer.util.selectModule("ChiSepModule")
    before = node_names(), observer_counts(), shortcuts(host), memory_mb()
    for _ in range(50):
        slicer.util.selectModule("")
        assert shortcuts(host) == []
        slicer.util.selectModule("ChiSepModule")
    assert node_names() == before[0]
    assert observer_counts() == before[1]
    assert sorted(shortcuts(host)) == sorted(before[2])
    assert memory_mb() - before[3] < 20


def memory_mb() -> float:
    """Peak of this process so far: it does not fall, so only growth is seen."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def test_a74_layout_windows_and_selection_come_back(host, quick):
    """What was in the views before the module was opened is there again after it was left."""
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    widget = open_module()
    choose_scan(widget)
    red = manager.sliceWidget("Red").mrmlSliceCompositeNode()
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
    slicer.util.updateVolumeFromArray(
        other, slicer.util.arrayFromVolume(widget.panel.parameters.phase.GetNthDataNode(0))
    )
    other.CreateDefaultDisplayNodes()
    other.GetDisplayNode().AutoWindowLevelOff()
    other.GetDisplayNode().SetWindowLevelMinMax(-1, 2)
    red.SetBackgroundVolumeID(other.GetID())
    apply_and_wait(widget)
    assert manager.layout == LAYOUTS["maps"].number
    slicer.util.selectModule("")
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    assert red.GetBackgroundVolumeID() == other.GetID()
    assert other.GetDisplayNode().GetWindowLevelMax() == 2


def test_layout_before_ours_is_remembered_through_our_own_layouts(host, quick):
    manager = slicer.app.layoutManager()
    before = manager.layout
    widget = open_module()
    choose_scan(widget)
    apply_and_wait(widget)
    for button in (widget.ui.layoutReadButton, widget.ui.layoutOrthoButton, widget.ui.layoutOneUpButton):
        button.click()
    assert manager.layout == LAYOUTS["one-up"].number
    slicer.util.selectModule("")
    assert manager.layout == before


def test_keys_change_layout_window_and_overlay(host, quick):
    widget = open_module()
    choose_scan(widget)
    apply_and_wait(widget)
    press("K")
    assert slicer.app.layoutManager().layout == LAYOUTS["read"].number
    assert widget.ui.layoutReadButton.checked
    press("L")
    shown = slicer.mrmlScene.GetNodeByID(composite_of(slicer.mrmlScene, "ChiSepReadPara").GetForegroundVolumeID())
    assert shown.GetDisplayNode().GetWindowLevelMax() == 50
    opacities = []
    for _ in range(3):
        press("O")
        opacities.append(composite_of(slicer.mrmlScene, "ChiSepReadPara").GetForegroundOpacity())
    assert opacities == pytest.approx([0, 0.4, 1])


def test_keys_are_silent_while_somebody_else_owns_them(host, quick):
    widget = open_module()
    widget.panel.keys.setEnabled(False)
    assert not any(s.enabled for s in slicer.util.mainWindow().findChildren(qt.QShortcut))


def test_overlay_can_be_hidden(host, quick):
    widget = open_module()
    choose_scan(widget)
    apply_and_wait(widget)
    widget.ui.overlayVisibleCheckBox.checked = False
    assert composite_of(slicer.mrmlScene, "ChiSepPara").GetForegroundOpacity() == 0
    widget.ui.overlayVisibleCheckBox.checked = True
    assert composite_of(slicer.mrmlScene, "ChiSepPara").GetForegroundOpacity() == 1


def test_flair_that_is_chosen_lies_behind_the_maps(host, quick):
    widget = open_module()
    magnitude, _ = choose_scan(widget)
    flair = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "FLAIR")
    flair.CopyOrientation(magnitude.GetNthDataNode(0))
    slicer.util.updateVolumeFromArray(flair, slicer.util.arrayFromVolume(magnitude.GetNthDataNode(0)).copy())
    flair.CreateDefaultDisplayNodes()
    apply_and_wait(widget)
    widget.ui.layoutReadButton.click()
    widget.ui.flairSelector.setCurrentNode(flair)
    assert composite_of(slicer.mrmlScene, "ChiSepReadPara").GetBackgroundVolumeID() == flair.GetID()


def test_second_scene_starts_anew(host, quick):
    """Two scenes, one after the other: nothing of the first is chosen or shown in the second."""
    widget = open_module()
    choose_scan(widget)
    widget.panel.parameters.preset = "Lesion"
    apply_and_wait(widget)
    slicer.mrmlScene.Clear(0)
    assert widget.ui.chiParaSelector.currentNode() is None
    assert widget.panel.parameters.preset == "Survey"
    choose_scan(widget, "sub-02")
    apply_and_wait(widget)
    assert widget.ui.chiParaSelector.currentNode().GetName() == "sub-02 chi-para"


def test_a71_logic_runs_without_a_main_window(host, quick):
    """The panel is never made."""
    chisep_testhost.load_module(MODULE_FILE)
    from ChiSepExtension.mrml.sample import add_simulated_head
    from ChiSepModule import ChiSepModuleLogic

    with host.no_main_window():
        scan = add_simulated_head(slicer.mrmlScene, spacing_mm=4.0)
        logic = ChiSepModuleLogic()
        ended = []
        callbacks = child_job.RunCallbacks(finished=ended.append, failed=ended.append)
        run = logic.process(scan.magnitude, scan.phase, r2=scan.r2_map, waitForCompletion=False, callbacks=callbacks)
        wait_until(lambda: ended)
        assert not run.isRunning
        assert ended[0].chi_para.GetName() == "simulated-head chi-para"
        assert not logic.showMaps(ended[0].nodes)


def test_saved_scene_brings_layout_opacity_and_context_back(host, quick, tmp_path):
    widget = open_module()
    choose_scan(widget)
    apply_and_wait(widget)
    widget.ui.layoutReadButton.click()
    widget.panel.choose("opacity", 0.5)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    assert widget.panel.parameters.viewLayout == "read"
    assert widget.ui.layoutReadButton.checked
    assert composite_of(slicer.mrmlScene, "ChiSepReadPara").GetForegroundOpacity() == pytest.approx(0.5)


def test_every_step_of_the_tutorial_stands_in_the_log_as_python(host, quick):
    """What the log says can be run: here the line of the layout button, on the nodes that are there."""
    widget = open_module()
    choose_scan(widget)
    apply_and_wait(widget)
    widget.ui.layoutReadButton.click()
    lines = widget.ui.logText.toPlainText().splitlines()
    for name in ("gate", "process", "showMaps"):
        assert [line for line in lines if line.startswith(f"ChiSepModuleLogic().{name}(")], name
    from ChiSepModule import ChiSepModuleLogic

    assert eval(lines[-1], {"ChiSepModuleLogic": ChiSepModuleLogic, "slicer": slicer})


def test_pair_shows_the_maps_of_an_earlier_visit(host, quick):
    widget = open_module()
    choose_scan(widget, "visit-1")
    apply_and_wait(widget)
    earlier = widget.ui.chiDiaSelector.currentNode()
    choose_scan(widget, "visit-2")
    apply_and_wait(widget)
    widget.ui.earlierMapSelector.setCurrentNode(earlier)
    widget.ui.layoutPairButton.click()
    shown = []
    for tag in ("ChiSepPair1Para", "ChiSepPair2Para"):
        node = slicer.mrmlScene.GetNodeByID(composite_of(slicer.mrmlScene, tag).GetForegroundVolumeID())
        shown.append(node.GetName())
    assert shown == ["visit-1 chi-para [ppb]", "visit-2 chi-para [ppb]"]
