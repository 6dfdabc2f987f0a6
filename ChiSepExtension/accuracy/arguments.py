"""Command-line arguments of ``chisep benchmark accuracy``; imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from ..progress import CancelToken, Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that only the accuracy benchmark takes."""
    group = parser.add_argument_group("accuracy")
    group.add_argument("-o", "--output", type=Path, metavar="DIR", help="tables, numbers, pictures, and work in hand")
    group.add_argument("--anatomy", type=Path, metavar="DIR", help="label maps; only the held-out ones are used")
    group.add_argument("--weights", type=Path, nargs="+", metavar="DIR", help="further networks")
    group.add_argument("--heads", nargs="+", metavar="NAME")
    group.add_argument("--regimes", nargs="+", choices=["a", "b"])
    group.add_argument("--stages", nargs="+", choices=["isolated", "end-to-end"])
    group.add_argument("--methods", nargs="+", metavar="NAME", help="as in the table")
    group.add_argument("--lesions", type=int, help="per head (60)")
    group.add_argument("--spacing", type=float, metavar="MM", help="voxel size (1)")
    group.add_argument("--quick", action="store_true", help="procedural head of 5 mm, without networks")


def run_parsed(parsed: argparse.Namespace, progress: Progress, cancel: CancelToken) -> str:
    """Run what was asked for; returns the tables."""
    from .commands import accuracy_command

    if parsed.output is None:
        raise InputError("The benchmark of accuracy writes a folder.", "Name it (--output DIR).")
    return accuracy_command(
        parsed.output,
        anatomy=parsed.anatomy,
        weights=parsed.weights,
        heads=parsed.heads,
        regimes=parsed.regimes,
        stages=parsed.stages,
        methods=parsed.methods,
        lesions=parsed.lesions,
        spacing_mm=parsed.spacing,
        quick=parsed.quick,
        device=parsed.device,
        progress=progress,
        cancel=cancel,
    )
