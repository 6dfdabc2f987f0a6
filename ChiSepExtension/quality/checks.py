"""Checks of a run while it runs: what would make a map wrong although every number looks fine."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..acquisition.gradient_echo import GradientEchoSeries
from ..geometry import Grid


def check_slices(series: GradientEchoSeries) -> tuple[dict[str, Any], list[str]]:
    """Whether every second slice has the opposite sign, as some vendors' complex data have it."""
    from ..preprocessing.vendor_repair import find_slice_alternation

    found = find_slice_alternation(series.phase[0], series.magnitude[0])
    facts = {"slice_alternation_cosine": round(found.cosine, 3)}
    if found.axis is None:
        return facts, []
    return facts, [
        "The phase jumps by π from every slice to the next, as in raw complex data of GE scanners: the field is wrong. "
        "Repair the data with preprocessing.vendor_repair.repair_slice_alternation before the run."
    ]


def check_phase_sign(
    local_field_ppm: np.ndarray, r2star_hz: np.ndarray, mask: np.ndarray, grid: Grid
) -> tuple[dict[str, Any], list[str]]:
    """Whether what decays fastest (iron, veins) comes out paramagnetic; if not, the phase has the other sign."""
    from ..preprocessing.vendor_repair import find_phase_sign

    found = find_phase_sign(local_field_ppm, r2star_hz, mask, grid)
    facts = {"phase_sign_contrast": round(found.contrast, 3), "phase_inverted": found.inverted}
    if not found.inverted:
        return facts, []
    return facts, [
        "The sign of the phase seems inverted: tissue with the fastest decay, which is iron-rich, comes out "
        "diamagnetic. χ_para and χ_dia are then wrong everywhere. Run again with “Invert phase” (--invert-phase)."
    ]
