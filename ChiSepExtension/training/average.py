"""Exponential moving average of a network: its weights and its running statistics, which belong together."""

from __future__ import annotations

import torch

#: Half of the average comes from the last 140 steps.
LARGEST_DECAY = 0.995


class Average:
    """Averaged state dictionary of a module; young averages forget faster, so that the start does not linger."""

    def __init__(self, module: torch.nn.Module, decay: float = LARGEST_DECAY) -> None:
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module, step: int) -> None:
        """Take in the module after step ``step`` (from 1): decay min(0.995, (1 + step) / (10 + step))."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)
