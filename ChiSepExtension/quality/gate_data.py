"""The gate's rows that the images themselves decide: slices, sign, order of echoes, noise, ghosts, mask.

The limits between green, amber and red are ours, set on simulated heads (2 to 3 mm, SNR 40 to 150); they are
proposals until they were tried on many scanners.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.ndimage import binary_closing, binary_dilation

from ..acquisition.gradient_echo import GradientEchoSeries
from ..preprocessing.brain_mask import block_mean, otsu_threshold
from ..preprocessing.echo_checks import find_echo_order, find_magnitude_scale
from ..preprocessing.vendor_repair import find_phase_sign, find_slice_alternation
from .gate_header import PhaseEvidence
from .gate_rows import AMBER, GREEN, RED, GateRow
from .quick_look import QuickLook

_AXES = ("z", "y", "x")
_FLIPS = [axes for count in (1, 2, 3) for axes in itertools.combinations(range(3), count)]


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
    if look.local_field_ppm is None or look.mask is None:
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
    if look.mask is None:
        region = magnitude[0] > otsu_threshold(magnitude[0].ravel())
    else:
        region = look.mask
    region = region & (magnitude.min(axis=0) > 0)
    if np.count_nonzero(region) < 50:
        return GateRow(key, title, AMBER, "not tested", "There are too few voxels with signal in all echoes.")
    level = np.array([np.median(echo[region]) for echo in magnitude])
    rates = -np.diff(np.log(level)) / np.diff(times)
    whole = -np.log(level[-1] / level[0]) / (times[-1] - times[0])
    value = "medians " + ", ".join(f"{v / level.max():.2f}" for v in level)
    order = find_echo_order(look.series.phase, magnitude, times, region)
    if not order.is_as_given:
        wanted = [("phase", order.phase), ("magnitude", order.magnitude)]
        told = "; ".join(
            f"{kind} images belong in the order {', '.join(str(n + 1) for n in images)}"
            for kind, images in wanted
            if images is not None and images != tuple(range(len(level)))
        )
        return GateRow(key, title, RED, value, f"The echoes are mixed up: {told}.", "reorder-echoes")
    if rates.min() < -2:  # s⁻¹; noise of a median over a brain stays below 0.1
        after = int(np.argmin(rates)) + 1
        reason = f"The magnitude rises from echo {after} to echo {after + 1}: scale or echo times are wrong."
        return GateRow(key, title, RED, value, reason, "rescale-magnitude")
    if not 5 <= whole <= 100:
        reason = f"The brain decays at {whole:.3g} s⁻¹, outside 5 to 100: echo times or magnitude scale are wrong."
        return GateRow(key, title, RED, value, reason, "give-echo-times")
    if rates.max() > 3 * max(rates.min(), 1.0):
        reason = f"The decay is uneven ({rates.min():.3g} to {rates.max():.3g} s⁻¹): echo times or slopes may be wrong."
        return GateRow(key, title, AMBER, value, reason)
    return GateRow(key, title, GREEN, value, f"The magnitude decays evenly, {whole:.3g} s⁻¹ over all echoes.")


def scale_row(series: GradientEchoSeries, look: QuickLook) -> GateRow:
    """Whether all echoes share one scale of magnitude."""
    key, title = "magnitude-scale", "Scale of the magnitudes"
    if look.mask is None:
        return GateRow(key, title, AMBER, "not tested", "No brain was found to compare the echoes in.")
    found = find_magnitude_scale(series.magnitude, series.echo_times_s, look.full_mask(series.grid.shape))
    value = "factors " + ", ".join(f"{f:.2f}" for f in found.factors)
    if found.differs:
        reason = "The echoes have scales of their own, as slopes in Philips files that were not applied: R2* is wrong."
        if found.source == "decay":
            reason = (
                "The decay is uneven; without noise in the air it cannot be told whether the echoes have own scales."
            )
            return GateRow(key, title, AMBER, value, reason, "rescale-magnitude")
        return GateRow(key, title, RED, value, reason, "rescale-magnitude")
    return GateRow(key, title, GREEN, value, "All echoes share one scale.")


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
    """Signal in the air around the head beyond noise: what motion and folding spread along the phase encoding."""
    key, title = "ghosts", "Ghosts around the head"
    image = look.series.magnitude[0]
    threshold = 0.5 * otsu_threshold(image.ravel())
    if look.mask is not None:  # a ghost of up to a quarter of the brain's signal is not head
        threshold = max(threshold, 0.25 * float(np.median(image[look.mask])))
    head = np.pad(image > threshold, 3)
    head = binary_dilation(binary_closing(head, iterations=3)[3:-3, 3:-3, 3:-3], iterations=2)
    air = image[~head]
    # Zeros around the head were put there; they say nothing.
    if air.size < max(300, image.size // 20) or np.count_nonzero(air) < 0.5 * air.size:
        return GateRow(key, title, AMBER, "not tested", "There is no air with noise around the head to look at.")
    level = float(np.median(image[head if look.mask is None else look.mask]))
    # Of pure noise (Rayleigh) the 90th percentile is 1.82 times the median, less after averaging.
    middle, high = np.percentile(air, (50, 90))
    ghost = max(0.0, float(high - 1.85 * middle)) / level
    value = f"{100 * ghost:.1f} % of the brain's signal in a tenth of the air, beyond noise"
    if ghost < 0.015:
        return GateRow(key, title, GREEN, value, "The air around the head holds noise only.")
    if ghost < 0.08:
        return GateRow(key, title, AMBER, value, "Some signal lies around the head: motion, flow or folding.")
    # Never red: air is what scanners treat most differently (combined coils, parallel imaging, filters).
    return GateRow(key, title, AMBER, value, "Much signal lies around the head: motion or folding; look at the images.")


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
    signal = series.magnitude[0] > 0.1 * np.median(series.magnitude[0][mask])
    empty = float(np.mean(~signal[mask]))
    value = f"{volume:.0f} ml, {100 * empty:.1f} % without signal"
    if empty > 0.03:
        # A mask that is mirrored leaves the head where the brain is not symmetric: 5 to 10 % of it along z or y.
        flipped = {axes: float(np.mean(~signal[np.flip(mask, axes)])) for axes in _FLIPS}
        best = min(flipped, key=flipped.get)
        if flipped[best] < empty / 3:
            names = " and ".join(_AXES[axis] for axis in best)
            reason = (
                f"The mask would miss the signal in {100 * flipped[best]:.1f} % only if it were mirrored along {names}."
            )
            return GateRow(key, title, RED, value, reason, "give-mask")
    if empty > 0.2:
        reason = "Much of the mask lies where there is no signal: it belongs to another scan or another axis order."
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
