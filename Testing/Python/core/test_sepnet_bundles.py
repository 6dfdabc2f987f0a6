"""Networks of one's own: the card says what goes in and how the output becomes a map."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from scipy.ndimage import gaussian_filter  # noqa: E402

from ChiSepExtension.dipole import dipole_field  # noqa: E402
from ChiSepExtension.geometry import Grid  # noqa: E402
from ChiSepExtension.networks.card import Base, Channel, ModelCard  # noqa: E402
from ChiSepExtension.networks.folding import fold  # noqa: E402
from ChiSepExtension.networks.inference import Engine  # noqa: E402
from ChiSepExtension.networks.network import Network, NetworkSet  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402
from ChiSepExtension.separation.closed_form import closed_form  # noqa: E402
from ChiSepExtension.separation.inversion import tikhonov, tkd  # noqa: E402
from ChiSepExtension.separation.sepnet import separate_sepnet  # noqa: E402

DR = 120.0
OUTPUTS = (Channel("chi_para", 0.0, 0.02), Channel("chi_dia", 0.0, 0.02))


def silent_network(in_channels):
    """Network whose output is 0 everywhere: the pure base of a correction shows."""
    unet = UNet3d(in_channels, 2, 2).eval()
    with torch.no_grad():
        unet.out.conv.weight.zero_()
        unet.out.conv.bias.zero_()
    return fold(unet.state_dict())


class Recording(Engine):
    """Engine that keeps what the networks were given."""

    def __init__(self):
        super().__init__("cpu", dtype="float32")
        self.given = {}

    def run(self, network, channels, mask, **options):
        self.given[options["name"]] = channels
        return super().run(network, channels, mask, **options)


@pytest.fixture(scope="module")
def head():
    grid = Grid.from_spacing((30, 34, 32))
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in grid.shape)]
    mask = sum(a**2 for a in axes) < 0.8
    generator = np.random.default_rng(0)
    para, dia = (0.02 * np.abs(gaussian_filter(generator.normal(size=grid.shape), 2) * 8) for _ in range(2))
    field = dipole_field((para - dia).astype(np.float32) * mask, grid) * mask
    return grid, mask, field, (DR * (para + dia) * mask).astype(np.float32)


def in_network_order(array):
    return np.moveaxis(array[:, ::-1, :], 0, -1)


def test_channels_are_the_named_inversions_normalised_and_masked(head):
    grid, mask, field, r2prime = head
    inputs = (
        Channel("local_field", 0.001, 0.006),
        Channel("r2prime", 0.04, 0.025),
        Channel("tkd", 0.0, 0.02, {"threshold": 0.25}),
        Channel("tikhonov", 0.002, 0.03),
    )
    card = ModelCard("separation", 2, inputs, OUTPUTS, dr_hz_per_ppm=DR)
    engine = Recording()
    weights = NetworkSet("own", {"separation": Network(card, silent_network(4))})
    separate_sepnet(field, mask, grid, weights, r2prime_hz=r2prime, engine=engine)
    maps = (field, r2prime / DR, tkd(field, mask, grid, threshold=0.25), tikhonov(field, mask, grid))
    for given, channel, map_ in zip(engine.given["χ-sepnet"], inputs, maps):
        wanted = in_network_order(np.where(mask, (map_ - channel.mean) / channel.std, 0))
        np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_correction_of_nothing_is_the_closed_form(head):
    grid, mask, field, r2prime = head
    card = ModelCard(
        "separation",
        2,
        (Channel("local_field", 0.0, 0.006), Channel("r2prime", 0.04, 0.025)),
        OUTPUTS,
        parametrisation="correction-to-closed-form",
        base=Base("tikhonov", {"strength_mm2": 0.02}),
        dr_hz_per_ppm=DR,
    )
    weights = NetworkSet("own", {"separation": Network(card, silent_network(2))})
    maps = separate_sepnet(field, mask, grid, weights, r2prime_hz=r2prime, device="cpu")
    chi = tikhonov(field, mask, grid, strength_mm2=0.02)
    wanted = closed_form(chi, r2prime, mask, dr_para=DR, dr_dia=DR)
    np.testing.assert_allclose(maps.chi_para, wanted.chi_para, atol=1e-6)
    np.testing.assert_allclose(maps.chi_dia, wanted.chi_dia, atol=1e-6)
    assert maps.chi_para.any() and maps.chi_dia.any()


def test_smoothed_base_averages_inside_the_mask_only(head):
    grid, mask, field, _ = head
    card = ModelCard(
        "separation",
        2,
        (Channel("local_field", 0.0, 0.006), Channel("r2prime", 0.04, 0.025)),
        OUTPUTS,
        parametrisation="correction-to-closed-form",
        base=Base("tkd", r2prime_smoothing_voxels=1.5),
        dr_hz_per_ppm=DR,
    )
    weights = NetworkSet("own", {"separation": Network(card, silent_network(2))})
    uniform = np.where(mask, 10.0, 0).astype(np.float32)
    zero = np.zeros_like(field)
    maps = separate_sepnet(zero, mask, grid, weights, r2prime_hz=uniform, device="cpu")
    # No field: both sources are half of R2'/Dr, up to the last voxel of the rim.
    np.testing.assert_allclose(maps.chi_para[mask], 10 / DR / 2, rtol=1e-4)


def test_statistics_are_changed_between_networks_of_different_sets(head):
    grid, mask, field, r2prime = head
    qsm_card = ModelCard(
        "qsm", 2, (Channel("local_field", 0.0, 0.006),), (Channel("chi_total", 0.001, 0.02),), dr_hz_per_ppm=DR
    )
    unet = UNet3d(1, 1, 2).eval()
    with torch.no_grad():
        unet.out.conv.weight.zero_()
        unet.out.conv.bias.fill_(2.0)  # χ = 2·0.02 + 0.001 = 0.041 ppm everywhere
    card = ModelCard(
        "separation",
        2,
        (Channel("qsm", 0.011, 0.03), Channel("r2prime", 0.04, 0.025)),
        OUTPUTS,
        dr_hz_per_ppm=DR,
    )
    engine = Recording()
    networks = {"qsm": Network(qsm_card, fold(unet.state_dict())), "separation": Network(card, silent_network(2))}
    maps = separate_sepnet(field, mask, grid, NetworkSet("two", networks), r2prime_hz=r2prime, engine=engine)
    given = engine.given["χ-sepnet"][0]
    np.testing.assert_allclose(given[in_network_order(mask)], 1.0, atol=1e-5)  # (0.041 − 0.011)/0.03
    np.testing.assert_allclose(maps.qsm_ppm[mask], 0.041, atol=1e-6)


def test_generalised_qsm_keeps_the_inputs_voxels_and_runs_27_times(head):
    grid = Grid.from_spacing((24, 26, 28), (0.8, 0.8, 0.8))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[3:-3, 3:-3, 3:-3] = True
    field = (0.01 * mask).astype(np.float32)
    qsm_card = ModelCard("qsm", 2, (Channel("local_field", 0.0, 0.006),), (Channel("chi_total", 0.0, 0.02),))
    card = ModelCard("separation", 2, (Channel("qsm", 0.0, 0.03), Channel("r2prime", 0.04, 0.025)), OUTPUTS)
    networks = {
        "qsm": Network(qsm_card, fold(UNet3d(1, 1, 2).eval().state_dict())),
        "separation": Network(card, silent_network(2)),
    }
    engine = Engine("cpu", dtype="float32")
    maps = separate_sepnet(
        field,
        mask,
        grid,
        NetworkSet("two", networks),
        r2prime_hz=500 * field,
        resolution="generalise",
        engine=engine,
    )
    assert [report.network for report in engine.reports].count("QSMnet") == 27
    assert maps.qsm_ppm.shape == grid.shape and maps.qsm_ppm[mask].any() and not maps.qsm_ppm[~mask].any()
