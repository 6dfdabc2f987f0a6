"""Array engine of the iterative separation in torch, for GPUs. torch is imported when the engine is made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import InputError


class TorchEngine:
    """What `joint_admm` needs of an array library, in torch on one device.

    Raises
    ------
    InputError
        If torch or the device is not there.
    """

    def __init__(self, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], device: str) -> None:
        try:
            import torch
        except ImportError as error:
            raise InputError(
                f'The device "{device}" needs PyTorch, which is not installed.',
                'Install torch, or use the device "cpu".',
            ) from error
        self.torch = torch
        self.shape = tuple(shape)
        self.spacing_mm = spacing_mm
        try:
            self.device = torch.device(device)
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f'There is no device "{device}" on this computer.', 'Use "cpu" or "auto".') from error
        self.name = f"torch {self.device}"

    def array(self, values: np.ndarray):
        return self.torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def to_numpy(self, values) -> np.ndarray:
        return values.cpu().numpy()

    def zeros(self, *lead: int):
        return self.torch.zeros((*lead, *self.shape), dtype=self.torch.float32, device=self.device)

    def rfftn(self, values):
        return self.torch.fft.rfftn(values)

    def irfftn(self, spectrum):
        return self.torch.fft.irfftn(spectrum, self.shape)

    def pointwise(self, work: Callable[[slice], None]) -> None:
        work(slice(None))

    def shrink_gradients(self, maps: list, duals: list, rights: list, threshold) -> None:
        torch = self.torch
        sums = [torch.stack([(x.roll(-1, axis) - x) / d for axis, d in enumerate(self.spacing_mm)]) for x in maps]
        squared = self.zeros()
        for t, s in zip(sums, duals):
            t += s
            squared += (t * t).sum(0)
        kept = (threshold / squared.sqrt_().clamp_(min=1e-20)).clamp_(max=1)
        for t, s, right in zip(sums, duals, rights):
            torch.mul(t, kept, out=s)
            torch.mul(t, 1 - 2 * kept, out=right)

    def gradient_adjoint(self, g, out):
        out.zero_()
        for axis, d in enumerate(self.spacing_mm):
            out += (g[axis].roll(1, axis) - g[axis]) / d
        return out

    def norm(self, values) -> float:
        return float(self.torch.linalg.vector_norm(values))
