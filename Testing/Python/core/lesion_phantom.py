"""Simple geometry with known truth for the lesion tests: spheres in white matter, on any grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ChiSepExtension.geometry import Grid

#: Designed difference to the surrounding white matter in ppm: (chi_para, chi_dia).
DESIGN = {"hypo": (-0.010, -0.012), "iso": (0.0, 0.0), "hyper": (0.020, -0.006), "rim": (0.0, -0.010)}
RIM_PPM = 0.020


@dataclass
class Sphere:
    """Centre (z, y, x) in voxels, diameter in mm."""

    centre: tuple[float, float, float]
    diameter_mm: float
    kind: str = "hypo"


@dataclass
class LesionPhantom:
    grid: Grid
    mask: np.ndarray
    white_matter: np.ndarray
    vessels: np.ndarray
    lesion_mask: np.ndarray
    spheres: list[Sphere]
    maps: dict[str, np.ndarray] = field(default_factory=dict)


def ball(shape: tuple[int, int, int], centre, diameter_mm: float, spacing_mm=(1.0, 1.0, 1.0)) -> np.ndarray:
    """Voxels whose centre lies within half the diameter: the definition behind the table of sphere counts."""
    axes = [(np.arange(n) - c) * s for n, c, s in zip(shape, centre, spacing_mm)]
    squared = axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2
    return squared <= (diameter_mm / 2) ** 2


def phantom(shape, spheres: list[Sphere], *, seed: int = 0, noise_ppm: float = 0.001, grid: Grid | None = None):
    """Head with a tract gradient of 0.05 ppb/mm, one vein along x, and the given lesions."""
    grid = grid or Grid.from_spacing(shape)
    generator = np.random.Generator(np.random.PCG64(seed))
    centre = [(n - 1) / 2 for n in shape]
    radius = [
        ((np.arange(n) - c) / (0.47 * n)).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2
        for axis, (n, c) in enumerate(zip(shape, centre))
    ]
    distance = (radius[0] + radius[1] + radius[2]).astype(np.float32)
    mask, white_matter = distance <= 1.0, distance <= 0.75
    noise = generator.standard_normal(shape, dtype=np.float32)
    tract = ((np.arange(shape[1]) - centre[1]) * 0.00005).astype(np.float32)[None, :, None]
    para = 0.017 + tract + np.float32(noise_ppm) * noise
    dia = 0.029 - tract + np.float32(noise_ppm) * noise[::-1]
    lesion_mask = np.zeros(shape, bool)
    for sphere in spheres:
        low = [max(0, int(c - sphere.diameter_mm)) for c in sphere.centre]
        box = tuple(slice(a, int(c + sphere.diameter_mm) + 2) for a, c in zip(low, sphere.centre))
        local = [c - a for c, a in zip(sphere.centre, low)]
        inside = ball(lesion_mask[box].shape, local, sphere.diameter_mm)
        d_para, d_dia = DESIGN[sphere.kind]
        para[box][inside] += np.float32(d_para)
        dia[box][inside] += np.float32(d_dia)
        if sphere.kind == "rim":
            rim = inside & ~ball(inside.shape, local, sphere.diameter_mm - 2.0)
            para[box][rim] += np.float32(RIM_PPM)
        lesion_mask[box] |= inside
    vessels = np.zeros(shape, bool)
    vessels[shape[0] // 2 : shape[0] // 2 + 2, shape[1] // 2 : shape[1] // 2 + 2] = True
    vessels &= mask
    para[vessels] += np.float32(0.06)
    for array in (para, dia):
        array[~mask] = 0
    maps = {
        "chi_para": para,
        "chi_dia": dia,
        "chi_total": para - dia,
        "qsm": para - dia,
        "r2star": 20 + 100 * para,
        "r2prime": 5 + 100 * para,
    }
    return LesionPhantom(grid, mask, white_matter, vessels, lesion_mask, spheres, maps)


def f1(*, seed: int = 1, count: int = 200, shape=(160, 256, 256)) -> LesionPhantom:
    """F1: 200 lesions of 3 to 15 mm, of four kinds, in a head of 256 x 256 x 160 voxels of 1 mm."""
    generator = np.random.Generator(np.random.PCG64(seed))
    diameters = np.linspace(15, 3, count)
    spheres: list[Sphere] = []
    kinds = list(DESIGN)
    half = 0.47 * np.array(shape) * np.sqrt(0.75)
    while len(spheres) < count:
        diameter = float(diameters[len(spheres)])
        centre = (np.array(shape) - 1) / 2 + generator.uniform(-1, 1, 3) * half
        inside = (((centre - (np.array(shape) - 1) / 2) / (half - diameter / 2 - 4)) ** 2).sum() < 1
        # 3 mm of free white matter between most lesions, so that shells meet their neighbours but are not empty.
        gaps = [np.linalg.norm(centre - s.centre) - (diameter + s.diameter_mm) / 2 for s in spheres]
        off_vein = np.hypot(centre[0] - shape[0] / 2, centre[1] - shape[1] / 2) > diameter / 2 + 2
        if inside and off_vein and min(gaps, default=9.0) > 3.0:
            spheres.append(Sphere(tuple(centre), diameter, kinds[len(spheres) % 4]))
    return phantom(shape, spheres, seed=seed)


def stored_as(array: np.ndarray, grid: Grid, order: tuple[int, ...], flips: tuple[int, ...]):
    """The same image, stored with its axes in another order and direction."""
    turned = np.ascontiguousarray(np.flip(np.transpose(array, order), flips))
    index = np.stack(np.meshgrid(*[(0, n - 1) for n in grid.shape], indexing="ij"), -1).reshape(-1, 3)[[0, 1, 2, 4]]
    moved = index[:, order].copy()
    for axis in flips:
        moved[:, axis] = turned.shape[axis] - 1 - moved[:, axis]
    # The matrix from four voxels whose positions are known, independent of the code under test.
    a = np.c_[moved[:, ::-1], np.ones(4)]
    b = np.c_[grid.index_to_ras(index), np.ones(4)]
    return turned, Grid(turned.shape, np.linalg.solve(a, b).T)
