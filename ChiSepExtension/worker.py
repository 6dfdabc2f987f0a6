"""The child process that Slicer starts: a job file in, JSON lines out, maps in files.

The GUI process never runs numerics and never imports torch: out-of-memory or a crash in here cannot lose a reader's
unsaved work, and killing this process is how a run is cancelled.

Started as ``python -m ChiSepExtension.worker JOB.json`` or, where the package is not on the path, by the path of this
file. Lines on stdout::

    {"event": "started", "pid": 4711}
    {"event": "progress", "fraction": 0.4, "message": "Background field"}
    {"event": "log", "message": "…"}
    {"event": "done", "maps": {"chi_para": "chi_para.npy", …}, "provenance": "provenance.json", "pictures": {…}}
    {"event": "error", "message": "…", "remedy": "…", "exit_code": 2}

A job whose ``task`` is "check" is examined by the input gate instead and ends with ``{"event": "done", "gate": {…}}``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    """Do the job; the exit status is that of the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        sys.stderr.write("usage: worker JOB.json\n")
        return 2
    if hasattr(os, "setsid"):
        try:
            os.setsid()  # its own process group, so that the parent can end every child of ours with it
        except PermissionError:
            pass  # already the leader of a group
    _tell(event="started", pid=os.getpid())
    job_file = Path(arguments[0]).resolve()
    job = json.loads(job_file.read_text(encoding="utf-8"))
    root = job.get("package_root")
    if root and root not in sys.path:
        sys.path.insert(0, root)
    from ChiSepExtension.errors import ChiSepError

    try:
        answer = (_check if job.get("task") == "check" else _do)(job, job_file.parent)
    except ChiSepError as error:
        _tell(event="error", message=error.message, remedy=error.remedy, exit_code=error.exit_code)
        return error.exit_code
    except MemoryError:
        message = "There is not enough memory for this run."
        _tell(event="error", message=message, remedy="Close other programs or crop the images.", exit_code=4)
        return 4
    _tell(event="done", **answer)
    return 0


def _read(job: dict[str, Any], folder: Path) -> tuple[Any, dict[str, Any]]:
    """Series of a job, and given maps, spin echo and options as keyword arguments."""
    import numpy as np

    from ChiSepExtension.acquisition.gradient_echo import GradientEchoSeries
    from ChiSepExtension.acquisition.phase_scaling import to_radians
    from ChiSepExtension.acquisition.spin_echo import SpinEchoSeries
    from ChiSepExtension.geometry import Grid
    from ChiSepExtension.given_maps import GivenMaps
    from ChiSepExtension.options import Options

    def load(name: str):
        return np.load(folder / job[name], allow_pickle=False) if job.get(name) else None

    magnitude, stored = load("magnitude"), load("phase")
    phase, span = to_radians(stored, scaling=job.get("phase_scaling", "auto"))
    remark = f"Phase read as {span.description}."
    _tell(event="log", message=remark)
    grid = Grid(magnitude.shape[1:], np.array(job["ijk_to_ras"]))
    provenance = {"phase_scaling": span.name, "remarks": [remark], **job.get("provenance", {})}
    series = GradientEchoSeries(magnitude, phase, job["echo_times_s"], job["field_strength_t"], grid, provenance)
    mask = load("mask")
    given = GivenMaps(
        mask=None if mask is None else mask.astype(bool),
        **{name: load(name) for name in ("r2_hz", "r2prime_hz", "r2star_hz", "local_field_ppm")},
    )
    spin_echo = None
    if facts := job.get("spin_echo"):
        echoes = np.load(folder / facts["magnitude"], allow_pickle=False)
        own = Grid(echoes.shape[1:], np.array(facts["ijk_to_ras"]))
        spin_echo = SpinEchoSeries(echoes, facts["echo_times_s"], own, facts["refocusing_deg"]).validate()
    options = Options.from_dict(job.get("options", {}))
    return series, {"given": given, "spin_echo": spin_echo, "options": options}


def _do(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    import numpy as np

    from ChiSepExtension.outputs import full_provenance
    from ChiSepExtension.pipeline import run
    from ChiSepExtension.quality.figures import quality_picture
    from ChiSepExtension.quality.gate_rows import Gate
    from ChiSepExtension.volume_io import write_text

    series, arguments = _read(job, folder)
    gate = Gate.from_dict(job["gate"]) if job.get("gate") else None
    result = run(series, **arguments, gate=gate, progress=_progress)
    output = folder / job.get("output_folder", ".")
    output.mkdir(parents=True, exist_ok=True)
    maps = {}
    for name, array in result.maps().items():
        np.save(output / f"{name}.npy", array, allow_pickle=False)
        maps[name] = f"{name}.npy"
    for warning in result.warnings:
        _tell(event="log", message=f"Warning: {warning}")
    write_text(output / "provenance.json", json.dumps(full_provenance(result), ensure_ascii=False, indent=2))
    quality_picture(series, result).save(output / "qc.png")
    mean = np.sqrt(
        sum(np.square(echo, dtype=np.float32) for echo in series.magnitude) / np.float32(len(series.magnitude))
    )
    np.save(output / "magnitude.npy", mean, allow_pickle=False)
    maps["magnitude"] = "magnitude.npy"
    return {"maps": maps, "provenance": "provenance.json", "pictures": {"qc": "qc.png"}}


def _check(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    import numpy as np

    from ChiSepExtension.geometry import Grid
    from ChiSepExtension.preprocessing.vendor_findings import REPAIRS
    from ChiSepExtension.preprocessing.vendor_repair import detect, repair
    from ChiSepExtension.quality.gate import check_inputs
    from ChiSepExtension.quality.proof import proof_picture

    series, arguments = _read(job, folder)
    mask, agreed = arguments["given"].mask, arguments["options"].repair
    if agreed:
        series = repair(series, agreed, mask=mask)
    context = {
        name: Grid(tuple(grid["shape"]), np.array(grid["ijk_to_ras"])) for name, grid in job.get("context", {}).items()
    }
    gate = check_inputs(series, **arguments, context=context, progress=_progress)
    pictures = {}
    mends = {row.mend for row in gate.rows if row.mend in REPAIRS}
    for finding in detect(series, mask=mask) if mends else ():
        if finding.name in mends and finding.picture is not None:
            proof_picture(finding.picture).save(folder / f"{finding.name}.png")
            pictures[finding.name] = f"{finding.name}.png"
    return {"gate": gate.to_dict(), "pictures": pictures}


def _progress(fraction: float, message: str) -> None:
    _tell(event="progress", fraction=round(fraction, 4), message=message)


def _tell(**event: Any) -> None:
    sys.stdout.write(json.dumps(event, ensure_ascii=True) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # Started by path, this file's folder is first on sys.path: a module there could shadow the standard library.
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(here)]
    sys.exit(main())
