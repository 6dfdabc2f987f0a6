"""Test code: turns what Slicer only prints - exceptions in observers and slots, VTK errors - into test failures."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator, Sequence


class NotInHost(NotImplementedError, AttributeError):
    """A member of Slicer that the stand-in does not have.

    Also an AttributeError, so that `hasattr` answers False instead of failing: code that asks first may go on.
    """


class CollectedErrors(AssertionError):
    """Errors that were raised where nobody could catch them, each with its traceback."""


_collectors: list[list[str]] = []


def report(text: str) -> None:
    """Note an error that Slicer only prints in the innermost `strict` block, if there is one."""
    if _collectors:
        _collectors[-1].append(text)


def refuse(owner: str, name: str) -> NotInHost:
    """The error for member `name` of `owner`; special names stay plain AttributeErrors so that copy and pickle work."""
    return NotInHost(f"chisep_testhost does not implement {owner}.{name}")


class Refusing:
    """Base of the stand-ins: reading or setting a member that is not written raises `NotInHost` naming it."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        raise refuse(type(self).__name__, name)


@contextlib.contextmanager
def strict(allow: Sequence[str] = ()) -> Iterator[list[str]]:
    """Raise `CollectedErrors` at the end of the block if an observer, a slot, VTK or a wrong signal name made one.

    `allow`: texts; an error containing one of them is expected and ignored.
    """
    import vtk

    found: list[str] = []
    previous_hook, previous_window = sys.excepthook, vtk.vtkOutputWindow.GetInstance()
    window = vtk.vtkOutputWindow()
    window.SetDisplayModeToNever()

    def unhandled(kind, value, trace):
        found.append("".join(traceback.format_exception(kind, value, trace)))

    @vtk.calldata_type(vtk.VTK_STRING)
    def reported(_window, event, text):
        found.append(f"{event}: {text.strip()}")

    for event in ("ErrorEvent", "WarningEvent"):
        window.AddObserver(event, reported)
    sys.excepthook = unhandled
    _collectors.append(found)
    vtk.vtkOutputWindow.SetInstance(window)
    try:
        yield found
    finally:
        _collectors.pop()
        sys.excepthook = previous_hook
        vtk.vtkOutputWindow.SetInstance(previous_window)
    found[:] = [text for text in found if not any(part in text for part in allow)]
    if found:
        raise CollectedErrors("\n".join(found))
