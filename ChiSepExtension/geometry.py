"""Where a map lies in space: the grid that travels with every array, and exact reorientation of both.

Arrays are in (z, y, x) = (k, j, i) order; the 4x4 matrix maps voxel indices (i, j, k) to RAS millimetres, as
`vtkMRMLVolumeNode.GetIJKToRASMatrix` does. Whatever is "along the array axes" below is in array order (k, j, i).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from .errors import InputError

#: Axis cosines may deviate from orthogonal by this much: a float32 NIfTI header stores them to about 1e-6, a DICOM
#: header with six decimals to 1e-5. A real gantry tilt is above 1e-2.
ORTHOGONALITY_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape and position of an array in space.

    Parameters
    ----------
    shape
        (z, y, x) of the array; echoes are not counted.
    ijk_to_ras
        (4, 4) matrix, voxel index (i, j, k) to RAS in mm.
    """

    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        shape = tuple(int(n) for n in self.shape)
        if matrix.shape != (4, 4) or len(shape) != 3:
            raise InputError(
                f"A grid needs a shape of 3 numbers and a 4x4 matrix, got {shape} and {matrix.shape}.",
                "Pass (z, y, x) and the matrix from voxel (i, j, k) to RAS.",
            )
        if not np.isfinite(matrix).all() or min(shape) < 1:
            raise InputError(
                f"The image geometry is not usable: shape {shape}, matrix {matrix.tolist()}.",
                "Export the image again; its header has lost voxel size or orientation.",
            )
        columns = matrix[:3, :3]
        lengths = np.linalg.norm(columns, axis=0)
        if lengths.min() <= 0:
            raise InputError("A voxel size is zero.", "Export the image again with its voxel size in the header.")
        cosines = columns / lengths
        if np.abs(cosines.T @ cosines - np.eye(3)).max() > ORTHOGONALITY_TOLERANCE:
            raise InputError(
                "The image axes are not at right angles (a sheared matrix or a gantry tilt).",
                "Resample the complex image to a rectangular grid first; phase alone must not be resampled.",
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "ijk_to_ras", matrix)

    @classmethod
    def from_spacing(
        cls,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
        rotation: np.ndarray | None = None,
    ) -> Grid:
        """Grid centred on the RAS origin; ``spacing_mm`` in array order (z, y, x), ``rotation`` 3x3 on the ijk axes."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.diag(spacing_mm[::-1])
        if rotation is not None:
            matrix[:3, :3] = np.asarray(rotation, dtype=np.float64) @ matrix[:3, :3]
        centre = (np.array(shape[::-1], dtype=np.float64) - 1) / 2
        matrix[:3, 3] = -matrix[:3, :3] @ centre
        return cls(shape, matrix)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along the array axes (z, y, x), to 0.01 µm.

        Files and turns leave rounding of 1e-11 mm; distances that tie with a radius then fall on either side of it, and
        one scan in two orientations got two masks.
        """
        lengths = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return tuple(round(float(v), 5) for v in lengths[::-1])

    @property
    def voxel_volume_mm3(self) -> float:
        return float(np.prod(self.spacing_mm))

    @property
    def axes_ras(self) -> np.ndarray:
        """(3, 3): row n is the RAS unit vector of array axis n (z, y, x)."""
        columns = self.ijk_to_ras[:3, :3]
        return (columns / np.linalg.norm(columns, axis=0)).T[::-1].copy()

    @property
    def b0_direction(self) -> np.ndarray:
        """Unit vector of B0 in components along the array axes (z, y, x).

        B0 is the scanner's bore, the RAS (and DICOM patient) superior axis of a head-first supine or prone scan.
        The field of a dipole is even in this vector, so its sign does not matter.
        """
        direction = self.axes_ras @ np.array([0.0, 0.0, 1.0])
        return direction / np.linalg.norm(direction)

    @property
    def b0_angle_deg(self) -> float:
        """Angle between B0 and the nearest array axis: 0 for a straight scan, up to 54.7 for the worst oblique."""
        return float(np.degrees(np.arccos(min(1.0, np.abs(self.b0_direction).max()))))

    def index_to_ras(self, index_zyx: np.ndarray) -> np.ndarray:
        """RAS mm of (..., 3) array indices (z, y, x)."""
        index = np.asarray(index_zyx, dtype=np.float64)[..., ::-1]
        return index @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def ras_to_index(self, ras_mm: np.ndarray) -> np.ndarray:
        """Array indices (z, y, x), not rounded, of (..., 3) RAS points."""
        inverse = np.linalg.inv(self.ijk_to_ras)
        index = np.asarray(ras_mm, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]
        return index[..., ::-1]

    def matches(self, other: Grid, tolerance_mm: float = 1e-2) -> bool:
        """True if both grids have one shape and no corner lies farther apart than the tolerance."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1).T
        distance = np.linalg.norm(self.index_to_ras(corners) - other.index_to_ras(corners), axis=1)
        return bool(distance.max() <= tolerance_mm)

    def describe(self) -> str:
        """One line for messages: shape as x × y × z, voxel size, orientation letters, angle to B0."""
        x, y, z = self.shape[::-1]
        sx, sy, sz = self.spacing_mm[::-1]
        size = f"{x}×{y}×{z} voxels of {sx:.3g}×{sy:.3g}×{sz:.3g} mm"
        return f"{size}, {self.orientation}, B0 at {self.b0_angle_deg:.1f}°"

    @property
    def orientation(self) -> str:
        """Letters of the directions in which i, j and k increase, such as "RAS" or "LPS"."""
        letters = (("L", "R"), ("P", "A"), ("I", "S"))
        axes, signs = _closest_axes(self.axes_ras[::-1])
        return "".join(letters[axis][sign > 0] for axis, sign in zip(axes, signs))


@dataclass(frozen=True)
class Reorientation:
    """A lossless permutation and flip of array axes, with its exact inverse."""

    source: Grid
    target: Grid
    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Turn an array (..., z, y, x) from the source grid to the target grid."""
        lead = array.ndim - 3
        turned = np.transpose(array, (*range(lead), *(lead + p for p in self.permutation)))
        return np.ascontiguousarray(np.flip(turned, [lead + n for n, flip in enumerate(self.flips) if flip]))

    def invert(self, array: np.ndarray) -> np.ndarray:
        """Turn an array (..., z, y, x) from the target grid back to the source grid."""
        lead = array.ndim - 3
        turned = np.flip(array, [lead + n for n, flip in enumerate(self.flips) if flip])
        inverse = np.argsort(self.permutation)
        return np.ascontiguousarray(np.transpose(turned, (*range(lead), *(lead + p for p in inverse))))


def to_closest_ras(grid: Grid) -> Reorientation:
    """Reorientation that brings x nearest to R, y to A and z to S, without interpolation.

    The pipeline works in this order, so that the same head stored in another order gives the same numbers to the
    last bit, whatever an algorithm does at ties and edges.
    """
    axes, signs = _closest_axes(grid.axes_ras[::-1])  # per ijk axis: which RAS axis, which way
    # Target ijk axis n is the source ijk axis whose RAS axis is n; then both are written in array order (k, j, i).
    source_ijk = [axes.index(n) for n in range(3)]
    permutation = tuple(2 - source_ijk[2 - n] for n in range(3))
    flips = tuple(signs[source_ijk[2 - n]] < 0 for n in range(3))
    shape = tuple(grid.shape[p] for p in permutation)
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for n in range(3):  # target ijk axis n in source ijk indices
        s = source_ijk[n]
        step[s, n] = signs[s]
        if signs[s] < 0:
            step[s, 3] = grid.shape[2 - s] - 1
    return Reorientation(grid, Grid(shape, grid.ijk_to_ras @ step), permutation, flips)


def turned_onto(array: np.ndarray, grid: Grid, target: Grid) -> np.ndarray | None:
    """The array turned losslessly from ``grid`` to ``target``, or None if they are not the same voxels in space."""
    here, there = to_closest_ras(grid), to_closest_ras(target)
    if not here.target.matches(there.target):
        return None
    return there.invert(here.apply(array))


def _closest_axes(cosines_ijk: np.ndarray) -> tuple[list[int], list[int]]:
    """For each row (the RAS cosines of one ijk axis): the RAS axis it is nearest to, each used once, and its sign."""
    best = max(permutations(range(3)), key=lambda p: sum(abs(cosines_ijk[n, p[n]]) for n in range(3)))
    return list(best), [1 if cosines_ijk[n, best[n]] > 0 else -1 for n in range(3)]
