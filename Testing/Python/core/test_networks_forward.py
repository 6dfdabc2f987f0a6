"""The pass over the brain's box gives what the plain network gives on the whole padded volume."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ChiSepExtension.networks import layout  # noqa: E402
from ChiSepExtension.networks.dry_run import cost  # noqa: E402
from ChiSepExtension.networks.folding import fold  # noqa: E402
from ChiSepExtension.networks.forward import Slabs, forward  # noqa: E402
from ChiSepExtension.networks.regions import Region, bounding_box, empty_index, plan_regions  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402

#: Largest difference of float32 sums in another order, as part of the largest output: measured 1.0e-6.
ROUNDING = 5e-6

CPU = torch.device("cpu")


def random_unet(in_channels=1, out_channels=1, base_width=4, seed=0):
    """Network with random weights *and* random running statistics: with the initial 0 and 1, folding is no test."""
    torch.manual_seed(seed)
    unet = UNet3d(in_channels, out_channels, base_width).eval()
    for module in unet.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            with torch.no_grad():
                module.weight.uniform_(0.8, 1.6)
                module.bias.normal_(0, 0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return unet


def volume_with_box(shape, box, channels=1, seed=0):
    torch.manual_seed(seed)
    volume = torch.zeros(1, channels, *shape)
    inside = (..., *box.within(Region.whole(shape)))
    volume[inside] = torch.randn(1, channels, *box.shape)
    return volume, inside


@pytest.mark.parametrize(("roles", "parameters"), [((1, 1), 22_581_217), ((3, 2), 22_582_978)])
def test_published_width_has_the_published_number_of_parameters(roles, parameters):
    unet = UNet3d(*roles)
    assert sum(p.numel() for p in unet.parameters()) == parameters
    assert len(unet.state_dict()) == 136


def test_state_shapes_are_those_of_the_module():
    unet = UNet3d(3, 2, 6)
    assert {key: tuple(value.shape) for key, value in unet.state_dict().items()} == layout.state_shapes(3, 2, 6)


def test_whole_head_costs_what_the_method_sheet_says():
    # 2.3 T multiply-adds at 256x224x176 (method sheet, section 5).
    assert layout.multiply_adds_per_voxel(1, 1, 32) * 256 * 224 * 176 == pytest.approx(2.3e12, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "start", "stop"),
    [
        pytest.param((112, 96, 80), (40, 37, 30), (60, 55, 47), id="inside a large volume"),
        pytest.param((160, 64, 64), (0, 3, 2), (31, 48, 11), id="at one face, far from the other"),
        pytest.param((32, 48, 16), (1, 0, 2), (32, 48, 11), id="odd box over most of a small volume"),
        pytest.param((16, 16, 16), (3, 3, 3), (4, 5, 4), id="two voxels"),
        pytest.param((48, 32, 32), (0, 0, 0), (48, 32, 32), id="box is the volume"),
    ],
)
@pytest.mark.parametrize(
    "slabs",
    [
        pytest.param(Slabs(), id="one slab"),
        pytest.param(Slabs(True, 1), id="thinnest slabs"),
        pytest.param(Slabs(False, 200_000), id="recomputed skip"),
    ],
)
def test_box_result_is_that_of_the_whole_volume(shape, start, stop, slabs):
    unet, box = random_unet(2, 2), Region(start, stop)
    volume, inside = volume_with_box(shape, box, channels=2)
    with torch.inference_mode():
        expected = unet(volume)[inside]
        network = fold(unet.state_dict()).to(CPU, torch.float32, channels_last=True)
        result = forward(network, volume[inside], box, shape, slabs)
    assert (result - expected).abs().max() <= ROUNDING * expected.abs().max()


def test_dry_run_counts_the_work_that_is_done():
    box, shape, slabs = Region((5, 9, 2), (40, 41, 30)), (64, 48, 32), Slabs(True, 300_000)
    network = fold(random_unet().state_dict())
    done = []
    with torch.inference_mode():
        forward(network.to(CPU, torch.float32, True), torch.randn(1, 1, *box.shape), box, shape, slabs, done.append)
    assert cost(network, box, shape, slabs, torch.float32, True).multiply_adds == sum(done)


def test_smaller_plans_hold_less():
    box, shape = Region((8, 8, 8), (88, 72, 72)), (96, 80, 80)
    network = fold(random_unet().state_dict())
    plans = (Slabs(True, 1 << 30), Slabs(True, 1 << 20), Slabs(False, 1 << 20), Slabs(False, 1 << 18))
    held = [cost(network, box, shape, plan, torch.float32, True).feature_bytes for plan in plans]
    assert held == sorted(held, reverse=True) and held[-1] < 0.4 * held[0]


def test_held_bytes_are_the_features_that_live_at_one_time():
    box, shape = Region((16, 16, 16), (80, 80, 80)), (96, 96, 96)
    network = fold(random_unet(base_width=8).state_dict())
    held = cost(network, box, shape, Slabs(), torch.float32, True).feature_bytes
    # At the way up's last level: skip, upsampled and, twice as wide, both joined, on the box and 2 voxels around
    # it, beside level 1's features of twice the width on an eighth of the voxels (0.25), with a margin.
    assert 4.25 * 8 * 68**3 * 4 <= held <= 5.5 * 8 * 68**3 * 4


def test_regions_refuse_what_is_not_padded():
    with pytest.raises(ValueError, match="multiples of 16"):
        plan_regions((40, 32, 32), Region((0, 0, 0), (4, 4, 4)))
    with pytest.raises(ValueError, match="empty or leaves"):
        plan_regions((32, 32, 32), Region((0, 0, 0), (40, 4, 4)))


def test_bounding_box_is_tight():
    mask = np.zeros((9, 8, 7), dtype=bool)
    mask[2, 3, 4] = mask[5, 3, 6] = True
    assert bounding_box(mask) == Region((2, 3, 4), (6, 4, 7))


def test_slabs_cover_a_region_once_and_cut_at_even_voxels():
    slabs = Region((2, 0, 0), (37, 5, 5)).slabs(8)
    assert slabs[0].start[0] == 2 and slabs[-1].stop[0] == 37
    assert all(a.stop[0] == b.start[0] and a.stop[0] % 2 == 0 for a, b in zip(slabs, slabs[1:]))
    assert max(slab.shape[0] for slab in slabs) <= 10


def test_empty_volume_is_copied_from_both_faces_inward():
    assert empty_index(10, 6).tolist() == [0, 1, 2, 3, 3, 3, 3, 3, 4, 5]
    assert empty_index(6, 6).tolist() == [0, 1, 2, 3, 4, 5]
