"""What reading does to the slice views: jump, crosshair, the active outline, the peek; and all of it taken back."""

from __future__ import annotations

import slicer

from ..mrml import lesion_display, lesion_jump
from ..mrml.lesion_review import LesionReview


class ReviewViews:
    """Views of one review. Everything is a no-op where there is no layout manager."""

    def __init__(self) -> None:
        self._crosshair = None
        self._isEntered = False
        self._sides: dict[str, tuple[int, int, int]] = {}

    def show(self, review: LesionReview, uid: str) -> None:
        """Centre every view of the layout on a lesion, and colour its outline."""
        lesion = review.lesions[uid]
        point = lesion_jump.jump_point(lesion, review.maps.grid)
        manager = slicer.app.layoutManager()
        if manager is not None:
            nodes = lesion_jump.visible_slice_nodes(manager.layoutLogic())
            lesion_jump.jump(nodes, point, lesion_jump.field_of_view_mm(lesion))
            new = [node for node in nodes if node.GetID() not in self._sides]  # another layout has other views
            self._sides.update(lesion_jump.show_sides(new))
        before = lesion_jump.show_crosshair(slicer.mrmlScene, point)
        if not self._isEntered:
            self._crosshair, self._isEntered = before, True
        lesion_display.highlight(review.node, uid)

    def peek(self, review: LesionReview, hidden: bool) -> None:
        """Outlines off while the key is held."""
        lesion_display.peek(review.node, hidden)

    def leave(self, review: LesionReview | None) -> None:
        """Crosshair as it was, no outline in colour."""
        if self._isEntered:
            lesion_jump.restore_crosshair(slicer.mrmlScene, self._crosshair)
        self._isEntered = False
        lesion_jump.restore_sides(slicer.mrmlScene, self._sides)
        self._sides = {}
        if review is not None and not review.is_closed:
            lesion_display.peek(review.node, False)
            lesion_display.highlight(review.node, None)
