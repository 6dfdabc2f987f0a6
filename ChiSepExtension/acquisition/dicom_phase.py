"""From rescaled DICOM arrays to magnitude and phase in radians: vendor spans, complex parts, GE's conventions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .phase_scaling import KNOWN_SPANS, MINIMUM_FILL, PhaseSpan, detect_span, to_radians

#: Mean cosine between neighbouring slices below which they alternate in sign for certain; ordinary data lie above 0.5.
_ALTERNATES = -0.5


def phase_in_radians(
    stored: np.ndarray, *, scaling: str, header_spans: Sequence[tuple[float, float]], unit: str
) -> tuple[np.ndarray, PhaseSpan]:
    """Scale stored phase (echo, z, y, x) to radians by one span, checked for each echo.

    Parameters
    ----------
    scaling
        "auto" or the name of a known span.
    header_spans
        Lowest and highest value that each echo's header allows for (bits and rescale).
    unit
        RescaleType of the header; "rad" is believed where the values agree.

    Raises
    ------
    InputError
        If no span fits, or an echo is stored in another span than the others.
    """
    if scaling == "auto":
        try:
            span = detect_span(stored, stated_unit=unit.lower())
        except InputError:
            span = _by_header(stored, header_spans)
            if span is None:
                raise
        scaling = span.name
    radians, span = to_radians(stored, scaling=scaling)
    for n, echo in enumerate(stored):
        _check_echo(echo, n, span)
    return radians, span


def from_complex(real: np.ndarray, imaginary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude and phase (rad) of real and imaginary parts, (echo, z, y, x) each."""
    return np.hypot(real, imaginary), np.arctan2(imaginary, real)


def undo_alternation(phase: np.ndarray, magnitude: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Turn every second slice back by π where slices alternate in sign, as GE stores complex images.

    Returns the phase and the mean cosine between neighbouring slices if they alternated, else None.

    Raises
    ------
    InputError
        With fewer than 4 slices, in which an alternation cannot be told from the phase of the tissue.
    """
    if phase.shape[1] < 4:
        raise InputError(
            f"With {phase.shape[1]} slices it cannot be told whether every second one has the opposite sign.",
            "Give the whole scan.",
        )
    from ..preprocessing.vendor_repair import find_slice_alternation, repair_slice_alternation

    found = find_slice_alternation(phase[0], magnitude[0])
    if found.axis != 0 or found.cosine > _ALTERNATES:
        return phase, None
    return repair_slice_alternation(phase, found), found.cosine


def _by_header(stored: np.ndarray, header_spans: Sequence[tuple[float, float]]) -> PhaseSpan | None:
    """The known span whose ends the header states by rescale; for masked phase that does not fill its period.

    Without a rescale below zero any 12-bit image, a magnitude too, would look like phase: those are left out.
    """
    low, high = min(s[0] for s in header_spans), max(s[1] for s in header_spans)
    for span in KNOWN_SPANS:
        width = span.high - span.low
        ends = abs(low - span.low) + abs(high - span.high)
        if span.low < 0 and not span.integer and ends <= 2e-3 * width:
            inside = span.low - 1e-3 * width <= stored.min() and stored.max() <= span.high + 1e-3 * width
            filled = float(stored.max() - stored.min()) / width
            return span if inside and 0.1 < filled < MINIMUM_FILL else None
    return None


def _check_echo(echo: np.ndarray, number: int, span: PhaseSpan) -> None:
    """Refuse an echo that fills another known span than the joint one, such as 0…4095 among ±4096."""
    width = span.high - span.low
    if float(echo.max() - echo.min()) > 0.6 * width:
        return
    try:
        own = detect_span(echo[np.newaxis])
    except InputError:
        return
    if own.name != span.name:
        raise InputError(
            f"The phase of echo {number + 1} is stored as {own.description}, the other echoes as {span.description}.",
            "Export the phase of all echoes in one go.",
        )
