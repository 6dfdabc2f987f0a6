"""Truth and every method side by side in the same window, with the errors below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..quality.colormaps import colorize
from ..quality.slices import font
from ..volume_io import atomic_path
from .benchmark import Row

#: Title (the built-in font has no χ), key of the cut, displayed span in ppb, colours.
_ROWS = (
    ("chi-para", "para_axial", (0.0, 120.0), "gray"),
    ("chi-dia", "dia_axial", (0.0, 60.0), "gray"),
    ("chi-para, coronal", "para_coronal", (0.0, 120.0), "gray"),
    ("error of chi-para", "para_axial", (-30.0, 30.0), "diverging"),
    ("error of chi-dia", "dia_axial", (-30.0, 30.0), "diverging"),
)
_HEIGHT, _MARGIN, _LEFT, _TOP = 210, 6, 118, 40


def draw_methods(rows: list[Row], cuts: Path, path: Path) -> Path:
    """One column for the truth and one for each row's method; rows are of one case and stage."""
    columns = [("truth", None), *((row.method, row) for row in rows)]
    contents = [dict(np.load(cuts / row.cuts, allow_pickle=False)) for row in rows]
    z, y, x = contents[0]["spacing"]
    tiles = [[_tile(column, n, contents, how, (z, y, x)) for n, column in enumerate(columns)] for how in _ROWS]
    widest = [max(line[n].width for line in tiles) for n in range(len(columns))]
    width = _LEFT + sum(column + _MARGIN for column in widest)
    page = Image.new("RGB", (width, _TOP + sum(line[0].height + _MARGIN for line in tiles) + 24), "black")
    draw = ImageDraw.Draw(page)
    top = _TOP
    for line, (name, _, (low, high), _) in zip(tiles, _ROWS):
        left = _LEFT
        draw.text((6, top + 6), f"{name}\n{low:g} … {high:g} ppb", fill="white", font=font(13))
        for tile, column, (title, _) in zip(line, widest, columns):
            page.paste(tile, (left + (column - tile.width) // 2, top))
            if top == _TOP:
                draw.text((left, 4), _wrapped(title), fill="white", font=font(13))
            left += column + _MARGIN
        top += line[0].height + _MARGIN
    about = f"{rows[0].head}, regime ({rows[0].regime}), {rows[0].stage}. Simulated head. Research use only."
    draw.text((6, top), about, fill=(255, 210, 90), font=font(13))
    with atomic_path(path) as temporary:
        page.save(temporary)
    return path


def _tile(column: tuple, number: int, contents: list, how: tuple, spacing: tuple) -> Image.Image:
    _, key, (low, high), colors = how
    content = contents[max(number - 1, 0)]
    is_error = colors == "diverging"
    values = content[f"true_{key}"] if column[1] is None else content[key]
    shown = values - content[f"true_{key}"] if is_error else values
    mask = (content["para_axial"] != 0) | (content["dia_axial"] != 0)
    if is_error and column[1] is not None and mask.any():
        shown = np.where(mask, shown, 0)
    pixels = colorize(1000 * shown[::-1, ::-1], low, high, colors)
    step = spacing[0] if key.endswith("coronal") else spacing[1]
    size = (max(1, round(_HEIGHT * shown.shape[1] * spacing[2] / (shown.shape[0] * step))), _HEIGHT)
    return Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BILINEAR)


def _wrapped(text: str, width: int = 24) -> str:
    words, lines = text.replace("′", "'").replace("χ", "chi").split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines[:2])
