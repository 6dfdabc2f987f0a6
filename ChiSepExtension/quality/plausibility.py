"""Whether the values of white matter are those of a brain, without a segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from ..preprocessing.brain_mask import block_mean
from ..preprocessing.sphere_filter import depth_mm
from ..preprocessing.unwrapping import bounding_box
from .gate_rows import AMBER, GREEN, RED, GateRow

if TYPE_CHECKING:
    from .after_run import CheckedMaps

#: Bands of the median in white matter, ppb: green, and amber around it (3 T, adults 27 to 85 years).
PLAUSIBLE_PARA_PPB = ((10.0, 25.0), (5.0, 40.0))
PLAUSIBLE_DIA_PPB = ((20.0, 45.0), (10.0, 45.0))


def plausibility_rows(maps: CheckedMaps) -> list[GateRow]:
    """One row per source: its median in white matter against the bands; none where there is too little of it."""
    region, label = white_matter_like(maps)
    if np.count_nonzero(region) < 500:
        return []
    rows = []
    for key, name, array, (green, amber) in (
        ("plausible-para", "χ_para", maps.chi_para, PLAUSIBLE_PARA_PPB),
        ("plausible-dia", "χ_dia", maps.chi_dia, PLAUSIBLE_DIA_PPB),
    ):
        median = 1e3 * float(np.median(array[region]))
        title, value = f"{name} of {label}", f"median {median:.1f} ppb"
        expected = f"{green[0]:g} to {green[1]:g} ppb are expected in adults at 3 T"
        if green[0] <= median <= green[1]:
            rows.append(GateRow(key, title, GREEN, value, f"Plausible: {expected}."))
        elif amber[0] <= median <= amber[1]:
            rows.append(GateRow(key, title, AMBER, value, f"Unusual: {expected}."))
        else:
            rows.append(GateRow(key, title, RED, value, f"Not plausible: {expected}."))
    return rows


def white_matter_like(maps: CheckedMaps) -> tuple[np.ndarray, str]:
    """White matter where it is given; else deep voxels of medium decay (and high signal, where there is a scan).

    On simulated heads 70 to 80 % of them are white matter, and the medians of both sources lie within 3 ppb of those
    of white matter itself.
    """
    if maps.white_matter is not None:
        return np.asarray(maps.white_matter, bool) & maps.mask, "white matter"
    found = np.zeros(maps.grid.shape, bool)
    if not maps.mask.any():
        return found, ""
    box = bounding_box(maps.mask)
    mask = maps.mask[box]
    region = depth_mm(mask, maps.grid.spacing_mm) > 6
    if np.count_nonzero(region) < 1000:
        return found, ""
    between = region.copy()
    if maps.r2star_hz is not None:
        rate = maps.r2star_hz[box]
        low, high = np.percentile(rate[region], (35, 85))
        between &= (rate > low) & (rate < high)
    if maps.magnitude is not None:
        level = _levelled(maps.magnitude[0][box], mask, maps.grid.spacing_mm)
        low, high = np.percentile(level[region], (50, 90))
        between &= (level > low) & (level < high)
    found[box] = between
    return found, "white matter (estimated)"


def _levelled(image: np.ndarray, mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """An image without the sensitivity of the coil: divided by its mean over 20 mm, which blocks of 5 mm follow."""
    factors = tuple(int(np.clip(round(5.0 / s), 1, n)) for s, n in zip(spacing_mm, mask.shape))
    sigma = [20.0 / (s * f) for s, f in zip(spacing_mm, factors)]
    inside = mask.astype(np.float32)
    mean, weight = (
        gaussian_filter(block_mean(values, factors), sigma, truncate=2.0, mode="constant")
        for values in (image * inside, inside)
    )
    smooth = mean / np.maximum(weight, 1e-3)
    for axis, factor in enumerate(factors):
        smooth = np.repeat(smooth, factor, axis=axis)
    return image / np.maximum(smooth[tuple(slice(0, n) for n in mask.shape)], 1e-6)
