"""Signed distances (mm, negative inside) of the simple shapes that the procedural head is made of.

Points are (n, 3) float32. Distances of ellipsoids and of smooth unions are approximations, exact on the surface.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Triple = Sequence[float]


def ellipsoid(points: np.ndarray, centre: Triple, radii: Triple, turn_z_deg: float = 0.0) -> np.ndarray:
    """Ellipsoid with semi-axes ``radii``, turned about the vertical by ``turn_z_deg``."""
    d = points - np.asarray(centre, np.float32)
    if turn_z_deg:
        c, s = np.cos(np.radians(turn_z_deg)), np.sin(np.radians(turn_z_deg))
        d = np.stack([c * d[:, 0] + s * d[:, 1], -s * d[:, 0] + c * d[:, 1], d[:, 2]], axis=1).astype(np.float32)
    d /= np.asarray(radii, np.float32)
    k0 = np.sqrt(np.einsum("ij,ij->i", d, d))
    d /= np.asarray(radii, np.float32)
    k1 = np.sqrt(np.einsum("ij,ij->i", d, d))
    # At the very centre both lengths vanish; their ratio stays between the semi-axes.
    ratio = np.where(k0 > 1e-6, k0 / np.maximum(k1, 1e-12), np.float32(min(radii)))
    return ratio * (k0 - 1)


def ellipsoid_normal(points: np.ndarray, centre: Triple, radii: Triple) -> np.ndarray:
    """Unit outward normals of the ellipsoids that are concentric with the given one."""
    d = (points - np.asarray(centre, np.float32)) / np.asarray(radii, np.float32) ** 2
    return d / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-9)


def tube(points: np.ndarray, path: np.ndarray, radius: Triple | float) -> np.ndarray:
    """Chain of tapered capsules along ``path`` (m, 3) with one radius per node."""
    path = np.asarray(path, np.float32)
    radius = np.broadcast_to(np.asarray(radius, np.float32), (len(path),))
    best = np.full(len(points), np.inf, np.float32)
    for a, b, ra, rb in zip(path[:-1], path[1:], radius[:-1], radius[1:]):
        d = b - a
        t = np.clip(((points - a) @ d) / max(float(d @ d), 1e-6), 0, 1)
        offset = points - a - t[:, None] * d
        distance = np.sqrt(np.einsum("ij,ij->i", offset, offset)) - (ra + t * (rb - ra))
        np.minimum(best, distance, out=best)
    return best


def smooth_union(first: np.ndarray, second: np.ndarray, width_mm: float) -> np.ndarray:
    """Union of two distances with a fillet of about ``width_mm``."""
    blend = np.maximum(width_mm - np.abs(first - second), 0) / width_mm
    return np.minimum(first, second) - 0.25 * width_mm * blend * blend


def smooth_cut(first: np.ndarray, second: np.ndarray, width_mm: float) -> np.ndarray:
    """Intersection of two distances with a rounded edge."""
    return -smooth_union(-first, -second, width_mm)


def spline(nodes: Sequence[Triple], per_segment: int = 6) -> np.ndarray:
    """Catmull-Rom curve through ``nodes`` (m, c): ``per_segment`` points per segment and the last node."""
    p = np.asarray(nodes, np.float64)
    p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    t = (np.arange(per_segment) / per_segment)[:, None]
    pieces = []
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:]):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.vstack([*pieces, p[-2:-1]])


def superellipsoid(points: np.ndarray, centre: Triple, radii: Triple, exponent: float = 2.5) -> np.ndarray:
    """Boxier than an ellipsoid for an exponent above 2, as a skull is."""
    d = np.abs(points - np.asarray(centre, np.float32)) / np.asarray(radii, np.float32)
    d = np.maximum(d, 1e-6)
    steep = d ** (exponent - 1)
    total = np.einsum("ij,ij->i", steep, d)
    k0 = total ** (1 / exponent)
    steep /= np.asarray(radii, np.float32)
    slope = np.sqrt(np.einsum("ij,ij->i", steep, steep)) * k0 / total
    return (k0 - 1) / np.maximum(slope, 1e-6)


def mirrored(points: np.ndarray) -> np.ndarray:
    """Points folded to the right half (x ≥ 0), for structures that exist on both sides."""
    folded = points.copy()
    np.abs(folded[:, 0], out=folded[:, 0])
    return folded


def inside_box(points: np.ndarray, low: Triple, high: Triple) -> np.ndarray:
    """Indices of the points in an axis-aligned box: what keeps small structures cheap."""
    keep = (points[:, 2] >= low[2]) & (points[:, 2] <= high[2])
    for n in (0, 1):
        keep &= (points[:, n] >= low[n]) & (points[:, n] <= high[n])
    return np.flatnonzero(keep)
