"""Colour maps for pictures, as functions from 0..1 to RGB.

Inferno and Viridis are drawn through sample points of the published maps (S. van der Walt, N. Smith, E. Firing,
matplotlib, CC0); between them linear interpolation, which is within 2/255 of the originals.
"""

from __future__ import annotations

import numpy as np

_POINTS = {
    "gray": [(0, 0, 0), (255, 255, 255)],
    "inferno": [
        (0, 0, 4), (11, 7, 36), (32, 12, 74), (60, 9, 101), (87, 16, 110), (112, 25, 110), (136, 34, 106),
        (163, 43, 98), (188, 55, 84), (210, 70, 67), (227, 89, 51), (242, 114, 32), (249, 142, 9),
        (252, 172, 17), (249, 203, 53), (243, 232, 108), (252, 255, 164),
    ],
    "viridis": [
        (68, 1, 84), (72, 26, 108), (71, 47, 125), (65, 68, 135), (57, 86, 140), (49, 104, 142), (42, 120, 142),
        (35, 136, 142), (31, 152, 139), (34, 168, 132), (53, 183, 121), (84, 197, 104), (122, 209, 81),
        (165, 219, 54), (210, 226, 27), (253, 231, 37),
    ],
    "diverging": [(59, 76, 192), (141, 176, 254), (221, 221, 221), (244, 152, 122), (180, 4, 38)],
}  # fmt: skip


def colorize(values: np.ndarray, low: float, high: float, name: str) -> np.ndarray:
    """(…, 3) uint8 colours of ``values`` between ``low`` and ``high``; outside they saturate."""
    points = np.array(_POINTS[name], dtype=np.float64)
    position = np.clip((np.asarray(values, dtype=np.float64) - low) / (high - low), 0, 1)
    stops = np.linspace(0, 1, len(points))
    return np.stack([np.interp(position, stops, points[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)
