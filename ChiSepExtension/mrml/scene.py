"""A run's maps as a Slicer scene bundle (.mrb), also written where no application is running."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import slicer
import vtk

from ..acquisition.gradient_echo import GradientEchoSeries
from ..errors import InputError
from ..result import Result
from .display import OVERLAY, show_magnitude, style_map
from .layout import LAYOUT_ID, VIEW_NAMES, composite_of, fill_views, register_layout
from .maps import BY_KEY, OUTPUT_MAPS, SURVEY
from .outputs import write_maps
from .volumes import set_array

MODULE_NAME = "ChiSepModule"
_VIEW_SIZE = (600, 600)


@contextmanager
def own_scene():
    """A MRML scene with application logic, colours and layout, apart from any scene that is open.

    Nothing of the running application is touched; what the scene needs on disk lies in a private folder.
    """
    with tempfile.TemporaryDirectory(prefix="chisep-scene-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "share" / "ColorFiles").mkdir(parents=True)
        # The cache manager may delete in its folder: a fresh one, nothing else.
        (Path(folder) / "cache").mkdir()
        logic = slicer.vtkSlicerApplicationLogic()
        logic.SetTemporaryPath(folder)
        logic.SetHomeDirectory(folder)
        logic.SetShareDirectory("share")
        scene = slicer.vtkMRMLScene()
        scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
        logic.SetMRMLScene(scene)
        logic.SetSliceLogics(vtk.vtkCollection())
        logic.SetViewLogics(vtk.vtkCollection())
        remote = slicer.vtkMRMLRemoteIOLogic()
        remote.SetMRMLApplicationLogic(logic)
        remote.SetMRMLScene(scene)
        remote.GetCacheManager().SetRemoteCacheDirectory(str(Path(folder) / "cache"))
        data = slicer.vtkDataIOManagerLogic()
        data.SetMRMLApplicationLogic(logic)
        data.SetMRMLScene(scene)
        data.SetAndObserveDataIOManager(remote.GetDataIOManager())
        remote.AddDataIOToScene()
        colors = slicer.vtkSlicerColorLogic()
        colors.SetMRMLApplicationLogic(logic)
        colors.SetMRMLScene(scene)
        colors.AddDefaultColorNodes()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        yield scene, logic


def write_scene(path: str | Path, series: GradientEchoSeries, result: Result, *, name: str = "chi-separation") -> Path:
    """Write magnitude, maps and the 2×2 view of them to a scene bundle that 3D Slicer opens with a double click.

    Parameters
    ----------
    path
        Of the .mrb file, replaced if it exists.
    name
        What the nodes are called after.

    Raises
    ------
    InputError
        If the file could not be written.
    """
    path = Path(path)
    with own_scene() as (scene, logic):
        magnitude = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{name} magnitude")
        set_array(magnitude, np.sqrt(np.mean(np.square(series.magnitude), axis=0)), series.grid)
        show_magnitude(magnitude)
        nodes = write_maps(
            scene,
            {kind.key: getattr(result, kind.key) for kind in OUTPUT_MAPS},
            result.grid,
            name=name,
            provenance=result.provenance,
            inputs={"magnitude": magnitude},
        )
        for key, node in nodes.items():
            style_map(node, BY_KEY[key], SURVEY, OVERLAY)
        _select_in_module(scene, nodes)
        layout = slicer.vtkMRMLLayoutLogic()
        layout.SetMRMLApplicationLogic(logic)
        layout.SetMRMLScene(scene)
        register_layout(layout.GetLayoutNode())
        layout.GetLayoutNode().SetViewArrangement(LAYOUT_ID)
        views = [_slice_view(scene, logic, view_name) for view_name in VIEW_NAMES]
        fill_views(scene, magnitude, nodes)
        for view in views:
            view.FitSliceToBackground()
        for node in [magnitude, *nodes.values()]:
            node.AddDefaultStorageNode()
        if not scene.WriteToMRB(str(path)) or not path.is_file():
            raise InputError(f"The scene {path} could not be written.", "Is the disk full, or the folder read-only?")
    return path


def _slice_view(scene, logic, view_name: str):
    """The slice logic that an application's view would have: it makes the composite node and fits the field of view."""
    view = slicer.vtkMRMLSliceLogic()
    view.SetMRMLApplicationLogic(logic)
    logic.GetSliceLogics().AddItem(view)
    view.SetMRMLScene(scene)
    view.SetSliceNode(scene.GetSingletonNode(view_name, "vtkMRMLSliceNode"))
    view.ResizeSliceNode(*_VIEW_SIZE)
    if composite_of(scene, view_name) is None:
        raise RuntimeError(f"The slice view {view_name} has no composite node.")
    return view


def _select_in_module(scene, nodes: dict) -> None:
    """Select the maps in the module's parameter node, so that opening the module on this scene shows them."""
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag(MODULE_NAME)
    node.SetAttribute("ModuleName", MODULE_NAME)
    node.SetName(MODULE_NAME)
    node = scene.AddNode(node)
    for key, volume in nodes.items():
        node.SetParameter(BY_KEY[key].parameter, "")
        node.SetNodeReferenceID(BY_KEY[key].parameter, volume.GetID())
