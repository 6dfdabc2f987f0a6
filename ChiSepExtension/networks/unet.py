"""The 3-D U-Net of χ-sepnet as a torch module: for training, for loading checkpoints, and as plain reference.

Inference on whole heads goes through `inference`, which gives the same numbers in a fraction of time and memory.
"""

from __future__ import annotations

import torch
from torch import nn

from . import layout
from .layout import BATCH_NORM_EPS, DECODER, ENCODER, LEVELS, PUBLISHED_WIDTH


class ConvBlock(nn.Module):
    """3×3×3 convolution, batch normalisation, ReLU."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(width_in, width, kernel_size=3, padding=1)
        self.bn = nn.BatchNorm3d(width, eps=BATCH_NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


class UpBlock(nn.Module):
    """Doubling of every axis by a transposed convolution, neither normalised nor rectified."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose3d(width_in, width, kernel_size=2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.deconv(x)


class OutputBlock(nn.Module):
    """1×1×1 convolution, linear."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(width_in, width, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class UNet3d(nn.Module):
    """The published U-Net (Kim et al., Hum Brain Mapp 2025;46:e70136), its parameters named as in the checkpoints.

    Parameters
    ----------
    in_channels, out_channels
        1, 1 for QSMnet and R2PRIMEnet; 3, 2 for χ-sepnet; anything for a network of one's own.
    base_width
        Channels at full resolution; doubles at each of the four poolings. 32 in the published networks.
    """

    def __init__(self, in_channels: int, out_channels: int, base_width: int = PUBLISHED_WIDTH) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.base_width = in_channels, out_channels, base_width
        blocks = layout.convolutions(in_channels, base_width)
        for name in (name for pair in ENCODER for name in pair):
            self.add_module(name, ConvBlock(*blocks[name]))
        for level in reversed(range(LEVELS - 1)):
            up, first, second = DECODER[level]
            self.add_module(up, UpBlock(base_width << (level + 1), base_width << level))
            self.add_module(first, ConvBlock(*blocks[first]))
            self.add_module(second, ConvBlock(*blocks[second]))
        self.out = OutputBlock(base_width, out_channels)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, in_channels, a, b, c) to (batch, out_channels, a, b, c); axes are multiples of 16."""
        bad = [n for n in x.shape[2:] if n % layout.MULTIPLE]
        if bad:
            raise ValueError(f"Axes of {tuple(x.shape[2:])} voxels are not multiples of {layout.MULTIPLE}.")
        skips = []
        for level, pair in enumerate(ENCODER):
            if level:
                x = nn.functional.max_pool3d(x, 2)
            for name in pair:
                x = getattr(self, name)(x)
            skips.append(x)
        for level in reversed(range(LEVELS - 1)):
            up, first, second = (getattr(self, name) for name in DECODER[level])
            x = second(first(torch.cat([up(x), skips[level]], dim=1)))
        return self.out(x)
