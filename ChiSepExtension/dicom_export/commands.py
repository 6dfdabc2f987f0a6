"""What ``chisep dicom-export`` does: files in, DICOM files and a text to print out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError
from ..lesions.commands import CommandResult
from ..lesions.lesion_files import read_lesions
from ..lesions.map_files import read_maps
from ..lesions.rating_tables import read_ratings
from ..notice import RESEARCH_USE
from ..progress import NEVER, CancelToken, Progress, part, silent
from .codes import MAPS
from .export import export_dicom
from .measure_rows import read_measures
from .reference import read_headers
from .requirement import require_highdicom


def dicom_export_command(
    maps: str | os.PathLike | Sequence[str | os.PathLike] | Mapping[str, str | os.PathLike],
    output: str | os.PathLike,
    *,
    case: str,
    lesions: str | os.PathLike | None = None,
    table: str | os.PathLike | None = None,
    ratings: Sequence[str | os.PathLike] = (),
    source: str | os.PathLike | None = None,
    identify: bool = False,
    outlines: str = "semiautomatic",
    chi_unit: str | None = None,
    dia_sign: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> CommandResult:
    """``chisep dicom-export MAPS -o DIR``: maps, lesion outlines, their values and ratings as DICOM.

    Parameters
    ----------
    maps
        Folder that `chisep run` wrote, map files, or paths by name; see `lesions.map_files.read_maps`.
    case
        Code of the case, the patient's name and ID in the files unless ``identify``.
    lesions
        Lesion mask, label map or segmentation; identifiers are kept.
    table, ratings
        What ``chisep lesions`` wrote of these lesions, and tables of one or more readers.
    source
        Folder (or file) of the scan's DICOM images.
    """
    require_highdicom()
    progress(0.0, "Reading maps")
    case_maps = read_maps(maps, chi_unit=chi_unit, dia_sign=dia_sign)
    chosen = {name: array for name, array in case_maps.maps.items() if name in MAPS}
    if not chosen:
        raise InputError("None of the maps has a DICOM code.", f"Give one of {', '.join(MAPS)}.")
    cancel.check()
    headers = [] if source is None else read_headers(source)
    outlines_of_case = None if lesions is None else read_lesions(lesions, grid=case_maps.grid, case=case)
    files = export_dicom(
        output,
        chosen,
        case_maps.grid,
        case=case,
        lesions=outlines_of_case,
        measures=() if table is None else read_measures(table),
        ratings=[read_ratings(path) for path in ratings],
        sources=headers,
        identify=identify,
        outlines=outlines,
        origin=_origin(maps),
        overwrite=overwrite,
        progress=part(progress, 0.2, 1.0),
        cancel=cancel,
    )
    text = [RESEARCH_USE]
    if identify:
        text.append("The files name the patient.")
    elif headers:
        text.append(
            "De-identified and searched for the patient's identity; study and image UIDs are those of the scan."
        )
    else:
        text.append(f"The patient is {case}; without the images of the scan its identity could not be searched for.")
    left_out = [name for name in case_maps.maps if name not in MAPS]
    if left_out:
        text.append(f"Not exported, for want of a code: {', '.join(left_out)}.")
    text += [str(Path(path)) for path in files]
    return CommandResult("\n".join(text) + "\n", 0, files)


def _origin(maps: object) -> str:
    """Software, method and weights of the run that wrote the folder of the maps; no paths and no file names."""
    if not isinstance(maps, (str, os.PathLike)) or not Path(maps).is_dir():
        return ""
    found = sorted(Path(maps).glob("*provenance.json"))
    if len(found) != 1:
        return ""
    try:
        content = json.loads(found[0].read_text(encoding="utf-8"))
        options = {key: value for key, value in content["options"].items() if key != "weights"}
        weights = content.get("findings", {}).get("separation", {}).get("weights")
        kept = {"software": content["software"], "options": options, "weights": weights}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return json.dumps(kept, ensure_ascii=True)
