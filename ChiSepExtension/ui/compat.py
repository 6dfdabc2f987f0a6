"""What differs between Slicer 5.10 and 5.13, Qt 5 and Qt 6: asked by feature, never by version, and only here."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

_SETTINGS = "ChiSepModule/"


def settingText(name: str, default: str = "") -> str:
    """A setting of this module as text; settings read back from a file are text whatever was stored."""
    value = slicer.app.settings().value(_SETTINGS + name, default)
    return default if value is None else str(value)


def storeSetting(name: str, value: str) -> None:
    slicer.app.settings().setValue(_SETTINGS + name, value)


def hasPackage(name: str) -> bool:
    """Whether a Python package is installed; it is not imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def installPackage(requirement: str, reason: str) -> None:
    """Install a package after asking, by `pip_ensure` where Slicer has it (5.11 and later), else by `pip_install`.

    Raises
    ------
    RuntimeError
        If the user declines, or pip fails.
    """
    for name in ("slicer.packaging", "slicer.pydeps"):  # the second is the first one's name in 5.11
        if not hasPackage(name):
            continue
        module = importlib.import_module(name)
        if hasattr(module, "pip_ensure"):
            from packaging.requirements import Requirement

            module.pip_ensure([Requirement(requirement)], requester=reason)
            return
    question = _("{reason} needs the Python package {name}, which will be downloaded and installed. Go on?")
    if not slicer.util.confirmOkCancelDisplay(question.format(reason=reason, name=requirement)):
        raise RuntimeError(_("The installation was declined."))
    slicer.util.pip_install(requirement)


def pixmapOf(png: bytes):
    """A QPixmap of a PNG, None if it is none; through a file, as bindings differ in how they take bytes."""
    path = Path(slicer.app.temporaryPath) / "chisep-picture.png"
    path.write_bytes(png)
    picture = qt.QPixmap(str(path))
    path.unlink()
    return None if picture.isNull() else picture


def openFolder(path: str | Path) -> bool:
    """Show a folder in the file manager."""
    return bool(qt.QDesktopServices.openUrl(qt.QUrl(Path(path).resolve().as_uri())))


def makeShortcut(key: str, slot):
    """A shortcut of the main window, or None where there is no main window."""
    window = slicer.util.mainWindow()
    if window is None:
        return None
    shortcut = qt.QShortcut(window)
    shortcut.setKey(qt.QKeySequence(key))
    shortcut.connect("activated()", slot)
    return shortcut


def removeShortcut(shortcut) -> None:
    shortcut.setEnabled(False)
    shortcut.setParent(None)
    shortcut.deleteLater()
