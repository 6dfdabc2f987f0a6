"""Veins of the procedural head: dural sinuses, deep veins, cortical and medullary veins as tubes along curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import Grid
from .anatomy import AnatomyModel
from .cortex import CEREBRUM_CENTRE, cerebellum_distance, cerebrum_distance
from .shapes import spline


@dataclass(frozen=True)
class Vessel:
    """A tube: (m, 3) nodes in RAS mm and (m,) radii in mm."""

    nodes_ras: np.ndarray
    radius_mm: np.ndarray
    dural: bool = False  # a sinus between the leaves of the dura: no part of the brain


# x, y, z, radius in brain coordinates, right side; the left one is its mirror image, a little thinner.
_DEEP = (
    ((2, -4, 11, 0.6), (2.5, -18, 15.5, 0.75), (2.5, -32, 14, 0.8), (0.5, -41, 9, 1.0)),  # internal cerebral
    ((20, -14, 22, 0.4), (13, -2, 15, 0.6), (6, 1, 12, 0.8), (2, -4, 11, 0.6)),  # thalamostriate
    ((9, 27, 12, 0.4), (3, 14, 12, 0.5), (2, 2, 11, 0.5), (2, -4, 11, 0.6)),  # septal
    ((14, -2, -13, 0.5), (17, -16, -8, 0.6), (14, -30, -1, 0.7), (3, -41, 6, 0.9)),  # basal (Rosenthal)
    ((28, -36, 18, 0.4), (18, -40, 14, 0.6), (4, -41, 10, 0.9)),  # atrial
)
_GALEN = ((0, -40, 8, 1.2), (0, -46, 9, 1.6), (0, -52, 6, 1.8))


def make_veins(
    anatomy: AnatomyModel, generator: np.random.Generator, medullary: int = 90, cortical: int = 60, sinuses: bool = True
) -> list[Vessel]:
    """Veins of one head.

    Parameters
    ----------
    anatomy
        The head; gives the surface on which sinuses and cortical veins lie.
    generator
        Source of the individual variation.
    medullary, cortical
        How many small veins to draw in both hemispheres together. Cortical veins and ``sinuses`` lie on the surface
        of the procedural brain: leave them out for any other anatomy.
    """
    paths = [spline(_GALEN, 4)]
    for nodes in _DEEP:
        for side in (1, -1):
            curve = np.array(nodes, np.float64)
            curve[:, 0] *= side
            curve[1:-1, :3] += generator.normal(0, 0.8, (len(curve) - 2, 3))
            curve[:, 3] *= 1.0 if side > 0 else 0.9
            paths.append(spline(curve, 6))
    paths += [_cortical_vein(generator) for _ in range(cortical)]
    paths += [_medullary_vein(generator) for _ in range(medullary)]
    vessels = [(path, False) for path in paths] + [(path, True) for path in (_sinuses() if sinuses else [])]
    return [Vessel(anatomy.to_ras(p[:, :3]), np.maximum(p[:, 3], 0.15), dural) for p, dural in vessels]


def render_veins(grid: Grid, vessels: list[Vessel]) -> np.ndarray:
    """Share of every voxel that is vein, (z, y, x) float32 in 0..1; tubes thinner than a voxel count by their area."""
    share = np.zeros(grid.shape, np.float32)
    width = grid.voxel_volume_mm3 ** (1 / 3)
    reach = max(grid.spacing_mm) * 1.5
    limit = np.array(grid.shape)
    to_mm = np.linalg.inv(grid.ijk_to_ras[:3, :3])
    size = np.linalg.norm(to_mm[::-1], axis=1)  # voxels per mm along the array axes, any direction
    for vessel in vessels:
        index = grid.ras_to_index(vessel.nodes_ras)
        for a, b, ia, ib, ra, rb in zip(
            vessel.nodes_ras[:-1],
            vessel.nodes_ras[1:],
            index[:-1],
            index[1:],
            vessel.radius_mm[:-1],
            vessel.radius_mm[1:],
        ):
            margin = (max(ra, rb) + reach) * size
            low = np.maximum(np.floor(np.minimum(ia, ib) - margin), 0).astype(int)
            high = np.minimum(np.ceil(np.maximum(ia, ib) + margin) + 1, limit).astype(int)
            if (high <= low).any():
                continue
            box = tuple(slice(lo, hi) for lo, hi in zip(low, high))
            block = np.stack(np.meshgrid(*[np.arange(lo, hi) for lo, hi in zip(low, high)], indexing="ij"), axis=-1)
            d = b - a
            offset = grid.index_to_ras(block) - a
            t = np.clip(offset @ d / max(float(d @ d), 1e-9), 0, 1)
            distance = np.linalg.norm(offset - t[..., None] * d, axis=-1)
            radius = ra + t * (rb - ra)
            shown = np.maximum(radius, 0.56 * width)  # disc with the area of one voxel face
            covered = np.clip((shown - distance) / width + 0.5, 0, 1) * np.minimum(1, (radius / shown) ** 2)
            np.maximum(share[box], covered, out=share[box])
    return share


def _surface(directions: np.ndarray, outside_mm: float) -> np.ndarray:
    """Points at ``outside_mm`` from the brain's envelope, seen from the middle of the cerebrum."""
    steps = np.arange(35, 115, 0.5, dtype=np.float32)
    rays = np.asarray(CEREBRUM_CENTRE, np.float32) + steps[None, :, None] * directions[:, None, :].astype(np.float32)
    flat = rays.reshape(-1, 3)
    envelope = np.minimum(cerebrum_distance(flat), cerebellum_distance(flat)).reshape(len(directions), -1)
    beyond = envelope > outside_mm
    first = len(steps) - np.argmin(beyond[:, ::-1], axis=1) - 1  # last point still inside
    return rays[np.arange(len(directions)), first]


def _sinuses() -> list[np.ndarray]:
    angle = np.radians(np.linspace(12, 193, 46))  # from the brow over the vertex to the torcula
    sagittal = _surface(np.stack([0 * angle, np.cos(angle), np.sin(angle)], axis=1), 2.4)
    sagittal[:, 0] += 0.8
    radius = np.linspace(1.2, 3.6, len(angle))
    superior = np.column_stack([sagittal, radius])
    torcula = sagittal[-1]
    straight = np.column_stack([np.linspace((0, -50, 7), torcula, 12), np.linspace(1.8, 2.6, 12)])
    paths = [superior, straight]
    for side, scale in ((1, 1.0), (-1, 0.6)):  # the right transverse sinus is usually dominant
        turn = np.radians(np.linspace(0, 68, 16))
        fall = np.radians(np.linspace(-13, -34, 16))
        out = np.stack([side * np.sin(turn) * np.cos(fall), -np.cos(turn) * np.cos(fall), np.sin(fall)], axis=1)
        transverse = _surface(out, 2.0)
        transverse[0] = torcula
        end = transverse[-1]
        sigmoid = spline([end, end + (-side * 5, 6, -12), (side * 38, -42, -52), (side * 31, -34, -66)], 5)
        nodes = np.vstack([transverse, sigmoid[1:]])
        paths.append(np.column_stack([nodes, np.full(len(nodes), 3.2 * scale)]))
    inferior = np.radians(np.linspace(60, 150, 14))  # inferior sagittal sinus, in the free edge of the falx
    edge = np.column_stack([0 * inferior, -4 + 46 * np.cos(inferior), 1 + 36 * np.sin(inferior), 0.7 + 0 * inferior])
    return [*paths, edge]


def _cortical_vein(generator: np.random.Generator) -> np.ndarray:
    """From the side of a hemisphere up into the superior sagittal sinus."""
    side = generator.choice([-1, 1])
    along = np.radians(generator.uniform(25, 165))
    low = np.radians(generator.uniform(5, 40))
    rise = np.linspace(low, np.pi / 2, 16)
    drift = np.cumsum(generator.normal(0, 0.035, 16))
    drift -= drift[-1] * np.linspace(0, 1, 16)
    x = side * np.cos(rise)
    up = np.sin(rise)
    directions = np.stack([x, up * np.cos(along + drift), np.abs(up * np.sin(along + drift)) + 0.12], axis=1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    nodes = _surface(directions, generator.uniform(-1.2, 0.6))
    return np.column_stack([nodes, np.linspace(0.35, generator.uniform(0.6, 1.0), 16)])


def _medullary_vein(generator: np.random.Generator) -> np.ndarray:
    """From the white matter to the wall of the lateral ventricle."""
    side = generator.choice([-1, 1])
    y = generator.uniform(-40, 28)
    wall = np.array([side * (14 + 9 * max(-y, 0) / 40), y, 19.0])
    fan = np.radians(generator.uniform(5, 80))
    direction = np.array([side * np.cos(fan), generator.normal(0, 0.35) + 0.012 * y, np.sin(fan)])
    length = generator.uniform(10, 26)
    s = np.linspace(0, 1, 9)[:, None]
    sway = np.cumsum(generator.normal(0, 0.45, (9, 3)), axis=0)
    return np.column_stack([wall + s * length * direction + sway, np.linspace(0.42, 0.2, 9)])
