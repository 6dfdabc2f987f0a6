"""A picture strip of one lesion: the same cut through every map, for a file or a talk, without the patient's name.

Each tile has its window as a bar with unit, direction letters and a scale bar; the strip has the case code and the
research-use notice. Drawn from arrays: what is on screen, corner texts among it, cannot leak in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from ..errors import InputError
from ..geometry import to_closest_ras
from ..notice import RESEARCH_USE
from ..quality import slices
from ..quality.colormaps import colorize
from ..volume_io import atomic_path
from .canonical import canonical_view
from .components import LesionSet

#: Windows of the preset "Lesion" in shown units: title (Pillow's own font has no chi), unit, factor, low, high.
LESION_WINDOWS: dict[str, tuple[str, str, float, float, float]] = {
    "chi_para": ("chi-para", "ppb", 1e3, 0, 50),
    "chi_dia": ("|chi-dia|", "ppb", 1e3, 0, 60),
    "chi_total": ("chi-total", "ppb", 1e3, -50, 50),
    "qsm": ("QSM", "ppb", 1e3, -50, 50),
    "r2star": ("R2*", "1/s", 1, 0, 35),
    "r2prime": ("R2'", "1/s", 1, 0, 15),
}
_OUTLINE = (240, 227, 66)
_SCALE_MM = 10.0
_PAD, _BAR, _LABELS, _HEAD, _FOOT = 6, 12, 42, 22, 26


@dataclass(frozen=True, eq=False)
class Strip:
    """The picture, and every text drawn into it."""

    image: Image.Image
    texts: tuple[str, ...]

    def write(self, path: str | os.PathLike) -> Path:
        """Write a PNG; its only metadata is the notice."""
        path = Path(path)
        about = PngImagePlugin.PngInfo()
        about.add_text("Description", _NOTICE)
        with atomic_path(path) as temporary:
            self.image.save(temporary, format="PNG", pnginfo=about)
        return path


_NOTICE = RESEARCH_USE.replace("—", "-")  # no dash in Pillow's own font


def lesion_strip(
    maps: Mapping[str, np.ndarray],
    lesions: LesionSet,
    uid: str,
    *,
    case: str,
    label: str = "",
    plane: str = "axial",
    field_mm: float = 40.0,
    tile: int = 220,
    outline: bool = True,
    remarks: Sequence[str] = (),
) -> Strip:
    """Cuts through the lesion's jump voxel, patient's right on the left.

    Parameters
    ----------
    maps
        (z, y, x) on the grid of the lesions, by name, in their own unit; unknown ones (FLAIR) are shown between their
        1st and 99th percentile, in arbitrary units.
    label
        What the lesion is called in the picture; blind readers see a position instead of a name.
    field_mm, tile
        Side of the square that is shown, in mm and in pixels.
    remarks
        Further texts for the last line, such as an override of the input gate.
    """
    if not maps:
        raise InputError("There is no map to draw.", "Choose the maps of the case first.")
    lesion = lesions[uid]
    turn = to_closest_ras(lesions.grid)
    grid = turn.target
    turned = {name: canonical_view(array, turn) for name, array in maps.items()}
    inside = canonical_view(lesions.labels, turn) == lesion.label
    centre = np.rint(grid.ras_to_index(lesions.grid.index_to_ras(np.array(lesion.jump_voxel)))).astype(int)
    axis = slices.PLANES[plane][0]
    window = _field(centre, axis, grid.spacing_mm, field_mm)
    texts: list[str] = []
    tiles = [
        _tile(name, _crop(array, axis, centre, window), _crop(inside, axis, centre, window) if outline else None,
              array, plane, field_mm, tile, texts)
        for name, array in turned.items()
    ]  # fmt: skip
    width = sum(t.width for t in tiles) + _PAD * (len(tiles) + 1)
    sheet = Image.new("RGB", (width, tile + _HEAD + _FOOT + 2 * _PAD), "black")
    x = _PAD
    for picture in tiles:
        sheet.paste(picture, (x, _PAD))
        x += picture.width + _PAD
    caption = "   ".join([f"{case} {label or lesion.name}", plane, *remarks, _NOTICE])
    ImageDraw.Draw(sheet).text((_PAD, sheet.height - _FOOT + 4), caption, fill=(255, 210, 90), font=slices.font(14))
    return Strip(sheet, (*texts, caption))


def lesion_thumbnail(
    maps: Mapping[str, np.ndarray], lesions: LesionSet, uid: str, *, field_mm: float = 40.0, tile: int = 96
) -> Image.Image:
    """The same cuts without bars and texts, for the screen that has them elsewhere."""
    lesion, turn = lesions[uid], to_closest_ras(lesions.grid)
    centre = np.rint(turn.target.ras_to_index(lesions.grid.index_to_ras(np.array(lesion.jump_voxel)))).astype(int)
    window = _field(centre, 0, turn.target.spacing_mm, field_mm)
    sheet = Image.new("RGB", (len(maps) * (tile + 2), tile), "black")
    for n, (name, array) in enumerate(maps.items()):
        _, _, factor, low, high = LESION_WINDOWS[name]
        cut = _crop(canonical_view(array, turn), 0, centre, window)
        pixels = Image.fromarray(colorize(cut.astype(np.float32) * factor, low, high, "gray"))
        sheet.paste(pixels.resize((tile, tile), Image.Resampling.BILINEAR), (n * (tile + 2), 0))
    return sheet


def _field(centre: np.ndarray, axis: int, spacing_mm, field_mm: float) -> list[tuple[int, int]]:
    """First and last index along the two axes of the picture, which may lie outside the array."""
    half = [max(1, round(field_mm / 2 / spacing_mm[a])) for a in range(3) if a != axis]
    middle = [int(centre[a]) for a in range(3) if a != axis]
    return [(m - h, m + h + 1) for m, h in zip(middle, half)]


def _crop(volume: np.ndarray, axis: int, centre: np.ndarray, window) -> np.ndarray:
    """The cut, zero outside the array, first row on top, patient's right (or anterior) on the left."""
    plane = np.take(volume, int(centre[axis]), axis=axis)
    picture = np.zeros([stop - start for start, stop in window], plane.dtype)
    source = [slice(max(0, start), min(n, stop)) for (start, stop), n in zip(window, plane.shape)]
    target = [slice(s.start - start, s.stop - start) for s, (start, _) in zip(source, window)]
    picture[tuple(target)] = plane[tuple(source)]
    return picture[::-1, ::-1]


def _tile(name, cut, inside, whole, plane: str, field_mm: float, size: int, texts: list[str]) -> Image.Image:
    if name in LESION_WINDOWS:
        title, unit, factor, low, high = LESION_WINDOWS[name]
    else:
        low, high = slices.robust_window(whole[::4, ::4, ::4])
        title, unit, factor = name, "a.u.", 1.0
    pixels = Image.fromarray(colorize(cut.astype(np.float32) * factor, low, high, "gray"))
    picture = pixels.resize((size, size), Image.Resampling.BILINEAR)
    if inside is not None:
        enlarged = np.asarray(Image.fromarray(inside.astype(np.uint8) * 255).resize((size, size), 0)) > 127
        drawn = np.array(picture)
        drawn[slices.outline(enlarged)] = _OUTLINE
        picture = Image.fromarray(drawn)
    left, top = slices.PLANES[plane][1:]
    right = {"R": "L", "A": "P"}[left]
    slices.letter(picture, plane)
    draw = ImageDraw.Draw(picture)
    style = {"fill": "white", "stroke_width": 2, "stroke_fill": "black", "font": slices.font(15)}
    draw.text((size - 14, size // 2 - 9), right, **style)
    length = round(_SCALE_MM / field_mm * size)
    draw.line([(8, size - 10), (8 + length, size - 10)], fill="white", width=3)
    draw.text((8, size - 32), f"{_SCALE_MM:g} mm", **style)
    tile = Image.new("RGB", (size + _BAR + _LABELS, size + _HEAD), "black")
    tile.paste(picture, (0, _HEAD))
    ramp = np.linspace(high, low, size)[:, np.newaxis].repeat(_BAR, axis=1)
    tile.paste(Image.fromarray(colorize(ramp, low, high, "gray")), (size + 3, _HEAD))
    draw = ImageDraw.Draw(tile)
    heading = f"{title} [{unit}]"
    draw.text((2, 2), heading, fill="white", font=slices.font(14))
    ends = [f"{high:.4g}", f"{(low + high) / 2:.4g}", f"{low:.4g}"]
    for text, share in zip(ends, (0.0, 0.5, 1.0)):
        draw.text((size + _BAR + 6, _HEAD + round(share * (size - 14))), text, fill="white", font=slices.font(12))
    texts += [heading, *ends, left, right, top, f"{_SCALE_MM:g} mm"]
    return tile
