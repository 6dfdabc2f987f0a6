"""Networks as they come out of weight files: card, folded weights, and where they are from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import WeightsError
from .card import ModelCard
from .folding import FoldedNetwork, fold
from .layout import state_shapes


@dataclass(frozen=True, eq=False)
class Network:
    """One network, ready to run."""

    card: ModelCard
    weights: FoldedNetwork
    #: SHA-256 by file name of everything it was read from.
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class NetworkSet:
    """Networks that belong together, by role. Which pipelines can run depends on what is there."""

    name: str
    networks: dict[str, Network]

    def __getitem__(self, role: str) -> Network:
        try:
            return self.networks[role]
        except KeyError:
            here = ", ".join(self.networks) or "none"
            raise WeightsError(
                f"The weights {self.name!r} hold no network for the role {role!r} (here: {here}).",
                "Import the missing network, or choose a pipeline that does not need it.",
            ) from None

    def __contains__(self, role: str) -> bool:
        return role in self.networks

    def provenance(self) -> dict[str, Any]:
        """Name, version and SHA-256 of each network, JSON-able."""
        return {
            role: {
                "name": network.card.name,
                "version": network.card.version,
                "licence": network.card.licence,
                "dr_hz_per_ppm": network.card.dr_hz_per_ppm,
                "sha256": dict(network.files),
            }
            for role, network in self.networks.items()
        }


def checked_weights(state: dict[str, torch.Tensor], out_channels: int, where: str) -> FoldedNetwork:
    """Fold a state dictionary after a strict check of names, shapes and values.

    Raises
    ------
    WeightsError
        If an entry is missing, surplus, of another shape, or not finite.
    """
    remedy = "It is not a network of the χ-sepnet layout, or not the one for this place; give the original file."
    first = state.get("conv11.conv.weight")
    if not isinstance(first, torch.Tensor) or first.ndim != 5:
        raise WeightsError(f"{where} holds no U-Net: the layer conv11 is missing.", remedy)
    expected = state_shapes(int(first.shape[1]), out_channels, int(first.shape[0]))
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    surplus = [key for key in state if key not in expected]
    if missing or surplus:
        raise WeightsError(
            f"{where} does not have the published layout: {_some('missing', missing)}{_some('unknown', surplus)}.",
            remedy,
        )
    for key, shape in expected.items():
        if key in state and not key.endswith("num_batches_tracked"):
            entry = state[key]
            if not isinstance(entry, torch.Tensor) or tuple(entry.shape) != shape:
                found = tuple(entry.shape) if isinstance(entry, torch.Tensor) else type(entry).__name__
                raise WeightsError(f"{where}: {key} has shape {found} instead of {shape}.", remedy)
            usable = entry.is_floating_point() and bool(torch.isfinite(entry).all())
            if not usable or (key.endswith("running_var") and bool((entry < 0).any())):
                raise WeightsError(f"{where}: {key} holds values that are not usable.", "The file is damaged.")
    return fold(state)


def _some(label: str, keys: list[str]) -> str:
    if not keys:
        return ""
    shown = ", ".join(keys[:3])
    return f"{len(keys)} entries {label} ({shown}{', …' if len(keys) > 3 else ''}) "
