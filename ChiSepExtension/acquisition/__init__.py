"""What was measured: series of echoes with their times, field strength and place in space, and how to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..progress import NEVER, CancelToken, Progress, silent
from .gradient_echo import GradientEchoSeries

__all__ = ["GradientEchoSeries", "read_gradient_echo"]


def read_gradient_echo(
    folder: str | Path | None = None,
    *,
    magnitude: Sequence[str | Path] = (),
    phase: Sequence[str | Path] = (),
    echo_times: Sequence[float] | None = None,
    field_strength: float | None = None,
    phase_scaling: str = "auto",
    manufacturer: str | None = None,
    dicom: str | Path | Sequence[str | Path] | None = None,
    series: int | str | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> GradientEchoSeries:
    """Read a multi-echo gradient-echo scan.

    Parameters
    ----------
    folder
        A BIDS folder (``part-mag``, ``part-phase``), a folder of NIfTI files with sidecars, or a folder of DICOM
        files, holding one scan; or give the files themselves:
    magnitude, phase
        One 4-D file each, echoes last, or one file per echo.
    echo_times
        In seconds; None takes them from the JSON sidecars or DICOM headers. Values above 1 are taken as ms, and this is
        said.
    field_strength
        In tesla; None takes it from the sidecars.
    phase_scaling
        "auto", or the name of a span in `phase_scaling.KNOWN_SPANS`.
    manufacturer
        Of the scanner; None takes it from the files. DICOM phase is read by it.
    dicom
        DICOM files or folders of them, instead of ``folder``.
    series
        Which scan of a DICOM folder: its series number, "#2" for the second of the list that
        `dicom.examine` gives, a series UID or a part of its description.

    Returns
    -------
    GradientEchoSeries
        Validated, phase in radians.

    Raises
    ------
    InputError
        With the reason and the remedy.
    """
    from ..errors import InputError
    from .folder import find_echoes, holds_only_dicom
    from .images import read_images

    if dicom is None and folder is not None and holds_only_dicom(folder):
        folder, dicom = None, folder
    if dicom is not None:
        from .dicom import read_dicom

        if folder is not None or magnitude or phase:
            raise InputError("DICOM files and other files were given.", "Give one or the other.")
        return read_dicom(
            dicom,
            series=series,
            phase_scaling=phase_scaling,
            echo_times=echo_times,
            field_strength=field_strength,
            manufacturer=manufacturer,
            progress=progress,
            cancel=cancel,
        )
    if series is not None:
        raise InputError("A series was chosen, but there are no DICOM files.", "Choose a series of DICOM files only.")
    if folder is not None:
        if magnitude or phase:
            raise InputError("A folder and files were given.", "Give one or the other.")
        found = find_echoes(folder)
        magnitude, phase = found.magnitude, found.phase
    if not magnitude or not phase:
        raise InputError("Magnitude and phase are both needed.", "Give a folder, or files of both.")
    read = read_images(
        magnitude,
        phase,
        echo_times=echo_times,
        field_strength_t=field_strength,
        phase_scaling=phase_scaling,
    )
    return replace(read, provenance={**read.provenance, "manufacturer": manufacturer}) if manufacturer else read
