"""Test code: boots Slicer's scene and logics, and publishes them where a module expects them."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path

from .subject_hierarchy import SubjectHierarchyItems
from .terminologies import write_terminologies

# slicer.modules.<name>, logic class, key in the application logic
MODULE_LOGICS = (
    ("units", "vtkSlicerUnitsLogic", "Units"),
    ("subjecthierarchy", "vtkSlicerSubjectHierarchyModuleLogic", "SubjectHierarchy"),
    ("terminologies", "vtkSlicerTerminologiesModuleLogic", "Terminologies"),
    ("volumes", "vtkSlicerVolumesLogic", "Volumes"),
    ("segmentations", "vtkSlicerSegmentationsModuleLogic", "Segmentations"),
    ("segmenteditor", "vtkSlicerSegmentEditorLogic", "SegmentEditor"),
    ("tables", "vtkSlicerTablesLogic", "Tables"),
    ("plots", "vtkSlicerPlotsLogic", "Plots"),
    ("markups", "vtkSlicerMarkupsLogic", "Markups"),
    ("transforms", "vtkSlicerTransformLogic", "Transforms"),
    ("cropvolume", "vtkSlicerCropVolumeLogic", "CropVolume"),
    ("sequences", "vtkSlicerSequencesLogic", "Sequences"),
    ("texts", "vtkSlicerTextsLogic", "Texts"),
    ("viewcontrollers", "vtkSlicerViewControllersLogic", "ViewControllers"),
)

_runtime: Runtime | None = None


def unavailable_reason(gui: bool = False) -> str | None:
    """Why the host (with its widget part) cannot run here, or None."""
    if importlib.util.find_spec("slicer") is None:
        return "needs the slicer-core wheel (pip install slicer-core)"
    import slicer

    if not hasattr(slicer, "vtkMRMLScene"):
        return "the installed package `slicer` is not 3D Slicer's (pip uninstall slicer; pip install slicer-core)"
    return _qt_unavailable_reason() if gui else None


def _qt_unavailable_reason() -> str | None:
    """Asked before the Qt application starts, because without its platform plugin Qt ends the process."""
    try:
        import PySide6.QtWidgets
    except ImportError as error:
        return f"needs PySide6-Essentials and Qt's system libraries: {error}"
    plugin = Path(PySide6.__file__).parent / "Qt" / "plugins" / "platforms" / "libqoffscreen.so"
    if sys.platform == "linux":
        try:
            ctypes.CDLL(str(plugin))
        except OSError as error:
            return f"Qt's offscreen platform lacks a system library: {error}"
    return None


def start(gui: bool = False) -> Runtime:
    """The host, booted once per process; `gui` adds `qt`, `ctk`, the qMRML widgets and a main window (PySide6)."""
    global _runtime
    if _runtime is None:
        reason = unavailable_reason()
        if reason:
            raise RuntimeError(reason)
        _runtime = Runtime()
    if gui:
        _runtime.enable_gui()
    return _runtime


class Module:
    """`slicer.modules.<name>`: refuses attributes that a qSlicerScriptedLoadableModule does not have."""

    PROPERTIES = frozenset(
        "name title category categories dependencies contributors helpText acknowledgementText icon hidden index path "
        "associatedNodeTypes widgetRepresentationCreationEnabled".split()
    )

    def __init__(self, runtime, name: str, logic=None, path: str = "") -> None:
        self._runtime, self._logic, self._widget, self._instance = runtime, logic, None, None
        self.name, self.path, self.title = name, path, ""
        self.categories, self.dependencies, self.contributors, self.associatedNodeTypes = [], [], [], []
        self.helpText = self.acknowledgementText = ""
        self.icon, self.hidden, self.index = None, False, -1
        self.widgetRepresentationCreationEnabled = True

    def __setattr__(self, name: str, value) -> None:
        if not name.startswith("_") and name not in self.PROPERTIES:
            raise AttributeError(f"qSlicerScriptedLoadableModule has no property {name!r}")
        object.__setattr__(self, name, value)

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        """The panel, made on the first call; needs the widget part of the host."""
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self):
        if self._instance is None:
            raise NotImplementedError(f"chisep_testhost does not implement the panel of slicer.modules.{self.name}")
        return self._runtime.make_panel(self)


class Runtime:
    """Everything that lives as long as the process."""

    def __init__(self) -> None:
        import slicer

        self._folder = tempfile.TemporaryDirectory(prefix="chisep-testhost-")
        self.folder = Path(self._folder.name)
        self.gui = None
        self._boot_logics(slicer)
        self._publish(slicer)
        from .layout import LayoutManager

        self._layout_manager = self.layout_manager = LayoutManager(self)

    def _boot_logics(self, slicer) -> None:
        """Application logic and directories before the scene: otherwise the color logic reports VTK errors."""
        import vtk

        for name in ("share", "share/ColorFiles", "cache"):
            (self.folder / name).mkdir()
        write_terminologies(self.folder / "share")
        self._write_python_slicer()
        self.application_logic = application = slicer.vtkSlicerApplicationLogic()
        application.SetTemporaryPath(str(self.folder))
        application.SetHomeDirectory(str(self.folder))
        application.SetShareDirectory("share")
        self.scene = scene = slicer.vtkMRMLScene()
        # Slicer's Colors module registers this class; the wheel's color logic leaves it out.
        scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        scene.AddNode(crosshair)
        application.SetMRMLScene(scene)
        application.SetSliceLogics(vtk.vtkCollection())
        application.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self._boot_storage(slicer)
        slicer.mrmlScene = scene
        self._boot_colors(slicer)
        self._modules = types.ModuleType("slicer.modules")
        self._modules.colors = Module(self, "Colors", self.color_logic)
        for name, class_name, key in MODULE_LOGICS:
            logic = getattr(slicer, class_name)()
            if hasattr(logic, "SetModuleShareDirectory"):
                logic.SetModuleShareDirectory(str(self.folder / "share"))
            logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(scene)
            application.SetModuleLogic(key, logic)
            setattr(self._modules, name, Module(self, key, logic))
        self.subject_hierarchy = SubjectHierarchyItems(scene)

    def _write_python_slicer(self) -> None:
        """`slicerHome/bin/PythonSlicer`, which here starts the interpreter of the tests."""
        script = self.folder / "bin" / "PythonSlicer"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        script.chmod(0o755)

    def _boot_storage(self, slicer) -> None:
        """Remote and cached files, needed by storable nodes when a scene bundle is read."""
        self._remote_io = slicer.vtkMRMLRemoteIOLogic()
        self._remote_io.SetMRMLApplicationLogic(self.application_logic)
        self._remote_io.SetMRMLScene(self.scene)
        # The cache manager walks this directory and may delete in it: a fresh private one, nothing else.
        self._remote_io.GetCacheManager().SetRemoteCacheDirectory(str(self.folder / "cache"))
        self._data_io = slicer.vtkDataIOManagerLogic()
        self._data_io.SetMRMLApplicationLogic(self.application_logic)
        self._data_io.SetMRMLScene(self.scene)
        self._data_io.SetAndObserveDataIOManager(self._remote_io.GetDataIOManager())
        self._remote_io.AddDataIOToScene()

    def _boot_colors(self, slicer) -> None:
        from .colors import add_color_nodes

        self.color_logic = slicer.vtkSlicerColorLogic()
        self.color_logic.SetMRMLApplicationLogic(self.application_logic)
        self.color_logic.SetMRMLScene(self.scene)
        self.application_logic.SetColorLogic(self.color_logic)
        self.application_logic.SetModuleLogic("Colors", self.color_logic)
        self.color_logic.AddDefaultColorNodes()
        add_color_nodes(self.scene)

    def _publish(self, slicer) -> None:
        from . import noqt

        noqt.install()
        from .app import App

        slicer.app = App(self)
        slicer.modules = sys.modules["slicer.modules"] = self._modules
        slicer.moduleNames = sys.modules["slicer.moduleNames"] = types.ModuleType("slicer.moduleNames")
        slicer.qSlicerScriptedLoadableModule = Module
        from . import dicom, i18n, parameter_node, scripted

        dicom.install(slicer)

        for name, module in (
            ("ScriptedLoadableModule", scripted),
            ("parameterNodeWrapper", parameter_node),
            ("i18n", i18n),
        ):
            sys.modules[f"slicer.{name}"] = module
            setattr(slicer, name, module)

    def reset(self) -> None:
        """Close the scene and forget what a test left: settings, layout, main window, cursor."""
        self.layout_manager = self._layout_manager
        if self.gui:
            self.gui.reset()
        self.scene.Clear(0)
        self.layout_manager.reset()
        import slicer

        slicer.app.settings().clear()
        slicer.dicomDatabase.clear()
        self.process_events()
        gc.collect()

    @contextlib.contextmanager
    def no_main_window(self) -> Iterator[None]:
        """As under `--no-main-window`: `slicer.util.mainWindow()` and `slicer.app.layoutManager()` are None."""
        self.layout_manager = None
        try:
            yield
        finally:
            self.layout_manager = self._layout_manager

    def enable_gui(self) -> None:
        if self.gui is None:
            from .gui import Gui

            self.gui = Gui(self)

    def make_panel(self, module):
        if self.gui is None:
            raise NotImplementedError(
                f"the panel of {module.name} needs the host with its widget part: start(gui=True)"
            )
        return self.gui.make_panel(module)

    def top_level_widgets(self) -> list:
        return self.gui.top_level_widgets() if self.gui and self.layout_manager else []

    def qt_application(self):
        if self.gui is None:
            raise NotImplementedError("Qt's application needs the host with its widget part: start(gui=True)")
        return self.gui.application

    def process_events(self) -> None:
        if self.gui:
            self.gui.process_events()


def load_module(path):
    """Import the scripted module file `path` as Slicer does, and return the Python module.

    The folder is appended to `sys.path`, the module class gets its `parent`, `slicer.modules.<name>` appears, and
    `startupCompleted()` reaches what the constructor connected to it. The panel is made on demand.
    """
    import slicer

    runtime = start()
    path = Path(path).resolve()
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    python_module = importlib.util.module_from_spec(spec)
    sys.modules[name] = python_module
    module = Module(runtime, name, None, str(path))
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.moduleNames, name, name)
    spec.loader.exec_module(python_module)
    module._instance = getattr(python_module, name)(module)
    setattr(slicer.modules, name + "Instance", module._instance)
    slicer.app.emit("startupCompleted()")
    slicer.app._slots.pop("startupCompleted()", None)
    return python_module


def unload_module(name: str) -> None:
    """Leave the panel, call its `cleanup` and forget the module, as when Slicer exits."""
    import slicer

    slicer.app.moduleManager().emit("moduleAboutToBeUnloaded(QString)", name)
    for attribute in (name.lower(), name + "Instance", name + "Widget"):
        vars(slicer.modules).pop(attribute, None)
    vars(slicer.moduleNames).pop(name, None)
    sys.modules.pop(name, None)
