"""The outlines of a case in the scene: one segmentation that follows, and is followed by, the Segment Editor."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ..errors import InputError
from ..geometry import Grid
from ..lesions.components import Lesion, LesionSet
from ..lesions.lesion_files import read_labels
from ..lesions.lineage import Event, OutlineHistory
from .lesion_display import show_outlines
from .lesion_segmentation import (
    KIND,
    KIND_VALUE,
    adopt,
    labels_of,
    lesion_numbers,
    name_segments,
    read_segments,
    write_changes,
    write_lesions_node,
)


class LesionOutlines:
    """Segmentation node and history of the lesions of a case.

    Parameters
    ----------
    scene
        MRML scene.
    reference
        Volume node on whose grid the outlines lie.
    case
        Code of the case; enters names and identifiers.
    followed
        Called after identities or outlines have changed.
    touched
        Called when somebody has edited the segmentation; `sync` will tell what.
    """

    def __init__(self, scene, reference, grid: Grid, case: str, *, followed: Callable, touched: Callable) -> None:
        self.scene, self.grid, self.case = scene, grid, case
        self._reference_id = reference.GetID()
        self._followed, self._touched = followed, touched
        self.node_id = ""
        self.history: OutlineHistory | None = None
        self.resampled_dice = float("nan")
        self._dirty = self._writing = False
        self._tags: list[tuple[Any, int]] = []

    def take_over(self, source, *, resample: bool = False) -> LesionSet:
        """Take over outlines: a segmentation or label map node, or the path of a file.

        A segmentation of this scene whose segments are lesions already is used as it is; of anything else a new
        segmentation is made, with a segment and an identifier per lesion.

        Raises
        ------
        InputError
            If it lies on another grid than the maps and ``resample`` was not asked for, or holds nothing.
        """
        grid = self.grid
        is_node = hasattr(source, "GetID")
        if is_node:
            (labels, self.resampled_dice), name = labels_of(source, grid, resample=resample), source.GetName()
        else:
            labels, name = read_labels(source), Path(source).name
            if resample and not labels.grid.matches(grid):
                labels, self.resampled_dice = labels.resampled(grid)
            else:
                labels = labels.on(grid)
        lesions = labels.lesions(self.case)
        if not len(lesions):
            raise InputError(f"“{name}” holds no lesion on the maps.", "Check that it is the mask of this case.")
        if is_node and source.GetAttribute(KIND) == KIND_VALUE:
            node = source
            self._name_drawn(node, lesions)
        else:
            node = write_lesions_node(self.scene, lesions, f"{self.case} lesions", reference=self._reference)
            if is_node and source.GetDisplayNode() is not None:
                source.GetDisplayNode().SetVisibility(False)  # two outlines of one lesion would hide its rim
        self._take(node, lesions)
        return lesions

    def _name_drawn(self, node, lesions: LesionSet) -> None:
        """Segments that were added by hand since get their identifier; empty ones go."""
        found = read_segments(node, self.grid)
        drawn = [entry for entry in found.entries if (found.labels == entry.value).any()]
        for entry in set(found.entries) - set(drawn):
            node.GetSegmentation().RemoveSegment(entry.segment_id)
        numbers = lesion_numbers(drawn)
        uid_of = {lesion.label: lesion.uid for lesion in lesions.lesions}
        name_segments(
            node, lesions, tuple(drawn), {entry.value: uid_of.get(numbers[entry.value], "") for entry in drawn}
        )

    def _take(self, node, lesions: LesionSet) -> None:
        unobserve(self._tags)
        self.node_id = node.GetID()
        self.history = OutlineHistory(lesions, case=self.case)
        adopt(node, self._reference)
        show_outlines(node)
        segmentation = node.GetSegmentation()
        for event in ("SourceRepresentationModified", "SegmentAdded", "SegmentRemoved"):
            number = getattr(slicer.vtkSegmentation, event)
            self._tags.append(observe(segmentation, number, self._edited))

    @property
    def node(self):
        """The segmentation of the lesions."""
        node = self.scene.GetNodeByID(self.node_id) if self.node_id else None
        if node is None:
            raise InputError("There are no lesions.", "Import a lesion mask first.")
        return node

    @property
    def current(self) -> LesionSet:
        """Lesions as they are drawn now."""
        self.sync()
        if self.history is None:
            raise InputError("There are no lesions.", "Import a lesion mask first.")
        return self.history.current

    @property
    def is_dirty(self) -> bool:
        """True if outlines were edited since they were last looked at."""
        return self._dirty

    def sync(self) -> tuple[Event, ...]:
        """Follow what was painted, erased, added, deleted or undone in the segmentation."""
        if not self._dirty or self.history is None:
            return ()
        self._dirty = False
        history = self.history
        found = read_segments(self.node, self.grid)
        present = np.bincount(found.labels.reshape(-1), minlength=len(found.entries) + 1) > 0
        drawn = [entry for entry in found.entries if present[entry.value]]
        self._undo_what_came_back({entry.uid for entry in drawn})
        known = {lesion.uid: lesion.label for lesion in history.current.lesions}
        label_of = np.zeros(len(found.entries) + 1, np.int32)
        fresh = history.next_label
        for entry in drawn:
            # A copied segment carries its original's identifier: the second one is a new lesion.
            label_of[entry.value] = known.pop(entry.uid, 0)
            if not label_of[entry.value]:
                label_of[entry.value], fresh = fresh, fresh + 1
        before = history.current
        events = history.update(label_of[found.labels])
        if events:
            uid_of = {lesion.label: lesion.uid for lesion in history.current.lesions}
            self._write(lambda: name_segments(
                self.node, history.current, found.entries,
                {entry.value: uid_of.get(int(label_of[entry.value]), "") for entry in drawn},
            ))  # fmt: skip
        if events or history.current is not before:
            self._followed()
        return events

    def _undo_what_came_back(self, drawn: set[str]) -> None:
        """An undo in the Segment Editor brings segments back whose identifiers were given up: undo ours, too."""
        history = self.history
        while history.events:
            last, current = history.events[-1], set(history.current.uids)
            back = set(last.before) - current
            if not back or not back <= drawn or (set(last.after) - set(last.before)) & drawn:
                return
            history.undo()

    def split(self, uid: str, parts: np.ndarray | None = None) -> tuple[Lesion, ...]:
        """Replace a lesion by its connected components (or the given parts)."""
        return self._change(lambda history: history.split(uid, parts))

    def merge(self, uids: Sequence[str]) -> Lesion:
        """Replace lesions by one."""
        return self._change(lambda history: history.merge(uids))

    def delete(self, uid: str) -> None:
        """Remove a lesion's outline; its rating stays in the file."""
        self._change(lambda history: history.delete(uid))

    def undo(self) -> Event | None:
        """Take the last change of outlines back."""
        return self._change(lambda history: history.undo())

    def _change(self, operation):
        before, history = self.current, self.history
        result = operation(history)
        self._write(lambda: write_changes(self.node, before, history.current))
        self._followed()
        return result

    def _write(self, operation) -> None:
        self._writing = True
        try:
            operation()
        finally:
            self._writing = False

    @property
    def _reference(self):
        return self.scene.GetNodeByID(self._reference_id)

    def close(self) -> None:
        """Stop following the segmentation; it stays."""
        unobserve(self._tags)

    def _edited(self) -> None:
        if not self._writing:
            self._dirty = True
            self._touched()


def observe(subject, event: int, method) -> tuple[Any, int]:
    """An observer that does not keep the method's object alive."""
    reference = weakref.WeakMethod(method)

    def call(_caller, _event):
        target = reference()
        if target is not None:
            target()

    return subject, subject.AddObserver(event, call)


def unobserve(tags: list) -> None:
    """Remove the observers of a list, and empty it."""
    while tags:
        subject, tag = tags.pop()
        subject.RemoveObserver(tag)
