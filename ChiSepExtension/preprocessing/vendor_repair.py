"""What scanners and converters do to multi-echo data: found from the images, shown, and repaired on consent.

`detect` looks for every known fault and returns findings with a number, words and a picture; `repair` mends those that
the user agrees to, by name. Nothing is ever repaired by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..acquisition.gradient_echo import GradientEchoSeries
from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent
from .bipolar import LOOKS_BIPOLAR_RAD, find_bipolar_phase, remove_bipolar_phase
from .brain_mask import block_expand, block_mean, brain_mask
from .echo_checks import find_echo_order, find_magnitude_scale
from .romeo import wrap
from .vendor_findings import REPAIRS, Finding, Picture
from .vendor_signs import (
    PhaseSign,
    SliceAlternation,
    find_phase_sign,
    find_slice_alternation,
    quick_susceptibility,
    repair_slice_alternation,
)

__all__ = [
    "REPAIRS",
    "Finding",
    "PhaseSign",
    "Picture",
    "SliceAlternation",
    "detect",
    "find_phase_sign",
    "find_slice_alternation",
    "repair",
    "repair_slice_alternation",
]


def detect(
    series: GradientEchoSeries,
    *,
    mask: np.ndarray | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[Finding, ...]:
    """Look for every fault of `REPAIRS`, in that order; each is looked for as if those found before were mended.

    Takes a few seconds for a whole head: all but the first two and the noise are judged on voxels of about 3 mm.

    Parameters
    ----------
    series
        As read; negative magnitudes are allowed here.
    mask
        (z, y, x) bool: brain; computed if None.
    """
    findings = [_unsigned(series)]
    series = repair(series, [f.name for f in findings if f.found])
    progress(0.05, "Checking slices")
    findings.append(_slices(series))
    if findings[-1].found:
        series = repair(series, ["repair-slices"])
    cancel.check()
    coarse = _Coarse.of(series, mask, cancel)
    if coarse is None:
        nothing = "No brain was found to look at."
        return (*findings, *(Finding(name, None, "not tested", nothing) for name in list(REPAIRS)[2:]))
    progress(0.6, "Checking echoes")
    findings.append(_scale(series, coarse.mask))
    small, brain = coarse.series, coarse.brain
    if findings[-1].found:
        small = replace(small, magnitude=small.magnitude / _column(findings[-1].facts["factors"]))
    cancel.check()
    findings.append(_order(small, brain))
    if findings[-1].found:
        small = _reordered(small, findings[-1].facts["phase_order"], findings[-1].facts["magnitude_order"])
    cancel.check()
    progress(0.7, "Checking read-out")
    bipolar, small = _bipolar(small, brain, cancel)
    findings += [bipolar, _sign(small, brain, cancel)]
    progress(1.0, "Data checked")
    return tuple(findings)


def repair(
    series: GradientEchoSeries,
    names: Iterable[str],
    *,
    mask: np.ndarray | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> GradientEchoSeries:
    """The series with the named faults mended; what was done is added to its provenance.

    Parameters
    ----------
    names
        Of `REPAIRS`, in any order. A fault that is not there is left alone, and the provenance says so; "invert-phase"
        is done whenever it is asked for, once for every asking.
    mask
        (z, y, x) bool: brain, for the faults that need one; computed if None.

    Raises
    ------
    InputError
        For a name that is not in `REPAIRS`, or a correction that the data do not allow.
    """
    wanted = list(names)
    unknown = [name for name in wanted if name not in REPAIRS]
    if unknown:
        raise InputError(f"There is no repair {unknown[0]!r}.", f"Choose from {', '.join(REPAIRS)}.")
    for n, name in enumerate(name for name in REPAIRS if name in wanted):
        cancel.check()
        progress(n / len(wanted), f"Repair: {name}")
        series = _repaired(series, name, mask, cancel)
    return series


def _repaired(
    series: GradientEchoSeries, name: str, mask: np.ndarray | None, cancel: CancelToken
) -> GradientEchoSeries:
    if name == "unsigned-magnitude":
        if not _unsigned(series).found:
            return _noted(series, name, None)
        whole = np.where(series.magnitude < 0, series.magnitude + 65536, series.magnitude)
        return _noted(replace(series, magnitude=whole), name, {})
    if name == "repair-slices":
        found = find_slice_alternation(series.phase[0], series.magnitude[0])
        if found.axis is None:
            return _noted(series, name, None)
        phase = repair_slice_alternation(series.phase, found)
        return _noted(replace(series, phase=phase), name, {"axis": found.axis, "cosine": round(found.cosine, 3)})
    if name == "invert-phase":
        return _noted(replace(series, phase=-series.phase), name, {})
    coarse = _Coarse.of(series, mask, cancel)
    if coarse is None:
        raise InputError(f"The repair {name!r} needs the brain, and none was found.", "Give a brain mask.")
    if name == "reorder-echoes":
        finding = _order(coarse.series, coarse.brain)
        if not finding.found:
            return _noted(series, name, None)
        return _noted(
            _reordered(series, finding.facts["phase_order"], finding.facts["magnitude_order"]), name, finding.facts
        )
    inside = coarse.mask
    if name == "rescale-magnitude":
        scale = find_magnitude_scale(series.magnitude, series.echo_times_s, inside)
        if not scale.differs:
            return _noted(series, name, None)
        rescaled = replace(series, magnitude=series.magnitude / _column(scale.factors))
        return _noted(rescaled, name, {"factors": list(scale.factors), "source": scale.source})
    found = find_bipolar_phase(series.phase, series.magnitude, series.echo_times_s, inside, series.grid, cancel=cancel)
    if not found.looks_bipolar:
        return _noted(series, name, None)
    phase = remove_bipolar_phase(series.phase, found)
    return _noted(replace(series, phase=phase), name, {"spread_rad": round(found.spread_rad, 3)})


def _noted(series: GradientEchoSeries, name: str, facts: dict[str, Any] | None) -> GradientEchoSeries:
    """The series with the repair in its provenance; ``facts`` None means that the fault was not there."""
    provenance = dict(series.provenance)
    entry = {"name": name, "done": facts is not None, **(facts or {})}
    provenance["repairs"] = [*provenance.get("repairs", ()), entry]
    if facts is not None and name != "rescale-magnitude" and name != "unsigned-magnitude":
        provenance["phase_repairs"] = [*provenance.get("phase_repairs", ()), name]
    return replace(series, provenance=provenance)


@dataclass(frozen=True, eq=False)
class _Coarse:
    """The scan on voxels of about 3 mm, the brain on them, and the brain on the scan's own."""

    series: GradientEchoSeries
    brain: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, series: GradientEchoSeries, mask: np.ndarray | None, cancel: CancelToken) -> _Coarse | None:
        """None if there is no brain."""
        from ..quality.quick_look import coarse_series

        small, factors = coarse_series(series, cancel=cancel)
        try:
            if mask is None:
                brain = brain_mask(small.magnitude, small.phase, small.echo_times_s, small.grid, cancel=cancel)
            else:
                brain = block_mean(np.asarray(mask, np.float32), factors) > 0.5
        except InputError:
            return None
        brain &= small.magnitude[0] > 0
        if np.count_nonzero(brain) < 300:
            return None
        whole = block_expand(brain, factors, series.grid.shape) if mask is None else np.asarray(mask, bool)
        return cls(small, brain, whole)


def _reordered(series: GradientEchoSeries, phase_order, magnitude_order) -> GradientEchoSeries:
    return replace(series, phase=series.phase[list(phase_order)], magnitude=series.magnitude[list(magnitude_order)])


def _column(factors: Iterable[float]) -> np.ndarray:
    return np.array(list(factors), np.float32).reshape(-1, 1, 1, 1)


def _unsigned(series: GradientEchoSeries) -> Finding:
    lowest, highest = float(series.magnitude.min()), float(series.magnitude.max())
    name, value = "unsigned-magnitude", f"{lowest:.6g} to {highest:.6g}"
    if lowest >= 0:
        return Finding(name, False, value, "No magnitude is negative.")
    if -32768 <= lowest and 0.9 * 32767 < highest <= 32767:
        middle = series.grid.shape[0] // 2
        before = series.magnitude[0, middle]
        after = np.where(before < 0, before + 65536, before)
        picture = Picture("Magnitude of echo 1", "", before, after)
        text = "Bright voxels have turned negative: 16-bit numbers without sign were stored as numbers with one."
        return Finding(name, True, value, text, {}, picture)
    text = "Magnitudes are negative, but not as 16-bit numbers would be: were phase or real images given?"
    return Finding(name, None, value, text)


def _slices(series: GradientEchoSeries) -> Finding:
    found = find_slice_alternation(series.phase[0], series.magnitude[0])
    facts = {"axis": found.axis, "cosine": round(found.cosine, 3)}
    value = f"mean cosine of the step {found.cosine:.2f}"
    if found.axis is None:
        return Finding("repair-slices", False, value, "The phase runs on from slice to slice.", facts)
    across = 2 if found.axis != 2 else 1
    other = 3 - found.axis - across
    plane = tuple(series.grid.shape[other] // 2 if a == other else slice(None) for a in range(3))
    repaired = repair_slice_alternation(series.phase[0], found)
    picture = Picture("Phase of echo 1 across the slices", "rad", series.phase[0][plane], repaired[plane])
    text = f"The phase jumps by π from every slice to the next along {'zyx'[found.axis]}, as in raw data of GE."
    return Finding("repair-slices", True, value, text, facts, picture)


def _order(coarse: GradientEchoSeries, brain: np.ndarray) -> Finding:
    name = "reorder-echoes"
    inside = brain & (coarse.magnitude.min(axis=0) > 0)
    found = find_echo_order(coarse.phase, coarse.magnitude, coarse.echo_times_s, inside)
    natural = tuple(range(coarse.number_of_echoes))
    phase, magnitude = found.phase or natural, found.magnitude or natural
    facts = {
        "phase_order": list(phase),
        "magnitude_order": list(magnitude),
        "relative_times": [None if np.isnan(t) else t for t in found.relative_times],
        "levels": list(found.levels),
    }
    value = "magnitudes " + ", ".join(f"{v:.2f}" for v in found.levels)
    if found.is_as_given:
        known = found.phase is not None or found.magnitude is not None
        text = (
            "Phase and magnitude follow the echo times." if known else "The data do not tell the order of the echoes."
        )
        return Finding(name, False if known else None, value, text, facts)
    before = np.array([coarse.magnitude[n][inside].mean() for n in natural], np.float32)
    picture = Picture("Mean magnitude of the brain over the echoes", "", before, before[list(magnitude)])
    shown = {
        kind: ", ".join(str(n + 1) for n in order)
        for kind, order in (("phase", phase), ("magnitude", magnitude))
        if order != natural
    }
    text = "; ".join(f"the {kind} images are in order as {order}" for kind, order in shown.items())
    return Finding(name, True, value, text[0].upper() + text[1:] + ".", facts, picture)


def _scale(series: GradientEchoSeries, brain: np.ndarray) -> Finding:
    found = find_magnitude_scale(series.magnitude, series.echo_times_s, np.asarray(brain, bool))
    facts = {"factors": list(found.factors), "source": found.source}
    value = "factors " + ", ".join(f"{f:.2f}" for f in found.factors)
    if not found.differs:
        return Finding("rescale-magnitude", False, value, "All echoes have one scale of magnitude.", facts)
    levels = np.array([echo[brain].mean() for echo in series.magnitude], np.float32)
    after = levels / np.array(found.factors, np.float32)
    picture = Picture("Mean magnitude of the brain over the echoes", "", levels, after)
    text = "The noise in the air differs from echo to echo: each has a scale of its own, as slopes of Philips that "
    text += "were not applied."
    if found.source == "decay":
        text = "The magnitude does not decay evenly: echoes may have scales of their own. Without noise in the air "
        text += "the repair is a guess; apply the slopes of the file header instead."
    return Finding("rescale-magnitude", True, value, text, facts, picture)


def _bipolar(coarse: GradientEchoSeries, brain: np.ndarray, cancel: CancelToken) -> tuple[Finding, GradientEchoSeries]:
    name = "correct-bipolar"
    try:
        found = find_bipolar_phase(
            coarse.phase, coarse.magnitude, coarse.echo_times_s, brain, coarse.grid, cancel=cancel
        )
    except InputError as error:
        return Finding(name, None, "not tested", error.message), coarse
    facts = {"spread_rad": round(found.spread_rad, 3), "limit_rad": LOOKS_BIPOLAR_RAD}
    value = f"odd and even echoes differ by {found.spread_rad:.2f} rad over the brain"
    if not found.looks_bipolar:
        return Finding(name, False, value, "All echoes were read out in one direction, or it was corrected."), coarse
    corrected = replace(coarse, phase=remove_bipolar_phase(coarse.phase, found))
    middle = int(np.argmax(brain.sum(axis=(1, 2))))
    bend = [np.where(brain[middle], wrap(p[0] - 2 * p[1] + p[2])[middle], 0) for p in (coarse.phase, corrected.phase)]
    picture = Picture("φ₁ - 2φ₂ + φ₃, 0 where the phase is linear in time", "rad", *bend)
    text = "The read-out changes direction from echo to echo, which adds a phase of its own."
    return Finding(name, True, value, text, facts, picture), corrected


def _sign(coarse: GradientEchoSeries, brain: np.ndarray, cancel: CancelToken) -> Finding:
    from ..quality.quick_look import coarse_maps

    name, grid, local = "invert-phase", coarse.grid, None
    try:
        _, local, rate, mask = coarse_maps(coarse, brain, cancel)
    except InputError:
        pass
    if local is None or not mask.any():
        return Finding(name, None, "not tested", "No local field for a quick test of the sign.")
    found = find_phase_sign(local, rate, mask, grid)
    facts = {"contrast": round(found.contrast, 3)}
    value = f"contrast of fast decay {found.contrast:+.2f} SD"
    if found.inverted is None:
        return Finding(name, None, value, "The data do not tell whether the phase has the right sign.", facts)
    if not found.inverted:
        return Finding(name, False, value, "Tissue that decays fastest comes out paramagnetic.", facts)
    middle = int(np.argmax(mask.sum(axis=(1, 2))))
    chi = np.where(mask, quick_susceptibility(local, mask, grid), 0)[middle].astype(np.float32)
    text = "Tissue that decays fastest, which is iron-rich, comes out diamagnetic: the phase is inverted."
    return Finding(name, True, value, text, facts, Picture("Coarse susceptibility", "ppm", chi, -chi))
