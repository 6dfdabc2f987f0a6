"""The inference engine: runs networks on whole heads, exactly, and within the memory that is there.

A plan is made from what the device has free; a plan that fails for memory is followed by the next smaller one, at
last on the CPU. All plans give the same map (`forward`); only the number type and the device may differ, and each is
used only after it was compared with float32 on the CPU, on a block of the same data.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import InputError, MemoryLimitError
from ..progress import NEVER, CancelToken, Progress, silent
from . import memory, precision
from .dry_run import Cost, cost
from .folding import FoldedNetwork
from .forward import Slabs, forward
from .layout import MULTIPLE
from .precision import PrecisionCheck
from .regions import Region, bounding_box

#: Plans from the largest to the smallest. At base width 32 and a 176×140×140 brain they hold 1.05, 1.01 and 0.52 GB
#: of float32 features, for 1.03, 1.07 and 1.23 T multiply-adds; thinner slabs save nothing more, only cost.
LADDER = (Slabs(True, 1 << 30), Slabs(True, 128 << 20), Slabs(False, 128 << 20))

#: Workspace of the convolution libraries, as part of the features and in bytes. On a CPU 0.14 to 0.18 GB were measured
#: beside 0.5 to 1.1 GB of features; the accelerators' are guesses on the safe side.
WORKSPACE = {"cuda": (0.5, 512 << 20), "mps": (0.5, 256 << 20), "cpu": (0.25, 128 << 20)}

#: Side of the block on which a reduced number type is compared with float32: 0.3 % of the work of a head.
CHECK_SIDE = 48

#: Accelerators run ahead of Python; every so many multiply-adds the engine waits, so that cancelling stays prompt.
MULTIPLY_ADDS_BETWEEN_WAITS = 5e11


@dataclass(frozen=True)
class RunReport:
    """How one network was run: for the provenance and the benchmark."""

    network: str
    device: str
    dtype: str
    slabs: Slabs
    shape: tuple[int, int, int]
    box: tuple[int, int, int]
    seconds: float
    cost: Cost
    #: Of the fastest type that was tried: the one that ran, or the one that did not pass.
    precision_check: PrecisionCheck | None
    refused: tuple[str, ...]


def choose_device(name: str = "auto") -> torch.device:
    """Device by name ("auto", "cpu", "cuda", "cuda:1", "mps"); auto takes a GPU where there is one.

    Raises
    ------
    InputError
        If the device does not exist here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return _numbered(torch.device("cuda"))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    remedy = "Choose auto or cpu, or look at the list of devices."
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"There is no kind of device called {name!r}.", remedy) from error
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here.get(device.type, False):
        raise InputError(f"This computer, or its PyTorch, has no device {name!r}.", remedy)
    return _numbered(device)


def _numbered(device: torch.device) -> torch.device:
    """ "cuda" as "cuda:0": before torch 2.6 `torch.cuda.mem_get_info` does not take it without its number."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


class Engine:
    """Runs networks one after the other on one device, and remembers how (`reports`).

    Parameters
    ----------
    device
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    dtype
        "auto", "float32", "bfloat16" or "float16". Auto takes the device's fast type if its error passes.
    memory_bytes
        Upper limit for features and weights; by default what the device has free.
    fall_back
        Go on the CPU when the device has no room left, lacks an operation, fails, or computes something else.
    """

    def __init__(
        self,
        device: str = "auto",
        *,
        dtype: str = "auto",
        memory_bytes: int | None = None,
        fall_back: bool = True,
    ) -> None:
        if dtype != "auto" and dtype not in precision.NAMES:
            raise InputError(f"There is no number type {dtype!r}.", f"Choose auto or {', '.join(precision.NAMES)}.")
        self.device = choose_device(device)
        self.dtype, self.memory_bytes, self.fall_back = dtype, memory_bytes, fall_back
        self.reports: list[RunReport] = []
        self._moved: dict[tuple, tuple[FoldedNetwork, FoldedNetwork]] = {}
        self._checked: dict[tuple, tuple[FoldedNetwork, PrecisionCheck]] = {}
        #: Why a device is not asked again.
        self._given_up: dict[torch.device, str] = {}

    def run(
        self,
        network: FoldedNetwork,
        channels: np.ndarray,
        mask: np.ndarray,
        *,
        name: str = "network",
        progress: Progress = silent,
        cancel: CancelToken = NEVER,
    ) -> np.ndarray:
        """Output of the network inside the mask's box; 0 outside the box.

        Parameters
        ----------
        network
            Folded weights, float32 on the CPU.
        channels
            (in_channels, a, b, c) float32, normalised, 0 outside the mask, in the network's axis order.
        mask
            (a, b, c) bool; any size, padded with 0 to multiples of 16 here and un-padded again.

        Returns
        -------
        (out_channels, a, b, c) float32, normalised.

        Raises
        ------
        MemoryLimitError
            If no plan fits, on the device or on the CPU.
        Cancelled
            Within two seconds of the user's wish.
        """
        if channels.shape != (network.in_channels, *mask.shape):
            raise ValueError(f"Channels {channels.shape}, mask {mask.shape}, {network.in_channels} input channels.")
        result = np.zeros((network.out_channels, *mask.shape), dtype=np.float32)
        if not mask.any():
            return result
        inside = bounding_box(mask)
        view = (slice(None), *inside.within(Region.whole(mask.shape)))
        before = [(-n % MULTIPLE) // 2 for n in mask.shape]
        box = Region(
            tuple(a + n for a, n in zip(inside.start, before)), tuple(b + n for b, n in zip(inside.stop, before))
        )
        shape = tuple(n + -n % MULTIPLE for n in mask.shape)
        job = _Job(name, network, np.ascontiguousarray(channels[view], dtype=np.float32), box, shape, progress, cancel)
        result[view] = self._with_fall_back(job)
        progress(1.0, name)
        return result

    def _with_fall_back(self, job: _Job) -> np.ndarray:
        devices = [self.device]
        if self.fall_back and self.device.type != "cpu":
            devices.append(torch.device("cpu"))
        refused = [self._given_up[device] for device in devices if device in self._given_up]
        for device in devices:
            for slabs in LADDER if device not in self._given_up else ():
                try:
                    output = self._attempt(job, device, slabs, refused)
                except (RuntimeError, TypeError) as error:
                    if device.type == "cpu" or not self.fall_back:
                        raise
                    # Whatever went wrong there, the CPU can do it; the reason goes into the report.
                    self._given_up[device] = _reason(device, error)
                    refused.append(self._given_up[device])
                    self._forget(device)
                    break
                if output is not None:
                    return output
                gc.collect()  # a failed attempt's features may hang in reference cycles of its traceback
                memory.release(device)
        raise MemoryLimitError(
            f"{job.name} does not fit into memory: {'; '.join(refused)}.",
            "Close other programs, or give the run a machine with more memory.",
        )

    def _attempt(self, job: _Job, device: torch.device, slabs: Slabs, refused: list[str]) -> np.ndarray | None:
        """Output, or None with a reason in ``refused`` if memory is short."""
        failure = None
        try:
            for dtype in self._candidates(device):
                planned = cost(job.network, job.box, job.shape, slabs, dtype, _channels_last(device))
                need, free = self._need(planned, device, dtype, job.network), self._free(device)
                if need > free:
                    failure = f"needs {need / 1e9:.2f} GB of {free / 1e9:.2f} GB free"
                    break
                if self._agrees(job, device, dtype):
                    return self._compute(job, device, dtype, slabs, planned, tuple(refused))
            else:
                raise _OtherNumbers(f"computes other numbers than the CPU (by {self._check_of(job, device, dtype)})")
        except (RuntimeError, MemoryError) as error:
            if not memory.is_out_of_memory(error):
                raise
            failure = "ran out of memory"
        refused.append(f"{device.type} with slabs of {slabs.slab_bytes >> 20} MB {failure}")
        return None

    def _compute(
        self, job: _Job, device: torch.device, dtype: torch.dtype, slabs: Slabs, planned: Cost, refused: tuple[str, ...]
    ) -> np.ndarray:
        started = time.perf_counter()
        output = self._pass(job, device, dtype, slabs, planned.multiply_adds)
        if dtype != torch.float32 and not np.isfinite(output).all():
            failed = PrecisionCheck(float("inf"), float("inf"))
            self._checked[(id(job.network), device, dtype)] = (job.network, failed)
            dtype = torch.float32
            output = self._pass(job, device, dtype, slabs, planned.multiply_adds)
        if not np.isfinite(output).all():
            raise InputError(
                f"{job.name} gave values that are not numbers.",
                "Check that field and relaxation maps are finite and in ppm and 1/s.",
            )
        self.reports.append(
            RunReport(
                job.name,
                str(device),
                str(dtype).removeprefix("torch."),
                slabs,
                job.shape,
                job.box.shape,
                time.perf_counter() - started,
                planned,
                self._check_of(job, device, self._candidates(device)[0]),
                refused,
            )
        )
        return output

    def _pass(self, job: _Job, device: torch.device, dtype: torch.dtype, slabs: Slabs, total: float) -> np.ndarray:
        network = self._on_device(job.network, device, dtype)
        with torch.inference_mode(), exact_float32():
            tick = _Tick(job, device, total)
            output = forward(network, _tensor(job.x, device, dtype), job.box, job.shape, slabs, tick)
            return output[0].cpu().numpy()

    def _candidates(self, device: torch.device) -> tuple[torch.dtype, ...]:
        """Number types to try on a device, the fastest first."""
        if self.dtype != "auto":
            return (precision.NAMES[self.dtype],)
        fast = precision.fast_dtype(device)
        return (fast,) if fast == torch.float32 else (fast, torch.float32)

    def _agrees(self, job: _Job, device: torch.device, dtype: torch.dtype) -> bool:
        """True if device and number type reproduce float32 on the CPU, which is the truth, on a block of the data.

        A number type that the user chose must only not be absurd on an accelerator, and is taken as it is on the CPU.
        """
        chosen = self.dtype != "auto" and dtype != torch.float32
        if device.type == "cpu" and (chosen or dtype == torch.float32):
            return True
        if self._check_of(job, device, dtype) is None:
            block, cpu = job.block(CHECK_SIDE), torch.device("cpu")
            exact = self._pass(block, cpu, torch.float32, LADDER[0], 0.0)
            check = precision.compare(self._pass(block, device, dtype, LADDER[0], 0.0), exact)
            self._checked[(id(job.network), device, dtype)] = (job.network, check)
            if device.type != "cpu" or check.passed:
                self._moved.pop((id(job.network), cpu, torch.float32))
        check = self._check_of(job, device, dtype)
        if dtype == torch.float32:
            return check.nrmse <= precision.SAME_NRMSE
        good = check.nrmse <= precision.ABSURD_NRMSE if chosen else check.passed
        if not good:
            self._moved.pop((id(job.network), device, dtype), None)
        return good

    def _check_of(self, job: _Job, device: torch.device, dtype: torch.dtype) -> PrecisionCheck | None:
        # The network is kept beside its check, so that its id stays its own.
        return self._checked.get((id(job.network), device, dtype), (None, None))[1]

    def _forget(self, device: torch.device) -> None:
        """Let go of the weights on a device that is not asked again."""
        for key in [key for key in self._moved if key[1] == device]:
            del self._moved[key]

    def _on_device(self, network: FoldedNetwork, device: torch.device, dtype: torch.dtype) -> FoldedNetwork:
        key = (id(network), device, dtype)
        if key not in self._moved:
            # The original is kept beside its copy, so that its id stays its own.
            self._moved[key] = (network, network.to(device, dtype, _channels_last(device)))
        return self._moved[key][1]

    def _free(self, device: torch.device) -> int:
        free = memory.free_bytes(device)
        return free if self.memory_bytes is None else min(free, self.memory_bytes)

    def _need(self, planned: Cost, device: torch.device, dtype: torch.dtype, network: FoldedNetwork) -> int:
        part, constant = WORKSPACE[device.type]
        moved = (id(network), device, dtype) in self._moved
        weights = 0 if moved else network.parameters * torch.empty((), dtype=dtype).element_size()
        return int(planned.feature_bytes * (1 + part) + constant + weights)


@dataclass(frozen=True, eq=False)
class _Job:
    name: str
    network: FoldedNetwork
    x: np.ndarray
    box: Region
    shape: tuple[int, int, int]
    progress: Progress
    cancel: CancelToken

    def block(self, side: int) -> _Job:
        """The middle of the box as a volume of its own."""
        view, size = [slice(None)], []
        for n in self.box.shape:
            m = min(n, side)
            start = (n - m) // 2
            view.append(slice(start, start + m))
            size.append(m)
        shape = tuple(n + -n % MULTIPLE for n in size)
        x = np.ascontiguousarray(self.x[tuple(view)])
        return _Job(self.name, self.network, x, Region.whole(tuple(size)), shape, silent, self.cancel)


class _Tick:
    """Progress and cancellation, once per convolution."""

    def __init__(self, job: _Job, device: torch.device, total: float) -> None:
        self.job, self.device, self.total = job, device, max(total, 1.0)
        self.done = self.waited = 0.0

    def __call__(self, multiply_adds: float) -> None:
        self.job.cancel.check()
        self.job.progress(min(self.done / self.total, 1.0), self.job.name)
        self.done += multiply_adds
        if self.done - self.waited > MULTIPLY_ADDS_BETWEEN_WAITS:
            self.waited = self.done
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            elif self.device.type == "mps":
                torch.mps.synchronize()


class _OtherNumbers(RuntimeError):
    """A device does not compute what the CPU does."""


def _reason(device: torch.device, error: Exception) -> str:
    """What made a device unfit, in words for the report."""
    if memory.is_unsupported(error):
        return f"{device.type} lacks an operation that the network needs"
    if isinstance(error, _OtherNumbers):
        return f"{device.type} {error}"
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{device.type} failed: {first[:200]}"


@contextmanager
def exact_float32() -> Iterator[None]:
    """float32 convolutions in float32, repeatable: no TF32, no choice of algorithm by timing."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def _channels_last(device: torch.device) -> bool:
    # 3-D channels-last is not implemented for all operations on Apple GPUs.
    return device.type != "mps"


def _tensor(x: np.ndarray, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.from_numpy(x)[None].to(device, dtype)
    return tensor.contiguous(memory_format=torch.channels_last_3d) if _channels_last(device) else tensor
