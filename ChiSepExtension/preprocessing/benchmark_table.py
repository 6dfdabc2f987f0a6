"""The rows of `benchmark_preprocessing` as Markdown, and the aims they are held against."""

from __future__ import annotations

from typing import Any

_COLUMNS = (
    ("seconds", "s", "{:.2f}"),
    ("peak_gb", "GB", "{:.2f}"),
    ("wrap_errors_percent", "wrong wraps %", "{:.3f}"),
    ("nrmse_full", "NRMSE full %", "{:.1f}"),
    ("nrmse_eroded", "eroded %", "{:.1f}"),
    ("rmse_ppb", "rmse ppb", "{:.2f}"),
    ("rmse_eroded_ppb", "eroded ppb", "{:.2f}"),
    ("kept", "kept", "{:.2f}"),
    ("nrmse_own", "NRMSE own %", "{:.1f}"),
    ("nrmse_common", "common %", "{:.1f}"),
    ("xsim_common", "XSIM", "{:.2f}"),
    ("rmse_hz", "rmse s⁻¹", "{:.2f}"),
    ("bias_hz", "bias s⁻¹", "{:+.3f}"),
)

#: Largest values on two cores for the full size, by stage and column.
AIMS = (
    ("full", "offset + unwrapping + field", "seconds", 8.0),
    ("full", "background: V-SHARP 12 mm", "seconds", 8.0),
    ("full", "R2*: nonlinear", "seconds", 3.0),
    ("full", "R2: EPG dictionary", "seconds", 20.0),
    ("full", "field fit", "rmse_eroded_ppb", 0.7),
    ("full", "unwrapping, template", "wrap_errors_percent", 0.2),
    ("128", "best of background", "nrmse_common", 26.0),
)


def markdown(rows: list[dict[str, Any]]) -> str:
    """One table per case and scan, with the columns that it fills."""
    text = []
    for case, scan in dict.fromkeys((row["case"], row["scan"]) for row in rows):
        part = [row for row in rows if (row["case"], row["scan"]) == (case, scan)]
        columns = [c for c in _COLUMNS if any(row.get(c[0]) is not None for row in part)]
        text.append(
            f"### {case}, {scan} ({part[0]['grid']}; {part[0]['brain_voxels'] / 1e6:.2f} million brain voxels)\n"
        )
        text.append("| stage | " + " | ".join(title for _, title, _ in columns) + " |")
        text.append("|---" * (len(columns) + 1) + "|")
        for row in part:
            cells = ["" if row.get(key) is None else form.format(row[key]) for key, _, form in columns]
            text.append(f"| {row['stage']} | " + " | ".join(cells) + " |")
        text.append("")
    return "\n".join(text)


def missed_aims(rows: list[dict[str, Any]]) -> list[str]:
    """What the rows miss of `AIMS`, in words; a stage that was not measured misses nothing."""
    missed = []
    for case, stage, column, limit in AIMS:
        value = _value([r for r in rows if r["case"] == case and r["scan"] in ("standard", "snr-150")], stage, column)
        if value is not None and value > limit:
            missed.append(f"{case}, {stage}: {column} {value:.3g} > {limit:g}")
    return missed


def _value(rows: list[dict[str, Any]], stage: str, column: str) -> float | None:
    if stage == "offset + unwrapping + field":
        names = ("phase offset", "unwrapping, template", "field fit")
        found = [next((r[column] for r in rows if r["stage"] == name), None) for name in names]
        return None if None in found else float(sum(found))
    if stage == "best of background":
        values = [r[column] for r in rows if r["stage"].startswith("background") and column in r]
        return min(values) if values else None
    return next((r[column] for r in rows if r["stage"] == stage), None)
