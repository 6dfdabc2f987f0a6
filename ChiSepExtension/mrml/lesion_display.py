"""How lesions are drawn while they are read: thin outlines, never filled, and only the active one in colour.

A filled mask hides the rim that the reader looks for.
"""

from __future__ import annotations

import slicer

from .lesion_segmentation import NEIGHBOUR_COLOR, segment_ids

#: Colour of the lesion that is being read: yellow after Okabe and Ito, seen on black, grey and white.
ACTIVE_COLOR = (0.94, 0.89, 0.26)

NOT_STARTED, IN_PROGRESS, COMPLETED, FLAGGED = 0, 1, 2, 3


def show_outlines(node) -> None:
    """Contours of one pixel, no fill, no closed surface (voxel outlines are the truth for a lesion of 14 voxels)."""
    display = _display(node)
    with slicer.util.NodeModify(display):
        display.SetVisibility(True)
        display.SetVisibility2D(True)
        display.SetVisibility2DFill(False)
        display.SetVisibility2DOutline(True)
        display.SetOpacity2DOutline(1.0)
        display.SetSliceIntersectionThickness(1)
        display.SetVisibility3D(False)


def highlight(node, uid: str | None) -> None:
    """Colour the outline of one lesion, and grey all others."""
    segmentation = node.GetSegmentation()
    active = segment_ids(node).get(uid or "")
    was = node.StartModify()
    for n in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(n)
        color = ACTIVE_COLOR if segmentation.GetNthSegmentID(n) == active else NEIGHBOUR_COLOR
        if segment.GetColor() != color:
            segment.SetColor(*color)
    node.EndModify(was)


def peek(node, hidden: bool) -> None:
    """Hide all outlines while a key is held, or bring them back."""
    _display(node).SetVisibility(not hidden)


def set_status(node, status_by_uid: dict[str, int]) -> None:
    """Write Slicer's own status (the column of the segments table) of the lesions named."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segmentation = node.GetSegmentation()
    was = node.StartModify()
    for uid, segment_id in segment_ids(node).items():
        status = status_by_uid.get(uid)
        segment = segmentation.GetSegment(segment_id)
        if status is not None and logic.GetSegmentStatus(segment) != status:
            logic.SetSegmentStatus(segment, status)
    node.EndModify(was)


def _display(node):
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node.GetDisplayNode()
