"""Both χ-sepnet pipelines from published-layout files against a plain reading of the published description.

The networks of the reference are written below as functions of a state dictionary, with nothing of the package.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from scipy.io import savemat  # noqa: E402
from torch.nn import functional  # noqa: E402

from ChiSepExtension.errors import InputError, WeightsError  # noqa: E402
from ChiSepExtension.geometry import Grid  # noqa: E402
from ChiSepExtension.networks.inference import Engine  # noqa: E402
from ChiSepExtension.networks.published import load_published  # noqa: E402
from ChiSepExtension.separation.sepnet import separate_sepnet  # noqa: E402

WIDTH = 4
DR = 114.0

#: (mean, std) of the maps in ppm, as the published files hold them, rounded.
STATISTICS = {
    "cosmos_sus": (-0.00134, 0.0315),
    "field": (-0.0026, 0.01085),
    "r2prime": (0.0514, 0.0698),
    "r2star": (0.1587, 0.0750),
    "x_pos": (0.0259, 0.0353),
    "x_neg": (0.0267, 0.0279),
}

BLOCKS = "conv11 conv12 conv21 conv22 conv31 conv32 conv41 conv42 l_conv1 l_conv2".split()
UP = ("deconv4 conv51 conv52", "deconv3 conv61 conv62", "deconv2 conv71 conv72", "deconv1 conv81 conv82")


def published_state(channels_in, channels_out, seed):
    """Random checkpoint in the published layout, with random running statistics."""
    generator = np.random.default_rng(seed)
    state = {}

    def block(name, width_in, width):
        spread = np.sqrt(2 / (27 * width_in))
        state[f"{name}.conv.weight"] = generator.normal(0, spread, (width, width_in, 3, 3, 3))
        state[f"{name}.conv.bias"] = generator.normal(0, 0.1, width)
        state[f"{name}.bn.weight"] = generator.uniform(0.7, 1.3, width)
        state[f"{name}.bn.bias"] = generator.normal(0, 0.2, width)
        state[f"{name}.bn.running_mean"] = generator.normal(0, 0.2, width)
        state[f"{name}.bn.running_var"] = generator.uniform(0.5, 1.5, width)

    width_in = channels_in
    for level in range(5):
        for name in BLOCKS[2 * level : 2 * level + 2]:
            block(name, width_in, WIDTH * 2**level)
            width_in = WIDTH * 2**level
    for level, names in zip((3, 2, 1, 0), UP):
        up, first, second = names.split()
        width = WIDTH * 2**level
        state[f"{up}.deconv.weight"] = generator.normal(0, np.sqrt(1 / (2 * width)), (2 * width, width, 2, 2, 2))
        state[f"{up}.deconv.bias"] = generator.normal(0, 0.1, width)
        block(first, 2 * width, width)
        block(second, width, width)
    state["out.conv.weight"] = generator.normal(0, np.sqrt(1 / WIDTH), (channels_out, WIDTH, 1, 1, 1))
    state["out.conv.bias"] = generator.normal(0, 0.1, channels_out)
    tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in state.items()}
    for name in [key for key in tensors if key.endswith("running_var")]:
        tensors[name.replace("running_var", "num_batches_tracked")] = torch.tensor(1000)
    return tensors


def published_network(state, x):
    """The published U-Net as text-book layers: (channel, a, b, c) to (channel, a, b, c), multiples of 16."""

    def block(name, x):
        x = functional.conv3d(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], padding=1)
        statistics = (state[f"{name}.bn.running_mean"], state[f"{name}.bn.running_var"])
        x = functional.batch_norm(x, *statistics, state[f"{name}.bn.weight"], state[f"{name}.bn.bias"], eps=1e-5)
        return functional.relu(x)

    x = torch.from_numpy(np.ascontiguousarray(x))[None]
    skips = []
    for level in range(5):
        if level:
            skips.append(x)
            x = functional.max_pool3d(x, 2)
        x = block(BLOCKS[2 * level + 1], block(BLOCKS[2 * level], x))
    for names in UP:
        up, first, second = names.split()
        x = functional.conv_transpose3d(x, state[f"{up}.deconv.weight"], state[f"{up}.deconv.bias"], stride=2)
        x = block(second, block(first, torch.cat([x, skips.pop()], 1)))
    x = functional.conv3d(x, state["out.conv.weight"], state["out.conv.bias"])
    return x[0].numpy()


def published_pipeline(states, field, mask, r2prime=None, r2star=None):
    """χpara and χdia in ppm; all arrays (a, b, c) in the order of the training data."""

    def normalised(x, name):
        mean, std = STATISTICS[name]
        return ((x - mean) / std * mask).astype(np.float32)

    def run(state, channels):
        shape = channels.shape[1:]
        before = [(-n % 16) // 2 for n in shape]
        pad = [(b, -n % 16 - b) for n, b in zip(shape, before)]
        with torch.inference_mode():
            output = published_network(state, np.pad(channels, [(0, 0), *pad]))
        return output[(slice(None), *(slice(b, b + n) for b, n in zip(before, shape)))]

    x_field = normalised(field, "field")
    x_qsm = run(states["QSMnet"], x_field[None])[0] * mask
    if r2prime is None:
        x_r2prime = run(states["R2PRIMEnet"], normalised(r2star / DR, "r2star")[None])[0] * mask
    else:
        x_r2prime = normalised(r2prime / DR, "r2prime")
    output = run(states["xsepnet"], np.stack([x_qsm, x_field, x_r2prime]))
    sources = []
    for values, name in zip(output, ("x_pos", "x_neg")):
        mean, std = STATISTICS[name]
        sources.append(np.maximum(values * std + mean, 0) * mask)
    return sources


def write_published(folder, prefix="", epoch=True):
    """The four files as released; returns the state dictionaries."""
    states = {
        "QSMnet": published_state(1, 1, 1),
        "R2PRIMEnet": published_state(1, 1, 2),
        "xsepnet": published_state(3, 2, 3),
    }
    for name, state in states.items():
        content = {"state_dict": {prefix + key: value for key, value in state.items()}}
        torch.save({"epoch": 60, **content} if epoch else content, folder / f"{name}.pth.tar")
    numbers = {
        f"{name}_{kind}": np.float32(v) for name, ms in STATISTICS.items() for kind, v in zip(("mean", "std"), ms)
    }
    savemat(folder / "xsepnet_norm_factor.mat", numbers)
    return states


def head(shape, seed=0):
    """Smooth random maps in an ellipsoid, arrays (z, y, x): field in ppm, R2* and R2' in 1/s, mask."""
    generator = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    mask = sum(a**2 for a in axes) < 0.8
    waves = [np.prod(np.broadcast_arrays(*[np.cos(k * a + p) for k, a, p in zip(ks, axes, ps)]), axis=0)
             for ks, ps in zip(generator.uniform(2, 9, (3, 3)), generator.uniform(0, 6, (3, 3)))]  # fmt: skip
    field = np.where(mask, 0.012 * waves[0], 0).astype(np.float32)
    r2star = np.where(mask, 18 + 8 * waves[1], 0).astype(np.float32)
    r2prime = np.where(mask, 6 + 5 * waves[2], 0).astype(np.float32)
    return field, r2star, r2prime, mask


def to_training_order(array):
    """(z up, y front, x right) to (front to back, left to right, down to up), written out index by index."""
    depth, height, width = array.shape
    turned = np.empty((height, width, depth), array.dtype)
    for a in range(height):
        turned[a] = array[:, height - 1 - a, :].T
    return turned


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    states = write_published(folder)
    return states, load_published(folder, probe=False)


@pytest.mark.parametrize("route", ["r2prime", "r2star"])
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((32, 48, 32), id="multiples of 16"),
        pytest.param((38, 36, 44), id="even"),
        pytest.param((35, 29, 41), id="odd"),
        pytest.param((9, 13, 11), id="smaller than 16"),
    ],
)
def test_pipeline_is_the_published_one(published, shape, route):
    states, weights = published
    field, r2star, r2prime, mask = head(shape)
    rates = {f"{route}_hz": {"r2prime": r2prime, "r2star": r2star}[route]}
    maps = separate_sepnet(
        field, mask, Grid.from_spacing(shape), weights, engine=Engine("cpu", dtype="float32"), **rates
    )
    turned = {route: to_training_order(rates[f"{route}_hz"])}
    para, dia = published_pipeline(states, to_training_order(field), to_training_order(mask), **turned)
    for result, expected in ((maps.chi_para, para), (maps.chi_dia, dia)):
        difference = np.abs(to_training_order(result) - expected).max()
        assert difference <= 1e-5 * np.abs(expected).max()
        assert 0.2 < np.count_nonzero(expected) / mask.sum(), "the case must not be clipped away"


def test_slabs_change_nothing(published, monkeypatch):
    from ChiSepExtension.networks import inference
    from ChiSepExtension.networks.forward import Slabs

    field, _, r2prime, mask = head((48, 44, 40))
    grid, engine = Grid.from_spacing(mask.shape), Engine("cpu", dtype="float32")
    whole = separate_sepnet(field, mask, grid, published[1], r2prime_hz=r2prime, engine=engine)
    monkeypatch.setattr(inference, "LADDER", (Slabs(False, 100_000),))
    pieces = separate_sepnet(field, mask, grid, published[1], r2prime_hz=r2prime, engine=engine)
    np.testing.assert_allclose(pieces.chi_para, whole.chi_para, rtol=0, atol=1e-5 * whole.chi_para.max())


@pytest.mark.parametrize(("prefix", "epoch"), [("module.", True), ("", False), ("module.", False)])
def test_prefix_and_epoch_do_not_matter(published, tmp_path, prefix, epoch):
    write_published(tmp_path, prefix, epoch)
    again = load_published(tmp_path, probe=False)
    for role, network in published[1].networks.items():
        for name, (weight, bias) in network.weights.layers.items():
            other = again[role].weights.layers[name]
            assert torch.equal(weight, other[0]) and torch.equal(bias, other[1])


def test_run_is_repeatable_to_the_last_bit(published):
    field, r2star, _, mask = head((24, 30, 28))
    runs = [
        separate_sepnet(field, mask, Grid.from_spacing(mask.shape), published[1], r2star_hz=r2star, device="cpu")
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].chi_para, runs[1].chi_para) and np.array_equal(runs[0].chi_dia, runs[1].chi_dia)


def test_each_network_runs_once(published):
    field, r2star, _, mask = head((20, 22, 18))
    engine = Engine("cpu", dtype="float32")
    separate_sepnet(field, mask, Grid.from_spacing(mask.shape), published[1], r2star_hz=r2star, engine=engine)
    assert [report.network for report in engine.reports] == ["QSMnet", "R2PRIMEnet", "χ-sepnet"]


def test_maps_that_the_networks_made_are_given_back_in_their_units(published):
    states, weights = published
    field, r2star, _, mask = head((32, 32, 32))
    engine = Engine("cpu", dtype="float32")
    maps = separate_sepnet(field, mask, Grid.from_spacing(mask.shape), weights, r2star_hz=r2star, engine=engine)
    with torch.inference_mode():
        mean, std = STATISTICS["r2star"]
        inside = to_training_order(mask)
        x = ((to_training_order(r2star) / DR - mean) / std * inside).astype(np.float32)
        mean, std = STATISTICS["r2prime"]
        expected = (published_network(states["R2PRIMEnet"], x[None])[0] * std + mean) * DR * inside
    np.testing.assert_allclose(to_training_order(maps.r2prime_hz), expected, atol=1e-5 * np.abs(expected).max())


def test_external_qsm_replaces_the_first_network(published):
    field, _, r2prime, mask = head((20, 22, 18))
    engine = Engine("cpu", dtype="float32")
    grid = Grid.from_spacing(mask.shape)
    own = separate_sepnet(field, mask, grid, published[1], r2prime_hz=r2prime, engine=engine)
    given = separate_sepnet(field, mask, grid, published[1], r2prime_hz=r2prime, qsm_ppm=own.qsm_ppm, engine=engine)
    assert [report.network for report in engine.reports] == ["QSMnet", "χ-sepnet", "χ-sepnet"]
    np.testing.assert_allclose(given.chi_para, own.chi_para, atol=1e-5 * own.chi_para.max())


def test_values_outside_the_mask_are_never_looked_at(published):
    field, r2star, _, mask = head((20, 22, 18))
    grid, engine = Grid.from_spacing(mask.shape), Engine("cpu", dtype="float32")
    clean = separate_sepnet(field, mask, grid, published[1], r2star_hz=r2star, engine=engine)
    field, r2star = np.where(mask, field, np.nan), np.where(mask, r2star, 1e9)
    dirty = separate_sepnet(field, mask, grid, published[1], r2star_hz=r2star, engine=engine)
    assert np.array_equal(clean.chi_para, dirty.chi_para)


def test_what_was_done_goes_into_the_provenance(published):
    field, r2star, _, mask = head((20, 22, 18))
    maps = separate_sepnet(field, mask, Grid.from_spacing(mask.shape), published[1], r2star_hz=r2star, device="cpu")
    parameters = json.loads(json.dumps(maps.parameters, allow_nan=False))
    assert parameters["dr_hz_per_ppm"] == 114 and parameters["r2prime"].startswith("predicted")
    assert len(parameters["weights"]["separation"]["sha256"]["xsepnet.pth.tar"]) == 64
    assert [run["network"] for run in parameters["runs"]] == ["QSMnet", "R2PRIMEnet", "χ-sepnet"]


def test_engine_that_served_another_case_reports_this_one_only(published):
    field, r2star, _, mask = head((32, 32, 32))
    grid, weights, engine = Grid.from_spacing(field.shape), published[1], Engine("cpu")
    for _ in range(2):
        maps = separate_sepnet(field, mask, grid, weights, r2star_hz=r2star, engine=engine)
    assert len(maps.parameters["runs"]) == 3 and len(engine.reports) == 6


def test_neither_rate_is_an_input_error(published):
    field, _, _, mask = head((16, 16, 16))
    with pytest.raises(InputError, match="needs R2′ or R2\\*"):
        separate_sepnet(field, mask, Grid.from_spacing(mask.shape), published[1])


def test_missing_network_is_named(published, tmp_path):
    write_published(tmp_path)
    (tmp_path / "R2PRIMEnet.pth.tar").unlink()
    field, r2star, _, mask = head((16, 16, 16))
    with pytest.raises(WeightsError, match="'r2prime'"):
        separate_sepnet(
            field,
            mask,
            Grid.from_spacing(mask.shape),
            load_published(tmp_path, probe=False),
            r2star_hz=r2star,
            device="cpu",
        )
