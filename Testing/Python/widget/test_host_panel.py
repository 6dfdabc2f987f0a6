"""Layer: widgets. An unmodified module panel lives on the stand-in: binding, life cycle, scene close and load."""

from __future__ import annotations

from pathlib import Path

import chisep_testhost
import numpy as np
import pytest
import slicer
from chisep_testhost.errors import CollectedErrors
from chisep_testhost.gui import screenshot

DEMO = Path(__file__).parents[1] / "mrml" / "fixtures" / "HostDemo" / "HostDemo.py"


@pytest.fixture
def demo():
    chisep_testhost.load_module(DEMO)
    slicer.util.selectModule("HostDemo")
    return slicer.modules.HostDemoWidget


def volume(name="T2"):
    return slicer.util.addVolumeFromArray(np.ones((3, 4, 5), np.float32), name=name)


def click(button):
    """A mouse click, as a person makes it: nothing happens on a disabled button."""
    import qt

    from PySide6 import QtCore, QtGui, QtWidgets  # isort: skip - the host chooses how PySide6 starts

    place = QtCore.QPointF(button.width / 2, button.height / 2)
    for kind, buttons in (
        (QtCore.QEvent.MouseButtonPress, qt.Qt.LeftButton),
        (QtCore.QEvent.MouseButtonRelease, qt.Qt.NoButton),
    ):
        event = QtGui.QMouseEvent(kind, place, button.mapToGlobal(place), qt.Qt.LeftButton, buttons, qt.Qt.NoModifier)
        QtWidgets.QApplication.sendEvent(button, event)


def test_click_on_apply_runs_the_logic(demo):
    source, result = volume(), volume("scaled")
    assert not demo.ui.applyButton.enabled
    click(demo.ui.applyButton)
    assert slicer.util.arrayFromVolume(result).max() == 1
    demo.ui.inputSelector.setCurrentNode(source)
    demo.ui.outputSelector.setCurrentNode(result)
    assert demo.ui.applyButton.enabled
    click(demo.ui.applyButton)
    assert slicer.util.arrayFromVolume(result).max() == 137


def test_widget_to_node_for_every_kind(demo):
    ui, parameters = demo.ui, demo.parameters
    ui.inputSelector.setCurrentNode(volume())
    ui.factorSlider.value = 150.5
    ui.countBox.value = 5
    ui.enabledBox.checked = False
    ui.labelLine.text = "병변"
    ui.methodBox.currentText = "fast"
    ui.methodBox.currentIndex = 0
    ui.shapeBox.currentIndex = ui.shapeBox.findText("Sphere")
    ui.folderLine.currentPath = "/data"
    assert parameters.inputVolume.GetName() == "T2"
    assert (parameters.factor, parameters.count, parameters.enabled) == (150.5, 5, False)
    assert (parameters.label, parameters.method, parameters.shape.name) == ("병변", "fast", "Sphere")
    assert parameters.folder == Path("/data")


def test_node_to_widget_for_every_kind(demo):
    ui, parameters = demo.ui, demo.parameters
    parameters.outputVolume = volume()
    parameters.factor = 12.5
    parameters.count = 2
    parameters.enabled = False
    parameters.label = "x"
    parameters.method = "fast"
    parameters.shape = type(parameters.shape).Sphere
    parameters.folder = Path("/data")
    assert ui.outputSelector.currentNode().GetName() == "T2"
    assert (ui.factorSlider.value, ui.countBox.value, ui.enabledBox.checked) == (12.5, 2, False)
    assert (ui.labelLine.text, ui.methodBox.currentText, ui.shapeBox.currentText) == ("x", "fast", "Sphere")
    assert ui.folderLine.currentPath == "/data"


def test_annotations_reach_the_widget(demo):
    slider = demo.ui.factorSlider
    assert (slider.minimum, slider.maximum, slider.decimals, slider.singleStep) == (0, 200, 1, 0.5)
    assert (demo.ui.countBox.minimum, demo.ui.countBox.maximum) == (1, 9)
    assert [demo.ui.shapeBox.itemText(i) for i in range(demo.ui.shapeBox.count)] == ["Sphere", "Box"]


def test_one_change_is_one_event(demo):
    events = []
    node = demo.parameters.parameterNode
    tag = node.AddObserver("ModifiedEvent", lambda *_: events.append(1))
    demo.ui.factorSlider.value = 42
    node.RemoveObserver(tag)
    assert len(events) == 1


def test_disconnected_widgets_and_node_go_their_own_ways(demo):
    parameters = demo.parameters
    slicer.util.selectModule("")  # exit() disconnects
    demo.ui.factorSlider.value = 10
    assert parameters.factor == 137
    parameters.factor = 20
    assert demo.ui.factorSlider.value == 10


def test_life_cycle_twice(demo):
    slicer.util.selectModule("")
    slicer.util.selectModule("HostDemo")
    assert demo.calls == ["setup", "enter", "exit", "enter"]
    assert slicer.util.selectedModule() == "HostDemo"
    assert slicer.util.getModuleWidget("HostDemo") is demo


def test_reload_sets_up_again_without_enter(demo):
    slicer.util.reloadScriptedModule("HostDemo")
    again = slicer.modules.HostDemoWidget
    assert again is not demo
    assert demo.calls[-1] == "cleanup"
    assert again.calls == ["setup"]
    assert again.parent.isEntered


def test_scene_close_and_load(demo, tmp_path):
    source, result = volume(), volume("scaled")
    demo.ui.inputSelector.setCurrentNode(source)
    demo.ui.outputSelector.setCurrentNode(result)
    demo.ui.factorSlider.value = 99
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))

    slicer.mrmlScene.Clear(0)
    assert demo.ui.inputSelector.currentNode() is None
    assert not demo.ui.applyButton.enabled
    assert demo.ui.factorSlider.value == 137

    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert demo.ui.inputSelector.currentNode().GetName() == "T2"
    assert demo.ui.factorSlider.value == 99
    assert demo.ui.applyButton.enabled


def test_panel_that_does_not_rebuild_is_empty_after_a_load(demo, tmp_path):
    demo.ui.inputSelector.setCurrentNode(volume())
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    scene = slicer.mrmlScene
    demo.removeObserver(scene, scene.EndImportEvent, demo.onSceneChanged)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert demo.ui.inputSelector.currentNode() is None
    assert demo.parameters.inputVolume is None


def test_exception_in_a_slot_fails_the_test(demo):
    def broken():
        raise KeyError("lost lesion")

    assert demo.ui.applyButton.connect("clicked()", broken)
    demo.ui.inputSelector.setCurrentNode(volume())
    demo.ui.outputSelector.setCurrentNode(volume("scaled"))
    with pytest.raises(CollectedErrors, match="lost lesion"), chisep_testhost.strict():
        click(demo.ui.applyButton)


def test_panel_without_main_window(host):
    chisep_testhost.load_module(DEMO)
    with host.no_main_window():
        assert slicer.util.mainWindow() is None
        assert slicer.app.layoutManager() is None
        assert slicer.modules.hostdemo.widgetRepresentation().self().ui.applyButton.text == "Apply"


def test_folded_part_is_hidden_until_it_is_opened(demo):
    assert demo.ui.countBox.isHidden()
    demo.ui.advancedButton.collapsed = False
    assert not demo.ui.countBox.isHidden()


def test_panel_picture_shows_its_parts(demo, tmp_path):
    from PIL import Image

    pixels = np.asarray(Image.open(screenshot(slicer.util.mainWindow(), tmp_path / "panel.png")).convert("L"))
    assert pixels.shape[1] >= 300
    assert pixels.std() > 5  # a panel that was not drawn is one even gray
