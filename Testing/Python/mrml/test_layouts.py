"""The module's layouts: what each view shows, that views are linked, and what stands in for a missing image."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.display import GREY, shown_copy
from ChiSepExtension.mrml.layout import (
    LAYOUT_IDS,
    LAYOUTS,
    MAPS,
    ONE_UP,
    ORTHO,
    PAIR,
    READ,
    VIEW_GROUP,
    composite_of,
    fill_layout,
    register_layout,
    set_opacity,
    slice_node_of,
)
from ChiSepExtension.mrml.maps import BY_KEY, LESION, SURVEY
from ChiSepExtension.mrml.outputs import write_maps
from ChiSepExtension.mrml.volumes import set_array

GRID = Grid.from_spacing((8, 24, 24), (2.0, 1.0, 1.0))


def volume(name: str):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    set_array(node, np.ones(GRID.shape, np.float32), GRID)
    node.CreateDefaultDisplayNodes()
    return node


def images(*names: str) -> dict:
    return {name: volume(name) for name in names}


def open_layout(name: str, shown: dict, **choices) -> None:
    manager = slicer.app.layoutManager()
    register_layout(manager.layoutLogic().GetLayoutNode(), name)
    manager.setLayout(LAYOUTS[name].number)
    assert fill_layout(slicer.mrmlScene, name, shown, **choices) == len(LAYOUTS[name].views)


def names_in(tag: str) -> tuple[str, str]:
    """Names of background and foreground of a view; empty where there is none."""
    composite = composite_of(slicer.mrmlScene, tag)
    ids = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
    return tuple(slicer.mrmlScene.GetNodeByID(node_id).GetName() if node_id else "" for node_id in ids)


def test_numbers_are_above_100_and_tags_are_our_own():
    assert min(LAYOUT_IDS) > 100
    tags = [view.tag for layout in LAYOUTS.values() for view in layout.views]
    assert len(tags) == len(set(tags))
    assert all(tag.startswith("ChiSep") for tag in tags)


@pytest.mark.parametrize(
    ("name", "rows", "columns"), [(MAPS, 2, 2), (READ, 2, 3), (ORTHO, 3, 3), (PAIR, 2, 3), (ONE_UP, 1, 1)]
)
def test_shape_of_a_layout(name, rows, columns):
    assert [len(row) for row in LAYOUTS[name].rows] == [columns] * rows


def test_bar_of_a_view_has_room_for_two_letters():
    assert all(len(view.label) <= 2 for layout in LAYOUTS.values() for view in layout.views)


def test_read_shows_flair_sources_t1_total_and_rate():
    open_layout(READ, images("magnitude", "flair", "t1", "chi_para", "chi_dia", "chi_total", "r2star_hz"))
    assert names_in("ChiSepReadFlair") == ("flair", "")
    assert names_in("ChiSepReadPara") == ("flair", "chi_para")
    assert names_in("ChiSepReadDia") == ("flair", "chi_dia")
    assert names_in("ChiSepReadT1") == ("t1", "")
    assert names_in("ChiSepReadTotal") == ("flair", "chi_total")
    assert names_in("ChiSepReadRate") == ("flair", "r2star_hz")


def test_swi_takes_the_place_of_t1_and_the_magnitude_that_of_flair():
    open_layout(READ, images("magnitude", "swi", "chi_para"))
    assert names_in("ChiSepReadT1") == ("swi", "")
    assert names_in("ChiSepReadFlair") == ("magnitude", "")
    assert names_in("ChiSepReadPara") == ("magnitude", "chi_para")


def test_view_whose_map_was_not_made_shows_the_structure():
    open_layout(READ, images("magnitude", "chi_para"))
    assert names_in("ChiSepReadDia") == ("magnitude", "")


def test_ortho_has_each_image_in_three_planes():
    open_layout(ORTHO, images("magnitude", "flair", "chi_para", "chi_dia"))
    for plane in ("Axial", "Coronal", "Sagittal"):
        for part in ("Flair", "Para", "Dia"):
            assert slice_node_of(slicer.mrmlScene, f"ChiSepOrtho{plane}{part}").GetOrientation() == plane
        assert names_in(f"ChiSepOrtho{plane}Para") == ("flair", "chi_para")


def test_pair_shows_the_earlier_visit_above_this_one():
    shown = images("magnitude", "chi_para", "chi_dia", "magnitude:prior", "chi_para:prior", "chi_dia:prior")
    open_layout(PAIR, shown)
    assert names_in("ChiSepPair1Para") == ("magnitude:prior", "chi_para:prior")
    assert names_in("ChiSepPair2Para") == ("magnitude", "chi_para")
    assert names_in("ChiSepPair1Flair") == ("magnitude:prior", "")


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_views_are_linked_in_a_group_of_their_own(name):
    open_layout(name, images("magnitude", "chi_para"))
    for view in LAYOUTS[name].views:
        composite = composite_of(slicer.mrmlScene, view.tag)
        assert composite.GetLinkedControl()
        assert composite.GetHotLinkedControl()
        assert slice_node_of(slicer.mrmlScene, view.tag).GetViewGroup() == VIEW_GROUP


def test_a08_scrolling_one_view_moves_the_others():
    """As a user does it: the slice logic tells the linked views; all planes agree within 0.1 mm."""
    open_layout(READ, images("magnitude", "flair", "t1", "chi_para", "chi_dia", "chi_total", "r2star_hz"))
    logic = slicer.app.layoutManager().sliceWidget("ChiSepReadPara").sliceLogic()
    node = logic.GetSliceNode()
    logic.StartSliceNodeInteraction(node.SliceToRASFlag)
    logic.SetSliceOffset(4.0)
    logic.EndSliceNodeInteraction()
    for view in LAYOUTS[READ].views:
        matrix = slice_node_of(slicer.mrmlScene, view.tag).GetSliceToRAS()
        assert abs(matrix.GetElement(2, 3) - 4.0) < 0.1, view.tag


def test_opacity_changes_maps_and_leaves_structure():
    open_layout(READ, images("magnitude", "flair", "chi_para"), opacity=1.0)
    set_opacity(slicer.mrmlScene, READ, 0.4)
    assert composite_of(slicer.mrmlScene, "ChiSepReadPara").GetForegroundOpacity() == pytest.approx(0.4)
    assert composite_of(slicer.mrmlScene, "ChiSepReadFlair").GetForegroundOpacity() == 0


def map_of(key: str, sign: float = 1.0):
    array = np.full(GRID.shape, sign * 0.03, np.float32)
    return write_maps(slicer.mrmlScene, {key: array}, GRID, name="sub-01", provenance={})[key]


@pytest.mark.parametrize(
    ("key", "survey", "lesion"),
    [
        ("chi_para", (0, 100), (0, 50)),
        ("chi_dia", (0, 100), (0, 60)),
        ("chi_total", (-100, 100), (-50, 50)),
        ("r2star_hz", (0, 50), (0, 35)),
    ],
)
def test_a10_windows_of_the_presets(key, survey, lesion):
    for preset, (low, high) in ((SURVEY, survey), (LESION, lesion)):
        display = shown_copy(map_of(key), BY_KEY[key], preset, GREY).GetDisplayNode()
        assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (low, high)


@pytest.mark.parametrize(
    ("key", "unit"), [("chi_para", "ppb"), ("chi_dia", "ppb"), ("chi_total", "ppb"), ("r2star_hz", "1/s")]
)
def test_a11_legend_names_the_unit(key, unit):
    shown = shown_copy(map_of(key), BY_KEY[key], SURVEY, GREY)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(shown)
    assert legend.GetVisibility()
    assert f"[{unit}]" in legend.GetTitleText()


def test_a12_windows_do_not_depend_on_the_numbers_or_the_scan():
    first, second = map_of("chi_para"), map_of("chi_para", sign=3.0)
    displays = [shown_copy(node, BY_KEY["chi_para"], LESION, GREY).GetDisplayNode() for node in (first, second)]
    assert displays[0].GetWindowLevelMax() == displays[1].GetWindowLevelMax() == 50
