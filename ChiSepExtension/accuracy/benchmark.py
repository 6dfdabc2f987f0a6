"""All methods on all cases: scores that are kept on disk, so that an interrupted benchmark goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, part, silent
from ..volume_io import atomic_path, write_text
from .cases import STAGES, Case, find_heads, load_case
from .lesion_scores import score_lesions
from .methods import NAMES, Maps, NetworkMethod, Workbench, find_networks
from .regimes import PROCEDURAL, REGIMES, draw_conditions
from .scores import score

#: Raised when the scores change, so that stored ones are made again.
_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """Size of a benchmark; the default is all of it.

    ``heads`` and ``methods`` None for all that are there; ``shape`` of the grid None for the whole head.
    """

    heads: tuple[str, ...] | None = None
    regimes: tuple[str, ...] = tuple(REGIMES)
    stages: tuple[str, ...] = STAGES
    methods: tuple[str, ...] | None = None
    spacing_mm: float = 1.0
    lesions: int = 60
    shape: tuple[int, int, int] | None = None
    networks: bool = True
    device: str = "auto"


#: For tests and first looks: the procedural head, voxels of 5 mm, no networks; some 10 s.
QUICK = Settings(
    heads=(PROCEDURAL,),
    methods=("zero map", "closed form", "closed form, smoothed R2′"),
    spacing_mm=5.0,
    lesions=12,
    networks=False,
)


@dataclass(frozen=True, eq=False)
class Row:
    """Scores of one method on one case and stage, and where its pictures lie."""

    head: str
    regime: str
    stage: str
    method: str
    seconds: float
    scores: dict[str, Any]
    lesions: list[dict[str, Any]]
    conditions: dict[str, Any] = field(default_factory=dict)
    cuts: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def run_benchmark(
    settings: Settings,
    folder: str | Path,
    *,
    anatomy: str | Path | None = None,
    weights: list[Path] | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> list[Row]:
    """Score methods on cases.

    Parameters
    ----------
    folder
        For cases, scores and cuts; what is there already is not made again.
    anatomy
        Folder of whole-head label maps, of which the last quarter by name is used; None for the procedural head alone.
    weights
        Further bundles, beside those shipped and installed.

    Raises
    ------
    InputError
        If a head or method does not exist, or a network was trained on one of the heads.
    """
    heads = find_heads(anatomy)
    wanted = tuple(heads) if settings.heads is None else settings.heads
    unknown = [name for name in wanted if name not in heads]
    if unknown:
        raise InputError(f"There is no held-out head {unknown[0]!r}.", f"Choose from {', '.join(heads)}.")
    methods = _methods(settings, weights)
    for method in methods:
        if isinstance(method, NetworkMethod):
            check_no_leak(method, wanted)
    plan = [(name, regime) for regime in settings.regimes for name in wanted]
    rows = []
    for n, (name, regime) in enumerate(plan):
        cancel.check()
        share = part(progress, n / len(plan), (n + 1) / len(plan))
        number = list(heads).index(name)
        conditions = draw_conditions(regime, number, lesions=settings.lesions, spacing_mm=settings.spacing_mm)
        case = load_case(
            name,
            heads[name],
            conditions,
            Path(folder) / "cases",
            shape=settings.shape,
            progress=part(share, 0.0, 0.4),
            cancel=cancel,
        )
        rows += _run_case(case, methods, settings, Path(folder), part(share, 0.4, 1.0), cancel)
    progress(1.0, f"{len(rows)} scores")
    return rows


def check_no_leak(method: NetworkMethod, heads: Iterable[str]) -> None:
    """Raise `InputError` if a network's card names a head of the benchmark among those it was trained on."""
    shared = sorted(set(heads) & set(method.trained_on))
    if shared:
        raise InputError(
            f"{method.title} was trained on {', '.join(shared)}: a score on that head says nothing.",
            "Benchmark it on other heads (--heads).",
        )


def _methods(settings: Settings, weights: list[Path] | None) -> list[str | NetworkMethod]:
    found: list[str | NetworkMethod] = [*NAMES]
    if settings.networks or weights:
        networks = find_networks(weights)
        found += networks if settings.networks else [m for m in networks if m.folder in (weights or [])]
    if settings.methods is None:
        return found
    titles = {title(m): m for m in found}
    unknown = [name for name in settings.methods if name not in titles]
    if unknown:
        raise InputError(f"There is no method {unknown[0]!r}.", f"Choose from {', '.join(titles)}.")
    return [titles[name] for name in settings.methods]


def title(method: str | NetworkMethod) -> str:
    """Name of a method in the tables."""
    return method if isinstance(method, str) else method.title


def _run_case(
    case: Case,
    methods: list[str | NetworkMethod],
    settings: Settings,
    folder: Path,
    progress: Progress,
    cancel: CancelToken,
) -> list[Row]:
    rows = []
    plan = [(stage, method) for stage in settings.stages for method in methods]
    benches = {stage: Workbench(case, case.inputs[stage], settings.device, cancel) for stage in settings.stages}
    for n, (stage, method) in enumerate(plan):
        cancel.check()
        progress(n / len(plan), f"{case.name}, {stage}: {title(method)}")
        key = [_VERSION, case.conditions.to_dict(), settings.shape, case.head, stage, _identity(method)]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
        stored = folder / "scores" / f"{case.head}-{case.conditions.regime}-{stage}-{digest}.json"
        if not stored.is_file():
            started = time.perf_counter()
            maps = benches[stage].run(method)
            seconds = time.perf_counter() - started
            mask = case.inputs[stage].mask
            cuts = folder / "cuts" / f"{stored.stem}.npz"
            _write_cuts(cuts, case, maps, mask)
            row = Row(
                case.head,
                case.conditions.regime,
                stage,
                title(method),
                round(seconds, 2),
                score(case, maps, mask),
                score_lesions(case, maps, mask),
                case.conditions.to_dict(),
                cuts.name,
            )
            write_text(stored, json.dumps(row.to_dict(), indent=1) + "\n")
        rows.append(Row(**json.loads(stored.read_text(encoding="utf-8"))))
    return rows


def _identity(method: str | NetworkMethod) -> str:
    return method if isinstance(method, str) else f"{method.pipeline} {method.identity}"


def _write_cuts(path: Path, case: Case, maps: Maps, mask: np.ndarray) -> None:
    """Axial cut through the pallidum and coronal cut through the middle, of truth and method; for the figure."""
    iron = np.argwhere((case.labels == 2) & case.brain)
    z, y = (int(v) for v in np.median(iron, axis=0)[:2]) if len(iron) else (n // 2 for n in case.grid.shape[:2])
    inside = mask & case.brain
    values = {"para": maps[0], "dia": maps[1]}
    cut = {f"{name}_axial": np.where(inside, v, 0)[z] for name, v in values.items()}
    cut |= {f"{name}_coronal": np.where(inside, v, 0)[:, y] for name, v in values.items()}
    truth = {"para": case.chi_para, "dia": case.chi_dia}
    cut |= {f"true_{name}_axial": v[z] for name, v in truth.items()}
    cut |= {f"true_{name}_coronal": v[:, y] for name, v in truth.items()}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, spacing=np.array(case.grid.spacing_mm), **cut)
