"""The store of weights: import, list, verify, remove, and the licence that is accepted once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from scipy.io import savemat  # noqa: E402

from ChiSepExtension.errors import WeightsError  # noqa: E402
from ChiSepExtension.networks import commands, weight_store  # noqa: E402
from ChiSepExtension.networks.bundle import save_bundle  # noqa: E402
from ChiSepExtension.networks.card import Channel, ModelCard  # noqa: E402
from ChiSepExtension.networks.published import DOCUMENTED_STATISTICS  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setattr(weight_store, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("CHISEP_WEIGHTS", str(folder))
    return folder


@pytest.fixture
def bundle(tmp_path):
    card = ModelCard(
        role="separation",
        base_width=2,
        inputs=(Channel("local_field", 0.0, 0.01), Channel("r2prime", 0.05, 0.05)),
        outputs=(Channel("chi_para", 0.03, 0.03), Channel("chi_dia", 0.03, 0.03)),
        licence="Apache-2.0",
    )
    save_bundle(tmp_path / "own-net", card, UNet3d(2, 2, 2).state_dict())
    return tmp_path / "own-net"


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "download"
    folder.mkdir()
    torch.save({"epoch": 1, "state_dict": UNet3d(3, 2, 2).state_dict()}, folder / "xsepnet.pth.tar")
    numbers = {
        f"{n}_{k}": np.float32(v) for n, pair in DOCUMENTED_STATISTICS.items() for k, v in zip(("mean", "std"), pair)
    }
    savemat(folder / "xsepnet_norm_factor.mat", numbers)
    return folder


def test_nothing_installed(store):
    assert commands.weights_list() == {"folder": str(store), "weights": [], "shipped": []}
    with pytest.raises(WeightsError, match="No weights are installed"):
        weight_store.find_weights()


def test_imported_bundle_is_listed_verified_and_found(bundle, store):
    commands.weights_import(bundle)
    (entry,) = commands.weights_list()["weights"]
    assert (entry["name"], entry["kind"], entry["roles"]) == ("own-net", "bundle", ["separation"])
    assert entry["size_bytes"] > 10_000 and entry["licence"] == "Apache-2.0"
    assert commands.weights_verify() == [{"name": "own-net", "problems": []}]
    assert weight_store.find_weights() == weight_store.find_weights("own-net") == store / "own-net"


def test_changed_and_missing_files_are_found(bundle, store):
    commands.weights_import(bundle)
    (store / "own-net" / "separation.safetensors").write_bytes(b"other")
    (store / "own-net" / "separation.card.json").unlink()
    (report,) = commands.weights_verify("own-net")
    assert sorted(report["problems"]) == [
        "separation.card.json is missing",
        "separation.safetensors has changed since it was imported",
    ]


def test_removed_weights_are_gone(bundle, store):
    commands.weights_import(bundle)
    commands.weights_remove("own-net")
    assert commands.weights_list()["weights"] == [] and not (store / "own-net").exists()
    with pytest.raises(WeightsError, match="No weights called"):
        commands.weights_remove("own-net")


def test_name_cannot_lead_out_of_the_store(bundle):
    with pytest.raises(WeightsError, match="cannot be the name"):
        commands.weights_import(bundle, name="../elsewhere")


def test_taken_name_is_refused(bundle):
    commands.weights_import(bundle)
    with pytest.raises(WeightsError, match="installed already"):
        commands.weights_import(bundle)


def test_broken_weights_leave_nothing_behind(bundle, store):
    (bundle / "separation.safetensors").write_bytes(b"broken")
    with pytest.raises(WeightsError, match="SHA-256"):
        commands.weights_import(bundle)
    assert not store.exists() or list(store.iterdir()) == []


def test_interrupted_import_leaves_nothing_behind(bundle, store, monkeypatch):
    def stops(source, target):
        Path(target).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(weight_store.shutil, "copyfile", stops)
    with pytest.raises(KeyboardInterrupt):
        commands.weights_import(bundle)
    assert list(store.iterdir()) == []


def test_killed_import_leaves_no_set_and_the_next_one_works(bundle, store):
    code = (
        "import os, shutil, sys; from ChiSepExtension.networks import weight_store; "
        "shutil.copyfile = lambda a, b: (open(b, 'wb').write(b'half'), os._exit(9)); "
        "weight_store.import_weights(sys.argv[1])"
    )
    root = Path(__file__).resolve().parents[3]
    child = subprocess.run([sys.executable, "-c", code, str(bundle)], cwd=root, env=dict(os.environ), check=False)
    assert child.returncode == 9
    assert commands.weights_list()["weights"] == []
    (leftover,) = store.iterdir()
    os.utime(leftover, (0, 0))  # left behind long ago
    commands.weights_import(bundle)
    assert [path.name for path in store.iterdir()] == ["own-net"]


def test_published_weights_need_the_licence_accepted_once(published):
    with pytest.raises(WeightsError, match="licence"):
        commands.weights_import(published)
    assert not commands.weights_licence()["accepted"] and commands.weights_list()["weights"] == []
    commands.weights_import(published, accept_licence=True)
    assert commands.weights_licence()["accepted"]
    commands.weights_import(published, name="second")
    assert [entry["name"] for entry in commands.weights_list()["weights"]] == ["published", "second"]


def test_published_weights_in_the_users_own_folder_need_the_licence_too(published):
    with pytest.raises(WeightsError, match="has not been accepted"):
        weight_store.find_weights(published)
    weight_store.accept_published_licence()
    assert weight_store.find_weights(published) == published


def test_acceptance_of_other_terms_does_not_count(store):
    weight_store.accept_published_licence()
    (store / "licence-accepted.json").write_text('{"terms": "something else"}')
    assert not weight_store.licence_accepted()


def test_several_sets_need_a_choice(bundle):
    for name in ("one", "two"):
        commands.weights_import(bundle, name=name)
    with pytest.raises(WeightsError, match="one, two"):
        weight_store.find_weights()


def test_shipped_bundle_is_used_until_something_is_installed(bundle, store, tmp_path):
    shutil.copytree(bundle, tmp_path / "shipped" / "simulated-1")
    assert weight_store.find_weights() == tmp_path / "shipped" / "simulated-1"
    commands.weights_import(bundle)
    assert weight_store.find_weights() == store / "own-net"
    assert weight_store.find_weights("simulated-1") == tmp_path / "shipped" / "simulated-1"


def test_shipped_bundle_of_the_methods_name_is_taken(bundle, tmp_path):
    for name in ("sepnet-r2prime", "sepnet-r2star"):
        shutil.copytree(bundle, tmp_path / "shipped" / name)
        assert weight_store.find_weights(method=name).name == name
    assert weight_store.find_weights(method="sepnet-r2prime").name == "sepnet-r2prime"
    assert commands.weights_list()["shipped"] == ["sepnet-r2prime", "sepnet-r2star"]


def test_folder_without_weights_says_what_belongs_there(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="QSMnet.pth.tar"):
        weight_store.find_weights(tmp_path / "empty")


def test_listing_weights_and_devices_imports_no_torch():
    code = (
        "import sys; from ChiSepExtension.networks import commands, devices; commands.weights_list(); "
        "from ChiSepExtension.separation import sepnet; sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    child = subprocess.run([sys.executable, "-c", code], cwd=root, env=dict(os.environ), check=False)
    assert child.returncode == 0


def test_without_torch_the_remedy_is_named(bundle):
    code = (
        "import sys; sys.modules['torch'] = None; from ChiSepExtension.errors import InputError\n"
        "from ChiSepExtension.networks.loading import load_weights\n"
        "try: load_weights(sys.argv[1])\n"
        "except InputError as error: sys.exit('PyTorch extension' not in str(error))"
    )
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", code, str(bundle)]
    assert subprocess.run(command, cwd=root, check=False).returncode == 0
