"""Smooth random fields as functions of position in mm: the same field on any grid that samples it."""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.ndimage import map_coordinates

#: Period of every field in mm; wider than a head, so that no pattern is seen twice.
PERIOD_MM = 288.0


class RandomField:
    """Gaussian random field with one dominant wavelength, zero mean and unit variance.

    White noise on a periodic lattice is filtered to a shell in k-space; the field at a point is the linear
    interpolation of the lattice, which is fine enough (8 nodes per wavelength) to be smooth to the eye.

    Parameters
    ----------
    generator
        Source of the noise.
    wavelength_mm
        Centre of the shell.
    bandwidth
        Standard deviation of the shell relative to its radius: 0.25 gives the labyrinth of a folded cortex, 1 a cloud.
    sheets
        If true the field is divided by the length of its gradient, which makes its value the approximate distance in
        mm from its zero level (sheets half a wavelength apart).
    period_mm
        Period of the lattice; smaller for fine fields of small organs.
    """

    def __init__(
        self,
        generator: np.random.Generator,
        wavelength_mm: float,
        *,
        bandwidth: float = 0.5,
        sheets: bool = False,
        period_mm: float = PERIOD_MM,
    ) -> None:
        nodes = fft.next_fast_len(int(np.ceil(8 * period_mm / wavelength_mm)), real=True)
        self._step = period_mm / nodes
        spectrum = fft.rfftn(generator.standard_normal((nodes,) * 3, dtype=np.float32), workers=-1)
        k = fft.fftfreq(nodes, self._step).astype(np.float32)
        kr = fft.rfftfreq(nodes, self._step).astype(np.float32)
        radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + kr**2) * wavelength_mm
        spectrum *= np.exp(-0.5 * ((radius - 1) / bandwidth) ** 2)
        spectrum[0, 0, 0] = 0
        values = fft.irfftn(spectrum, (nodes,) * 3, workers=-1)
        values /= values.std()
        if sheets:
            slopes = [np.roll(values, -1, n) - np.roll(values, 1, n) for n in range(3)]
            slope = np.sqrt(sum(s * s for s in slopes)) / (2 * self._step)
            # At saddles the slope vanishes; the floor keeps the "distance" there finite.
            values /= np.maximum(slope, 0.35 * slope.mean())
        self._values = values.astype(np.float32)

    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        """(n,) float32 values at (n, 3) points in mm."""
        return map_coordinates(
            self._values, np.asarray(points_mm, np.float32).T / self._step, order=1, mode="grid-wrap", output=np.float32
        )
