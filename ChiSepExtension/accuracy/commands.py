"""``chisep benchmark accuracy``: tables, numbers and a picture in one folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ..progress import NEVER, CancelToken, Progress, silent
from ..volume_io import write_text
from .benchmark import QUICK, Row, Settings, run_benchmark
from .picture import draw_methods
from .report import to_json, to_markdown


def accuracy_command(
    output: str | Path,
    *,
    anatomy: str | Path | None = None,
    weights: list[Path] | None = None,
    heads: list[str] | None = None,
    regimes: list[str] | None = None,
    stages: list[str] | None = None,
    methods: list[str] | None = None,
    lesions: int | None = None,
    spacing_mm: float | None = None,
    quick: bool = False,
    device: str = "auto",
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> str:
    """Run the benchmark and write ``accuracy.md``, ``accuracy.json`` and one ``accuracy-*.png`` per case and stage.

    Parameters
    ----------
    output
        Folder for those and for everything that a repeated call need not make again.
    anatomy
        Folder of whole-head label maps; without it the procedural head alone is used.
    weights
        Folders of further networks, beside those shipped and installed.
    heads, regimes, stages, methods, lesions, spacing_mm
        Parts of the benchmark and its size (`benchmark.Settings`); None for all.
    quick
        The small size for tests (`benchmark.QUICK`) as the base of the other choices.

    Returns
    -------
    The tables, Markdown.
    """
    chosen = {
        "heads": heads,
        "regimes": regimes,
        "stages": stages,
        "methods": methods,
        "lesions": lesions,
        "spacing_mm": spacing_mm,
    }
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in chosen.items() if v is not None}
    settings = replace(QUICK if quick else Settings(), device=device, **given)
    output = Path(output)
    rows = run_benchmark(settings, output, anatomy=anatomy, weights=weights, progress=progress, cancel=cancel)
    return write_results(rows, output)


def write_results(rows: list[Row], output: Path) -> str:
    """Write tables, numbers and pictures of rows; returns the tables."""
    text = to_markdown(rows)
    write_text(output / "accuracy.md", text)
    write_text(output / "accuracy.json", json.dumps(to_json(rows), indent=1, ensure_ascii=False) + "\n")
    for head, regime, stage in dict.fromkeys((row.head, row.regime, row.stage) for row in rows):
        part = [row for row in rows if (row.head, row.regime, row.stage) == (head, regime, stage)]
        draw_methods(part, output / "cuts", output / f"accuracy-{head}-{regime}-{stage}.png")
    return text
