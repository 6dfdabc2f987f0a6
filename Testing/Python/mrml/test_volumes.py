"""Arrays and grids in volume nodes: nothing is turned, nothing is lost, units are stated."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.maps import PPM, SUSCEPTIBILITY
from ChiSepExtension.mrml.volumes import array_of, grid_of, mask_of, set_array, set_meaning, unit_of


def oblique_grid(shape=(5, 6, 7)) -> Grid:
    """Rotated by 20° about x and 35° about z, anisotropic, and flipped in i: no axis is like another."""
    a, b = np.radians(20), np.radians(35)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return Grid.from_spacing(shape, (3.0, 1.0, 0.8), rotation=about_z @ about_x @ np.diag([-1.0, 1.0, 1.0]))


def new_volume(name="volume", node_class="vtkMRMLScalarVolumeNode"):
    return slicer.mrmlScene.AddNewNodeByClass(node_class, name)


def test_array_and_oblique_grid_come_back():
    grid, array = oblique_grid(), np.random.default_rng(1).normal(size=(5, 6, 7)).astype(np.float32)
    volume = new_volume()
    set_array(volume, array, grid)
    assert np.array_equal(array_of(volume), array)
    assert grid_of(volume).matches(grid, tolerance_mm=1e-9)


def test_voxel_lies_where_slicer_says():
    """The RAS of a bright voxel by Slicer's own matrix and by ours agree: (k, j, i) is not mistaken for (i, j, k)."""
    grid, array = oblique_grid(), np.zeros((5, 6, 7), np.float32)
    array[1, 2, 3] = 1
    volume = new_volume()
    set_array(volume, array, grid)
    i, j, k = 3, 2, 1
    assert volume.GetImageData().GetScalarComponentAsDouble(i, j, k, 0) == 1
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    ras = matrix.MultiplyPoint((i, j, k, 1))[:3]
    assert np.allclose(ras, grid.index_to_ras((1, 2, 3)), atol=1e-9)


def test_transformed_volume_is_refused():
    volume = new_volume()
    set_array(volume, np.ones((2, 2, 2), np.float32), Grid.from_spacing((2, 2, 2)))
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="registration"):
        grid_of(volume)


def test_empty_volume_is_refused_by_name():
    with pytest.raises(InputError, match="nothing here"):
        grid_of(new_volume("nothing here"))


def test_unit_is_a_ucum_code():
    volume = new_volume()
    set_meaning(volume, SUSCEPTIBILITY, PPM)
    assert unit_of(volume) == "[ppm]"
    assert volume.GetVoxelValueUnits().GetCodingSchemeDesignator() == "UCUM"
    assert volume.GetVoxelValueQuantity().GetCodeMeaning() == "Magnetic Susceptibility"


def test_mask_from_label_map_and_from_segmentation_agree():
    grid = oblique_grid((8, 9, 10))
    inside = np.zeros(grid.shape, bool)
    inside[2:6, 3:7, 1:5] = True
    labels = new_volume("mask", "vtkMRMLLabelMapVolumeNode")
    set_array(labels, inside, grid)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mask")
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, segmentation)
    assert np.array_equal(mask_of(labels, grid), inside)
    assert np.array_equal(mask_of(segmentation, grid), inside)


def test_segmentation_under_a_transform_is_refused():
    """It is drawn elsewhere than its own voxels lie: the mask would be at the wrong place."""
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mask")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="registration"):
        mask_of(segmentation, oblique_grid())


def test_mask_on_another_grid_is_refused():
    volume = new_volume("mask")
    set_array(volume, np.ones((4, 4, 4), np.float32), Grid.from_spacing((4, 4, 4)))
    with pytest.raises(InputError, match="another grid"):
        mask_of(volume, Grid.from_spacing((4, 4, 5)))
