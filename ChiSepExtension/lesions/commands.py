"""What ``chisep lesions`` and ``chisep agree`` do: files in, files and a text to print out.

Errors of the user are raised as `ChiSepError`; the command line prints them and takes their exit code.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..notice import RESEARCH_USE
from ..progress import NEVER, CancelToken, Progress, part, silent
from ..volume_io import read_volume
from .agreement import Agreement, agreement_text, compare
from .canonical import require_same_grid
from .lesion_files import read_labels, write_lesions
from .lock import file_sha256
from .map_files import read_maps
from .measure_tables import RIM_CAPTION, write_measures
from .measures import Measurer
from .rating_tables import read_ratings
from .tables import write_json
from .vessels import MIN_CONTRAST_PPM, vessel_mask


@dataclass(frozen=True)
class CommandResult:
    """Text for the terminal, exit code, and the files written."""

    text: str
    exit_code: int = 0
    files: tuple[Path, ...] = ()


def measure_command(
    maps: str | os.PathLike | Sequence[str | os.PathLike] | Mapping[str, str | os.PathLike],
    mask: str | os.PathLike,
    output: str | os.PathLike,
    *,
    brain_mask: str | os.PathLike | None = None,
    white_matter: str | os.PathLike | None = None,
    vessels: str | os.PathLike | None = "auto",
    trust: str | os.PathLike | None = None,
    outlines: str | os.PathLike | None = None,
    resample: bool = False,
    chi_unit: str | None = None,
    dia_sign: str | None = None,
    case: str = "",
    variant: str = "",
    overwrite: bool = False,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> CommandResult:
    """``chisep lesions MAPS MASK -o table.tsv``: measure every lesion of a mask on the maps of a case.

    Parameters
    ----------
    maps
        Folder that `chisep run` wrote, map files, "name=path" strings, or paths by name; see `map_files.read_maps`.
    mask
        Lesion mask, label map (with its table, identifiers are kept) or ``.seg.nrrd``.
    output
        ``.tsv``; the description goes into ``.json`` beside it.
    white_matter, brain_mask, trust
        Images on the grid of the maps.
    vessels
        Vessel mask; "auto" finds one in ``chi_para`` if there is one; None excludes no vessels.
    outlines
        ``*_dseg.nii.gz`` to write the label map with its table of identifiers to.
    resample
        Allow a lesion mask on another grid (nearest neighbour; the table records it).
    chi_unit, dia_sign
        Answers to the questions of unit and sign.
    variant
        How the maps were made (network or method), copied into the table's description.
    """
    output = Path(output)
    if output.suffix.lower() != ".tsv":
        raise InputError(f"The table {output.name} is not named .tsv.", "Give an output name that ends in .tsv.")
    outlines_files = [] if outlines is None else [Path(outlines)]
    for path in (output, output.with_suffix(".json"), *outlines_files):
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists.", "Choose another name, or allow overwriting.")
    progress(0.0, "Reading maps")
    case_maps = read_maps(maps, chi_unit=chi_unit, dia_sign=dia_sign, mask=brain_mask)
    grid = case_maps.grid
    cancel.check()
    labels = read_labels(mask)
    dice = math.nan
    if resample and not labels.grid.matches(grid):
        labels, dice = labels.resampled(grid)
    else:
        labels = labels.on(grid)
    lesions = labels.lesions(case)
    if not len(lesions):
        raise InputError(f"{Path(mask).name} holds no lesion on the maps.", "Check that it is the mask of this case.")
    vessel_voxels, vessel_source = _vessels(vessels, case_maps, part(progress, 0.1, 0.6), cancel)
    measurer = Measurer(
        case_maps.maps,
        case_maps.mask,
        grid,
        white_matter=_optional(white_matter, "white matter mask", grid),
        vessels=vessel_voxels,
        trust=_optional(trust, "trust map", grid),
        resampled=not math.isnan(dice),
    )
    rows = measurer.measure(lesions, progress=part(progress, 0.6, 0.95), cancel=cancel)
    about = {
        "Case": case or "n/a",
        "Variant": variant or "n/a",
        "Grid": grid.describe(),
        "Maps": {name: file_sha256(path) for name, path in case_maps.files.items()},
        "LesionMask": file_sha256(mask),
        "Resampled": not math.isnan(dice),
        "RoundTripDice": dice,
        "MaskOfMaps": "voxels that are not zero" if case_maps.mask_is_derived else "given",
        "WhiteMatter": "given" if white_matter else "whole mask of the maps: shells may hold grey matter",
        "Vessels": vessel_source,
    }
    files = list(write_measures(output, rows, about))
    if outlines is not None:
        files += write_lesions(outlines, lesions)
    progress(1.0, "Done")
    small = len(lesions) - len(lesions.counted)
    text = [
        RESEARCH_USE,
        f"{len(lesions.counted)} lesions, {sum(x.volume_mm3 for x in lesions.lesions) / 1000:.2f} ml"
        + (f"; {small} below 3 mm are listed, not counted" if small else ""),
    ]
    text += [
        f"{sum(flag in row.flags for row in rows)} {what}" for flag, what in _FLAG_TEXTS.items() if _any(rows, flag)
    ]
    if not white_matter:
        text.append("No white matter mask: the surroundings of lesions near grey matter are mixed.")
    if not math.isnan(dice):
        text.append(f"The lesion mask was resampled (nearest neighbour), round-trip Dice {dice:.3f}.")
    text += [RIM_CAPTION, *(str(path) for path in files)]
    return CommandResult("\n".join(text) + "\n", 0, tuple(files))


def agree_command(
    a: str | os.PathLike,
    b: str | os.PathLike,
    *,
    fields: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = 2000,
    output: str | os.PathLike | None = None,
    overwrite: bool = False,
) -> CommandResult:
    """``chisep agree A.tsv B.tsv``: agreement of two rating tables (or working files) as text, and as JSON.

    Parameters
    ----------
    fields
        Names of codebook fields; None takes all that both rated.
    seed, resamples
        Of the bootstrap over patients.
    output
        ``.json`` for the numbers.
    """
    if output is not None and Path(output).exists() and not overwrite:
        raise InputError(f"{output} exists.", "Choose another name, or allow overwriting.")
    agreement = compare(read_ratings(a), read_ratings(b), fields=fields, seed=seed, resamples=resamples)
    files = () if output is None else (write_json(output, agreement_record(agreement)),)
    return CommandResult(agreement_text(agreement), 0, files)


def agreement_record(agreement: Agreement) -> dict[str, object]:
    """The numbers of a comparison as JSON: undefined values are "undefined"."""
    return {"Notice": RESEARCH_USE, **_plain(asdict(agreement))}


#: Flags of the table worth a line on the terminal.
_FLAG_TEXTS = {
    "edge": "lie partly outside the mask of the maps (coverage below 1)",
    "nawm_global": "have too small a shell and use the global white matter instead",
    "no_reference": "have no reference region",
    "vein": "meet a vessel",
}


def _any(rows, flag: str) -> bool:
    return any(flag in row.flags for row in rows)


def _vessels(vessels, case_maps, progress: Progress, cancel: CancelToken) -> tuple[np.ndarray | None, str]:
    if vessels is None:
        return None, "none excluded"
    if str(vessels) != "auto":
        return _optional(vessels, "vessel mask", case_maps.grid), "given"
    if "chi_para" not in case_maps.maps:
        return None, "none excluded: no paramagnetic map"
    found = vessel_mask(case_maps.maps["chi_para"], case_maps.mask, case_maps.grid, progress=progress, cancel=cancel)
    return found, f"vesselness of chi_para, contrast of {1000 * MIN_CONTRAST_PPM:g} ppb and more"


def _optional(path: str | os.PathLike | None, what: str, grid: Grid) -> np.ndarray | None:
    if path is None:
        return None
    array, own_grid = read_volume(path)
    require_same_grid(what, own_grid, grid)
    return array


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return "undefined"
    return value
