"""The Python that does what a button does, as one line for the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def callText(function: str, **arguments: Any) -> str:
    """Such as ``ChiSepModuleLogic().loadFolder(folder='/data/sub-01')``; nodes by name, None left out."""
    shown = ", ".join(f"{name}={_valueText(value)}" for name, value in arguments.items() if value is not None)
    return f"{function}({shown})"


def _valueText(value: Any) -> str:
    if hasattr(value, "GetName") and hasattr(value, "GetID"):
        return f"slicer.util.getNode({value.GetName()!r})"
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_valueText(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_valueText(item)}" for key, item in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:.7g}"
    return repr(value)
