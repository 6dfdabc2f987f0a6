"""Multiple-sclerosis lesions of seven types: what each does to iron and myelin, where they lie, how they are drawn.

The seven types and their shares follow the literature named in the table's sources; the factors are a design choice
consistent with it, not measured numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ..geometry import Grid
from .anatomy import AnatomyModel
from .deep_structures import ventricle_distance
from .random_fields import RandomField
from .shapes import ellipsoid
from .tissues import TISSUES, WHITE_MATTER_LABELS, Label
from .veins import Vessel


class LesionType(IntEnum):
    """How a lesion changes its two sources; 0 is no lesion."""

    IRON_RIM = 1
    DEMYELINATED = 2
    DEMYELINATED_IRON = 3
    ISOINTENSE_BOTH_FALL = 4
    ISOINTENSE_T2_ONLY = 5
    REMYELINATED = 6
    ACUTE = 7


@dataclass(frozen=True)
class LesionModel:
    """One row of the table: share of all lesions, χdia as a factor of white matter, χpara in ppb, T2 in ms."""

    share: float
    dia_factor: float
    para_ppb: float | None  # None: as white matter; negative: falls by as much as χdia does
    t2_ms: float
    appears_as: str
    rim_ppb: float = 0.0
    rim_t2_ms: float = 0.0


#: Kim 2023 (80 % hypo-diamagnetic), Eskreis-Winkler 2015 (83 % solid, 17 % shell), Harrison 2016, Zhang 2016 and 2019.
LESION_MODELS: dict[LesionType, LesionModel] = {
    LesionType.IRON_RIM: LesionModel(0.13, 0.30, 4, 120, "shell on QSM and χpara", 48, 85),
    LesionType.DEMYELINATED: LesionModel(0.45, 0.45, None, 105, "bright QSM, χpara normal"),
    LesionType.DEMYELINATED_IRON: LesionModel(0.15, 0.55, 24, 95, "bright QSM, χpara up"),
    LesionType.ISOINTENSE_BOTH_FALL: LesionModel(0.10, 0.55, -1, 105, "only the separated maps show it"),
    LesionType.ISOINTENSE_T2_ONLY: LesionModel(0.05, 0.95, None, 85, "nothing in χ"),
    LesionType.REMYELINATED: LesionModel(0.08, 0.80, None, 85, "faint"),
    LesionType.ACUTE: LesionModel(0.04, 0.80, 4, 140, "R2* low, QSM about normal"),
}

#: Normal-appearing white matter of a head with lesions has slightly less myelin.
NAWM_DIA_FACTOR = 0.95

_SMALLEST_RIM_MM3 = 150.0
_MAY_COVER = (*WHITE_MATTER_LABELS, int(Label.CORTEX), int(Label.BRAIN_STEM))


@dataclass(frozen=True)
class Lesion:
    """One lesion: ellipsoid with semi-axes in mm along the rows of ``axes`` (RAS), core and rim values."""

    number: int
    kind: LesionType
    centre_ras: np.ndarray
    radii_mm: np.ndarray
    axes: np.ndarray
    chi_para_ppm: float
    chi_dia_ppm: float
    t2_ms: float
    rim_mm: float = 0.0
    rim_para_ppm: float = 0.0
    rim_t2_ms: float = 0.0
    central_vein: bool = False

    @property
    def nominal_volume_mm3(self) -> float:
        return float(4 / 3 * np.pi * np.prod(self.radii_mm))

    def vein(self) -> Vessel:
        """The vein through the middle of the lesion, along its longest axis."""
        step = self.axes[0] * (self.radii_mm[0] + 2.0)
        return Vessel(self.centre_ras + np.linspace(-1, 1, 5)[:, None] * step, np.full(5, 0.4))


def make_lesions(
    anatomy: AnatomyModel,
    generator: np.random.Generator,
    count: int = 24,
    *,
    spread: float = 0.2,
    left_share: float = 0.65,
) -> list[Lesion]:
    """Draw ``count`` lesions; from 7 on every type occurs.

    Parameters
    ----------
    anatomy
        The head they lie in: white matter near ventricles and cortex, cerebellum and brain stem.
    generator
        Source of all choices.
    spread
        Relative range of the table's values, uniform (±).
    left_share
        Part of the lesions in the left hemisphere; away from 0.5 a mirrored map betrays itself.
    """
    kinds = list(LesionType)[: min(count, len(LesionType))]
    shares = np.array([LESION_MODELS[kind].share for kind in LesionType])
    kinds += list(generator.choice(list(LesionType), max(count - len(kinds), 0), p=shares / shares.sum()))
    lesions: list[Lesion] = []
    white = TISSUES[Label.WHITE_MATTER]
    for n, kind in enumerate(kinds):
        model = LESION_MODELS[LesionType(kind)]
        volume = float(np.clip(np.exp(generator.normal(3.6, 1.3)), 20, 4000))
        if n < len(LesionType) or model.rim_ppb:  # the first of each type can be seen and measured
            volume = max(volume, generator.uniform(1.6, 6) * _SMALLEST_RIM_MM3)
        spot = _find_place(anatomy, generator, lesions, (3 * volume / (4 * np.pi)) ** (1 / 3), left_share)
        if spot is None:
            continue
        centre, axes = spot
        shape = np.array([generator.uniform(1.15, 1.5), 1.0, generator.uniform(0.8, 1.0)])
        radii = shape / np.prod(shape) ** (1 / 3) * (3 * volume / (4 * np.pi)) ** (1 / 3)

        def vary(value: float) -> float:
            return value * generator.uniform(1 - spread, 1 + spread)

        dia = white.chi_dia_ppb * min(vary(model.dia_factor), 1.0)
        if model.para_ppb is None:
            para = white.chi_para_ppb
        elif model.para_ppb < 0:
            para = max(white.chi_para_ppb - (white.chi_dia_ppb * NAWM_DIA_FACTOR - dia), 0.0)
        else:
            para = vary(model.para_ppb)
        lesions.append(
            Lesion(
                number=len(lesions) + 1,
                kind=LesionType(kind),
                centre_ras=centre,
                radii_mm=radii,
                axes=axes,
                chi_para_ppm=para / 1000,
                chi_dia_ppm=dia / 1000,
                t2_ms=vary(model.t2_ms),
                rim_mm=generator.uniform(1.1, 1.7) if model.rim_ppb else 0.0,
                rim_para_ppm=vary(model.rim_ppb) / 1000,
                rim_t2_ms=model.rim_t2_ms,
                central_vein=bool(generator.random() < 0.5),
            )
        )
    return lesions


def _find_place(
    anatomy: AnatomyModel, generator: np.random.Generator, others: list[Lesion], radius: float, left_share: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """A free spot in white matter and the lesion's axes there; None after 60 vain tries."""
    site = generator.choice(3, p=(0.6, 0.27, 0.13))
    for _ in range(60):
        side = -1 if generator.random() < left_share else 1
        if site == 2:
            brain = np.array(
                [side * generator.uniform(2, 32), generator.uniform(-75, -20), generator.uniform(-46, -24)]
            )
        else:
            brain = np.array([side * generator.uniform(8, 55), generator.uniform(-75, 50), generator.uniform(-5, 60)])
        brain = brain.astype(np.float32)[None]
        centre = anatomy.to_ras(brain)[0]
        wall = float(ventricle_distance(brain)[0])
        near = 0.5 * radius
        shell = centre + near * _DIRECTIONS
        around = anatomy.labels(np.vstack([centre[None], shell, centre + (radius + 2.5) * _DIRECTIONS]))[0]
        core, outer = around[: len(_DIRECTIONS) + 1], around[len(_DIRECTIONS) + 1 :]
        if np.isin(core, _MAY_COVER[:-2] if site < 2 else _MAY_COVER).mean() < 0.9:
            continue
        if site == 0 and not radius < wall + 2 < 22:
            continue
        if site == 1 and (np.mean(outer == Label.CORTEX) < 0.2 or wall < 12):
            continue
        if any(np.linalg.norm(centre - o.centre_ras) < 1.3 * (radius + o.radii_mm.max()) + 2 for o in others):
            continue
        outwards = brain[0] - np.array([side * 14, brain[0, 1] + generator.normal(0, 6), 18])
        return centre, _axes_along(outwards, generator)
    return None


_DIRECTIONS = np.array(
    [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    + [(a * 0.577, b * 0.577, c * 0.577) for a in (1, -1) for b in (1, -1) for c in (1, -1)],
    np.float32,
)


def _axes_along(direction: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Orthonormal rows, the first along ``direction``."""
    basis = np.column_stack([direction, generator.standard_normal((3, 2))])
    return np.linalg.qr(basis)[0].T


def lesion_voxels(grid: Grid, lesion: Lesion, roughness: RandomField) -> tuple[tuple[slice, ...], np.ndarray] | None:
    """Box of the grid that holds the lesion and the signed distance (mm, negative inside) there; None if outside."""
    reach = float(lesion.radii_mm.max()) * 1.4 + max(grid.spacing_mm)
    centre = grid.ras_to_index(lesion.centre_ras)
    margin = reach / np.array(grid.spacing_mm)
    low = np.maximum(np.floor(centre - margin), 0).astype(int)
    high = np.minimum(np.ceil(centre + margin) + 1, grid.shape).astype(int)
    if (high <= low).any():
        return None
    box = tuple(slice(a, b) for a, b in zip(low, high))
    index = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high)], indexing="ij"), axis=-1)
    points = grid.index_to_ras(index).reshape(-1, 3).astype(np.float32)
    local = (points - lesion.centre_ras.astype(np.float32)) @ lesion.axes.T.astype(np.float32)
    distance = ellipsoid(local, (0, 0, 0), lesion.radii_mm)
    distance += 0.16 * float(lesion.radii_mm.min()) * roughness(points)
    return box, distance.reshape(index.shape[:-1])


def may_cover(labels: np.ndarray) -> np.ndarray:
    """Where a lesion replaces the tissue: white matter, brain stem and, for juxtacortical ones, cortex."""
    return np.isin(labels, _MAY_COVER)
