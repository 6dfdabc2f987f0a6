"""The folder that carries a run to the child process and its maps back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cancelled, ChiSepError, InputError, MemoryLimitError, WeightsError, without_command_line
from .echoes import EchoInput
from .maps import OUTPUT_MAPS

JOB_FILE = "job.json"
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def write_job(
    folder: Path,
    echoes: EchoInput,
    options: dict[str, Any],
    *,
    mask: np.ndarray | None = None,
    r2_hz: np.ndarray | None = None,
) -> Iterator[float]:
    """Write the arrays and then the job file, one echo per step, so that the caller can let events pass in between.

    Yields
    ------
    float
        Share written, 0..1. The job file exists when the last value has come.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written.
    """
    echoes.check()
    grid = echoes.grid
    number = len(echoes.magnitude)
    shape = (number, *grid.shape)
    for part, role in enumerate(("magnitude", "phase")):
        # Not a memory map: on a full disk a write into one ends the whole application with a bus error.
        with (folder / f"{role}.npy").open("wb") as stream:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            for n, echo in enumerate(echoes.arrays(role)):
                stream.write(np.ascontiguousarray(echo, dtype="<f4").data)
                yield 0.5 * part + 0.5 * (n + 1) / (number + 1)
    given = {"mask": mask, "r2_hz": r2_hz}
    for name, array in given.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array.astype(np.uint8 if array.dtype == bool else np.float32))
    job = {
        "package_root": str(PACKAGE_ROOT),
        "output_folder": "maps",
        "magnitude": "magnitude.npy",
        "phase": "phase.npy",
        "phase_scaling": echoes.phase_scaling,
        "echo_times_s": echoes.echo_times_s,
        "field_strength_t": echoes.field_strength_t,
        "ijk_to_ras": grid.ijk_to_ras.tolist(),
        **{name: None if array is None else f"{name}.npy" for name, array in given.items()},
        "options": options,
        "provenance": echoes.source,
    }
    (folder / JOB_FILE).write_text(json.dumps(job), encoding="utf-8")
    yield 1.0


def read_results(folder: Path, done: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Maps by name and the provenance, from the child's "done" event. Maps that no node shows are not read."""
    output = folder / "maps"
    shown = {kind.key for kind in OUTPUT_MAPS}
    maps = {
        name: np.load(output / file_name, allow_pickle=False)
        for name, file_name in done["maps"].items()
        if name in shown
    }
    provenance = json.loads((output / done["provenance"]).read_text(encoding="utf-8"))
    return maps, provenance


def error_of(event: dict[str, Any]) -> ChiSepError:
    """The error that the child reports, of the class that its exit code stands for."""
    kinds = {3: Cancelled, 4: MemoryLimitError, 5: WeightsError}
    kind = kinds.get(event.get("exit_code"), InputError)
    return kind(
        without_command_line(event.get("message", "The run failed.")), without_command_line(event.get("remedy", ""))
    )
