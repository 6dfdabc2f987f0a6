"""Networks as they come out of weight files: card, weights, and where they are from. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from .card import ModelCard

if TYPE_CHECKING:
    from .folding import FoldedNetwork
    from .onnx_engine import OnnxNetwork


@dataclass(frozen=True, eq=False)
class Network:
    """One network, ready to run."""

    card: ModelCard
    #: For `inference.Engine` or `onnx_engine.OnnxEngine`.
    weights: FoldedNetwork | OnnxNetwork
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
