"""CUDA and Apple devices: every branch of the engine on stand-ins for them, and the devices themselves where there are.

A stand-in computes on the CPU under another name, so that a choice, a check or a fall-back can be watched without the
hardware. What kernels of a real device do, only the tests at the end can tell; they skip where there is none.
"""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_iter  # noqa: E402

from ChiSepExtension.errors import InputError, MemoryLimitError  # noqa: E402
from ChiSepExtension.networks import inference, memory, precision  # noqa: E402
from ChiSepExtension.networks.benchmark import benchmark_inference  # noqa: E402
from ChiSepExtension.networks.folding import FoldedNetwork, fold  # noqa: E402
from ChiSepExtension.networks.forward import Slabs, forward  # noqa: E402
from ChiSepExtension.networks.inference import LADDER, Engine, choose_device  # noqa: E402
from ChiSepExtension.networks.regions import Region  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402

CPU = torch.device("cpu")


def network(width=4, seed=0):
    torch.manual_seed(seed)
    return fold(UNet3d(1, 1, width).eval().state_dict())


def case(shape=(40, 36, 33)):
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    mask = sum(a**2 for a in axes) < 0.7
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32) * mask
    return x[np.newaxis], mask


@pytest.fixture(scope="module")
def exact():
    return Engine("cpu", dtype="float32").run(network(), *case())


class StandIn:
    """An accelerator of the given name whose work is done on the CPU.

    ``answer(output, dtype)`` may spoil what comes back, ``before(dtype)`` may raise; ``passes`` are the runs it did as
    (number type, voxels), ``moves`` the networks that were sent to it.
    """

    def __init__(self, monkeypatch, name, answer=None, before=None, free=10**12):
        self.device, self.passes, self.moves, self.waits = torch.device(name), [], [], 0
        plain_pass, plain_to, plain_tensor = Engine._pass, FoldedNetwork.to, inference._tensor

        def run(engine, job, device, dtype, slabs, total):
            if device.type == "cpu":
                return plain_pass(engine, job, device, dtype, slabs, total)
            self.passes.append((dtype, job.box.voxels))
            if before is not None:
                before(dtype)
            output = plain_pass(engine, job, device, dtype, slabs, total)
            return output if answer is None else answer(output, dtype)

        def to(weights, device, dtype, channels_last):
            if device.type == self.device.type:
                self.moves.append((id(weights), dtype))
            return plain_to(weights, CPU if device.type == self.device.type else device, dtype, channels_last)

        def tensor(x, device, dtype):
            return plain_tensor(x, CPU if device.type == self.device.type else device, dtype)

        def wait(device=None):
            self.waits += 1

        def fast(device):  # the CPU that takes over stays exact
            return torch.float16 if device.type == "cuda" else torch.float32

        monkeypatch.setattr(precision, "fast_dtype", fast)
        monkeypatch.setattr(Engine, "_pass", run)
        monkeypatch.setattr(FoldedNetwork, "to", to)
        monkeypatch.setattr(inference, "_tensor", tensor)
        monkeypatch.setattr(memory, "free_bytes", lambda device: 10**12 if device.type == "cpu" else free)
        monkeypatch.setattr(memory, "release", lambda device: None)
        monkeypatch.setattr(torch.cuda, "synchronize", wait)
        monkeypatch.setattr(torch.mps, "synchronize", wait)

    def engine(self, **options):
        engine = Engine("cpu", **options)
        engine.device = self.device
        return engine


def test_cuda_runs_in_float16_after_comparing_it_with_the_cpu(monkeypatch, exact):
    gpu = StandIn(monkeypatch, "cuda:0")
    engine = gpu.engine()
    result = engine.run(network(), *case())
    report = engine.reports[0]
    assert (report.device, report.dtype, report.refused) == ("cuda:0", "float16", ())
    # float16 has 11 bits; through 18 layers 0.04 to 0.11 % were measured.
    assert 0 < report.precision_check.nrmse < 0.005
    assert np.abs(result - exact).max() < 0.02 * exact.std()


def test_apple_gpu_runs_in_float32(monkeypatch, exact):
    gpu = StandIn(monkeypatch, "mps")
    engine = gpu.engine()
    result = engine.run(network(), *case())
    assert (engine.reports[0].device, engine.reports[0].dtype) == ("mps", "float32")
    np.testing.assert_allclose(result, exact, atol=1e-5 * np.abs(exact).max())


def test_networks_move_to_the_device_once(monkeypatch):
    gpu = StandIn(monkeypatch, "cuda:0")
    engine, first, second = gpu.engine(), network(seed=0), network(seed=1)
    for weights in (first, second, first):
        engine.run(weights, *case())
    assert sorted(gpu.moves) == sorted([(id(first), torch.float16), (id(second), torch.float16)])


def test_float16_that_is_too_coarse_is_followed_by_float32_on_the_same_device(monkeypatch, exact):
    gpu = StandIn(monkeypatch, "cuda:0", answer=lambda output, dtype: output + 0.1 * (dtype == torch.float16))
    engine = gpu.engine()
    result = engine.run(network(), *case())
    report = engine.reports[0]
    assert (report.device, report.dtype) == ("cuda:0", "float32")
    assert report.precision_check.nrmse > precision.LARGEST_NRMSE, "why it is float32"
    np.testing.assert_allclose(result, exact, atol=1e-5 * np.abs(exact).max())


@pytest.mark.parametrize("name", ["cuda:0", "mps"])
def test_device_that_computes_something_else_is_not_used(monkeypatch, exact, name):
    # Wrong strides, a broken driver: a shift by one voxel is a plausible picture and a wrong map.
    gpu = StandIn(monkeypatch, name, answer=lambda output, dtype: np.roll(output, 1, axis=1))
    engine = gpu.engine()
    result = engine.run(network(), *case())
    assert np.array_equal(result, exact) and engine.reports[0].device == "cpu"
    assert "computes other numbers than the CPU" in engine.reports[0].refused[0]
    # The head itself was never given to it, and the next network does not ask again.
    before = len(gpu.passes)
    engine.run(network(seed=1), *case())
    assert len(gpu.passes) == before and engine.reports[1].refused == engine.reports[0].refused


FAILURES = [
    (RuntimeError("Conv3D is not supported on MPS"), "lacks an operation"),
    (NotImplementedError("The operator 'aten::max_pool3d_with_indices' is not implemented for the MPS"), "lacks"),
    (TypeError("BFloat16 is not supported on MPS"), "lacks an operation"),
    (RuntimeError("CUDA error: no kernel image is available for execution on the device\nhint"), "lacks"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED."), "lacks an operation"),
    (RuntimeError("CUDA error: device-side assert triggered\nmore lines"), "failed: CUDA error: device-side"),
]


@pytest.mark.parametrize(("error", "reason"), FAILURES)
def test_device_that_fails_is_followed_by_the_cpu_with_the_reason(monkeypatch, exact, error, reason):
    def fail(dtype):
        raise error

    gpu = StandIn(monkeypatch, "mps", before=fail)
    engine = gpu.engine()
    assert np.array_equal(engine.run(network(), *case()), exact)
    assert engine.reports[0].device == "cpu" and reason in engine.reports[0].refused[0]
    assert "\n" not in engine.reports[0].refused[0]


def test_user_is_told_that_another_device_was_used(monkeypatch, exact):
    from ChiSepExtension.separation.sepnet import _device_warnings

    def fail(dtype):
        raise RuntimeError("Conv3D is not supported on MPS")

    engine = StandIn(monkeypatch, "mps", before=fail).engine()
    engine.run(network(), *case())
    assert _device_warnings(engine, engine.reports) == [
        "Networks ran on cpu instead of mps: mps lacks an operation that the network needs."
    ]
    willing = Engine("cpu", dtype="float32")
    willing.run(network(), *case())
    assert _device_warnings(willing, willing.reports) == []


def test_without_leave_to_fall_back_the_failure_comes_out(monkeypatch):
    def fail(dtype):
        raise RuntimeError("CUDA error: unspecified launch failure")

    with pytest.raises(RuntimeError, match="launch failure"):
        StandIn(monkeypatch, "cuda:0", before=fail).engine(fall_back=False).run(network(), *case())


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_out_of_memory_on_the_device_takes_the_next_smaller_plan(monkeypatch, exact, fails):
    left = [fails]

    def run_out(dtype):
        if left[0] > 0:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory.")

    engine = StandIn(monkeypatch, "cuda:0", before=run_out).engine()
    result = engine.run(network(), *case())
    report = engine.reports[0]
    assert report.device == ("cuda:0" if fails < len(LADDER) else "cpu") and len(report.refused) == fails
    assert np.abs(result - exact).max() < 0.02 * exact.std()


def test_full_device_without_leave_to_fall_back_is_a_typed_error(monkeypatch):
    with pytest.raises(MemoryLimitError, match="cuda with slabs of 1024 MB needs"):
        StandIn(monkeypatch, "cuda:0", free=1000).engine(fall_back=False).run(network(), *case())


@pytest.mark.parametrize("name", ["cuda:0", "mps"])
def test_python_waits_for_the_device_so_that_cancelling_stays_prompt(monkeypatch, name):
    gpu = StandIn(monkeypatch, name)
    monkeypatch.setattr(inference, "MULTIPLY_ADDS_BETWEEN_WAITS", 1e6)
    gpu.engine().run(network(), *case())
    assert gpu.waits > 10


def test_cuda_gets_its_number(monkeypatch):
    # Before torch 2.6 the free memory of "cuda" without a number was a ValueError.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device("cuda") == choose_device("auto") == torch.device("cuda:1")
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(InputError):
        choose_device("cuda:2")


def test_gpu_that_cannot_be_asked_does_not_hide_the_others(monkeypatch):
    from ChiSepExtension.networks.devices import query_devices

    def ask(index):
        if index == 0:
            raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nmore")
        return 4_000, 16_000

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", ask)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    found = query_devices()
    assert [device.name for device in found.devices] == ["cuda:1", "cpu"]
    assert found.problem == "cuda:0 cannot be used: CUDA error: all CUDA-capable devices are busy or unavailable"


def test_auto_takes_the_apple_gpu_where_there_is_no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")


def test_free_memory_of_cuda_counts_what_torch_holds_without_using_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4_000, 16_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1_000)
    assert memory.free_bytes(torch.device("cuda:0")) == 6_000


@pytest.mark.parametrize("recommended", [True, False], ids=["torch tells", "old torch"])
def test_free_memory_of_an_apple_gpu_is_bounded_by_the_shared_memory(monkeypatch, recommended):
    mps = SimpleNamespace(current_allocated_memory=lambda: 2_000)
    if recommended:
        mps.recommended_max_memory = lambda: 12_000
    monkeypatch.setattr(torch, "mps", mps)
    monkeypatch.setattr(memory, "host_total_bytes", lambda: 16_000)
    monkeypatch.setattr(memory, "host_free_bytes", lambda: 9_000)
    assert memory.free_bytes(torch.device("mps")) == 9_000
    monkeypatch.setattr(memory, "host_free_bytes", lambda: 90_000)
    assert memory.free_bytes(torch.device("mps")) == 10_000


class OneDevice(TorchDispatchMode):
    """Raises at the first operation whose tensors are on two devices, or of two number types."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = [t for t in tree_iter((args, kwargs)) if isinstance(t, torch.Tensor)]
        assert len({t.device for t in tensors}) <= 1 or "_to_copy" in str(function), function
        numbers = {t.dtype for t in tensors if t.is_floating_point()}
        assert len(numbers) <= 1 or "_to_copy" in str(function), (function, numbers)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("slabs", [Slabs(), Slabs(False, 200_000)], ids=["one slab", "recomputed skip"])
@pytest.mark.parametrize(
    ("dtype", "channels_last"), [(torch.float16, True), (torch.bfloat16, True), (torch.float32, False)]
)
def test_pass_on_another_device_never_mixes_in_the_cpu(dtype, channels_last, slabs):
    # A small brain in a large volume, so that features of an empty volume are copied by index as well.
    device, box, shape = torch.device("meta"), Region((9, 8, 7), (30, 28, 23)), (96, 96, 96)
    x = torch.empty((1, 1, *box.shape), device=device, dtype=dtype)
    with torch.inference_mode(), OneDevice():
        output = forward(network().to(device, dtype, channels_last), x, box, shape, slabs)
    assert output.device == device and output.dtype == torch.float32 and output.shape[2:] == box.shape


def gpu_or_skip():
    for name, here in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if here:
            return name
    pytest.skip("no CUDA and no Apple GPU")


@pytest.mark.parametrize("width", [4, 16])
def test_gpu_equals_cpu_in_float32(width):
    name = gpu_or_skip()
    weights = network(width)
    engine = Engine(name, dtype="float32", fall_back=False)
    result = engine.run(weights, *case((96, 80, 70)))
    truth = Engine("cpu", dtype="float32").run(weights, *case((96, 80, 70)))
    assert np.abs(result - truth).max() <= 1e-4 * truth.std()


def test_gpu_in_its_fast_type_stays_within_the_limit():
    name = gpu_or_skip()
    engine = Engine(name, fall_back=False)
    result = engine.run(network(16), *case((96, 80, 70)))
    truth = Engine("cpu", dtype="float32").run(network(16), *case((96, 80, 70)))
    assert precision.compare(result, truth).passed


def test_gpu_repeats_its_bits():
    engine = Engine(gpu_or_skip(), fall_back=False)
    first, second = (engine.run(network(8), *case((64, 64, 64))) for _ in range(2))
    assert np.array_equal(first, second)


def test_every_plan_gives_the_same_map_on_a_gpu(monkeypatch):
    name = gpu_or_skip()
    maps = []
    for plan in (Slabs(True, 1 << 30), Slabs(True, 4 << 20), Slabs(False, 4 << 20)):
        monkeypatch.setattr(inference, "LADDER", (plan,))
        maps.append(Engine(name, dtype="float32", fall_back=False).run(network(8), *case((96, 80, 70))))
    for other in maps[1:]:
        assert np.abs(other - maps[0]).max() <= 1e-4 * maps[0].std()


def test_gpu_filled_by_somebody_else_takes_a_smaller_plan_or_the_cpu():
    if gpu_or_skip() != "cuda":
        pytest.skip("free memory of an Apple GPU cannot be taken away for a test")
    weights, (x, mask) = network(16), case((160, 144, 144))
    truth = Engine("cpu", dtype="float32").run(weights, x, mask)
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(int(free - 700e6), dtype=torch.uint8, device="cuda")
    engine = Engine("cuda", dtype="float32")
    result = engine.run(weights, x, mask)
    del taken
    torch.cuda.empty_cache()
    assert engine.reports[0].refused
    assert np.abs(result - truth).max() <= 1e-4 * truth.std()


def test_cancel_on_a_gpu_takes_less_than_2_seconds():
    import threading

    from ChiSepExtension.errors import Cancelled
    from ChiSepExtension.progress import CancelToken

    name, token, cancelled_at = gpu_or_skip(), CancelToken(), []
    timer = threading.Timer(0.5, lambda: (cancelled_at.append(time.perf_counter()), token.cancel()))
    engine, weights, (x, mask) = Engine(name, fall_back=False), network(32), case((192, 160, 160))
    engine.run(weights, x, mask)
    timer.start()
    with pytest.raises(Cancelled):
        for _ in range(10_000):
            engine.run(weights, x, mask, cancel=token)
    assert time.perf_counter() - cancelled_at[0] < 2


def test_benchmark_on_a_gpu_meets_its_aims():
    if gpu_or_skip() != "cuda":
        pytest.skip("the aims are CUDA's")
    if not os.environ.get("CHISEP_GPU_BENCHMARK"):
        pytest.skip("set CHISEP_GPU_BENCHMARK=1: needs 12 GB on the GPU and a minute")
    figures = benchmark_inference(device="cuda", ways=("plain", "engine-auto"))
    best = figures["ways"]["engine-auto"]
    assert best["time_ratio"] <= 0.25 and best["device_peak_ratio"] <= 0.5
