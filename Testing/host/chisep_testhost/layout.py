"""Test code: `slicer.app.layoutManager()` over Slicer's own layout and slice logics; its views draw without OpenGL."""

from __future__ import annotations

import vtk

from .errors import Refusing
from .picture import blended_picture

VIEW_SIZE = (400, 400)


class SliceView(Refusing):
    """One slice node with its slice logic: `sliceWidget`, `sliceController` and `sliceView` of Slicer in one object."""

    def __init__(self, runtime, node) -> None:
        import slicer

        self._node = node
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(runtime.application_logic)
        runtime.application_logic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(runtime.scene)
        self._logic.SetSliceNode(node)
        self._logic.ResizeSliceNode(*VIEW_SIZE)
        scene = runtime.scene
        # A slice node keeps waiting for a change after a load; in Slicer the view's controller makes one.
        events = (scene.EndImportEvent, scene.EndCloseEvent, scene.EndBatchProcessEvent)
        self._tags = [scene.AddObserver(event, self._after_scene_event) for event in events]

    def _after_scene_event(self, scene, _event) -> None:
        if not scene.IsBatchProcessing():
            self._node.Modified()

    def close(self, runtime) -> None:
        """Take the view and its nodes out of the application, for the next test."""
        for tag in self._tags:
            runtime.scene.RemoveObserver(tag)
        composite = self._logic.GetSliceCompositeNode()
        runtime.application_logic.GetSliceLogics().RemoveItem(self._logic)
        self._logic.SetMRMLScene(None)
        for node in (composite, self._node):
            if node is not None:
                runtime.scene.RemoveNode(node)

    def sliceView(self) -> SliceView:
        return self

    def sliceController(self) -> SliceView:
        return self

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._node

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()

    def scheduleRender(self) -> None:
        pass

    def forceRender(self) -> None:
        blended_picture(self._logic)


class LayoutManager(Refusing):
    """Makes a slice view for every slice node of the current layout; views of left layouts stay, as in Slicer."""

    threeDViewCount = tableViewCount = plotViewCount = 0

    def __init__(self, runtime) -> None:
        import slicer

        self._runtime = runtime
        self._views: dict[str, SliceView] = {}
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(runtime.application_logic)
        self._logic.SetMRMLScene(runtime.scene)
        self._node = self._logic.GetLayoutNode()
        self._node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._layout_changed)
        self.setLayout(self._node.SlicerLayoutFourUpView)

    def reset(self) -> None:
        """Back to the four standard views; views of other layouts are removed (Slicer keeps them, tests must not)."""
        self.setLayout(self._node.SlicerLayoutFourUpView)
        for name in set(self._views) - {"Red", "Green", "Yellow"}:
            self._views.pop(name).close(self._runtime)

    def _layout_changed(self, *_args) -> None:
        nodes = self._logic.GetViewNodes()
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
            if node.IsA("vtkMRMLSliceNode") and node.GetLayoutName() not in self._views:
                self._views[node.GetLayoutName()] = SliceView(self._runtime, node)

    @property
    def layout(self) -> int:
        return self._node.GetViewArrangement()

    @layout.setter
    def layout(self, arrangement: int) -> None:
        self.setLayout(arrangement)

    def setLayout(self, arrangement: int) -> None:
        self._node.SetViewArrangement(arrangement)

    def layoutLogic(self):
        return self._logic

    def mrmlSliceLogics(self):
        return self._runtime.application_logic.GetSliceLogics()

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._views)

    def sliceWidget(self, name: str) -> SliceView | None:
        return self._views.get(name)

    def resetSliceViews(self) -> None:
        for view in self._views.values():
            view.sliceLogic().FitSliceToAll()

    def resetThreeDViews(self) -> None:
        pass

    def setRenderPaused(self, _paused: bool) -> None:
        pass
