"""Weight files: good ones load, every kind of broken one gives a clear error and loads nothing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from scipy.io import loadmat, savemat  # noqa: E402

from ChiSepExtension.errors import WeightsError  # noqa: E402
from ChiSepExtension.networks.bundle import load_bundle, save_bundle  # noqa: E402
from ChiSepExtension.networks.card import Base, Channel, ModelCard  # noqa: E402
from ChiSepExtension.networks.published import DOCUMENTED_STATISTICS, load_published, read_state  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402

FILES = {
    "qsm": ("QSMnet.pth.tar", 1, 1),
    "r2prime": ("R2PRIMEnet.pth.tar", 1, 1),
    "separation": ("xsepnet.pth.tar", 3, 2),
}


def follows_input(along_b0, across_b0):
    """One-channel network whose answer to a slow wave is the wave times these factors, by second differences.

    The second difference of a wave of 16 voxels is −0.152 times the wave.
    """
    unet = UNet3d(1, 1, 4).eval()
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.zero_()
        for layer in unet.modules():
            if isinstance(layer, torch.nn.BatchNorm3d):
                layer.weight.fill_(1)
        b = (across_b0 - along_b0) / 0.152
        for channel, sign in enumerate((1, -1)):  # positive and negative part, past the rectifiers
            kernel = unet.conv11.conv.weight[channel, 0]
            kernel[1, 1, 1] = sign * (across_b0 - 2 * b)
            kernel[1, 1, 0] = kernel[1, 1, 2] = sign * b
            unet.conv12.conv.weight[channel, channel, 1, 1, 1] = 1
            unet.conv81.conv.weight[channel, 4 + channel, 1, 1, 1] = 1
            unet.conv82.conv.weight[channel, channel, 1, 1, 1] = 1
            unet.out.conv.weight[0, channel] = sign
    return unet.state_dict()


def write_set(folder, swap=False):
    """A plausible published set: QSMnet divides by the dipole kernel along and across B0, R2PRIMEnet by neither."""
    torch.manual_seed(0)
    states = {
        "qsm": follows_input(-1.5, 3.0),
        "r2prime": follows_input(1.0, 1.0),
        "separation": UNet3d(3, 2, 4).state_dict(),
    }
    if swap:
        states["qsm"], states["r2prime"] = states["r2prime"], states["qsm"]
    for role, (file, _, _) in FILES.items():
        torch.save({"epoch": 1, "state_dict": states[role]}, folder / file)
    numbers = {
        f"{n}_{k}": np.float32(v) for n, pair in DOCUMENTED_STATISTICS.items() for k, v in zip(("mean", "std"), pair)
    }
    savemat(folder / "xsepnet_norm_factor.mat", numbers)
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("good"))


@pytest.fixture
def copy(good, tmp_path):
    return shutil.copytree(good, tmp_path / "set")


def test_plausible_set_loads_with_cards_from_its_files(good):
    weights = load_published(good)
    card = weights["separation"].card
    assert [c.quantity for c in card.inputs] == ["qsm", "local_field", "r2prime"]
    assert [c.quantity for c in card.outputs] == ["chi_para", "chi_dia"]
    assert card.outputs[0].std == pytest.approx(0.0352641791) and card.dr_hz_per_ppm == 114
    assert set(weights["qsm"].files) == {"QSMnet.pth.tar", "xsepnet_norm_factor.mat"}


def test_sha256_of_every_file_is_recorded(good):
    import hashlib

    recorded = load_published(good, probe=False).provenance()["separation"]["sha256"]["xsepnet.pth.tar"]
    assert recorded == hashlib.sha256((good / "xsepnet.pth.tar").read_bytes()).hexdigest()


def test_swapped_twins_are_found_by_behaviour(tmp_path):
    with pytest.raises(WeightsError, match="does not behave like a field-to-susceptibility.*swapped"):
        load_published(write_set(tmp_path, swap=True))


def test_r2prime_twin_in_the_wrong_place_is_found_too(copy):
    (copy / "QSMnet.pth.tar").rename(copy / "R2PRIMEnet.pth.tar")
    with pytest.raises(WeightsError, match="does not behave like an R2"):
        load_published(copy)


def test_separation_network_in_the_place_of_qsmnet_is_found_by_shape(copy):
    shutil.copy(copy / "xsepnet.pth.tar", copy / "QSMnet.pth.tar")
    with pytest.raises(WeightsError, match="maps 3 to 2 channels.*maps 1 to 1"):
        load_published(copy)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.999])
def test_truncated_checkpoint(copy, kept):
    file = copy / "xsepnet.pth.tar"
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(WeightsError, match="xsepnet.pth.tar"):
        load_published(copy)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", bytes(4096)], ids=["empty", "web page", "zeros"])
def test_file_that_is_no_checkpoint(copy, content):
    (copy / "xsepnet.pth.tar").write_bytes(content)
    with pytest.raises(WeightsError, match="xsepnet.pth.tar"):
        load_published(copy)


class RunsCode:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def test_checkpoint_with_code_is_refused_and_the_code_not_run(copy, tmp_path):
    torch.save({"state_dict": RunsCode(tmp_path / "owned")}, copy / "xsepnet.pth.tar")
    with pytest.raises(WeightsError, match="would run code"):
        load_published(copy)
    assert not (tmp_path / "owned").exists()


def changed(folder, change, file="xsepnet.pth.tar"):
    state = torch.load(folder / file, weights_only=True)["state_dict"]
    change(state)
    torch.save({"state_dict": state}, folder / file)


def test_missing_entry_is_named(copy):
    changed(copy, lambda state: state.pop("conv52.bn.running_mean"))
    with pytest.raises(WeightsError, match="conv52.bn.running_mean"):
        load_published(copy)


def test_surplus_entry_is_named(copy):
    changed(copy, lambda state: state.update({"attention.weight": torch.zeros(3)}))
    with pytest.raises(WeightsError, match="attention.weight"):
        load_published(copy)


def test_wrong_shape_is_named(copy):
    changed(copy, lambda state: state.update({"conv31.conv.bias": torch.zeros(3)}))
    with pytest.raises(WeightsError, match="conv31.conv.bias has shape"):
        load_published(copy)


def test_values_that_are_not_numbers_are_found(copy):
    changed(copy, lambda state: state["conv12.conv.weight"].fill_(float("nan")))
    with pytest.raises(WeightsError, match="conv12.conv.weight holds values"):
        load_published(copy)


def test_only_a_leading_module_prefix_is_removed(tmp_path):
    torch.save({"state_dict": {"module.a.module.b": torch.zeros(1)}}, tmp_path / "x.pth.tar")
    assert list(read_state(tmp_path / "x.pth.tar")) == ["a.module.b"]


def test_counters_may_be_absent(copy):
    changed(copy, lambda state: [state.pop(key) for key in list(state) if key.endswith("num_batches_tracked")])
    assert "separation" in load_published(copy, probe=False)


def test_missing_normalisation_is_an_error_unless_documented_numbers_are_asked_for(copy):
    (copy / "xsepnet_norm_factor.mat").unlink()
    with pytest.raises(WeightsError, match="normalisation file"):
        load_published(copy)
    assert "separation" in load_published(copy, probe=False, use_documented_statistics=True)


@pytest.mark.parametrize(
    ("name", "value"), [("field_std", 0.0), ("x_neg_mean", np.nan), ("r2star_std", [1.0, 2.0]), ("x_pos_mean", "text")]
)
def test_unusable_normalisation_is_named(copy, name, value):
    content = {k: v for k, v in loadmat(copy / "xsepnet_norm_factor.mat").items() if not k.startswith("__")}
    savemat(copy / "xsepnet_norm_factor.mat", {**content, name: value})
    with pytest.raises(WeightsError, match=name):
        load_published(copy)


def test_damaged_normalisation_file(copy):
    file = copy / "xsepnet_norm_factor.mat"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(WeightsError, match="xsepnet_norm_factor.mat"):
        load_published(copy)


def test_empty_folder(tmp_path):
    with pytest.raises(WeightsError, match="no published checkpoints"):
        load_published(tmp_path)


def bundle_card(**changes):
    settings = {
        "role": "separation",
        "base_width": 4,
        "inputs": (
            Channel("local_field", 0.0, 0.006),
            Channel("r2prime", 0.04, 0.025),
            Channel("tkd", 0.0, 0.02, {"threshold": 0.2}),
            Channel("tikhonov", 0.0, 0.02),
        ),
        "outputs": (Channel("chi_para", 0.0, 0.02), Channel("chi_dia", 0.0, 0.02)),
        "parametrisation": "correction-to-closed-form",
        "base": Base("tikhonov", {"strength_mm2": 0.02}, r2prime_smoothing_voxels=0.5),
        "name": "example",
        "licence": "Apache-2.0",
    }
    return ModelCard(**{**settings, **changes})


@pytest.fixture
def bundle(tmp_path):
    torch.manual_seed(1)
    state = UNet3d(4, 2, 4).state_dict()
    save_bundle(tmp_path / "own", bundle_card(), state)
    return tmp_path / "own", state


def test_bundle_comes_back_with_card_and_weights(bundle):
    folder, state = bundle
    network = load_bundle(folder)["separation"]
    assert network.card.inputs[2] == Channel("tkd", 0.0, 0.02, {"threshold": 0.2})
    assert network.card.base == Base("tikhonov", {"strength_mm2": 0.02}, 0.5)
    # Weights are stored in float16: 11 bits, 0.05 % of each number.
    stored, original = network.weights.layers["out"][0], state["out.conv.weight"]
    torch.testing.assert_close(stored, original, rtol=5e-4, atol=1e-6)


def test_bundle_with_exchanged_weights_is_refused(bundle):
    folder, _ = bundle
    file = folder / "separation.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        load_bundle(folder)


def test_card_that_contradicts_the_weights_is_refused(bundle):
    folder, _ = bundle
    card = json.loads((folder / "separation.card.json").read_text())
    card["inputs"].pop()
    (folder / "separation.card.json").write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="takes 4 channels.*says 3"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "chisep-network", "format_version": 99}'],
    ids=["empty", "list", "bare", "newer"],
)
def test_unreadable_card_is_refused(bundle, text):
    folder, _ = bundle
    (folder / "separation.card.json").write_text(text)
    with pytest.raises(WeightsError, match="not a model card"):
        load_bundle(folder)


def test_missing_weights_of_a_card(bundle):
    folder, _ = bundle
    (folder / "separation.safetensors").unlink()
    with pytest.raises(WeightsError, match="are missing"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"role": "denoiser"}, "role"),
        ({"inputs": ()}, "no inputs"),
        ({"inputs": (Channel("t1w", 0, 1),)}, "t1w"),
        ({"inputs": (Channel("local_field", 0, 0),)}, "do not normalise"),
        ({"outputs": (Channel("chi_dia", 0, 1), Channel("chi_para", 0, 1))}, "outputs"),
        ({"base": None}, "corrects no base"),
        ({"dr_hz_per_ppm": -1.0}, "Dr"),
    ],
)
def test_card_that_makes_no_sense_is_refused(changes, reason):
    with pytest.raises(WeightsError, match=reason):
        bundle_card(**changes)


def test_interrupted_writing_leaves_no_file(tmp_path, monkeypatch):
    import safetensors.torch

    def fails_halfway(state, path):
        with open(path, "wb") as stream:  # noqa: PTH123
            stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(safetensors.torch, "save_file", fails_halfway)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(tmp_path, bundle_card(), UNet3d(4, 2, 4).state_dict())
    assert list(tmp_path.iterdir()) == []
