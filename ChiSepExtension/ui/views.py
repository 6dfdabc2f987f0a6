"""The module's slice views in the application: shown, filled, and left as they were found."""

from __future__ import annotations

import slicer

from ..mrml.display import remove_orphaned_copies, restore_layers, shown_copy, style_map, use_stored_maps
from ..mrml.echoes import echo_volumes
from ..mrml.layout import LAYOUT_ID, MAP_IN_VIEW, VIEW_NAMES, fill_views, register_layout
from ..mrml.maps import BY_KEY
from ..mrml.outputs import base_name, magnitude_behind, write_magnitude
from ..mrml.volumes import grid_of


class MapViews:
    """Linked views of magnitude and maps. Everything is a no-op where there is no layout manager."""

    def __init__(self) -> None:
        self._previousLayout: int | None = None
        self._swapped: list[tuple[str, str, str]] = []

    @property
    def areShown(self) -> bool:
        node = self._layoutNode()
        return node is not None and node.GetViewArrangement() == LAYOUT_ID

    def show(self, nodes: dict, preset: str, style: str) -> bool:
        """Show maps (nodes by key) in the 2×2 layout. Returns False where there is nothing to show or no view."""
        nodes = {key: node for key, node in nodes.items() if node is not None and node.GetImageData() is not None}
        if not any(key in nodes for key in MAP_IN_VIEW.values()):
            return False
        remove_orphaned_copies(slicer.mrmlScene)
        shown = self._style(nodes, preset, style)
        layoutNode = self._layoutNode()
        if layoutNode is None:
            return False
        register_layout(layoutNode)
        firstTime = layoutNode.GetViewArrangement() != LAYOUT_ID
        if firstTime:
            self._previousLayout = layoutNode.GetViewArrangement()
            slicer.app.layoutManager().setLayout(LAYOUT_ID)
        reference = next(nodes[key] for key in MAP_IN_VIEW.values() if key in nodes)
        fill_views(slicer.mrmlScene, magnitude_behind(reference), shown)
        if firstTime:
            self.fit()
        return True

    @staticmethod
    def showMagnitude(magnitude):
        """Show the mean of a magnitude sequence in the views that are open, so that a load has something to see."""
        volumes = echo_volumes(magnitude)
        node = write_magnitude(
            slicer.mrmlScene,
            volumes,
            grid_of(volumes[0]),
            name=base_name(magnitude),
            inputs={"magnitude": magnitude},
        )
        if slicer.app.layoutManager() is not None:
            slicer.util.setSliceViewerLayers(background=node, foreground=None, label=None, fit=True)
        return node

    def fit(self) -> None:
        """Fit every view to the magnitude."""
        for name in VIEW_NAMES:
            widget = slicer.app.layoutManager().sliceWidget(name)
            if widget is not None:
                widget.sliceLogic().FitSliceToBackground()
                widget.sliceLogic().SnapSliceOffsetToIJK()

    def leave(self) -> bool:
        """Bring back the layout that was there before. Returns whether our own was on screen."""
        wereShown = self.areShown
        if wereShown and self._previousLayout is not None:
            slicer.app.layoutManager().setLayout(self._previousLayout)
        self._previousLayout = None
        return wereShown

    def beforeSave(self) -> None:
        """Views refer to the maps while a scene is written: the copies in ppb are not part of it."""
        self._swapped = use_stored_maps(slicer.mrmlScene)

    def afterSave(self) -> None:
        restore_layers(slicer.mrmlScene, self._swapped)
        self._swapped = []

    @staticmethod
    def _style(nodes: dict, preset: str, style: str) -> dict:
        """Window and colours of every map; returns what the views show."""
        shown = {}
        for key, node in nodes.items():
            style_map(node, BY_KEY[key], preset, style)
            if key in MAP_IN_VIEW.values():
                shown[key] = shown_copy(node, BY_KEY[key], preset, style)
        return shown

    @staticmethod
    def _layoutNode():
        manager = slicer.app.layoutManager()
        return manager.layoutLogic().GetLayoutNode() if manager is not None else None
