"""What networks are trained on: losses, simulated heads, patches and their order."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")


from ChiSepExtension.dipole import dipole_field  # noqa: E402
from ChiSepExtension.errors import InputError  # noqa: E402
from ChiSepExtension.geometry import Grid  # noqa: E402
from ChiSepExtension.networks.bundle import load_bundle  # noqa: E402
from ChiSepExtension.networks.inference import Engine  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402
from ChiSepExtension.quality.metrics import nrmse  # noqa: E402
from ChiSepExtension.separation.sepnet import separate_sepnet  # noqa: E402
from ChiSepExtension.training import heads  # noqa: E402
from ChiSepExtension.training.cards import template  # noqa: E402
from ChiSepExtension.training.losses import LossWeights, masked_loss  # noqa: E402
from ChiSepExtension.training.pairs import Patches, fill_statistics, prepare_head  # noqa: E402
from Testing.Python.core.training_case import (  # noqa: E402
    DR,
    PATCH,
    WIDTH,
    blob_head,
    make_case,
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
    inside = simulated.mask & (simulated.maps["scored"] > 0.5)
    assert inside.sum() * 0.125 > 300  # ml of brain left after erosion
    assert inside.sum() < simulated.mask.sum()  # fluid and sinuses between the folds are in the mask too
    assert not simulated.maps["local_field"][~simulated.mask].any()
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


def test_only_voxels_of_known_truth_count(case, tmp_path):
    """Half of a head without truth: fed to the network as before, but in neither the loss nor the statistics."""
    card, _, (whole,) = case

    def half_known(seed, **_):
        made = blob_head(seed)
        made.maps["scored"] = np.ones(made.mask.shape, np.float32)
        made.maps["scored"][: made.mask.shape[0] // 2] = 0
        return made

    half = prepare_head(3, half_known, card, tmp_path, bar=True)
    one, other = (Patches([h], card, patch=48, batch=1, seed=0, augment=False).batch(0) for h in (whole, half))
    np.testing.assert_array_equal(one[0], other[0])
    assert 0.3 < other[2].sum() / one[2].sum() < 0.7
    assert not other[2][0, 0, :, :, : blob_head(3).mask.shape[0] // 2].any()  # z is the networks' last axis
    assert fill_statistics(card, [half]).outputs[0] != fill_statistics(card, [whole]).outputs[0]


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
