"""Test code: the modules `qt` and `ctk`.

Module files import both at file scope, so both always exist. Without Qt they hold the few constants and no-operations
that Slicer's own `slicer.util` reads in testing mode (a message box that is skipped still names its buttons); anything
else raises `NotInHost`. When the widget part of the host starts it fills the same module objects, so a module file that
was imported before sees the real thing.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable

from .errors import refuse


class QtModule(types.ModuleType):
    """`qt` or `ctk`: attributes set on it, then whatever `provider` finds, then a refusal."""

    provider: Callable[[str], object] | None = None

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        found = self.provider(name) if self.provider else None
        if found is None:
            raise refuse(self.__name__, name)
        setattr(self, name, found)
        return found

    def forget(self, *names: str) -> None:
        for name in names:
            self.__dict__.pop(name, None)


class QMessageBox:
    """The numbers of Qt's buttons and icons."""

    NoIcon, Information, Warning, Critical, Question = 0, 1, 2, 3, 4
    Ok, Cancel, Yes, No, Retry, Close, NoButton = 0x400, 0x400000, 0x4000, 0x10000, 0x80000, 0x200000, 0


class Qt:
    WaitCursor, BusyCursor = 3, 16


class QApplication:
    """No window, no cursor."""

    @staticmethod
    def overrideCursor():
        return None

    @staticmethod
    def setOverrideCursor(_cursor) -> None:
        pass

    @staticmethod
    def restoreOverrideCursor() -> None:
        pass


HEADLESS = {"QMessageBox": QMessageBox, "Qt": Qt, "QApplication": QApplication}


def install() -> None:
    """Publish `qt` and `ctk` in `sys.modules`, unless they are there."""
    for name in ("qt", "ctk"):
        sys.modules.setdefault(name, QtModule(name))
    for name, member in HEADLESS.items():
        setattr(sys.modules["qt"], name, member)
