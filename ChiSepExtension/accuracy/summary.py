"""From rows to tables: means over heads, ratios to the strongest conventional method, lesions, and the aims."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..lesions.coefficients import wilson_interval
from .benchmark import Row
from .lesion_scores import LARGE_RIM_MM, area_under_curve, sensitivity_at
from .methods import CLOSED, CONVENTIONAL
from .scores import AIMED_REGIONS

SOURCES = ("chi_para", "chi_dia")


def methods_of(rows: Iterable[Row]) -> list[str]:
    """Method names in the order of the rows."""
    return list(dict.fromkeys(row.method for row in rows))


def mean(rows: Iterable[Row], value: Callable[[Row], float]) -> float:
    """Mean of a value over rows, undefined ones left out; NaN for none."""
    found = [v for v in (value(row) for row in rows) if math.isfinite(v)]
    return float(np.mean(found)) if found else math.nan


def nested(*keys: str) -> Callable[[Row], float]:
    """Reader of a score by its path."""

    def read(row: Row) -> float:
        value: Any = row.scores
        for key in keys:
            value = value.get(key, {}) if isinstance(value, dict) else {}
        return float(value) if isinstance(value, int | float) else math.nan

    return read


def strongest(rows: list[Row], source: str) -> tuple[str, float]:
    """The conventional method of the smallest mean NRMSE of a source, and that NRMSE in %."""
    named = {m: mean([r for r in rows if r.method == m], nested(source, "nrmse")) for m in CONVENTIONAL}
    named = {m: v for m, v in named.items() if math.isfinite(v)}
    return min(named.items(), key=lambda item: item[1]) if named else ("", math.nan)


def summarise(rows: list[Row]) -> dict[str, Any]:
    """Everything that the tables show, by regime and stage: JSON-able."""
    summary: dict[str, Any] = {}
    for regime in dict.fromkeys(row.regime for row in rows):
        for stage in dict.fromkeys(row.stage for row in rows):
            part = [row for row in rows if row.regime == regime and row.stage == stage]
            if part:
                summary[f"{regime}, {stage}"] = _summary(part)
    return summary


def _summary(rows: list[Row]) -> dict[str, Any]:
    bars = {source: strongest(rows, source) for source in SOURCES}
    streak = nested("streaks", "near_sources_ppb")
    closed_streak = mean([r for r in rows if r.method == CLOSED], streak)
    methods = {}
    for method in methods_of(rows):
        own = [row for row in rows if row.method == method]
        entry: dict[str, Any] = {"heads": len(own), "seconds": mean(own, lambda row: row.seconds)}
        entry["kept_share"] = mean(own, nested("kept_share"))
        for name in (*SOURCES, "chi_total"):
            keys = ("nrmse", "nrmse_core", "nrmse_detrended", "bias_ppb")
            entry[name] = {key: mean(own, nested(name, key)) for key in keys}
        for source in SOURCES:
            entry[source] |= {key: mean(own, nested(source, key)) for key in ("hfen", "xsim")}
            entry[source]["ratio"] = entry[source]["nrmse"] / bars[source][1]
        entry["deep_grey_slope"] = mean(own, nested("deep_grey", "slope"))
        entry["cross_talk"] = {
            key: mean(own, nested("cross_talk", key))
            for key in ("dia_in_iron_ppb", "para_in_calcium_ppb", "para_in_white_matter_ppb")
        }
        entry["streaks_ppb"] = mean(own, streak)
        entry["streak_ratio"] = entry["streaks_ppb"] / closed_streak if closed_streak else math.nan
        entry["calcification_streak"] = mean(own, nested("streaks", "calcification"))
        regions = dict.fromkeys(name for row in own for name in row.scores["regions"])
        entry["regions"] = {
            region: {source: mean(own, nested("regions", region, source)) for source in SOURCES} for region in regions
        }
        entry["largest_region_bias_ppb"] = {
            source: max(
                (abs(entry["regions"][name][source]) for name in AIMED_REGIONS if name in entry["regions"]),
                default=math.nan,
            )
            for source in SOURCES
        }
        entry["lesions"] = lesion_summary([lesion for row in own for lesion in row.lesions])
        methods[method] = entry
    return {"strongest_conventional": {s: {"method": b[0], "nrmse": b[1]} for s, b in bars.items()}, "methods": methods}


def lesion_summary(lesions: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors, rims and categories over lesions, each lesion counting once."""
    if not lesions:
        return {"count": 0}
    scored = [entry for entry in lesions if math.isfinite(entry["rim_core_ppb"])]
    rims = [entry for entry in scored if entry["rim"]]
    large = [entry["rim_core_ppb"] for entry in rims if entry["diameter_mm"] >= LARGE_RIM_MM]
    others = [entry["rim_core_ppb"] for entry in scored if not entry["rim"]]
    right = sum(entry["category"] == entry["true_category"] for entry in lesions)
    false_rims = sum(e["category"].startswith("rim") for e in scored if not e["rim"])
    found_rims = sum(e["category"].startswith("rim") for e in rims)
    recovery = [entry["rim_recovery"] for entry in rims if math.isfinite(entry["rim_recovery"])]
    return {
        "count": len(lesions),
        "bias_para_ppb": float(np.mean([entry["bias_para_ppb"] for entry in lesions])),
        "bias_dia_ppb": float(np.mean([entry["bias_dia_ppb"] for entry in lesions])),
        "mae_para_ppb": float(np.mean([entry["mae_para_ppb"] for entry in lesions])),
        "mae_dia_ppb": float(np.mean([entry["mae_dia_ppb"] for entry in lesions])),
        "rims": len(rims),
        "rim_recovery": float(np.median(recovery)) if recovery else math.nan,
        "rim_auc": area_under_curve([entry["rim_core_ppb"] for entry in rims], others),
        "large_rims": len(large),
        "large_rim_sensitivity_at_5_percent": sensitivity_at(large, others),
        "rule_found_rims": [found_rims, len(rims)],
        "rule_false_rims": [false_rims, len(others)],
        "category_right": [right, len(lesions)],
        "category_right_interval": list(wilson_interval(right, len(lesions))),
    }


def agreement(rows: list[Row], one: str, other: str) -> dict[str, Any]:
    """Lesions to which two methods give the same category, of those that both measured, with Wilson's interval."""
    tables = []
    for method in (one, other):
        own = [row for row in rows if row.method == method]
        tables.append({(r.head, r.regime, r.stage, e["number"]): e["category"] for r in own for e in r.lesions})
    shared = sorted(set(tables[0]) & set(tables[1]))
    same = sum(tables[0][key] == tables[1][key] for key in shared)
    return {
        "methods": [one, other],
        "same": same,
        "lesions": len(shared),
        "interval": list(wilson_interval(same, len(shared))),
    }
