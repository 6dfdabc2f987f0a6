"""The table of measures: one row per lesion, units in the column names, and what each number means."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .measures import LesionMeasures
from .statistics import MapStatistics
from .tables import Column, write_table

#: Printed with every table: without it, rim values of small and large lesions would be compared.
RIM_CAPTION = "Rim and core values depend on the size of the lesion; do not compare lesions of different size."


@dataclass(frozen=True)
class ShownMap:
    """How a map is shown: its values times ``factor`` in ``unit``; ``suffix`` ends the column names."""

    label: str
    unit: str
    suffix: str
    factor: float = 1.0


#: Susceptibility is stored in ppm and shown in ppb.
SHOWN_MAPS = {
    "chi_para": ShownMap("paramagnetic source susceptibility", "ppb", "ppb", 1000.0),
    "chi_dia": ShownMap("magnitude of the diamagnetic source susceptibility (positive)", "ppb", "ppb", 1000.0),
    "chi_total": ShownMap("total susceptibility", "ppb", "ppb", 1000.0),
    "qsm": ShownMap("susceptibility by QSM", "ppb", "ppb", 1000.0),
    "r2star": ShownMap("R2*", "1/s", "per_s"),
    "r2prime": ShownMap("R2'", "1/s", "per_s"),
}

_STATISTICS = {
    "mean": "Mean",
    "sd": "Standard deviation (n - 1)",
    "median": "Median",
    "p5": "5th percentile (linear rule)",
    "p95": "95th percentile (linear rule)",
    "min": "Minimum",
    "max": "Maximum",
    "shell_median": "Median of the reference region",
    "contrast": "Median of the lesion minus median of the reference region",
    "rim_core": f"Mean of the rim minus mean of the core. {RIM_CAPTION}",
    "rim_shell": f"Mean of the rim minus median of the reference region. {RIM_CAPTION}",
}
_UNITLESS = {
    "n": "Number of measured voxels: inside the mask of the maps and finite",
    "z": "Contrast divided by 1.4826 times the median absolute deviation of the reference region",
    "rim_arc": "Share of up to 24 sectors of the largest slice in which the rim exceeds core and reference by more "
    "than the median absolute deviation of the reference; a hint only, noise alone gives 0.1 to 0.3",
}


def shown_map(name: str) -> ShownMap:
    """How the map of this name is shown; unknown maps keep their values, in arbitrary units."""
    return SHOWN_MAPS.get(name, ShownMap(name, "arbitrary", "au"))


def measure_columns(maps: Sequence[str]) -> list[Column]:
    """Columns of the table for maps of these names."""
    columns = [
        Column("lesion_uid", "Identifier of the lesion, kept through edits."),
        Column("name", "Short name of the lesion in this list."),
        Column("n_voxels", "Number of voxels of the lesion."),
        Column("volume_mm3", "Volume: number of voxels times the volume of a voxel.", units="mm^3"),
        Column("max_diam_mm", "Largest distance between boundary voxel centres plus one voxel.", units="mm"),
        Column(
            "counted", "0 for lesions below 3 mm, which are listed and not counted.", levels={"0": "no", "1": "yes"}
        ),
        Column("coverage", "Fraction of the lesion inside the mask of the maps."),
        Column("vein_frac", "Fraction of the lesion in the vessel mask; n/a without one."),
        Column("trust_frac", "Mean of the trust map over the lesion; n/a without one."),
        Column("n_core", "Voxels of the core: the lesion without its outer voxel layer."),
        Column("n_rim", "Voxels of the rim: the lesion without its core."),
        Column("n_shell", "Voxels of the perilesional shell: 1 to 3 mm away, see the description of the table."),
        Column(
            "reference",
            "Reference region of contrast, z and rim values.",
            levels={
                "shell": "perilesional shell of the lesion",
                "nawm_global": "normal-appearing white matter of the whole brain: the shell had fewer than 30 voxels",
                "none": "no reference region could be formed",
            },
        ),
        Column(
            "rim_reason",
            "Why rim and core are not compared; n/a if they are.",
            levels={
                "core<8": "the core has fewer than 8 voxels",
                "diameter<5voxels": "the sphere of the same volume is below 5 voxels in diameter",
            },
        ),
        Column("flags", "Comma-separated: small, edge, nawm_global, no_reference, vein, resampled."),
    ]
    for name in maps:
        shown = shown_map(name)
        for key in MapStatistics.__dataclass_fields__:
            if key in _UNITLESS:
                columns.append(Column(f"{name}_{key}", f"{_UNITLESS[key]} ({shown.label})."))
            else:
                what = f"{_STATISTICS[key].rstrip('.')} ({shown.label})."
                columns.append(Column(f"{name}_{key}_{shown.suffix}", what, units=shown.unit))
    return columns


def measure_rows(measures: Sequence[LesionMeasures]) -> list[dict[str, object]]:
    """Rows of the table by column name, in shown units."""
    rows = []
    for m in measures:
        row: dict[str, object] = {
            "lesion_uid": m.uid,
            "name": m.name,
            "n_voxels": m.n_voxels,
            "volume_mm3": m.volume_mm3,
            "max_diam_mm": m.max_diameter_mm,
            "counted": m.counted,
            "coverage": m.coverage,
            "vein_frac": m.vein_frac,
            "trust_frac": m.trust_frac,
            "n_core": m.n_core,
            "n_rim": m.n_rim,
            "n_shell": m.n_shell,
            "reference": m.reference,
            "rim_reason": m.rim_reason or None,
            "flags": ",".join(m.flags) or None,
        }
        for name, statistics in m.maps.items():
            shown = shown_map(name)
            for key, value in vars(statistics).items():
                if key in _UNITLESS:
                    row[f"{name}_{key}"] = value
                else:
                    row[f"{name}_{key}_{shown.suffix}"] = value * shown.factor
        rows.append(row)
    return rows


def write_measures(
    path: str | os.PathLike, measures: Sequence[LesionMeasures], about: Mapping[str, object]
) -> tuple[Path, Path]:
    """Write the TSV and its JSON description.

    Parameters
    ----------
    about
        Facts of the whole table: at least reference region, variant of the maps, vessel method, resampling. What is
        undefined (NaN) is stored as "n/a".
    """
    maps = list(dict.fromkeys(name for m in measures for name in m.maps))
    counted = sum(m.counted for m in measures)
    header = {
        "Lesions": len(measures),
        "LesionsCounted": counted,
        "Shell": "1 mm < distance <= 3 mm, in white matter, without other lesions dilated by 1 mm, vessels, and 3 mm "
        "along the edge of the mask",
        "RimCaption": RIM_CAPTION,
    }
    clean = {k: "n/a" if isinstance(v, float) and math.isnan(v) else v for k, v in about.items()}
    return write_table(path, measure_columns(maps), measure_rows(measures), {**header, **clean})
