"""What ``chisep acquisition`` does: a folder of scanner files in, a table of what it holds out."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..progress import NEVER, CancelToken, Progress, silent
from ..volume_io import write_text
from .dicom import Acquisitions, Paths, examine

#: Nothing that can be used is told to scripts as wrong input.
NOTHING_USABLE = 2


def acquisition_command(
    paths: Paths,
    *,
    output: str | os.PathLike | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[Acquisitions, int]:
    """Examine DICOM files; write the findings as JSON if asked for. Returns them and the exit status.

    The status is 0 if at least one multi-echo GRE can be used, else `NOTHING_USABLE`.
    """
    found = examine(paths, progress=progress, cancel=cancel)
    if output is not None:
        write_text(Path(output), json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n")
    return found, 0 if found.usable else NOTHING_USABLE
