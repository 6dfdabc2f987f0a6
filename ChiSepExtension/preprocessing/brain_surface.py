"""The brain's surface as a sphere that grows until it meets the dark of the skull, kept smooth on its way.

A deformable surface (Smith, Hum Brain Mapp 2002;17:143, whose equations and constants are used) does not leak where
the skull is thin: its curvature is bounded, whatever lies behind the gap.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy import ndimage, sparse

from ..progress import NEVER, CancelToken

#: How far inwards along the normal the darkest and the brightest value are looked for (mm).
_SEARCH_MM = 20.0
#: Radii of curvature between which smoothing goes from full to none (mm).
_RADII_MM = (3.33, 10.0)
#: Where between dark and bright the surface stops; 0.5 in the paper.
_FRACTION = 0.5
_ITERATIONS = 1000


def brain_surface(
    image: np.ndarray,
    seed: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    fraction: float = _FRACTION,
    iterations: int = _ITERATIONS,
    cancel: CancelToken = NEVER,
) -> np.ndarray:
    """Volume inside the grown surface.

    Parameters
    ----------
    image
        (z, y, x) in which brain is bright and skull dark, free of strong shading.
    seed
        (z, y, x) bool, surely brain: gives centre, size and the brightness of brain.
    spacing_mm
        Voxel size (z, y, x).
    fraction
        0..1; less gives a larger brain.

    Returns
    -------
    (z, y, x) bool.
    """
    spacing = np.asarray(spacing_mm, np.float64)
    low, high = np.percentile(image, (2, 98))
    threshold = low + 0.1 * (high - low)
    typical = float(np.median(image[seed]))
    centre = np.array(ndimage.center_of_mass(seed)) * spacing
    radius = (3 * seed.sum() * spacing.prod() / (4 * np.pi)) ** (1 / 3)
    vertices, triangles = _sphere(subdivisions=4)
    points = centre + 0.6 * radius * vertices
    neighbours = _neighbour_mean(len(vertices), triangles)
    steps = np.arange(0.0, _SEARCH_MM + 1e-6, 1.0)
    near = steps <= _SEARCH_MM / 2
    sharp, blunt = 1 / _RADII_MM[0], 1 / _RADII_MM[1]
    edge = (sharp + blunt) / 2
    steepness = 6 / (sharp - blunt)
    limits = (np.array(image.shape) - 1) * spacing
    for iteration in range(iterations):
        if iteration % 50 == 0:
            cancel.check()
        normals = _normals(points, triangles)
        toward = neighbours @ points - points
        along = np.einsum("ij,ij->i", toward, normals)
        lateral = toward - along[:, None] * normals
        length = np.mean(np.linalg.norm(points[triangles[:, 0]] - points[triangles[:, 1]], axis=1))
        curvature = 2 * np.abs(along) / length**2
        smoothing = 0.5 * (1 + np.tanh(steepness * (curvature - edge)))
        profile = _sample(image, points[:, None] - steps[None, :, None] * normals[:, None], spacing)
        darkest = np.maximum(low, np.minimum(typical, profile.min(axis=1)))
        brightest = np.minimum(typical, np.maximum(threshold, profile[:, near].max(axis=1)))
        stop = (brightest - low) * fraction + low
        push = 2 * (darkest - stop) / np.maximum(brightest - low, 1e-6)
        points += 0.5 * lateral + (smoothing * along + 0.05 * length * push)[:, None] * normals
        np.clip(points, 0, limits, out=points)
    return _inside(points, triangles, image.shape, spacing)


def _sphere(subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit icosphere: (n, 3) vertices and (m, 3) triangles with outward normals."""
    golden = (1 + 5**0.5) / 2
    corners = np.array([(s, t * golden, 0) for s in (-1, 1) for t in (-1, 1)], float)
    vertices = np.concatenate([np.roll(corners, shift, axis=1) for shift in range(3)])
    distances = np.linalg.norm(vertices[:, None] - vertices[None], axis=-1)
    adjacent = np.isclose(distances, 2.0)
    faces = (t for t in combinations(range(12), 3) if adjacent[np.ix_(t, t)].sum() == 6)
    triangles = np.array(list(faces))
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    for _ in range(subdivisions):
        edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        unique, position = np.unique(edges, axis=0, return_inverse=True)
        middles = vertices[unique].sum(axis=1)
        middles /= np.linalg.norm(middles, axis=1, keepdims=True)
        ab, bc, ca = (position.reshape(-1, 3) + len(vertices)).T
        a, b, c = triangles.T
        triangles = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
        vertices = np.concatenate([vertices, middles])
    corner = vertices[triangles]
    outward = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    inverted = np.einsum("ij,ij->i", outward, corner.mean(axis=1)) < 0
    triangles[inverted] = triangles[inverted][:, ::-1]
    return vertices, triangles


def _neighbour_mean(count: int, triangles: np.ndarray) -> sparse.csr_matrix:
    """(n, n) matrix that gives each vertex the mean of its neighbours."""
    rows = triangles[:, [0, 1, 2, 1, 2, 0]].ravel()
    columns = triangles[:, [1, 2, 0, 0, 1, 2]].ravel()
    matrix = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    matrix.data[:] = 1
    return sparse.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix


def _normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    corner = points[triangles]
    face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normals = np.zeros_like(points)
    for n in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(triangles[:, n], face[:, axis], len(points))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _sample(image: np.ndarray, points_mm: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Nearest voxel's value; beyond the image the border goes on."""
    index = np.rint(points_mm / spacing).astype(np.intp)
    np.clip(index, 0, np.array(image.shape) - 1, out=index)
    return image[index[..., 0], index[..., 1], index[..., 2]]


def _inside(points: np.ndarray, triangles: np.ndarray, shape: tuple[int, ...], spacing: np.ndarray) -> np.ndarray:
    """Voxels on and inside a closed surface: its triangles are drawn densely, then the shell is filled."""
    corner = points[triangles] / spacing
    longest = np.linalg.norm(corner - np.roll(corner, 1, axis=1), axis=2).max()
    n = int(np.ceil(longest * 2)) + 1
    u, v = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="ij")
    keep = u + v <= 1 + 1e-9
    weights = np.stack([1 - u[keep] - v[keep], u[keep], v[keep]], axis=1)
    shell = np.zeros([s + 2 for s in shape], bool)
    for part in np.array_split(corner, max(1, len(corner) * len(weights) // 2_000_000)):
        index = np.rint(np.einsum("wc,tcd->twd", weights, part)).astype(np.intp).reshape(-1, 3) + 1
        shell[tuple(index.T)] = True
    return ndimage.binary_fill_holes(shell)[1:-1, 1:-1, 1:-1]
