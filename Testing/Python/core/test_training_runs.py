"""Training in miniature: tiny networks and heads, but the same path as a real run, up to the exported bundle."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")


from ChiSepExtension.errors import InputError  # noqa: E402
from ChiSepExtension.geometry import Grid  # noqa: E402
from ChiSepExtension.networks.bundle import load_bundle  # noqa: E402
from ChiSepExtension.networks.inference import Engine  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402
from ChiSepExtension.quality.metrics import nrmse  # noqa: E402
from ChiSepExtension.separation.sepnet import separate_sepnet  # noqa: E402
from ChiSepExtension.training import commands, curves, heads, pairs  # noqa: E402
from ChiSepExtension.training.average import Average  # noqa: E402
from ChiSepExtension.training.cards import ROLES, template  # noqa: E402
from ChiSepExtension.training.checkpoint import NAME, read_checkpoint  # noqa: E402
from ChiSepExtension.training.loop import autocast_dtype, train  # noqa: E402
from ChiSepExtension.training.own_data import OwnHeads  # noqa: E402
from ChiSepExtension.training.schedule import FINAL_RATE, Schedule  # noqa: E402
from ChiSepExtension.training.validation import predict  # noqa: E402
from ChiSepExtension.volume_io import write_volume  # noqa: E402
from Testing.Python.core.training_case import (  # noqa: E402
    DR,
    PATCH,
    blob_head,
    make_case,
    run,
    run_until,
    save_network,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return make_case(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def whole(case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(case, folder, 7)


@pytest.mark.parametrize("stop", [1, 3, 4])  # step 3 is cancelled in the middle of its validation
def test_cancelled_and_continued_run_gives_the_same_bits(case, whole, tmp_path, stop):
    _, reference = whole
    run_until(case, tmp_path, stop, 7)
    assert read_checkpoint(tmp_path, reference.identity).step == stop
    continued = run(case, tmp_path, 7)
    assert continued.step == 7
    for kind in ("model", "average"):
        for key, value in getattr(reference, kind).items():
            assert torch.equal(value, getattr(continued, kind)[key]), f"{kind} {key}"
    for key, state in reference.optimizer["state"].items():
        assert torch.equal(state["exp_avg_sq"], continued.optimizer["state"][key]["exp_avg_sq"])
    wanted, found = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in r.rows] for r in (reference, continued)
    )
    assert found == wanted


def test_small_patches_are_not_trained_in_bfloat16_on_cpus():
    assert all(autocast_dtype(torch.device("cpu"), patch) is None for patch in (16, 32))


def test_finished_run_can_be_made_longer(case, tmp_path):
    run(case, tmp_path, 2)
    assert run(case, tmp_path, 2).step == 2
    assert run(case, tmp_path, 4).step == 4


def test_other_settings_do_not_continue_a_checkpoint(case, whole):
    folder, _ = whole
    card, training, held_out = case
    schedule = Schedule(7, patch=PATCH, batch=2, seed=6, learning_rate=0.01)
    with pytest.raises(InputError, match="seed"):
        train(card, training, held_out, folder, schedule, device="cpu")


def test_broken_checkpoint_is_named(case, whole, tmp_path):
    (tmp_path / NAME).write_bytes(b"half a file")
    with pytest.raises(InputError, match=NAME):
        read_checkpoint(tmp_path, whole[1].identity)


def test_log_holds_losses_scores_and_the_conventional_bar(whole):
    folder, _ = whole
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    scored = [int(row["step"]) for row in rows if row["nrmse_chi_dia"]]
    assert scored == [3, 6, 7]
    assert all(0 < float(row["bar_chi_para"]) < 100 for row in rows if row["bar_chi_para"])


def test_curves_show_lines_in_both_panels(whole):
    from PIL import Image

    picture = np.asarray(Image.open(whole[0] / "curves.png").convert("RGB")).astype(int)
    coloured = np.ptp(picture, axis=2) > 60
    middle = picture.shape[1] // 2
    assert coloured[:, :middle].sum() > 50 and coloured[:, middle:].sum() > 200


def test_tensorboard_gets_every_value_where_it_is_installed(whole, monkeypatch, tmp_path):
    written = []

    class Writer:
        def __init__(self, folder):
            assert Path(folder).parent == tmp_path

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_scalar(self, name, value, step):
            written.append((name, step))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setattr(curves, "find_spec", lambda name: name == "tensorboard" or None)
    curves.Log(tmp_path, whole[1].rows).write()
    assert ("nrmse_chi_para", 6) in written and ("loss", 3) in written
    assert "count" not in {name for name, _ in written}


def test_average_of_a_constant_network_is_that_network_with_its_statistics():
    torch.manual_seed(1)
    net = UNet3d(1, 1, 2)
    average = Average(UNet3d(1, 1, 2))
    for step in range(1, 60):
        average.update(net, step)
    # The start's share after 59 steps: product of (1 + n)/(10 + n), below 1e-6.
    for key, value in net.state_dict().items():
        torch.testing.assert_close(average.state[key], value, atol=1e-5, rtol=0)


def test_rate_rises_stays_and_falls():
    schedule = Schedule(1000, learning_rate=1.0)
    assert schedule.rate(0) == pytest.approx(1 / 50)
    assert schedule.rate(49) == schedule.rate(800) == 1.0
    assert schedule.rate(999) == pytest.approx(FINAL_RATE, abs=0.01)


def test_batch_of_one_smallest_patch_is_refused():
    with pytest.raises(InputError, match="bottom"):
        Schedule(10, patch=16, batch=1)


# Export


def test_exported_bundle_gives_the_validated_maps(case, whole, tmp_path):
    """Through files and the pipeline's own path, on the held-out head, up to float16 weights and maps."""
    card, _, (head,) = case
    save_network(tmp_path, case, whole[1])
    made = blob_head(3)
    maps = separate_sepnet(
        made.maps["local_field"],
        made.mask,
        made.grid,
        tmp_path,
        r2prime_hz=made.maps["r2prime"] * DR,
        dr_hz_per_ppm=DR,
        device="cpu",
        dtype="float32",
    )
    wanted = predict(card, whole[1].average, head, Engine("cpu", dtype="float32"))
    for got, truth in zip((maps.chi_para, maps.chi_dia), wanted):
        turned = np.moveaxis(got[:, ::-1, :], 0, -1)
        assert nrmse(turned, truth, head.mask) < 0.5  # %; float16 weights alone change maps by 0.02 %


def test_card_tells_data_schedule_hardware_scores_and_limits(case, whole, tmp_path):
    save_network(tmp_path, case, whole[1])
    card = json.loads((tmp_path / "separation.card.json").read_text(encoding="utf-8"))
    assert card["licence"] == "Apache-2.0" and "not validated in vivo" in card["training_data"]
    assert card["details"]["data"]["held_out_seeds"] == [3, 3]
    assert set(card["details"]) == {"data", "schedule", "hardware", "scores", "limits"}
    assert set(card["details"]["scores"]["nrmse_percent"]) == {"chi_para", "chi_dia"}


@pytest.mark.parametrize("name", ROLES)
def test_command_trains_every_network(name, tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "procedural_heads", lambda spacing_mm: blob_head)
    reached = []
    bundle = commands.train_command(
        name,
        tmp_path,
        heads=2,
        held_out=1,
        steps=2,
        width=2,
        patch=16,
        batch=2,
        device="cpu",
        progress=lambda fraction, message: reached.append(fraction),
    )
    assert ROLES[name] in load_bundle(bundle)
    assert reached == sorted(reached) and reached[-1] == 1.0


@pytest.fixture
def own_maps(tmp_path):
    """Five folders of maps in s⁻¹ and ppm, as ``chisep simulate`` names its truth."""
    for n in range(5):
        made = blob_head(n)
        rates = {"r2star": made.maps["r2star"] * DR, "r2prime": made.maps["r2prime"] * DR}
        named = made.maps | rates | {"brain_mask": made.mask.astype(np.uint8)}
        for name in ("local_field", "brain_mask", "chi_para", "chi_dia", *rates):
            write_volume(tmp_path / "own" / f"sub-{n}" / f"{name}.nii.gz", named[name], made.grid)
    return tmp_path / "own"


def test_own_maps_are_read_in_ppm_and_split_by_head(own_maps):
    source = OwnHeads.find(own_maps, dr_hz_per_ppm=DR)
    training, held_out = heads.split_seeds(0, source.training, source.held_out)
    assert {source(s).provenance["head"] for s in training} == {"sub-0", "sub-1", "sub-2", "sub-3"}
    read, made = source(held_out[0]), blob_head(4)
    for name, values in made.maps.items():
        wanted = made.maps["r2prime"] if name == "true_r2prime" else values  # the measured rate is its own label
        np.testing.assert_allclose(read.maps[name], wanted, atol=1e-6)


def test_own_maps_train_a_network_with_their_dr(own_maps, tmp_path):
    options = {"steps": 1, "width": 2, "patch": 16, "device": "cpu"}
    bundle = commands.train_command("r2primenet", tmp_path / "run", maps=own_maps, dr_hz_per_ppm=DR, **options)
    card = load_bundle(bundle)["r2prime"].card
    assert card.dr_hz_per_ppm == DR and card.details["data"]["heads"] == 4


def test_own_map_on_another_grid_is_named(own_maps):
    made = blob_head(0)
    shifted = made.grid.ijk_to_ras.copy()
    shifted[0, 3] += 3
    write_volume(own_maps / "sub-1" / "chi_dia.nii.gz", made.maps["chi_dia"], Grid(made.grid.shape, shifted))
    source = OwnHeads.find(own_maps)
    with pytest.raises(InputError, match="chi_dia"):
        source(next(s for s in range(100_000, 100_010) if s % source.training == 1))


def test_unknown_network_is_an_input_error():
    with pytest.raises(InputError, match="sepnet"):
        template("unet", 8)


def test_bar_of_the_separation_is_total_variation_with_smoothed_r2prime(case):
    """On blobs without noise the strong bar must be far better than a constant map."""
    _, _, (head,) = case
    for bar, truth in zip(head.maps("bar"), head.maps("truth")):
        assert nrmse(bar, truth, head.mask) < 60
    assert pairs.BAR.inversion == "total_variation"
