"""Test code: keeps one subject hierarchy item per data node, which in Slicer is the work of a Qt plugin."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import vtk

OWNED_CLASSES = ("vtkMRMLDisplayableNode", "vtkMRMLTableNode", "vtkMRMLSequenceNode", "vtkMRMLTextNode")


class SubjectHierarchyItems:
    """Adds an item when a data node appears and takes it away with the node."""

    def __init__(self, scene) -> None:
        self._scene = scene
        self._active = True
        scene.AddObserver(scene.NodeAddedEvent, self._node_added)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._node_removed)
        scene.AddObserver(scene.EndImportEvent, self._scene_loaded)

    @contextlib.contextmanager
    def absent(self) -> Iterator[None]:
        """No items for new nodes, as on plain slicer-core: code must tolerate `GetItemByDataNode` = 0."""
        self._active = False
        try:
            yield
        finally:
            self._active = True

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_added(self, scene, _event, node) -> None:
        if not scene.IsImporting():
            self._add(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_removed(self, scene, _event, node) -> None:
        if scene.IsClosing() or not _is_owned(node):
            return
        hierarchy = scene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _scene_loaded(self, scene, _event) -> None:
        """Items stored in the file come back by themselves; nodes of files without any get theirs here."""
        for index in range(scene.GetNumberOfNodes()):
            self._add(scene.GetNthNode(index))

    def _add(self, node) -> None:
        if not (self._active and _is_owned(node)) or node.GetHideFromEditors():
            return
        hierarchy = self._scene.GetSubjectHierarchyNode()
        if hierarchy and not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


def _is_owned(node) -> bool:
    return any(node.IsA(name) for name in OWNED_CLASSES)
