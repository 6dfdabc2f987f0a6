"""The commands beside `chisep run`: simulate, acquisition, train, benchmark, weights, lesions, agree, dicom-export."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .errors import InputError
from .progress import CancelToken
from .terminal import show, terminal_progress

_TRAINABLE = ("qsmnet", "r2primenet", "sepnet")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the parsers of all commands in this file."""
    _add_simulate(commands)
    _add_acquisition(commands)
    _add_weights(commands)
    _add_lesions(commands)
    _add_agree(commands)
    _add_dicom_export(commands)
    _add_train(commands)
    _add_benchmark(commands)


def _add_simulate(commands: argparse._SubParsersAction) -> None:
    simulate = commands.add_parser("simulate", help="write a simulated acquisition as BIDS NIfTI, with its truth")
    simulate.add_argument("output", type=Path, metavar="DIR", help="folder for the BIDS data set")
    simulate.add_argument("--seed", type=int, default=1)
    simulate.add_argument("--anatomy", type=Path, metavar="FILE", help="whole-head label map instead of a made-up head")
    simulate.add_argument("--nuclei", type=Path, metavar="FILE", help="CIT168 label map for the small nuclei")
    simulate.add_argument("--spacing", nargs="+", type=float, default=[1.0], metavar="MM", help="one or x y z")
    simulate.add_argument("--lesions", type=int, default=24, help="number of MS lesions")
    simulate.add_argument("--echo-times", nargs="+", type=float, metavar="S")
    simulate.add_argument("--field-strength", type=float, default=3.0, metavar="T")
    simulate.add_argument("--snr", type=float, default=100.0, help="peak signal-to-noise ratio of the first echo")
    simulate.add_argument("--phase-scaling", default="siemens", help="how the vendor stores phase")
    simulate.add_argument("--verbose", action="store_true")
    simulate.set_defaults(handler=_simulate)


def _simulate(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .phantom import SCALINGS, simulate_case

    if len(parsed.spacing) not in (1, 3):
        raise InputError(f"--spacing has {len(parsed.spacing)} numbers.", "Give one, or three for x y z.")
    if parsed.phase_scaling not in SCALINGS:
        raise InputError(f"There is no phase scaling {parsed.phase_scaling!r}.", f"Choose: {', '.join(SCALINGS)}.")
    if parsed.output.exists() and any(parsed.output.iterdir()):
        raise InputError(f"{parsed.output} is not empty.", "Choose a new folder.")
    spacing = parsed.spacing * 3 if len(parsed.spacing) == 1 else parsed.spacing
    if parsed.nuclei is not None and parsed.anatomy is None:
        raise InputError("--nuclei adds to a label map, and none was given.", "Give --anatomy too.")
    extra = {} if parsed.echo_times is None else {"echo_times_s": parsed.echo_times}
    if parsed.anatomy is not None:
        from .phantom.label_maps import LabelMapAnatomy

        extra["anatomy"] = LabelMapAnatomy.read(parsed.anatomy, seed=parsed.seed, nuclei_path=parsed.nuclei)
    with terminal_progress() as progress:
        simulate_case(
            parsed.output,
            spacing_mm=tuple(spacing[::-1]),
            seed=parsed.seed,
            lesions=parsed.lesions,
            snr=parsed.snr,
            field_strength_t=parsed.field_strength,
            scaling=parsed.phase_scaling,
            progress=progress,
            cancel=cancel,
            **extra,
        )
    show(f"Simulated acquisition in {parsed.output}")
    return 0


def _add_acquisition(commands: argparse._SubParsersAction) -> None:
    acquisition = commands.add_parser("acquisition", help="list the scans in a folder of DICOM files, and their faults")
    acquisition.add_argument("paths", nargs="+", type=Path, metavar="DIR", help="folders or files")
    acquisition.add_argument("--json", type=Path, metavar="FILE", help="write the list here too")
    acquisition.set_defaults(handler=_acquisition)


def _acquisition(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .acquisition.commands import acquisition_command

    with terminal_progress() as progress:
        found, status = acquisition_command(parsed.paths, output=parsed.json, progress=progress, cancel=cancel)
    show(str(found))
    return status


def _add_weights(commands: argparse._SubParsersAction) -> None:
    weights = commands.add_parser("weights", help="list, import, verify or remove network weights")
    weights.add_argument("action", choices=["list", "import", "verify", "remove"])
    weights.add_argument("name", nargs="?", help="import: folder with the files; verify, remove: name of the set")
    weights.add_argument("--as", dest="as_name", metavar="NAME", help="import under this name")
    weights.add_argument("--accept-licence", action="store_true", help="accept the terms of published checkpoints")
    weights.add_argument("--no-probe", action="store_true", help="import without checking roles by behaviour")
    weights.add_argument("--show-licence", action="store_true", help="show the terms of published checkpoints")
    weights.set_defaults(handler=_weights)


def _weights(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .networks import commands

    if parsed.show_licence:
        show(commands.weights_licence()["terms"])
        return 0
    if parsed.action in ("import", "remove") and parsed.name is None:
        raise InputError(f"chisep weights {parsed.action} needs a name.", "See chisep weights --help.")
    if parsed.action == "list":
        listed = commands.weights_list()
        show(f"Folder: {listed['folder']}")
        for entry in listed["weights"]:
            show(f"{entry['name']}: {', '.join(entry['roles'])}; {entry['kind']}; {entry['licence']}")
        for name in listed["shipped"]:
            show(f"{name}: comes with the package")
        if not listed["weights"]:
            show("No weights are installed. Import them once: chisep weights import FOLDER")
        return 0
    if parsed.action == "import":
        entry = commands.weights_import(
            parsed.name, name=parsed.as_name, accept_licence=parsed.accept_licence, probe=not parsed.no_probe
        )
        show(f"Imported {entry['name']}: {', '.join(entry['roles'])}")
        return 0
    if parsed.action == "remove":
        show(f"Removed {commands.weights_remove(parsed.name)['name']}")
        return 0
    broken = False
    for entry in commands.weights_verify(parsed.name):
        broken |= bool(entry["problems"])
        show(f"{entry['name']}: {'; '.join(entry['problems']) or 'unchanged since import'}")
    return 5 if broken else 0


def _add_lesions(commands: argparse._SubParsersAction) -> None:
    lesions = commands.add_parser("lesions", help="measure every lesion of a mask on the maps of a case")
    lesions.add_argument("maps", type=Path, metavar="MAPS", help="folder that chisep run wrote")
    lesions.add_argument("mask", type=Path, metavar="MASK", help="lesion mask, label map or .seg.nrrd")
    lesions.add_argument("-o", "--output", type=Path, required=True, metavar="TABLE.tsv")
    lesions.add_argument("--white-matter", type=Path, metavar="FILE", help="mask for the ring around each lesion")
    lesions.add_argument("--brain-mask", type=Path, metavar="FILE")
    lesions.add_argument("--resample", action="store_true", help="allow a mask on another grid")
    lesions.add_argument("--case", default="", help="code of the case, written into the table")
    lesions.add_argument("--overwrite", action="store_true")
    lesions.set_defaults(handler=_lesions)


def _lesions(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .lesions.commands import measure_command

    with terminal_progress() as progress:
        result = measure_command(
            parsed.maps,
            parsed.mask,
            parsed.output,
            brain_mask=parsed.brain_mask,
            white_matter=parsed.white_matter,
            resample=parsed.resample,
            case=parsed.case,
            overwrite=parsed.overwrite,
            progress=progress,
            cancel=cancel,
        )
    show(result.text)
    return result.exit_code


def _add_agree(commands: argparse._SubParsersAction) -> None:
    agree = commands.add_parser("agree", help="agreement of two raters' tables")
    agree.add_argument("a", type=Path, metavar="A.tsv")
    agree.add_argument("b", type=Path, metavar="B.tsv")
    agree.add_argument("--field", dest="fields", action="append", help="codebook field; may be repeated")
    agree.add_argument("--seed", type=int, default=0, help="of the bootstrap over patients")
    agree.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    agree.add_argument("--overwrite", action="store_true")
    agree.set_defaults(handler=_agree)


def _agree(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .lesions.commands import agree_command

    result = agree_command(
        parsed.a, parsed.b, fields=parsed.fields, seed=parsed.seed, output=parsed.json, overwrite=parsed.overwrite
    )
    show(result.text)
    return result.exit_code


def _add_dicom_export(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser("dicom-export", help="write maps, lesion outlines, values and ratings as DICOM")
    export.add_argument("maps", type=Path, metavar="MAPS", help="folder that chisep run wrote")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    export.add_argument("--case", default="", help="code of the case, instead of the patient's name and ID")
    export.add_argument("--lesions", type=Path, metavar="MASK", help="lesion mask, label map or .seg.nrrd")
    export.add_argument("--table", type=Path, metavar="TABLE.tsv", help="what chisep lesions wrote of these lesions")
    export.add_argument("--ratings", type=Path, action="append", default=[], metavar="TSV", help="may be repeated")
    export.add_argument("--source", type=Path, metavar="DIR", help="DICOM images of the scan, for study and position")
    export.add_argument("--identify", action="store_true", help="name the patient as in the source images")
    export.add_argument("--outlines", choices=["manual", "semiautomatic"], default="semiautomatic")
    export.add_argument("--chi-unit", choices=["ppm", "ppb"], help="unit of susceptibility maps of other programs")
    export.add_argument("--dia-sign", choices=["positive", "negative"], help="sign of the diamagnetic map")
    export.add_argument("--overwrite", action="store_true")
    export.set_defaults(handler=_dicom_export)


def _dicom_export(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .dicom_export.commands import dicom_export_command

    with terminal_progress() as progress:
        result = dicom_export_command(
            parsed.maps,
            parsed.output,
            case=parsed.case,
            lesions=parsed.lesions,
            table=parsed.table,
            ratings=parsed.ratings,
            source=parsed.source,
            identify=parsed.identify,
            outlines=parsed.outlines,
            chi_unit=parsed.chi_unit,
            dia_sign=parsed.dia_sign,
            overwrite=parsed.overwrite,
            progress=progress,
            cancel=cancel,
        )
    show(result.text)
    return result.exit_code


def _add_train(commands: argparse._SubParsersAction) -> None:
    train = commands.add_parser("train", help="train a network on simulated heads (may be stopped and resumed)")
    train.add_argument("role", choices=_TRAINABLE)
    train.add_argument("--output", type=Path, required=True, metavar="DIR")
    train.add_argument("--anatomy", type=Path, metavar="DIR", help="label maps instead of procedural heads")
    train.add_argument(
        "--maps", type=Path, metavar="DIR", help="maps of your own, one folder per head, as training data"
    )
    train.add_argument("--dr", type=float, default=137.0, metavar="HZ/PPM", help="relaxometric constant of those maps")
    train.add_argument("--heads", type=int, default=42)
    train.add_argument("--held-out", type=int, default=2, help="heads to score on")
    train.add_argument("--steps", type=int, default=4000)
    train.add_argument("--width", type=int, default=16)
    train.add_argument("--patch", type=int, default=64)
    train.add_argument("--batch", type=int, default=2)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--spacing", type=float, default=1.0, metavar="MM")
    train.add_argument("--device", default="auto")
    train.add_argument("--layout", choices=["joint", "published"], default="joint", help="inputs of the network")
    train.add_argument(
        "--relaxation", choices=["r2prime", "r2star"], default="r2prime", help="what the joint sepnet takes"
    )
    train.add_argument("--networks", type=Path, metavar="DIR", help="bundle with the QSM network of the chain")
    train.add_argument("--start-from", type=Path, metavar="DIR", help="bundle with a network to start from")
    train.add_argument("--heads-folder", type=Path, metavar="DIR", help="keep simulated heads here, for several runs")
    train.add_argument("--validate-every", type=int, default=500, metavar="STEPS")
    train.add_argument("--no-resume", action="store_true", help="start anew")
    train.set_defaults(handler=_train)


def _train(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .training.commands import train_command

    with terminal_progress() as progress:
        bundle = train_command(
            parsed.role,
            parsed.output,
            anatomy=parsed.anatomy,
            maps=parsed.maps,
            dr_hz_per_ppm=parsed.dr,
            held_out=parsed.held_out,
            heads=parsed.heads,
            steps=parsed.steps,
            width=parsed.width,
            patch=parsed.patch,
            batch=parsed.batch,
            seed=parsed.seed,
            spacing_mm=parsed.spacing,
            layout=parsed.layout,
            relaxation=parsed.relaxation,
            networks=parsed.networks,
            start_from=parsed.start_from,
            heads_folder=parsed.heads_folder,
            validate_every=parsed.validate_every,
            device=parsed.device,
            resume=not parsed.no_resume,
            progress=progress,
            cancel=cancel,
        )
    show(f"Network in {bundle}")
    return 0


def _add_benchmark(commands: argparse._SubParsersAction) -> None:
    benchmark = commands.add_parser("benchmark", help="speed, memory and accuracy beside a reference of the same run")
    benchmark.add_argument("what", choices=["inference", "separation", "preprocessing", "accuracy"])
    benchmark.add_argument("--device", default="cpu")
    benchmark.add_argument("--cases", nargs="+", help="separation: 64 128 head; preprocessing: 128 thick full")
    benchmark.add_argument("--scans", nargs="+", default=["standard"], help="preprocessing: standard snr-20 bipolar")
    benchmark.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    from .accuracy.arguments import add_arguments

    add_arguments(benchmark)
    benchmark.set_defaults(handler=_benchmark)


def _benchmark(parsed: argparse.Namespace, cancel: CancelToken) -> int:
    from .volume_io import write_text

    if parsed.what == "accuracy":
        from .accuracy.arguments import run_parsed

        with terminal_progress() as progress:
            text = run_parsed(parsed, progress, cancel)
        show(text)
        return 0
    with terminal_progress() as progress:
        if parsed.what == "inference":
            from .networks.benchmark import benchmark_inference
            from .networks.benchmark import table as inference_table

            numbers = benchmark_inference(device=parsed.device, progress=progress, cancel=cancel)
            text = inference_table(numbers)
        elif parsed.what == "preprocessing":
            from .preprocessing.benchmark import benchmark_preprocessing
            from .preprocessing.benchmark_table import markdown

            cases = ["quick"] if parsed.quick else parsed.cases or ["128"]
            numbers = benchmark_preprocessing(cases, parsed.scans, progress=progress, cancel=cancel)
            text = markdown(numbers)
        else:
            from .separation.benchmark import CASES, benchmark_separation, table

            cases = parsed.cases or ["64"]
            unknown = [case for case in cases if case not in CASES]
            if unknown:
                raise InputError(f"There is no case {unknown[0]!r}.", f"Choose from {', '.join(CASES)}.")
            numbers = benchmark_separation(cases, device=parsed.device, progress=progress, cancel=cancel)
            text = table(numbers)
    show(text)
    if parsed.json is not None:
        write_text(parsed.json, json.dumps(numbers, indent=2) + "\n")
    return 0
