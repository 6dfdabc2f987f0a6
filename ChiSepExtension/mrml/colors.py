"""Slicer's colour tables by name, with a substitute where the application's colour files are not installed."""

from __future__ import annotations

import numpy as np
import slicer

#: Seventeen equidistant anchors of each table (red, green, blue in 0..1), interpolated to 256; the greatest deviation
#: from the published tables is 0.03. Used where Slicer's own files are missing (slicer-core without the application).
_ANCHORS = {
    "Inferno": (
        (0.001, 0.000, 0.014), (0.042, 0.028, 0.141), (0.129, 0.047, 0.291), (0.238, 0.037, 0.396),
        (0.342, 0.062, 0.429), (0.441, 0.099, 0.432), (0.541, 0.135, 0.415), (0.640, 0.171, 0.381),
        (0.736, 0.216, 0.330), (0.817, 0.271, 0.270), (0.890, 0.348, 0.198), (0.944, 0.443, 0.120),
        (0.977, 0.551, 0.039), (0.988, 0.668, 0.058), (0.976, 0.790, 0.196), (0.949, 0.910, 0.395),
        (0.988, 0.998, 0.645),
    ),
    "Viridis": (
        (0.267, 0.005, 0.329), (0.282, 0.095, 0.417), (0.279, 0.175, 0.483), (0.259, 0.252, 0.525),
        (0.230, 0.322, 0.546), (0.199, 0.388, 0.555), (0.173, 0.449, 0.558), (0.149, 0.508, 0.557),
        (0.128, 0.567, 0.551), (0.120, 0.622, 0.535), (0.154, 0.680, 0.504), (0.239, 0.736, 0.456),
        (0.361, 0.786, 0.388), (0.506, 0.829, 0.300), (0.668, 0.862, 0.196), (0.835, 0.886, 0.103),
        (0.993, 0.906, 0.144),
    ),
}  # fmt: skip


def color_node(scene, name: str):
    """The colour node of this name ("Grey", "Inferno", "Viridis"), made if the application does not ship it."""
    if name == "Grey":
        node = scene.GetNodeByID("vtkMRMLColorTableNodeGrey")
    else:
        node = scene.GetNodeByID(f"vtkMRMLColorTableNodeFile{name}.txt") or scene.GetFirstNodeByName(name)
    if node is not None and node.IsA("vtkMRMLColorNode"):
        return node
    return _make(scene, name)


def _make(scene, name: str):
    node = slicer.vtkMRMLColorTableNode()
    node.SetTypeToUser()
    node.SetName(name)
    node.SetNumberOfColors(256)
    anchors = np.array(_ANCHORS.get(name, ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))))
    where = np.linspace(0, 1, len(anchors))
    for index, position in enumerate(np.linspace(0, 1, 256)):
        red, green, blue = (float(np.interp(position, where, anchors[:, channel])) for channel in range(3))
        node.SetColor(index, str(index), red, green, blue, 1.0)
    return scene.AddNode(node)
