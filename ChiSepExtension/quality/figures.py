"""Pictures of a run: the two sources over the magnitude, and the page that shows whether a run can be trusted."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ..acquisition.gradient_echo import GradientEchoSeries
from ..notice import RESEARCH_USE
from ..result import Result
from . import slices
from .colormaps import colorize
from .gate_rows import Override

#: Pillow's built-in font has no dash.
_NOTICE = RESEARCH_USE.replace("—", "-")
_MARGIN = 10
_BAR = 26
_TITLE = 26


@dataclass(frozen=True)
class Window:
    """How a map is shown: displayed value = stored value · ``scale``, in ``unit``, between ``low`` and ``high``."""

    title: str
    unit: str
    scale: float
    low: float
    high: float
    colors: str = "gray"
    #: Below this displayed value an overlay is transparent.
    transparent_below: float | None = None


#: Survey windows for whole-brain pictures; overlays let through what is below the tissue's own level.
CHI_PARA = Window("chi-para (iron)", "ppb", 1e3, 0, 100, "inferno", 25)
CHI_DIA = Window("chi-dia (myelin: bright = more)", "ppb", 1e3, 0, 100, "viridis", 10)
CHI_TOTAL = Window("chi-total = chi-para - chi-dia", "ppb", 1e3, -100, 100)
R2STAR = Window("R2*", "1/s", 1, 0, 50)
R2PRIME = Window("R2'", "1/s", 1, 0, 25)
LOCAL_FIELD = Window("local field", "ppb", 1e3, -30, 30)


def overlay_picture(series: GradientEchoSeries, result: Result, *, height: int = 260) -> Image.Image:
    """χ_para (upper row) and χ_dia (lower row) over the first magnitude, in three planes, with bars in ppb."""
    grid, (magnitude, para, dia, mask) = slices.closest_ras(
        result.grid, series.magnitude[0], result.chi_para, result.chi_dia, result.mask
    )
    centre = slices.middle_of(mask)
    window = (0.0, 1.25 * slices.robust_window(magnitude, mask)[1])  # room above the brain: scalp fat is brighter
    rows = []
    for chi, how in ((para, CHI_PARA), (dia, CHI_DIA)):
        pictures = []
        for plane, (axis, _, _) in slices.PLANES.items():
            cut = slices.cut(plane, centre[axis], grid, height)
            base = np.asarray(cut.scaled(colorize(cut.of(magnitude), *window, "gray")))
            shown = np.asarray(Image.fromarray(cut.of(chi) * how.scale).resize(cut.size, Image.Resampling.BILINEAR))
            opaque = (shown >= how.transparent_below)[..., np.newaxis]
            color = colorize(shown, how.low, how.high, how.colors)
            blended = np.where(opaque, (0.35 * base + 0.65 * color).astype(np.uint8), base)
            picture = Image.fromarray(blended)
            slices.letter(picture, plane)
            pictures.append(picture)
        rows.append(_row(pictures, how))
    return _page(rows, _caption("Susceptibility sources over magnitude, echo 1.", result))


def quality_picture(series: GradientEchoSeries, result: Result, *, height: int = 250) -> Image.Image:
    """One axial cut of everything that a map depends on, in the order it was made, each with its bar and unit."""
    arrays = {"magnitude": series.magnitude[0], "last": series.magnitude[-1], "phase": series.phase[-1]}
    arrays.update({name: a for name, a in result.maps().items()})
    if result.brain_mask is not None:
        arrays["brain_mask"] = result.brain_mask
    names = list(arrays)
    grid, turned = slices.closest_ras(result.grid, *arrays.values())
    volume = dict(zip(names, turned))
    mask = volume["mask"]
    centre = slices.middle_of(mask)
    cut = slices.cut("axial", centre[0], grid, height)
    bright = slices.robust_window(volume["magnitude"], mask)[1]
    tiles = [
        (volume["magnitude"], Window("magnitude; masks: brain yellow, used red", "a.u.", 1, 0, bright), True),
        (volume["last"], Window(f"magnitude, TE {1e3 * series.echo_times_s[-1]:.3g} ms", "a.u.", 1, 0, bright), False),
        (volume["phase"], Window("phase of the last echo", "rad", 1, -np.pi, np.pi), False),
    ]
    if "total_field_hz" in volume:
        low, high = slices.robust_window(volume["total_field_hz"], mask)
        tiles.append((volume["total_field_hz"], Window("total field, unwrapped", "Hz", 1, low, high), False))
    tiles.append((volume["local_field_ppm"], LOCAL_FIELD, False))
    tiles.append((volume["r2star_hz"], R2STAR, False))
    tiles.append((volume["r2prime_hz"], R2PRIME, False))
    tiles.append((volume["chi_total"], CHI_TOTAL, False))
    tiles.append((volume["chi_para"], CHI_PARA, False))
    tiles.append((volume["chi_dia"], CHI_DIA, False))
    if "qsm" in volume:
        difference = Window("chi-total - QSM: clipping", "ppb", 1e3, -30, 30, "diverging")
        tiles.append((np.where(mask, volume["chi_total"] - volume["qsm"], 0), difference, False))
    pictures = []
    for array, how, with_masks in tiles:
        pixels = colorize(cut.of(array.astype(np.float32)) * how.scale, how.low, how.high, how.colors)
        if how.colors not in ("gray", "diverging"):
            pixels[~cut.of(mask)] = 0
        if with_masks:
            if "brain_mask" in volume:
                pixels[slices.outline(cut.of(volume["brain_mask"]))] = (255, 220, 0)
            pixels[slices.outline(cut.of(mask))] = (255, 40, 40)
        picture = cut.scaled(pixels, smooth=not with_masks)
        slices.letter(picture, "axial")
        pictures.append(_row([picture], how))
    per_row = 4
    rows = [_beside(pictures[n : n + per_row]) for n in range(0, len(pictures), per_row)]
    return _page(rows, _caption("Quality page, axial cut through the middle of the mask.", result))


def _row(pictures: list[Image.Image], how: Window) -> Image.Image:
    """Pictures side by side under a title, with one colour bar at the right."""
    label = 64
    width = sum(p.width for p in pictures) + _MARGIN * (len(pictures) + 1) + _BAR + label
    height = pictures[0].height + _TITLE
    row = Image.new("RGB", (width, height), "black")
    draw = ImageDraw.Draw(row)
    size = 16 if width > 420 else 12
    draw.text((_MARGIN, 4), f"{how.title} [{how.unit}]", fill="white", font=slices.font(size))
    x = _MARGIN
    for picture in pictures:
        row.paste(picture, (x, _TITLE))
        x += picture.width + _MARGIN
    ramp = np.linspace(how.high, how.low, pictures[0].height)[:, np.newaxis].repeat(_BAR - 10, axis=1)
    row.paste(Image.fromarray(colorize(ramp, how.low, how.high, how.colors)), (x, _TITLE))
    text = slices.font(13)
    for share, value in ((0.0, how.high), (0.5, (how.low + how.high) / 2), (1.0, how.low)):
        y = _TITLE + round(share * (pictures[0].height - 15))
        draw.text((x + _BAR - 6, y), f"{value:.4g}", fill="white", font=text)
    draw.text((x + _BAR - 6, _TITLE + 16), how.unit, fill="white", font=text)
    return row


def _beside(pictures: list[Image.Image]) -> Image.Image:
    row = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)), "black")
    x = 0
    for picture in pictures:
        row.paste(picture, (x, 0))
        x += picture.width
    return row


def _caption(text: str, result: Result) -> list[str]:
    """What stands under a picture: its text, the notice, and the words with which a red input gate was overridden."""
    override = (result.provenance.get("gate") or {}).get("override")
    lines = [f"{text} {_NOTICE}"]
    return lines if override is None else [*lines, Override.from_dict(override).describe()]


def _page(rows: list[Image.Image], caption: list[str]) -> Image.Image:
    width = max(r.width for r in rows)
    lines = [line for paragraph in caption for line in textwrap.wrap(paragraph, max(20, width // 8))]
    footer = 8 + 20 * len(lines)
    page = Image.new("RGB", (width, sum(r.height + _MARGIN for r in rows) + footer + _MARGIN), "black")
    y = _MARGIN
    for row in rows:
        page.paste(row, (0, y))
        y += row.height + _MARGIN
    for line in lines:
        ImageDraw.Draw(page).text((_MARGIN, y), line, fill=(255, 210, 90), font=slices.font(14))
        y += 20
    return page
