"""Pictures of slice views without OpenGL: Slicer's own slice pipeline runs on the CPU up to the blended image.

In the picture: background, foreground, label layer, with window, colours, threshold and opacity. Not in it: segments,
crosshair, colour legend and corner texts, which need OpenGL.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk.util.numpy_support


def slice_picture(slice_logic) -> np.ndarray:
    """What a `vtkMRMLSliceLogic` shows: uint8 (rows, columns, 3), first row on top, over black."""
    width, height, _ = slice_logic.GetSliceNode().GetDimensions()
    connection = slice_logic.GetImageDataConnection()
    if connection is None:
        return np.zeros((height, width, 3), dtype=np.uint8)
    producer = connection.GetProducer()
    producer.Update()
    image = producer.GetOutputDataObject(connection.GetIndex())
    width, height, _ = image.GetDimensions()
    pixels = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1]
    if pixels.shape[2] < 4:
        return np.repeat(pixels[..., :1], 3, axis=2).astype(np.uint8)
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return np.round(pixels[..., :3] * alpha).astype(np.uint8)


def write_picture(path: str | Path, slice_logics) -> Path:
    """Write the pictures of several views side by side as one PNG, research-use notice below. Returns the path."""
    from PIL import Image, ImageDraw

    from ..notice import RESEARCH_USE

    pictures = [slice_picture(logic) for logic in slice_logics]
    height = max(p.shape[0] for p in pictures)
    padded = [np.pad(p, ((0, height - p.shape[0]), (0, 4), (0, 0))) for p in pictures]
    sheet = np.pad(np.concatenate(padded, axis=1), ((0, 18), (0, 0), (0, 0)))
    image = Image.fromarray(sheet)
    ImageDraw.Draw(image).text((4, height + 2), RESEARCH_USE.replace("—", "-"), fill=(255, 255, 255))
    image.save(str(path))
    return Path(path)
