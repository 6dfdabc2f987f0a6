"""Test code: the widget part of the host - Qt application, main window, module panels, screenshots."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtWidgets

from . import pythonqt
from .ctk_widgets import CTK_CLASSES
from .errors import Refusing
from .mrml_widgets import MRML_CLASSES, qMRMLWidget, release_scene
from .noqt import HEADLESS
from .ui_loader import UiLoader


class ModulePanel(qMRMLWidget):
    """qSlicerScriptedLoadableModuleWidget: the `parent` of the module's Widget class."""

    _stand_in = True
    isEntered = QtCore.Property(bool, lambda self: self._entered)

    def __init__(self, module) -> None:
        super().__init__()
        import slicer

        self._module, self._entered, self._python = module, False, None
        self.setLayout(pythonqt.pythonic(QtWidgets.QVBoxLayout)())
        self.setMRMLScene(slicer.mrmlScene)
        self.reload()

    def reload(self) -> None:
        """Make the module's Widget and set it up; a panel that is shown is not entered again."""
        import slicer

        name = self._module.name
        self._python = getattr(sys.modules[name], name + "Widget")(self)
        setattr(slicer.modules, name + "Widget", self._python)
        self._python.setup()

    def self(self):
        return self._python

    def enter(self) -> None:
        self._entered = True
        self._python.enter()

    def exit(self) -> None:
        self._entered = False
        self._python.exit()


class ModuleSelector(Refusing):
    """`mainWindow().moduleSelector()`."""

    def __init__(self, window) -> None:
        self._window = window
        self.selectedModule = ""

    def selectModule(self, name: str) -> None:
        """Leave the panel that is shown, then show and enter the one of `name` (empty: none)."""
        import slicer

        if self.selectedModule == name:
            return
        old = vars(slicer.modules).get(self.selectedModule.lower())
        if old is not None:
            old.widgetRepresentation().exit()
        self.selectedModule = name
        panel = slicer.util.getModule(name).widgetRepresentation() if name else None
        self._window.show_panel(panel)
        if panel is not None:
            panel.enter()


class MainWindow(pythonqt.pythonic(QtWidgets.QMainWindow)):
    """qSlicerMainWindow with a module panel and nothing else."""

    _stand_in = True

    def __init__(self) -> None:
        super().__init__()
        self.objectName = "qSlicerMainWindow"
        self.windowTitle = "chisep_testhost (not 3D Slicer)"
        self.resize(520, 900)
        self._selector = ModuleSelector(self)
        self._scroll = QtWidgets.QScrollArea()
        self._scroll.setWidgetResizable(True)
        self.setCentralWidget(self._scroll)

    def moduleSelector(self) -> ModuleSelector:
        return self._selector

    def show_panel(self, panel) -> None:
        self._scroll.takeWidget()
        if panel is not None:
            self._scroll.setWidget(panel)
            panel.show()


class Gui:
    """Fills `qt`, `ctk` and the qMRML names of `slicer`; owns the Qt application and the main window."""

    def __init__(self, runtime) -> None:
        import ctk
        import qt
        import slicer

        self._runtime = runtime
        self.application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["chisep_testhost"])
        # QSettings of a test must not be those of a person.
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        for scope in (QtCore.QSettings.UserScope, QtCore.QSettings.SystemScope):
            QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, scope, str(runtime.folder))
        qt.forget(*HEADLESS)
        qt.provider = pythonqt.qt_member
        qt.QUiLoader = UiLoader
        for name, cls in CTK_CLASSES.items():
            setattr(ctk, name, cls)
        for name, cls in MRML_CLASSES.items():
            setattr(slicer, name, cls)
        slicer.qSlicerScriptedLoadableModuleWidget = ModulePanel
        self._panels: list[ModulePanel] = []
        self.main_window = MainWindow()
        self.main_window.show()

    def make_panel(self, module) -> ModulePanel:
        panel = ModulePanel(module)
        self._panels.append(panel)
        return panel

    def top_level_widgets(self) -> list:
        return [self.main_window]

    def process_events(self) -> None:
        self.application.processEvents()
        self.application.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)

    def reset(self) -> None:
        """Leave and clean up every panel, end what the test left running, and delete the widgets."""
        import slicer

        self.main_window.moduleSelector().selectModule("")
        for panel in self._panels:
            name = panel._module.name
            slicer.app.moduleManager().emit("moduleAboutToBeUnloaded(QString)", name)
            panel._module._widget = None
            vars(slicer.modules).pop(name + "Widget", None)
            panel.deleteLater()
        self._panels.clear()
        release_scene()
        while QtWidgets.QApplication.overrideCursor():
            QtWidgets.QApplication.restoreOverrideCursor()
        self.process_events()


def wait_until(condition, timeout_s: float = 10.0) -> bool:
    """Let events pass until `condition()` holds; False when it does not within the time."""
    import time

    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        QtWidgets.QApplication.processEvents(QtCore.QEventLoop.AllEvents, 20)
        time.sleep(0.005)
    return True


def screenshot(widget, path, width: int | None = None) -> Path:
    """Write a picture of `widget` as PNG, at its preferred height for `width`."""
    hint = QtWidgets.QWidget.sizeHint(widget)
    if width is not None:
        widget.resize(width, max(hint.height(), 40))
    widget.show()
    QtWidgets.QApplication.processEvents()
    QtWidgets.QWidget.grab(widget).save(str(path))
    return Path(path)
