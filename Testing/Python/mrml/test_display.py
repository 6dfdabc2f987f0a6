"""What the views show: windows, colours, transparency, legends with a unit, and copies in ppb that are never saved."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from slicer.util import arrayFromVolume

from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.display import (
    GREY,
    OVERLAY,
    find_shown_copy,
    remove_orphaned_copies,
    restore_layers,
    shown_copy,
    style_map,
    use_stored_maps,
)
from ChiSepExtension.mrml.layout import LAYOUT_ID, VIEW_NAMES, composite_of, fill_views, register_layout
from ChiSepExtension.mrml.maps import BY_KEY, LESION, SURVEY
from ChiSepExtension.mrml.outputs import write_maps
from ChiSepExtension.mrml.picture import slice_picture
from ChiSepExtension.mrml.volumes import set_array

GRID = Grid.from_spacing((8, 40, 40), (2.0, 1.0, 1.0))


def chi_map(key="chi_para", value=0.04):
    array = np.zeros(GRID.shape, np.float32)
    array[:, 10:30, 10:20] = value
    return write_maps(slicer.mrmlScene, {key: array}, GRID, name="sub-01", provenance={})[key]


def legend_of(volume):
    return slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(volume)


@pytest.mark.parametrize(
    ("key", "preset", "low", "high"),
    [
        ("chi_para", SURVEY, 0, 100),
        ("chi_para", LESION, 0, 50),
        ("chi_dia", SURVEY, 0, 100),
        ("chi_dia", LESION, 0, 60),
        ("chi_total", SURVEY, -100, 100),
        ("chi_total", LESION, -50, 50),
    ],
)
def test_windows_in_ppb(key, preset, low, high):
    copy = shown_copy(chi_map(key), BY_KEY[key], preset, GREY)
    display = copy.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (low, high)
    assert not display.GetAutoWindowLevel()


@pytest.mark.parametrize(("preset", "high"), [(SURVEY, 50), (LESION, 35)])
def test_r2star_window(preset, high):
    volume = chi_map("r2star_hz")
    style_map(volume, BY_KEY["r2star_hz"], preset, GREY)
    assert volume.GetDisplayNode().GetWindowLevelMax() == high


@pytest.mark.parametrize(("key", "color", "threshold"), [("chi_para", "Inferno", 25), ("chi_dia", "Viridis", 10)])
def test_overlay_colours_and_transparency(key, color, threshold):
    display = shown_copy(chi_map(key), BY_KEY[key], SURVEY, OVERLAY).GetDisplayNode()
    assert display.GetColorNode().GetName() == color
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == threshold


def test_grey_map_hides_nothing():
    display = shown_copy(chi_map(), BY_KEY["chi_para"], SURVEY, GREY).GetDisplayNode()
    assert display.GetColorNode().GetName() == "Grey"
    assert not display.GetApplyThreshold()


def test_copy_holds_ppb_and_says_so():
    copy = shown_copy(chi_map(value=0.04), BY_KEY["chi_para"])
    assert arrayFromVolume(copy).max() == pytest.approx(40, rel=1e-6)
    assert copy.GetVoxelValueUnits().GetCodeValue() == "[ppb]"
    assert legend_of(copy).GetTitleText() == "chi-para [ppb]"
    assert legend_of(copy).GetLabelFormat() == "%.0f"


def test_legend_of_the_map_itself_is_in_ppm():
    volume = chi_map()
    style_map(volume, BY_KEY["chi_para"])
    assert legend_of(volume).GetTitleText() == "chi-para [ppm]"
    assert legend_of(volume).GetLabelFormat() == "%.3f"
    assert volume.GetDisplayNode().GetWindowLevelMax() == pytest.approx(0.1)


def test_every_legend_title_is_ascii():
    """VTK's fonts drop χ without a word."""
    for kind in BY_KEY.values():
        assert kind.label.isascii()


def test_copy_is_made_once_and_refreshed():
    volume = chi_map(value=0.04)
    first = shown_copy(volume, BY_KEY["chi_para"])
    set_array(volume, np.full(GRID.shape, 0.06, np.float32), GRID)
    assert shown_copy(volume, BY_KEY["chi_para"]) is first
    assert arrayFromVolume(first).min() == pytest.approx(60, rel=1e-6)


def test_map_under_a_transform_is_shown_where_it_lies():
    volume = chi_map(value=0.04)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    copy = shown_copy(volume, BY_KEY["chi_para"])
    assert copy.GetParentTransformNode() is transform
    assert copy.GetSpacing() == volume.GetSpacing()
    assert arrayFromVolume(copy).max() == pytest.approx(40, rel=1e-6)
    volume.SetAndObserveTransformNodeID(None)
    assert shown_copy(volume, BY_KEY["chi_para"]).GetParentTransformNode() is None


def test_copy_is_not_saved(tmp_path):
    volume = chi_map()
    shown_copy(volume, BY_KEY["chi_para"])
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert names == ["sub-01 chi-para"]


def test_copy_goes_with_its_map():
    volume = chi_map()
    shown_copy(volume, BY_KEY["chi_para"])
    slicer.mrmlScene.RemoveNode(volume)
    remove_orphaned_copies(slicer.mrmlScene)
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def shown_layout(nodes):
    manager = slicer.app.layoutManager()
    register_layout(manager.layoutLogic().GetLayoutNode())
    manager.setLayout(LAYOUT_ID)
    magnitude = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "magnitude")
    set_array(magnitude, np.full(GRID.shape, 50, np.float32), GRID)
    magnitude.CreateDefaultDisplayNodes()
    magnitude.GetDisplayNode().AutoWindowLevelOff()
    magnitude.GetDisplayNode().SetWindowLevelMinMax(0, 100)
    fill_views(slicer.mrmlScene, magnitude, nodes)
    for name in VIEW_NAMES:
        slicer.app.layoutManager().sliceWidget(name).sliceLogic().FitSliceToAll()
    return magnitude


def test_views_are_linked_and_show_magnitude_behind():
    copy = shown_copy(chi_map(), BY_KEY["chi_para"])
    magnitude = shown_layout({"chi_para": copy})
    composites = [composite_of(slicer.mrmlScene, name) for name in VIEW_NAMES]
    assert all(c.GetLinkedControl() and c.GetHotLinkedControl() for c in composites)
    assert {c.GetBackgroundVolumeID() for c in composites} == {magnitude.GetID()}
    assert composite_of(slicer.mrmlScene, "ChiSepPara").GetForegroundVolumeID() == copy.GetID()
    assert composite_of(slicer.mrmlScene, "ChiSepMagnitude").GetForegroundVolumeID() is None


def test_low_values_let_the_magnitude_through():
    """Where the map is 0 the picture is the grey of the magnitude; where it is 100 ppb it is Inferno's bright end."""
    volume = chi_map(value=0.1)
    shown_layout({"chi_para": shown_copy(volume, BY_KEY["chi_para"])})
    view = slicer.app.layoutManager().sliceWidget("ChiSepPara")
    picture = slice_picture(view.sliceLogic())
    colors = {tuple(int(c) for c in color) for color in picture[::7, ::7].reshape(-1, 3)}
    assert any(r == g == b and 120 <= r <= 135 for r, g, b in colors)  # half of the window of 100
    assert any(r > 240 and g > 240 and 140 < b < 190 for r, g, b in colors)  # (252, 255, 164)


def test_layout_is_registered_once():
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    register_layout(node)
    register_layout(node)
    assert node.IsLayoutDescription(LAYOUT_ID)


def test_saved_views_refer_to_the_maps():
    volume = chi_map()
    copy = shown_copy(volume, BY_KEY["chi_para"])
    shown_layout({"chi_para": copy})
    composite = composite_of(slicer.mrmlScene, "ChiSepPara")
    swapped = use_stored_maps(slicer.mrmlScene)
    assert composite.GetForegroundVolumeID() == volume.GetID()
    restore_layers(slicer.mrmlScene, swapped)
    assert composite.GetForegroundVolumeID() == find_shown_copy(volume).GetID() == copy.GetID()


def test_legends_are_told_when_the_views_change():
    """Slicer's legend follows a layer that a user changes; after a program it waits for a change of the legend."""
    copy = shown_copy(chi_map(), BY_KEY["chi_para"])
    told = []
    legend = legend_of(copy)
    tag = legend.AddObserver("ModifiedEvent", lambda *_: told.append(composite_of(slicer.mrmlScene, "ChiSepPara")))
    shown_layout({"chi_para": copy})
    legend.RemoveObserver(tag)
    assert told[-1].GetForegroundVolumeID() == copy.GetID()
