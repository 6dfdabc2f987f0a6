"""One page that says whether a run can be trusted: decay fit, values against their bands, trust, and both checks."""

from __future__ import annotations

import textwrap

import numpy as np
from PIL import Image, ImageDraw

from ..acquisition.gradient_echo import GradientEchoSeries
from ..notice import RESEARCH_USE
from ..result import Result
from . import slices
from .after_run import CheckedMaps
from .colormaps import colorize
from .gate_rows import Gate
from .plausibility import PLAUSIBLE_DIA_PPB, PLAUSIBLE_PARA_PPB, white_matter_like

_MARGIN = 14
_WIDTH = 1500
_COLORS = {"green": (70, 190, 90), "amber": (240, 170, 40), "red": (235, 70, 60)}
_TEXT, _FAINT, _CAPTION = (235, 235, 235), (140, 140, 140), (255, 210, 90)

#: Pillow's built-in font has the letters of ASCII and a few more.
_PLAIN = str.maketrans(
    {
        "×": "x",
        "χ": "chi",
        "′": "'",
        "−": "-",
        "–": "-",
        "—": "-",
        "≤": "<=",
        "≥": ">=",
        "⁻": "-",
        "¹": "1",
        "₁": "1",
        "₂": "2",
    }
    | {"₃": "3", "φ": "phi", "π": "pi", "“": '"', "”": '"', "γ": "gamma", "∇": "grad ", "σ": "sigma", "’": "'"}
)


def qc_sheet(series: GradientEchoSeries, result: Result) -> Image.Image:
    """The page of a run; what the result does not hold (gate, checks, trust) is left out and said so.

    Parameters
    ----------
    series
        The scan, on the grid of the result.
    result
        ``provenance["gate"]`` and ``provenance["checks"]`` are gates as dictionaries; ``trust`` a map 0..1.
    """
    parts = [_pictures(series, result), _plots(series, result), _tables(result.provenance)]
    parts = [part for part in parts if part is not None]
    lines = ["Checks of a run. Radiological view: R is the patient's right, L the left. " + RESEARCH_USE + "."]
    gate = result.provenance.get("gate")
    if gate and gate.get("override"):
        lines.insert(0, Gate.from_dict(gate).override.describe())
    footer = [line for text in lines for line in textwrap.wrap(plain(text), 170)]
    height = sum(part.height + _MARGIN for part in parts) + 22 * len(footer) + 2 * _MARGIN
    page = Image.new("RGB", (_WIDTH, height), "black")
    y = _MARGIN
    for part in parts:
        page.paste(part, (0, y))
        y += part.height + _MARGIN
    draw = ImageDraw.Draw(page)
    for line in footer:
        draw.text((_MARGIN, y), line, fill=_CAPTION, font=slices.font(16))
        y += 22
    return page


def plain(text: str) -> str:
    """Text in letters that Pillow's built-in font has."""
    return "".join(c if c.isascii() or c == "°" else "?" for c in text.translate(_PLAIN))


def _pictures(series: GradientEchoSeries, result: Result) -> Image.Image:
    """Mask on magnitude, and trust (or χ_total), each in three planes with letters on both sides and a bar."""
    trust = getattr(result, "trust", None)
    shown = result.chi_total * 1e3 if trust is None else trust
    title, low, high, unit, colors = (
        ("chi_total", -100.0, 100.0, "ppb", "gray")
        if trust is None
        else ("trust: 0.5 where an error of 10 ppb is expected", 0.0, 1.0, "", "viridis")
    )
    brain = result.mask if result.brain_mask is None else result.brain_mask
    grid, (magnitude, values, mask, outer) = slices.closest_ras(
        result.grid, series.magnitude[0], shown, np.asarray(result.mask, bool), np.asarray(brain, bool)
    )
    centre = slices.middle_of(mask)
    window = slices.robust_window(magnitude, mask)
    height = 210
    tiles: list[list[Image.Image]] = [[], []]
    for plane, (axis, _, _) in slices.PLANES.items():
        cut = slices.cut(plane, centre[axis], grid, height)
        pixels = colorize(cut.of(magnitude), 0, window[1], "gray")
        pixels[slices.outline(cut.of(outer))] = (255, 220, 0)
        pixels[slices.outline(cut.of(mask))] = (255, 40, 40)
        tiles[0].append(_lettered(cut.scaled(pixels, smooth=False), plane))
        pixels = colorize(cut.of(values.astype(np.float32)), low, high, colors)
        pixels[~cut.of(mask)] = 0
        tiles[1].append(_lettered(cut.scaled(pixels), plane))
    row = Image.new("RGB", (_WIDTH, height + 26), "black")
    draw = ImageDraw.Draw(row)
    titles = ("magnitude with masks: brain yellow, used red", title)
    x = _MARGIN
    for text, pictures in zip(titles, tiles):
        draw.text((x, 2), text, fill=_TEXT, font=slices.font(15))
        for picture in pictures:
            row.paste(picture, (x, 26))
            x += picture.width + 6
        x += _MARGIN
    ramp = np.linspace(high, low, height)[:, np.newaxis].repeat(14, axis=1)
    if x + 60 < _WIDTH:
        row.paste(Image.fromarray(colorize(ramp, low, high, colors)), (x, 26))
        for share, value in ((0.0, high), (0.5, (low + high) / 2), (1.0, low)):
            y = 26 + round(share * (height - 16))
            draw.text((x + 18, y), f"{value:g} {unit}".strip(), fill=_TEXT, font=slices.font(13))
    return row


def _lettered(picture: Image.Image, plane: str) -> Image.Image:
    slices.letter(picture, plane)
    opposite = {"R": "L", "A": "P"}[slices.PLANES[plane][1]]
    style = {"fill": "white", "stroke_width": 2, "stroke_fill": "black", "font": slices.font(15)}
    ImageDraw.Draw(picture).text((picture.width - 15, picture.height // 2 - 9), opposite, **style)
    return picture


class _Axes:
    """A small plot: a frame with ticks, lines, dots and bars in data units."""

    def __init__(self, title: str, x_label: str, span: tuple[float, float], top: float, size=(470, 250)) -> None:
        self.image = Image.new("RGB", size, "black")
        self.draw = ImageDraw.Draw(self.image)
        self.left, self.top, self.right, self.bottom = 46, 26, size[0] - 12, size[1] - 40
        self.span, self.high = span, top
        self.draw.text((4, 2), title, fill=_TEXT, font=slices.font(15))
        self.draw.rectangle((self.left, self.top, self.right, self.bottom), outline=_FAINT)
        for share in (0, 0.25, 0.5, 0.75, 1):
            value = span[0] + share * (span[1] - span[0])
            x = self.left + share * (self.right - self.left)
            self.draw.line((x, self.bottom, x, self.bottom + 4), fill=_FAINT)
            self.draw.text((x - 10, self.bottom + 5), f"{value:.3g}", fill=_FAINT, font=slices.font(12))
        self.draw.text(
            ((self.left + self.right) // 2 - 4 * len(x_label), self.bottom + 20),
            x_label,
            fill=_FAINT,
            font=slices.font(13),
        )

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.span[0]) / (self.span[1] - self.span[0])
        return (
            self.left + min(max(across, 0), 1) * (self.right - self.left),
            self.bottom - min(max(y / self.high, 0), 1) * (self.bottom - self.top),
        )

    def line(self, xs, ys, color) -> None:
        self.draw.line([self.at(x, y) for x, y in zip(xs, ys)], fill=color, width=2)

    def dots(self, xs, ys, color) -> None:
        for x, y in zip(xs, ys):
            px, py = self.at(x, y)
            self.draw.ellipse((px - 3, py - 3, px + 3, py + 3), fill=color)

    def band(self, low: float, high: float, color) -> None:
        self.draw.rectangle((*self.at(low, self.high), *self.at(high, 0)), fill=color)

    def note(self, line: int, text: str, color, *, low: bool = False) -> None:
        x, y = (self.left + 10, self.bottom - 60) if low else (self.right - 228, self.top + 6)
        self.draw.text((x, y + 17 * line), text, fill=color, font=slices.font(13))


def _plots(series: GradientEchoSeries, result: Result) -> Image.Image:
    plots = [_decay_plot(series, result), *_histograms(series, result)]
    row = Image.new("RGB", (_WIDTH, max(plot.image.height for plot in plots)), "black")
    for n, plot in enumerate(plots):
        row.paste(plot.image, (_MARGIN + n * 490, 0))
    return row


def _decay_plot(series: GradientEchoSeries, result: Result) -> _Axes:
    """Mean signal of three sets of voxels, by their fitted R2*, with the decay that the fit claims for them."""
    mask = np.asarray(result.mask, bool)
    times = 1e3 * np.asarray(series.echo_times_s)
    last = 4.0 * np.ceil(1.05 * times[-1] / 4)  # quarters are whole milliseconds
    axes = _Axes("R2* fit: mean signal, first echo = 1", "echo time, ms", (0.0, float(last)), 1.1)
    rates = result.r2star_hz[mask]
    for n, ((low, high), color, name) in enumerate(
        (
            ((0, 10), (120, 180, 255), "slowest tenth"),
            ((45, 55), (200, 200, 200), "middle"),
            ((97, 100), (255, 150, 90), "fastest 3 %"),
        )
    ):
        bounds = np.percentile(rates, (low, high))
        inside = (rates >= bounds[0]) & (rates <= bounds[1])
        if not inside.any():
            continue
        signal = np.array([float(np.mean(echo[mask][inside])) for echo in series.magnitude])
        # The mean of many decays, weighted by their signal, not the decay of the mean rate.
        start = series.magnitude[0][mask][inside].astype(np.float64)
        fine = np.linspace(times[0], times[-1], 40)
        some = slice(None, None, max(1, int(inside.sum()) // 2000))
        fitted = [np.mean(start[some] * np.exp(-rates[inside][some] * (t - times[0]) / 1e3)) for t in fine]
        scale = signal[0] if signal[0] > 0 else 1.0
        axes.line(fine, np.array(fitted) / np.mean(start[some]), color)
        axes.dots(times, signal / scale, color)
        axes.note(n, f"{name}: R2* {np.median(rates[inside]):.1f} 1/s", color, low=True)
    return axes


def _histograms(series: GradientEchoSeries, result: Result) -> list[_Axes]:
    """Values of the brain and of its white matter, with the bands in which the latter's median is plausible."""
    mask = np.asarray(result.mask, bool)
    maps = CheckedMaps(
        result.chi_para, result.chi_dia, mask, result.grid, r2star_hz=result.r2star_hz, magnitude=series.magnitude
    )
    region, label = white_matter_like(maps)
    found = []
    for name, array, (green, amber) in (
        ("chi_para", result.chi_para, PLAUSIBLE_PARA_PPB),
        ("chi_dia", result.chi_dia, PLAUSIBLE_DIA_PPB),
    ):
        bins = np.linspace(0, 100, 51)
        middle = (bins[1:] + bins[:-1]) / 2
        whole = np.histogram(1e3 * array[mask], bins)[0] / max(1, mask.sum())
        part = np.histogram(1e3 * array[region], bins)[0] / max(1, region.sum())
        top = 1.15 * max(whole[1:].max(), part.max(), 1e-6)  # clipped voxels pile up at 0
        axes = _Axes(f"{name}, ppb, share of voxels", "ppb", (0.0, 100.0), top)
        axes.band(*amber, (60, 48, 16))
        axes.band(*green, (20, 62, 30))
        axes.line(middle, whole, (160, 160, 160))
        axes.note(0, "whole mask", (160, 160, 160))
        if region.any():
            axes.line(middle, part, (120, 220, 255))
            axes.note(1, f"{label}: median {1e3 * np.median(array[region]):.1f}", (120, 220, 255))
        axes.note(2, "bands for that median", _COLORS["green"])
        found.append(axes)
    return found


def _tables(provenance: dict) -> Image.Image:
    """The rows of both checks, side by side."""
    columns = []
    for title, key in (("Check of the inputs", "gate"), ("Check of the maps", "checks")):
        stored = provenance.get(key)
        columns.append((title, None if not stored else Gate.from_dict(stored)))
    size = 14
    letters = 96
    lines: list[list[tuple[str, tuple[int, int, int], bool]]] = []
    for title, gate in columns:
        column = [(title + ("" if gate is not None else ": not made"), _CAPTION, False)]
        for row in gate.rows if gate is not None else ():
            text = f"{row.title}: {row.value}" + ("" if row.color == "green" else f". {row.reason}")
            for n, line in enumerate(textwrap.wrap(plain(text), letters)):
                column.append((line, _COLORS[row.color], n == 0))
        lines.append(column)
    height = 20 * max(len(column) for column in lines) + 8
    table = Image.new("RGB", (_WIDTH, height), "black")
    draw = ImageDraw.Draw(table)
    for n, column in enumerate(lines):
        x = _MARGIN + n * (_WIDTH // 2)
        for m, (line, color, dotted) in enumerate(column):
            y = 4 + 20 * m
            if dotted:
                draw.ellipse((x, y + 4, x + 10, y + 14), fill=color)
            is_title = color == _CAPTION
            draw.text((x + (0 if is_title else 18), y), line, fill=color if is_title else _TEXT, font=slices.font(size))
    return table
