"""A ball with smooth blobs of iron and myelin, for tests that need a whole scan in a second."""

from __future__ import annotations

import numpy as np

from ChiSepExtension.acquisition import GradientEchoSeries
from ChiSepExtension.dipole import dipole_field, field_hz_per_ppm
from ChiSepExtension.geometry import Grid
from ChiSepExtension.given_maps import GivenMaps

TIMES = np.array([0.005, 0.011, 0.017, 0.023, 0.029])
DR = 137.0
#: Blobs of (R, A, S) centre in mm, width in mm, chi_para and chi_dia in ppm: nothing is symmetric left to right.
BLOBS = (
    ((-8.0, 3.0, 2.0), 2.5, 0.12, 0.01),
    ((7.0, -5.0, 3.0), 3.0, 0.01, 0.06),
    ((2.0, 7.0, -5.0), 2.2, 0.08, 0.00),
    ((-3.0, -8.0, -4.0), 2.5, 0.00, 0.05),
)


class SimpleHead:
    """A ball of tissue with smooth blobs of both sources, defined in RAS, sampled and scanned on any grid."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
        ras = grid.index_to_ras(index)
        self.mask = np.linalg.norm(ras, axis=-1) < 19.0
        self.chi_para = np.full(grid.shape, 0.02)
        self.chi_dia = np.full(grid.shape, 0.025)
        for centre, width, para, dia in BLOBS:
            blob = np.exp(-0.5 * (np.linalg.norm(ras - np.array(centre), axis=-1) / width) ** 2)
            self.chi_para += para * blob
            self.chi_dia += dia * blob
        # A sphere of tissue makes no field inside itself: what is constant need not be simulated.
        outside_source = 3.0 * np.exp(-0.5 * (np.linalg.norm(ras - np.array((4.0, 24.0, -22.0)), axis=-1) / 2.5) ** 2)
        chi = np.where(self.mask, self.chi_para - self.chi_dia + 0.005, 0) + np.where(self.mask, 0, outside_source)
        self.field_ppm = dipole_field(chi.astype(np.float32), grid)
        self.r2_hz = np.full(grid.shape, 14.0, np.float32)
        self.r2star_hz = self.r2_hz + DR * (self.chi_para + self.chi_dia)

    def scan(self, snr: float | None = 200.0, seed: int = 0) -> GradientEchoSeries:
        frequency = field_hz_per_ppm(3.0) * self.field_ppm
        signal = np.where(self.mask, 1000.0, 30.0) * np.exp(
            -TIMES.reshape(-1, 1, 1, 1) * (self.r2star_hz - 2j * np.pi * frequency) + 0.6j
        )
        if snr:
            noise = np.random.default_rng(seed).normal(0, 1000 / snr, (2, *signal.shape))
            signal = signal + noise[0] + 1j * noise[1]
        return GradientEchoSeries(np.abs(signal), np.angle(signal), TIMES, 3.0, self.grid)

    def given(self) -> GivenMaps:
        return GivenMaps(mask=self.mask, r2_hz=self.r2_hz)
