"""A simulated scan as sample data: no download, no person, and its truth is known."""

from __future__ import annotations

from ..progress import Progress, part, silent
from .echoes import PARTNER_PHASE, PARTNER_R2, echo_sequence
from .loading import LoadedEchoes
from .maps import PER_SECOND
from .volumes import set_array, set_meaning

NAME = "Simulated head with MS lesions"


def add_simulated_head(scene, *, spacing_mm: float = 2.0, seed: int = 1, progress: Progress = silent) -> LoadedEchoes:
    """Simulate a multi-echo gradient-echo scan of a head with MS lesions and put it into two sequence nodes.

    An R2 map, as from a spin echo of the same head, comes with it.

    At 2 mm it takes about 3 s on one core; at 4 mm, enough for a test, 1 s.
    """
    # Not with the module: this takes scipy along, which makes the application's start longer.
    from ..phantom import make_head, simulate_gradient_echo, simulate_r2_map

    head = make_head(spacing_mm=spacing_mm, seed=seed, lesions=12, progress=part(progress, 0.0, 0.6))
    series = simulate_gradient_echo(head, seed=seed, progress=part(progress, 0.6, 1.0)).series
    source = {**series.provenance, "simulated": {"spacing_mm": spacing_mm, "seed": seed}}
    nodes = {
        role: echo_sequence(
            scene,
            f"simulated-head {role}",
            getattr(series, role),
            series.grid,
            series.echo_times_s,
            field_strength_t=series.field_strength_t,
            phase_scaling="radians" if role == "phase" else None,
            source=source if role == "magnitude" else None,
        )
        for role in ("magnitude", "phase")
    }
    r2_map = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName("simulated-head R2map"))
    set_array(r2_map, simulate_r2_map(head, seed=seed), series.grid)
    set_meaning(r2_map, None, PER_SECOND)
    r2_map.CreateDefaultDisplayNodes()
    nodes["magnitude"].SetNodeReferenceID(PARTNER_PHASE, nodes["phase"].GetID())
    nodes["magnitude"].SetNodeReferenceID(PARTNER_R2, r2_map.GetID())
    times = [float(t) for t in series.echo_times_s]
    return LoadedEchoes(nodes["magnitude"], nodes["phase"], times, series.field_strength_t, [], r2_map)
