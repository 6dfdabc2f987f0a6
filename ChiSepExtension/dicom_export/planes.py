"""Order and position of the frames: turned, without interpolation, the way DICOM viewers expect to show them.

A viewer shows the first row at the top and the first column at the left, whatever the patient's orientation. So axial
frames run from the patient's right to left and anterior to posterior, coronal and sagittal ones from superior to
inferior, and the slices follow the normal of the frames.
"""

from __future__ import annotations

import numpy as np

from ..geometry import Grid, Reorientation

_LPS = np.diag([-1.0, -1.0, 1.0])
#: Directions (LPS) in which columns, rows and slices increase, by the patient axis nearest to the slice normal. Each is
#: right-handed: slices along columns x rows.
_SHOWN = {
    0: ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),  # sagittal
    1: ((1, 0, 0), (0, 0, -1), (0, 1, 0)),  # coronal
    2: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),  # axial
}


def to_frames(grid: Grid) -> Reorientation:
    """The flips, and if needed the exchange of rows and columns, that make the slices of a grid frames for a viewer.

    Slices stay slices: the first array axis is only flipped, if at all.
    """
    cosines = grid.ijk_to_ras[:3, :3] / np.linalg.norm(grid.ijk_to_ras[:3, :3], axis=0)
    cosines = (_LPS @ cosines).T  # rows: LPS direction of i, j, k
    across, down, along = (np.array(v, float) for v in _SHOWN[int(np.abs(cosines[2]).argmax())])
    exchanged = abs(cosines[0] @ across) + abs(cosines[1] @ down) < abs(cosines[1] @ across) + abs(cosines[0] @ down)
    source = (1, 0, 2) if exchanged else (0, 1, 2)  # ijk axis of the source for each axis of the target
    flipped = [bool(cosines[s] @ want < 0) for s, want in zip(source, (across, down, along))]
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for n, s in enumerate(source):
        step[s, n] = -1 if flipped[n] else 1
        step[s, 3] = grid.shape[2 - s] - 1 if flipped[n] else 0
    permutation = tuple(2 - source[2 - n] for n in range(3))
    shape = tuple(grid.shape[p] for p in permutation)
    flips = tuple(flipped[2 - n] for n in range(3))
    return Reorientation(grid, Grid(shape, grid.ijk_to_ras @ step), permutation, flips)


def lps_matrix(grid: Grid) -> np.ndarray:
    """(4, 4) matrix from (i, j, k) to LPS, the patient coordinates of DICOM, in mm."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.ijk_to_ras


def frame_position(grid: Grid, k: int) -> list[float]:
    """ImagePositionPatient of frame ``k``: the centre of its first voxel."""
    return [float(v) for v in (lps_matrix(grid) @ [0, 0, k, 1])[:3]]


def frame_orientation(grid: Grid) -> list[float]:
    """ImageOrientationPatient: directions in which columns and rows increase."""
    matrix = lps_matrix(grid)[:3, :2]
    return [float(v) for v in (matrix / np.linalg.norm(matrix, axis=0)).T.ravel()]


def grid_of_frames(
    orientation: list[float], pixel_spacing: list[float], positions: np.ndarray, shape: tuple[int, int, int]
) -> Grid:
    """Grid of frames of one orientation.

    Parameters
    ----------
    orientation, pixel_spacing
        ImageOrientationPatient, PixelSpacing (between rows, between columns).
    positions
        (n, 3) ImagePositionPatient, evenly spaced, in the order of the frames; of one frame, two positions tell the
        thickness.
    shape
        (z, y, x).
    """
    matrix = np.eye(4)
    matrix[:3, 0] = np.array(orientation[:3]) * pixel_spacing[1]
    matrix[:3, 1] = np.array(orientation[3:]) * pixel_spacing[0]
    matrix[:3, 2] = (positions[-1] - positions[0]) / (len(positions) - 1)
    matrix[:3, 3] = positions[0]
    return Grid(shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix)
