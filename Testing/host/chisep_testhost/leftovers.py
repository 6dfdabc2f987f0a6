"""Test code: finds what a test forgot: observers on objects that outlive a scene, shortcuts, child processes."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path


def observer_counts() -> dict[str, int]:
    """Number of observers on the scene, the crosshair, the selection and the parameter nodes of modules.

    The scene's own printout lists its observers. Nodes do not print theirs, and can only say whether there are any.
    """
    import slicer

    scene = slicer.mrmlScene
    counts = {"mrmlScene": len(re.findall(r"vtkObserver \(", str(scene)))}
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.IsA("vtkMRMLScriptedModuleNode"):
            counts[f"parameter node {node.GetID()}"] = int(bool(node.HasObserver("ModifiedEvent")))
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    moved = crosshair.CursorPositionModifiedEvent
    counts["crosshair"] = int(bool(crosshair.HasObserver(moved)))
    return counts


def shortcuts(host) -> list[str]:
    """Keys of the shortcuts that are still on the main window."""
    if host.gui is None:
        return []
    import qt

    return [shortcut.key.toString() for shortcut in host.gui.main_window.findChildren(qt.QShortcut)]


def surviving_children(patience_s: float = 5.0) -> list[str]:
    """Command lines of child processes that are still there after `patience_s` (Linux; elsewhere always empty)."""
    end = time.monotonic() + patience_s
    while (found := _children()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def _children() -> list[str]:
    """Ended children that nobody has waited for do not count: they have an empty command line."""
    lines = []
    for listing in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for child in listing.read_text().split():
            try:
                command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if command.strip() and "multiprocessing.resource_tracker" not in command:  # Python's own, until its end
                lines.append(command.strip())
    return lines
