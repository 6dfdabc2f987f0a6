"""From a finished run to a bundle: the averaged weights, and a model card that says what they are worth."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..networks.bundle import save_bundle
from ..networks.card import ModelCard
from ..networks.orientation import SPACING_TOLERANCE, TRAINED_SPACING_MM
from .beginning import Beginning
from .checkpoint import Checkpoint
from .pairs import PreparedHead
from .schedule import Schedule

#: What no score on simulated heads can show.
LIMITS = (
    "Trained and scored on heads of one source only; not validated in vivo.",
    "Adult brains at 3 T; not for hemorrhage, tumours, children or other field strengths.",
    "Research use only, not for diagnosis.",
)


def export_bundle(
    folder: Path,
    card: ModelCard,
    checkpoint: Checkpoint,
    schedule: Schedule,
    heads: list[PreparedHead],
    held_out: list[PreparedHead],
    *,
    data: str,
    spacing_mm: float,
    device: torch.device,
    beginning: Beginning | None = None,
) -> ModelCard:
    """Write the average of a checkpoint, and its card, into the bundle's folder.

    Parameters
    ----------
    data
        What the heads are, in words.
    spacing_mm
        Voxel size of training. The pipeline feeds 1 mm; another size is stated as a limit.
    beginning
        What the run started from: its data and schedule are part of this network's.

    Returns
    -------
    The card as written.
    """
    last = next((row for row in reversed(checkpoint.rows) if "seconds" in row), {})
    limits = list(LIMITS)
    if abs(spacing_mm / TRAINED_SPACING_MM - 1) > SPACING_TOLERANCE:
        limits.append(
            f"Trained with voxels of {spacing_mm:g} mm, while the pipeline feeds networks 1 mm: a trial only."
        )
    details: dict[str, Any] = {
        "data": {
            "heads": len(heads),
            "seeds": [heads[0].seed, heads[-1].seed],
            "held_out_seeds": [held_out[0].seed, held_out[-1].seed],
            "label_maps": _label_maps(heads),
            "held_out_label_maps": _label_maps(held_out),
            "voxel_mm": spacing_mm,
        },
        "schedule": {**asdict(schedule), "steps_done": checkpoint.step},
        "hardware": {
            "device": device_name(device),
            "threads": torch.get_num_threads() if device.type == "cpu" else 0,
            "torch": str(torch.__version__),
            "minutes": round(checkpoint.seconds / 60, 1),
        },
        "scores": {
            "nrmse_percent": _rounded(last, "nrmse_"),
            "conventional_nrmse_percent": _rounded(last, "bar_"),
            "what": "mean over whole held-out heads of the same simulator; conventional: total-variation QSM and "
            "smoothed R2' in closed form, or for R2' the R2* map",
        },
        "limits": limits,
    }
    if beginning is not None:
        before = beginning.card.details
        details["started_from"] = {"sha256": beginning.sha256, "name": beginning.card.name} | {
            key: before[key] for key in ("data", "schedule", "hardware", "started_from") if key in before
        }
    text = f"{data} {len(heads)} in training, voxels of {spacing_mm:g} mm. {' '.join(limits)}"
    return save_bundle(
        folder,
        replace(card, version=__version__, training_data=text, details=details),
        checkpoint.average,
    )


def device_name(device: torch.device) -> str:
    """Class of a device: a GPU by its maker's name, a processor by its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores" if device.type == "cpu" else str(device)


def _label_maps(heads: list[PreparedHead]) -> list[str]:
    """Files that heads were made from, each once; procedural heads have none."""
    return sorted({str(head.provenance["label_map"]) for head in heads if head.provenance.get("label_map")})


def _rounded(row: dict[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): round(value, 2) for name, value in row.items() if name.startswith(prefix)}
