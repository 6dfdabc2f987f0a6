"""The gate's rows that the images themselves decide: slices, sign, order of echoes, noise, ghosts, mask.

The limits between green, amber and red are ours, set on simulated heads (2 to 3 mm, SNR 40 to 150); they are
proposals until they were tried on many scanners.
"""

from __future__ import annotations

import itertools

import numpy as np

from ..acquisition.gradient_echo import GradientEchoSeries
from ..preprocessing.brain_mask import block_mean, otsu_threshold
from ..preprocessing.vendor_repair import find_phase_sign, find_slice_alternation
from .gate_header import PhaseEvidence
from .gate_rows import AMBER, GREEN, RED, GateRow
from .quick_look import QuickLook

_AXES = ("z", "y", "x")


def slice_row(series: GradientEchoSeries) -> GateRow:
    """Whether every second slice is turned by π."""
    found = find_slice_alternation(series.phase[0], series.magnitude[0])
    key, title = "slices", "Phase from slice to slice"
    value = f"mean cosine of the step {found.cosine:.2f}"
    if found.axis is None:
        return GateRow(key, title, GREEN, value, "The phase runs on from slice to slice.")
    reason = f"The phase jumps by π from every slice to the next along {_AXES[found.axis]}, as in raw data of GE."
    return GateRow(key, title, RED, value, reason, "repair-slices")


def phase_evidence(series: GradientEchoSeries) -> PhaseEvidence:
    """Range, flatness over the head, and what alternates from echo to echo; cheap, nothing is unwrapped."""
    largest = float(max(abs(series.phase.min()), abs(series.phase.max())))
    grid = series.grid
    extent = np.array(grid.shape) * np.array(grid.spacing_mm)
    if np.count_nonzero(extent > 80) < 2:  # a crop can be flat by nature
        return PhaseEvidence(largest, None, _alternating(series))
    blocks, strong = _blocks(series, -1, 12.0)
    if np.count_nonzero(strong) < 20:
        return PhaseEvidence(largest, None, _alternating(series))
    phasors = blocks[strong]
    flatness = float(np.abs(np.sum(phasors)) / np.sum(np.abs(phasors)))
    return PhaseEvidence(largest, flatness, _alternating(series))


def sign_row(look: QuickLook) -> GateRow:
    """Whether what decays fastest comes out paramagnetic, on the coarse maps."""
    key, title = "phase-sign", "Sign of the phase"
    if look.local_field_ppm is None or look.brain is None:
        return GateRow(key, title, AMBER, "not tested", "No brain was found for a quick test of the sign.")
    rates = look.r2star_hz[look.local_mask]
    if rates.size == 0 or np.percentile(rates, 98) <= rates.min():
        return GateRow(key, title, AMBER, "not tested", "Nothing in the brain decays faster than the rest.")
    found = find_phase_sign(look.local_field_ppm, look.r2star_hz, look.local_mask, look.series.grid)
    value = f"contrast of fast decay {found.contrast:+.2f} SD"
    if found.inverted is None:
        return GateRow(key, title, AMBER, value, "The data do not tell whether the phase has the right sign.")
    if found.inverted:
        reason = "Tissue that decays fastest, which is iron-rich, comes out diamagnetic: the phase is inverted."
        return GateRow(key, title, RED, value, reason, "invert-phase")
    return GateRow(key, title, GREEN, value, "Tissue that decays fastest comes out paramagnetic.")


def decay_row(look: QuickLook) -> GateRow:
    """Whether the magnitude falls from echo to echo, at one rate."""
    key, title = "echo-order", "Order and decay of the echoes"
    magnitude, times = look.series.magnitude, look.series.echo_times_s
    if look.brain is None:
        region = magnitude[0] > otsu_threshold(magnitude[0].ravel())
    else:
        region = look.brain
    region = region & (magnitude.min(axis=0) > 0)
    if np.count_nonzero(region) < 50:
        return GateRow(key, title, AMBER, "not tested", "There are too few voxels with signal in all echoes.")
    level = np.array([np.median(echo[region]) for echo in magnitude])
    rates = -np.diff(np.log(level)) / np.diff(times)
    whole = -np.log(level[-1] / level[0]) / (times[-1] - times[0])
    value = "medians " + ", ".join(f"{v / level.max():.2f}" for v in level)
    order = np.argsort(-level, kind="stable")
    if rates.min() < -2:  # s⁻¹; noise of a median over a brain stays below 0.1
        after = int(np.argmin(rates)) + 1
        reason = f"The magnitude rises from echo {after} to echo {after + 1}: the echoes or their times are mixed up."
        mend = "reorder-echoes" if (order != np.arange(len(order))).any() else None
        return GateRow(key, title, RED, value, reason, mend)
    if not 5 <= whole <= 100:
        reason = f"The brain decays at {whole:.3g} s⁻¹, outside 5 to 100: echo times or magnitude scale are wrong."
        return GateRow(key, title, RED, value, reason, "give-echo-times")
    if rates.max() > 3 * max(rates.min(), 1.0):
        reason = f"The decay is uneven ({rates.min():.3g} to {rates.max():.3g} s⁻¹): echo times or slopes may be wrong."
        return GateRow(key, title, AMBER, value, reason)
    return GateRow(key, title, GREEN, value, f"The magnitude decays evenly, {whole:.3g} s⁻¹ over all echoes.")


def linearity_row(look: QuickLook) -> GateRow:
    """Whether the phase grows in proportion to the echo time."""
    key, title = "phase-linearity", "Growth of the phase with echo time"
    residual = look.field_residual_rad
    if residual is None or look.series.number_of_echoes < 3:
        return GateRow(key, title, AMBER, "not tested", "A line through the phase needs a brain and 3 echoes.")
    value = f"median residual {residual:.3f} rad"
    if residual > 0.4:
        reason = "The phase does not follow the echo times: check order, times and scaling."
        return GateRow(key, title, RED, value, reason, "give-echo-times")
    if residual > 0.15:
        return GateRow(key, title, AMBER, value, "The phase is noisy or not quite linear, as with a bipolar read-out.")
    return GateRow(key, title, GREEN, value, "The phase follows the echo times.")


def signal_row(series: GradientEchoSeries, look: QuickLook) -> GateRow:
    """Signal over noise of single voxels in the brain, noise taken from the misfit of the decay."""
    from ..preprocessing.r2star import residual_noise

    key, title = "signal-to-noise", "Signal over noise, first echo"
    if look.mask is None or series.number_of_echoes < 3:
        return GateRow(key, title, AMBER, "not tested", "Noise is seen from the decay of 3 echoes in a brain.")
    where = np.flatnonzero(look.full_mask(series.grid.shape))
    where = where[:: max(1, len(where) // 50_000)]
    signal = np.stack([echo.ravel()[where] for echo in series.magnitude], axis=-1)
    noise = residual_noise(signal, series.echo_times_s)
    if noise <= 0:
        return GateRow(
            key, title, AMBER, "no noise found", "The data were denoised, masked or simulated without noise."
        )
    ratio = float(np.median(signal[:, 0])) / noise
    value = f"{ratio:.0f}"
    if ratio >= 25:
        return GateRow(key, title, GREEN, value, "Noise adds little to the error of the maps.")
    if ratio >= 10:
        return GateRow(key, title, AMBER, value, "Single voxels are noisy; judge regions, not voxels.")
    return GateRow(key, title, RED, value, "The maps would be mostly noise, or the echoes do not decay together.")


def ghost_row(look: QuickLook) -> GateRow:
    """Signal beside the head over signal in the corners: what motion spreads along the phase-encoding axis."""
    key, title = "ghosts", "Ghosts beside the head"
    image = look.series.magnitude[0]
    head = image > 0.5 * otsu_threshold(image.ravel())
    from scipy.ndimage import binary_closing, binary_dilation

    head = binary_dilation(binary_closing(np.pad(head, 3), iterations=3)[3:-3, 3:-3, 3:-3], iterations=2)
    shadows = [np.broadcast_to(head.any(axis=axis, keepdims=True), head.shape) for axis in range(3)]
    corner = ~(shadows[0] | shadows[1] | shadows[2])
    smallest = max(30, head.size // 500)
    # Zeros around the head were put there; they say nothing.
    if np.count_nonzero(corner) < smallest or np.count_nonzero(image[corner]) < 0.5 * np.count_nonzero(corner):
        return GateRow(key, title, AMBER, "not tested", "There is no air with noise around the head to look at.")
    floor = float(np.median(image[corner]))
    inside = look.brain if look.brain is not None and look.brain.any() else head
    level = float(np.median(image[inside]))
    worst, axis_name = 0.0, ""
    for axis in range(3):
        beside = shadows[axis] & ~head
        for other in range(3):
            if other != axis:
                beside &= ~shadows[other]
        if np.count_nonzero(beside) >= smallest:
            ghost = (float(np.mean(image[beside])) - floor) / level
            if ghost > worst:
                worst, axis_name = ghost, _AXES[axis]
    value = f"{100 * worst:.1f} % of the brain's signal" + (f" along {axis_name}" if axis_name else "")
    if worst < 0.02:
        return GateRow(key, title, GREEN, value, "The air beside the head is as dark as the corners.")
    if worst < 0.08:
        return GateRow(key, title, AMBER, value, "Some signal lies beside the head: motion, flow or folding.")
    return GateRow(key, title, RED, value, "Much signal lies beside the head: motion or folding; look at the images.")


def mask_row(series: GradientEchoSeries, look: QuickLook, mask: np.ndarray | None) -> GateRow:
    """Whether the brain mask has a brain's size, holds signal, and is not mirrored."""
    key, title = "mask", "Brain mask"
    if mask is None:
        if look.mask is None:
            return GateRow(key, title, RED, "none", "No brain was found in the images.", "give-mask")
        volume = float(look.mask.sum()) * look.series.grid.voxel_volume_mm3 / 1e3
        # Blocks of 3 to 4 mm take in the surface: 2.1 l for a simulated brain of 1.7 l.
        return _volume_row(key, title, f"{volume:.0f} ml, computed on coarse voxels", volume / 1.25)
    volume = float(np.count_nonzero(mask)) * series.grid.voxel_volume_mm3 / 1e3
    first = series.magnitude[0]
    empty = float(np.mean(first[mask] < 0.1 * np.median(first[mask])))
    value = f"{volume:.0f} ml, {100 * empty:.1f} % without signal"
    if empty > 0.2:
        reason = "Much of the mask lies where there is no signal: it belongs to another scan or another axis order."
        return GateRow(key, title, RED, value, reason, "give-mask")
    if look.mask is not None and look.given_mask is not None:
        own = _dice(look.given_mask, look.mask)
        flips = [f for n in (1, 2, 3) for f in itertools.combinations(range(3), n)]
        best = max(flips, key=lambda axes: _dice(np.flip(look.given_mask, axes), look.mask))
        mirrored = _dice(np.flip(look.given_mask, best), look.mask)
        if mirrored > own + 0.05 and mirrored > 0.7:
            names = " and ".join(_AXES[axis] for axis in best)
            fit = f"Dice {mirrored:.2f}, not {own:.2f}"
            reason = f"The mask fits the brain better when it is mirrored along {names} ({fit})."
            return GateRow(key, title, RED, value, reason, "give-mask")
    if empty > 0.05:
        return GateRow(key, title, AMBER, value, "Part of the mask lies where there is no signal.", "give-mask")
    return _volume_row(key, title, value, volume)


def _volume_row(key: str, title: str, value: str, volume: float) -> GateRow:
    if 900 <= volume <= 1900:
        return GateRow(key, title, GREEN, value, "The volume is that of a brain.")
    if volume < 900:
        return GateRow(
            key, title, AMBER, value, "Less than a whole brain: a slab, a child, or a mask that is too small."
        )
    color = AMBER if volume <= 2200 else RED
    return GateRow(key, title, color, value, "More than a brain: scalp or neck may be in the mask.", "give-mask")


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 0.0


def _blocks(series: GradientEchoSeries, echo: int, size_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Complex mean of one echo over blocks, and which blocks hold tissue."""
    grid = series.grid
    factors = tuple(int(np.clip(round(size_mm / s), 1, n)) for s, n in zip(grid.spacing_mm, grid.shape))
    size, angle = series.magnitude[echo], series.phase[echo]
    mean = block_mean(size * np.cos(angle), factors) + 1j * block_mean(size * np.sin(angle), factors)
    level = block_mean(size, factors)
    return mean, level > 0.3 * np.percentile(level, 98)


def _alternating(series: GradientEchoSeries) -> float | None:
    """5th to 95th percentile of g over the head, with phase ± g on odd and even echoes; None if it cannot be told.

    φₙ - 2 φₙ₊₁ + φₙ₊₂ = ±4 g needs no unwrapping. Averaged over blocks of 6 mm; one turn of 4 g is the most that shows.
    """
    steps = np.diff(series.echo_times_s)
    if len(steps) < 2 or np.ptp(steps) > 0.02 * steps.mean():
        return None
    grid = series.grid
    factors = tuple(int(np.clip(round(6.0 / s), 1, n)) for s, n in zip(grid.spacing_mm, grid.shape))
    total = 0
    for n in range(len(steps) - 1):
        bend = series.phase[n] - 2 * series.phase[n + 1] + series.phase[n + 2]
        if n % 2:
            bend = -bend
        weight = series.magnitude[n + 2]
        total = total + block_mean(weight * np.cos(bend), factors) + 1j * block_mean(weight * np.sin(bend), factors)
    level = block_mean(series.magnitude[0], factors)
    strong = level > 0.3 * np.percentile(level, 98)
    if np.count_nonzero(strong) < 20:
        return None
    middle = np.angle(total[strong].sum())
    low, high = np.percentile(np.angle(total[strong] * np.exp(-1j * middle)), (5, 95))
    return float(high - low) / 4
