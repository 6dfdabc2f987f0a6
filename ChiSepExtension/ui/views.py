"""The module's slice views in the application: shown, filled, and left as they were found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import slicer

from ..mrml.display import (
    OVERLAY,
    remove_orphaned_copies,
    restore_layers,
    shown_copy,
    style_map,
    use_stored_maps,
)
from ..mrml.echoes import echo_volumes
from ..mrml.layout import (
    LAYOUT_IDS,
    LAYOUTS,
    MAP_KEYS,
    MAPS,
    PRIOR,
    composite_of,
    fill_layout,
    register_layout,
    set_opacity,
)
from ..mrml.maps import BY_KEY, SURVEY
from ..mrml.outputs import MAGNITUDE, base_name, magnitude_behind, maps_of_same_run, write_magnitude
from ..mrml.volumes import grid_of


@dataclass(frozen=True)
class ViewChoice:
    """How maps are shown.

    Parameters
    ----------
    context
        Images beside the maps by parameter name ("flair", "t1", "swi").
    earlier
        Any map of an earlier visit, for the layout of two time points.
    """

    preset: str = SURVEY
    style: str = OVERLAY
    layout: str = MAPS
    opacity: float = 1.0
    context: Mapping[str, Any] = field(default_factory=dict)
    earlier: Any = None


class MapViews:
    """Linked views of magnitude and maps. Everything is a no-op where there is no layout manager."""

    def __init__(self) -> None:
        self._previousLayout: int | None = None
        self._swapped: list[tuple[str, str, str]] = []
        self._layout = MAPS

    @property
    def areShown(self) -> bool:
        node = self._layoutNode()
        return node is not None and node.GetViewArrangement() in LAYOUT_IDS

    def show(self, nodes: dict, choice: ViewChoice | None = None) -> bool:
        """Show maps (nodes by key) in one of the module's layouts.

        Returns False where there is nothing to show or no view.
        """
        choice = choice or ViewChoice()
        nodes = {key: node for key, node in nodes.items() if node is not None and node.GetImageData() is not None}
        reference = next((nodes[key] for key in MAP_KEYS if key in nodes), None)
        if reference is None:
            return False
        remove_orphaned_copies(slicer.mrmlScene)
        images = {**choice.context, MAGNITUDE: magnitude_behind(reference), **self._style(nodes, choice)}
        if choice.earlier is not None:
            images.update(self._earlier(choice))
        layoutNode = self._layoutNode()
        if layoutNode is None:
            return False
        wanted = LAYOUTS[choice.layout].number
        register_layout(layoutNode, choice.layout)
        before = layoutNode.GetViewArrangement()
        if before != wanted:
            if before not in LAYOUT_IDS:
                self._previousLayout = before
            slicer.app.layoutManager().setLayout(wanted)
        self._layout = choice.layout
        fill_layout(slicer.mrmlScene, choice.layout, images, opacity=choice.opacity)
        if before != wanted:
            self.fit()
        return True

    @staticmethod
    def prepare(nodes: Mapping[str, Any]) -> Iterator[str]:
        """Make the copies that `show` will need, one per step: 42 MB each for a head of 1 mm, 0.1 s."""
        if slicer.app.layoutManager() is None:
            return
        for key in MAP_KEYS:
            if nodes.get(key) is not None:
                shown_copy(nodes[key], BY_KEY[key])
                yield key

    def setOpacity(self, opacity: float) -> None:
        """Opacity of the maps over what lies behind them."""
        if self.areShown:
            set_opacity(slicer.mrmlScene, self._layout, opacity)

    def replaceInViews(self, replacements: Mapping[str, Any]) -> None:
        """Put other volumes where maps (by node ID) are shown; for a preview, and back again."""
        for view in LAYOUTS[self._layout].views if self.areShown else ():
            node = composite_of(slicer.mrmlScene, view.tag)
            new = replacements.get(node.GetForegroundVolumeID()) if node is not None else None
            if new is not None:
                linked = node.GetLinkedControl()
                node.SetLinkedControl(0)
                node.SetForegroundVolumeID(new.GetID())
                node.SetLinkedControl(linked)

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
        """Fit every view to what lies behind."""
        for view in LAYOUTS[self._layout].views:
            widget = slicer.app.layoutManager().sliceWidget(view.tag)
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
    def _style(nodes: Mapping[str, Any], choice: ViewChoice) -> dict[str, Any]:
        """Window and colours of every map; returns what the views show."""
        shown = {}
        for key, node in nodes.items():
            if key not in BY_KEY:
                continue
            style_map(node, BY_KEY[key], choice.preset, choice.style)
            if key in MAP_KEYS:
                shown[key] = shown_copy(node, BY_KEY[key], choice.preset, choice.style)
        return shown

    def _earlier(self, choice: ViewChoice) -> dict[str, Any]:
        nodes = maps_of_same_run(choice.earlier)
        shown = self._style(nodes, choice)
        if MAGNITUDE in nodes:
            shown[MAGNITUDE] = nodes[MAGNITUDE]
        return {f"{key}{PRIOR}": node for key, node in shown.items()}

    @staticmethod
    def _layoutNode():
        manager = slicer.app.layoutManager()
        return manager.layoutLogic().GetLayoutNode() if manager is not None else None
