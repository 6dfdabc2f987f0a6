"""Cutting pictures out of a volume: square pixels, patient's left on the right, letters that say so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..geometry import Grid, to_closest_ras

#: Array axis that each plane cuts, in closest-RAS order (z, y, x), and the letters left and top of its picture.
PLANES: dict[str, tuple[int, str, str]] = {
    "axial": (0, "R", "A"),
    "coronal": (1, "R", "S"),
    "sagittal": (2, "A", "S"),
}


@dataclass(frozen=True)
class Cut:
    """One slice of one plane, in closest-RAS order, and how it becomes a picture."""

    plane: str
    index: int
    size: tuple[int, int]

    def of(self, volume: np.ndarray) -> np.ndarray:
        """The slice of a closest-RAS (z, y, x) volume, first row at the top, radiological (patient's right left)."""
        axis = PLANES[self.plane][0]
        plane = np.take(volume, self.index, axis=axis)
        return plane[::-1, ::-1]  # superior or anterior up; R (or A, in sagittal cuts) at the left

    def scaled(self, pixels: np.ndarray, smooth: bool = True) -> Image.Image:
        """A picture of the cut's size from (rows, columns[, 3]) uint8 pixels."""
        resampling = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
        return Image.fromarray(np.ascontiguousarray(pixels)).resize(self.size, resampling)


def cut(plane: str, index: int, grid: Grid, height: int) -> Cut:
    """A cut of a closest-RAS grid, ``height`` pixels high, pixels square in mm."""
    axis = PLANES[plane][0]
    rows, columns = [n for n in range(3) if n != axis]
    height_mm = grid.shape[rows] * grid.spacing_mm[rows]
    width_mm = grid.shape[columns] * grid.spacing_mm[columns]
    return Cut(plane, int(index), (max(1, round(height * width_mm / height_mm)), height))


def middle_of(mask: np.ndarray) -> tuple[int, int, int]:
    """Index of the middle of a mask's bounding box."""
    if not mask.any():
        return tuple(n // 2 for n in mask.shape)
    spans = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return tuple(int((span[0] + span[-1]) // 2) for span in spans)


def closest_ras(grid: Grid, *volumes: np.ndarray | None) -> tuple[Grid, list[np.ndarray | None]]:
    """Volumes turned losslessly to closest RAS, and the grid they then lie on."""
    turn = to_closest_ras(grid)
    return turn.target, [None if v is None else turn.apply(v) for v in volumes]


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, which is there on every machine."""
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow < 10.1 has one size only
        return ImageFont.load_default()


def letter(picture: Image.Image, plane: str) -> None:
    """Write the direction letters of a plane into its picture: left edge and top edge."""
    draw = ImageDraw.Draw(picture)
    left, top = PLANES[plane][1:]
    style = {"fill": "white", "stroke_width": 2, "stroke_fill": "black", "font": font(15)}
    draw.text((4, picture.height // 2 - 9), left, **style)
    draw.text((picture.width // 2 - 5, 2), top, **style)


def outline(mask: np.ndarray) -> np.ndarray:
    """The inner edge of a 2-D mask."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def robust_window(volume: np.ndarray, mask: np.ndarray | None = None) -> tuple[float, float]:
    """1st and 99th percentile inside a mask, never an empty span."""
    values = volume[mask] if mask is not None and mask.any() else volume.ravel()
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low, low + 1.0)
