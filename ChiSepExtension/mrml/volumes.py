"""Arrays and grids in volume nodes, and what the numbers in them mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import slicer.util
import vtk
import vtk.util.numpy_support

from ..errors import InputError
from ..geometry import Grid


@dataclass(frozen=True)
class Code:
    """A coded term: value, coding scheme, meaning."""

    value: str
    scheme: str
    meaning: str


def grid_of(volume) -> Grid:
    """The grid of a volume node.

    Raises
    ------
    InputError
        If the node is empty or lies under a transform: the direction of B0 comes from the image's own matrix, and a
        transform that is only shown would turn the picture but not the field.
    """
    image = volume.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0:
        raise InputError(f"The volume “{volume.GetName()}” is empty.", "Choose another volume, or load it again.")
    if volume.GetParentTransformNode() is not None:
        raise InputError(
            f"The volume “{volume.GetName()}” lies under the transform “{volume.GetParentTransformNode().GetName()}”.",
            "Move it out of the transform (Data module): χ-separation needs the scanner's own orientation.",
        )
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return Grid(
        tuple(reversed(image.GetDimensions())),
        np.array([matrix.GetElement(*rc) for rc in np.ndindex(4, 4)]).reshape(4, 4),
    )


def world_grid_of(volume) -> Grid:
    """The grid of a volume as it lies in the scene: with its transform, where that is linear.

    Raises
    ------
    InputError
        If the node is empty or lies under a warp.
    """
    transform = volume.GetParentTransformNode()
    if transform is None:
        return grid_of(volume)
    if not transform.IsTransformToWorldLinear() or volume.GetImageData() is None:
        raise InputError(
            f"The volume “{volume.GetName()}” lies under the warp “{transform.GetName()}”.",
            "Harden the transform (Data module), or choose another volume.",
        )
    own, world = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(own)
    transform.GetMatrixTransformToWorld(world)
    vtk.vtkMatrix4x4.Multiply4x4(world, own, own)
    return Grid(
        tuple(reversed(volume.GetImageData().GetDimensions())),
        np.array([own.GetElement(*rc) for rc in np.ndindex(4, 4)]).reshape(4, 4),
    )


def array_of(volume) -> np.ndarray:
    """(z, y, x) view of a scalar volume's voxels. Vector and colour volumes are an `InputError`."""
    grid_of(volume)
    array = slicer.util.arrayFromVolume(volume)
    if array.ndim != 3:
        raise InputError(
            f"“{volume.GetName()}” holds {array.shape[-1]} numbers per voxel.",
            "Choose a volume with one number per voxel.",
        )
    return array


def set_array(volume, array: np.ndarray, grid: Grid) -> None:
    """Put an array (z, y, x) and its grid into a volume node; bool becomes 0/1."""
    if array.shape != grid.shape:
        raise ValueError(f"Array of shape {array.shape} does not lie on a grid of shape {grid.shape}.")
    values = array.astype(np.uint8) if array.dtype == bool else np.ascontiguousarray(array)
    with slicer.util.NodeModify(volume):
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(grid.ijk_to_ras.ravel().tolist())
        volume.SetIJKToRASMatrix(matrix)
        slicer.util.updateVolumeFromArray(volume, values)


def set_meaning(volume, quantity: Code | None, unit: Code | None) -> None:
    """State what the voxel values are and in which unit (UCUM). Survives .mrml and .mrb, not an NRRD header."""
    for code, setter in ((quantity, volume.SetVoxelValueQuantity), (unit, volume.SetVoxelValueUnits)):
        if code is not None:
            entry = slicer.vtkCodedEntry()
            entry.SetValueSchemeMeaning(code.value, code.scheme, code.meaning)
            setter(entry)


def unit_of(volume) -> str | None:
    """UCUM code of the voxel values, None if the node does not say."""
    entry = volume.GetVoxelValueUnits()
    return entry.GetCodeValue() if entry is not None else None


def mask_of(node, reference: Grid) -> np.ndarray:
    """Bool (z, y, x) on the reference grid from a mask volume or from all segments of a segmentation.

    Raises
    ------
    InputError
        If a volume lies on another grid, the node lies under a transform, or the mask is empty.
    """
    if node.IsA("vtkMRMLSegmentationNode"):
        mask = _mask_of_segmentation(node, reference)
    else:
        require_grid(node, reference, "brain mask")
        mask = array_of(node) > 0
    if not mask.any():
        raise InputError(f"The mask “{node.GetName()}” is empty.", "Choose another mask, or none to have one made.")
    return mask


def require_grid(volume, reference: Grid, role: str) -> None:
    """`InputError` unless the volume lies on the reference grid."""
    grid = grid_of(volume)
    if not grid.matches(reference):
        raise InputError(
            f"The {role} “{volume.GetName()}” lies on another grid ({grid.describe()}) than the magnitude "
            f"({reference.describe()}).",
            "Resample it to the magnitude (Resample Scalar/Vector/DWI Volume, or BRAINS resample).",
        )


def _mask_of_segmentation(segmentation, reference: Grid) -> np.ndarray:
    transform = segmentation.GetParentTransformNode()
    if transform is not None:
        raise InputError(
            f"The segmentation “{segmentation.GetName()}” lies under the transform “{transform.GetName()}”.",
            "Harden the transform, or move the segmentation out of it (Data module).",
        )
    geometry = slicer.vtkOrientedImageData()
    z, y, x = reference.shape
    geometry.SetExtent(0, x - 1, 0, y - 1, 0, z - 1)
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(reference.ijk_to_ras.ravel().tolist())
    geometry.SetImageToWorldMatrix(matrix)
    mask = np.zeros(reference.shape, dtype=bool)
    ids = vtk.vtkStringArray()
    segmentation.GetSegmentation().GetSegmentIDs(ids)
    for n in range(ids.GetNumberOfValues()):
        part = slicer.vtkOrientedImageData()
        if not segmentation.GetBinaryLabelmapRepresentation(ids.GetValue(n), part):
            continue
        on_grid = slicer.vtkOrientedImageData()
        if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            part, geometry, on_grid
        ):
            continue
        scalars = on_grid.GetPointData().GetScalars()
        if scalars is not None:
            mask |= vtk.util.numpy_support.vtk_to_numpy(scalars).reshape(reference.shape) > 0
    return mask
