"""Test code: PySide6 classes with the manners of PythonQt, Slicer's Qt binding.

Properties are attributes (`label.text`), signals connect by signature (`b.connect('clicked(bool)', f)` answers True or
False), enums are numbers, and an attribute that is no property cannot be set. Every class is subclassed, never patched,
so code that uses PySide6 in its own manner is not disturbed.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import sys
from collections.abc import Callable

from PySide6 import QtCore, QtGui, QtWidgets

from .errors import refuse, report

if sys.version_info < (3, 12):
    # PySide6 drops references to None, True and False without taking them first, which is harmless since Python 3.12,
    # where they are immortal, and ends the process before ("bool_dealloc"). A head start of references makes up for it.
    for _shared in (None, True, False):
        ctypes.c_ssize_t.from_address(id(_shared)).value += 1 << 40

if QtCore.Qt.CheckState.Checked != 2:
    raise ImportError("PySide6 was imported before chisep_testhost, which asks it for enums that are numbers")

# Virtual in C++: a property of this name would replace the method that Qt calls.
VIRTUAL = {"sizeHint", "minimumSizeHint", "event", "singleShot", "objectName"}
# Methods that hand out Qt's own parts, which must have the same manners.
ACCESSORS = (
    "horizontalHeader verticalHeader lineEdit model selectionModel viewport verticalScrollBar horizontalScrollBar "
    "layout parent parentWidget cellWidget widget window button buddy focusWidget menu statusBar titleBarWidget"
).split()

_classes: dict[type, type] = {}
_loading: list[bool] = []


@contextlib.contextmanager
def loading():
    """While PySide6's `.ui` loader sets the children as attributes of the widget it makes."""
    _loading.append(True)
    try:
        yield
    finally:
        _loading.pop()


class _Meta(type(QtCore.QObject)):
    """The classes are siblings, not parents, of each other; `isinstance(checkBox, qt.QWidget)` must hold."""

    def __instancecheck__(cls, value) -> bool:
        base = cls.__dict__.get("_qt_base")
        return isinstance(value, base) if base else super().__instancecheck__(value)

    def __subclasscheck__(cls, value) -> bool:
        base = cls.__dict__.get("_qt_base")
        return issubclass(value, base) if base else super().__subclasscheck__(value)


class Pythonic:
    """Mixed into every class."""

    # Signal signatures of Slicer's C++ class -> name of the Python signal that carries it.
    SIGNALS: dict[str, str] = {}

    def __init_subclass__(cls, **kwargs) -> None:
        # PySide6 looks `connect` up in the class's own dictionary, as it is a static and an instance method.
        super().__init_subclass__(**kwargs)
        cls.connect, cls.disconnect = Pythonic.connect, Pythonic.disconnect

    def connect(self, signal: str, slot: Callable) -> bool:
        found = _find_signal(self, signal)
        if found is None:
            report(f"QObject::connect: no such signal {type(self).__name__}::{signal}")
            return False
        bound, count = found
        adapter = _adapter(slot, count)
        bound.connect(adapter)
        self.__dict__.setdefault("_connections", []).append((signal, slot, adapter))
        return True

    def disconnect(self, signal: str | None = None, slot: Callable | None = None) -> bool:
        kept, removed = [], 0
        for entry in self.__dict__.get("_connections", []):
            if signal in (None, entry[0]) and slot in (None, entry[1]):
                _find_signal(self, entry[0])[0].disconnect(entry[2])
                removed += 1
            else:
                kept.append(entry)
        self.__dict__["_connections"] = kept
        return removed > 0

    def __setattr__(self, name: str, value) -> None:
        own = type(self).__dict__
        if not (_loading or name.startswith("_")) and ("_qt_base" in own or "_stand_in" in own):
            member = inspect.getattr_static(type(self), name, None)
            if not (isinstance(member, property | QtCore.Property)):
                raise AttributeError(f"{type(self).__name__} has no property {name!r}")
        super().__setattr__(name, value)

    def findChildren(self, what=QtCore.QObject, name: str = "") -> list:
        every = [c for c in QtCore.QObject.findChildren(self, QtCore.QObject) if isinstance(c, Pythonic)]
        wanted = (lambda c: c.inherits(what)) if isinstance(what, str) else (lambda c: isinstance(c, what))
        return [child for child in every if wanted(child) and (not name or child.objectName == name)]

    def findChild(self, what=QtCore.QObject, name: str = ""):
        return next(iter(self.findChildren(what, name)), None)

    def className(self) -> str:
        return type(self).__name__

    def delete(self) -> None:
        self.deleteLater()

    def _get_name(self) -> str:
        return QtCore.QObject.objectName(self)

    def _set_name(self, value: str) -> None:
        QtCore.QObject.setObjectName(self, value)

    objectName = property(_get_name, _set_name)
    name = property(_get_name, _set_name)


def _find_signal(widget, signature: str):
    """(bound signal, number of arguments) for a C++ signature, or None if the class has no such signal."""
    normal = QtCore.QMetaObject.normalizedSignature(signature)
    normal = bytes(normal.data() if hasattr(normal, "data") else normal).decode()
    arguments = normal.partition("(")[2].rstrip(")")
    count = arguments.count(",") + 1 if arguments else 0
    stand_in_signals = getattr(type(widget), "SIGNALS", {})
    if normal in stand_in_signals:
        return getattr(widget, stand_in_signals[normal]), count
    if "PyObject" in normal or widget.metaObject().indexOfSignal(normal) < 0:
        return None
    return getattr(widget, normal.partition("(")[0]), count


def _adapter(slot: Callable, count: int) -> Callable:
    """Calls `slot` with as many of the signal's arguments as it takes, as PythonQt does."""
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):
        parameters = None
    if parameters is not None and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        count = min(count, len(positional))

    # PySide6 chooses among `clicked()` and `clicked(bool)` by the number of parameters: it must be the exact one.
    return (
        lambda: slot(),
        lambda a: slot(a),
        lambda a, b: slot(a, b),
        lambda a, b, c: slot(a, b, c),
        lambda a, b, c, d: slot(a, b, c, d),
    )[count]


class Borrowed:
    """A part that Qt made itself (a header, a model) with PythonQt's manners.

    A proxy: changing the class of such an object in place corrupts PySide6's signals.
    """

    def __init__(self, native) -> None:
        object.__setattr__(self, "_native", native)

    def _has_property(self, name: str) -> bool:
        return name not in VIRTUAL - {"objectName"} and self._native.metaObject().indexOfProperty(name) >= 0

    def __getattr__(self, name: str):
        if self._has_property(name):
            return self._native.property(name)
        member = getattr(self._native, name)
        if not callable(member) or isinstance(member, QtCore.SignalInstance):
            return member
        return lambda *arguments: lend(member(*arguments))

    def __setattr__(self, name: str, value) -> None:
        if not self._has_property(name) or not self._native.setProperty(name, value):
            raise AttributeError(f"{type(self._native).__name__} has no property {name!r} that takes {value!r}")

    def connect(self, signal: str, slot: Callable) -> bool:
        found = _find_signal(self._native, signal)
        if found is None:
            report(f"QObject::connect: no such signal {type(self._native).__name__}::{signal}")
            return False
        found[0].connect(_adapter(slot, found[1]))
        return True


def lend(found):
    """Hand out an object: those that Qt made itself get PythonQt's manners."""
    return Borrowed(found) if isinstance(found, QtCore.QObject) and not isinstance(found, Pythonic) else found


def _property(base: type, meta_property) -> property:
    name = meta_property.name()
    capital = name[0].upper() + name[1:]
    getter = getattr(base, name, None) or getattr(base, "is" + capital, None)
    setter = getattr(base, "set" + capital, None)

    def read(self):
        return getter(self) if callable(getter) else self.property(name)

    def write(self, value) -> None:
        if not meta_property.isWritable():
            raise AttributeError(f"{base.__name__}.{name} is read-only")
        try:
            setter(self, value) if setter else self.setProperty(name, value)
        except TypeError:
            # PythonQt takes a number for an enum.
            setter(self, type(read(self))(value))

    return property(read, write)


def pythonic(base: type) -> type:
    """The subclass of the Qt class `base` with PythonQt's manners."""
    if base in _classes or isinstance(base, _Meta):
        return _classes.get(base, base)
    members: dict[str, object] = {"_qt_base": base}
    meta = base.staticMetaObject
    for index in range(meta.propertyCount()):
        if meta.property(index).name() not in VIRTUAL:
            members[meta.property(index).name()] = _property(base, meta.property(index))
    for accessor in ACCESSORS:
        if accessor not in members and hasattr(base, accessor):
            members[accessor] = _accessor(base, accessor)
    if hasattr(base, "exec"):
        members["exec_"] = members["exec"] = _refuses_to_block(base, "exec")
    for static in (
        "getOpenFileName",
        "getOpenFileNames",
        "getSaveFileName",
        "getExistingDirectory",
        "getText",
        "getItem",
    ):
        if hasattr(base, static):
            members[static] = staticmethod(_refuses_to_block(base, static))
    _classes[base] = cls = _Meta(base.__name__, (Pythonic, base), members)
    return cls


def _accessor(base: type, name: str) -> Callable:
    method = getattr(base, name)
    return lambda self, *arguments: lend(method(self, *arguments))


def _refuses_to_block(base: type, name: str) -> Callable:
    def call(*_arguments):
        raise refuse(base.__name__, f"{name}, which waits for a person")

    return call


def qt_member(name: str):
    """Member `name` of the module `qt`, or None."""
    if not name.startswith("Q"):
        return None
    for library in (QtWidgets, QtGui, QtCore):
        found = getattr(library, name, None)
        if found is None:
            continue
        if not isinstance(found, type) or not issubclass(found, QtCore.QObject):
            return found
        return found if issubclass(found, QtCore.QCoreApplication) else pythonic(found)
    return None
