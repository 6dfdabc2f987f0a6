"""The files a run leaves: names, units, sidecars, pictures; each appears whole or not at all."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .acquisition.gradient_echo import GradientEchoSeries
from .errors import InputError
from .notice import RESEARCH_USE
from .result import MAP_KINDS, Result
from .volume_io import atomic_path, write_text, write_volume

logger = logging.getLogger(__name__)

OVERLAY, QUALITY, CHECKS = "desc-overlay.png", "desc-qc.png", "desc-checks.png"
SCENE, PROVENANCE = "scene.mrb", "provenance.json"


def planned_files(folder: str | Path, prefix: str = "") -> list[Path]:
    """Every file that a run may write, in the order it is written."""
    folder = Path(folder)
    names = [f"{kind.file_name}{ending}" for kind in MAP_KINDS for ending in (".nii.gz", ".json")]
    return [folder / f"{prefix}{name}" for name in (*names, OVERLAY, QUALITY, CHECKS, SCENE, PROVENANCE)]


def refuse_to_overwrite(folder: str | Path, prefix: str = "") -> None:
    """Raise before any work is done if a file of an earlier run is in the way."""
    existing = [path for path in planned_files(folder, prefix) if path.exists()]
    if existing:
        raise InputError(
            f"{existing[0]} exists already" + (f" (and {len(existing) - 1} more)." if existing[1:] else "."),
            "Choose another folder or prefix (--output, --prefix), or replace them (--overwrite).",
        )


def refuse_unwritable(folder: str | Path) -> None:
    """Raise `InputError` before any work is done if the folder cannot be made or written to."""
    folder = Path(folder).absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        what = "is not a folder" if not existing.is_dir() else "cannot be written to"
        raise InputError(f"The results cannot go to {folder}: {existing} {what}.", "Choose another folder (--output).")


def write_outputs(
    folder: str | Path, series: GradientEchoSeries, result: Result, *, prefix: str = "", scene: bool = True
) -> list[Path]:
    """Write maps with sidecars, the three pictures, the scene (where slicer-core is installed) and the provenance.

    ``prefix`` goes before every file name (``sub-01_`` makes BIDS names). Returns the files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Everything is written beside the files of an earlier run before the first of them is touched: a full disk costs
    # nothing that was there.
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
        names = [path.name for path in _write_all(Path(partial), series, result, prefix, scene)]
        # Where provenance.json is, the run is complete: the old one goes first, the new one comes last.
        (folder / f"{prefix}{PROVENANCE}").unlink(missing_ok=True)
        for name in names:
            (Path(partial) / name).replace(folder / name)
    for path in planned_files(folder, prefix):
        if path.name not in names:
            path.unlink(missing_ok=True)
    return [folder / name for name in names]


def _write_all(folder: Path, series: GradientEchoSeries, result: Result, prefix: str, scene: bool) -> list[Path]:
    """Write every file into a folder that holds none of them; the provenance last."""
    written: list[Path] = []
    arrays = result.maps()
    for kind in MAP_KINDS:
        if kind.name not in arrays:
            continue
        path = folder / f"{prefix}{kind.file_name}.nii.gz"
        written.append(write_volume(path, arrays[kind.name], result.grid))
        written.append(write_text(folder / f"{prefix}{kind.file_name}.json", _json(_sidecar(kind, result))))
    from .quality.figures import overlay_picture, quality_picture
    from .quality.qc_sheet import qc_sheet

    for name, draw in ((OVERLAY, overlay_picture), (QUALITY, quality_picture), (CHECKS, qc_sheet)):
        path = folder / f"{prefix}{name}"
        with atomic_path(path) as temporary:
            draw(series, result).save(temporary)
        written.append(path)
    if scene:
        path = folder / f"{prefix}{SCENE}"
        if _write_scene(path, series, result):
            written.append(path)
    written.append(write_text(folder / f"{prefix}{PROVENANCE}", _json(full_provenance(result))))
    return written


def full_provenance(result: Result) -> dict[str, Any]:
    """The provenance of a result as it is written to file."""
    statistics = {}
    for name, array in result.maps().items():
        if name != "mask" and result.mask.any():
            values = array[result.mask]
            low, middle, high = np.percentile(values, (1, 50, 99))
            statistics[name] = {"p1": float(low), "median": float(middle), "p99": float(high)}
    return {
        "notice": RESEARCH_USE,
        **result.provenance,
        "statistics_in_mask": statistics,
        "mask_voxels": int(result.mask.sum()),
    }


def _sidecar(kind: Any, result: Result) -> dict[str, Any]:
    findings = result.provenance.get("findings", {})
    fields: dict[str, Any] = {"Description": kind.description, "Notice": RESEARCH_USE}
    if kind.unit:
        fields["Units"] = kind.unit
    if kind.name == "chi_dia":
        fields["SignConvention"] = "absolute"
    if kind.name.startswith("chi") or kind.name == "qsm":
        fields["Separation"] = findings.get("separation", {})
        fields["Reference"] = findings.get("qsm", {}).get("reference")
    if kind.name in ("chi_para", "chi_dia", "r2prime_hz"):
        fields["R2prime"] = findings.get("r2prime", {})
    software = result.provenance.get("software", {})
    fields["GeneratedBy"] = [{"Name": "ChiSepExtension", "Version": software.get("ChiSepExtension")}]
    return fields


def _write_scene(path: Path, series: GradientEchoSeries, result: Result) -> bool:
    try:
        from .mrml.scene import write_scene

        with atomic_path(path) as temporary:
            write_scene(temporary, series, result)
    except ImportError as error:
        logger.info("No scene.mrb: slicer-core is not installed (%s).", error)
        return False
    except Exception as error:  # noqa: BLE001 - the maps are worth more than the scene
        logger.warning("No scene.mrb could be written: %s", error)
        return False
    return True


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return value.name
    raise TypeError(f"{type(value).__name__} is not JSON-able")
