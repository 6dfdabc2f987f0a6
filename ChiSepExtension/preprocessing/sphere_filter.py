"""Background removal by spherical mean values: V-SHARP and RESHARP.

A field whose sources lie outside a sphere is harmonic inside it and equals its own mean over the sphere: subtracting
the mean removes the background wherever the sphere fits into the brain (Schweser et al., NeuroImage 2011;54:2789).
"""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from ..dipole import padded_shape
from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent


def vsharp(
    field: np.ndarray,
    mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    largest_radius_mm: float = 12.0,
    smallest_radius_mm: float = 2.0,
    step_mm: float = 1.0,
    deconvolve: bool = False,
    threshold: float = 0.1,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[np.ndarray, np.ndarray]:
    """V-SHARP (Wu et al., Magn Reson Med 2012;67:137; Li et al., NeuroImage 2011;55:1645).

    Each voxel takes the largest sphere that fits into the mask around it. The smallest radius is raised to 1.5 voxels:
    the 7 voxels of a smaller sphere amplify whatever is wrong at the border. Without deconvolution the field lacks
    about a fifth of its slow parts, but errors of the border stay where they are; networks are trained with that.

    Parameters
    ----------
    field
        (z, y, x) float32, any unit.
    mask
        (z, y, x) bool.
    deconvolve
        True: undo the filter of the largest sphere, with its response below ``threshold`` set to 0. False: leave the
        filtered field, which lacks the local field's slow parts.

    Returns
    -------
    local field (z, y, x) float32 and the mask where the smallest sphere fits.
    """
    radii = _radii(largest_radius_mm, smallest_radius_mm, step_mm, spacing_mm)
    depth = depth_mm(mask, spacing_mm)
    radii = [r for r in radii if (depth > r).any()]
    if not radii:
        raise InputError(
            f"The mask is too thin for background removal: no sphere of {smallest_radius_mm:g} mm fits into it.",
            "Give a mask of the whole brain, or use the method PDF.",
        )
    reach = [int(np.ceil(radii[0] / s)) for s in spacing_mm]
    size = padded_shape(field.shape, tuple(2 * n for n in reach))
    z, y, x = field.shape
    spectrum = fft.rfftn(np.where(mask, field, 0).astype(np.float32), size, workers=-1)
    local = np.zeros(field.shape, np.float32)
    largest = None
    for n, radius in enumerate(radii):
        cancel.check()
        progress(n / (len(radii) + 1), f"V-SHARP, sphere of {radius:.1f} mm")
        response = 1 - sphere_spectrum(size, spacing_mm, radius)
        if largest is None:
            largest = response
        filtered = fft.irfftn(response * spectrum, size, workers=-1)[:z, :y, :x]
        # Voxels where this sphere fits but the one before, larger, did not.
        ring = depth > radius if n == 0 else (depth > radius) & (depth <= radii[n - 1])
        local[ring] = filtered[ring]
    eroded = depth > radii[-1]
    if deconvolve:
        cancel.check()
        inverse = np.divide(1, largest, out=np.zeros_like(largest), where=np.abs(largest) >= threshold)
        spectrum = fft.rfftn(local, size, workers=-1)
        spectrum *= inverse
        local = np.where(eroded, fft.irfftn(spectrum, size, workers=-1)[:z, :y, :x], 0).astype(np.float32)
    progress(1.0, "V-SHARP")
    return local, eroded


def resharp(
    field: np.ndarray,
    mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    radius_mm: float = 6.0,
    regularisation: float = 1e-4,
    iterations: int = 100,
    tolerance: float = 1e-3,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[np.ndarray, np.ndarray]:
    """RESHARP (Sun & Wilman, Magn Reson Med 2014;71:1151): one sphere, Tikhonov-regularised deconvolution.

    Minimises ‖M C (x - f)‖² + λ ‖x‖² by conjugate gradients, with C = δ - sphere mean and M the mask eroded by the
    sphere.

    Returns
    -------
    local field (z, y, x) float32 and the eroded mask.
    """
    depth = depth_mm(mask, spacing_mm)
    eroded = depth > radius_mm
    if not eroded.any():
        raise InputError(
            f"The mask is too thin for RESHARP: no sphere of {radius_mm:g} mm fits into it.",
            "Choose a smaller radius, or use the method V-SHARP or PDF.",
        )
    size = padded_shape(field.shape, tuple(2 * int(np.ceil(radius_mm / s)) for s in spacing_mm))
    z, y, x = field.shape
    response = 1 - sphere_spectrum(size, spacing_mm, radius_mm)
    inside = np.zeros(size, bool)
    inside[:z, :y, :x] = eroded

    def convolve(values: np.ndarray) -> np.ndarray:
        spectrum = fft.rfftn(values, workers=-1)
        spectrum *= response
        return fft.irfftn(spectrum, size, workers=-1)

    weight = np.float32(regularisation)
    padded = np.zeros(size, np.float32)
    padded[:z, :y, :x] = np.where(mask, field, 0)
    right = convolve(convolve(padded) * inside)
    solution = conjugate_gradients(
        lambda v: convolve(convolve(v) * inside) + weight * v,
        right,
        iterations,
        tolerance,
        progress=progress,
        cancel=cancel,
        message="RESHARP",
    )
    return np.where(eroded, solution[:z, :y, :x], 0).astype(np.float32), eroded


def conjugate_gradients(
    operator, right, iterations, tolerance, *, progress: Progress, cancel: CancelToken, message: str
) -> np.ndarray:
    """Solve operator(x) = right for a symmetric positive operator from x = 0; stops at ``tolerance`` · ‖right‖."""
    solution = np.zeros_like(right)
    residual = right.copy()
    direction = residual.copy()
    energy = start = float(np.vdot(residual, residual))
    for n in range(iterations):
        if energy <= tolerance**2 * start or energy == 0:
            break
        cancel.check()
        progress(n / iterations, f"{message}, iteration {n + 1}")
        image = operator(direction)
        step = np.float32(energy / float(np.vdot(direction, image)))
        solution += step * direction
        image *= step
        residual -= image
        previous, energy = energy, float(np.vdot(residual, residual))
        direction *= np.float32(energy / previous)
        direction += residual
    progress(1.0, message)
    return solution


def sphere_spectrum(size: tuple[int, int, int], spacing_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    """Real transfer function (for rfftn of ``size``) of the mean over the voxels within a sphere."""
    squared = np.float32(0)
    for axis, (n, spacing) in enumerate(zip(size, spacing_mm)):
        index = np.minimum(np.arange(n), n - np.arange(n)) * spacing
        squared = squared + (index**2).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    sphere = (squared <= np.float32(radius_mm**2 * (1 + 1e-5))).astype(np.float32)
    sphere /= sphere.sum()
    return np.ascontiguousarray(fft.rfftn(sphere, workers=-1).real)  # even in all axes: real


def depth_mm(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Distance (mm) of each mask voxel to the nearest voxel outside; beyond the image counts as outside.

    A sphere of radius r around a voxel lies in the mask exactly if the depth exceeds r.
    """
    padded = np.pad(mask, 1)
    return ndimage.distance_transform_edt(padded, sampling=spacing_mm)[1:-1, 1:-1, 1:-1].astype(np.float32)


def _radii(largest: float, smallest: float, step: float, spacing_mm: tuple[float, float, float]) -> list[float]:
    if not 0 < smallest <= largest or step <= 0:
        raise InputError(
            f"Sphere radii from {largest:g} down to {smallest:g} mm in steps of {step:g} mm make no sense.",
            "Give 0 < smallest ≤ largest and a positive step.",
        )
    smallest = min(max(smallest, 1.5 * min(spacing_mm)), largest)
    count = int(np.floor((largest - smallest) / step + 1e-6)) + 1
    return [smallest + step * n for n in range(max(count, 1))][::-1]
