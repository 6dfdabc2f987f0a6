"""The table of measures read back, as the rows it was written from."""

from __future__ import annotations

import math
import os
from pathlib import Path

from ..errors import InputError
from ..lesions.measure_tables import SHOWN_MAPS
from ..lesions.measures import LesionMeasures
from ..lesions.statistics import MapStatistics
from ..lesions.tables import MISSING, read_table

#: Statistics of a map that have no unit and no factor.
_UNITLESS = ("n", "z", "rim_arc")


def read_measures(path: str | os.PathLike) -> tuple[LesionMeasures, ...]:
    """Rows of a table of measures (``chisep lesions``), in ppm and 1/s; what is missing is NaN.

    Maps that are not `SHOWN_MAPS` are left out.

    Raises
    ------
    InputError
        If the file is no such table.
    """
    path = Path(path)
    rows, _ = read_table(path)
    try:
        return tuple(_measures(row) for row in rows)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} is no table of lesion measures: {error}.", "Give the table of lesion measures (chisep lesions)."
        ) from error


def _measures(row: dict[str, str]) -> LesionMeasures:
    maps = {}
    for name, shown in SHOWN_MAPS.items():
        if f"{name}_median_{shown.suffix}" not in row:
            continue
        values = {
            key: _number(row[f"{name}_{key}"])
            if key in _UNITLESS
            else _number(row[f"{name}_{key}_{shown.suffix}"]) / shown.factor
            for key in MapStatistics.__dataclass_fields__
        }
        maps[name] = MapStatistics(**{**values, "n": int(values["n"])})
    return LesionMeasures(
        uid=row["lesion_uid"],
        name=row["name"],
        n_voxels=int(row["n_voxels"]),
        volume_mm3=_number(row["volume_mm3"]),
        max_diameter_mm=_number(row["max_diam_mm"]),
        counted=row["counted"] == "1",
        coverage=_number(row["coverage"]),
        vein_frac=_number(row["vein_frac"]),
        trust_frac=_number(row["trust_frac"]),
        n_core=int(row["n_core"]),
        n_rim=int(row["n_rim"]),
        n_shell=int(row["n_shell"]),
        reference=row["reference"],
        rim_reason="" if row["rim_reason"] == MISSING else row["rim_reason"],
        flags=() if row["flags"] == MISSING else tuple(row["flags"].split(",")),
        maps=maps,
    )


def _number(field: str) -> float:
    return math.nan if field == MISSING else float(field)
