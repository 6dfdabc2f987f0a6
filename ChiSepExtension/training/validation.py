"""Scores on whole held-out heads, through the engine that runs networks in use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..networks.card import ModelCard
from ..networks.folding import checked_weights
from ..networks.inference import Engine
from ..progress import NEVER, CancelToken
from ..quality.metrics import nrmse
from .pairs import PreparedHead, normalised


@dataclass(frozen=True)
class Score:
    """NRMSE in % of the network and of the conventional bar, mean over heads, by output."""

    network: dict[str, float]
    bar: dict[str, float]

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.network.values())))


def predict(
    card: ModelCard, state: dict[str, torch.Tensor], head: PreparedHead, engine: Engine, cancel: CancelToken = NEVER
) -> np.ndarray:
    """Output maps of a network on a whole head in ppm, (o, a, b, c); sources clipped at 0, 0 outside the mask."""
    mask = head.mask
    folded = checked_weights({key: value.cpu() for key, value in state.items()}, card.out_channels, card.role)
    output = engine.run(folded, normalised(head.maps("input"), card.inputs, mask), mask, name=card.role, cancel=cancel)
    values = np.stack([o * np.float32(c.std) + np.float32(c.mean) for o, c in zip(output, card.outputs)])
    base = head.maps("base")
    if len(base):
        values += base
    if card.role == "separation":
        values = np.maximum(values, 0)
    return np.where(mask, values, np.float32(0))


def validate(
    card: ModelCard,
    state: dict[str, torch.Tensor],
    heads: list[PreparedHead],
    device: str,
    cancel: CancelToken = NEVER,
) -> Score:
    """Mean NRMSE of each output over whole heads."""
    network: dict[str, list[float]] = {}
    bar: dict[str, list[float]] = {}
    engine = Engine(device)
    for head in heads:
        cancel.check()
        mask = head.scored()
        maps = predict(card, state, head, engine, cancel)
        for n, (channel, truth) in enumerate(zip(card.outputs, head.maps("truth"))):
            network.setdefault(channel.quantity, []).append(nrmse(maps[n], truth, mask))
            bar.setdefault(channel.quantity, []).append(nrmse(head.maps("bar")[n], truth, mask))
    return Score(*({key: float(np.mean(values)) for key, values in found.items()} for found in (network, bar)))
