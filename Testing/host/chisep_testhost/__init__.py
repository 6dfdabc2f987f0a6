"""Test code: a stand-in for the 3D Slicer application on top of the `slicer-core` wheel.

The scene, the nodes, the storage, the logics and `slicer.util` are Slicer's own, compiled ones. What is missing from
the wheel - `slicer.app`, `slicer.modules`, the scripted base classes, the parameter node wrapper, `qt`, `ctk` and the
qMRML widgets - is written here, as far as this project needs it; any other member raises `NotImplementedError` with
its name.
A test that passes here shows that the module's own code runs. It does not show that it runs in Slicer.
"""

from __future__ import annotations

import sys

# PythonQt's enums are numbers: `status == 0` holds. PySide6 reads this once, at its first import.
sys.pyside6_option_python_enum = 0x3

from .errors import NotInHost, strict  # noqa: E402
from .runtime import Runtime, load_module, start, unavailable_reason  # noqa: E402

__all__ = ["NotInHost", "Runtime", "load_module", "start", "strict", "unavailable_reason"]
