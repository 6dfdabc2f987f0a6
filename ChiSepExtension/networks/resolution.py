"""Resolution generalisation: a network trained at 1 mm on finer or coarser data, without losing the detail.

The field is sampled on 27 training grids that are shifted by thirds of a voxel, each is inverted by the network, and
the 27 maps are interleaved and averaged on the input grid (Ji et al., ISMRM 2023, 4168). Detail beyond the training
grid's Nyquist frequency is folded on purpose: the network inverts it as if it had the folded frequency, and the ratio
of the two dipole kernels puts that right afterwards. Meant for voxels above 0.6 mm.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from scipy import fft

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent
from .orientation import TRAINED_SPACING_MM

#: Sampling phases per axis.
PHASES = 3

#: Widths of the Gaussian windows of the sinc kernels: on the way to the training grid in input voxels, on the way
#: back in training voxels.
WINDOW_THERE, WINDOW_BACK = 1.5, 5.0

#: The dipole kernel of the input grid is kept this far from 0 where the result is divided by it.
SMALLEST_DIPOLE = 0.2

#: Inversion of one volume on the training grid: (field, mask) to susceptibility, arrays (a, b, c), ppm.
Inversion = Callable[[np.ndarray, np.ndarray], np.ndarray]


def generalise_resolution(
    field_ppm: np.ndarray,
    mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    invert: Inversion,
    *,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> np.ndarray:
    """Susceptibility on the input grid by 27 inversions on shifted 1 mm grids.

    Parameters
    ----------
    field_ppm, mask
        (a, b, c) in the networks' axis order, B0 along the third axis.
    spacing_mm
        Along these axes.
    invert
        The network at 1 mm.

    Returns
    -------
    (a, b, c) float32 in ppm, 0 outside the mask.

    Raises
    ------
    InputError
        If a voxel is smaller than a third of the training grid's.
    """
    if min(spacing_mm) < TRAINED_SPACING_MM / PHASES:
        raise InputError(
            f"Voxels of {min(spacing_mm):.2g} mm are too small for resolution generalisation.",
            "Resample instead; the networks were trained at 1 mm.",
        )
    even = tuple(n + n % 2 for n in field_ppm.shape)
    pad = [(0, m - n) for n, m in zip(field_ppm.shape, even)]
    field, inside = np.pad(field_ppm, pad), np.pad(mask, pad)
    trained = tuple(max(2, 2 * round(n * v / TRAINED_SPACING_MM / 2)) for n, v in zip(even, spacing_mm))
    axes = [_Axis(n, m) for n, m in zip(even, trained)]
    total = np.zeros(even, dtype=np.float64)
    for count, phases in enumerate(product(range(PHASES), repeat=3)):
        cancel.check()
        progress(count / PHASES**3, "Resolution generalisation")
        sampled = _apply(field, [axis.there[i] for axis, i in zip(axes, phases)])
        inner = _apply(inside.astype(np.float32), [axis.mask_there[i] for axis, i in zip(axes, phases)]) >= 0.5
        total += _apply(invert(sampled * inner, inner), [axis.back[i] for axis, i in zip(axes, phases)])
    total /= PHASES**3
    if min(spacing_mm) < TRAINED_SPACING_MM:
        # Shifts and this factor commute, so that one transform serves all 27.
        total = fft.ifftn(fft.fftn(total, workers=-1) * compensation(even, trained, spacing_mm), workers=-1).real
    a, b, c = field_ppm.shape
    progress(1.0, "Resolution generalisation")
    return np.where(mask, total[:a, :b, :c], 0).astype(np.float32)


def compensation(
    shape: tuple[int, int, int], trained: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Ratio of the dipole kernel the network applied to the right one, in `fft.fftn` order.

    1 within the training grid's band; beyond it, the training grid's kernel repeated, over the input grid's, which is
    kept 0.2 away from 0.
    """
    extent = [n * v for n, v in zip(shape, spacing_mm)]
    right = _centred_dipole(shape, extent)
    right = np.where(np.abs(right) < SMALLEST_DIPOLE, np.where(right > 0, SMALLEST_DIPOLE, -SMALLEST_DIPOLE), right)
    repeated = np.tile(_centred_dipole(trained, extent), (3, 3, 3))
    start = [(3 * m) // 2 - n // 2 for n, m in zip(shape, trained)]
    repeated = repeated[tuple(slice(s, s + n) for s, n in zip(start, shape))]
    ratio = repeated / right
    ratio[~np.isfinite(ratio)] = 1.0
    central = [min(n, m) for n, m in zip(shape, trained)]
    ratio[tuple(slice(n // 2 - c // 2, n // 2 - c // 2 + c) for n, c in zip(shape, central))] = 1.0
    return fft.ifftshift(ratio)


class _Axis:
    """Matrices of one axis, for each sampling phase: to the training grid, of the mask, and back."""

    def __init__(self, size: int, trained: int) -> None:
        ratio = size / trained  # input voxels per training voxel: the field of view is the same
        here, there = np.arange(size) - size // 2, (np.arange(trained) - trained // 2) * ratio
        sample = _kernel(there[:, None] - here[None, :], WINDOW_THERE)
        interpolate = _kernel((here[:, None] - there[None, :]) / ratio, WINDOW_BACK)
        shifts = [i / PHASES * ratio for i in range(PHASES)]
        self.there = [(sample @ _shift(size, s)).astype(np.float32) for s in shifts]
        self.back = [_shift(size, -s) @ interpolate for s in shifts]
        self.mask_there = [
            np.maximum(0, 1 - np.abs(there[:, None] + s - here[None, :])).astype(np.float32) for s in shifts
        ]


def _kernel(distance: np.ndarray, window: float) -> np.ndarray:
    return np.sinc(distance) * np.exp(-0.5 * (distance / window) ** 2)


def _shift(size: int, voxels: float) -> np.ndarray:
    """(size, size) matrix of the Fourier shift f(n) → f(n + voxels); the Nyquist term takes its real part."""
    ramp = np.exp(2j * np.pi * fft.fftfreq(size) * voxels)
    ramp[size // 2] = np.cos(np.pi * voxels)
    return fft.ifft(ramp[:, None] * fft.fft(np.eye(size), axis=0), axis=0).real


def _apply(array: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """Multiply one matrix along each axis."""
    for axis, matrix in enumerate(matrices):
        array = np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)
    return array


def _centred_dipole(shape: tuple[int, int, int], extent_mm: list[float]) -> np.ndarray:
    """Dipole kernel on a centred k-grid, B0 along the third axis; the product with the extent is the order n."""
    k = np.meshgrid(*[(np.arange(n) - n // 2) / e for n, e in zip(shape, extent_mm)], indexing="ij", sparse=True)
    squared = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    zero = squared == 0
    kernel = 1 / 3 - k[2] ** 2 / np.where(zero, 1, squared)
    return np.where(zero, 0.0, kernel)
