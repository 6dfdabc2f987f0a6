"""A multi-echo spin echo in the scene, from which a run measures R2: a sequence node whose index is the echo time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..acquisition.spin_echo import SpinEchoSeries, read_spin_echo
from ..errors import InputError
from ..geometry import Grid
from .echoes import echo_sequence, echo_times_of, echo_volumes
from .volumes import array_of, grid_of

REFOCUSING = "ChiSep.refocusingDeg"


@dataclass
class SpinEchoInput:
    """A spin echo still as nodes: arrays are copied echo by echo, so that nothing is held twice."""

    volumes: list
    echo_times_s: list[float]
    refocusing_deg: float | None = None

    @property
    def grid(self) -> Grid:
        return grid_of(self.volumes[0])

    @property
    def facts(self) -> dict[str, Any]:
        """What a job file says about it."""
        return {
            "echo_times_s": self.echo_times_s,
            "refocusing_deg": self.refocusing_deg,
            "ijk_to_ras": self.grid.ijk_to_ras.tolist(),
        }

    def arrays(self):
        """The echoes one by one, (z, y, x) float32."""
        for volume in self.volumes:
            yield array_of(volume).astype(np.float32)

    def series(self) -> SpinEchoSeries:
        """Everything in memory."""
        return SpinEchoSeries(
            np.stack(list(self.arrays())), np.array(self.echo_times_s), self.grid, self.refocusing_deg
        ).validate()


def spin_echo_input(sequence) -> SpinEchoInput:
    """The echoes of a sequence node whose index is the echo time.

    Raises
    ------
    InputError
        If the index is no echo time, or the echoes lie on different grids.
    """
    times, volumes = echo_times_of(sequence), echo_volumes(sequence)
    if times is None or len(volumes) < 2:
        raise InputError(
            f"The sequence “{sequence.GetName()}” is no multi-echo spin echo with known echo times.",
            "Load the spin echo from its folder.",
        )
    grid = grid_of(volumes[0])
    if not all(grid_of(volume).matches(grid) for volume in volumes):
        raise InputError(f"The echoes of “{sequence.GetName()}” lie on different grids.", "Load the folder again.")
    angle = sequence.GetAttribute(REFOCUSING)
    return SpinEchoInput(volumes, times, float(angle) if angle else None)


def load_spin_echo(scene, folder: str | Path):
    """Load the multi-echo spin echo of a folder into a sequence node. Returns the node.

    Raises
    ------
    InputError
        If there is no such scan, or its echo times are not known.
    """
    series = read_spin_echo(folder)
    name = f"{Path(folder).resolve().name} spin echo"
    node = echo_sequence(
        scene, name, series.magnitude, series.grid, series.echo_times_s, source=dict(series.provenance)
    )
    if series.refocusing_deg is not None:
        node.SetAttribute(REFOCUSING, f"{series.refocusing_deg:.6g}")
    return node
