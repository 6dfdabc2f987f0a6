"""Multi-echo magnitude and phase in the scene: sequence nodes whose index is the echo time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import slicer

from ..acquisition.gradient_echo import GradientEchoSeries
from ..acquisition.phase_scaling import to_radians
from ..errors import InputError
from ..geometry import Grid
from .volumes import array_of, grid_of, set_array

INDEX_NAME = "EchoTime"
#: Attributes of a sequence node that was filled by us.
FIELD_STRENGTH = "ChiSep.fieldStrengthTesla"
PHASE_SCALING = "ChiSep.phaseScaling"
SOURCE = "ChiSep.source"
#: References of a magnitude sequence to what was loaded with it.
PARTNER_PHASE, PARTNER_R2 = "ChiSep.partnerPhase", "ChiSep.partnerR2"


@dataclass
class EchoInput:
    """What a run starts from, still as nodes: arrays are copied echo by echo, so that nothing is held twice.

    Parameters
    ----------
    magnitude, phase
        One volume node per echo, first echo first. Phase in the numbers the file stored.
    echo_times_s
        In seconds.
    phase_scaling
        "auto", or a name that `acquisition.phase_scaling` knows.
    source
        Where the images came from, for the provenance.
    """

    magnitude: list
    phase: list
    echo_times_s: list[float]
    field_strength_t: float
    phase_scaling: str = "auto"
    source: dict[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        return grid_of(self.magnitude[0])

    def check(self) -> EchoInput:
        """Return self, or raise `InputError` for what can be told without looking at voxels."""
        if not self.magnitude or not self.phase:
            missing = "magnitude" if not self.magnitude else "phase"
            raise InputError(f"No {missing} is chosen.", "Load a folder, or choose the echoes.")
        if len(self.magnitude) != len(self.phase):
            raise InputError(
                f"There are {len(self.magnitude)} magnitude echoes but {len(self.phase)} phase echoes.",
                "Choose magnitude and phase of one scan.",
            )
        if len(self.magnitude) < 2:
            raise InputError(
                f"“{self.magnitude[0].GetName()}” has only one echo.", "A multi-echo scan is needed: at least 2 echoes."
            )
        if len(self.echo_times_s) != len(self.magnitude):
            raise InputError(
                f"There are {len(self.magnitude)} echoes but {len(self.echo_times_s)} echo times.",
                "Give one echo time per echo, in milliseconds.",
            )
        steps = np.diff([0.0, *self.echo_times_s])
        if not (steps > 0).all():
            raise InputError("The echo times must be positive and ascending.", "First echo first, in milliseconds.")
        grid = self.grid
        for role, volumes in (("magnitude", self.magnitude), ("phase", self.phase)):
            for n, volume in enumerate(volumes):
                if not grid_of(volume).matches(grid):
                    raise InputError(
                        f"Echo {n + 1} of the {role} lies on another grid than the first magnitude echo.",
                        "Choose magnitude and phase of one scan. Phase must not be resampled.",
                    )
        return self

    def arrays(self, role: str) -> Iterator[np.ndarray]:
        """The echoes of "magnitude" or "phase" one by one, (z, y, x) float32."""
        for volume in getattr(self, role):
            yield array_of(volume).astype(np.float32)

    def series(self) -> GradientEchoSeries:
        """Everything in memory, phase in radians: what the pipeline takes."""
        self.check()
        stored = np.stack(list(self.arrays("phase")))
        phase, span = to_radians(stored, scaling=self.phase_scaling)
        remarks = [*self.source.get("remarks", []), f"Phase read as {span.description}."]
        return GradientEchoSeries(
            np.stack(list(self.arrays("magnitude"))),
            phase,
            np.array(self.echo_times_s),
            self.field_strength_t,
            self.grid,
            provenance={**self.source, "phase_scaling": span.name, "remarks": remarks},
        ).validate()


def echo_input(
    magnitude, phase, echo_times_s: Sequence[float] | None = None, field_strength_t: float | None = None
) -> EchoInput:
    """Collect the echoes of a run.

    Parameters
    ----------
    magnitude, phase
        A sequence node, or a list of volume nodes, one per echo.
    echo_times_s, field_strength_t
        None takes them from the magnitude sequence, where `echo_sequence` or a reader has put them.

    Raises
    ------
    InputError
        If something is missing or does not fit together.
    """
    if echo_times_s is None:
        found = echo_times_of(magnitude)
        if found is None:
            found = echo_times_of(phase)
        if found is None:
            raise InputError("The echo times are not known.", "Give them: echo_times_s=[0.004, 0.008, …] in seconds.")
        echo_times_s = found
    if field_strength_t is None:
        field_strength_t = field_strength_of(magnitude)
        if field_strength_t is None:
            raise InputError("The field strength is not known.", "Give it in tesla, such as field_strength_t=3.")
    return EchoInput(
        echo_volumes(magnitude),
        echo_volumes(phase),
        [float(t) for t in echo_times_s],
        float(field_strength_t),
        _attribute(phase, PHASE_SCALING) or "auto",
        json.loads(_attribute(magnitude, SOURCE) or "{}"),
    ).check()


def echo_volumes(nodes) -> list:
    """Volume nodes of a sequence node, a list of volumes, a single volume, or None (an empty list)."""
    if nodes is None:
        return []
    if isinstance(nodes, (list, tuple)):
        return [volume for node in nodes for volume in echo_volumes(node)]
    if nodes.IsA("vtkMRMLSequenceNode"):
        volumes = [nodes.GetNthDataNode(n) for n in range(nodes.GetNumberOfDataNodes())]
        if any(v is None or not v.IsA("vtkMRMLScalarVolumeNode") for v in volumes):
            raise InputError(f"The sequence “{nodes.GetName()}” holds no images.", "Choose a sequence of volumes.")
        return volumes
    if not nodes.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"“{nodes.GetName()}” is not an image.", "Choose a volume, or a sequence of volumes.")
    return [nodes]


def echo_times_of(node) -> list[float] | None:
    """Echo times in s where a sequence's index holds them; None for a plain 4-D series, whose index is a count."""
    if node is None or isinstance(node, (list, tuple)) or not node.IsA("vtkMRMLSequenceNode"):
        return None
    if not re.fullmatch(r"echo[ _]?times?|te", node.GetIndexName() or "", re.IGNORECASE):
        return None
    try:
        values = [float(node.GetNthIndexValue(n)) for n in range(node.GetNumberOfDataNodes())]
    except ValueError:
        return None
    scale = 1e-3 if (node.GetIndexUnit() or "").lower() in ("ms", "msec") else 1.0
    return [value * scale for value in values]


def field_strength_of(node) -> float | None:
    """B0 in tesla where `echo_sequence` has stored it."""
    value = _attribute(node, FIELD_STRENGTH)
    return float(value) if value else None


def echo_sequence(
    scene,
    name: str,
    echoes: np.ndarray,
    grid: Grid,
    echo_times_s: Sequence[float],
    *,
    field_strength_t: float | None = None,
    phase_scaling: str | None = None,
    source: dict[str, Any] | None = None,
    node=None,
):
    """Put echoes (echo, z, y, x) into a sequence node whose index is the echo time in ms. Returns the node."""
    volumes = []
    for n, echo in enumerate(echoes):
        volume = slicer.vtkMRMLScalarVolumeNode()
        volume.SetName(f"{name} echo {n + 1}")
        set_array(volume, np.asarray(echo), grid)
        volumes.append(volume)
    node = sequence_of_volumes(scene, name, volumes, echo_times_s, node=node)
    for attribute, value in (
        (FIELD_STRENGTH, f"{field_strength_t:.10g}" if field_strength_t else None),
        (PHASE_SCALING, phase_scaling),
        (SOURCE, json.dumps(source) if source else None),
    ):
        node.SetAttribute(attribute, value)
    return node


def sequence_of_volumes(scene, name: str, volumes: Sequence, echo_times_s: Sequence[float] | None, *, node=None):
    """A sequence node of copies of volume nodes; without echo times the index is a plain count.

    The index is in milliseconds: a sequence takes values within 0.001 (its `NumericIndexValueTolerance`) for the same
    one, and in seconds that would merge echoes 1 ms apart.

    Raises
    ------
    InputError
        If two echo times are the same, or there is not one per volume.
    """
    if echo_times_s is not None and len(echo_times_s) != len(volumes):
        raise InputError(
            f"There are {len(volumes)} echoes but {len(echo_times_s)} echo times.", "Give one echo time per echo."
        )
    known = echo_times_s is not None
    values = [f"{1e3 * t:.4f}" for t in echo_times_s] if known else [str(n + 1) for n in range(len(volumes))]
    same = f"Of the echo times {', '.join(values)} ms some are the same."
    if len(set(values)) < len(values):
        raise InputError(same, "Give one per echo.")
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(name))
    node.RemoveAllDataNodes()
    node.SetIndexName(INDEX_NAME if known else "echo")
    node.SetIndexUnit("ms" if known else "")
    node.SetIndexType(slicer.vtkMRMLSequenceNode.NumericIndex)
    for volume, value in zip(volumes, values):
        node.SetDataNodeAtValue(volume, value)
    if node.GetNumberOfDataNodes() != len(volumes):
        raise InputError(same, "Give one per echo.")
    return node


def natural_order(names: Sequence[str]) -> list[int]:
    """Indices that sort names so that echo 10 comes after echo 9."""

    def key(index: int) -> list:
        return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", names[index])]

    return sorted(range(len(names)), key=key)


def combined_magnitude(volumes: Sequence) -> np.ndarray:
    """Root of the mean of the squared echoes, (z, y, x) float32: the picture behind the overlays."""
    total = None
    for volume in volumes:
        square = np.square(array_of(volume), dtype=np.float32)
        total = square if total is None else np.add(total, square, out=total)
    return np.sqrt(total / np.float32(len(volumes)))


def _attribute(node, name: str) -> str | None:
    return None if node is None or isinstance(node, (list, tuple)) else node.GetAttribute(name)
