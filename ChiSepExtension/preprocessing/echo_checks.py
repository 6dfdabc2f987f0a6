"""Do the echoes belong to their echo times, and do their magnitudes share one scale? Told from the images alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .brain_mask import block_mean
from .romeo import neighbours, wrap

#: Rates (s⁻¹) at which a brain's median magnitude may decay, 1.5 to 7 T.
_PLAUSIBLE_RATES = (3.0, 150.0)

#: Deviation of the log of the median magnitude from a line over echo time, up to which it is a decay: brains bend by
#: 0.02 to 0.06 (fluid decays slowly), noise at the last of 12 echoes adds as much.
_BEND = 0.12

#: Ratio of scales beyond which echoes are said to differ: the noise in the air repeats to 1 %.
_SCALE = 1.1


@dataclass(frozen=True)
class EchoOrder:
    """The order of images that their content asks for.

    Parameters
    ----------
    phase, magnitude
        Image numbers (from 0) in the order of rising echo time, from each kind of image; None if it cannot be told.
    relative_times
        Echo times up to one factor as the phase images show them.
    levels
        Median magnitude of each echo over the first one's.
    """

    phase: tuple[int, ...] | None
    magnitude: tuple[int, ...] | None
    relative_times: tuple[float, ...]
    levels: tuple[float, ...]

    @property
    def is_as_given(self) -> bool:
        """True if neither kind of image asks for another order."""
        natural = tuple(range(len(self.levels)))
        return all(order is None or order == natural for order in (self.phase, self.magnitude))


@dataclass(frozen=True)
class MagnitudeScale:
    """Scale of each echo's magnitude relative to the first.

    Parameters
    ----------
    factors
        By which the echoes are too large; 1 where they share one scale.
    source
        "noise" (air around the head, complete) or "decay" (deviation from an exponential, blind to a scale that is
        itself exponential in time).
    differs
        True if the factors are too unlike to be one scale.
    """

    factors: tuple[float, ...]
    source: str
    differs: bool


def find_echo_order(phase: np.ndarray, magnitude: np.ndarray, echo_times_s: np.ndarray, mask: np.ndarray) -> EchoOrder:
    """Order the images by how fast their phase varies in space, and by how much signal is left.

    The phase step between neighbours grows with the echo time, by one factor everywhere: the first principal
    component of the steps over the echoes is the echo times. Steps common to the whole mask, as a bipolar read-out
    makes them, are left out.

    Parameters
    ----------
    phase, magnitude
        (echo, z, y, x); voxels of about 3 mm show the order best.
    mask
        (z, y, x) bool.
    """
    times = np.asarray(echo_times_s, np.float64)
    echoes = len(times)
    levels = np.array([np.median(echo[mask]) for echo in magnitude], np.float64)
    relative = _relative_times(phase, mask)
    by_phase = None
    if relative is not None and echoes > 1:
        order = np.argsort(relative, kind="stable")
        steps = np.diff(relative[order]) / np.diff(times)
        # A clear order: every step is positive, and in about the ratio of the echo times.
        if steps.min() > 0.3 * steps.max() > 0:
            by_phase = tuple(int(n) for n in order)
    by_level = None
    if levels.min() > 0:
        order = np.argsort(-levels, kind="stable")
        if _is_decay(levels[order], times):
            by_level = tuple(int(n) for n in order)
    relative = np.full(echoes, np.nan) if relative is None else relative
    first = levels[0] if levels[0] > 0 else 1.0
    return EchoOrder(
        by_phase,
        by_level,
        tuple(round(float(t), 4) for t in relative),
        tuple(round(float(v / first), 4) for v in levels),
    )


def find_magnitude_scale(magnitude: np.ndarray, echo_times_s: np.ndarray, mask: np.ndarray) -> MagnitudeScale:
    """Compare the noise in the air from echo to echo; where there is none, the decay with an exponential.

    Parameters
    ----------
    magnitude
        (echo, z, y, x) of single voxels: averaged noise is no measure any more.
    mask
        (z, y, x) bool, brain.
    """
    times = np.asarray(echo_times_s, np.float64)
    levels = np.array([np.median(echo[mask]) for echo in magnitude], np.float64)
    same = MagnitudeScale((1.0,) * len(times), "noise", False)
    if levels.min() <= 0:
        return same
    bend = _bend(levels, times)
    noise = _noise_levels(magnitude)
    if noise is not None:
        factors = noise / noise[0]
        uneven = max(factors.max(), 1 / factors.min()) > _SCALE
        # Ghosts in the air follow the signal: what they ask for would bend the decay.
        if uneven and _bend(levels / factors, times) <= max(0.05, 0.7 * bend) and _is_decay(levels / factors, times):
            return MagnitudeScale(tuple(round(float(f), 4) for f in factors), "noise", True)
        return same
    if bend > _BEND and len(times) > 2 and not _is_decay(np.sort(levels)[::-1], times):  # else in the wrong order
        factors = np.exp(_off_line(np.log(levels), times))
        factors /= factors[0]
        return MagnitudeScale(tuple(round(float(f), 4) for f in factors), "decay", True)
    return MagnitudeScale(same.factors, "decay", False)


def _relative_times(phase: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    steps = []
    for axis in range(3):
        lower, upper = neighbours(axis)
        inside = mask[lower] & mask[upper]
        if np.count_nonzero(inside) < 200:
            continue
        step = np.stack([wrap(echo[upper][inside] - echo[lower][inside]) for echo in phase])
        common = np.angle(np.exp(1j * step).mean(axis=1))
        step = wrap(step - common[:, None].astype(np.float32))
        steps.append(step[:, np.abs(step).max(axis=0) < np.pi / 2])
    steps = np.concatenate(steps, axis=1) if steps else np.zeros((len(phase), 0))
    if steps.shape[1] < 200:
        return None
    _, vectors = np.linalg.eigh(steps @ steps.T / steps.shape[1])
    first = vectors[:, -1] * np.sign(vectors[:, -1].sum() or 1)
    return first / np.abs(first).max()


def _off_line(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    return values - np.polyval(np.polyfit(times, values, 1), times)


def _bend(levels: np.ndarray, times: np.ndarray) -> float:
    return float(np.abs(_off_line(np.log(levels), times)).max())


def _is_decay(levels: np.ndarray, times: np.ndarray) -> bool:
    rate = -np.polyfit(times, np.log(levels), 1)[0]
    return bool(_PLAUSIBLE_RATES[0] <= rate <= _PLAUSIBLE_RATES[1] and _bend(levels, times) <= _BEND)


def _noise_levels(magnitude: np.ndarray) -> np.ndarray | None:
    """Median magnitude of each echo in the darkest eighth of the image; None where zeros stand for air.

    What is dark is judged on blocks of 6 voxels: single voxels would be chosen for their noise, more of it in the
    echoes that count more, which alone made factors of 0.89.
    """
    blocks = [block_mean(np.asarray(echo, np.float32), tuple(min(6, n) for n in echo.shape)) for echo in magnitude]
    overall = sum(block / max(float(np.percentile(block, 98)), 1e-20) for block in blocks)
    dark = overall <= np.percentile(overall, 12.5)
    spread = tuple(np.minimum(np.arange(n) // min(6, n), m - 1) for n, m in zip(magnitude.shape[1:], dark.shape))
    dark = dark[np.ix_(*spread)]
    values = [echo[dark] for echo in magnitude]
    if np.count_nonzero(dark) < 500 or any(np.mean(v > 0) < 0.9 for v in values):
        return None
    noise = np.array([np.median(v) for v in values], np.float64)
    # In a crop without air the darkest eighth is tissue.
    signal = np.array([np.percentile(block, 90) for block in blocks])
    return noise if noise.min() > 0 and (noise / signal).max() < 0.25 else None
