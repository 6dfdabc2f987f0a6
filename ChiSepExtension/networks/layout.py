"""Names, channels and sizes of the published 3-D U-Net: one table that every part of the room reads.

The layout is that of the released χ-sepnet checkpoints (Kim et al., Hum Brain Mapp 2025;46:e70136): five levels, two
convolutions each, transposed convolutions upward, a 1×1×1 convolution at the end. It needs no torch.
"""

from __future__ import annotations

#: Levels of the U-Net, full resolution first; the deepest one sees the volume at 1/16.
LEVELS = 5

#: Every axis of a volume must be a multiple of this: four poolings by two.
MULTIPLE = 2 ** (LEVELS - 1)

#: Width of the released networks at full resolution.
PUBLISHED_WIDTH = 32

#: PyTorch's default, which the released statistics were taken with.
BATCH_NORM_EPS = 1e-5

#: (first, second) convolution of each level on the way down, level 0 first; the last pair is the bottom.
ENCODER = (
    ("conv11", "conv12"),
    ("conv21", "conv22"),
    ("conv31", "conv32"),
    ("conv41", "conv42"),
    ("l_conv1", "l_conv2"),
)

#: (up-convolution, first, second convolution) of each level on the way up, level 0 first.
DECODER = (
    ("deconv1", "conv81", "conv82"),
    ("deconv2", "conv71", "conv72"),
    ("deconv3", "conv61", "conv62"),
    ("deconv4", "conv51", "conv52"),
)


def convolutions(in_channels: int, base_width: int) -> dict[str, tuple[int, int]]:
    """(channels in, channels out) of the 18 normalised 3×3×3 convolutions, in the order of the checkpoints."""
    table: dict[str, tuple[int, int]] = {}
    width_in = in_channels
    for level, (first, second) in enumerate(ENCODER):
        width = base_width << level
        table[first] = (width_in, width)
        table[second] = (width, width)
        width_in = width
    for level in reversed(range(LEVELS - 1)):
        _, first, second = DECODER[level]
        width = base_width << level
        table[first] = (2 * width, width)
        table[second] = (width, width)
    return table


def state_shapes(in_channels: int, out_channels: int, base_width: int) -> dict[str, tuple[int, ...]]:
    """Shape of each of the 136 entries of a checkpoint's state dictionary."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (width_in, width) in convolutions(in_channels, base_width).items():
        shapes[f"{name}.conv.weight"] = (width, width_in, 3, 3, 3)
        shapes[f"{name}.conv.bias"] = (width,)
        for entry in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{entry}"] = (width,)
        shapes[f"{name}.bn.num_batches_tracked"] = ()
    for level, (up, _, _) in enumerate(DECODER):
        width = base_width << level
        shapes[f"{up}.deconv.weight"] = (2 * width, width, 2, 2, 2)
        shapes[f"{up}.deconv.bias"] = (width,)
    shapes["out.conv.weight"] = (out_channels, base_width, 1, 1, 1)
    shapes["out.conv.bias"] = (out_channels,)
    return shapes


def multiply_adds_per_voxel(in_channels: int, out_channels: int, base_width: int) -> float:
    """Multiply-add operations of one pass, per voxel of the full-resolution volume."""
    level_of = {name: level for level, pair in enumerate(ENCODER) for name in pair}
    level_of |= {name: level for level, (_, *pair) in enumerate(DECODER) for name in pair}
    total = float(out_channels * base_width)
    for name, (width_in, width) in convolutions(in_channels, base_width).items():
        total += 27 * width_in * width / 8 ** level_of[name]
    for level in range(LEVELS - 1):
        width = base_width << level
        total += 2 * width * width / 8**level
    return total
