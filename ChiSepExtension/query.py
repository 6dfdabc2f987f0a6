"""A question that the application asks in a child process, because the answer needs torch or takes long.

Started by the path of this file with the name of the question and its arguments; the last line on stdout is the answer
as JSON: ``{"answer": …}``, or ``{"error": {"message": …, "remedy": …}}``.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any


def devices() -> dict[str, Any]:
    """Devices that can run networks, the best first."""
    from ChiSepExtension.networks.devices import query_devices

    return asdict(query_devices())


def weights_import(folder: str, accept: str = "") -> dict[str, Any]:
    """Check and install a folder of weights; ``accept`` is "accept-licence" where the user has done so."""
    from ChiSepExtension.networks.commands import weights_import as install

    return install(folder, accept_licence=accept == "accept-licence")


def weights_verify(folder: str) -> dict[str, Any]:
    """SHA-256 of every file of the weights in a folder, and what is wrong with them."""
    from ChiSepExtension.networks.in_use import verify

    return verify(folder)


QUESTIONS = {"devices": devices, "weights-import": weights_import, "weights-verify": weights_verify}


def main(arguments: list[str] | None = None) -> int:
    name, *rest = sys.argv[1:] if arguments is None else arguments
    if hasattr(os, "setsid"):
        try:
            os.setsid()  # so that the application can end this process and its children together
        except PermissionError:
            pass  # already the leader of a group
    _tell(event="started", pid=os.getpid())
    root = str(Path(__file__).resolve().parents[1])
    if root not in sys.path:
        sys.path.insert(0, root)
    from ChiSepExtension.errors import ChiSepError

    try:
        answer = QUESTIONS[name](*rest)
    except ChiSepError as error:
        _tell(error={"message": error.message, "remedy": error.remedy})
        return error.exit_code
    _tell(answer=answer)
    return 0


def _tell(**event: Any) -> None:
    sys.stdout.write(json.dumps(event, ensure_ascii=True) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # Started by path, this file's folder is first on sys.path: a module there could shadow the standard library.
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(here)]
    sys.exit(main())
