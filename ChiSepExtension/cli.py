"""The command line: `chisep …` or `python -m ChiSepExtension …`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .cli_tools import add_commands
from .errors import Cancelled, ChiSepError
from .notice import RESEARCH_USE
from .options import METHODS, Options
from .progress import CancelToken
from .run_command import add_run_and_check
from .terminal import show_error

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
    add_run_and_check(commands)
    _add_demo(commands)
    add_commands(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction) -> None:
    demo = commands.add_parser("demo", help="simulate a head, separate it, and compare with the truth")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR")
    demo.add_argument("--seed", type=int, default=1)
    demo.add_argument("--spacing", type=float, default=1.5, metavar="MM", help="voxel size")
    demo.add_argument("--method", choices=list(METHODS), default=Options().method)
    demo.add_argument("--no-scene", action="store_true", help="do not write scene.mrb")
    demo.add_argument("--verbose", action="store_true")
    demo.set_defaults(handler=_demo)


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
