"""The local field: the total field without what sources outside the brain (air, skull, shim) make of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, part, silent
from . import laplacian_boundary, projection, sphere_filter
from .unwrapping import bounding_box

METHODS = ("vsharp", "resharp", "pdf", "lbv", "lbv-vsharp")


@dataclass(frozen=True, eq=False)
class LocalField:
    """What is left of the field, and where.

    Parameters
    ----------
    field_ppm
        (z, y, x) float32, 0 outside the mask.
    mask
        (z, y, x) bool: the part of the brain mask for which the method gives a field. Use it from here on.
    """

    field_ppm: np.ndarray
    mask: np.ndarray


def remove_background(
    total_field_ppm: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    method: str = "vsharp",
    weight: np.ndarray | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
    **options,
) -> LocalField:
    """Split off the background field inside the mask.

    Parameters
    ----------
    total_field_ppm
        (z, y, x)
    mask
        (z, y, x) bool.
    method
        "vsharp" (`sphere_filter.vsharp`), "resharp" (`sphere_filter.resharp`), "pdf" (`projection.pdf`), "lbv"
        (`laplacian_boundary.lbv`), or "lbv-vsharp" (`lbv_vsharp`); ``options`` go to that function.
    weight
        (z, y, x), for "pdf" only: how far to trust the field, 1 / standard error; any scale.

    Raises
    ------
    InputError
        If the mask is empty or too thin for the method, shapes disagree, or the method is unknown.
    """
    field = np.asarray(total_field_ppm, np.float32)
    mask = np.asarray(mask, bool)
    if field.shape != grid.shape or mask.shape != grid.shape:
        raise InputError(
            f"Field {field.shape}, mask {mask.shape} and grid {grid.shape} differ in shape.",
            "Give field and mask on one grid.",
        )
    box = bounding_box(mask)
    inner, inside = field[box], mask[box]
    common = {"progress": progress, "cancel": cancel, **options}
    if method == "vsharp":
        local, kept = sphere_filter.vsharp(inner, inside, grid.spacing_mm, **common)
    elif method == "resharp":
        local, kept = sphere_filter.resharp(inner, inside, grid.spacing_mm, **common)
    elif method == "pdf":
        trust = None if weight is None else np.asarray(weight, np.float32)[box]
        local, kept = projection.pdf(inner, inside, grid, weight=trust, **common)
    elif method == "lbv":
        local, kept = laplacian_boundary.lbv(inner, inside, grid.spacing_mm, **common)
    elif method == "lbv-vsharp":
        local, kept = lbv_vsharp(inner, inside, grid.spacing_mm, **common)
    else:
        raise InputError(f"There is no background removal {method!r}.", f"Choose from {', '.join(METHODS)}.")
    field_ppm = np.zeros(grid.shape, np.float32)
    field_ppm[box] = local
    full = np.zeros(grid.shape, bool)
    full[box] = kept
    return LocalField(field_ppm, full)


def lbv_vsharp(
    field: np.ndarray,
    mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    peel_voxels: float = 1.0,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
    **options,
) -> tuple[np.ndarray, np.ndarray]:
    """LBV takes most of the background, V-SHARP with deconvolution what the border left of it.

    LBV keeps the slow parts of the local field and nearly the whole mask, but bends where its border values are wrong;
    that error is harmonic inside, and V-SHARP removes it. ``options`` go to `sphere_filter.vsharp`.
    """
    options = {"deconvolve": True, **options}
    first, kept = laplacian_boundary.lbv(
        field,
        mask,
        spacing_mm,
        peel_mm=1.05 * peel_voxels * min(spacing_mm),
        progress=part(progress, 0, 0.5),
        cancel=cancel,
    )
    return sphere_filter.vsharp(first, kept, spacing_mm, progress=part(progress, 0.5, 1), cancel=cancel, **options)
