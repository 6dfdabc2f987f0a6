"""Linked slice views for the maps: magnitude, both sources over the magnitude, and the total susceptibility."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

#: Far above Slicer's own numbers, which end below 100.
LAYOUT_ID = 7301
VIEW_GROUP = 73
#: Tag of the view, two-letter label in its bar, colour of the bar.
VIEWS = (
    ("ChiSepMagnitude", "Ma", "#808080"),
    ("ChiSepPara", "χ+", "#E06C3A"),
    ("ChiSepDia", "χ−", "#3A9E86"),
    ("ChiSepTotal", "χ", "#6C7FB8"),
)
VIEW_NAMES = tuple(name for name, _, _ in VIEWS)
#: What each view shows in the foreground; the magnitude lies behind it.
MAP_IN_VIEW = {"ChiSepPara": "chi_para", "ChiSepDia": "chi_dia", "ChiSepTotal": "chi_total"}


def layout_description() -> str:
    """XML of the 2×2 layout."""
    rows = "".join(
        f'<item><layout type="horizontal" split="true">{"".join(_view(*v) for v in VIEWS[n : n + 2])}</layout></item>'
        for n in (0, 2)
    )
    return f'<layout type="vertical" split="true">{rows}</layout>'


def register_layout(layout_node) -> None:
    """Make the layout known once; asking twice is harmless."""
    if not layout_node.IsLayoutDescription(LAYOUT_ID):
        layout_node.AddLayoutDescription(LAYOUT_ID, layout_description())


def composite_of(scene, view_name: str):
    """The composite node of a view, None before the layout was shown."""
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        node = scene.GetNthNodeByClass(n, "vtkMRMLSliceCompositeNode")
        if node.GetLayoutName() == view_name or node.GetSingletonTag() == view_name:
            return node
    return None


def fill_views(scene, magnitude, shown: dict, opacity: float = 1.0) -> int:
    """Put the magnitude behind and the maps (by key) in front in every view, then link the views.

    Links are off while volumes are set: with them on, one view would hand its volumes to the others.
    Returns the number of views that were there.
    """
    composites = {name: composite_of(scene, name) for name in VIEW_NAMES}
    composites = {name: node for name, node in composites.items() if node is not None}
    for node in composites.values():
        node.SetLinkedControl(0)
    for name, node in composites.items():
        volume = shown.get(MAP_IN_VIEW.get(name))
        node.SetBackgroundVolumeID(magnitude.GetID() if magnitude is not None else None)
        node.SetForegroundVolumeID(volume.GetID() if volume is not None else None)
        node.SetForegroundOpacity(opacity if volume is not None else 0.0)
        node.SetLabelVolumeID(None)
    for node in composites.values():
        node.SetHotLinkedControl(1)
        node.SetLinkedControl(1)
    _refresh_legends(scene)
    return len(composites)


def _refresh_legends(scene) -> None:
    """Slicer draws legends anew when a user changes a layer, not when a program does: they are told."""
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode")):
        scene.GetNthNodeByClass(n, "vtkMRMLColorLegendDisplayNode").Modified()


def _view(name: str, label: str, color: str) -> str:
    properties = {"orientation": "Axial", "viewlabel": label, "viewcolor": color, "viewgroup": str(VIEW_GROUP)}
    inside = "".join(
        f'<property name={quoteattr(key)} action="default">{value}</property>' for key, value in properties.items()
    )
    return f'<item><view class="vtkMRMLSliceNode" singletontag={quoteattr(name)}>{inside}</view></item>'
