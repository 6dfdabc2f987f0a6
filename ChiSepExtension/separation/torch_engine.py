"""Array engine of the iterative separation in torch, for GPUs. torch is imported when the engine is made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import InputError
from .numpy_engine import QUANTILE_VOXELS


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

    def gradient(self, values):
        return self.torch.stack([(values.roll(-1, axis) - values) / d for axis, d in enumerate(self.spacing_mm)])

    def shrink_along_edges(self, maps: list, duals: list, rights: list, threshold: float, edges) -> None:
        torch = self.torch
        steps, over = [], []
        squared, squared_over = self.zeros(), self.zeros()
        for x, s in zip(maps, duals):
            t = self.gradient(x)
            t += s
            part = (t * edges.normal).sum(0)
            squared += (t * t).sum(0)
            squared_over += part * part
            steps.append(t)
            over.append(part)
        squared -= squared_over
        along = (threshold * edges.along / squared.clamp_(min=1e-20).sqrt_()).clamp_(max=1)
        rest = (threshold * edges.across / squared_over.clamp_(min=1e-20).sqrt_()).clamp_(max=1) - along
        for t, part, s, right in zip(steps, over, duals, rights):
            torch.mul(t, along, out=s)
            s += (part * rest) * edges.normal
            torch.sub(t, s, alpha=2, out=right)

    def gradient_adjoint(self, g, out):
        out.zero_()
        for axis, d in enumerate(self.spacing_mm):
            out += (g[axis].roll(1, axis) - g[axis]) / d
        return out

    def quantile(self, values, mask, share: float) -> float:
        """Quantile of the values in the mask, of every n-th voxel where there are millions."""
        inside = values[mask]
        return float(self.torch.quantile(inside[:: max(1, len(inside) // QUANTILE_VOXELS)], share))

    def where(self, condition, yes, no):
        return self.torch.where(condition, yes, no)

    def norm(self, values) -> float:
        return float(self.torch.linalg.vector_norm(values))
