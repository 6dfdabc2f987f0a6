"""The input gate: everything that could make a run's maps wrong, looked at before the run.

Every row says a number and what it means in plain words. Red blocks a run until the cause is mended or a person
overrides it in words, which go into the provenance and onto every picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..acquisition.gradient_echo import GradientEchoSeries
from ..errors import ChiSepError, InputError
from ..geometry import Grid
from ..given_maps import GivenMaps
from ..options import Options
from ..progress import NEVER, CancelToken, Progress, part, silent
from .gate_header import PROVENANCE_KEYS, Header, check_header
from .gate_rows import AMBER, COLORS, GREEN, MENDS, RED, Gate, GateBlocked, GateRow, Override

__all__ = [
    "AMBER",
    "COLORS",
    "GREEN",
    "MENDS",
    "PROVENANCE_KEYS",
    "RED",
    "Gate",
    "GateBlocked",
    "GateRow",
    "Header",
    "Override",
    "check_header",
    "check_inputs",
]


def check_inputs(
    series: GradientEchoSeries,
    *,
    given: GivenMaps | None = None,
    options: Options | None = None,
    context: Mapping[str, Grid] | None = None,
    spin_echo: Any = None,
    look: bool = True,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> Gate:
    """Check a scan, the maps given with it, and what is chosen for the run.

    Parameters
    ----------
    series
        The scan. What its provenance may tell is listed in `PROVENANCE_KEYS`.
    given
        Maps that need not be computed.
    options
        Of the run. With ``repair`` and ``invert_phase`` the images are judged as they will be run; repairs that the
        series' provenance lists already are not made again.
    context
        Grids of images that are read beside the maps, by name: FLAIR, T1, lesion mask.
    spin_echo
        A spin-echo series from which R2 will be measured, or None.
    look
        False leaves out everything that takes more than a moment (a quick look at 3 mm: sign, decay, noise, ghosts).

    Returns
    -------
    Gate
        Rows in the order in which they are best read. Nothing is changed; what can be mended names its mend.
    """
    from .gate_data import (
        decay_row,
        ghost_row,
        linearity_row,
        mask_row,
        phase_evidence,
        scale_row,
        sign_row,
        signal_row,
        slice_row,
    )
    from .gate_files import context_rows, weights_row
    from .quick_look import quick_look

    options, given = options or Options(), given or GivenMaps()
    measured = given.r2_hz is not None or given.r2prime_hz is not None or spin_echo is not None
    rows: list[GateRow] = []
    series, broken = _repaired(series, given, options, cancel)
    broken = broken or _broken(series, given)
    if broken is not None:
        return Gate((broken, *check_header(Header.of(series), options, measured_r2prime=measured)))
    network_dr = None
    if options.uses_networks:
        progress(0.0, "Gate: hashes of the weights")
        weights, network_dr = weights_row(options.weights, options.method)
        rows.append(weights)
    rows += context_rows(series.grid, context or {})
    cancel.check()
    if options.invert_phase:
        series = replace(series, phase=-series.phase)
    progress(0.1, "Gate: phase")
    evidence = phase_evidence(series)
    cancel.check()
    rows.insert(0, slices := slice_row(series))
    cancel.check()
    if look:
        # Alternating slices cancel in a block mean: the sign is then tested on what the repair would give.
        seen = quick_look(
            _unalternated(series) if slices.color == RED else series,
            given.mask,
            progress=part(progress, 0.2, 1.0),
            cancel=cancel,
        )
        decay = decay_row(seen)
        if decay.color == RED:  # echoes out of order look like a bipolar read-out
            evidence = replace(evidence, alternating_rad=None)
        rows += [sign_row(seen), decay, scale_row(series, seen), linearity_row(seen)]
        rows += [signal_row(series, seen), ghost_row(seen)]
        rows.append(mask_row(series, seen, None if given.mask is None else given.mask.astype(bool)))
    header_rows = check_header(
        Header.of(series),
        options,
        measured_r2prime=measured,
        is_echo_train=bool(getattr(spin_echo, "is_echo_train", True)),
        network_dr=network_dr,
        evidence=evidence,
        repairs=series.provenance.get("phase_repairs", ()),
    )
    progress(1.0, "Gate checked")
    return Gate((*header_rows, *rows))


def _repaired(
    series: GradientEchoSeries, given: GivenMaps, options: Options, cancel: CancelToken
) -> tuple[GradientEchoSeries, GateRow | None]:
    """The series with the repairs of the options that were not made yet; a red row if one cannot be made."""
    made = {entry["name"] for entry in series.provenance.get("repairs", ())}
    pending = [name for name in options.repair if name not in made]
    if not pending:
        return series, None
    from ..preprocessing.vendor_repair import repair

    try:
        return repair(series, pending, mask=given.mask, cancel=cancel), None
    except InputError as error:
        return series, GateRow("data", "Images and maps", RED, "cannot be repaired", str(error))


def _broken(series: GradientEchoSeries, given: GivenMaps) -> GateRow | None:
    """A red row for what would not even run; the other data rows make no sense then."""
    try:
        series.validate()
        given.validate(series.grid)
    except ChiSepError as error:
        mend = "unsigned-magnitude" if "unsigned-magnitude" in _done(series) else None
        return GateRow("data", "Images and maps", RED, "not usable", str(error), mend)
    return None


def _done(series: GradientEchoSeries) -> list[str]:
    """Names of the repairs without which the series cannot even be looked at, and that would help."""
    from ..preprocessing.vendor_repair import repair

    if series.magnitude.ndim != 4 or not series.magnitude.min() < 0:
        return []
    entries = repair(series, ["unsigned-magnitude"]).provenance["repairs"]
    return [entry["name"] for entry in entries if entry["done"]]


def _unalternated(series: GradientEchoSeries) -> GradientEchoSeries:
    from ..preprocessing.vendor_repair import find_slice_alternation, repair_slice_alternation

    found = find_slice_alternation(series.phase[0], series.magnitude[0])
    return replace(series, phase=repair_slice_alternation(series.phase, found))
