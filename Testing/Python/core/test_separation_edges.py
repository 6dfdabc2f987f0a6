"""Where tissue borders are, what smoothing along them does, and how noisy a map is."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.separation.edges import Edges, edge_weight, find_edges, mask_borders
from ChiSepExtension.separation.noise import noise_level
from ChiSepExtension.separation.numpy_engine import NumpyEngine
from ChiSepExtension.separation.torch_engine import TorchEngine


def edge_case(shape, seed=6):
    """Random weights, and unit normals in half of the voxels, 0 in the others."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((3, *shape))
    normal *= (rng.random(shape) < 0.5) / np.linalg.norm(normal, axis=0)
    return Edges(*(rng.random(shape).astype(np.float32) for _ in range(2)), normal.astype(np.float32))


def test_step_along_edges_is_the_minimum_of_its_penalty():
    """Against random other gradients, in float64: ½|u − t|² + λ(a·|u along| + e·|u across|), over two maps at once."""
    rng = np.random.default_rng(7)
    shape, threshold = (4, 5, 6), 0.8
    engine, edges = NumpyEngine(shape, (2.0, 1.0, 0.7)), edge_case(shape)
    maps = [rng.standard_normal(shape).astype(np.float32) for _ in range(2)]
    duals, rights = [[np.zeros((3, *shape), np.float32) for _ in range(2)] for _ in range(2)]
    engine.shrink_along_edges(maps, duals, rights, threshold, edges)
    target = np.stack([engine.gradient(m) for m in maps]).astype(float)
    found = np.stack(rights) + np.stack(duals)  # right is u − s

    def cost(u):
        over = (u * edges.normal).sum(1, keepdims=True)
        along = np.sqrt(((u - over * edges.normal) ** 2).sum((0, 1)))
        across = np.sqrt((over**2).sum((0, 1)))
        return 0.5 * ((u - target) ** 2).sum((0, 1)) + threshold * (edges.along * along + edges.across * across)

    least = cost(found)
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(50):
            assert (cost(found + scale * rng.standard_normal(found.shape)) >= least - 1e-6).all()
    assert (least < cost(target) - 1e-3).mean() > 0.9


def test_step_along_edges_is_the_same_in_torch():
    pytest.importorskip("torch")
    rng = np.random.default_rng(8)
    shape, spacing = (7, 8, 9), (2.0, 1.0, 0.7)
    maps = [rng.standard_normal(shape).astype(np.float32) for _ in range(2)]
    start, results = rng.standard_normal((2, 3, *shape)).astype(np.float32), []
    for engine in (NumpyEngine(shape, spacing), TorchEngine(shape, spacing, "cpu")):
        edges = edge_case(shape)
        edges = Edges(*(engine.array(a) for a in (edges.along, edges.across, edges.normal)))
        duals = [engine.array(s.copy()) for s in start]
        rights = [engine.zeros(3) for _ in maps]
        engine.shrink_along_edges([engine.array(m) for m in maps], duals, rights, 0.3, edges)
        results.append([engine.to_numpy(a) for a in duals + rights])
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)


def test_edges_of_a_ball_point_outward_and_weigh_little():
    shape = (30, 30, 30)
    axes = np.meshgrid(*[np.arange(30) - 14.5] * 3, indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    mask = radius < 14
    image = (1 / (1 + np.exp(2 * (radius - 8)))).astype(np.float32) * mask
    edges = find_edges([(image, 0.5)], mask, mask_borders(mask), NumpyEngine(shape, (1.0, 1.0, 1.0)))
    rim = np.abs(radius - 8) < 0.5
    outward = np.abs(sum(n * a for n, a in zip(edges.normal, axes)) / radius)[rim]
    # Forward differences look half a voxel ahead: 8° at this radius.
    assert np.median(outward) > 0.98 and edges.across[rim].max() < 0.2
    assert edges.across[radius < 3].min() > 0.9 and (edges.along[rim] == 1).all()


def test_differences_across_the_border_of_the_mask_weigh_nothing():
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[3:9, 3:9, 3:9] = True
    edges = find_edges([], mask, mask_borders(mask), NumpyEngine(mask.shape, (1.0, 1.0, 1.0)))
    # In the middle of a face: free across it, smoothed along it; at a corner of the mask: free.
    assert edges.normal[:, 8, 5, 5].tolist() == [1, 0, 0]
    assert edges.along[8, 5, 5] == 1 and edges.across[8, 5, 5] == 0
    assert edges.along[8, 8, 5] == 0 and edges.across[5, 5, 5] == 1 == edges.across[0, 0, 0]


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_noise_of_a_map_is_found_beside_its_structure(sigma):
    z, y, x = np.meshgrid(*[np.arange(40) - 19.5] * 3, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    map_ = 6.0 + 10.0 * (np.abs(x - 8) + np.abs(y) + np.abs(z) < 8) - 6.0 * (radius < 4)
    found = noise_level(map_ + sigma * np.random.default_rng(0).standard_normal(map_.shape), radius < 18)
    # 22 000 voxels know a median to 1 %; the rest is the edges' share, which makes it an upper estimate.
    assert 0.97 * sigma < found < 1.15 * sigma


def test_noise_of_a_smooth_map_is_none():
    z, y, x = np.meshgrid(*[np.arange(30.0)] * 3, indexing="ij")
    wave = np.cos(2 * np.pi * x / 12) * np.cos(2 * np.pi * y / 12) * np.cos(2 * np.pi * z / 12)
    assert noise_level(wave, np.ones(wave.shape, dtype=bool)) < 1e-3
    assert np.isnan(noise_level(wave, x == 3))


def test_edge_weight_is_low_at_an_edge_and_one_where_flat():
    step = np.zeros((20, 20, 20), np.float32)
    step[:, :, 10:] = 1
    mask = np.ones(step.shape, dtype=bool)
    mask[:, :, -3:] = mask[:, :, :3] = False  # the wrap-around of the periodic gradient lies outside
    weight = edge_weight([step], mask, (1.0, 1.0, 1.0), smooth_fraction=0.9)
    assert weight[:, :, 9].max() < 0.55 and weight[:, :, 5].min() > 0.99
