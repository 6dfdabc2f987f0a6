"""`chisep run` and `chisep check`: a scan from files, what is chosen for it, the check of the inputs, the run."""

from __future__ import annotations

import argparse
import getpass
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .acquisition.gradient_echo import GradientEchoSeries
from .acquisition.phase_scaling import KNOWN_SPANS
from .acquisition.spin_echo import SpinEchoSeries
from .errors import InputError
from .given_maps import GivenMaps
from .options import METHODS, Options
from .preprocessing.vendor_findings import REPAIRS
from .progress import CancelToken, Progress, part
from .quality.gate_rows import RED, Gate, Override
from .terminal import show, terminal_progress

#: Exit status of a check with a red row.
RED_STATUS = 2


def add_run_and_check(commands: argparse._SubParsersAction) -> None:
    """Add both commands to the parser."""
    run = commands.add_parser(
        "run",
        help="separate the sources of one scan",
        description="From multi-echo magnitude and phase to chi-para, chi-dia, R2* and their pictures.",
    )
    _add_inputs(run)
    run.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    run.add_argument("--prefix", default="", help="before every file name, such as sub-01_")
    run.add_argument("--overwrite", action="store_true", help="replace the files of an earlier run")
    run.add_argument("--no-scene", action="store_true", help="do not write scene.mrb")
    gate = run.add_argument_group("where the check of the inputs is red")
    gate.add_argument("--override", metavar="REASON", help="run all the same; the reason goes into every output")
    gate.add_argument("--user", default="", help="who says so; default: the name of the account")
    run.set_defaults(handler=_run)
    check = commands.add_parser(
        "check",
        help="check a scan before the run",
        description="What is in order (green), what to know (amber) and what would make wrong maps (red).",
    )
    _add_inputs(check)
    check.set_defaults(handler=_check)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    default = Options()
    parser.add_argument(
        "folder", nargs="?", type=Path, help="BIDS folder, or folder of NIfTI or DICOM files, with one scan"
    )
    parser.add_argument(
        "--magnitude", nargs="+", type=Path, default=[], metavar="FILE", help="one 4-D file or one each"
    )
    parser.add_argument("--phase", nargs="+", type=Path, default=[], metavar="FILE", help="one 4-D file or one each")
    parser.add_argument("--dicom", nargs="+", type=Path, metavar="PATH", help="DICOM files, or folders of them")
    parser.add_argument("--series", help="which scan of the DICOM files: series number, or #2 for the second one")
    parser.add_argument("--echo-times", nargs="+", type=float, metavar="S", help="in seconds; default: from the files")
    parser.add_argument("--field-strength", type=float, metavar="T", help="in tesla; default: from the files")
    parser.add_argument(
        "--phase-scaling", default="auto", choices=["auto", *(s.name for s in KNOWN_SPANS)], help="stored phase unit"
    )
    parser.add_argument("--manufacturer", metavar="NAME", help="of the scanner; default: from the files")
    parser.add_argument(
        "--invert-phase", action="store_true", help="negate the phase (the check says if this is needed)"
    )
    parser.add_argument(
        "--repair",
        nargs="+",
        default=[],
        choices=list(REPAIRS),
        metavar="NAME",
        help=f"faults to mend: {', '.join(REPAIRS)}",
    )
    parser.add_argument(
        "--bipolar", choices=["auto", "off", "on"], default=default.bipolar, help="phase that alternates with echoes"
    )
    given = parser.add_argument_group("maps you have already, on the grid of the scan; a spin echo may have its own")
    given.add_argument("--mask", type=Path, metavar="FILE", help="brain mask")
    given.add_argument(
        "--spin-echo", nargs="+", type=Path, default=[], metavar="PATH", help="multi-echo spin echo: folder or files"
    )
    given.add_argument("--spin-echo-times", nargs="+", type=float, metavar="S", help="in seconds; default: sidecars")
    given.add_argument("--spin-echo-series", metavar="SERIES", help="which one of the DICOM files: number, or #2")
    given.add_argument("--refocusing-angle", type=float, metavar="DEG", help="nominal; default: sidecars")
    given.add_argument("--r2", type=Path, metavar="FILE", help="R2 in 1/s")
    given.add_argument("--r2prime", type=Path, metavar="FILE", help="R2' in 1/s")
    given.add_argument("--r2star", type=Path, metavar="FILE", help="R2* in 1/s")
    given.add_argument("--local-field", type=Path, metavar="FILE", help="local field in ppm")
    method = parser.add_argument_group("method")
    method.add_argument("--method", choices=list(METHODS), default=default.method)
    method.add_argument("--dr", type=float, metavar="HZ/PPM", help="relaxometric constant of both sources")
    method.add_argument("--dr-para", type=float, metavar="HZ/PPM")
    method.add_argument("--dr-dia", type=float, metavar="HZ/PPM")
    method.add_argument(
        "--r2prime-fallback", choices=["constant-r2", "scaled-r2star"], default=default.r2prime_fallback
    )
    method.add_argument("--unwrapping", choices=["romeo", "laplacian"], default=default.unwrapping)
    method.add_argument("--field-fit", choices=["linear", "complex"], default=default.field_fit)
    method.add_argument(
        "--background",
        choices=["auto", "vsharp", "resharp", "pdf", "lbv", "lbv-vsharp"],
        default=default.background,
        help="auto: vsharp for the networks, lbv-vsharp for the others",
    )
    method.add_argument("--erode", type=float, default=default.erode_mm, metavar="MM", help="off the mask all around")
    method.add_argument("--qsm", choices=["total-variation", "medi", "tikhonov", "tkd"], default=default.qsm)
    method.add_argument("--reference", choices=["csf", "brain", "none"], default=default.reference)
    method.add_argument("--weights", metavar="DIR", help="folder of network weights")
    method.add_argument("--resolution", choices=["resample", "generalise"], default=default.resolution)
    method.add_argument("--device", default=default.device, help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--verbose", action="store_true")


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the files hold."""

    series: GradientEchoSeries
    given: GivenMaps
    spin_echo: SpinEchoSeries | None

    def check(self, options: Options, progress: Progress, cancel: CancelToken) -> Gate:
        from .quality.gate import check_inputs

        return check_inputs(
            self.series, given=self.given, options=options, spin_echo=self.spin_echo, progress=progress, cancel=cancel
        )


def _run(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .outputs import refuse_to_overwrite, refuse_unwritable, write_outputs
    from .pipeline import run

    options = _options(parsed)
    override = None if parsed.override is None else Override.now(parsed.override, parsed.user or _account())
    refuse_unwritable(parsed.output)
    if not parsed.overwrite:
        refuse_to_overwrite(parsed.output, parsed.prefix)
    with terminal_progress() as progress:
        inputs = _read(parsed, part(progress, 0.0, 0.05), cancel)
        gate = inputs.check(options, part(progress, 0.05, 0.15), cancel)
        if gate.color == RED:  # else there is nothing to override, and no output should say that there was
            gate = gate.overridden(override)
        result = run(
            inputs.series,
            options,
            given=inputs.given,
            spin_echo=inputs.spin_echo,
            gate=gate,
            progress=part(progress, 0.15, 1.0),
            cancel=cancel,
        )
        progress(1.0, "Writing")
        written = write_outputs(parsed.output, inputs.series, result, prefix=parsed.prefix, scene=not parsed.no_scene)
    for remark in inputs.series.provenance.get("remarks", []):
        show(remark)
    for line in gate.summary():
        show(f"Input check, {line}")
    for warning in result.warnings:
        show(f"Warning: {warning}")
    show(f"{len(written)} files in {parsed.output}")
    return 0


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError) as error:  # containers run as users without a name
        raise InputError("The account has no name.", "Say who overrides (--user NAME).") from error


def _check(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    options = _options(parsed)
    with terminal_progress() as progress:
        inputs = _read(parsed, part(progress, 0.0, 0.4), cancel)
        gate = inputs.check(options, part(progress, 0.4, 1.0), cancel)
    for remark in inputs.series.provenance.get("remarks", []):
        show(remark)
    width = max(len(row.title) for row in gate.rows)
    for row in gate.rows:
        show(f"{row.color:6} {row.title:{width}}  {row.value}. {row.reason}")
    show(f"The inputs are {gate.color}.")
    return RED_STATUS if gate.blocks else 0


def _read(parsed: argparse.Namespace, progress: Progress, cancel: CancelToken) -> Inputs:
    from .acquisition import read_gradient_echo

    progress(0.0, "Reading")
    series = read_gradient_echo(
        parsed.folder,
        magnitude=parsed.magnitude,
        phase=parsed.phase,
        dicom=parsed.dicom,
        series=parsed.series,
        echo_times=parsed.echo_times,
        field_strength=parsed.field_strength,
        manufacturer=parsed.manufacturer,
        phase_scaling=parsed.phase_scaling,
        progress=progress,
        cancel=cancel,
    )
    maps = {
        "mask": parsed.mask,
        "r2_hz": parsed.r2,
        "r2prime_hz": parsed.r2prime,
        "r2star_hz": parsed.r2star,
        "local_field_ppm": parsed.local_field,
    }
    given = GivenMaps(**{name: _read_map(path, name, series.grid) for name, path in maps.items() if path})
    return Inputs(series, given, _read_spin_echo(parsed))


def _read_spin_echo(parsed: argparse.Namespace):
    if not parsed.spin_echo:
        return None
    from .acquisition.spin_echo import read_spin_echo

    source = parsed.spin_echo[0] if len(parsed.spin_echo) == 1 else parsed.spin_echo
    return read_spin_echo(
        source,
        series=parsed.spin_echo_series,
        echo_times=parsed.spin_echo_times,
        refocusing_deg=parsed.refocusing_angle,
    )


def _options(parsed: argparse.Namespace) -> Options:
    return Options(
        method=parsed.method,
        dr_para=parsed.dr_para if parsed.dr_para is not None else parsed.dr,
        dr_dia=parsed.dr_dia if parsed.dr_dia is not None else parsed.dr,
        r2prime_fallback=parsed.r2prime_fallback,
        unwrapping=parsed.unwrapping,
        field_fit=parsed.field_fit,
        background=parsed.background,
        erode_mm=parsed.erode,
        qsm=parsed.qsm,
        reference=parsed.reference,
        resolution=parsed.resolution,
        repair=tuple(parsed.repair),
        bipolar=parsed.bipolar,
        invert_phase=parsed.invert_phase,
        device=parsed.device,
        weights=parsed.weights,
    ).validate()


def _read_map(path: Path, name: str, grid) -> np.ndarray:
    from .geometry import turned_onto
    from .volume_io import read_volume

    array, own_grid = read_volume(path)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3:
        raise InputError(f"{path} has {array.shape[0]} volumes; a map has one.", "Give one 3-D map.")
    turned = turned_onto(array, own_grid, grid)
    if turned is None:
        raise InputError(
            f"{path} lies on another grid ({own_grid.describe()}) than the scan ({grid.describe()}).",
            "Resample it to the gradient-echo scan first.",
        )
    return turned > 0 if name == "mask" else turned.astype(np.float32)
