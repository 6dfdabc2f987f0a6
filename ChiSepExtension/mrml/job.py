"""The folder that carries a run to the child process and its maps back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cancelled, ChiSepError, InputError, MemoryLimitError, WeightsError, without_command_line
from ..geometry import Grid
from .echoes import EchoInput
from .maps import OUTPUT_MAPS
from .outputs import MAGNITUDE
from .spin_echo import SpinEchoInput

JOB_FILE = "job.json"
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def write_job(
    folder: Path,
    echoes: EchoInput,
    options: dict[str, Any],
    *,
    given: Mapping[str, np.ndarray | None] | None = None,
    context: Mapping[str, Grid] | None = None,
    spin_echo: SpinEchoInput | None = None,
    gate: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    task: str = "run",
) -> Iterator[float]:
    """Write the arrays and then the job file, one array per step, so that the caller can let events pass in between.

    Parameters
    ----------
    given
        Maps by the names of `GivenMaps`; None and bool arrays are fine.
    context
        Grids of the images that will lie beside the maps, by name.
    spin_echo
        A multi-echo spin echo on a grid of its own, from which R2 is measured.
    gate
        What the check of the inputs said (`Gate.to_dict`), with its override.
    record
        What the provenance has to say besides where the images came from.
    task
        "run", or "check" for the input gate alone.

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
        for n in _write_echoes(folder / f"{role}.npy", echoes.arrays(role), shape):
            yield 0.5 * part + 0.5 * (n + 1) / (number + 1)
    if spin_echo is not None:
        shape = (len(spin_echo.volumes), *spin_echo.grid.shape)
        for _ in _write_echoes(folder / "spin_echo.npy", spin_echo.arrays(), shape):
            yield 0.99
    given = {name: array for name, array in (given or {}).items() if array is not None}
    for name, array in given.items():
        np.save(folder / f"{name}.npy", array.astype(np.uint8 if array.dtype == bool else np.float32))
        yield 0.99
    job = {
        "task": task,
        "package_root": str(PACKAGE_ROOT),
        "output_folder": "maps",
        "magnitude": "magnitude.npy",
        "phase": "phase.npy",
        "phase_scaling": echoes.phase_scaling,
        "echo_times_s": echoes.echo_times_s,
        "field_strength_t": echoes.field_strength_t,
        "ijk_to_ras": grid.ijk_to_ras.tolist(),
        **{name: f"{name}.npy" for name in given},
        "spin_echo": None if spin_echo is None else {"magnitude": "spin_echo.npy", **spin_echo.facts},
        "options": options,
        "gate": gate,
        "context": {
            name: {"shape": list(own.shape), "ijk_to_ras": own.ijk_to_ras.tolist()}
            for name, own in (context or {}).items()
        },
        "provenance": {**echoes.source, **(record or {})},
    }
    (folder / JOB_FILE).write_text(json.dumps(job), encoding="utf-8")
    yield 1.0


def _write_echoes(path: Path, echoes: Iterator[np.ndarray], shape: tuple[int, ...]) -> Iterator[int]:
    """Write echoes one by one into one array file; yields the number of each.

    Not a memory map: on a full disk a write into one ends the whole application with a bus error.
    """
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for n, echo in enumerate(echoes):
            stream.write(np.ascontiguousarray(echo, dtype="<f4").data)
            yield n


class StoredMaps(Mapping):
    """The child's maps by name, each read when it is asked for: all at once would hold the application up."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        shown = {kind.key for kind in OUTPUT_MAPS} | {MAGNITUDE}
        self._files = {name: folder / file_name for name, file_name in files.items() if name in shown}

    def __getitem__(self, name: str) -> np.ndarray:
        return np.load(self._files[name], allow_pickle=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def read_results(folder: Path, done: Mapping[str, Any]) -> tuple[StoredMaps, dict[str, Any], bytes]:
    """Maps by name, the provenance and the quality picture (PNG, or nothing), from the child's "done" event."""
    output = folder / "maps"
    provenance = json.loads((output / done["provenance"]).read_text(encoding="utf-8"))
    picture = done.get("pictures", {}).get("qc")
    return StoredMaps(output, done["maps"]), provenance, (output / picture).read_bytes() if picture else b""


def error_of(event: dict[str, Any]) -> ChiSepError:
    """The error that the child reports, of the class that its exit code stands for."""
    kinds = {3: Cancelled, 4: MemoryLimitError, 5: WeightsError}
    kind = kinds.get(event.get("exit_code"), InputError)
    return kind(
        without_command_line(event.get("message", "The run failed.")), without_command_line(event.get("remedy", ""))
    )
