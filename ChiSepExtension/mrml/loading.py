"""From files and loaded volumes to the echo sequences that a run starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..acquisition.folder import find_echoes, holds_only_dicom
from ..acquisition.images import read_images
from ..acquisition.sidecar import Sidecar
from ..errors import InputError
from ..geometry import Grid, turned_onto
from ..volume_io import read_volume
from .echoes import PARTNER_PHASE, PARTNER_R2, echo_sequence, echo_volumes, natural_order, sequence_of_volumes
from .maps import PER_SECOND
from .volumes import set_array, set_meaning


@dataclass
class LoadedEchoes:
    """Sequence nodes of one scan, and what its files say about it.

    ``r2_map`` is the volume node of the R2 map (1/s) that lay beside the echoes, None where there was none.
    """

    magnitude: Any
    phase: Any
    echo_times_s: list[float]
    field_strength_t: float
    remarks: list[str]
    r2_map: Any = None


def load_folder(
    scene,
    folder: str | Path,
    *,
    echo_times_s: Sequence[float] | None = None,
    field_strength_t: float | None = None,
) -> LoadedEchoes:
    """Load the multi-echo scan of a folder (DICOM, or NIfTI with JSON sidecars, BIDS or plain) into two sequence nodes.

    One R2 map beside the echoes (``*R2map.nii``, ``*R2map.nii.gz``, 1/s) is loaded with them if it lies on their grid;
    a remark says what was done with it, also if it is damaged.

    Parameters
    ----------
    echo_times_s, field_strength_t
        Used only where the sidecars say nothing.

    Raises
    ------
    InputError
        If there is no such scan or more than one, if files do not fit together, or if something is missing that
        neither the files nor the caller say.
    """
    if holds_only_dicom(folder):
        from .dicom_loading import load_dicom_folder

        return load_dicom_folder(scene, folder, echo_times_s=echo_times_s, field_strength_t=field_strength_t)
    scan = find_echoes(folder)
    sidecars = [Sidecar.beside(path) for path in (*scan.magnitude, *scan.phase)]
    magnitude_sidecars, phase_sidecars = sidecars[: len(scan.magnitude)], sidecars[len(scan.magnitude) :]
    states_times = any(all(s.echo_times for s in group) for group in (magnitude_sidecars, phase_sidecars))
    if not states_times and not echo_times_s:
        raise InputError(
            f"No sidecar in {folder} states the echo times.", "Type them into “Echo times” and load the folder again."
        )
    states_field = any(s.field_strength_t for s in sidecars)
    series = read_images(
        scan.magnitude,
        scan.phase,
        echo_times=None if states_times else echo_times_s,
        field_strength_t=None if states_field else (field_strength_t or 3.0),
    )
    remarks = list(series.provenance.get("remarks", []))
    if not states_times:
        taken = format_echo_times(series.echo_times_s)
        remarks.append(f"No sidecar states the echo times; the given ones were taken: {taken} ms.")
    if not states_field:
        remarks.append(f"No sidecar states the field strength; {series.field_strength_t:g} T was taken.")
    name = scan.name.rsplit("/", 1)[-1]
    nodes = {
        role: echo_sequence(
            scene,
            f"{name} {role}",
            getattr(series, role),
            series.grid,
            series.echo_times_s,
            field_strength_t=series.field_strength_t,
            phase_scaling="radians" if role == "phase" else None,
            source=series.provenance if role == "magnitude" else None,
        )
        for role in ("magnitude", "phase")
    }
    times = [float(t) for t in series.echo_times_s]
    r2_map, remark = _load_r2_map(scene, Path(scan.magnitude[0]).parent, series.grid)
    remarks += [remark] if remark else []
    nodes["magnitude"].SetNodeReferenceID(PARTNER_PHASE, nodes["phase"].GetID())
    if r2_map is not None:
        nodes["magnitude"].SetNodeReferenceID(PARTNER_R2, r2_map.GetID())
    return LoadedEchoes(nodes["magnitude"], nodes["phase"], times, series.field_strength_t, remarks, r2_map)


def gather_echoes(scene, volumes: Sequence, role: str, echo_times_s: Sequence[float] | None = None):
    """One sequence node from volumes that are loaded one per echo, in the natural order of their names.

    Parameters
    ----------
    role
        "magnitude" or "phase"; the sequence's name ends with it.
    echo_times_s
        Become the index if there is one per volume.
    """
    if len(volumes) < 2:
        raise InputError(f"{len(volumes)} volume is selected as {role}.", "Select one volume per echo, two at least.")
    volumes = echo_volumes(list(volumes))
    names = [volume.GetName() for volume in volumes]
    ordered = [volumes[n] for n in natural_order(names)]
    known = echo_times_s is not None and len(echo_times_s) == len(ordered)
    return sequence_of_volumes(scene, f"{_common_start(names)} {role}", ordered, echo_times_s if known else None)


def parse_echo_times(text: str) -> list[float]:
    """Echo times in s from a line of milliseconds, such as "4.0, 8.1 12.2 ms".

    Raises
    ------
    InputError
        If something in it is no number, or too small or large to be milliseconds.
    """
    words = text.replace(",", " ").replace(";", " ").replace("ms", " ").split()
    try:
        times = [float(word) for word in words]
    except ValueError:
        raise InputError(f"“{text}” is not a list of numbers.", "Such as: 4.0, 8.0, 12.0") from None
    if times and max(times) < 0.5:
        raise InputError(f"Echo times up to {max(times):g} ms are too short.", "Give milliseconds, not seconds.")
    if times and max(times) > 500:
        raise InputError(f"Echo times up to {max(times):g} ms are too long.", "Give milliseconds.")
    return [time / 1e3 for time in times]


def format_echo_times(echo_times_s: Sequence[float]) -> str:
    """Echo times as the line of milliseconds that `parse_echo_times` reads."""
    return ", ".join(f"{1e3 * time:.6g}" for time in echo_times_s)


def _load_r2_map(scene, folder: Path, grid: Grid) -> tuple[Any, str]:
    """Volume node of the folder's one R2 map, turned onto ``grid``, and a remark; (None, why) if it cannot be used."""
    paths = sorted(path for pattern in ("*R2map.nii", "*R2map.nii.gz") for path in folder.glob(pattern))
    if not paths:
        return None, ""
    if len(paths) > 1:
        return None, f"{len(paths)} R2 maps lie in {folder}; none was loaded. Load and choose the right one."
    try:
        array, own_grid = read_volume(paths[0])
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a map nobody has asked for: echoes are loaded
        return None, f"The R2 map {paths[0].name} was not loaded: {error}"
    turned = turned_onto(array, own_grid, grid) if array.ndim == 3 else None
    if turned is None:
        return None, f"{paths[0].name} lies on another grid than the echoes and was not loaded. Resample it to them."
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", paths[0].name.partition(".nii")[0])
    # Fits leave NaN where there is no signal, and NaN would spread over the whole map: 0 is "not measured here".
    set_array(node, np.nan_to_num(np.asarray(turned, np.float32), nan=0.0, posinf=0.0, neginf=0.0), grid)
    set_meaning(node, None, PER_SECOND)
    node.CreateDefaultDisplayNodes()
    return node, f"R2 map {paths[0].name} was loaded with the echoes."


def _common_start(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    length = next((n for n, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last)))
    start = first[:length].rstrip(" _-0123456789")
    for ending in ("_echo", " echo", "-echo", "_e", "echo"):
        start = start.removesuffix(ending)
    return start.rstrip(" _-") or "echoes"
