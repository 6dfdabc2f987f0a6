"""Networks of other layouts: the published chain, R2* in the place of R2', and starting from a trained network."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from ChiSepExtension.errors import InputError  # noqa: E402
from ChiSepExtension.networks.bundle import load_bundle, load_state  # noqa: E402
from ChiSepExtension.separation.sepnet import separate_sepnet  # noqa: E402
from ChiSepExtension.training import commands, heads  # noqa: E402
from ChiSepExtension.training.beginning import read_beginning  # noqa: E402
from ChiSepExtension.training.cards import template  # noqa: E402
from ChiSepExtension.training.stored_heads import StoredHeads  # noqa: E402
from Testing.Python.core.training_case import DR, blob_head  # noqa: E402

_SMALL = {"heads": 2, "held_out": 1, "steps": 2, "width": 2, "patch": 16, "batch": 2, "device": "cpu"}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(heads, "procedural_heads", lambda spacing_mm: blob_head)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _separated(bundle, **rates):
    made = blob_head(3)
    return separate_sepnet(
        made.maps["local_field"], made.mask, made.grid, bundle, dr_hz_per_ppm=DR, device="cpu", **rates
    )


def test_published_chain_is_trained_network_by_network_and_runs_as_one_set(tmp_path):
    shared = {**_SMALL, "layout": "published", "heads_folder": tmp_path / "heads"}
    qsm = commands.train_command("qsmnet", tmp_path / "qsm", **shared)
    chain = commands.train_command("sepnet", tmp_path / "sep", networks=qsm, **shared)
    rate = commands.train_command("r2primenet", tmp_path / "rate", networks=chain, **shared)
    networks = load_bundle(rate)
    assert set(networks.networks) == {"qsm", "r2prime", "separation"}
    assert [c.quantity for c in networks["separation"].card.inputs] == ["qsm", "local_field", "r2prime"]
    maps = _separated(rate, r2star_hz=blob_head(3).maps["r2star"] * DR)
    assert maps.method == "sepnet-r2star" and maps.r2prime_hz is not None and np.isfinite(maps.chi_dia).all()


def test_separation_of_the_chain_needs_its_qsm_network(tmp_path):
    with pytest.raises(InputError, match="--networks"):
        commands.train_command("sepnet", tmp_path, layout="published", **_SMALL)


def test_joint_network_of_r2star_runs_without_r2prime(tmp_path):
    bundle = commands.train_command("sepnet", tmp_path, relaxation="r2star", **_SMALL)
    assert "r2star" in [c.quantity for c in load_bundle(bundle)["separation"].card.inputs]
    maps = _separated(bundle, r2star_hz=blob_head(3).maps["r2star"] * DR)
    assert maps.r2prime_hz is None and maps.chi_para.max() > 0
    assert maps.parameters["r2prime"] == "not used: the network takes R2* itself"


def test_only_the_joint_separation_takes_r2star():
    for name, layout in (("qsmnet", "joint"), ("sepnet", "published")):
        with pytest.raises(InputError, match="joint separation"):
            template(name, 8, layout=layout, relaxation="r2star")


def test_network_starts_from_a_trained_one_but_for_outputs_of_another_meaning(tmp_path):
    trained = commands.train_command("sepnet", tmp_path / "first", **_SMALL)
    state = load_state(trained, "separation")
    same = read_beginning(trained, template("sepnet", 2))
    other = read_beginning(trained, template("sepnet", 2, relaxation="r2star"))
    assert set(same.state) == set(state) and not [key for key in other.state if key.startswith("out.")]
    torch.testing.assert_close(other.state["conv11.conv.weight"], state["conv11.conv.weight"])
    kept = same.keep_statistics(template("sepnet", 2))
    assert kept.inputs == same.card.inputs and kept.outputs == same.card.outputs
    replaced = other.keep_statistics(template("sepnet", 2, relaxation="r2star"))
    assert replaced.inputs[0] == other.card.inputs[0] and replaced.inputs[1].std == 1.0  # R2* was not known
    with pytest.raises(InputError, match="same layout"):
        read_beginning(trained, template("sepnet", 4))


def test_run_from_a_trained_network_differs_from_one_that_starts_anew(tmp_path):
    options = {**_SMALL, "heads_folder": tmp_path / "heads"}
    trained = commands.train_command("sepnet", tmp_path / "first", **options)
    more = commands.train_command("sepnet", tmp_path / "more", start_from=trained, **options)
    first, second = (load_state(bundle, "separation")["conv11.bn.running_var"] for bundle in (trained, more))
    assert not torch.allclose(first, second, rtol=1e-3)
    details = load_bundle(more)["separation"].card.details
    assert details["started_from"]["data"] == load_bundle(trained)["separation"].card.details["data"]
    with pytest.raises(InputError, match="start_from"):
        commands.train_command("sepnet", tmp_path / "more", **options)


def test_stored_head_is_simulated_once_and_the_same_up_to_float16(tmp_path):
    calls = []

    def source(seed, **options):
        calls.append(seed)
        return blob_head(seed)

    stored = StoredHeads(source, tmp_path, "blobs")
    first, again = stored(4), stored(4)
    made = blob_head(4)
    assert calls == [4] and first.provenance == made.provenance
    np.testing.assert_array_equal(first.mask, made.mask)
    np.testing.assert_allclose(first.grid.ijk_to_ras, made.grid.ijk_to_ras)
    for name, values in made.maps.items():
        np.testing.assert_array_equal(first.maps[name], again.maps[name])
        # Half a step of float16 is 2^-11 of the value; values down to 6e-8 ppb are exact to less.
        np.testing.assert_allclose(first.maps[name], values, rtol=5e-4, atol=1e-9)


def test_stored_heads_of_another_source_are_not_taken(tmp_path):
    assert StoredHeads(blob_head, tmp_path, "a").path(1) != StoredHeads(blob_head, tmp_path, "b").path(1)
