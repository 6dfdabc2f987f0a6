"""The log of a run: ``log.csv``, a picture of it, and TensorBoard's files where TensorBoard is installed."""

from __future__ import annotations

import csv
import io
import math
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
    _panel(draw, (0, middle), "Training loss", losses, {})
    _panel(draw, (middle, _SIZE[0]), "NRMSE on held-out heads, % (dashed: conventional)", scores, bars)
    with atomic_path(path) as temporary:
        image.save(temporary)
    return path


def _points(rows: list[dict[str, float]], name: str) -> np.ndarray:
    found = [(row["step"], row[name]) for row in rows if name in row and row[name] > 0 and math.isfinite(row[name])]
    return np.array(found, float).reshape(-1, 2)


def _panel(
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
        low, high = low - pad, high + pad

        def place(points: np.ndarray) -> list[tuple[float, float]]:
            part = (np.log10(points) - low) / (high - low)
            return [(box[0] + u * (box[2] - box[0]), box[3] - v * (box[3] - box[1])) for u, v in part]

        for axis in range(2):
            for value in _ticks(10 ** low[axis], 10 ** high[axis]):
                x, y = place(np.array([[value, value]]))[0]
                if axis == 0:
                    draw.line((x, box[1], x, box[3]), fill=_LIGHT)
                    draw.text((x - 3 * len(f"{value:g}"), box[3] + 6), f"{value:g}", fill=_GREY)
                else:
                    draw.line((box[0], y, box[2], y), fill=_LIGHT)
                    draw.text((box[0] - 8 - 6 * len(f"{value:g}"), y - 6), f"{value:g}", fill=_GREY)
        for colour, (name, points) in zip(_COLOURS, lines.items()):
            _line(draw, place(points), colour)
            for a, b in _dashes(place(dashed.get(name, np.zeros((0, 2)))), box):
                draw.line((*a, *b), fill=colour)
        for n, (colour, name) in enumerate(zip(_COLOURS, lines)):
            # Curves fall, so the lower left corner is the emptiest.
            draw.text((box[0] + 8, box[3] - 18 - 14 * n), name, fill=colour)
    draw.rectangle(box, outline=_GREY)
    draw.text(((box[0] + box[2]) // 2 - 12, box[3] + 24), "step", fill=_GREY)


def _line(draw, places: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    if len(places) > 1:
        draw.line(places, fill=colour, width=2)
    for x, y in places if len(places) < 30 else []:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)


def _dashes(places: list[tuple[float, float]], box: tuple[int, ...]) -> list[tuple[tuple, tuple]]:
    """A level line over the whole panel: the bar does not change during a run."""
    if not places:
        return []
    y = places[-1][1]
    return [((x, y), (min(x + 6, box[2]), y)) for x in range(box[0], box[2], 12)]


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
