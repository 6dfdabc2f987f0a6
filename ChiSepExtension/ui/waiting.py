"""The waiting cursor around something that takes a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import qt

Result = TypeVar("Result")


def busy(action: Callable[[], Result]) -> Result:
    """Run ``action`` under the waiting cursor; returns what it returns."""
    qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
    try:
        return action()
    finally:
        qt.QApplication.restoreOverrideCursor()
