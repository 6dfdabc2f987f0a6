"""The benchmark as Markdown tables and JSON."""

from __future__ import annotations

import math
from typing import Any

from .aims import aims
from .benchmark import Row
from .regimes import REGIMES
from .summary import SOURCES, agreement, methods_of, summarise

_NAMES = {"chi_para": "χpara", "chi_dia": "χdia", "chi_total": "χtotal"}

_INTRODUCTION = """\
Simulated heads with known truth; no head of the benchmark was used in training. Scores of simulated heads say how
methods compare under one model of the signal, not how right they are in patients. NRMSE and HFEN in %, demeaned
(0 perfect, 100 a constant map); bias in ppb, estimate minus truth, χdia as positive magnitude. "ratio" is NRMSE
relative to the strongest conventional method of the same table.
"""


def to_json(rows: list[Row]) -> dict[str, Any]:
    """Summary, agreement of the two network pipelines, and every row."""
    every = [row.to_dict() for row in rows]
    reached = [vars(aim) for aim in aims(rows)]
    return _finite({"summary": summarise(rows), "agreement": agreements(rows), "aims": reached, "rows": every})


def agreements(rows: list[Row]) -> dict[str, Any]:
    """Agreement of each χ-sepnet-R2′ with each χ-sepnet-R2*, by regime and stage."""
    found = {}
    for regime in dict.fromkeys(row.regime for row in rows):
        for stage in dict.fromkeys(row.stage for row in rows):
            part = [row for row in rows if (row.regime, row.stage) == (regime, stage)]
            names = methods_of(part)
            pairs = [(a, b) for a in names for b in names if "sepnet-R2′" in a and "sepnet-R2*" in b]
            if pairs:
                found[f"{regime}, {stage}"] = [agreement(part, a, b) for a, b in pairs]
    return found


def to_markdown(rows: list[Row]) -> str:
    """All tables as one text."""
    summary, text = summarise(rows), ["# Accuracy of source separation", "", _INTRODUCTION]
    text += _cases(rows)
    for name, entry in summary.items():
        regime, stage = name.split(", ")
        text += ["", f"## Regime ({regime}), {REGIMES[regime]}; {stage}", ""]
        bars = entry["strongest_conventional"]
        text.append(
            "Strongest conventional: "
            + "; ".join(f"{_NAMES[s]} {bars[s]['method']} ({_number(bars[s]['nrmse'])} %)" for s in SOURCES)
            + "."
        )
        text += ["", *_maps(entry["methods"]), "", *_regions(entry["methods"]), "", *_lesions(entry["methods"])]
    found = agreements(rows)
    if found:
        text += ["", "## Lesion category under the R2′ and R2* pipelines", ""]
        table = []
        for name, pairs in found.items():
            for pair in pairs:
                low, high = pair["interval"]
                share = 100 * pair["same"] / pair["lesions"] if pair["lesions"] else math.nan
                table.append(
                    [name, *pair["methods"], f"{pair['same']} / {pair['lesions']}", _number(share)]
                    + [f"{_number(100 * low)}–{_number(100 * high)}"]
                )
        text += _table(["regime, stage", "R2′", "R2*", "same", "%", "95 % (Wilson)"], table)
    text += _aims(rows)
    return "\n".join(text) + "\n"


def _aims(rows: list[Row]) -> list[str]:
    judged = {True: "yes", False: "no", None: "not measured"}
    table = [[a.where, a.what, _number(a.reached, 2), f"{a.wanted:g}", judged[a.met]] for a in aims(rows)]
    return ["", "## Aims", "", *_table(["regime, stage", "what", "reached", "aim", "met"], table)] if table else []


def _cases(rows: list[Row]) -> list[str]:
    seen: dict[tuple[str, str], dict] = {}
    for row in rows:
        seen.setdefault((row.regime, row.head), row.conditions)
    table = []
    for (regime, head), c in seen.items():
        echoes = ", ".join(f"{1000 * t:g}" for t in c["echo_times_s"])
        table.append(
            [regime, head, "×".join(f"{d:g}" for d in reversed(c["spacing_mm"])), f"{c['tilt_deg']:.0f}"]
            + [f"{c['dr_para']:.0f} / {c['dr_dia']:.0f}", f"{c['stated_dr']:.0f}", echoes, f"{c['snr']:.0f}"]
            + [f"{100 * c['r2_bias']:+.0f} %", str(c["seed"])]
        )
    header = ["regime", "head", "mm", "tilt °", "Dr para / dia", "stated Dr", "TE ms", "SNR", "R2 bias", "seed"]
    return ["## Cases", "", *_table(header, table)]


def _maps(methods: dict[str, Any]) -> list[str]:
    header = ["method", "heads", "s"]
    for source in SOURCES:
        name = _NAMES[source]
        header += [f"{name} NRMSE", "ratio", "detrended", "HFEN", "XSIM", "bias"]
    header += ["χtotal NRMSE", "DGM slope", "streaks ppb", "× closed form", "Fe → χdia", "Ca → χpara"]
    table = []
    for method, m in methods.items():
        line = [method, str(m["heads"]), _number(m["seconds"])]
        for source in SOURCES:
            s = m[source]
            line += [_number(s["nrmse"]), _number(s["ratio"], 2), _number(s["nrmse_detrended"]), _number(s["hfen"])]
            line += [_number(s["xsim"], 3), _signed(s["bias_ppb"])]
        line += [_number(m["chi_total"]["nrmse"]), _number(m["deep_grey_slope"], 2), _number(m["streaks_ppb"])]
        line += [_number(m["streak_ratio"], 2), _signed(m["cross_talk"]["dia_in_iron_ppb"])]
        line += [_signed(m["cross_talk"]["para_in_calcium_ppb"])]
        table.append(line)
    return _table(header, table)


def _regions(methods: dict[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name for m in methods.values() for name in m["regions"]))
    table = []
    for method, m in methods.items():
        cells = []
        for name in names:
            pair = m["regions"].get(name, {})
            cells.append(" / ".join(_signed(pair.get(source, math.nan)) for source in SOURCES))
        table.append([method, *cells])
    return ["Bias χpara / χdia by region, ppb:", "", *_table(["method", *names], table)]


def _lesions(methods: dict[str, Any]) -> list[str]:
    header = ["method", "lesions", "bias para / dia", "MAE para / dia", "rim recovered", "rim AUC"]
    header += ["rims ≥ 8 mm at 5 % false", "rule: rims found", "rule: false rims", "category right", "95 % (Wilson)"]
    table = []
    for method, m in methods.items():
        e = m["lesions"]
        if not e["count"]:
            continue
        low, high = e["category_right_interval"]
        table.append(
            [method, str(e["count"]), f"{_signed(e['bias_para_ppb'])} / {_signed(e['bias_dia_ppb'])}"]
            + [f"{_number(e['mae_para_ppb'])} / {_number(e['mae_dia_ppb'])}", _number(e["rim_recovery"], 2)]
            + [_number(e["rim_auc"], 2), f"{_percent(e['large_rim_sensitivity_at_5_percent'])} of {e['large_rims']}"]
            + ["{} / {}".format(*e["rule_found_rims"]), "{} / {}".format(*e["rule_false_rims"])]
            + ["{} / {}".format(*e["category_right"]), f"{_number(100 * low)}–{_number(100 * high)}"]
        )
    return ["Lesions:", "", *_table(header, table)] if table else []


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _signed(value: float) -> str:
    return f"{value:+.1f}" if math.isfinite(value) else "–"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if math.isfinite(value) else "–"


def _finite(value: Any) -> Any:
    """JSON has no NaN: null stands for what is not defined."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
