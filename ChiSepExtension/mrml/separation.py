"""One run from nodes to nodes: what the module's Logic does, without any Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..options import Options
from ..progress import NEVER, CancelToken, Progress, silent
from .echoes import EchoInput, echo_input
from .outputs import base_name, require_own_outputs, write_magnitude, write_maps
from .volumes import array_of, mask_of, require_grid


@dataclass
class SeparationResult:
    """Maps of a run as nodes, by key: ``result.nodes["chi_para"]`` or ``result.chi_para``."""

    nodes: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["nodes"][name]
        except KeyError:
            raise AttributeError(f"this run made no {name}") from None

    @property
    def warnings(self) -> list[str]:
        """What the user should know before trusting the maps."""
        return list(self.provenance.get("warnings", []))


@dataclass
class SeparationJob:
    """Inputs of a run as nodes, checked, and where its maps go.

    Nodes of the scene are remembered by ID: a run takes minutes, and they may be gone when it ends.
    """

    scene: Any
    echoes: EchoInput
    options: Options
    input_ids: dict[str, str]
    output_ids: dict[str, str]
    name: str
    grid: Grid
    mask: np.ndarray | None = None
    r2_hz: np.ndarray | None = None

    @classmethod
    def prepare(
        cls,
        scene,
        magnitude,
        phase,
        *,
        echo_times_s: Sequence[float] | None = None,
        field_strength_t: float | None = None,
        mask=None,
        r2=None,
        outputs: Mapping[str, Any] | None = None,
        options: Options | None = None,
    ) -> SeparationJob:
        """Check everything that can be told from nodes; `InputError` says what is wrong."""
        echoes = echo_input(magnitude, phase, echo_times_s, field_strength_t)
        options = (options or Options()).validate()
        grid = echoes.grid
        r2_hz = None
        if r2 is not None:
            require_grid(r2, grid, "R2 map")
            r2_hz = array_of(r2).astype(np.float32)
        elif options.needs_measured_r2prime:
            raise InputError(
                "χ-sepnet-R2′ needs a measured R2 map and none is chosen.", "Choose one, or the method sepnet-r2star."
            )
        first = magnitude[0] if isinstance(magnitude, (list, tuple)) else magnitude
        first_phase = phase[0] if isinstance(phase, (list, tuple)) else phase
        nodes = {"magnitude": first, "phase": first_phase, "mask": mask, "r2": r2}
        volumes = {f"echo {n + 1}": node for n, node in enumerate((*echoes.magnitude, *echoes.phase))}
        # Data nodes of a sequence lie in a scene of its own, where IDs begin anew.
        volumes = {role: node for role, node in volumes.items() if node.GetScene() is scene}
        require_own_outputs(outputs or {}, {**volumes, **nodes})
        return cls(
            scene,
            echoes,
            options,
            {role: node.GetID() for role, node in nodes.items() if node is not None and node.GetID()},
            {key: node.GetID() for key, node in (outputs or {}).items() if node is not None},
            base_name(first),
            grid,
            None if mask is None else mask_of(mask, grid),
            r2_hz,
        )

    def run(self, progress: Progress = silent, cancel: CancelToken = NEVER) -> SeparationResult:
        """Compute here and now, in this process, and write the maps into the scene."""
        from ..outputs import full_provenance
        from ..pipeline import GivenMaps, run

        series = self.echoes.series()
        given = GivenMaps(mask=self.mask, r2_hz=self.r2_hz)
        result = run(series, self.options, given=given, progress=progress, cancel=cancel)
        return self.deliver(result.maps(), full_provenance(result))

    def deliver(self, maps: Mapping[str, np.ndarray], provenance: Mapping[str, Any]) -> SeparationResult:
        """Write maps into the scene.

        Raises
        ------
        InputError
            If the images that the run was about have been removed: their maps would belong to nothing.
        """
        inputs = {role: self.scene.GetNodeByID(node_id) for role, node_id in self.input_ids.items()}
        if any(inputs[role] is None for role in ("magnitude", "phase") if role in inputs):
            raise InputError(
                "The images were removed from the scene while their maps were computed; the maps were dropped.",
                "Load them and run again.",
            )
        outputs = {key: self.scene.GetNodeByID(node_id) for key, node_id in self.output_ids.items()}
        write_magnitude(self.scene, self.echoes.magnitude, self.grid, name=self.name, inputs=inputs)
        nodes = write_maps(
            self.scene,
            maps,
            self.grid,
            name=self.name,
            provenance=provenance,
            inputs=inputs,
            outputs={key: node for key, node in outputs.items() if node is not None},
        )
        return SeparationResult(nodes, dict(provenance))
