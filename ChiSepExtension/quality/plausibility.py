"""Whether the values of white matter are those of a brain, without a segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from ..preprocessing.sphere_filter import depth_mm
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
    region = depth_mm(maps.mask, maps.grid.spacing_mm) > 6
    if np.count_nonzero(region) < 1000:
        return np.zeros(maps.grid.shape, bool), ""
    if maps.r2star_hz is not None:
        low, high = np.percentile(maps.r2star_hz[region], (35, 85))
        between = (maps.r2star_hz > low) & (maps.r2star_hz < high)
    else:
        between = np.ones(maps.grid.shape, bool)
    if maps.magnitude is not None:
        level = _levelled(maps.magnitude[0], maps)
        low, high = np.percentile(level[region], (50, 90))
        between &= (level > low) & (level < high)
    return region & between, "white matter (estimated)"


def _levelled(image: np.ndarray, maps: CheckedMaps) -> np.ndarray:
    """An image without the sensitivity of the coil: divided by its mean over 20 mm."""
    sigma = [20.0 / s for s in maps.grid.spacing_mm]
    inside = maps.mask.astype(np.float32)
    mean = gaussian_filter(image * inside, sigma, truncate=2.0)
    weight = np.maximum(gaussian_filter(inside, sigma, truncate=2.0), 1e-3)
    return image / np.maximum(mean / weight, 1e-6)
