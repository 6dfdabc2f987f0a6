"""Starting a network from a trained one: fewer steps for a network of the same layout and nearly the same task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import InputError
from ..networks.bundle import load_bundle, load_state
from ..networks.card import ModelCard


@dataclass(frozen=True, eq=False)
class Beginning:
    """Weights to start with, the SHA-256 of the file that they are from, and the card of their network."""

    state: dict[str, torch.Tensor]
    sha256: str
    card: ModelCard

    def keep_statistics(self, card: ModelCard) -> ModelCard:
        """The card with the statistics that the weights know, for every channel that means the same in both."""
        known = {channel.quantity: channel for channel in self.card.inputs}
        inputs = tuple(known.get(channel.quantity, channel) for channel in card.inputs)
        same = self.card.parametrisation == card.parametrisation
        return replace(card, inputs=inputs, outputs=self.card.outputs if same else card.outputs)


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
    return Beginning(state, trained.card.sha256, trained.card)
