"""Starting a network from a trained one: fewer steps for a network of the same layout and nearly the same task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import InputError
from ..networks.bundle import load_bundle, load_state
from ..networks.card import ModelCard


@dataclass(frozen=True, eq=False)
class Beginning:
    """Weights to start with, and the SHA-256 of the file that they are from."""

    state: dict[str, torch.Tensor]
    sha256: str


def read_beginning(folder: str | Path, card: ModelCard) -> Beginning:
    """Weights of the network of the card's role in a bundle.

    The last layer is left out where the outputs mean something else (a map instead of a correction).

    Raises
    ------
    InputError
        If widths or channels differ.
    WeightsError
        If the bundle is broken, or holds no network of that role.
    """
    trained = load_bundle(folder)[card.role]
    found, wanted = ((c.base_width, c.in_channels, c.out_channels) for c in (trained.card, card))
    if found != wanted:
        raise InputError(
            f"The network in {folder} has width, inputs and outputs {found}, the new one {wanted}.",
            "Start from a network of the same layout and width.",
        )
    state = load_state(folder, card.role)
    if trained.card.parametrisation != card.parametrisation:
        state = {key: value for key, value in state.items() if not key.startswith("out.")}
    return Beginning(state, trained.card.sha256)
