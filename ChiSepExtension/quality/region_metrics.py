"""Scores of regions: deep grey slope, regional bias, calcification, leak, lesions, after the QSM-CI definitions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, find_objects, generate_binary_structure

#: Caudate, pallidum, putamen, red nucleus, dentate, substantia nigra in the labels of the QSM challenge 2.0.
DEEP_GREY_LABELS = (1, 2, 3, 4, 5, 6)
CALCIFICATION_LABEL = 16


@dataclass(frozen=True)
class RegionBias:
    """Means of estimate and truth in one region, and the error of single voxels, all in the unit of the maps."""

    voxels: int
    mean: float
    true_mean: float
    bias: float
    mean_absolute_error: float


def region_bias(
    x: np.ndarray, t: np.ndarray, labels: np.ndarray, mask: np.ndarray, wanted: Iterable[int] | None = None
) -> dict[int, RegionBias]:
    """Bias per label; labels that the mask does not hold are left out, 0 is no label."""
    inside = np.asarray(mask, bool)
    codes = np.unique(labels[inside]) if wanted is None else wanted
    found = {}
    for code in codes:
        where = inside & (labels == code)
        if code == 0 or not where.any():
            continue
        a, b = x[where].astype(np.float64), t[where].astype(np.float64)
        found[int(code)] = RegionBias(len(a), a.mean(), b.mean(), (a - b).mean(), np.abs(a - b).mean())
    return found


@dataclass(frozen=True)
class Line:
    """Least-squares line through label means, truth to estimate."""

    slope: float
    intercept: float
    r_squared: float
    regions: int

    @property
    def deviation(self) -> float:
        """|1 - slope|, the linearity score of QSM-CI; ignores intercept and scatter."""
        return abs(1 - self.slope)


def deep_grey_slope(
    x: np.ndarray, t: np.ndarray, labels: np.ndarray, mask: np.ndarray, wanted: Iterable[int] = DEEP_GREY_LABELS
) -> Line:
    """Line through the mean values of the deep grey nuclei; NaN with fewer than two of them."""
    regions = region_bias(x, t, labels, mask, wanted).values()
    true = np.array([r.true_mean for r in regions])
    mean = np.array([r.mean for r in regions])
    if len(true) < 2 or np.ptp(true) == 0:
        return Line(math.nan, math.nan, math.nan, len(true))
    slope, intercept = np.polyfit(true, mean, 1)
    residual = mean - (slope * true + intercept)
    spread = float(np.sum((mean - mean.mean()) ** 2))
    r_squared = 1 - float(residual @ residual) / spread if spread > 0 else 0.0
    return Line(float(slope), float(intercept), r_squared, len(true))


def region_squared_error_percent(
    x: np.ndarray,
    t: np.ndarray,
    regions: Mapping[str, np.ndarray],
    *,
    smallest: int = 50,
    weakest_ppm: float = 0.005,
) -> float:
    """ROI-MSPE: mean over regions of 100·((x̄ - t̄)/t̄)²; regions under 50 voxels or 5 ppb of truth are skipped."""
    scores = []
    for where in regions.values():
        if np.count_nonzero(where) < smallest:
            continue
        true = float(t[where].mean(dtype=np.float64))
        if abs(true) >= weakest_ppm:
            scores.append(100 * ((float(x[where].mean(dtype=np.float64)) - true) / true) ** 2)
    return float(np.mean(scores)) if scores else math.nan


@dataclass(frozen=True)
class CalcificationError:
    """Deviation of the calcification's moment (ppm·voxels) and the streaks around it relative to its mean."""

    moment_deviation: float
    streak: float


def calcification_error(
    x: np.ndarray, t: np.ndarray, labels: np.ndarray, label: int = CALCIFICATION_LABEL
) -> CalcificationError:
    """Calcification score of the QSM challenge on a total (signed) susceptibility map; turn the sign of χdia first.

    The label's bounding box grown by 3 voxels is the cube, 4 more the rim box, 4 more the outer box. θ is the first
    of 0, -0.01, … -3.5 ppm below which no voxel of the outer box outside the cube falls; what is below θ in the cube
    is the calcification that the map shows.
    """
    where = labels == label
    if not where.any():
        return CalcificationError(math.nan, math.nan)
    box = find_objects(where.astype(np.uint8))[0]
    cube, rim_box, outer_box = (_grown(box, grow, labels.shape) for grow in (3, 7, 11))
    in_cube, in_rim, in_outer = (np.zeros(labels.shape, bool) for _ in range(3))
    in_cube[cube], in_rim[rim_box], in_outer[outer_box] = True, True, True
    lowest = float(x[in_outer & ~in_cube].min(initial=0.0))
    thresholds = -0.01 * np.arange(351)
    low_enough = thresholds[thresholds <= lowest]
    theta = low_enough[0] if len(low_enough) else thresholds[-1]
    shown = in_cube & (x < theta)
    moment = float(t[where].sum(dtype=np.float64))
    if not shown.any():
        return CalcificationError(abs(moment), math.nan)
    rim = in_rim & ~in_cube
    slope, intercept = np.polyfit(t[rim].astype(np.float64), x[rim].astype(np.float64), 1) if np.ptp(t[rim]) else (0, 0)
    residual = x[rim] - (slope * t[rim] + intercept)
    streak = float(np.std(residual)) / abs(float(x[shown].mean(dtype=np.float64)))
    return CalcificationError(abs(moment - float(x[shown].sum(dtype=np.float64))), streak)


def leak(x: np.ndarray, t: np.ndarray, region: np.ndarray) -> tuple[float, float]:
    """Mean |x| where the other source dominates, and the signed bias mean(x - t) there.

    The first is not 0 for a perfect map where the truth is not 0: report both.
    """
    a, b = x[region].astype(np.float64), t[region].astype(np.float64)
    return float(np.abs(a).mean()), float((a - b).mean())


@dataclass(frozen=True)
class LesionError:
    """Errors in one lesion, in the unit of the maps; ``rim_recovery`` is NaN where the truth has no rim."""

    number: int
    voxels: int
    bias: float
    mean_absolute_error: float
    rim_recovery: float


def lesion_errors(
    x: np.ndarray,
    t: np.ndarray,
    lesion_labels: np.ndarray,
    rim: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> list[LesionError]:
    """One row per lesion, never pooled over voxels.

    Rim recovery is (x̄_rim - x̄_core) / (t̄_rim - t̄_core), rim being ``rim`` within the lesion, core the rest.
    """
    rows = []
    for number in np.unique(lesion_labels):
        where = lesion_labels == number
        if mask is not None:
            where &= np.asarray(mask, bool)
        if number == 0 or not where.any():
            continue
        a, b = x[where].astype(np.float64), t[where].astype(np.float64)
        recovery = math.nan
        if rim is not None:
            on = rim[where].astype(bool)
            if on.any() and not on.all() and b[on].mean() != b[~on].mean():
                recovery = (a[on].mean() - a[~on].mean()) / (b[on].mean() - b[~on].mean())
        rows.append(LesionError(int(number), len(a), (a - b).mean(), np.abs(a - b).mean(), float(recovery)))
    return rows


def blood_region(labels: np.ndarray, mask: np.ndarray, label: int = 11) -> np.ndarray:
    """Veins in the mask dilated once by 3x3x3, cut back to the mask."""
    inside = np.asarray(mask, bool)
    return binary_dilation((labels == label) & inside, generate_binary_structure(3, 3)) & inside


def eroded(mask: np.ndarray, distance_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Mask eroded by a ball of ``distance_mm``, for scores that leave the edge out."""
    reach = [int(distance_mm / d) for d in spacing_mm]
    axes = np.meshgrid(*[np.arange(-r, r + 1) * d for r, d in zip(reach, spacing_mm)], indexing="ij")
    ball = sum(a * a for a in axes) <= distance_mm**2
    return binary_erosion(np.asarray(mask, bool), ball)


def _grown(box: tuple[slice, ...], by: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(max(s.start - by, 0), min(s.stop + by, n)) for s, n in zip(box, shape))
