"""The values under the cursor in one line, each with its unit: χ in ppb."""

from __future__ import annotations

import slicer

from ..mrml.maps import BY_KEY
from ..mrml.volumes import grid_of


def valuesAt(nodes: dict, ras) -> dict[str, float]:
    """Voxel value of each map (by key) at a RAS point, in the map's own unit.

    Left out are points outside, and maps that lie under a transform: their voxels are shown elsewhere.
    """
    values = {}
    for key, node in nodes.items():
        if node is None or node.GetImageData() is None or node.GetParentTransformNode() is not None:
            continue
        grid = grid_of(node)
        z, y, x = (round(float(v)) for v in grid.ras_to_index(ras))
        if all(0 <= index < size for index, size in zip((z, y, x), grid.shape)):
            values[key] = float(node.GetImageData().GetScalarComponentAsDouble(x, y, z, 0))
    return values


def readoutText(values: dict[str, float]) -> str:
    """Such as "χ-para 23 ppb   χ-dia 41 ppb   R2* 19.4 1/s"."""
    parts = []
    for key, value in values.items():
        kind = BY_KEY[key]
        if kind.is_mask:
            continue
        decimals = 0 if kind.shown_unit == "ppb" else 1
        parts.append(f"{kind.title} {value * kind.shown_scale:.{decimals}f} {kind.shown_unit}".rstrip())
    return "   ".join(parts)


class CursorReadout:
    """Follows the crosshair's cursor and writes into a label.

    Parameters
    ----------
    label
        Any Qt label.
    nodes
        Callable that returns the maps by key, looked up at every move: nodes come and go.
    """

    EMPTY = "—"

    def __init__(self, label, nodes) -> None:
        self._label, self._nodes = label, nodes
        self._crosshair = None
        self._tag = None

    def start(self) -> None:
        """Follow the cursor; starting twice is harmless."""
        self.stop()
        crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None:
            self._crosshair = crosshair
            self._tag = crosshair.AddObserver(slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent, self._moved)

    def stop(self) -> None:
        if self._crosshair is not None:
            self._crosshair.RemoveObserver(self._tag)
        self._crosshair = self._tag = None
        self._label.text = self.EMPTY

    def _moved(self, crosshair, _event) -> None:
        ras = [0.0, 0.0, 0.0]
        # Leaving a view sends an event with the old position and no view: the numbers must go.
        if not crosshair.GetCursorPositionRAS(ras):
            self._label.text = self.EMPTY
            return
        self._label.text = readoutText(valuesAt(self._nodes(), ras)) or self.EMPTY
