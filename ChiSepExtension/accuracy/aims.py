"""What the project wants of its networks on held-out heads, and what they reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .benchmark import Row
from .summary import SOURCES, agreement, summarise

#: Largest NRMSE of χ-sepnet-R2′ relative to the strongest conventional method, by regime.
RATIO_TO_CONVENTIONAL = {"a": 0.60, "b": 0.85}
RATIO_OF_R2STAR = 1.25
REGION_BIAS_PPB = 5.0
STREAK_RATIO = 0.5
CATEGORY_AGREEMENT, SMALLEST_COUNT = 0.97, 250
RIM_SENSITIVITY = 0.80


@dataclass(frozen=True)
class Aim:
    """One aim and what was reached; ``met`` None where it could not be measured."""

    where: str
    what: str
    reached: float
    wanted: float
    met: bool | None


def aims(rows: list[Row]) -> list[Aim]:
    """The aims for every regime and stage of the rows, by the first network of each pipeline."""
    found = []
    for where, entry in summarise(rows).items():
        methods = entry["methods"]
        measured = next((m for m in methods if "sepnet-R2′" in m), None)
        alone = next((m for m in methods if "sepnet-R2*" in m), None)
        if measured is not None:
            found += _of_network(where, methods[measured])
        if measured is not None and alone is not None:
            for source in SOURCES:
                ratio = methods[alone][source]["nrmse"] / methods[measured][source]["nrmse"]
                found.append(_at_most(where, f"NRMSE of {source}, R2* to R2′", ratio, RATIO_OF_R2STAR))
            regime, stage = where.split(", ")
            part = [row for row in rows if (row.regime, row.stage) == (regime, stage)]
            same = agreement(part, measured, alone)
            share = same["same"] / same["lesions"] if same["lesions"] else math.nan
            enough = share if same["lesions"] >= SMALLEST_COUNT else math.nan
            what = f"category of R2′ and R2* the same, of {same['lesions']} lesions"
            found.append(
                Aim(where, what, share, CATEGORY_AGREEMENT, _judged(enough, lambda v: v >= CATEGORY_AGREEMENT))
            )
    return found


def missed(rows: list[Row]) -> list[str]:
    """Aims that were measured and not met, in words."""
    return [
        f"regime {aim.where}: {aim.what} {aim.reached:.3g}, wanted {aim.wanted:g}"
        for aim in aims(rows)
        if aim.met is False
    ]


def _of_network(where: str, method: dict[str, Any]) -> Iterator[Aim]:
    limit = RATIO_TO_CONVENTIONAL[where.partition(",")[0]]
    for source in SOURCES:
        yield _at_most(where, f"NRMSE of {source}, R2′ to strongest conventional", method[source]["ratio"], limit)
        bias = method["largest_region_bias_ppb"][source]
        yield _at_most(where, f"largest bias of {source} in white matter and nuclei, ppb", bias, REGION_BIAS_PPB)
    yield _at_most(where, "streaks to closed form", method["streak_ratio"], STREAK_RATIO)
    lesions = method["lesions"]
    if lesions["count"]:
        value = lesions["large_rim_sensitivity_at_5_percent"]
        met = _judged(value, lambda v: v >= RIM_SENSITIVITY)
        yield Aim(where, "rims of 8 mm and more found at 5 % false rims", value, RIM_SENSITIVITY, met)


def _at_most(where: str, what: str, value: float, limit: float) -> Aim:
    return Aim(where, what, value, limit, _judged(value, lambda v: v <= limit))


def _judged(value: float, test: Callable[[float], bool]) -> bool | None:
    return test(value) if math.isfinite(value) else None
