"""Test code: counts observers on the objects that outlive a closed scene, to find those a test forgot to remove."""

from __future__ import annotations

import re


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
