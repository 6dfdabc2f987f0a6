"""Layer: real scene. The stand-in application carries an unmodified module file, its logic and its own test."""

from __future__ import annotations

from pathlib import Path

import chisep_testhost
import numpy as np
import pytest
import slicer

DEMO = Path(__file__).parent / "fixtures" / "HostDemo" / "HostDemo.py"


@pytest.fixture
def demo():
    return chisep_testhost.load_module(DEMO)


def volume(name="T2", value=1.0):
    array = np.full((8, 9, 10), value, np.float32)
    return slicer.util.addVolumeFromArray(array, name=name)


def test_module_own_test_class_runs(demo):
    demo.HostDemoTest().runTest()


def test_application_starts_the_module_once(demo):
    assert slicer.modules.HostDemoInstance.startups == 1
    assert slicer.modules.hostdemo.title == "Host demo"
    assert Path(slicer.util.modulePath("HostDemo")) == DEMO.resolve()


def test_failing_module_test_fails(demo, monkeypatch):
    monkeypatch.setattr(demo.HostDemoLogic, "process", lambda *args: None)
    with pytest.raises(Exception):  # noqa: B017 - whichever error, it must not pass silently
        demo.HostDemoTest().runTest()


def test_parent_refuses_unknown_property(demo):
    with pytest.raises(AttributeError, match="helptext"):
        slicer.modules.hostdemo.helptext = "misspelt"


def test_logic_is_the_singleton_parameter_node(demo):
    first = demo.HostDemoLogic().getParameterNode().parameterNode
    assert demo.HostDemoLogic().getParameterNode().parameterNode is first
    assert first.GetSingletonTag() == "HostDemo"


def test_volume_gets_a_hierarchy_item_as_in_slicer():
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    assert hierarchy.GetItemByDataNode(volume()) != 0


def test_hierarchy_items_can_be_absent_as_on_plain_slicer_core(host):
    with host.subject_hierarchy.absent():
        assert slicer.mrmlScene.GetSubjectHierarchyNode().GetItemByDataNode(volume()) == 0


def test_hierarchy_item_leaves_with_its_node():
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    node = volume()
    item = hierarchy.GetItemByDataNode(node)
    slicer.mrmlScene.RemoveNode(node)
    assert hierarchy.GetItemDataNode(item) is None


def test_segment_and_array_are_equal():
    reference = volume()
    mask = np.zeros((8, 9, 10), np.uint8)
    mask[2:5, 3:6, 4:8] = 1
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lesions")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    segment = segmentation.GetSegmentation().AddEmptySegment("L1")
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, reference)
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, reference), mask)


def test_dialogs_never_block_and_never_agree():
    assert slicer.util.confirmOkCancelDisplay("Delete?") is False
    assert slicer.util.confirmYesNoDisplay("Delete?") is False
    assert slicer.util.confirmRetryCloseDisplay("Again?") is False
    assert slicer.util.infoDisplay("done") is None
    assert slicer.util.errorDisplay("failed") is None


def test_error_display_block_raises_again():
    with pytest.raises(ValueError, match="broken"), slicer.util.tryWithErrorDisplay("It failed.", waitCursor=True):
        raise ValueError("broken")


def test_application_without_main_window(host):
    with host.no_main_window():
        assert slicer.app.layoutManager() is None
        assert slicer.util.mainWindow() is None
    assert slicer.app.layoutManager() is not None


def test_color_tables_of_slicer_are_there_and_survive_scene_close():
    for name, darkest_brightest in {"Inferno": (0.0, 0.9), "Viridis": (0.1, 0.9), "Grey": (0.0, 1.0)}.items():
        node = slicer.util.getNode(name)
        table = node.GetLookupTable()
        low, high = table.GetTableValue(0)[0], table.GetTableValue(table.GetNumberOfTableValues() - 1)[0]
        assert low < high, name
        assert high >= darkest_brightest[1], name
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.GetNodeByID("vtkMRMLColorTableNodeFileInferno.txt") is not None


def test_color_legend_node():
    node = volume()
    node.CreateDefaultDisplayNodes()
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(node)
    legend.SetTitleText("chi-para [ppm]")
    assert legend.GetTitleText() == "chi-para [ppm]"


@pytest.mark.parametrize(
    ("owner", "member"), [("app", "pythonConsole"), ("app", "openExtensionsManagerDialog"), ("qt", "QWizard")]
)
def test_missing_member_is_named(owner, member):
    import qt

    target = {"app": slicer.app, "qt": qt}[owner]
    with pytest.raises(NotImplementedError, match=member):
        getattr(target, member)
    assert not hasattr(target, member)
