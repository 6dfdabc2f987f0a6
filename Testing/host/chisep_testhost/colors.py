"""Test code: color tables that Slicer reads from files of its own, which the wheel does not carry.

Same node IDs, names and number of entries as in Slicer; the colors run straight between a few control points of the
published maps: near enough to look at a picture, not equal to Slicer's tables.
"""

from __future__ import annotations

import colorsys

import numpy as np

# sRGB, evenly spaced from low to high values.
RAMPS = {
    "Inferno": ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)),
    "Viridis": ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)),
    "Plasma": ((13, 8, 135), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33)),
    "Magma": ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)),
    "Cividis": ((0, 34, 78), (65, 77, 107), (124, 123, 120), (188, 175, 111), (254, 232, 56)),
    "DivergingBlueRed": ((59, 76, 192), (141, 176, 254), (221, 221, 221), (244, 154, 123), (180, 4, 38)),
}


def add_color_nodes(scene) -> None:
    """Add the substitutes of Slicer's file based color tables to `scene`; they survive scene close, as in Slicer."""
    for name, points in RAMPS.items():
        control = np.asarray(points, float) / 255
        place = np.linspace(0, 1, len(points))
        ramp = np.stack([np.interp(np.linspace(0, 1, 256), place, control[:, c]) for c in range(3)], axis=1)
        _add(scene, name, [(f"{i}", *rgb, 1.0) for i, rgb in enumerate(ramp)])
    regions = [("background", 0.0, 0.0, 0.0, 0.0)]
    for i in range(1, 256):
        regions.append((f"region {i}", *colorsys.hsv_to_rgb((i * 0.618034) % 1, 0.65, 0.9), 1.0))
    _add(scene, "GenericColors", regions)


def _add(scene, name: str, entries) -> None:
    import slicer

    node = slicer.vtkMRMLColorTableNode()
    node.SetSingletonTag(f"File{name}.txt")
    node.SetName(name)
    node.SetTypeToUser()
    node.SetNumberOfColors(len(entries))
    for index, (label, r, g, b, a) in enumerate(entries):
        node.SetColor(index, label, float(r), float(g), float(b), a)
    node.SetSaveWithScene(False)
    scene.AddNode(node)
