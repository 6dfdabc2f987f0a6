"""The state of a run on disk: written whole or not at all, read without running code from the file."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..volume_io import atomic_path

NAME = "checkpoint.pt"


@dataclass(eq=False)
class Checkpoint:
    """All that the next step depends on. Batches and rates follow from the step's number, so no generator is kept."""

    step: int
    model: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    #: Card, schedule and heads: a run that differs in them is another run.
    identity: dict[str, Any]
    #: Rows of the log so far.
    rows: list[dict[str, float]]
    seconds: float


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write ``checkpoint.pt``; an interruption leaves the one before."""
    path = folder / NAME
    content = {
        "step": checkpoint.step,
        "model": checkpoint.model,
        "average": checkpoint.average,
        "optimizer": checkpoint.optimizer,
        "about": json.dumps(
            {"identity": checkpoint.identity, "rows": checkpoint.rows, "seconds": checkpoint.seconds}, sort_keys=True
        ),
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
    return path


def read_checkpoint(folder: Path, identity: dict[str, Any]) -> Checkpoint | None:
    """The run's checkpoint on the CPU, or None if there is none.

    Raises
    ------
    InputError
        If the file is broken, or belongs to a run of other settings.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        about = json.loads(content.pop("about"))
        checkpoint = Checkpoint(**content, **about)
    except (RuntimeError, OSError, ValueError, KeyError, TypeError, pickle.UnpicklingError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}.", "Delete it to start again.") from error
    wanted = json.loads(json.dumps(identity, sort_keys=True))
    differing = sorted(
        key for key in {*wanted, *checkpoint.identity} if wanted.get(key) != checkpoint.identity.get(key)
    )
    if differing:
        raise InputError(
            f"The checkpoint {path} was written with other settings ({', '.join(differing)}).",
            "Repeat the run's settings, or choose another output folder.",
        )
    return checkpoint
