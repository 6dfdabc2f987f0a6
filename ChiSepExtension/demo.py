"""The demonstration: a simulated head goes through `chisep run`, and the maps are compared with the known truth."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from .progress import NEVER, CancelToken
from .terminal import show, terminal_progress
from .volume_io import read_volume, write_text

#: Map of the run, its truth, scale to the shown unit, unit.
_COMPARED = (
    ("desc-paramagnetic_Chimap", "chi_para", 1e3, "ppb"),
    ("desc-diamagnetic_Chimap", "chi_dia", 1e3, "ppb"),
    ("Chimap", "chi_total", 1e3, "ppb"),
    ("R2starmap", "r2star", 1.0, "1/s"),
    ("R2primemap", "r2prime", 1.0, "1/s"),
    ("desc-local_fieldmap", "local_field", 1e3, "ppb"),
)


def run_demo(
    folder: Path,
    *,
    seed: int = 1,
    spacing_mm: float = 1.5,
    method: str = "closed-form",
    scene: bool = True,
    cancel: CancelToken = NEVER,
) -> int:
    """Simulate, separate by the code that a user runs, compare. Returns the exit status.

    Leaves in ``folder``: ``acquisition/`` (BIDS, what a scanner would give), ``maps/`` (the results),
    ``truth/`` beside the acquisition's derivatives, and ``errors.md``.
    """
    from .cli import main
    from .phantom import simulate_case

    folder = Path(folder)
    acquisition, maps = folder / "acquisition", folder / "maps"
    for old in (acquisition, maps):
        if old.exists():
            shutil.rmtree(old)
    show("Simulating a head: 5 echoes at 3 T, wrapped phase, noise, background field of air and bone")
    with terminal_progress() as progress:
        case = simulate_case(acquisition, spacing_mm=(spacing_mm,) * 3, seed=seed, progress=progress, cancel=cancel)
    command = [
        "run",
        str(acquisition),
        "--r2",
        str(case.r2_map),
        "--output",
        str(maps),
        "--method",
        method,
        *([] if scene else ["--no-scene"]),
    ]
    show("chisep " + " ".join(command))
    status = main(command)
    if status:
        return status
    table = error_table(maps, case.truth_folder)
    write_text(folder / "errors.md", table)
    show(table)
    show(f"Look at {maps / 'desc-overlay.png'} and {maps / 'desc-qc.png'}")
    return 0


def error_table(maps: Path, truth: Path) -> str:
    """Markdown table of a run's maps against their truth, where the run's mask and the true brain overlap."""
    from .quality.metrics import nrmse, xsim

    mask = read_volume(maps / "desc-brain_mask.nii.gz")[0] != 0
    brain = read_volume(truth / "brain_mask.nii.gz")[0] != 0
    mask &= brain  # beyond it the truth holds fat and bone
    lines = [
        "| map | unit | true mean ± SD | bias | RMSE | NRMSE % | correlation | XSIM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, true_name, scale, unit in _COMPARED:
        estimate = read_volume(maps / f"{name}.nii.gz")[0].astype(np.float64)
        true = read_volume(truth / f"{true_name}.nii.gz")[0].astype(np.float64)
        inside, expected = scale * estimate[mask], scale * true[mask]
        error = inside - expected
        similarity = f"{xsim(estimate, true, mask):.3f}" if unit == "ppb" else "-"
        lines.append(
            f"| {name} | {unit} | {expected.mean():.1f} ± {expected.std():.1f} | {error.mean():+.2f} "
            f"| {np.sqrt(np.mean(error**2)):.2f} | {nrmse(estimate, true, mask):.1f} "
            f"| {np.corrcoef(inside, expected)[0, 1]:.3f} | {similarity} |"
        )
    return "\n".join(lines) + "\n"
