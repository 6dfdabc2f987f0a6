"""The command line: `chisep …` or `python -m ChiSepExtension …`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import __version__
from .acquisition.phase_scaling import KNOWN_SPANS
from .cli_tools import add_commands
from .errors import Cancelled, ChiSepError, InputError
from .notice import RESEARCH_USE
from .options import METHODS, Options
from .progress import CancelToken
from .terminal import show, show_error, terminal_progress

logger = logging.getLogger("ChiSepExtension")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status (0 done, 2 wrong input, 3 cancelled, 4 out of memory, 5 weights)."""
    for stream in (sys.stdout, sys.stderr):  # a redirected Windows stream may not know χ or ′
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if getattr(parsed, "verbose", False) else logging.WARNING, format="%(message)s"
    )
    if not hasattr(parsed, "handler"):
        parser.print_help()
        return 2
    cancel = CancelToken()
    previous = _cancel_on_interrupt(cancel)
    try:
        return parsed.handler(parsed, cancel)
    except Cancelled as error:
        show_error(str(error))
        return error.exit_code
    except ChiSepError as error:
        show_error(f"{parser.prog} {parsed.command}: {error.message}\n{error.remedy}".rstrip())
        return error.exit_code
    except OSError as error:
        show_error(f"{parser.prog} {parsed.command}: {error}")
        return 2
    except MemoryError:
        show_error("There is not enough memory for this. Close other programs or use a smaller image.")
        return 4
    finally:
        if previous is not None:
            signal.signal(signal.SIGINT, previous)


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="chisep",
        description=f"Magnetic susceptibility source separation from multi-echo gradient-echo MRI. {RESEARCH_USE}.",
    )
    parser.add_argument("--version", action="version", version=f"chisep {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands)
    _add_demo(commands)
    add_commands(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser(
        "run",
        help="separate the sources of one scan",
        description="From multi-echo magnitude and phase to chi-para, chi-dia, R2* and their pictures.",
    )
    run.add_argument("folder", nargs="?", type=Path, help="BIDS folder or folder of NIfTI files with one scan")
    run.add_argument("--magnitude", nargs="+", type=Path, default=[], metavar="FILE", help="one 4-D file or one each")
    run.add_argument("--phase", nargs="+", type=Path, default=[], metavar="FILE", help="one 4-D file or one each")
    run.add_argument("--echo-times", nargs="+", type=float, metavar="S", help="in seconds; default: JSON sidecars")
    run.add_argument("--field-strength", type=float, metavar="T", help="in tesla; default: JSON sidecars")
    run.add_argument(
        "--phase-scaling", default="auto", choices=["auto", *(s.name for s in KNOWN_SPANS)], help="stored phase unit"
    )
    run.add_argument("--invert-phase", action="store_true", help="negate the phase (the run warns if this is needed)")
    run.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    run.add_argument("--prefix", default="", help="before every file name, such as sub-01_")
    run.add_argument("--overwrite", action="store_true", help="replace the files of an earlier run")
    given = run.add_argument_group("maps you have already, on the grid of the scan; a spin echo may have its own")
    given.add_argument("--mask", type=Path, metavar="FILE", help="brain mask")
    given.add_argument("--r2", type=Path, metavar="FILE", help="R2 in 1/s")
    given.add_argument("--r2prime", type=Path, metavar="FILE", help="R2' in 1/s")
    given.add_argument(
        "--spin-echo", nargs="+", type=Path, default=[], metavar="PATH", help="multi-echo spin echo: folder or files"
    )
    given.add_argument("--spin-echo-times", nargs="+", type=float, metavar="S", help="in seconds; default: sidecars")
    given.add_argument("--refocusing-angle", type=float, metavar="DEG", help="nominal; default: sidecars")
    given.add_argument("--r2star", type=Path, metavar="FILE", help="R2* in 1/s")
    given.add_argument("--local-field", type=Path, metavar="FILE", help="local field in ppm")
    method = run.add_argument_group("method")
    default = Options()
    method.add_argument("--method", choices=list(METHODS), default=default.method)
    method.add_argument("--dr", type=float, metavar="HZ/PPM", help="relaxometric constant of both sources")
    method.add_argument("--dr-para", type=float, metavar="HZ/PPM")
    method.add_argument("--dr-dia", type=float, metavar="HZ/PPM")
    method.add_argument(
        "--r2prime-fallback", choices=["constant-r2", "scaled-r2star"], default=default.r2prime_fallback
    )
    method.add_argument("--unwrapping", choices=["romeo", "laplacian"], default=default.unwrapping)
    method.add_argument("--background", choices=["vsharp", "resharp", "pdf", "lbv"], default=default.background)
    method.add_argument("--qsm", choices=["total-variation", "medi", "tikhonov", "tkd"], default=default.qsm)
    method.add_argument("--reference", choices=["csf", "brain", "none"], default=default.reference)
    method.add_argument("--weights", metavar="DIR", help="folder of network weights")
    method.add_argument("--resolution", choices=["resample", "generalise"], default=default.resolution)
    method.add_argument("--device", default=default.device, help="auto, cpu, cuda, cuda:N or mps")
    run.add_argument("--no-scene", action="store_true", help="do not write scene.mrb")
    run.add_argument("--verbose", action="store_true")
    run.set_defaults(handler=_run)


def _add_demo(commands: argparse._SubParsersAction) -> None:
    demo = commands.add_parser("demo", help="simulate a head, separate it, and compare with the truth")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR")
    demo.add_argument("--seed", type=int, default=1)
    demo.add_argument("--spacing", type=float, default=1.5, metavar="MM", help="voxel size")
    demo.add_argument("--method", choices=list(METHODS), default=Options().method)
    demo.add_argument("--no-scene", action="store_true", help="do not write scene.mrb")
    demo.add_argument("--verbose", action="store_true")
    demo.set_defaults(handler=_demo)


def _run(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .acquisition import read_gradient_echo
    from .outputs import refuse_to_overwrite, refuse_unwritable, write_outputs
    from .pipeline import GivenMaps, run

    options = _options(parsed)
    refuse_unwritable(parsed.output)
    if not parsed.overwrite:
        refuse_to_overwrite(parsed.output, parsed.prefix)
    with terminal_progress() as progress:
        progress(0.0, "Reading")
        series = read_gradient_echo(
            parsed.folder,
            magnitude=parsed.magnitude,
            phase=parsed.phase,
            echo_times=parsed.echo_times,
            field_strength=parsed.field_strength,
            phase_scaling=parsed.phase_scaling,
        )
        maps = {
            "mask": parsed.mask,
            "r2_hz": parsed.r2,
            "r2prime_hz": parsed.r2prime,
            "r2star_hz": parsed.r2star,
            "local_field_ppm": parsed.local_field,
        }
        given = GivenMaps(**{name: _read_map(path, name, series.grid) for name, path in maps.items() if path})
        result = run(series, options, given=given, spin_echo=_read_spin_echo(parsed), progress=progress, cancel=cancel)
        progress(1.0, "Writing")
        written = write_outputs(parsed.output, series, result, prefix=parsed.prefix, scene=not parsed.no_scene)
    for remark in series.provenance.get("remarks", []):
        show(remark)
    for warning in result.warnings:
        show(f"Warning: {warning}")
    show(f"{len(written)} files in {parsed.output}")
    return 0


def _read_spin_echo(parsed: argparse.Namespace):
    if not parsed.spin_echo:
        return None
    from .acquisition.spin_echo import read_spin_echo

    source = parsed.spin_echo[0] if len(parsed.spin_echo) == 1 else parsed.spin_echo
    return read_spin_echo(source, echo_times=parsed.spin_echo_times, refocusing_deg=parsed.refocusing_angle)


def _options(parsed: argparse.Namespace) -> Options:
    return Options(
        method=parsed.method,
        dr_para=parsed.dr_para if parsed.dr_para is not None else parsed.dr,
        dr_dia=parsed.dr_dia if parsed.dr_dia is not None else parsed.dr,
        r2prime_fallback=parsed.r2prime_fallback,
        unwrapping=parsed.unwrapping,
        background=parsed.background,
        qsm=parsed.qsm,
        reference=parsed.reference,
        resolution=parsed.resolution,
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


def _demo(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .demo import run_demo

    return run_demo(
        parsed.output,
        seed=parsed.seed,
        spacing_mm=parsed.spacing,
        method=parsed.method,
        scene=not parsed.no_scene,
        cancel=cancel,
    )


def _cancel_on_interrupt(cancel: CancelToken):
    """Ctrl-C cancels at the next check; a second one ends the process at once."""

    def interrupt(signum, frame):
        if cancel.is_cancelled:
            raise KeyboardInterrupt
        cancel.cancel()
        show_error("Cancelling …")

    try:
        return signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not in the main thread
        return None


if __name__ == "__main__":
    sys.exit(main())
