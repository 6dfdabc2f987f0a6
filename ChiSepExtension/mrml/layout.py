"""Linked slice views for the maps: the module's layouts, what each view shows, and how the views are filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

#: Far above Slicer's own numbers, which end below 100.
LAYOUT_ID = 7301
VIEW_GROUP = 73
MAPS, READ, ORTHO, PAIR, ONE_UP = "maps", "read", "ortho", "pair", "one-up"
_GREY, _IRON, _MYELIN, _TOTAL, _RATE = "#808080", "#E06C3A", "#3A9E86", "#6C7FB8", "#B89A3A"


@dataclass(frozen=True)
class View:
    """One slice view.

    Parameters
    ----------
    tag
        Of the view's node; starts with "ChiSep", so that no other module has it.
    label
        In the view's bar, which has room for two letters.
    shows
        Images by preference: the first that there is. Maps by key ("chi_para"), images beside them by parameter name
        ("flair"), and "magnitude".
    behind
        What lies behind a map that is shown as an overlay, by preference.
    """

    tag: str
    label: str
    color: str
    shows: tuple[str, ...]
    behind: tuple[str, ...] = ("magnitude",)
    orientation: str = "Axial"


@dataclass(frozen=True)
class Layout:
    """Views in rows."""

    number: int
    title: str
    tip: str
    rows: tuple[tuple[View, ...], ...]

    @property
    def views(self) -> tuple[View, ...]:
        return tuple(view for row in self.rows for view in row)


_PLANES = ("Axial", "Coronal", "Sagittal")
_STRUCTURE = ("flair", "t1", "magnitude")

LAYOUTS: dict[str, Layout] = {
    MAPS: Layout(
        LAYOUT_ID,
        "Maps",
        "Magnitude, both sources over it, and the total susceptibility.",
        (
            (
                View("ChiSepMagnitude", "Ma", _GREY, ("magnitude",)),
                View("ChiSepPara", "χ+", _IRON, ("chi_para",)),
            ),
            (
                View("ChiSepDia", "χ−", _MYELIN, ("chi_dia",)),
                View("ChiSepTotal", "χ", _TOTAL, ("chi_total",)),
            ),
        ),
    ),
    READ: Layout(
        7302,
        "Read 2×3",
        "FLAIR, χ-para, χ-dia over T1 (or SWI), χ-total and R2*, all axial and linked.",
        (
            (
                View("ChiSepReadFlair", "FL", _GREY, ("flair", "magnitude")),
                View("ChiSepReadPara", "χ+", _IRON, ("chi_para",), _STRUCTURE),
                View("ChiSepReadDia", "χ−", _MYELIN, ("chi_dia",), _STRUCTURE),
            ),
            (
                View("ChiSepReadT1", "T1", _GREY, ("t1", "swi", "magnitude")),
                View("ChiSepReadTotal", "χ", _TOTAL, ("chi_total",), _STRUCTURE),
                View("ChiSepReadRate", "R2", _RATE, ("r2star_hz",), _STRUCTURE),
            ),
        ),
    ),
    ORTHO: Layout(
        7303,
        "Ortho 3×3",
        "FLAIR, χ-para and χ-dia in three planes: veins and rims are judged in perpendicular ones.",
        tuple(
            (
                View(f"ChiSepOrtho{plane}Flair", f"F{plane[0]}", _GREY, ("flair", "magnitude"), (), plane),
                View(f"ChiSepOrtho{plane}Para", f"+{plane[0]}", _IRON, ("chi_para",), _STRUCTURE, plane),
                View(f"ChiSepOrtho{plane}Dia", f"−{plane[0]}", _MYELIN, ("chi_dia",), _STRUCTURE, plane),
            )
            for plane in _PLANES
        ),
    ),
    PAIR: Layout(
        7304,
        "Pair",
        "Two time points, one above the other, on one crosshair.",
        tuple(
            (
                View(f"ChiSepPair{n}Flair", f"F{n}", _GREY, (f"flair{end}", f"magnitude{end}")),
                View(f"ChiSepPair{n}Para", f"+{n}", _IRON, (f"chi_para{end}",), (f"flair{end}", f"magnitude{end}")),
                View(f"ChiSepPair{n}Dia", f"−{n}", _MYELIN, (f"chi_dia{end}",), (f"flair{end}", f"magnitude{end}")),
            )
            for n, end in ((1, ":prior"), (2, ""))
        ),
    ),
    ONE_UP: Layout(
        7305,
        "One-up",
        "One large view that fades between structure and χ-para; the opacity slider is the fader.",
        ((View("ChiSepOneUp", "χ+", _IRON, ("chi_para",), _STRUCTURE),),),
    ),
}
#: Earlier time point of an image: "chi_para:prior".
PRIOR = ":prior"
VIEWS = LAYOUTS[MAPS].views
VIEW_NAMES = tuple(view.tag for view in VIEWS)
MAP_KEYS = ("chi_para", "chi_dia", "chi_total", "r2star_hz", "r2prime_hz")
#: What each view of the first layout shows in the foreground; the magnitude lies behind it.
MAP_IN_VIEW = {view.tag: view.shows[0] for view in VIEWS if view.shows[0] != "magnitude"}
LAYOUT_IDS = frozenset(layout.number for layout in LAYOUTS.values())


def layout_description(name: str = MAPS) -> str:
    """XML of a layout."""
    rows = "".join(
        f'<item><layout type="horizontal" split="true">{"".join(map(_view, row))}</layout></item>'
        for row in LAYOUTS[name].rows
    )
    return f'<layout type="vertical" split="true">{rows}</layout>'


def register_layout(layout_node, name: str = MAPS) -> None:
    """Make a layout known once; asking twice is harmless."""
    if not layout_node.IsLayoutDescription(LAYOUTS[name].number):
        layout_node.AddLayoutDescription(LAYOUTS[name].number, layout_description(name))


def composite_of(scene, view_name: str):
    """The composite node of a view, None before the layout was shown."""
    return _node_of_view(scene, "vtkMRMLSliceCompositeNode", view_name)


def slice_node_of(scene, view_name: str):
    """The slice node of a view, None before the layout was shown."""
    return _node_of_view(scene, "vtkMRMLSliceNode", view_name)


def fill_views(scene, magnitude, shown: Mapping[str, Any], opacity: float = 1.0) -> int:
    """Fill the first layout; see `fill_layout`."""
    return fill_layout(scene, MAPS, {"magnitude": magnitude, **shown}, opacity=opacity)


def fill_layout(scene, name: str, images: Mapping[str, Any], *, opacity: float = 1.0) -> int:
    """Put structure behind and maps in front in every view of a layout, then link the views.

    Links are off while volumes are set: with them on, one view would hand its volumes to the others.

    Parameters
    ----------
    images
        Volume nodes by what `View.shows` names; missing ones are None or left out.
    opacity
        Of the maps in front.

    Returns
    -------
    The number of views that were there.
    """
    composites = {view: composite_of(scene, view.tag) for view in LAYOUTS[name].views}
    composites = {view: node for view, node in composites.items() if node is not None}
    for node in composites.values():
        node.SetLinkedControl(0)
    for view, node in composites.items():
        own, behind = _first_there(view.shows, images), _first_there(view.behind, images)
        is_map = own is not None and own.removesuffix(PRIOR) in MAP_KEYS
        front = images[own] if is_map else None
        back = images.get(own if own is not None and not is_map else behind)  # a map that was not made: structure alone
        node.SetBackgroundVolumeID(back.GetID() if back is not None else None)
        node.SetForegroundVolumeID(front.GetID() if front is not None else None)
        node.SetForegroundOpacity(opacity if front is not None else 0.0)
        node.SetLabelVolumeID(None)
    for node in composites.values():
        node.SetHotLinkedControl(1)
        node.SetLinkedControl(1)
    _refresh_legends(scene)
    return len(composites)


def set_opacity(scene, name: str, opacity: float) -> None:
    """Opacity of the maps in front, in every view of a layout."""
    for view in LAYOUTS[name].views:
        node = composite_of(scene, view.tag)
        if node is not None and node.GetForegroundVolumeID():
            node.SetForegroundOpacity(opacity)


def _first_there(keys: tuple[str, ...], images: Mapping[str, Any]) -> str | None:
    return next((key for key in keys if images.get(key) is not None), None)


def _node_of_view(scene, class_name: str, view_name: str):
    for n in range(scene.GetNumberOfNodesByClass(class_name)):
        node = scene.GetNthNodeByClass(n, class_name)
        if node.GetLayoutName() == view_name or node.GetSingletonTag() == view_name:
            return node
    return None


def _refresh_legends(scene) -> None:
    """Slicer draws legends anew when a user changes a layer, not when a program does: they are told."""
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode")):
        scene.GetNthNodeByClass(n, "vtkMRMLColorLegendDisplayNode").Modified()


def _view(view: View) -> str:
    properties = {
        "orientation": view.orientation,
        "viewlabel": view.label,
        "viewcolor": view.color,
        "viewgroup": str(VIEW_GROUP),
    }
    inside = "".join(
        f'<property name={quoteattr(key)} action="default">{value}</property>' for key, value in properties.items()
    )
    return f'<item><view class="vtkMRMLSliceNode" singletontag={quoteattr(view.tag)}>{inside}</view></item>'
