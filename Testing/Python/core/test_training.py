"""Training in miniature: tiny networks and heads, but the same path as a real run."""

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

from scipy.ndimage import gaussian_filter  # noqa: E402

from ChiSepExtension.dipole import dipole_field  # noqa: E402
from ChiSepExtension.errors import Cancelled, InputError  # noqa: E402
from ChiSepExtension.geometry import Grid  # noqa: E402
from ChiSepExtension.networks.bundle import load_bundle  # noqa: E402
from ChiSepExtension.networks.inference import Engine, choose_device  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402
from ChiSepExtension.progress import NEVER, CancelToken  # noqa: E402
from ChiSepExtension.quality.metrics import nrmse  # noqa: E402
from ChiSepExtension.separation.sepnet import separate_sepnet  # noqa: E402
from ChiSepExtension.training import commands, curves, heads, pairs  # noqa: E402
from ChiSepExtension.training.average import Average  # noqa: E402
from ChiSepExtension.training.cards import ROLES, template  # noqa: E402
from ChiSepExtension.training.checkpoint import NAME, read_checkpoint  # noqa: E402
from ChiSepExtension.training.export import export_bundle  # noqa: E402
from ChiSepExtension.training.loop import autocast_dtype, train  # noqa: E402
from ChiSepExtension.training.losses import LossWeights, masked_loss  # noqa: E402
from ChiSepExtension.training.own_data import OwnHeads  # noqa: E402
from ChiSepExtension.training.pairs import Patches, fill_statistics, prepare_head  # noqa: E402
from ChiSepExtension.training.schedule import FINAL_RATE, Schedule  # noqa: E402
from ChiSepExtension.training.validation import predict  # noqa: E402
from ChiSepExtension.volume_io import write_volume  # noqa: E402

DR = 120.0
SHAPE = (30, 36, 34)
WIDTH, PATCH = 4, 16


def blob_head(seed, *, progress=None, cancel=NEVER):
    """Smooth sources in an ellipsoid, through the same step to the networks' grid as a simulated head."""
    cancel.check()
    grid = Grid.from_spacing(SHAPE)
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in SHAPE)]
    mask = sum(a**2 for a in axes) < 0.8
    generator = np.random.default_rng(seed)
    para, dia = (0.02 * np.abs(gaussian_filter(generator.normal(size=SHAPE), 1.5) * 6) * mask for _ in range(2))
    rate = para + dia
    maps = {
        "local_field": dipole_field((para - dia).astype(np.float32), grid),
        "r2star": rate + 0.11,
        "r2prime": rate + 0.001 * generator.normal(size=SHAPE),
        "chi_para": para,
        "chi_dia": dia,
        "true_r2prime": rate,
    }
    return heads.on_working_grid({k: v.astype(np.float32) for k, v in maps.items()}, mask, grid, 1.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Card with statistics, two training heads, one held-out head."""
    folder = tmp_path_factory.mktemp("heads")
    card = template("sepnet", WIDTH)
    training = [prepare_head(seed, blob_head, card, folder) for seed in (1, 2)]
    held_out = [prepare_head(3, blob_head, card, folder, bar=True)]
    return fill_statistics(card, training), training, held_out


def run(case, folder, steps, **options):
    card, training, held_out = case
    schedule = Schedule(steps, patch=PATCH, batch=2, seed=5, validate_every=3, learning_rate=0.01)
    return train(card, training, held_out, folder, schedule, device="cpu", **options)


def run_until(case, folder, stop, steps):
    """A run that the user cancels while step ``stop`` is reported: before its validation, if it has one."""
    cancel = CancelToken()

    def progress(fraction, message):
        if message.startswith(f"Step {stop} "):
            cancel.cancel()

    with pytest.raises(Cancelled, match=f"after step {stop}"):
        run(case, folder, steps, progress=progress, cancel=cancel)


# Loss


def test_loss_of_hand_made_values():
    """Four voxels in a row, the last outside the mask: errors 1, 3, 0 give L1 4/3 and L2 10/3; steps 2, 3 give 5/2."""
    prediction = torch.tensor([1.0, 3.0, 0.0, 99.0]).reshape(1, 1, 1, 1, 4)
    mask = torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, 1, 1, 1, 4)
    loss = masked_loss(prediction, torch.zeros_like(prediction), mask)
    assert float(loss) == pytest.approx(4 / 3 + 0.5 * 10 / 3 + 0.1 * 5 / 2, rel=1e-6)


def test_loss_is_a_mean_over_channels():
    prediction = torch.ones(1, 2, 2, 2, 2)
    prediction[:, 1] = 3.0
    loss = masked_loss(prediction, torch.zeros_like(prediction), torch.ones(1, 1, 2, 2, 2), LossWeights(1, 0, 1))
    assert float(loss) == pytest.approx(2.0)  # mean of 1 and 3; constant maps have no gradient


def test_derivative_of_l1_is_sign_over_voxels_and_nothing_outside():
    prediction = torch.tensor([2.0, -1.0, 5.0]).reshape(1, 1, 1, 1, 3).requires_grad_()
    mask = torch.tensor([1.0, 1.0, 0.0]).reshape(1, 1, 1, 1, 3)
    masked_loss(prediction, torch.zeros(1, 1, 1, 1, 3), mask, LossWeights(1, 0, 0)).backward()
    assert prediction.grad.flatten().tolist() == [0.5, -0.5, 0.0]


def test_loss_of_an_empty_mask_is_zero():
    values = torch.ones(1, 1, 2, 2, 2)
    assert float(masked_loss(values, 0 * values, 0 * values)) == 0.0


# Heads and patches


def test_held_out_seeds_are_never_training_seeds():
    _, held_out = heads.split_seeds(0, 1, 1000)
    for run_seed in (0, 1, heads.LARGEST_RUN_SEED):
        training, again = heads.split_seeds(run_seed, heads.HEADS_PER_RUN, 1000)
        assert not set(training) & set(held_out) and again == held_out
    with pytest.raises(InputError):
        heads.split_seeds(heads.LARGEST_RUN_SEED + 1, 1, 1)


def test_held_out_label_maps_are_never_trained_on(tmp_path, monkeypatch):
    from ChiSepExtension.phantom.label_maps import LabelMapAnatomy

    for n in range(1, 10):
        (tmp_path / f"head_{n}.nii.gz").touch()
    read = []
    monkeypatch.setattr(LabelMapAnatomy, "read", classmethod(lambda _, path, **__: read.append(path.name)))
    monkeypatch.setattr(heads, "simulate", lambda *_, **__: blob_head(0))
    source = heads.label_map_heads(tmp_path)
    training, held_out = heads.split_seeds(3, 50, 5)
    for seed in training:
        source(seed)
    trained = set(read)
    read.clear()
    for seed in held_out:
        source(seed)
    assert trained == {f"head_{n}.nii.gz" for n in range(1, 8)}
    assert set(read) == {"head_8.nii.gz", "head_9.nii.gz"}


@pytest.fixture(scope="module")
def simulated():
    """A real simulated head, oblique and through background removal, with voxels large enough for a test."""
    seed = next(s for s in range(100) if _is_hard(heads.draw_recipe(s)))
    return heads.simulate(heads.draw_recipe(seed, 5.0))


def _is_hard(recipe):
    return any(recipe.tilt_deg) and recipe.background == "removed"


def test_simulated_head_obeys_its_relaxivities(simulated):
    """R2'/Dr = (Dr_para·χpara + Dr_dia·χdia) / Dr, also after resampling, which is linear."""
    recipe, maps = simulated.provenance, simulated.maps
    expected = (recipe["dr_para"] * maps["chi_para"] + recipe["dr_dia"] * maps["chi_dia"]) / recipe["stated_dr"]
    np.testing.assert_allclose(maps["true_r2prime"], expected, atol=1e-5)
    assert recipe["dr_para"] != recipe["dr_dia"]


def test_simulated_head_lies_on_the_networks_grid_and_is_noisy(simulated):
    np.testing.assert_allclose(simulated.grid.b0_direction, (1, 0, 0), atol=1e-9)
    np.testing.assert_allclose(simulated.grid.spacing_mm, 5.0)
    inside = simulated.mask
    assert inside.sum() * 0.125 > 300  # ml of brain left after erosion
    assert not simulated.maps["local_field"][~inside].any()
    error = (simulated.maps["r2prime"] - simulated.maps["true_r2prime"])[inside]
    # s⁻¹: noise of R2* and R2 of 0.3 to 1.5 each, more where the signal has decayed; 5 would be a bug of units.
    assert 0.3 < error.std() * simulated.provenance["stated_dr"] < 5


def test_recipe_is_a_function_of_its_seed():
    assert heads.draw_recipe(7) == heads.draw_recipe(7) != heads.draw_recipe(8)


def test_patches_are_what_inference_feeds_the_network(case, tmp_path):
    """The whole padded head as one patch equals the channels recorded from `separate_sepnet` on the same maps."""
    card, training, held_out = case
    given = {}

    class Recording(Engine):
        def run(self, network, channels, mask, **options):
            given["channels"] = channels
            return super().run(network, channels, mask, **options)

    made = blob_head(3)
    save_network(tmp_path, case)
    separate_sepnet(
        made.maps["local_field"],
        made.mask,
        made.grid,
        load_bundle(tmp_path),
        r2prime_hz=made.maps["r2prime"] * DR,
        dr_hz_per_ppm=DR,
        engine=Recording("cpu", dtype="float32"),
    )
    inputs, _, masks = Patches(held_out, card, patch=48, batch=1, seed=0, augment=False).batch(0)
    a, b, c = given["channels"].shape[1:]
    # float16 storage: half a step of 2^-11 of values up to some 5 SD.
    np.testing.assert_allclose(inputs[0, :, :a, :b, :c], given["channels"], atol=5e-3)
    assert not inputs[0, :, a:].any() and masks[0, 0].sum() == made.mask.sum()


def test_target_is_the_truth_minus_the_base(case):
    """Base plus de-normalised target gives the true sources, in the networks' axes: y turned round, z last."""
    card, _, (head,) = case
    made = blob_head(3)
    truth = np.moveaxis(made.maps["chi_para"][:, ::-1, :], 0, -1)
    _, targets, _ = Patches([head], card, patch=48, batch=1, seed=0, augment=False).batch(0)
    a, b, c = truth.shape
    inside = head.mask
    restored = targets[0, 0, :a, :b, :c] * card.outputs[0].std + card.outputs[0].mean + head.maps("base")[0]
    np.testing.assert_allclose(restored[inside], truth[inside], atol=1e-4)  # ppm


def test_augmented_patches_still_obey_the_dipole(case):
    """Flips, exchange of axes and scaling keep χ → field: the field of the augmented truth is the augmented field."""
    card, _, (head,) = case
    inputs, targets, masks = Patches([head], card, patch=48, batch=4, seed=9).batch(0)
    plain = Patches([head], card, patch=48, batch=1, seed=9, augment=False).batch(0)[0]
    changed = 0
    for given, target, mask in zip(inputs, targets, masks[:, 0] > 0):
        field, rate = (np.where(mask, given[n] * c.std + c.mean, 0) for n, c in enumerate(card.inputs[:2]))
        correction = [np.where(mask, target[n] * c.std + c.mean, 0) for n, c in enumerate(card.outputs)]
        chi = np.where(mask, given[3] * card.inputs[3].std + card.inputs[3].mean, 0)  # base: (R2' ± χ) / 2
        total = chi + correction[0] - correction[1]
        again = dipole_field(np.moveaxis(total, -1, 0).astype(np.float32), Grid.from_spacing((48, 48, 48)))
        assert nrmse(np.moveaxis(again, 0, -1), field, mask) < 3  # %, of float16 storage; 50 and more if B0 had moved
        changed += not np.allclose(given, plain[0], atol=0.01)
    assert changed == 4


def test_batches_are_a_function_of_their_number(case):
    card, training, _ = case
    one, other = (Patches(training, card, patch=PATCH, batch=2, seed=4) for _ in range(2))
    other.batch(0)
    np.testing.assert_array_equal(one.batch(3)[0], other.batch(3)[0])
    assert not np.array_equal(one.batch(3)[0], one.batch(4)[0])


def test_prepared_heads_are_made_once(tmp_path):
    calls = []

    def source(seed, **options):
        calls.append(seed)
        return blob_head(seed)

    first, again = (prepare_head(1, source, template("qsmnet", 2), tmp_path) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    prepare_head(1, source, template("sepnet", 2), tmp_path)  # other maps: not the same file
    assert calls == [1, 1]


# Loop


def test_loss_falls_on_a_fixed_batch(case):
    card, training, _ = case
    fixed = Patches(training, card, patch=PATCH, batch=2, seed=0).batch(0)
    inputs, targets, masks = (torch.from_numpy(part) for part in fixed)
    torch.manual_seed(0)
    net = UNet3d(card.in_channels, card.out_channels, WIDTH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = masked_loss(net(inputs), targets, masks)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


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


def save_network(folder: Path, case, checkpoint=None):
    card, training, held_out = case
    if checkpoint is None:
        checkpoint = run(case, folder / "run", 1)
    schedule = Schedule(1, patch=PATCH, batch=2)
    options = {"data": "Blobs.", "spacing_mm": 1.0, "device": choose_device("cpu")}
    return export_bundle(folder, card, checkpoint, schedule, training, held_out, **options)


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
