"""Input maps of a network by name: computed when a card asks for them, normalised, masked, in the networks' order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..geometry import Grid
from ..networks.card import Base, Channel
from ..networks.orientation import to_network
from ..progress import NEVER, CancelToken
from . import inversion


@dataclass(frozen=True, eq=False)
class Normalised:
    """Output of a network that goes straight into the next one: normalised with the statistics of ``channel``."""

    values: np.ndarray
    channel: Channel


@dataclass(eq=False)
class Channels:
    """Maps of one case on the working grid, (z, y, x), x to the right, y to the front, z up.

    Parameters
    ----------
    maps
        By name (`networks.card.INPUTS`), in ppm; relaxation rates already divided by Dr.
    normalised
        Outputs of earlier networks by name, (a, b, c) in the networks' order, 0 outside the mask. They win over maps.
    """

    mask: np.ndarray
    grid: Grid
    maps: dict[str, np.ndarray]
    normalised: dict[str, Normalised] = field(default_factory=dict)
    cancel: CancelToken = NEVER
    _inverted: dict[str, np.ndarray] = field(default_factory=dict)

    def stack(self, channels: tuple[Channel, ...]) -> np.ndarray:
        """(channel, a, b, c) float32 for a network: normalised first, masked second."""
        return np.stack([self.channel(channel) for channel in channels])

    def channel(self, channel: Channel) -> np.ndarray:
        if channel.quantity in self.normalised:
            return _renormalised(self.normalised[channel.quantity], channel, to_network(self.mask))
        values = self.map(channel.quantity, channel.parameters)
        mean, std = np.float32(channel.mean), np.float32(channel.std)
        return to_network(np.where(self.mask, (values - mean) / std, np.float32(0)))

    def map(self, quantity: str, parameters: dict) -> np.ndarray:
        """A map in ppm by name, inverted from the local field where that is its definition."""
        if quantity in self.maps:
            return self.maps[quantity]
        if quantity not in _INVERSIONS:
            raise InputError(
                f"The network needs a map of {quantity}, which was not given.",
                "Give it, or choose a pipeline that does without.",
            )
        key = f"{quantity} {sorted(parameters.items())}"
        if key not in self._inverted:
            invert = _INVERSIONS[quantity]
            field_ppm = self.maps["local_field"]
            self._inverted[key] = invert(field_ppm, self.mask, self.grid, cancel=self.cancel, **parameters)
        return self._inverted[key]

    def closed_form(self, base: Base, r2prime_ppm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The base of a correction, (χpara, χdia) in ppm on the working grid, not clipped."""
        chi = self.map(base.inversion, base.parameters)
        if base.r2prime_smoothing_voxels > 0:
            r2prime_ppm = smoothed(r2prime_ppm, self.mask, base.r2prime_smoothing_voxels)
        return (r2prime_ppm + chi) / 2, (r2prime_ppm - chi) / 2


_INVERSIONS = {
    "tkd": inversion.tkd,
    "tikhonov": inversion.tikhonov,
    "total_variation": inversion.total_variation,
}


def _renormalised(given: Normalised, wanted: Channel, mask: np.ndarray) -> np.ndarray:
    """From the statistics of the network that made a map to those of the one that takes it."""
    made = given.channel
    if (made.mean, made.std) == (wanted.mean, wanted.std):  # the published set: nothing is done in between
        return given.values
    values = (given.values * made.std + made.mean - wanted.mean) / wanted.std
    return np.where(mask, values, 0).astype(np.float32)


def smoothed(array: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian average over the voxels of the mask only."""
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(mask, array, 0).astype(np.float32), sigma)
    return np.where(mask, total / np.maximum(weight, np.float32(1e-6)), 0).astype(np.float32)
