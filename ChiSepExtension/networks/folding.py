"""Batch normalisation folded into the convolutions: fewer passes over memory, the same map."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .layout import BATCH_NORM_EPS, DECODER, convolutions


@dataclass(frozen=True, eq=False)
class FoldedNetwork:
    """Weights of a U-Net at rest: one (weight, bias) per layer, normalisation already inside.

    ``layers`` maps a layer's name to its pair of tensors; convolution weights are (out, in, k, k, k),
    up-convolutions (in, out, 2, 2, 2).
    """

    in_channels: int
    out_channels: int
    base_width: int
    layers: dict[str, tuple[torch.Tensor, torch.Tensor]]

    def to(self, device: torch.device, dtype: torch.dtype, channels_last: bool) -> FoldedNetwork:
        """The same network on a device, in a number type and memory layout."""
        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        layers = {
            name: (weight.to(device, dtype).contiguous(memory_format=layout), bias.to(device, dtype))
            for name, (weight, bias) in self.layers.items()
        }
        return FoldedNetwork(self.in_channels, self.out_channels, self.base_width, layers)

    @property
    def parameters(self) -> int:
        return sum(weight.numel() + bias.numel() for weight, bias in self.layers.values())


def fold(state: dict[str, torch.Tensor]) -> FoldedNetwork:
    """Fold the running statistics of a checked state dictionary (`layout.state_shapes`) into its convolutions.

    w' = w·γ/√(v + ε) and b' = (b − µ)·γ/√(v + ε) + β, in float64, so that folding costs no accuracy.
    """
    base_width, in_channels = state["conv11.conv.weight"].shape[:2]
    out_channels = state["out.conv.weight"].shape[0]
    layers = {}
    for name in convolutions(in_channels, base_width):
        entry = {key: state[f"{name}.{key}"].double() for key in _BLOCK}
        scale = entry["bn.weight"] / torch.sqrt(entry["bn.running_var"] + BATCH_NORM_EPS)
        weight = entry["conv.weight"] * scale[:, None, None, None, None]
        bias = (entry["conv.bias"] - entry["bn.running_mean"]) * scale + entry["bn.bias"]
        layers[name] = (weight.float(), bias.float())
    for up, _, _ in DECODER:
        layers[up] = (state[f"{up}.deconv.weight"].float(), state[f"{up}.deconv.bias"].float())
    layers["out"] = (state["out.conv.weight"].float(), state["out.conv.bias"].float())
    return FoldedNetwork(int(in_channels), int(out_channels), int(base_width), layers)


_BLOCK = ("conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
