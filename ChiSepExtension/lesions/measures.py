"""Numbers per lesion: size, coverage, veins, and statistics of every map against the lesion's own surroundings.

Regions of a lesion L (all distances between voxel centres):

* core = L eroded by one voxel (six neighbours); rim = L without core;
* shell = voxels more than 1 mm and at most 3 mm from L, in white matter, without other lesions dilated by 1 mm,
  vessels, and the 3 mm next to the edge of the map's mask. The gap of 1 mm keeps the blurred rim out. With fewer than
  30 voxels the global normal-appearing white matter stands in, and the table says so.

Only voxels inside the mask of the maps are measured: outside, a map is zero because nothing was computed there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..geometry import to_closest_ras
from ..progress import NEVER, CancelToken, Progress, silent
from .canonical import Box, canonical_box, canonical_view, grow_box
from .components import Lesion, LesionSet
from .regions import core_of, edge_band, within_mm
from .statistics import MapStatistics, RimSectors, Shell, lesion_statistics

SHELL_INNER_MM = 1.0
SHELL_OUTER_MM = 3.0
EDGE_BAND_MM = 3.0
MIN_SHELL_VOXELS = 30
#: Below 8 core voxels or 5 voxels of diameter, the point spread mixes rim and core: a true 20 ppb rim reads 3.9 ppb.
MIN_CORE_VOXELS = 8
MIN_RIM_DIAMETER_VOXELS = 5.0


@dataclass(frozen=True)
class LesionMeasures:
    """One row of the table.

    Parameters
    ----------
    coverage
        Fraction of the lesion inside the mask of the maps; below 1 the lesion touches an edge.
    vein_frac, trust_frac
        Fraction of the lesion in vessels, and its mean trust; NaN without a vessel mask or trust map.
    reference
        "shell", "nawm_global" (shell below 30 voxels) or "none".
    rim_reason
        Empty, or why rim and core are not compared: "core<8" or "diameter<5voxels".
    flags
        Of "small", "edge", "nawm_global", "no_reference", "vein", "resampled".
    maps
        `MapStatistics` by map name.
    """

    uid: str
    name: str
    n_voxels: int
    volume_mm3: float
    max_diameter_mm: float
    counted: bool
    coverage: float
    vein_frac: float
    trust_frac: float
    n_core: int
    n_rim: int
    n_shell: int
    reference: str
    rim_reason: str
    flags: tuple[str, ...]
    maps: dict[str, MapStatistics]


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of one lesion: bool crops (z, y, x) of ``box``, all in canonical order."""

    box: Box
    lesion: np.ndarray
    core: np.ndarray
    shell: np.ndarray


class Measurer:
    """Measures lesions on a fixed set of maps; keeps what does not change between two edits.

    Parameters
    ----------
    maps
        (z, y, x) by name, in their own unit (ppm, Hz); ``chi_dia`` positive.
    mask
        bool (z, y, x): where the maps were computed.
    grid
        Of the maps and of the lesions.
    white_matter
        bool (z, y, x); None takes the whole mask, which mixes in grey matter: say so in the table's header.
    vessels
        bool (z, y, x), see `vessels.vessel_mask`; None excludes nothing.
    trust
        (z, y, x), bool or 0..1.
    resampled
        True if the lesion mask was resampled to this grid.
    """

    def __init__(self, maps, mask, grid, *, white_matter=None, vessels=None, trust=None, resampled: bool = False):
        named = {"mask": mask, "white matter": white_matter, "vessel mask": vessels, "trust map": trust, **maps}
        for what, array in named.items():
            if array is not None and np.shape(array) != grid.shape:
                raise InputError(
                    f"The {what} has {np.shape(array)} voxels, the lesions lie on {grid.shape} (z, y, x).",
                    "Give every image on the grid of the maps; nothing is transposed or cut to fit.",
                )
        self._grid = grid
        self._turn = to_closest_ras(grid)
        self._spacing = self._turn.target.spacing_mm
        self._maps = {name: canonical_view(array, self._turn) for name, array in maps.items()}
        self._mask = canonical_view(np.asarray(mask) > 0, self._turn)
        self._white_matter = self._optional(white_matter)
        self._vessels = self._optional(vessels)
        self._trust = None if trust is None else canonical_view(np.asarray(trust), self._turn)
        self._resampled = resampled
        reach = SHELL_OUTER_MM + max(EDGE_BAND_MM, SHELL_INNER_MM)
        self._margin = tuple(math.ceil(reach / s) + 1 for s in self._spacing)
        self._global: tuple[LesionSet, dict[str, Shell]] | None = None

    def measure(
        self,
        lesions: LesionSet,
        uids: Collection[str] | None = None,
        *,
        progress: Progress = silent,
        cancel: CancelToken = NEVER,
    ) -> tuple[LesionMeasures, ...]:
        """Rows of all lesions, or of those named, in the order of the set."""
        if lesions.labels.shape != self._grid.shape or not lesions.grid.matches(self._grid):
            raise InputError(
                f"The lesions lie on {lesions.grid.describe()}, the maps on {self._grid.describe()}.",
                "Resample the lesion mask to the maps, or give one on their grid.",
            )
        chosen = [lesion for lesion in lesions.lesions if uids is None or lesion.uid in uids]
        rows = []
        for n, lesion in enumerate(chosen):
            cancel.check()
            progress(n / len(chosen), f"Measuring lesion {lesion.name}")
            rows.append(self._row(lesions, lesion))
        progress(1.0, f"{len(chosen)} lesions measured")
        return tuple(rows)

    def affected(self, lesions: LesionSet, uids: Collection[str]) -> tuple[str, ...]:
        """The lesions whose row an edit of ``uids`` can change: they and those whose shell they can enter."""
        reach = tuple(math.ceil((SHELL_OUTER_MM + SHELL_INNER_MM) / s) for s in self._grid.spacing_mm)
        grown = [grow_box(lesions[uid].box, reach, self._grid.shape) for uid in uids if uid in lesions.uids]
        return tuple(
            lesion.uid for lesion in lesions.lesions if lesion.uid in uids or any(_meet(lesion.box, g) for g in grown)
        )

    def regions(self, lesions: LesionSet, uid: str) -> Regions:
        """The voxels that the numbers of a lesion come from."""
        return self._regions(lesions, lesions[uid])

    def _regions(self, lesions: LesionSet, lesion: Lesion) -> Regions:
        own_box = canonical_box(lesion.box, self._turn)
        box = grow_box(own_box, self._margin, self._mask.shape)
        labels = canonical_view(lesions.labels, self._turn)[box]
        inside = labels == lesion.label
        shell = within_mm(inside, self._spacing, SHELL_OUTER_MM) & ~within_mm(inside, self._spacing, SHELL_INNER_MM)
        others = (labels > 0) & ~inside
        if others.any():
            shell &= ~within_mm(others, self._spacing, SHELL_INNER_MM)
        shell &= self._allowed(box)
        return Regions(box, inside, core_of(inside), shell)

    def _allowed(self, box: Box) -> np.ndarray:
        """White matter without vessels and without the band along the mask's edge."""
        mask = self._mask[box]
        allowed = mask.copy() if self._white_matter is None else mask & self._white_matter[box]
        if self._vessels is not None:
            allowed &= ~self._vessels[box]
        # Where the box was cut at the array's border, that border is an edge of the mask.
        cut = [(b.start == 0, b.stop == n) for b, n in zip(box, self._mask.shape)]
        if not mask.all() or any(any(c) for c in cut):
            padding = [(int(low), int(high)) for low, high in cut]
            outside = np.pad(~mask, padding, constant_values=True)
            near = within_mm(outside, self._spacing, EDGE_BAND_MM)
            allowed &= ~near[tuple(slice(p[0], p[0] + n) for p, n in zip(padding, mask.shape))]
        return allowed

    def _row(self, lesions: LesionSet, lesion: Lesion) -> LesionMeasures:
        r = self._regions(lesions, lesion)
        measured = r.lesion & self._mask[r.box]
        coverage = float(measured.sum() / lesion.n_voxels)
        n_core, n_shell = int(r.core.sum()), int(r.shell.sum())
        rim_reason = _rim_reason(n_core, lesion.n_voxels)
        reference, shells = "shell", {}
        if n_shell < MIN_SHELL_VOXELS:
            shells = self._global_white_matter(lesions)
            reference = "nawm_global" if shells else "none"
        vein_frac = math.nan if self._vessels is None else float(self._vessels[r.box][r.lesion].mean())
        trust_frac = math.nan if self._trust is None else float(self._trust[r.box][r.lesion].mean())
        sectors = None if rim_reason else RimSectors(r.lesion, r.lesion & ~r.core, self._spacing)
        maps = {}
        for name, array in self._maps.items():
            values = array[r.box]
            shell = Shell.of(values[r.shell]) if reference == "shell" else shells.get(name, Shell())
            maps[name] = lesion_statistics(values, measured, None if rim_reason else r.core, shell, sectors)
        flags = {
            "small": lesion.is_small,
            "edge": coverage < 1,
            "nawm_global": reference == "nawm_global",
            "no_reference": reference == "none",
            "vein": vein_frac > 0,
            "resampled": self._resampled,
        }
        return LesionMeasures(
            uid=lesion.uid,
            name=lesion.name,
            n_voxels=lesion.n_voxels,
            volume_mm3=lesion.volume_mm3,
            max_diameter_mm=lesion.max_diameter_mm,
            counted=not lesion.is_small,
            coverage=coverage,
            vein_frac=vein_frac,
            trust_frac=trust_frac,
            n_core=n_core,
            n_rim=lesion.n_voxels - n_core,
            n_shell=n_shell,
            reference=reference,
            rim_reason=rim_reason,
            flags=tuple(flag for flag, is_set in flags.items() if is_set),
            maps=maps,
        )

    def _global_white_matter(self, lesions: LesionSet) -> Mapping[str, Shell]:
        """Reference values of normal-appearing white matter far from all lesions; empty if there is none."""
        if self._global is None or self._global[0] is not lesions:
            region = self._mask.copy() if self._white_matter is None else self._mask & self._white_matter
            region &= ~within_mm(canonical_view(lesions.labels, self._turn) > 0, self._spacing, SHELL_INNER_MM)
            region &= ~edge_band(self._mask, self._spacing, EDGE_BAND_MM)
            if self._vessels is not None:
                region &= ~self._vessels
            enough = int(region.sum()) >= MIN_SHELL_VOXELS
            shells = {name: Shell.of(array[region]) for name, array in self._maps.items()} if enough else {}
            self._global = (lesions, shells)
        return self._global[1]

    def _optional(self, mask: np.ndarray | None) -> np.ndarray | None:
        return None if mask is None else canonical_view(np.asarray(mask) > 0, self._turn)


def measure_lesions(lesions: LesionSet, maps, mask, **options) -> tuple[LesionMeasures, ...]:
    """Rows of all lesions: ``Measurer(maps, mask, lesions.grid, **options).measure(lesions)``."""
    return Measurer(maps, mask, lesions.grid, **options).measure(lesions)


def _rim_reason(n_core: int, n_voxels: int) -> str:
    if n_core < MIN_CORE_VOXELS:
        return "core<8"
    equivalent_diameter = (6 * n_voxels / math.pi) ** (1 / 3)  # of the sphere of the same volume, in voxels
    return "diameter<5voxels" if equivalent_diameter < MIN_RIM_DIAMETER_VOXELS else ""


def _meet(a: Box, b: Box) -> bool:
    return all(x.start < y.stop and y.start < x.stop for x, y in zip(a, b))
