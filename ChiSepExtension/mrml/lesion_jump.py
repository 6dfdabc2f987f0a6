"""Jumping to a lesion: every slice view goes through a voxel of it, centred, close enough to judge a rim."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..geometry import Grid
from ..lesions.components import Lesion

#: About four lesion diameters fill the view: 40 mm for a lesion of 10 mm.
FIELD_PER_DIAMETER = 4.0
FIELD_RANGE_MM = (30.0, 80.0)


def field_of_view_mm(lesion: Lesion) -> float:
    """Side of the square that is shown around a lesion."""
    return float(np.clip(FIELD_PER_DIAMETER * lesion.max_diameter_mm, *FIELD_RANGE_MM))


def jump_point(lesion: Lesion, grid: Grid) -> tuple[float, float, float]:
    """RAS of the centre of a lesion voxel whose slices are large in all orientations; never in the hole of a ring."""
    return tuple(float(v) for v in grid.index_to_ras(np.array(lesion.jump_voxel)))


def visible_slice_nodes(layout_logic) -> list:
    """Slice nodes of the current layout; views of layouts that were left stay in the scene and are not among them."""
    nodes = layout_logic.GetViewNodes()
    every = [nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())]
    return [node for node in every if node.IsA("vtkMRMLSliceNode")]


def jump(slice_nodes: Iterable, ras: tuple[float, float, float], field_mm: float | None = None) -> None:
    """Centre the views on a point; the shorter side of each shows ``field_mm`` if given."""
    for node in slice_nodes:
        was = node.StartModify()
        node.JumpSliceByCentering(*ras)
        if field_mm is not None:
            field = node.GetFieldOfView()
            scale = field_mm / min(field[0], field[1])
            node.SetFieldOfView(field[0] * scale, field[1] * scale, field[2])
        node.EndModify(was)


def show_sides(slice_nodes: Iterable) -> dict[str, tuple[int, int, int]]:
    """Scale bar and small axes with R, A, S in every view. Returns how they were, by node ID."""
    before = {}
    for node in slice_nodes:
        before[node.GetID()] = (node.GetRulerType(), node.GetOrientationMarkerType(), node.GetOrientationMarkerSize())
        was = node.StartModify()
        node.SetRulerType(node.RulerTypeThin)
        node.SetOrientationMarkerType(node.OrientationMarkerTypeAxes)
        node.SetOrientationMarkerSize(node.OrientationMarkerSizeSmall)
        node.EndModify(was)
    return before


def restore_sides(scene, before: dict[str, tuple[int, int, int]]) -> None:
    for node_id, (ruler, marker, size) in before.items():
        node = scene.GetNodeByID(node_id)
        if node is not None:
            node.SetRulerType(ruler)
            node.SetOrientationMarkerType(marker)
            node.SetOrientationMarkerSize(size)


@dataclass(frozen=True)
class CrosshairState:
    """How the crosshair was before the reading began."""

    mode: int
    thickness: int


def show_crosshair(scene, ras: tuple[float, float, float]) -> CrosshairState | None:
    """Put the crosshair on a point: thin, with a gap in the middle. Returns how it was drawn before."""
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is None:
        return None
    before = CrosshairState(crosshair.GetCrosshairMode(), crosshair.GetCrosshairThickness())
    crosshair.SetCrosshairMode(crosshair.ShowSmallBasic)
    crosshair.SetCrosshairThickness(crosshair.Fine)
    crosshair.SetCrosshairRAS(*ras)
    return before


def restore_crosshair(scene, before: CrosshairState | None) -> None:
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is not None and before is not None:
        crosshair.SetCrosshairMode(before.mode)
        crosshair.SetCrosshairThickness(before.thickness)


def cycle_overlay(composites: Iterable, steps: tuple[float, ...] = (0.0, 0.4, 1.0)) -> float:
    """Next opacity of the overlays, the same in all views; returns it."""
    composites = [node for node in composites if node.GetForegroundVolumeID()]
    if not composites:
        return steps[0]
    now = composites[0].GetForegroundOpacity()
    following = next((step for step in steps if step > now + 1e-3), steps[0])
    for node in composites:
        node.SetForegroundOpacity(following)
    return following
