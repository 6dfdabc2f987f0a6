"""Test code: pictures of slice views, read from the part of the slice pipeline that needs no OpenGL.

In the picture: background, foreground, label layer and any further layer, with window/level, color table, threshold and
opacity. Not in it: segments, crosshair, color legend, markups and corner texts, which Slicer draws with OpenGL.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy


def blended_picture(logic) -> np.ndarray:
    """What `logic` (vtkMRMLSliceLogic) shows: uint8 (rows, columns, 3), first row on top, over black."""
    width, height, _ = logic.GetSliceNode().GetDimensions()
    connection = logic.GetImageDataConnection()
    if connection is None:
        return np.zeros((height, width, 3), np.uint8)
    producer = connection.GetProducer()
    producer.Update()
    image = producer.GetOutputDataObject(connection.GetIndex())
    width, height, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1]
    if pixels.shape[2] == 4:
        return (pixels[..., :3].astype(np.float32) * (pixels[..., 3:] / 255.0)).round().astype(np.uint8)
    return np.repeat(pixels[..., :1], 3, axis=2).astype(np.uint8)


def slice_picture(view_name: str = "Red", size: tuple[int, int] = (400, 400), path=None) -> np.ndarray:
    """Picture of the slice view `view_name` of `size` (width, height) pixels; written as PNG when `path` is given.

    The view must exist in the layout manager; its field of view follows the new shape.
    """
    import slicer

    widget = slicer.app.layoutManager().sliceWidget(view_name)
    if widget is None:
        raise KeyError(f"no slice view {view_name!r}")
    widget.sliceLogic().ResizeSliceNode(*size)
    pixels = blended_picture(widget.sliceLogic())
    if path is not None:
        write_png(path, pixels)
    return pixels


def write_png(path, pixels: np.ndarray) -> Path:
    """Write uint8 (rows, columns, 3) as PNG."""
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(pixels)).save(str(path))
    return Path(path)
