"""Test code: `slicer.app`, the part of qSlicerApplication that `slicer.util` and scripted modules use."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import Refusing
from .io import IOManager
from .signals import Signals


class Settings(Refusing):
    """`slicer.app.settings()`: a QSettings that lives in memory and starts empty."""

    def __init__(self) -> None:
        self._values: dict[str, object] = {}
        self._groups: list[str] = []

    def _key(self, key: str) -> str:
        return "/".join([*self._groups, key])

    def value(self, key: str, default=None):
        return self._values.get(self._key(key), default)

    def setValue(self, key: str, value) -> None:
        self._values[self._key(key)] = value

    def contains(self, key: str) -> bool:
        return self._key(key) in self._values

    def remove(self, key: str) -> None:
        self._values.pop(self._key(key), None)

    def beginGroup(self, name: str) -> None:
        self._groups.append(name)

    def endGroup(self) -> None:
        self._groups.pop()

    def sync(self) -> None:
        pass

    def clear(self) -> None:
        self._values.clear()


class ModuleManager(Refusing, Signals):
    """`slicer.app.moduleManager()` and its factory manager in one."""

    SIGNALS = ("moduleLoaded(QString)", "moduleAboutToBeUnloaded(QString)", "moduleUnloaded(QString)")

    def factoryManager(self) -> ModuleManager:
        return self

    def modulesNames(self) -> tuple[str, ...]:
        import slicer

        return tuple(m.name for m in vars(slicer.modules).values() if hasattr(m, "widgetRepresentation"))

    loadedModuleNames = modulesNames

    def module(self, name: str):
        import slicer

        return vars(slicer.modules).get(name.lower())

    def isLoaded(self, name: str) -> bool:
        return self.module(name) is not None


class App(Refusing, Signals):
    """One per process; always in testing mode, so no dialog of `slicer.util` ever opens."""

    SIGNALS = ("startupCompleted()", "lastWindowClosed()", "aboutToQuit()")
    applicationName = "Slicer"
    mainApplicationName = "Slicer"
    applicationVersion = "5.13.0-testhost"
    majorVersion, minorVersion = 5, 13
    revision = "testhost"
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest"

    def __init__(self, runtime) -> None:
        super().__init__()
        self._runtime = runtime
        self._settings = Settings()
        self._modules = ModuleManager()
        self._io = IOManager(runtime)
        self._pauses = 0
        self.temporaryPath = str(Path(runtime.folder) / "temporary")
        Path(self.temporaryPath).mkdir(exist_ok=True)
        self.slicerHome = str(runtime.folder)
        self.slicerUserSettingsFilePath = str(Path(runtime.folder) / "Slicer.ini")
        self.cachePath = str(Path(runtime.folder) / "cache")

    def applicationLogic(self):
        return self._runtime.application_logic

    def mrmlScene(self):
        return self._runtime.scene

    def coreIOManager(self):
        return self._io

    ioManager = coreIOManager

    def moduleManager(self):
        return self._modules

    def moduleLogic(self, name: str):
        module = self._modules.module(name)
        return module.logic() if module else None

    def settings(self):
        return self._settings

    userSettings = revisionUserSettings = settings

    def testingEnabled(self) -> bool:
        return True

    def layoutManager(self):
        """None as long as the application has no main window."""
        return self._runtime.layout_manager

    def topLevelWidgets(self) -> list:
        return self._runtime.top_level_widgets()

    def processEvents(self, *_args) -> None:
        self._runtime.process_events()

    def pauseRender(self) -> None:
        self._pauses += 1

    def resumeRender(self) -> None:
        self._pauses -= 1

    def setOverrideCursor(self, cursor) -> None:
        import qt

        qt.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        import qt

        qt.QApplication.restoreOverrideCursor()

    def installEventFilter(self, receiver) -> None:
        self._runtime.qt_application().installEventFilter(receiver)

    def removeEventFilter(self, receiver) -> None:
        self._runtime.qt_application().removeEventFilter(receiver)

    def focusWidget(self):
        return self._runtime.qt_application().focusWidget()

    def startupEnvironment(self) -> dict[str, str]:
        return dict(os.environ)

    def translate(self, _context: str, text: str) -> str:
        return text

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}/user_guide/modules/{name.lower()}.html"
