"""Every separation method through the same front door."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.errors import WeightsError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.options import Options
from ChiSepExtension.pipeline import run
from Testing.Python.core.simple_head import SimpleHead


@pytest.fixture(scope="module")
def head() -> SimpleHead:
    return SimpleHead(Grid.from_spacing((44, 46, 48)))


def published_weights(folder):
    """Random networks in the published layout with the published kind of normalisation file."""
    torch = pytest.importorskip("torch", reason="the networks need torch")
    from scipy.io import savemat

    from ChiSepExtension.networks.unet import UNet3d

    torch.manual_seed(0)
    for name, channels_in, channels_out in (("QSMnet", 1, 1), ("R2PRIMEnet", 1, 1), ("xsepnet", 3, 2)):
        state = UNet3d(channels_in, channels_out, 4).state_dict()
        torch.save({"epoch": 1, "state_dict": state}, folder / f"{name}.pth.tar")
    names = ("cosmos_sus", "field", "r2prime", "r2star", "x_pos", "x_neg")
    statistics = {f"{name}_{kind}": value for name in names for kind, value in (("mean", 0.02), ("std", 0.04))}
    savemat(folder / "xsepnet_norm_factor.mat", statistics)
    return folder


def test_the_iterative_method_follows_the_truth_and_reports_its_convergence(head):
    result = run(head.scan(), Options(method="iterative"), given=head.given())
    inside = result.mask
    for name in ("chi_para", "chi_dia"):
        assert np.corrcoef(getattr(result, name)[inside], getattr(head, name)[inside])[0, 1] > 0.8, name
    assert "iterations" in result.provenance["findings"]["separation"]["convergence"]


@pytest.mark.parametrize(
    ("options", "least"),
    # R2*-QSM takes R2 (14 s⁻¹ here) for sources: right in place, biased in size.
    [
        ({"method": "least-squares"}, 0.7),
        ({"method": "r2star-qsm"}, 0.7),
        ({"qsm": "medi"}, 0.8),
        ({"qsm": "tkd"}, 0.7),
    ],
)
def test_every_other_choice_finds_the_iron(head, options, least):
    result = run(head.scan(), Options(**options), given=head.given())
    inside = result.mask
    assert np.corrcoef(result.chi_para[inside], head.chi_para[inside])[0, 1] > least


@pytest.mark.parametrize("method", ["sepnet-r2prime", "sepnet-r2star"])
def test_networks_run_from_the_users_own_files_and_their_hashes_are_kept(head, tmp_path, monkeypatch, method):
    monkeypatch.setenv("CHISEP_WEIGHTS", str(tmp_path / "store"))
    folder = published_weights(tmp_path)
    from ChiSepExtension.networks.commands import weights_accept_licence

    weights_accept_licence()
    result = run(head.scan(), Options(method=method, weights=str(folder), device="cpu"), given=head.given())
    assert result.chi_para.shape == head.grid.shape and result.chi_para.min() >= 0
    assert not result.chi_para[~result.mask].any() and result.chi_para.any()
    import hashlib

    expected = hashlib.sha256((folder / "xsepnet.pth.tar").read_bytes()).hexdigest()
    assert expected in str(result.provenance["findings"]["separation"])
    predicted = result.provenance["findings"]["r2prime"]
    assert predicted["measured"] is (method == "sepnet-r2prime")


def test_networks_without_weights_say_how_to_get_them(head, tmp_path, monkeypatch):
    monkeypatch.setenv("CHISEP_WEIGHTS", str(tmp_path / "empty"))
    monkeypatch.setattr("ChiSepExtension.networks.weight_store.SHIPPED", tmp_path / "nothing")
    with pytest.raises(WeightsError, match="chisep weights import"):
        run(head.scan(), Options(method="sepnet-r2star"), given=head.given())
