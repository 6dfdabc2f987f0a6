"""The probe of roles on networks that learnt their task in a few seconds, not on layers set by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from scipy import fft  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402

from ChiSepExtension.errors import WeightsError  # noqa: E402
from ChiSepExtension.networks.card import Channel, ModelCard  # noqa: E402
from ChiSepExtension.networks.folding import fold  # noqa: E402
from ChiSepExtension.networks.network import Network  # noqa: E402
from ChiSepExtension.networks.probe import check_role  # noqa: E402
from ChiSepExtension.networks.published import DOCUMENTED_STATISTICS, NETWORKS  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402

SIDE = 32


def tissue(generator):
    """Random map of standard deviation 1 with detail of 1, 2 and 4 voxels."""
    values = sum(gaussian_filter(generator.standard_normal((SIDE,) * 3), s) * s**1.5 for s in (1, 2, 4))
    return (values - values.mean()) / values.std()


def dipole():
    """1/3 − kz²/k² on the k-grid of a cube, B0 along the third axis, written out."""
    k = np.meshgrid(*[fft.fftfreq(SIDE)] * 3, indexing="ij")
    squared = sum(a**2 for a in k)
    squared[0, 0, 0] = np.inf
    return 1 / 3 - k[2] ** 2 / squared


def field_and_susceptibility(generator):
    chi = tissue(generator)
    field = fft.ifftn(fft.fftn(chi) * dipole()).real
    return field / field.std(), chi


def r2star_and_r2prime(generator):
    r2prime = np.maximum(tissue(generator), -0.8)
    r2star = r2prime + 0.6 * tissue(generator)
    return r2star / r2star.std(), r2prime


def trained(pair, seed, steps=25):
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    unet = UNet3d(1, 1, 8).train()
    optimizer = torch.optim.Adam(unet.parameters(), 5e-3)
    for _ in range(steps):
        x, y = (torch.tensor(np.stack(a)[:, None], dtype=torch.float32) for a in zip(pair(generator), pair(generator)))
        optimizer.zero_grad()
        (unet(x) - y).abs().mean().backward()
        optimizer.step()
    return fold(unet.eval().state_dict())


def as_role(role, weights):
    (((taken, taken_key),), ((given, given_key),)) = NETWORKS[role]
    channels = [(Channel(n, *DOCUMENTED_STATISTICS[k]),) for n, k in ((taken, taken_key), (given, given_key))]
    return Network(ModelCard(role, weights.base_width, *channels), weights)


@pytest.fixture(scope="module", params=[1, 2], ids=["seed 1", "seed 2"])
def pair_of_networks(request):
    return trained(field_and_susceptibility, request.param), trained(r2star_and_r2prime, request.param)


def test_trained_networks_pass_in_their_own_places(pair_of_networks):
    qsm, r2prime = pair_of_networks
    check_role(as_role("qsm", qsm), "QSMnet.pth.tar")
    check_role(as_role("r2prime", r2prime), "R2PRIMEnet.pth.tar")


def test_trained_networks_are_refused_in_each_others_places(pair_of_networks):
    qsm, r2prime = pair_of_networks
    with pytest.raises(WeightsError, match="R2PRIMEnet.pth.tar does not behave like an R2"):
        check_role(as_role("r2prime", qsm), "R2PRIMEnet.pth.tar")
    with pytest.raises(WeightsError, match="QSMnet.pth.tar does not behave like a field"):
        check_role(as_role("qsm", r2prime), "QSMnet.pth.tar")


@pytest.mark.parametrize("seed", range(5))
def test_untrained_network_is_no_qsm_network(seed):
    torch.manual_seed(seed)
    with pytest.raises(WeightsError, match="does not behave like a field"):
        check_role(as_role("qsm", fold(UNet3d(1, 1, 8).eval().state_dict())), "QSMnet.pth.tar")


def test_user_who_is_sure_imports_unprobed(tmp_path, monkeypatch):
    from scipy.io import savemat

    from ChiSepExtension.cli import main
    from ChiSepExtension.networks.weight_store import list_weights

    monkeypatch.setenv("CHISEP_WEIGHTS", str(tmp_path / "store"))
    folder = tmp_path / "own"
    folder.mkdir()
    torch.manual_seed(0)
    torch.save({"state_dict": UNet3d(1, 1, 4).state_dict()}, folder / "QSMnet.pth.tar")
    numbers = {
        f"{n}_{k}": np.float32(v) for n, pair in DOCUMENTED_STATISTICS.items() for k, v in zip(("mean", "std"), pair)
    }
    savemat(folder / "xsepnet_norm_factor.mat", numbers)
    command = ["weights", "import", str(folder), "--accept-licence"]
    assert main(command) == 5 and list_weights() == []
    assert main([*command, "--no-probe"]) == 0 and [entry.name for entry in list_weights()] == ["published"]
