"""The networks see the head in their own order, whatever order, tilt and voxel size the images have."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

torch = pytest.importorskip("torch", reason="torch is not installed")

from ChiSepExtension.errors import InputError  # noqa: E402
from ChiSepExtension.geometry import Grid  # noqa: E402
from ChiSepExtension.networks.card import Channel, ModelCard  # noqa: E402
from ChiSepExtension.networks.folding import fold  # noqa: E402
from ChiSepExtension.networks.inference import Engine  # noqa: E402
from ChiSepExtension.networks.network import Network, NetworkSet  # noqa: E402
from ChiSepExtension.networks.orientation import from_network, needs_resampling, to_network, trained_grid  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402
from ChiSepExtension.separation.sepnet import separate_sepnet  # noqa: E402

#: Semi-axes of the head in mm, to the right, front and up: small, but of three different lengths.
HEAD_MM = np.array([15.0, 19.0, 13.0])


def separation_card():
    return ModelCard(
        role="separation",
        base_width=4,
        inputs=(Channel("local_field", 0.0, 0.01), Channel("r2prime", 0.05, 0.05)),
        outputs=(Channel("chi_para", 0.03, 0.03), Channel("chi_dia", 0.03, 0.03)),
    )


def random_network(seed=0):
    """Random weights: what it computes depends on direction and position in every way a network can."""
    torch.manual_seed(seed)
    unet = UNet3d(2, 2, 4).eval()
    for module in unet.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_var.uniform_(0.2, 0.4)
    return NetworkSet("random", {"separation": Network(separation_card(), fold(unet.state_dict()))})


def local_network(rise=0):
    """χpara and χdia are smooth functions of the values ``rise`` voxels further up (0 or 4): nothing else counts.

    Normalised: χpara (f + r)/2, χdia (r − f)/2.
    """
    up = (1, 1, 2 if rise else 1)
    unet = UNet3d(2, 2, 4).eval()
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.zero_()
        for layer in unet.modules():
            if isinstance(layer, torch.nn.BatchNorm3d):
                layer.weight.fill_(1)
        offset = 4.0  # keeps the values positive through the rectifiers
        for channel in range(2):
            unet.conv11.conv.weight[(channel, channel, *up)] = 1
            unet.conv11.conv.bias[channel] = offset
            unet.conv12.conv.weight[(channel, channel, *up)] = 1
            unet.conv81.conv.weight[(channel, 4 + channel, *up)] = 1
            unet.conv82.conv.weight[(channel, channel, *up)] = 1
        unet.out.conv.weight[0, :2, 0, 0, 0] = torch.tensor([0.5, 0.5])
        unet.out.conv.weight[1, :2, 0, 0, 0] = torch.tensor([-0.5, 0.5])
        unet.out.conv.bias[0] = -offset
    return NetworkSet("local", {"separation": Network(separation_card(), fold(unet.state_dict()))})


def head_on(grid, rise=0):
    """Analytic head sampled on a grid, or ``rise`` mm above it: field in ppm, R2' in 1/s, mask; no detail < 15 mm."""
    x, y, z = np.moveaxis(grid.index_to_ras(np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0)
    z = z + rise
    mask = (x / HEAD_MM[0]) ** 2 + (y / HEAD_MM[1]) ** 2 + (z / HEAD_MM[2]) ** 2 < 1
    field = 0.008 * np.sin(0.30 * x + 0.21 * y - 0.17 * z) + 0.004 * np.cos(0.4 * z + 0.1 * x)
    r2prime = 8 + 4 * np.cos(0.26 * y + 0.12 * x) * np.cos(0.22 * z)
    return (field * mask).astype(np.float32), (r2prime * mask).astype(np.float32), mask


def stored_as(array, grid, order, flips):
    """The same image with its axes stored in another order and direction."""
    turned = np.flip(np.transpose(array, order), [n for n, flip in enumerate(flips) if flip])
    ijk = np.zeros((4, 4))
    ijk[3, 3] = 1
    for n, (source, flip) in enumerate(zip(order, flips)):  # array axes; ijk is their reverse
        ijk[2 - source, 2 - n] = -1 if flip else 1
        ijk[2 - source, 3] = array.shape[source] - 1 if flip else 0
    return np.ascontiguousarray(turned), Grid(turned.shape, grid.ijk_to_ras @ ijk)


def separate(weights, grid, **options):
    field, r2prime, mask = head_on(grid)
    engine = Engine("cpu", dtype="float32")
    return separate_sepnet(field, mask, grid, weights, r2prime_hz=r2prime, engine=engine, **options), mask


def rotation(axis, degrees):
    """Rotation matrix about a RAS axis."""
    a, c, s = np.radians(degrees), np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = [n for n in range(3) if n != axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = c
    matrix[first, second], matrix[second, first] = -s, s
    assert a != 0
    return matrix


def test_network_order_is_front_to_back_left_to_right_down_to_up():
    z, y, x = np.indices((4, 5, 6))  # z up, y to the front, x to the right
    turned = {name: to_network(index) for name, index in (("x", x), ("y", y), ("z", z))}
    assert turned["y"][:, 0, 0].tolist() == [4, 3, 2, 1, 0]
    assert turned["x"][0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert turned["z"][0, 0, :].tolist() == [0, 1, 2, 3]


def test_network_order_is_undone_exactly():
    array = np.random.default_rng(0).normal(size=(2, 4, 5, 6))
    assert np.array_equal(from_network(to_network(array)), array)


EIGHT = list(zip(list(permutations(range(3))) * 2, list(product((False, True), repeat=3))))


@pytest.mark.parametrize(("order", "flips"), EIGHT)
def test_eight_storage_orders_give_the_same_bits(order, flips):
    weights, grid = random_network(), Grid.from_spacing((32, 44, 36))
    expected, _ = separate(weights, grid)
    field, r2prime, mask = head_on(grid)
    (f, other), (r, _), (m, _) = (stored_as(a, grid, order, flips) for a in (field, r2prime, mask))
    maps = separate_sepnet(f, m, other, weights, r2prime_hz=r, engine=Engine("cpu", dtype="float32"))
    wanted, _ = stored_as(expected.chi_para, grid, order, flips)
    assert np.array_equal(maps.chi_para, wanted)
    assert not maps.parameters["geometry"]["resampled"]


@pytest.mark.parametrize("axis", [pytest.param(0, id="nodding"), pytest.param(1, id="leaning")])
def test_oblique_by_20_degrees_gives_the_analytic_map_on_the_oblique_grid(axis):
    grid = Grid.from_spacing((44, 52, 48), rotation=rotation(axis, 20))
    field, r2prime, mask = head_on(grid)
    maps, _ = separate(local_network(), grid)
    # What the local network computes without any grid: 0.03 + 0.03 (±f/2 + r/2), f and r normalised.
    f, r = field / 0.01, (r2prime / 114 - 0.05) / 0.05
    assert maps.parameters["geometry"]["resampled"]
    for result, expected in ((maps.chi_para, f + r), (maps.chi_dia, r - f)):
        wanted = np.where(mask, np.maximum(0.03 + 0.015 * expected, 0), 0)
        error = np.abs(result - wanted)[mask]
        # There and back by interpolation; at the rim the map is continued by nearest values.
        assert np.median(error) <= 1e-4 and np.percentile(error, 99) <= 2e-3


@pytest.mark.parametrize("axis", [0, 1])
def test_networks_look_along_b0_in_an_oblique_scan(axis):
    # A network that answers with what lies 4 voxels further along its third axis. Without the rotation it would look
    # 4·sin 20° = 1.4 mm past the place.
    grid = Grid.from_spacing((44, 52, 48), rotation=rotation(axis, 20))
    maps, mask = separate(local_network(rise=4), grid)
    field, r2prime, above = head_on(grid, rise=4)
    f, r = field / 0.01, (r2prime / 114 - 0.05) / 0.05
    deep = binary_erosion(mask & above, iterations=2)
    wanted = np.maximum(0.03 + 0.015 * (f + r), 0)
    error = np.abs(maps.chi_para - wanted)[deep]
    assert np.median(error) <= 1e-4 and np.percentile(error, 99) <= 1e-3
    assert wanted[deep].std() > 5e-3


@pytest.mark.parametrize("spacing", [(2.0, 0.8, 0.8), (0.7, 0.7, 0.7), (1.3, 1.0, 1.2)])
def test_other_voxel_sizes_come_back_on_their_own_grid(spacing):
    shape = tuple(int(np.ceil(44 / s)) + 1 for s in spacing)
    grid = Grid.from_spacing(shape, spacing)
    field, r2prime, mask = head_on(grid)
    maps, _ = separate(local_network(), grid)
    f, r = field / 0.01, (r2prime / 114 - 0.05) / 0.05
    wanted = np.where(mask, np.maximum(0.03 + 0.015 * (f + r), 0), 0)
    error = np.abs(maps.chi_para - wanted)[mask]
    assert maps.chi_para.shape == shape and not maps.chi_para[~mask].any()
    assert np.median(error) <= 3e-4 and np.percentile(error, 99) <= 4e-3


def test_nearly_straight_and_nearly_1_mm_is_not_resampled():
    assert not needs_resampling(Grid.from_spacing((9, 9, 9), (1.0, 0.9766, 0.9766)))
    assert not needs_resampling(Grid.from_spacing((9, 9, 9), rotation=rotation(0, 1.0)))
    assert needs_resampling(Grid.from_spacing((9, 9, 9), (1.0, 0.9, 1.0)))
    assert needs_resampling(Grid.from_spacing((9, 9, 9), rotation=rotation(1, 2.0)))


def test_rotation_about_b0_is_left_alone():
    # The network was trained with heads turned in this plane; B0 stays where it was.
    grid = Grid.from_spacing((20, 20, 20), rotation=rotation(2, 15))
    assert not needs_resampling(trained_grid(grid, np.ones(grid.shape, bool)).working)


def test_resampled_grid_has_b0_along_its_last_network_axis():
    grid = Grid.from_spacing((30, 30, 30), (2.0, 1.5, 0.8), rotation(0, 25))
    way = trained_grid(grid, np.ones(grid.shape, dtype=bool))
    assert way.working.spacing_mm == (1.0, 1.0, 1.0)
    np.testing.assert_allclose(way.working.b0_direction, [1, 0, 0], atol=1e-12)


def test_generalised_resolution_refuses_a_tilted_scan():
    card = ModelCard("qsm", 4, (Channel("local_field", 0, 0.01),), (Channel("chi_total", 0, 0.03),))
    qsm = Network(card, fold(UNet3d(1, 1, 4).eval().state_dict()))
    separation = ModelCard(
        role="separation",
        base_width=4,
        inputs=(Channel("qsm", 0.0, 0.03), Channel("r2prime", 0.05, 0.05)),
        outputs=(Channel("chi_para", 0.03, 0.03), Channel("chi_dia", 0.03, 0.03)),
    )
    weights = NetworkSet(
        "two", {"qsm": qsm, "separation": Network(separation, fold(UNet3d(2, 2, 4).eval().state_dict()))}
    )
    with pytest.raises(InputError, match="tilted by 20"):
        separate(weights, Grid.from_spacing((44, 52, 48), rotation=rotation(0, 20)), resolution="generalise")


@pytest.mark.parametrize(
    ("spacing", "field_strength_t", "warned"),
    [
        ((1.0, 1.0, 1.0), 2.89, []),
        ((1.0, 1.0, 1.0), 7.0, ["trained at 3 T, the scan is of 7 T"]),
        ((2.0, 1.0, 1.0), None, ["Voxels of 2 mm are larger"]),
        ((0.7, 0.7, 0.7), 3.0, ["averaged to 1 mm"]),
    ],
)
def test_cases_beyond_the_training_are_warned_about(spacing, field_strength_t, warned):
    grid = Grid.from_spacing(tuple(int(30 / s) for s in spacing), spacing)
    maps, _ = separate(local_network(), grid, field_strength_t=field_strength_t)
    found = maps.parameters["warnings"]
    assert len(found) == len(warned) and all(part in text for part, text in zip(warned, found))
