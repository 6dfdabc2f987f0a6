"""A small scan with known truth, and what the DICOM tests do with its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom

from ChiSepExtension.acquisition import GradientEchoSeries
from ChiSepExtension.geometry import Grid

#: Turns about x, y and z in degrees: an oblique scan with B0 21° off the slice normal.
OBLIQUE = (18.0, -11.0, 7.0)


def rotation(degrees=OBLIQUE) -> np.ndarray:
    """3x3 rotation about x, then y, then z."""
    a, b, c = np.radians(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return z @ y @ x


def scan(
    echo_times_s=(0.005, 0.011, 0.0175, 0.023),
    shape=(6, 14, 18),
    *,
    spacing_mm=(2.0, 1.0, 1.2),
    turned=True,
    seed=0,
    field_strength_t=2.8936,
) -> GradientEchoSeries:
    """A bright box with a sloped field in a noise-filled background, every slice unlike every other."""
    rng = np.random.default_rng(seed)
    grid = Grid.from_spacing(shape, spacing_mm, rotation() if turned else None)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    box = (np.abs(z) <= 1) & (np.abs(y) < 0.8) & (np.abs(x) < 0.7)
    signal = np.stack([
        900 * box * (1 + 0.2 * z) * np.exp(-20 * t + 1j * (0.5 * x + 2 * np.pi * t * 40 * (y + 0.3 * z)))
        for t in echo_times_s
    ])  # fmt: skip
    signal += rng.normal(0, 12, signal.shape) + 1j * rng.normal(0, 12, signal.shape)
    return GradientEchoSeries(np.abs(signal), np.angle(signal), echo_times_s, field_strength_t, grid)


def difference(read: GradientEchoSeries, truth: GradientEchoSeries) -> tuple[float, float]:
    """Largest difference of magnitude, in parts of its maximum with one scale for all echoes, and of phase in rad."""
    scale = truth.magnitude.max() / read.magnitude.max()
    magnitude = np.abs(read.magnitude * scale - truth.magnitude).max() / truth.magnitude.max()
    # Rounding of real and imaginary parts turns the phase of noise; where there is signal it is half a step.
    phase = np.abs(np.angle(np.exp(1j * (read.phase - truth.phase.astype(np.float64)))))
    return float(magnitude), float(phase[truth.magnitude > 100].max())


def assert_same_scan(read: GradientEchoSeries, truth: GradientEchoSeries) -> None:
    """The scan read is the one written, up to the rounding to 12 bits."""
    assert read.grid.matches(truth.grid, 1e-3)
    np.testing.assert_allclose(read.echo_times_s, truth.echo_times_s, atol=1e-8)
    assert abs(read.field_strength_t / truth.field_strength_t - 1) < 1e-6
    magnitude, phase = difference(read, truth)
    assert magnitude <= 0.51 / 4095  # half a stored step
    assert phase <= 1.6e-3  # half a step of 2π/4096, and the 0.4 mrad by which Philips' span overshoots


def edit(path: Path, **changes) -> None:
    """Set elements of a file by keyword; None deletes."""
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            del dataset[keyword]
    dataset.save_as(path)


def headers(paths) -> list:
    """Every path with its header."""
    return [(path, pydicom.dcmread(path, stop_before_pixels=True)) for path in paths]
