"""The engine: plans within memory, falls back when memory runs out, stops when asked, checks reduced precision."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from scipy.ndimage import gaussian_filter  # noqa: E402

from ChiSepExtension.errors import Cancelled, InputError, MemoryLimitError  # noqa: E402
from ChiSepExtension.networks import inference, memory, precision, windows  # noqa: E402
from ChiSepExtension.networks.devices import list_devices  # noqa: E402
from ChiSepExtension.networks.folding import FoldedNetwork, fold  # noqa: E402
from ChiSepExtension.networks.forward import Slabs  # noqa: E402
from ChiSepExtension.networks.inference import Engine, choose_device  # noqa: E402
from ChiSepExtension.networks.precision import PrecisionCheck, compare  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402
from ChiSepExtension.progress import CancelToken  # noqa: E402


def network(width=4, seed=0):
    torch.manual_seed(seed)
    return fold(UNet3d(1, 1, width).eval().state_dict())


def random_unet(in_channels, out_channels, width, seed):
    """Random weights with running statistics that keep features at a size of about 1, as training does."""
    torch.manual_seed(seed)
    unet = UNet3d(in_channels, out_channels, width).eval()
    for module in unet.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.3, 0.6)
    return unet


def case(shape=(40, 36, 33), channels=1, smoothness=0.0, seed=0):
    """Normalised random maps in an ellipsoid, and the ellipsoid."""
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    mask = sum(a**2 for a in axes) < 0.7
    x = np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32)
    if smoothness:
        x = gaussian_filter(x, (0, smoothness, smoothness, smoothness))
        x /= x.std(axis=(1, 2, 3), keepdims=True)
    return x * mask, mask


@pytest.fixture
def exact():
    x, mask = case()
    return Engine("cpu", dtype="float32").run(network(), x, mask)


class FailingConvolution:
    """Convolution that raises an out-of-memory error at the calls with these numbers."""

    def __init__(self, monkeypatch, error, fails):
        self.calls, self.error, self.fails = 0, error, fails
        self.plain = windows.functional.conv3d
        monkeypatch.setattr(windows.functional, "conv3d", self)

    def __call__(self, x, *arguments, **options):
        if x.device.type != "meta":  # dry runs allocate nothing
            self.calls += 1
            if self.fails(self.calls):
                raise self.error
        return self.plain(x, *arguments, **options)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."),
    RuntimeError("MPS backend out of memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "cpu", "mps", "python"])
def test_every_wording_of_out_of_memory_is_understood(error):
    assert memory.is_out_of_memory(error)


def test_other_errors_are_not_taken_for_memory():
    assert not memory.is_out_of_memory(RuntimeError("expected scalar type Float but found Half"))
    assert not memory.is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("step", [1, 5, 9, 10, 14, 18, 22])
def test_out_of_memory_at_any_step_ends_in_the_right_result(monkeypatch, exact, step):
    failing = FailingConvolution(monkeypatch, OUT_OF_MEMORY[0], lambda call: call == step)
    x, mask = case()
    engine = Engine("cpu", dtype="float32")
    result = engine.run(network(), x, mask)
    assert failing.calls > step, "the failure must have happened"
    np.testing.assert_allclose(result, exact, atol=1e-5 * np.abs(exact).max())
    assert len(engine.reports[0].refused) == 1 and "ran out of memory" in engine.reports[0].refused[0]


@pytest.mark.parametrize("error", OUT_OF_MEMORY[:2])
def test_out_of_memory_everywhere_is_a_typed_error(monkeypatch, error):
    FailingConvolution(monkeypatch, error, lambda call: True)
    with pytest.raises(MemoryLimitError, match="does not fit into memory"):
        Engine("cpu", dtype="float32").run(network(), *case())


def test_other_failures_are_not_hidden(monkeypatch):
    FailingConvolution(monkeypatch, RuntimeError("a real defect"), lambda call: call == 3)
    with pytest.raises(RuntimeError, match="a real defect"):
        Engine("cpu", dtype="float32").run(network(), *case())


def test_small_memory_takes_the_small_plan_before_anything_runs(monkeypatch):
    # Slabs in proportion to a head of 96 mm and 4 channels.
    monkeypatch.setattr(inference, "LADDER", (Slabs(True, 1 << 30), Slabs(False, 1 << 20)))
    x, mask = case((96, 96, 96))
    big = Engine("cpu", dtype="float32")
    whole = big.run(network(), x, mask)
    need = big._need(big.reports[0].cost, torch.device("cpu"), torch.float32, network())
    small = Engine("cpu", dtype="float32", memory_bytes=need - 1)
    result = small.run(network(), x, mask)
    assert small.reports[0].cost.feature_bytes < big.reports[0].cost.feature_bytes
    assert all("GB free" in reason for reason in small.reports[0].refused) and small.reports[0].refused
    np.testing.assert_allclose(result, whole, atol=1e-5 * np.abs(whole).max())


def test_too_little_memory_for_any_plan_says_how_much_is_needed():
    with pytest.raises(MemoryLimitError, match="needs .* GB of 0.00 GB free"):
        Engine("cpu", dtype="float32", memory_bytes=1000).run(network(), *case())


def test_device_without_memory_is_followed_by_the_cpu(monkeypatch, exact):
    # A stand-in for a GPU: "meta" holds no numbers, so that a result can only come from the CPU.
    engine = Engine("cpu", dtype="float32")
    engine.device = torch.device("meta")
    monkeypatch.setitem(inference.WORKSPACE, "meta", (0.5, 0))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**12 if device.type == "cpu" else 0)
    result = engine.run(network(), *case())
    assert np.array_equal(result, exact) and engine.reports[0].device == "cpu"
    assert len(engine.reports[0].refused) == len(inference.LADDER)


def test_device_that_lacks_an_operation_is_followed_by_the_cpu(monkeypatch, exact):
    # "meta" computes shapes only and cannot copy its result to the CPU: an operation that is not implemented.
    engine = Engine("cpu", dtype="float32")
    engine.device = torch.device("meta")
    monkeypatch.setitem(inference.WORKSPACE, "meta", (0.5, 0))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**12)
    assert np.array_equal(engine.run(network(), *case()), exact)
    assert engine.reports[0].refused == ("meta lacks an operation that the network needs",)


def test_same_input_gives_the_same_bits():
    x, mask = case()
    first, second = (Engine("cpu").run(network(), x, mask) for _ in range(2))
    assert np.array_equal(first, second)


def test_output_is_zero_outside_the_box_and_empty_masks_are_fine():
    x, mask = case()
    result = Engine("cpu", dtype="float32").run(network(), x, mask)
    assert result.shape == x.shape and not result[:, 0].any()
    assert not Engine("cpu").run(network(), x, np.zeros_like(mask)).any()


def test_progress_rises_to_1():
    seen = []
    x, mask = case()
    Engine("cpu", dtype="float32").run(network(), x, mask, progress=lambda fraction, message: seen.append(fraction))
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) > 15


def test_cancel_stops_between_convolutions():
    token, calls = CancelToken(), []

    def cancel_at_the_fifth(fraction, message):
        calls.append(fraction)
        if len(calls) == 5:
            token.cancel()

    with pytest.raises(Cancelled):
        Engine("cpu", dtype="float32").run(network(), *case(), progress=cancel_at_the_fifth, cancel=token)
    assert len(calls) == 5


def test_cancel_from_another_thread_takes_less_than_2_seconds():
    x, mask = case((96, 96, 96))
    token = CancelToken()
    cancelled_at = []
    timer = threading.Timer(0.3, lambda: (cancelled_at.append(time.perf_counter()), token.cancel()))
    timer.start()
    with pytest.raises(Cancelled):
        for _ in range(100):
            Engine("cpu", dtype="float32").run(network(8), x, mask, cancel=token)
    assert time.perf_counter() - cancelled_at[0] < 2


def test_output_that_is_not_a_number_is_an_error():
    x, mask = case()
    broken = network()
    broken.layers["conv11"][1].fill_(float("inf"))
    with pytest.raises(InputError, match="not numbers"):
        Engine("cpu", dtype="float32").run(broken, x, mask)


def test_reduced_precision_is_used_when_its_error_passes(monkeypatch, exact):
    monkeypatch.setattr(precision, "fast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(inference.precision, "LARGEST_NRMSE", 0.5)
    monkeypatch.setattr(inference.precision, "LARGEST_ERROR", 5.0)
    engine = Engine("cpu")
    result = engine.run(network(), *case())
    report = engine.reports[0]
    assert report.dtype == "bfloat16" and 0 < report.precision_check.nrmse < 0.1
    assert 0 < np.abs(result - exact).max() < 0.3 * exact.std()


def test_reduced_precision_is_refused_when_its_error_is_large(monkeypatch, exact):
    monkeypatch.setattr(precision, "fast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(inference.precision, "LARGEST_NRMSE", 1e-6)
    engine = Engine("cpu")
    result = engine.run(network(), *case())
    assert engine.reports[0].dtype == "float32" and not engine.reports[0].precision_check.passed
    assert np.array_equal(result, exact)


def test_overflow_of_a_reduced_type_is_repeated_in_float32(monkeypatch):
    # A block in which nothing overflows lets the type pass.
    monkeypatch.setattr(precision, "fast_dtype", lambda device: torch.float16)
    monkeypatch.setattr(inference.precision, "compare", lambda reduced, exact: PrecisionCheck(0.0, 0.0))
    large = network()
    layers = {
        name: (weight * 1e4, bias) if name == "conv11" else (weight, bias)
        for name, (weight, bias) in large.layers.items()
    }
    large = FoldedNetwork(1, 1, 4, layers)
    x, mask = case()
    x = x * 100
    engine = Engine("cpu")
    result = engine.run(large, x, mask)
    assert engine.reports[0].dtype == "float32"
    np.testing.assert_array_equal(result, Engine("cpu", dtype="float32").run(large, x, mask))


def test_comparison_takes_the_worst_channel_in_normalised_units():
    exact = np.random.default_rng(0).normal(0, 0.5, (2, 20, 20, 20))
    other = exact.copy()
    other[1, 3, 3, 3] += 0.5
    check = compare(other, exact)
    assert check.largest == pytest.approx(0.5) and check.nrmse == pytest.approx(0.5 / np.sqrt(8000))


def test_quiet_block_is_not_measured_by_its_own_spread():
    # The same rounding in the pallidum and in plain white matter, whose spread is a tenth.
    rounding = np.random.default_rng(1).normal(0, 0.01, (1, 20, 20, 20))
    for spread in (1.0, 0.1):
        exact = np.random.default_rng(0).normal(0, spread, rounding.shape)
        assert compare(exact + rounding, exact).nrmse == pytest.approx(0.01, rel=0.02)


def test_output_that_is_not_normalised_is_measured_by_its_spread():
    exact = np.random.default_rng(0).normal(0, 2.0, (1, 20, 20, 20))
    assert compare(exact + 0.5, exact).largest == pytest.approx(0.25, rel=0.02)


def test_comparison_with_what_is_not_a_number_fails():
    exact = np.zeros((1, 4, 4, 4))
    assert not compare(np.full_like(exact, np.nan), exact).passed


def test_limits_of_the_precision_check():
    assert PrecisionCheck(0.019, 0.19).passed
    assert not PrecisionCheck(0.021, 0.19).passed and not PrecisionCheck(0.019, 0.21).passed


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("smoothness", [1.0, 3.0])
def test_bfloat16_passes_for_any_ordinary_network_and_head_with_room_to_spare(seed, smoothness):
    # Or else one network would run in bfloat16 for one head and in float32 for the next.
    unet = random_unet(3, 2, 8, seed)
    x, mask = case((48, 48, 48), channels=3, smoothness=smoothness, seed=seed)
    exact, reduced = (Engine("cpu", dtype=d).run(fold(unet.state_dict()), x, mask) for d in ("float32", "bfloat16"))
    check = compare(reduced, exact)
    assert check.nrmse < 0.75 * precision.LARGEST_NRMSE and check.largest < 0.75 * precision.LARGEST_ERROR


def test_rounding_of_bfloat16_follows_nothing_in_the_map():
    # Noise that is independent of the map adds as a root of squares; a slope would be a false scale of all sources.
    x, mask = case((64, 64, 64), channels=3, smoothness=1.5)
    weights = fold(random_unet(3, 2, 8, 0).state_dict())
    exact, reduced = (Engine("cpu", dtype=d).run(weights, x, mask)[:, mask] for d in ("float32", "bfloat16"))
    for truth, found in zip(exact, reduced):
        assert np.polyfit(truth, found, 1)[0] == pytest.approx(1, abs=0.004)  # 0.2 % was measured


def test_unknown_devices_and_number_types_are_input_errors():
    for device in ("gpu", "cuda:99", "xpu:7"):
        with pytest.raises(InputError):
            choose_device(device)
    with pytest.raises(InputError):
        Engine("cpu", dtype="int8")


def test_devices_are_listed_by_a_child_process():
    found = list_devices(timeout_s=120)
    assert found.problem == "" and found.torch_version
    cpu = found.devices[-1]
    assert cpu.name == "cpu" and 0 < cpu.free_bytes <= cpu.total_bytes


def test_interpreter_that_cannot_be_started_gives_a_reason():
    assert "cannot be started" in list_devices("/nonexistent/python").problem
