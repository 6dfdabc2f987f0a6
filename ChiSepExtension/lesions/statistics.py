"""Numbers of one map over the voxels of a lesion, its core, rim and surrounding shell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: Sectors of the slice in which the arc of a rim is counted, 15° each.
SECTORS = 24


@dataclass(frozen=True)
class MapStatistics:
    """Values in the map's own unit; NaN where a value is not defined.

    ``contrast`` = median(lesion) - median(shell); ``z`` = contrast / (1.4826 MAD(shell)); ``rim_core`` = mean(rim) -
    mean(core); ``rim_shell`` = mean(rim) - median(shell); ``rim_arc`` = share of sectors with a rim, 0..1. The
    percentiles follow numpy's linear rule, the standard deviation divides by n - 1.
    """

    n: int
    mean: float
    sd: float
    median: float
    p5: float
    p95: float
    min: float
    max: float
    shell_median: float
    contrast: float
    z: float
    rim_core: float
    rim_shell: float
    rim_arc: float


@dataclass(frozen=True)
class Shell:
    """Median and median absolute deviation (unscaled) of the reference region in one map."""

    median: float = math.nan
    mad: float = math.nan

    @classmethod
    def of(cls, values: np.ndarray) -> Shell:
        values = finite(values)
        if not len(values):
            return cls()
        median = float(np.median(values))
        return cls(median, float(np.median(np.abs(values - median))))


def finite(values: np.ndarray) -> np.ndarray:
    """The finite values in float64: sums of thousands of float32 ppm values lose the sixth digit."""
    values = values.astype(np.float64)
    return values[np.isfinite(values)]


def lesion_statistics(
    values: np.ndarray, lesion: np.ndarray, core: np.ndarray | None, shell: Shell, sectors: RimSectors | None
) -> MapStatistics:
    """Statistics of one map in one lesion.

    Parameters
    ----------
    values
        (z, y, x) crop of the map.
    lesion
        bool crop: the lesion's voxels in which the map was measured.
    core
        bool crop, or None where the lesion is too small for a core and a rim.
    """
    inside = finite(values[lesion])
    n = len(inside)
    if n == 0:
        return MapStatistics(0, *[math.nan] * 7, shell.median, *[math.nan] * 5)
    p5, median, p95 = (float(v) for v in np.percentile(inside, (5, 50, 95)))
    contrast = median - shell.median
    rim_core = rim_shell = rim_arc = math.nan
    if core is not None:
        core_values, rim_values = finite(values[lesion & core]), finite(values[lesion & ~core])
        if len(core_values) and len(rim_values):
            rim_core = float(rim_values.mean() - core_values.mean())
            rim_shell = float(rim_values.mean()) - shell.median
            if sectors is not None:
                rim_arc = sectors.arc(values, max(float(np.median(core_values)), shell.median) + shell.mad)
    return MapStatistics(
        n=n,
        mean=float(inside.mean()),
        sd=float(inside.std(ddof=1)) if n > 1 else math.nan,
        median=median,
        p5=p5,
        p95=p95,
        min=float(inside.min()),
        max=float(inside.max()),
        shell_median=shell.median,
        contrast=contrast,
        z=contrast / (1.4826 * shell.mad) if shell.mad > 0 else math.nan,
        rim_core=rim_core,
        rim_shell=rim_shell,
        rim_arc=rim_arc,
    )


class RimSectors:
    """Rim voxels of the slice with the largest lesion area, sorted into 24 sectors around the lesion's centre there.

    A small rim leaves sectors without a voxel (5 mm at 1 mm: about 12 voxels); the share is of those that have one.
    The result is a hint for the 2/3 rule and nothing more.

    Parameters
    ----------
    lesion, rim
        bool crops in canonical order, so that axis 0 is the slice axis of (nearly) axial slices.
    spacing_mm
        (z, y, x).
    """

    def __init__(self, lesion: np.ndarray, rim: np.ndarray, spacing_mm: tuple[float, float, float]) -> None:
        self.slice = int(lesion.sum(axis=(1, 2)).argmax())
        y, x = np.nonzero(lesion[self.slice])
        self._y, self._x = np.nonzero(rim[self.slice])
        angle = np.arctan2((self._y - y.mean()) * spacing_mm[1], (self._x - x.mean()) * spacing_mm[2])
        # Half a sector of offset keeps voxels on the axes away from a sector's border.
        self._sector = np.floor(angle / (2 * np.pi) * SECTORS + 0.5).astype(int) % SECTORS

    def arc(self, values: np.ndarray, limit: float) -> float:
        """Share of occupied sectors in which the mean of the rim lies above ``limit``; NaN without rim or limit."""
        rim_values = values[self.slice, self._y, self._x].astype(np.float64)
        valid = np.isfinite(rim_values)
        count = np.bincount(self._sector[valid], minlength=SECTORS)
        total = np.bincount(self._sector[valid], weights=rim_values[valid], minlength=SECTORS)
        occupied = count > 0
        if not occupied.any() or not math.isfinite(limit):
            return math.nan
        return float((total[occupied] / count[occupied] > limit).mean())
