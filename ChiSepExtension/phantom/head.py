"""A head with known truth: labels, susceptibility sources, relaxation and spin density on any grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from ..errors import InputError
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, silent
from .anatomy import Anatomy, AnatomyModel
from .ms_lesions import NAWM_DIA_FACTOR, Lesion, lesion_voxels, make_lesions, may_cover
from .random_fields import RandomField
from .shapes import ellipsoid
from .tissues import CHI_AIR_PPM, PARENCHYMA_LABELS, TISSUES, WHITE_MATTER_LABELS, Label, lookup
from .veins import make_veins, render_veins

#: Relaxivity of both sources in Hz/ppm at 3 T (Shin et al., NeuroImage 2021;240:118371).
DEFAULT_DR = 137.0

#: The off-centre calcification that tells left from right: brain coordinates (mm, right frontal) and semi-axes.
MARKER_CENTRE = (27.0, 30.0, 24.0)
MARKER_RADII = (3.6, 4.4, 3.2)

_POINTS_PER_SLAB = 400_000

#: Spread of a tissue's R2 between seeds, relative to that of its susceptibilities.
_R2_SHARE = 0.6


@dataclass(eq=False)
class Head:
    """Truth on one grid; every array is (z, y, x).

    Susceptibility in ppm (``chi_para``, ``chi_dia`` ≥ 0, zero outside the brain mask; ``chi_total`` of the whole head
    with bone and air), rates in Hz, T1 in s. In the mask chi_total = chi_para - chi_dia, and everywhere
    r2star_hz = r2_hz + r2prime_hz.
    """

    grid: Grid
    labels: np.ndarray
    lesion_labels: np.ndarray
    lesion_types: np.ndarray
    brain_mask: np.ndarray
    chi_para: np.ndarray
    chi_dia: np.ndarray
    chi_total: np.ndarray
    r2_hz: np.ndarray
    r2prime_hz: np.ndarray
    proton_density: np.ndarray
    t1_s: np.ndarray
    dr_para: float = DEFAULT_DR
    dr_dia: float = DEFAULT_DR
    lesions: list[Lesion] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    #: Total susceptibility of what lies outside the grid, on any other grid; None if nothing is known of it.
    chi_beyond: Callable[[Grid], np.ndarray] | None = None

    @property
    def r2star_hz(self) -> np.ndarray:
        return self.r2_hz + self.r2prime_hz

    @classmethod
    def from_sources(
        cls,
        grid: Grid,
        chi_para: np.ndarray,
        chi_dia: np.ndarray,
        brain_mask: np.ndarray,
        *,
        r2_hz: float = 15.0,
        chi_outside_ppm: float = CHI_AIR_PPM,
        dr_para: float = DEFAULT_DR,
        dr_dia: float = DEFAULT_DR,
    ) -> Head:
        """A head of given sources in a mask and one substance around it, with the signal of white matter."""
        brain = np.asarray(brain_mask, bool)
        para = np.where(brain, chi_para, 0).astype(np.float32)
        dia = np.where(brain, chi_dia, 0).astype(np.float32)
        white = TISSUES[Label.WHITE_MATTER]
        return cls(
            grid,
            np.where(brain, np.uint8(Label.WHITE_MATTER), np.uint8(Label.OUTSIDE)),
            np.zeros(grid.shape, np.uint16),
            np.zeros(grid.shape, np.uint8),
            brain,
            para,
            dia,
            np.where(brain, para - dia, np.float32(chi_outside_ppm)).astype(np.float32),
            np.full(grid.shape, r2_hz, np.float32),
            (dr_para * para + dr_dia * dia).astype(np.float32),
            np.where(brain, white.proton_density, 0).astype(np.float32),
            np.full(grid.shape, white.t1_ms / 1000, np.float32),
            dr_para,
            dr_dia,
        )


def default_grid(
    shape: tuple[int, int, int] | None = None,
    spacing_mm: float | tuple[float, float, float] = 1.2,
    rotation: np.ndarray | None = None,
) -> Grid:
    """Grid centred on the head; without a shape one that holds it from chin to crown, x and z 192 mm, y 230 mm."""
    spacing = tuple(float(v) for v in np.broadcast_to(spacing_mm, 3))
    if shape is None:
        shape = tuple(2 * int(np.ceil(size / step / 2)) for size, step in zip((192, 230.4, 192), spacing))
    return Grid.from_spacing(tuple(int(n) for n in shape), spacing, rotation)


def make_head(
    grid: Grid | tuple[int, int, int] | None = None,
    spacing_mm: float | tuple[float, float, float] = 1.2,
    rotation: np.ndarray | None = None,
    *,
    anatomy: AnatomyModel | None = None,
    seed: int = 0,
    lesions: int = 24,
    lesion_spread: float = 0.2,
    dr_para: float = DEFAULT_DR,
    dr_dia: float = DEFAULT_DR,
    texture: float = 0.06,
    value_spread: float = 0.0,
    partial_volume: float = 0.45,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> Head:
    """The head of one seed, sampled on a grid.

    The anatomy is a function of RAS position, so grids that are flipped, permuted, turned or of other voxel size show
    the same object. It is not symmetric: a calcification right frontal, more lesions left, a dominant right
    transverse sinus, larger right frontal sinus and mastoid.

    Parameters
    ----------
    grid, spacing_mm, rotation
        A `Grid`, or what `default_grid` makes one of: shape (z, y, x), voxel size (z, y, x) in mm, 3x3 rotation.
    anatomy
        Shape of the head; by default the procedural one of the seed. See `label_maps.LabelMapAnatomy` for another.
    seed
        Same seed, same head.
    lesions
        Number of MS lesions; 0 for a healthy head.
    lesion_spread
        Relative range of the values of each lesion type (`ms_lesions.make_lesions`).
    dr_para, dr_dia
        Relaxivities in Hz/ppm: R2' = dr_para·chi_para + dr_dia·chi_dia.
    texture
        Relative standard deviation of the smooth variation within tissues.
    value_spread
        Relative standard deviation of each tissue's susceptibilities between seeds; of its R2, 0.6 times that.
    partial_volume
        Standard deviation in voxels of the blur that stands for partial volume in the brain; 0 for hard edges.

    Raises
    ------
    InputError
        If the grid does not meet the head at all.
    """
    if not isinstance(grid, Grid):
        grid = default_grid(grid, spacing_mm, rotation)
    procedural = anatomy is None
    anatomy = Anatomy(seed) if anatomy is None else anatomy
    labels, brain = sample_labels(anatomy, grid, progress=lambda f, m: progress(0.55 * f, m), cancel=cancel)
    if not brain.any():
        raise InputError(
            f"The grid ({grid.describe()}) does not meet the brain of the phantom.", "Centre the grid on RAS (0, 0, 0)."
        )
    _paint_marker(labels, brain, anatomy, grid)
    progress(0.6, "Lesions and veins")
    drawn = make_lesions(anatomy, np.random.default_rng([seed, 2]), lesions, spread=lesion_spread) if lesions else []
    surface = {} if procedural else {"cortical": 0, "sinuses": False}
    vessels = make_veins(anatomy, np.random.default_rng([seed, 3]), **surface)
    vessels += [lesion.vein() for lesion in drawn if lesion.central_vein]
    cancel.check()
    maps = _tissue_maps(labels, np.random.default_rng([seed, 4]), value_spread)
    if drawn:
        maps["chi_dia"][np.isin(labels, WHITE_MATTER_LABELS)] *= NAWM_DIA_FACTOR
    lesion_labels, lesion_types = _paint_lesions(labels, maps, grid, drawn, seed)
    cancel.check()
    _add_texture(maps, labels, grid, seed, texture)
    progress(0.75, "Veins and partial volume")
    sinuses = render_veins(grid, [vessel for vessel in vessels if vessel.dural])
    brain &= sinuses < 0.05
    share = np.maximum(sinuses, render_veins(grid, [vessel for vessel in vessels if not vessel.dural]))
    share[(labels == Label.OUTSIDE) | (labels == Label.AIR)] = 0
    _blend_veins(labels, maps, brain, share)
    cancel.check()
    head = _assemble(grid, labels, brain, maps, partial_volume, dr_para, dr_dia)
    head.lesion_labels, head.lesion_types, head.lesions = lesion_labels, lesion_types, drawn
    head.provenance = {"phantom": "procedural head" if procedural else "label map", "seed": seed, "lesions": len(drawn)}
    head.chi_beyond = lambda other: lookup("chi_total_ppb")[sample_labels(anatomy, other)[0]] / np.float32(1000)
    progress(1.0, "Head ready")
    return head


def sample_labels(
    anatomy: AnatomyModel, grid: Grid, *, progress: Progress = silent, cancel: CancelToken = NEVER
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (uint8) and brain mask (bool) of an anatomy on a grid, slab by slab."""
    labels = np.zeros(grid.shape, np.uint8)
    brain = np.zeros(grid.shape, bool)
    z, y, x = grid.shape
    step = max(1, _POINTS_PER_SLAB // (y * x))
    for start in range(0, z, step):
        cancel.check()
        progress(start / z, "Head anatomy")
        stop = min(start + step, z)
        index = np.stack(np.meshgrid(np.arange(start, stop), np.arange(y), np.arange(x), indexing="ij"), axis=-1)
        part, inside = anatomy.labels(grid.index_to_ras(index).reshape(-1, 3))
        labels[start:stop] = part.reshape(-1, y, x)
        brain[start:stop] = inside.reshape(-1, y, x)
    return labels, brain


def _points(grid: Grid, flat_index: np.ndarray) -> np.ndarray:
    return grid.index_to_ras(np.stack(np.unravel_index(flat_index, grid.shape), axis=-1)).astype(np.float32)


def _paint_marker(labels: np.ndarray, brain: np.ndarray, anatomy: AnatomyModel, grid: Grid) -> None:
    centre = anatomy.to_ras(np.array([MARKER_CENTRE], np.float32))[0]
    where = np.flatnonzero(brain)
    points = _points(grid, where)
    hit = ellipsoid(points, centre, MARKER_RADII) < 0
    labels.ravel()[where[hit]] = Label.CALCIFICATION


def _tissue_maps(labels: np.ndarray, generator: np.random.Generator, spread: float) -> dict[str, np.ndarray]:
    factor = 1 + spread * np.clip(generator.standard_normal((3, 256)), -2.5, 2.5)
    r2 = np.zeros(256)
    for label, tissue in TISSUES.items():
        r2[int(label)] = 1000 / tissue.t2_ms
    tables = {
        "chi_para": lookup("chi_para_ppb") / 1000 * factor[0],
        "chi_dia": lookup("chi_dia_ppb") / 1000 * factor[1],
        # T2 is known better than susceptibility.
        "r2_hz": r2 * (1 + _R2_SHARE * (factor[2] - 1)),
        "t1_s": lookup("t1_ms") / 1000,
        "proton_density": lookup("proton_density"),
    }
    return {name: table.astype(np.float32)[labels] for name, table in tables.items()}


def _paint_lesions(
    labels: np.ndarray, maps: dict[str, np.ndarray], grid: Grid, lesions: list[Lesion], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.zeros(labels.shape, np.uint16)
    kinds = np.zeros(labels.shape, np.uint8)
    roughness = RandomField(np.random.default_rng([seed, 5]), 9.0, bandwidth=0.4, period_mm=120.0)
    for lesion in lesions:
        found = lesion_voxels(grid, lesion, roughness)
        if found is None:
            continue
        box, distance = found
        hit = (distance < 0) & may_cover(labels[box]) & (numbers[box] == 0)
        rim = hit & (distance > -lesion.rim_mm)
        numbers[box][hit] = lesion.number
        kinds[box][hit] = lesion.kind
        labels[box][hit] = Label.MS_LESION
        maps["chi_para"][box][hit] = lesion.chi_para_ppm
        maps["chi_dia"][box][hit] = lesion.chi_dia_ppm
        maps["r2_hz"][box][hit] = 1000 / lesion.t2_ms
        maps["t1_s"][box][hit] = TISSUES[Label.MS_LESION].t1_ms / 1000
        maps["proton_density"][box][hit] = TISSUES[Label.MS_LESION].proton_density
        if lesion.rim_mm:
            labels[box][rim] = Label.LESION_RIM
            maps["chi_para"][box][rim] = lesion.rim_para_ppm
            maps["r2_hz"][box][rim] = 1000 / lesion.rim_t2_ms
    return numbers, kinds


def _add_texture(maps: dict[str, np.ndarray], labels: np.ndarray, grid: Grid, seed: int, amount: float) -> None:
    if not amount:
        return
    where = np.flatnonzero(np.isin(labels, PARENCHYMA_LABELS))
    points = _points(grid, where)
    generator = np.random.default_rng([seed, 6])
    for name, share in (("chi_para", 1.0), ("chi_dia", 1.0), ("r2_hz", 0.4), ("proton_density", 0.25)):
        values = RandomField(generator, 16.0, bandwidth=0.6, period_mm=160.0)(points)
        maps[name].ravel()[where] *= 1 + share * amount * np.clip(values, -2.5, 2.5)


def _blend_veins(labels: np.ndarray, maps: dict[str, np.ndarray], brain: np.ndarray, share: np.ndarray) -> None:
    blood = TISSUES[Label.VEIN]
    where = np.flatnonzero(share > 0.01)
    part = share.ravel()[where]
    values = {
        "chi_para": blood.chi_para_ppb / 1000,
        "chi_dia": blood.chi_dia_ppb / 1000,
        "r2_hz": 1000 / blood.t2_ms,
        "t1_s": blood.t1_ms / 1000,
        "proton_density": blood.proton_density,
    }
    outside = ~brain.ravel()[where]
    for name, value in values.items():
        flat = maps[name].ravel()
        mixed = flat[where] * (1 - part) + value * part
        # Bone decays within the voxel; the share of blood alone gives signal.
        flat[where] = np.where(outside & (part > 0.5), value, mixed) if name in ("r2_hz", "t1_s") else mixed
    labels.ravel()[where[part >= 0.5]] = Label.VEIN


def _assemble(
    grid: Grid,
    labels: np.ndarray,
    brain: np.ndarray,
    maps: dict[str, np.ndarray],
    partial_volume: float,
    dr_para: float,
    dr_dia: float,
) -> Head:
    outer = lookup("chi_total_ppb")[labels] / np.float32(1000)
    vein = (labels == Label.VEIN) & ~brain
    outer[vein] = maps["chi_para"][vein] - maps["chi_dia"][vein]
    for name in ("chi_para", "chi_dia"):
        maps[name][~brain] = 0
    if partial_volume > 0:
        fluid = 1000 / TISSUES[Label.CSF].t2_ms
        for name in ("chi_para", "chi_dia", "r2_hz", "t1_s", "proton_density"):
            fill = {"r2_hz": fluid, "t1_s": TISSUES[Label.CSF].t1_ms / 1000, "proton_density": 1.0}.get(name, 0.0)
            blurred = gaussian_filter(np.where(brain, maps[name], np.float32(fill)), partial_volume, truncate=3.0)
            maps[name] = np.where(brain, blurred, maps[name])
    chi_total = np.where(brain, maps["chi_para"] - maps["chi_dia"], outer)
    r2prime = dr_para * maps["chi_para"] + dr_dia * maps["chi_dia"]
    none16, none8 = np.zeros(labels.shape, np.uint16), np.zeros(labels.shape, np.uint8)
    return Head(
        grid,
        labels,
        none16,
        none8,
        brain,
        maps["chi_para"],
        maps["chi_dia"],
        chi_total.astype(np.float32),
        maps["r2_hz"],
        r2prime.astype(np.float32),
        maps["proton_density"],
        maps["t1_s"],
        dr_para,
        dr_dia,
    )


__all__ = ["CHI_AIR_PPM", "DEFAULT_DR", "Head", "default_grid", "make_head", "sample_labels"]
