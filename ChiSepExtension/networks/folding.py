"""From a checkpoint's state dictionary to weights at rest: checked, batch normalisation folded into convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import WeightsError
from .layout import BATCH_NORM_EPS, DECODER, convolutions, state_shapes


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


def checked_weights(state: dict[str, torch.Tensor], out_channels: int, where: str) -> FoldedNetwork:
    """Fold a state dictionary after a strict check of names, shapes and values.

    Raises
    ------
    WeightsError
        If an entry is missing, surplus, of another shape, or not finite.
    """
    remedy = "It is not a network of the χ-sepnet layout, or not the one for this place; give the original file."
    first = state.get("conv11.conv.weight")
    if not isinstance(first, torch.Tensor) or first.ndim != 5:
        raise WeightsError(f"{where} holds no U-Net: the layer conv11 is missing.", remedy)
    expected = state_shapes(int(first.shape[1]), out_channels, int(first.shape[0]))
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    surplus = [key for key in state if key not in expected]
    if missing or surplus:
        raise WeightsError(
            f"{where} does not have the published layout: {_some('missing', missing)}{_some('unknown', surplus)}.",
            remedy,
        )
    for key, shape in expected.items():
        if key in state and not key.endswith("num_batches_tracked"):
            entry = state[key]
            if not isinstance(entry, torch.Tensor) or tuple(entry.shape) != shape:
                found = tuple(entry.shape) if isinstance(entry, torch.Tensor) else type(entry).__name__
                raise WeightsError(f"{where}: {key} has shape {found} instead of {shape}.", remedy)
            usable = entry.is_floating_point() and bool(torch.isfinite(entry).all())
            if not usable or (key.endswith("running_var") and bool((entry < 0).any())):
                raise WeightsError(f"{where}: {key} holds values that are not usable.", "The file is damaged.")
    return fold(state)


def _some(label: str, keys: list[str]) -> str:
    if not keys:
        return ""
    shown = ", ".join(keys[:3])
    return f"{len(keys)} entries {label} ({shown}{', …' if len(keys) > 3 else ''}) "
