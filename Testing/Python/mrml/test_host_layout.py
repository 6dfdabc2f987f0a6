"""Layer: real scene, pictures without OpenGL. Layouts, views and what they show."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from chisep_testhost.picture import slice_picture, write_png

TWO_VIEWS = """<layout type="horizontal" split="true">{}</layout>""".format(
    "".join(
        f"""<item><view class="vtkMRMLSliceNode" singletontag="{name}">
        <property name="orientation" action="default">{orientation}</property>
        <property name="viewlabel" action="default">{label}</property>
        <property name="viewcolor" action="default">#E17012</property>
        <property name="viewgroup" action="default">7</property></view></item>"""
        for name, orientation, label in (("ChiPara", "Axial", "P"), ("ChiDia", "Coronal", "D"))
    )
)


def slab_volume(low=0.0, high=100.0):
    """Half of the voxels along i low, the other half high; shown with a window of 0..200."""
    values = np.full((11, 12, 14), low, np.float32)
    values[:, :, 7:] = high
    node = slicer.util.addVolumeFromArray(values, name="slab")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 200)
    return node


def show(background, **layers):
    slicer.util.setSliceViewerLayers(background=background, fit=True, **layers)


def test_standard_views():
    assert set(slicer.app.layoutManager().sliceViewNames()) == {"Red", "Green", "Yellow"}


def test_custom_layout_makes_its_views():
    manager = slicer.app.layoutManager()
    node = manager.layoutLogic().GetLayoutNode()
    previous = node.GetViewArrangement()
    if not node.IsLayoutDescription(501):
        assert node.AddLayoutDescription(501, TWO_VIEWS)
    assert not node.AddLayoutDescription(501, TWO_VIEWS)
    manager.setLayout(501)
    widget = manager.sliceWidget("ChiPara")
    assert widget.mrmlSliceNode().GetID() == "vtkMRMLSliceNodeChiPara"
    assert widget.mrmlSliceNode().GetViewGroup() == 7
    assert widget.mrmlSliceCompositeNode().GetID() == "vtkMRMLSliceCompositeNodeChiPara"
    assert manager.sliceWidget("ChiDia").mrmlSliceNode().GetOrientation() == "Coronal"
    assert manager.sliceWidget("Red").mrmlSliceNode().GetViewGroup() == 0
    manager.setLayout(previous)
    assert "ChiPara" in manager.sliceViewNames()  # all views ever made, as in Slicer


def test_empty_view_is_black():
    assert slice_picture("Red", (80, 60)).max() == 0


def test_picture_shows_window_and_level():
    show(slab_volume())
    picture = slice_picture("Red", (140, 120))
    assert picture.shape == (120, 140, 3)
    values = set(np.unique(picture))
    # 100 in a window of 0..200 is half of 255; interpolation only adds values between the two.
    assert 0 in values
    assert max(values) in (127, 128)


def test_picture_is_the_right_way_up():
    values = np.zeros((11, 12, 14), np.float32)
    values[:, 8:, 10:] = 200.0  # large j is anterior, large i is right when the axes point to R and A
    node = slicer.util.addVolumeFromArray(values, name="corner")
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevelMinMax(0, 200)
    show(node)
    rows, columns = np.nonzero(slice_picture("Red", (140, 120))[..., 0] > 128)
    # Axial view of a radiological display: anterior on top, the patient's right on the left.
    assert rows.mean() < 60
    assert columns.mean() < 70


def test_threshold_of_the_foreground_lets_the_background_through():
    background, overlay = slab_volume(100.0, 100.0), slab_volume(0.0, 0.05)
    display = overlay.GetDisplayNode()
    display.SetAndObserveColorNodeID(slicer.util.getNode("Inferno").GetID())
    display.SetWindowLevelMinMax(0, 0.05)
    display.SetThreshold(0.025, 1e6)
    display.ApplyThresholdOn()
    show(background, foreground=overlay, foregroundOpacity=1.0)
    picture = slice_picture("Red", (140, 120)).astype(int)
    colored = np.ptp(picture, axis=2) > 40
    gray = (np.ptp(picture, axis=2) < 3) & (abs(picture[..., 0] - 127) < 3)
    assert 0.4 < colored.mean() < 0.6  # half of the slice, up to one interpolated voxel
    assert 0.4 < gray.mean() < 0.6


def test_picture_is_written_as_png(tmp_path):
    from PIL import Image

    show(slab_volume())
    picture = slice_picture("Red", (140, 120), tmp_path / "red.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "red.png")), picture)
    assert write_png(tmp_path / "again.png", picture).stat().st_size > 0


def test_unknown_view_is_named():
    with pytest.raises(KeyError, match="Mauve"):
        slice_picture("Mauve")


def test_view_shows_a_loaded_scene(tmp_path):
    show(slab_volume())
    before = slice_picture("Red", (140, 120))
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert slice_picture("Red", (140, 120)).max() == 0
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert np.array_equal(slice_picture("Red", (140, 120)), before)
