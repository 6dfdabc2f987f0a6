"""One run from nodes to nodes: what the module's Logic does, without any Qt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..options import Options
from ..progress import NEVER, CancelToken, Progress, silent
from ..quality.gate_rows import Gate
from .echoes import EchoInput, echo_input
from .job import write_job
from .outputs import MAGNITUDE, base_name, map_steps, require_own_outputs, write_magnitude
from .spin_echo import SpinEchoInput, spin_echo_input
from .volumes import array_of, mask_of, require_grid, world_grid_of


@dataclass
class SeparationResult:
    """Maps of a run as nodes, by key: ``result.nodes["chi_para"]`` or ``result.chi_para``.

    ``quality_picture`` is the page that shows whether the run can be trusted, as PNG; empty where none was made.
    """

    nodes: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    quality_picture: bytes = b""

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
    given: dict[str, np.ndarray] = field(default_factory=dict)
    context: dict[str, Grid] = field(default_factory=dict)
    spin_echo: SpinEchoInput | None = None
    gate: Gate | None = None
    record: dict[str, Any] = field(default_factory=dict)

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
        r2prime=None,
        spin_echo=None,
        context: Mapping[str, Any] | None = None,
        gate: Gate | None = None,
        record: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        options: Options | None = None,
    ) -> SeparationJob:
        """Check everything that can be told from nodes; `InputError` says what is wrong.

        ``spin_echo`` is the sequence of a multi-echo spin echo; ``context`` are the volumes that will lie beside the
        maps (FLAIR, T1, SWI), by name; ``gate`` is what `check` has said, ``record`` goes into the provenance.
        """
        echoes = echo_input(magnitude, phase, echo_times_s, field_strength_t)
        options = (options or Options()).validate()
        grid = echoes.grid
        given = {}
        if sum(node is not None for node in (r2, r2prime, spin_echo)) > 1:
            raise InputError("Of R2 map, R2′ map and spin echo more than one is chosen.", "Choose one of them.")
        for name, node, role in (("r2_hz", r2, "R2 map"), ("r2prime_hz", r2prime, "R2′ map")):
            if node is not None:
                require_grid(node, grid, role)
                given[name] = array_of(node).astype(np.float32)
        if options.needs_measured_r2prime and not given and spin_echo is None:
            raise InputError(
                "χ-sepnet-R2′ needs a measured R2 or R2′ and none is chosen.",
                "Choose a map or a spin echo, or the method χ-sepnet-R2*.",
            )
        if mask is not None:
            given["mask"] = mask_of(mask, grid)
        first = magnitude[0] if isinstance(magnitude, (list, tuple)) else magnitude
        first_phase = phase[0] if isinstance(phase, (list, tuple)) else phase
        nodes = {"magnitude": first, "phase": first_phase, "mask": mask, "r2": r2, "r2prime": r2prime}
        nodes["spin_echo"] = spin_echo
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
            given,
            {key: world_grid_of(node) for key, node in (context or {}).items() if node is not None},
            None if spin_echo is None else spin_echo_input(spin_echo),
            None if gate is None else gate.require(),
            dict(record or {}),
        )

    def write(self, folder: Path, task: str = "run") -> Iterator[float]:
        """Write the job of a child process into a folder; see `job.write_job`."""
        return write_job(
            folder,
            self.echoes,
            self.options.to_dict(),
            given=self.given,
            context=self.context,
            spin_echo=self.spin_echo,
            gate=None if self.gate is None else self.gate.to_dict(),
            record=self.record,
            task=task,
        )

    def run(self, progress: Progress = silent, cancel: CancelToken = NEVER) -> SeparationResult:
        """Compute here and now, in this process, and write the maps into the scene."""
        from ..outputs import full_provenance
        from ..pipeline import GivenMaps, run

        series = self.echoes.series()
        series.provenance.update(self.record)
        result = run(
            series,
            self.options,
            given=GivenMaps(**self.given),
            spin_echo=None if self.spin_echo is None else self.spin_echo.series(),
            gate=self.gate,
            progress=progress,
            cancel=cancel,
        )
        return self.deliver(result.maps(), full_provenance(result))

    def check(self) -> Gate:
        """The input gate, here and now, in this process."""
        from ..given_maps import GivenMaps
        from ..preprocessing.vendor_repair import repair
        from ..quality.gate import check_inputs

        given, series = GivenMaps(**self.given), self.echoes.series()
        series.provenance.update(self.record)
        if self.options.repair:
            series = repair(series, self.options.repair, mask=given.mask)
        return check_inputs(
            series,
            given=given,
            options=self.options,
            context=self.context,
            spin_echo=None if self.spin_echo is None else self.spin_echo.series(),
        )

    def deliver(self, maps: Mapping[str, np.ndarray], provenance: Mapping[str, Any]) -> SeparationResult:
        """Write maps into the scene; see `deliver_steps`."""
        *_, result = self.deliver_steps(maps, provenance)
        return result

    def deliver_steps(
        self, maps: Mapping[str, np.ndarray], provenance: Mapping[str, Any], quality_picture: bytes = b""
    ) -> Iterator[Any]:
        """Write maps into the scene, one per step; the last value is the `SeparationResult`.

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
        outputs = {key: node for key, node in outputs.items() if node is not None}
        mean = maps.get(MAGNITUDE)
        write_magnitude(self.scene, self.echoes.magnitude, self.grid, name=self.name, inputs=inputs, array=mean)
        yield None
        where = {"name": self.name, "provenance": provenance, "inputs": inputs, "outputs": outputs}
        nodes = {}
        for key, node in map_steps(self.scene, maps, self.grid, **where):
            nodes[key] = node
            yield None
        yield SeparationResult(nodes, dict(provenance), quality_picture)
