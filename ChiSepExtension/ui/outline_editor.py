"""The embedded Segment Editor: made when somebody wants to edit an outline, let go when he reads again."""

from __future__ import annotations

import slicer

#: What an outline needs; the others stay in the Segment Editor module.
_EFFECTS = ("Paint", "Draw", "Erase", "Threshold", "Islands", "Smoothing")
_UNDO_STATES = 20


class OutlineEditor:
    """Slicer's own Segment Editor in a layout of the panel.

    Parameters
    ----------
    layout
        Where the editor is put.
    """

    def __init__(self, layout) -> None:
        self._layout = layout
        self._widget = None

    @property
    def widget(self):
        """Slicer's widget; None before the first edit."""
        return self._widget

    def enter(self, segmentation, source, segmentId: str) -> None:
        """Edit a segment of a segmentation over a volume; the editor owns its keys from now on."""
        if self._widget is None:
            self._widget = self._make()
        editor = self._widget
        editor.setMRMLSegmentEditorNode(_editorNode())
        editor.setMRMLScene(slicer.mrmlScene)
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(source)
        if segmentId:
            editor.setCurrentSegmentID(segmentId)
        editor.setupViewObservations()
        editor.installKeyboardShortcuts()

    def leave(self) -> None:
        """No effect stays active, no key and no view is listened to."""
        if self._widget is None:
            return
        self._widget.setActiveEffect(None)
        self._widget.uninstallKeyboardShortcuts()
        self._widget.removeViewObservations()

    def saveState(self) -> None:
        """Let the editor's undo come back to here: before a program changes outlines."""
        if self._widget is not None:
            self._widget.saveStateForUndo()

    def release(self) -> None:
        """Before a scene is closed, or the panel goes."""
        if self._widget is None:
            return
        self.leave()
        self._widget.setSegmentationNode(None)
        self._widget.setMRMLSegmentEditorNode(None)
        self._widget.setMRMLScene(None)
        self._widget.setParent(None)
        self._widget.deleteLater()
        self._widget = None

    def _make(self):
        editor = slicer.qMRMLSegmentEditorWidget()
        editor.setMaximumNumberOfUndoStates(_UNDO_STATES)
        editor.setEffectNameOrder(list(_EFFECTS))
        editor.unorderedEffectsVisible = False
        editor.segmentationNodeSelectorVisible = False
        editor.sourceVolumeNodeSelectorVisible = False
        editor.jumpToSelectedSegmentEnabled = False
        self._layout.addWidget(editor)
        return editor


def _editorNode():
    """The node that all Segment Editors share."""
    scene = slicer.mrmlScene
    node = scene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag("SegmentEditor")
        node = scene.AddNode(node)
    return node
