"""The log of a run: ``log.csv``, a picture of it, and TensorBoard's files where TensorBoard is installed."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..volume_io import atomic_path, write_text
from .validation import Score

#: Losses are averaged over this many steps to one row.
STEPS_PER_ROW = 20

_SIZE = (900, 420)
_FRAME = (70, 30, 20, 45)  # left, top, right, bottom
_COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189))
_GREY, _LIGHT, _WHITE = (90, 90, 90), (215, 215, 215), (255, 255, 255)


class Log:
    """Rows of step and named values: ``loss``, ``seconds``, and per output ``nrmse_…`` and ``bar_…`` in %."""

    def __init__(self, folder: Path, rows: list[dict[str, float]]) -> None:
        self.folder, self.rows = Path(folder), [dict(row) for row in rows]

    def add_loss(self, step: int, loss: float) -> None:
        """Take in a step's loss: rows hold the mean over their steps, so that the log of a continued run is whole."""
        last = self.rows[-1] if self.rows else {}
        if "loss" not in last or last["count"] >= STEPS_PER_ROW:
            self.rows.append({"step": step, "loss": loss, "count": 1})
            return
        count = last["count"] + 1
        last.update(step=step, count=count, loss=last["loss"] + (loss - last["loss"]) / count)

    def add_score(self, step: int, seconds: float, score: Score) -> None:
        """Take in a validation."""
        row = {"step": step, "seconds": round(seconds, 1)}
        row |= {f"nrmse_{name}": value for name, value in score.network.items()}
        row |= {f"bar_{name}": value for name, value in score.bar.items()}
        self.rows.append(row)

    def last_score(self) -> dict[str, float]:
        """The latest row of a validation; empty if there was none."""
        return next((row for row in reversed(self.rows) if "seconds" in row), {})

    def write(self) -> None:
        """Write all files anew; each appears whole."""
        names = sorted({name for row in self.rows for name in row} - {"step", "count"})
        text = io.StringIO()
        writer = csv.DictWriter(text, ["step", *names], extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.folder / "log.csv", text.getvalue())
        draw_curves(self.folder / "curves.png", self.rows)
        if find_spec("tensorboard") is not None:
            _write_tensorboard(self.folder / "tensorboard", self.rows)


def draw_curves(path: Path, rows: list[dict[str, float]]) -> Path:
    """Loss on the left, scores with the conventional bar dashed on the right; both axes logarithmic."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", _SIZE, _WHITE)
    draw = ImageDraw.Draw(image)
    middle = _SIZE[0] // 2
    losses = {"loss": _points(rows, "loss")}
    names = sorted({name for row in rows for name in row if name.startswith("nrmse_")})
    scores = {name.removeprefix("nrmse_"): _points(rows, name) for name in names}
    bars = {name.removeprefix("nrmse_"): _points(rows, name.replace("nrmse_", "bar_")) for name in names}
    _draw_panel(draw, (0, middle), "Training loss", losses, {})
    _draw_panel(draw, (middle, _SIZE[0]), "NRMSE on held-out heads, % (dashed: conventional)", scores, bars)
    with atomic_path(path) as temporary:
        image.save(temporary)
    return path


def _points(rows: list[dict[str, float]], name: str) -> np.ndarray:
    found = [(row["step"], row[name]) for row in rows if name in row and row[name] > 0 and math.isfinite(row[name])]
    return np.array(found, float).reshape(-1, 2)


@dataclass(frozen=True)
class _Panel:
    """A frame in pixels with logarithmic axes; ``low`` and ``high`` are log10 of (step, value)."""

    box: tuple[int, int, int, int]
    low: np.ndarray
    high: np.ndarray

    def place(self, points: np.ndarray) -> list[tuple[float, float]]:
        left, top, right, bottom = self.box
        part = (np.log10(points) - self.low) / (self.high - self.low)
        return [(left + u * (right - left), bottom - v * (bottom - top)) for u, v in part]

    def draw_grid(self, draw) -> None:
        left, top, right, bottom = self.box
        for step in _ticks(10 ** self.low[0], 10 ** self.high[0]):
            x, _ = self.place(np.array([[step, 1.0]]))[0]
            draw.line((x, top, x, bottom), fill=_LIGHT)
            draw.text((x, bottom + 6), f"{step:g}", fill=_GREY, anchor="ma")
        for value in _ticks(10 ** self.low[1], 10 ** self.high[1]):
            _, y = self.place(np.array([[1.0, value]]))[0]
            draw.line((left, y, right, y), fill=_LIGHT)
            draw.text((left - 8, y), f"{value:g}", fill=_GREY, anchor="rm")


def _draw_panel(
    draw, span: tuple[int, int], title: str, lines: dict[str, np.ndarray], dashed: dict[str, np.ndarray]
) -> None:
    left, top, right, bottom = _FRAME
    box = (span[0] + left, top, span[1] - right, _SIZE[1] - bottom)
    draw.text((box[0], 8), title, fill=_GREY)
    every = [points for points in [*lines.values(), *dashed.values()] if len(points)]
    if every:
        joined = np.concatenate(every)
        low, high = np.log10(joined.min(axis=0)), np.log10(joined.max(axis=0))
        pad = np.maximum(0.04 * (high - low), 0.01)
        panel = _Panel(box, low - pad, high + pad)
        panel.draw_grid(draw)
        for n, (colour, (name, points)) in enumerate(zip(_COLOURS, lines.items())):
            _draw_line(draw, panel.place(points), colour)
            if len(dashed.get(name, ())):
                _draw_level(draw, panel.place(dashed[name])[-1][1], box, colour)
            # Curves fall, so the lower left corner is the emptiest.
            draw.text((box[0] + 8, box[3] - 18 - 14 * n), name, fill=colour)
    draw.rectangle(box, outline=_GREY)
    draw.text(((box[0] + box[2]) / 2, box[3] + 24), "step", fill=_GREY, anchor="ma")


def _draw_line(draw, places: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    if len(places) > 1:
        draw.line(places, fill=colour, width=2)
    for x, y in places if len(places) < 30 else []:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)


def _draw_level(draw, y: float, box: tuple[int, ...], colour: tuple[int, int, int]) -> None:
    """A dashed level line over the whole panel: the conventional method does not change during a run."""
    for x in range(box[0], box[2], 12):
        draw.line((x, y, min(x + 6, box[2]), y), fill=colour)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers in a span: 1, 2, 3, 5, 7 of each power of ten, or equal steps where those are too few."""
    if high / low < 3:
        step = 10.0 ** math.floor(math.log10(high - low))
        step *= next((m for m in (1, 2, 5) if (high - low) / (m * step) < 6), 10)
        count = range(math.ceil(low / step), math.floor(high / step) + 1)
        return [float(f"{n * step:.6g}") for n in count]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [m * 10.0**p for p in powers for m in (1, 2, 3, 5, 7)]
    return [float(f"{value:.12g}") for value in values if low <= value <= high]


def _write_tensorboard(folder: Path, rows: list[dict[str, float]]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for row in rows:
            for name, value in row.items():
                if name not in ("step", "count"):
                    writer.add_scalar(name, value, int(row["step"]))
