"""The loss of a patch: how far the prediction is from the truth inside the mask, in units of the output's SD."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LossWeights:
    """Weights of the three terms; edges count a little on their own, as in the published training."""

    l1: float = 1.0
    l2: float = 0.5
    gradient: float = 0.1


def masked_loss(
    prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, weights: LossWeights | None = None
) -> torch.Tensor:
    """l1·mean|p − t| + l2·mean (p − t)² + gradient·mean|∇p − ∇t|, means over the voxels of the mask and all channels.

    Parameters
    ----------
    prediction, target
        (batch, channel, a, b, c), normalised.
    mask
        (batch, 1, a, b, c), 1 inside and 0 outside. A difference of neighbours counts if both lie inside.

    Returns
    -------
    A scalar; 0 for an empty mask.
    """
    weights = LossWeights() if weights is None else weights
    error = (prediction.float() - target) * mask
    channels = error.shape[1]
    voxels = (mask.sum() * channels).clamp(min=1)
    loss = weights.l1 * error.abs().sum() / voxels + weights.l2 * error.square().sum() / voxels
    total, pairs = error.new_zeros(()), mask.new_zeros(())
    for axis in (2, 3, 4):
        n = error.shape[axis]
        both = mask.narrow(axis, 1, n - 1) * mask.narrow(axis, 0, n - 1)
        # Both maps are linear in their values, so the gradient of the error is the error of the gradient.
        step = error.narrow(axis, 1, n - 1) - error.narrow(axis, 0, n - 1)
        total = total + (step * both).abs().sum()
        pairs = pairs + both.sum() * channels
    return loss + weights.gradient * total / pairs.clamp(min=1)
