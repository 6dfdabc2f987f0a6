"""How maps are shown: windows by preset, overlay colours, legends with a unit, and the copies in ppb behind them.

Files and map nodes hold ppm. Slicer's colour legend and Data Probe print the number of the volume and cannot scale it,
and a [ppm] legend of a 0.05 window reads badly. So the views show a copy in ppb that belongs to the display alone: it
is never saved, and every number printed beside it is true whatever the user does to its window. The map itself carries
the same window and a legend in ppm, which is what a saved scene shows.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import slicer
import vtk

from .colors import color_node
from .maps import OUTPUT_MAPS, PPB, SURVEY, OutputMap
from .volumes import set_meaning

SHOWN_COPY = "ChiSep.shownCopyOf"
_COPIED = "ChiSep.copiedAt"
DISPLAY_ONLY = "ChiSep.displayOnly"  # the reference goes when the map is removed; this attribute stays
OVERLAY, GREY = "overlay", "grey"
_ABOVE_ALL = 1e30


def show_with_preset(volume, kind: OutputMap, preset: str = SURVEY, style: str = GREY, scale: float = 1.0) -> None:
    """Set window, colours and transparency of a volume's display node.

    ``scale`` is the factor from the shown unit to the volume's own numbers: 1e-3 for a map in ppm, 1 for its ppb copy.
    """
    display = display_of(volume)
    low, high = (scale * end for end in kind.windows[preset])
    colored = style == OVERLAY and kind.overlay_color is not None
    color = color_node(volume.GetScene(), kind.overlay_color if colored else "Grey")
    with slicer.util.NodeModify(display):
        display.SetAndObserveColorNodeID(color.GetID())
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(low, high)
        display.AutoThresholdOff()
        if colored and kind.transparent_below is not None:
            display.SetThreshold(scale * kind.transparent_below, _ABOVE_ALL)
            display.ApplyThresholdOn()
        else:
            display.ApplyThresholdOff()


def show_magnitude(volume) -> None:
    """Grey, between the 1st percentile and the 99th of what is not background."""
    values = slicer.util.arrayFromVolume(volume)
    step = max(1, values.size // 1_000_000)
    sample = values.ravel()[::step]
    sample = sample[sample > 0]
    if sample.size == 0:
        return
    low, high = np.percentile(sample, (1, 99))
    display = display_of(volume)
    with slicer.util.NodeModify(display):
        display.SetAndObserveColorNodeID(color_node(volume.GetScene(), "Grey").GetID())
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(float(low), float(max(high, low * (1 + 1e-6))))


def show_mask(volume) -> None:
    """A label map in one colour, drawn only where somebody chooses it as label layer."""
    display_of(volume)


def show_legend(volume, title: str, label_format: str, view_ids: tuple[str, ...] = ()):
    """Give a volume's display a colour legend with a title that names map and unit. Returns the legend's node."""
    logic = color_logic()
    legend = logic.GetColorLegendDisplayNode(volume) or logic.AddDefaultColorLegendDisplayNode(volume)
    with slicer.util.NodeModify(legend):
        legend.SetTitleText(title)
        legend.SetLabelFormat(label_format)
        legend.SetNumberOfLabels(3)
        legend.SetSize(0.12, 0.5)
        legend.SetPosition(0.95, 0.5)
        legend.GetTitleTextProperty().SetFontSize(12)  # 20 pushes the title out of the view
        legend.GetLabelTextProperty().SetFontSize(12)
        legend.SetVisibility(True)
        legend.RemoveAllViewNodeIDs()
        for view_id in view_ids:
            legend.AddViewNodeID(view_id)
    return legend


def color_logic():
    """The colour logic, whose legend functions are static: Slicer's Colors module has it, slicer-core as a class."""
    return slicer.modules.colors.logic() if hasattr(slicer, "modules") else slicer.vtkSlicerColorLogic


def style_map(volume, kind: OutputMap, preset: str = SURVEY, style: str = OVERLAY) -> None:
    """Display of the map node itself, in the unit it is stored in: what a saved scene shows."""
    if kind.is_mask:
        show_mask(volume)
        return
    show_with_preset(volume, kind, preset, style, scale=1.0 / kind.shown_scale)
    label = {"[ppm]": "%.3f", "1": "%.1f"}.get(kind.unit.value, "%.0f")
    show_legend(volume, f"{kind.label} [{kind.unit.meaning}]", label)


def shown_copy(volume, kind: OutputMap, preset: str = SURVEY, style: str = OVERLAY):
    """The volume that the views show for a map: a copy in ppb that is never saved, or the map itself if its unit fits.

    The copy is made once per map and refreshed when the map's voxels have changed.
    """
    if kind.shown_scale == 1.0:
        style_map(volume, kind, preset, style)
        return volume
    scene = volume.GetScene()
    copy = find_shown_copy(volume)
    if copy is None:
        copy = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{volume.GetName()} [{kind.shown_unit}]")
        copy.SetSaveWithScene(False)
        copy.SetAttribute(DISPLAY_ONLY, "1")
        copy.SetNodeReferenceID(SHOWN_COPY, volume.GetID())
        copy.SetDescription("For display only; made from the map in ppm and not saved.")
    with slicer.util.NodeModify(copy):  # a map may lie under a transform: it is shown there, only not computed with
        copy.CopyOrientation(volume)
        copy.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        changed = str(volume.GetImageData().GetMTime())
        if copy.GetAttribute(_COPIED) != changed:  # a change of window must not copy 46 MB
            _scale_into(copy, slicer.util.arrayFromVolume(volume), kind.shown_scale)
            copy.SetAttribute(_COPIED, changed)
    set_meaning(copy, kind.quantity, PPB)
    show_with_preset(copy, kind, preset, style)
    legend = show_legend(copy, f"{kind.label} [{kind.shown_unit}]", "%.0f")
    for node in (copy.GetDisplayNode(), legend):
        node.SetSaveWithScene(False)
    return copy


def _scale_into(copy, values: np.ndarray, scale: float) -> None:
    """Multiply straight into the copy's own voxels: an array in between would double the time."""
    image = copy.GetImageData()
    dimensions = tuple(reversed(values.shape))
    if image is None or image.GetDimensions() != dimensions or image.GetScalarType() != vtk.VTK_FLOAT:
        image = vtk.vtkImageData()
        image.SetDimensions(dimensions)
        image.AllocateScalars(vtk.VTK_FLOAT, 1)
        copy.SetAndObserveImageData(image)
    np.multiply(values, np.float32(scale), out=slicer.util.arrayFromVolume(copy), casting="unsafe")
    slicer.util.arrayFromVolumeModified(copy)


def find_shown_copy(volume):
    """The ppb copy of a map, None if the map is not shown."""
    scene = volume.GetScene()
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
        node = scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeNode")
        if node.GetNodeReferenceID(SHOWN_COPY) == volume.GetID():
            return node
    return None


def remove_orphaned_copies(scene) -> None:
    """Take ppb copies out whose map is gone."""
    nodes = [scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeNode")
             for n in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"))]  # fmt: skip
    for node in nodes:
        if node.GetAttribute(DISPLAY_ONLY) == "1" and node.GetNodeReference(SHOWN_COPY) is None:
            remove_with_display(node)


def remove_with_display(volume) -> None:
    """Take a volume and its display nodes out of the scene, which would keep the latter."""
    scene = volume.GetScene()
    displays = [volume.GetNthDisplayNode(n) for n in range(volume.GetNumberOfDisplayNodes())]
    scene.RemoveNode(volume)
    for display in displays:
        if display is not None and display.GetScene() is scene:
            scene.RemoveNode(display)


@contextmanager
def saved_layers(scene):
    """While a scene is written, let the views refer to the maps instead of their unsaved copies."""
    swapped = use_stored_maps(scene)
    try:
        yield
    finally:
        restore_layers(scene, swapped)


def use_stored_maps(scene) -> list[tuple[str, str, str]]:
    """Put maps in place of their copies in every view; returns what `restore_layers` needs to undo it."""
    swapped = []
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(n, "vtkMRMLSliceCompositeNode")
        for layer in ("Background", "Foreground"):
            shown = scene.GetNodeByID(getattr(composite, f"Get{layer}VolumeID")() or "")
            stored = shown.GetNodeReference(SHOWN_COPY) if shown is not None else None
            if stored is not None:
                swapped.append((composite.GetID(), layer, shown.GetID()))
                getattr(composite, f"Set{layer}VolumeID")(stored.GetID())
    return swapped


def restore_layers(scene, swapped: list[tuple[str, str, str]]) -> None:
    """Undo `use_stored_maps`."""
    for composite_id, layer, volume_id in swapped:
        composite = scene.GetNodeByID(composite_id)
        if composite is not None and scene.GetNodeByID(volume_id) is not None:
            getattr(composite, f"Set{layer}VolumeID")(volume_id)


def display_of(volume):
    """The volume's display node, made if there is none."""
    if volume.GetDisplayNode() is None:
        volume.CreateDefaultDisplayNodes()
    return volume.GetDisplayNode()


def kinds_shown() -> tuple[OutputMap, ...]:
    """The maps that have a window."""
    return tuple(kind for kind in OUTPUT_MAPS if not kind.is_mask)
