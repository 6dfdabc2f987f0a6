"""The maps of a case from files, with the two questions that must never be answered silently: unit and sign."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..volume_io import read_volume
from .canonical import require_same_grid
from .measure_tables import SHOWN_MAPS

#: File names of maps, as the pipeline and BIDS derivatives write them; the first that fits counts.
_NAMES = (
    ("chi_para", r"desc-paramagnetic\w*_Chimap"),
    ("chi_dia", r"desc-diamagnetic\w*_Chimap"),
    ("mask", r"desc-brain_mask"),
    ("qsm", r"desc-qsm_Chimap"),
    ("chi_total", r"(^|_)Chimap"),
    ("r2star", r"(^|_)R2starmap"),
    ("r2prime", r"(^|_)R2primemap"),
)
_SUSCEPTIBILITY = ("chi_para", "chi_dia", "chi_total", "qsm")
_SUFFIX = re.compile(r"\.(nii(\.gz)?|nrrd|nhdr|mha)$", re.IGNORECASE)

#: 99th percentile of |susceptibility| in a brain: 0.1 to 0.3 in ppm, 100 to 300 in ppb.
PPM_BELOW, PPB_ABOVE = 1.0, 5.0


@dataclass(frozen=True, eq=False)
class CaseMaps:
    """Maps in ppm and 1/s by name, the mask where they were computed, and the files they came from."""

    maps: dict[str, np.ndarray]
    mask: np.ndarray
    grid: Grid
    files: dict[str, Path]
    mask_is_derived: bool


def read_maps(
    source: str | os.PathLike | Sequence[str | os.PathLike] | Mapping[str, str | os.PathLike],
    *,
    chi_unit: str | None = None,
    dia_sign: str | None = None,
    mask: str | os.PathLike | None = None,
) -> CaseMaps:
    """Read the maps of one case.

    Parameters
    ----------
    source
        A folder with maps, files whose names tell the map, "name=path" strings, or paths by name.
    chi_unit
        "ppm" or "ppb" of the susceptibility maps; None takes ppm and asks if the values do not look like it.
    dia_sign
        "positive" or "negative" of the diamagnetic map; None takes positive and asks if the values are negative.
    mask
        Where the maps were computed; None takes the mask among the maps, else the voxels that are not zero.

    Raises
    ------
    InputError
        If files are missing or ambiguous, lie on different grids, or unit or sign must be told.
    """
    if chi_unit not in (None, "ppm", "ppb") or dia_sign not in (None, "positive", "negative"):
        raise InputError(f"Unit {chi_unit!r}, sign {dia_sign!r}?", "Use ppm or ppb, and positive or negative.")
    files = _files(source)
    if mask is not None:
        files["mask"] = Path(mask)
    known = [name for name in SHOWN_MAPS if name in files]
    names = known + [name for name in files if name not in (*known, "mask")]
    if not names:
        raise InputError("There is no map.", "Give the folder of a run (chisep run), or name=path for each map.")
    maps, grid = {}, None
    for name in names:
        maps[name], own_grid = _read(files[name])
        grid = grid or own_grid
        require_same_grid(f"map {name}", own_grid, grid)
    if "mask" in files:
        region, own_grid = _read(files["mask"])
        require_same_grid("mask", own_grid, grid)
        region = region > 0
    else:
        chosen = [n for n in names if n in _SUSCEPTIBILITY] or names
        region = np.any([np.isfinite(maps[n]) & (maps[n] != 0) for n in chosen], axis=0)
    if not region.any():
        raise InputError("The mask of the maps is empty.", "Give the mask in which the maps were computed.")
    for name in names:
        if name in _SUSCEPTIBILITY:
            maps[name] = in_ppm(name, maps[name], region, chi_unit)
    if "chi_dia" in maps:
        maps["chi_dia"] = positive(maps["chi_dia"], region, dia_sign)
    return CaseMaps(maps, region, grid, files, "mask" not in files)


def _files(source) -> dict[str, Path]:
    if isinstance(source, Mapping):
        return {name: Path(path) for name, path in source.items()}
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    found: dict[str, Path] = {}
    for entry in source:
        name, _, path = str(entry).partition("=")
        if path and re.fullmatch("[A-Za-z0-9_]+", name):
            candidates = [(name, Path(path))]
        elif Path(entry).is_dir():
            listed = sorted(p for p in Path(entry).iterdir() if _SUFFIX.search(p.name))
            candidates = [(_name_of(p), p) for p in listed if _name_of(p)]
        else:
            candidates = [(_name_of(Path(entry)), Path(entry))]
        for map_name, file in candidates:
            if not map_name:
                raise InputError(
                    f"{file.name} does not tell which map it is.", "Write name=path, as chi_para=file.nii."
                )
            if map_name in found:
                raise InputError(
                    f"There are two files of {map_name}: {found[map_name].name} and {file.name}.",
                    "Name the ones of this case as name=path.",
                )
            found[map_name] = file
    return found


def _name_of(path: Path) -> str:
    stem = _SUFFIX.sub("", path.name)
    return next((name for name, pattern in _NAMES if re.search(pattern + "$", stem)), "")


def _read(path: Path) -> tuple[np.ndarray, Grid]:
    array, grid = read_volume(path)
    if array.ndim != 3:
        raise InputError(f"{path} has {len(array)} volumes.", "Give a 3-D map.")
    return array.astype(np.float32, copy=False), grid


def in_ppm(name: str, values: np.ndarray, region: np.ndarray, unit: str | None) -> np.ndarray:
    """The susceptibility map in ppm; without a unit told, values that do not look like ppm are an `InputError`."""
    inside = values[region]
    high = float(np.percentile(np.abs(inside[np.isfinite(inside)]), 99)) if np.isfinite(inside).any() else 0.0
    if unit is None and high >= PPM_BELOW:
        likely = "ppb" if high > PPB_ABOVE else "neither ppm nor ppb"
        raise InputError(
            f"The 99th percentile of {name} is {high:.3g}, which looks like {likely}; ppm was expected.",
            "Tell the unit: ppm or ppb. Values are never converted without being told.",
        )
    return values * np.float32(0.001) if unit == "ppb" else values


def positive(values: np.ndarray, region: np.ndarray, sign: str | None) -> np.ndarray:
    """The diamagnetic map as a positive magnitude; a negative one without a sign told is an `InputError`."""
    inside = values[region]
    is_negative = float(np.nanmedian(inside)) < 0
    if is_negative and sign is None:
        raise InputError(
            "The diamagnetic map is negative in most of its mask; here it is the (positive) magnitude.",
            "Tell its sign: negative, if the file stores diamagnetic susceptibility below zero.",
        )
    if sign is not None and is_negative != (sign == "negative"):
        raise InputError(f"The diamagnetic map is not {sign} in most of its mask.", "Check the file and its sign.")
    return -values if sign == "negative" else values
