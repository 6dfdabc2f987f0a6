"""Test code: stand-ins of the qMRML and qSlicer widgets that the project's `.ui` files use."""

from __future__ import annotations

import weakref

from PySide6 import QtCore, QtGui, QtWidgets
from shiboken6 import isValid

from .ctk_widgets import ctkCollapsibleButton, ctkSliderWidget, stored
from .errors import refuse
from .pythonqt import pythonic

_Combo = pythonic(QtWidgets.QComboBox)
ALIVE: weakref.WeakSet = weakref.WeakSet()


class qMRMLWidget(pythonic(QtWidgets.QWidget)):
    """Hands its scene to exactly those widgets that the `.ui` file connects, so a forgotten connection is found."""

    _stand_in = True
    mrmlSceneChanged = QtCore.Signal(object)
    SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(pythonic(QtWidgets.QWidget)):
    """Follows the scene: nodes of `nodeTypes`, by name, with "None" and "Create new" where the `.ui` allows them."""

    _stand_in = True
    nodeChanged, nodeFound = QtCore.Signal(object), QtCore.Signal(bool)
    nodeIDChanged, nodeMade = QtCore.Signal(str), QtCore.Signal(object)
    activatedNode = QtCore.Signal(object)
    SIGNALS = {
        "currentNodeChanged(vtkMRMLNode*)": "nodeChanged",
        "currentNodeChanged(bool)": "nodeFound",
        "currentNodeIDChanged(QString)": "nodeIDChanged",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeMade",
        "nodeActivated(vtkMRMLNode*)": "activatedNode",
    }
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)
    editEnabled = stored(bool, "editEnabled", False)
    renameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    baseName = stored(str, "baseName", "")
    interactionNodeSingletonTag = stored(str, "interactionNodeSingletonTag", "")

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._types: list[str] = []
        self._attributes: list[tuple[str, str, object]] = []
        self._options = {"noneEnabled": False, "showHidden": False, "showChildNodeTypes": True, "noneDisplay": "None"}
        self._scene, self._tags, self._names = None, [], []
        self._busy, self._last, self._requested = False, "", ""
        self._combo = _Combo()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._combo.activated.connect(self._activated)
        self._combo.currentIndexChanged.connect(self._report)
        ALIVE.add(self)

    def _option(kind, name: str):
        def write(self, value) -> None:
            self._options[name] = value
            self._refresh()

        return QtCore.Property(kind, lambda self: self._options[name], write)

    noneEnabled = _option(bool, "noneEnabled")
    showHidden = _option(bool, "showHidden")
    showChildNodeTypes = _option(bool, "showChildNodeTypes")
    noneDisplay = _option(str, "noneDisplay")

    def _set_types(self, types) -> None:
        self._types = list(types)
        self._refresh()

    nodeTypes = QtCore.Property("QStringList", lambda self: tuple(self._types), _set_types)

    def addAttribute(self, node_type: str, attribute: str, value=None) -> None:
        self._attributes.append((node_type, attribute, value))
        self._refresh()

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._watch_names([])
        self._scene, self._tags = scene, []
        if scene is not None:
            refresh = _weak(self._refresh)
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)
            self._tags = [scene.AddObserver(event, refresh) for event in events]
        self._refresh()

    def _accepts(self, node) -> bool:
        if node.GetHideFromEditors() and not self._options["showHidden"]:
            return False
        exact = node.GetClassName() in self._types
        if not exact and not (self._options["showChildNodeTypes"] and any(node.IsA(t) for t in self._types)):
            return False
        for node_type, attribute, value in self._attributes:
            if not node.IsA(node_type):
                continue
            found = node.GetAttribute(attribute)
            if found is None or (value is not None and found != str(value)):
                return False
        return True

    def _refresh(self, *_args) -> None:
        if self._scene is None:
            self._fill([])
        elif not self._scene.IsBatchProcessing():
            nodes = [self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes())]
            self._fill([node for node in nodes if self._accepts(node)])

    def _fill(self, nodes: list) -> None:
        current = self._requested or self._current_id()
        self._busy = True
        self._combo.clear()
        if self._options["noneEnabled"]:
            self._combo.addItem(self._options["noneDisplay"], "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        if self.addEnabled:
            for kind in self._types:
                self._combo.addItem(f"Create new {kind.removeprefix('vtkMRML').removesuffix('Node')}", "+" + kind)
        place = self._combo.findData(current) if current else -1
        if place < 0:
            place = 0 if self._options["noneEnabled"] or nodes else -1
        self._combo.setCurrentIndex(place)
        if self._current_id() == self._requested:
            self._requested = ""
        self._busy = False
        self._watch_names(nodes)
        self._report()

    def _watch_names(self, nodes: list) -> None:
        for node, tag in self._names:
            node.RemoveObserver(tag)
        renamed = _weak(self._renamed)
        self._names = [(node, node.AddObserver("ModifiedEvent", renamed)) for node in nodes]

    def _renamed(self, node, _event) -> None:
        place = self._combo.findData(node.GetID())
        if place >= 0 and self._combo.itemText(place) != node.GetName():
            self._combo.setItemText(place, node.GetName())

    def _activated(self, place: int) -> None:
        data = self._combo.itemData(place) or ""
        if data.startswith("+"):
            self.addNode(data[1:])
        self.activatedNode.emit(self.currentNode())

    def addNode(self, class_name: str | None = None):
        """What "Create new …" does."""
        class_name = class_name or self._types[0]
        base = self.baseName or class_name.removeprefix("vtkMRML").removesuffix("Node")
        node = self._scene.AddNewNodeByClass(class_name, self._scene.GenerateUniqueName(base))
        for node_type, attribute, value in self._attributes:
            if node.IsA(node_type):
                node.SetAttribute(attribute, str(value or ""))
        self._refresh()
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeMade.emit(node)
        return node

    def _current_id(self) -> str:
        data = self._combo.currentData or ""
        return "" if data.startswith("+") else data

    def setCurrentNodeID(self, node_id: str) -> None:
        place = self._combo.findData(node_id or "")
        # While a scene is read the list is behind: the choice is kept until the node is in it, as in Slicer.
        self._requested = node_id if node_id and place < 0 else ""
        self._combo.setCurrentIndex(place if place >= 0 else (0 if self._options["noneEnabled"] else -1))

    currentNodeID = QtCore.Property(str, lambda self: self._current_id(), setCurrentNodeID)

    def setCurrentNode(self, node) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def currentNode(self):
        return self._scene.GetNodeByID(self._current_id()) if self._scene and self._current_id() else None

    def nodeCount(self) -> int:
        data = [self._combo.itemData(i) or "" for i in range(self._combo.count)]
        return sum(bool(d) and not d.startswith("+") for d in data)

    def nodeFromIndex(self, index: int):
        data = [d for i in range(self._combo.count) if (d := self._combo.itemData(i)) and not d.startswith("+")]
        return self._scene.GetNodeByID(data[index]) if index < len(data) else None

    def _report(self, *_args) -> None:
        if self._busy or self._current_id() == self._last:
            return
        self._last = self._current_id()
        node = self.currentNode()
        self.nodeChanged.emit(node)
        self.nodeFound.emit(node is not None)
        self.nodeIDChanged.emit(self._last)


class qMRMLSegmentSelectorWidget(pythonic(QtWidgets.QWidget)):
    """One segment of one segmentation."""

    _stand_in = True
    nodeChanged, segmentChanged = QtCore.Signal(object), QtCore.Signal(str)
    SIGNALS = {"currentNodeChanged(vtkMRMLNode*)": "nodeChanged", "currentSegmentChanged(QString)": "segmentChanged"}

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._nodes, self._segments = qMRMLNodeComboBox(), _Combo()
        self._nodes.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._nodes.addEnabled = False
        column = QtWidgets.QVBoxLayout(self)
        column.addWidget(self._nodes)
        column.addWidget(self._segments)
        self._nodes.nodeChanged.connect(self._node_changed)
        self._segments.currentIndexChanged.connect(lambda _i: self.segmentChanged.emit(self.currentSegmentID()))

    def setMRMLScene(self, scene) -> None:
        self._nodes.setMRMLScene(scene)

    def _node_changed(self, node) -> None:
        self._segments.clear()
        segmentation = node.GetSegmentation() if node is not None else None
        for index in range(segmentation.GetNumberOfSegments() if segmentation else 0):
            segment = segmentation.GetNthSegment(index)
            self._segments.addItem(segment.GetName(), segmentation.GetNthSegmentID(index))
        self.nodeChanged.emit(node)

    def currentNode(self):
        return self._nodes.currentNode()

    def setCurrentNode(self, node) -> None:
        self._nodes.setCurrentNode(node)

    def currentSegmentID(self) -> str:
        return self._segments.currentData or ""

    def setCurrentSegmentID(self, segment_id: str) -> None:
        self._segments.setCurrentIndex(self._segments.findData(segment_id))


class Recorder(pythonic(QtWidgets.QFrame)):
    """A widget of Slicer that cannot be stood in for: a visible box that remembers what was called on it."""

    _stand_in = True

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._calls: list[tuple[str, tuple]] = []
        self.setFrameShape(QtWidgets.QFrame.Box)
        self.setMinimumHeight(36)

    def recorded(self, name: str) -> list[tuple]:
        """Arguments of each call of `name`, in order."""
        return [arguments for called, arguments in self._calls if called == name]

    def __getattr__(self, name: str):
        if name.startswith("_") or name not in type(self).METHODS:
            raise refuse(type(self).__name__, name)
        return lambda *arguments: self._calls.append((name, arguments))

    def paintEvent(self, _event) -> None:
        painter = QtGui.QPainter(self)
        painter.drawText(8, 20, f"<{type(self).__name__}>")
        painter.end()


class qMRMLSegmentEditorWidget(Recorder):
    _stand_in = True
    METHODS = frozenset(
        "setMaximumNumberOfUndoStates setMRMLSegmentEditorNode setMRMLScene setEffectNameOrder setSegmentationNode "
        "setSourceVolumeNode setCurrentSegmentID setActiveEffect setActiveEffectByName activeEffect saveStateForUndo "
        "undo redo installKeyboardShortcuts uninstallKeyboardShortcuts setupViewObservations removeViewObservations "
        "updateWidgetFromMRML setSegmentationNodeSelectorVisible setSourceVolumeNodeSelectorVisible "
        "setSwitchToSegmentationsButtonVisible segmentationNode sourceVolumeNode currentSegmentID "
        "mrmlSegmentEditorNode setDefaultTerminologyEntry".split()
    )
    unorderedEffectsVisible = stored(bool, "unorderedEffectsVisible", True)
    segmentationNodeSelectorVisible = stored(bool, "segmentationNodeSelectorVisible", True)
    sourceVolumeNodeSelectorVisible = stored(bool, "sourceVolumeNodeSelectorVisible", True)
    switchToSegmentationsButtonVisible = stored(bool, "switchToSegmentationsButtonVisible", True)
    jumpToSelectedSegmentEnabled = stored(bool, "jumpToSelectedSegmentEnabled", False)
    undoEnabled = stored(bool, "undoEnabled", False)
    maximumNumberOfUndoStates = stored(int, "maximumNumberOfUndoStates", 10)
    defaultTerminologyEntry = stored(str, "defaultTerminologyEntry", "")
    readOnly = stored(bool, "readOnly", False)
    autoShowSourceVolumeNode = stored(bool, "autoShowSourceVolumeNode", True)


class qMRMLSegmentsTableView(Recorder):
    _stand_in = True
    METHODS = frozenset(
        "setSegmentationNode setMRMLScene setTextFilter setHideSegments displayedSegmentIDs selectedSegmentIDs "
        "setSelectedSegmentIDs setStatusShown".split()
    )
    statusColumnVisible = stored(bool, "statusColumnVisible", False)
    filterBarVisible = stored(bool, "filterBarVisible", False)
    headerVisible = stored(bool, "headerVisible", True)
    opacityColumnVisible = stored(bool, "opacityColumnVisible", True)
    colorColumnVisible = stored(bool, "colorColumnVisible", True)
    visibilityColumnVisible = stored(bool, "visibilityColumnVisible", True)
    jumpToSelectedSegmentEnabled = stored(bool, "jumpToSelectedSegmentEnabled", False)
    readOnly = stored(bool, "readOnly", False)
    selectionMode = stored("QString", "selectionMode", "")


class qMRMLTableView(Recorder):
    _stand_in = True
    METHODS = frozenset("setMRMLScene setMRMLTableNode mrmlTableNode".split())


def _renamed(name: str, base: type) -> type:
    return type(base)(name, (base,), {"_stand_in": True})


def _weak(method):
    """A VTK observer that does not keep the widget alive, and is silent once Qt has deleted it."""
    reference = weakref.WeakMethod(method)

    def call(*arguments):
        target = reference()
        if target is not None and isValid(target.__self__):
            target(*arguments)

    return call


qMRMLCollapsibleButton = _renamed("qMRMLCollapsibleButton", ctkCollapsibleButton)
qMRMLSliderWidget = _renamed("qMRMLSliderWidget", ctkSliderWidget)
qSlicerWidget = _renamed("qSlicerWidget", qMRMLWidget)

MRML_CLASSES = {
    cls.__name__: cls
    for cls in (
        qMRMLCollapsibleButton,
        qMRMLNodeComboBox,
        qMRMLSegmentEditorWidget,
        qMRMLSegmentSelectorWidget,
        qMRMLSegmentsTableView,
        qMRMLSliderWidget,
        qMRMLTableView,
        qMRMLWidget,
        qSlicerWidget,
    )
}


def release_scene() -> None:
    """Take every node combo box off the scene, so that its observers end with the test that made it."""
    for widget in list(ALIVE):
        if isValid(widget):
            widget.setMRMLScene(None)
    ALIVE.clear()
