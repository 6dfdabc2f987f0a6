"""Test code: `qt.QUiLoader` that knows the stand-ins and is as strict as a person reading Slicer's log would be."""

from __future__ import annotations

import contextlib
import inspect
import xml.etree.ElementTree as ET

from PySide6 import QtCore, QtUiTools, QtWidgets

from .ctk_widgets import CTK_CLASSES
from .errors import refuse
from .mrml_widgets import MRML_CLASSES
from .parameter_node import WIDGET_PROPERTY
from .pythonqt import loading, pythonic

CUSTOM = CTK_CLASSES | MRML_CLASSES | {"Line": pythonic(QtWidgets.QFrame)}


class UiError(ValueError):
    """The `.ui` file says something that Slicer would ignore with a line in its log."""


class UiLoader(QtUiTools.QUiLoader):
    """Creates the stand-ins, and makes connections with MRML types in their signatures by name."""

    def createWidget(self, class_name: str, parent=None, name: str = ""):
        cls = CUSTOM.get(class_name)
        if cls is None:
            if not hasattr(QtWidgets, class_name):
                raise refuse("the .ui loader", class_name)
            cls = pythonic(getattr(QtWidgets, class_name))
        widget = cls(parent)
        widget.objectName = name
        self._made.append(widget)
        return widget

    def createLayout(self, class_name: str, parent=None, name: str = ""):
        cls = pythonic(getattr(QtWidgets, class_name))
        layout = cls(parent) if isinstance(parent, QtWidgets.QWidget) else cls()
        layout.objectName = name
        self._made.append(layout)
        return layout

    def load(self, device, parent=None):
        self._made = []
        root = ET.fromstring(bytes(device.readAll()))
        device.close()
        connections = _take_mrml_connections(root)
        errors = _unknown_classes(root)
        if errors:
            raise refuse("the .ui loader", ", ".join(errors))
        _name_enums(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        with _complaints_are_errors(), loading():
            widget = super().load(buffer, parent)
        if widget is None:
            return None
        everything = self._made
        self._check(everything)
        for item in everything:
            widget.__dict__.pop(item.objectName, None)  # PySide6 makes the children attributes; Slicer does not
        by_name = {item.objectName: item for item in everything if item.objectName}
        for connection in connections:
            _connect(by_name, *connection)
        for item in everything:
            if hasattr(item, "fold"):
                item.fold()
        widget.__dict__["_keep"] = everything  # their Python halves live as long as the panel
        return widget

    @staticmethod
    def _check(everything: list) -> None:
        """A property that no class knows is kept by Qt as a dynamic one: misspelt in the `.ui`, or not in the host."""
        wrong = []
        for item in everything:
            for name in (bytes(n.data()).decode() for n in item.dynamicPropertyNames()):
                if name != WIDGET_PROPERTY and not name.startswith("_"):
                    wrong.append(f"{type(item).__name__} {item.objectName!r} has no property {name!r}")
        if wrong:
            raise UiError("; ".join(wrong))


def _take_mrml_connections(root) -> list[tuple[str, str, str, str]]:
    section, taken = root.find("connections"), []
    for connection in list(section if section is not None else ()):
        if "vtkMRML" in connection.findtext("signal", ""):
            taken.append(tuple(connection.findtext(tag) for tag in ("sender", "signal", "receiver", "slot")))
            section.remove(connection)
    return taken


def _unknown_classes(root) -> list[str]:
    names = {element.get("class") for element in root.iter("widget")}
    return sorted(name for name in names if name not in CUSTOM and not hasattr(QtWidgets, name))


def _name_enums(root) -> None:
    """Hand the enum values of the stand-ins' own properties over as their names: their C++ enums do not exist here."""
    for element in root.iter("widget"):
        cls = CUSTOM.get(element.get("class"))
        for prop in element.findall("property") if cls else ():
            if isinstance(inspect.getattr_static(cls, prop.get("name"), None), QtCore.Property):
                for value in prop:
                    if value.tag in ("enum", "set"):
                        value.tag = "string"


@contextlib.contextmanager
def _complaints_are_errors():
    """Qt only prints what it cannot read in a `.ui` file."""
    complaints: list[str] = []
    previous = QtCore.qInstallMessageHandler(lambda _kind, _context, text: complaints.append(text))
    try:
        yield
    finally:
        QtCore.qInstallMessageHandler(previous)
    if complaints:
        raise UiError("; ".join(complaints))


def _connect(by_name: dict, sender: str, signal: str, receiver: str, slot: str) -> None:
    for name in (sender, receiver):
        if name not in by_name:
            raise UiError(f"connection of {signal}: there is no widget {name!r}")
    method = getattr(by_name[receiver], slot.partition("(")[0], None)
    if method is None or not by_name[sender].connect(signal, method):
        raise UiError(f"cannot connect {sender}.{signal} to {receiver}.{slot}")
