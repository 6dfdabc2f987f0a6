"""The list of loaded volumes from which echoes are picked, one volume per echo."""

from __future__ import annotations

import qt
import slicer

from ..mrml.display import DISPLAY_ONLY
from ..mrml.echoes import natural_order
from ..mrml.outputs import KIND


class EchoList:
    """Shows the scene's scalar volumes, own maps left out, in the natural order of their names."""

    def __init__(self, listWidget) -> None:
        self._list = listWidget
        self._list.setSelectionMode(qt.QAbstractItemView.ExtendedSelection)

    def refresh(self) -> None:
        """Read the scene again; what was selected stays selected."""
        if slicer.mrmlScene.IsBatchProcessing():
            return
        selected = {item.data(qt.Qt.UserRole) for item in self._list.selectedItems()}
        volumes = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if _isInput(node)]
        self._list.clear()
        for index in natural_order([node.GetName() or "" for node in volumes]):
            node = volumes[index]
            item = qt.QListWidgetItem(node.GetName())
            item.setData(qt.Qt.UserRole, node.GetID())
            self._list.addItem(item)
            item.setSelected(node.GetID() in selected)

    def selectedVolumes(self) -> list:
        """The selected volume nodes, in the order of the list."""
        items = [self._list.item(row) for row in range(self._list.count)]
        ids = [item.data(qt.Qt.UserRole) for item in items if item.isSelected()]
        return [node for node in map(slicer.mrmlScene.GetNodeByID, ids) if node is not None]


def _isInput(node) -> bool:
    hidden = node.GetHideFromEditors() or node.IsA("vtkMRMLLabelMapVolumeNode")
    return not hidden and node.GetAttribute(KIND) is None and node.GetAttribute(DISPLAY_ONLY) is None
