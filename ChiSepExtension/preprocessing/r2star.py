"""R2* from the decay of the magnitude over echoes: three fits, all vectorised, safe on zeros."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent

METHODS = ("auto", "nonlinear", "log-linear", "arlo")

#: Fits are clipped to this range: 500 s⁻¹ is a T2* of 2 ms, shorter than any first echo used in the brain.
R2STAR_RANGE_HZ = (0.0, 500.0)

#: An echo whose fitted signal is below this many noise standard deviations is left out of the non-linear fit: at 3 the
#: Rician bias of the mean is still 6 % and grows fast below.
NOISE_FLOOR_SIGMAS = 3.0

#: Gauss-Newton steps; from the log-linear start 5 reach float32 accuracy for SNR > 10, 8 for the noisiest voxels.
_STEPS = 8

#: Change of a rate in one step (s⁻¹) below which the voxel is left alone: a hundredth of the noise at an SNR of 100.
_SETTLED_HZ = 2e-3

#: Voxels worked on at once: their echoes fit into the processor's cache.
_CHUNK = 1 << 15


@dataclass(frozen=True, eq=False)
class R2StarFit:
    """All maps (z, y, x) float32, 0 outside the mask.

    Parameters
    ----------
    r2star_hz
        s⁻¹, clipped to 0..500.
    s0
        Magnitude at TE = 0, in the input's unit.
    r_squared
        Share of the signal's variance over echoes that the decay explains, ≤ 1; 0 where there is no variance.
    method
        The fit that was used, never "auto".
    """

    r2star_hz: np.ndarray
    s0: np.ndarray
    r_squared: np.ndarray
    method: str


def fit_r2star(
    magnitude: np.ndarray,
    echo_times_s: np.ndarray,
    mask: np.ndarray,
    *,
    method: str = "auto",
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> R2StarFit:
    """Fit S = S0 · exp(-R2* · TE) in every voxel of the mask.

    Parameters
    ----------
    magnitude
        (echo, z, y, x), at least 2 echoes, one scale for all. Values that are not numbers count as 0.
    echo_times_s
        (echo,)
    mask
        (z, y, x) bool.
    method
        "nonlinear": least squares on the signal by variable projection (Golub & Pereyra 1973), echoes at the noise
        floor left out, Rician bias removed to first order. "log-linear": line through log S with weights S².
        "arlo": closed form of Pei et al., Magn Reson Med 2015;73:843, equally spaced echoes only, at least 3.
        "auto": nonlinear, or log-linear with 2 echoes where the two are the same.

    Raises
    ------
    InputError
        If there are too few echoes for the method, ARLO is asked for unequal spacing, or the mask is empty.
    """
    times = np.asarray(echo_times_s, np.float64).ravel()
    mask = np.asarray(mask, bool)
    magnitude = np.asarray(magnitude)
    method = _chosen_method(method, times, magnitude, mask)
    noise = 0.0
    signal = np.stack([np.asarray(echo[mask], np.float32) for echo in magnitude], axis=-1)  # (voxel, echo)
    np.nan_to_num(signal, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    np.maximum(signal, 0, out=signal)
    if method == "nonlinear":
        noise = residual_noise(signal, times)
    rate, s0, explained = (np.empty(len(signal), np.float32) for _ in range(3))

    def fit_part(start: int) -> None:
        part = slice(start, start + _CHUNK)
        s = signal[part]
        use = None
        if method == "arlo":
            r = arlo(s, times)
        elif method == "log-linear":
            r = log_linear(s, times)
        else:
            s, use = _above_noise(s, times, noise)
            r = nonlinear(s, times, use)
        rate[part] = r
        s0[part], explained[part] = _amplitude_and_fit(s, times, r, use)

    # numpy lets go of the interpreter within each operation: two threads take little more than half the time.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        waiting = [pool.submit(fit_part, start) for start in range(0, len(signal), _CHUNK)]
        try:
            for n, done in enumerate(waiting):
                cancel.check()
                progress(n / len(waiting), "R2* fit")
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    progress(1.0, "R2* fit")
    return R2StarFit(*(_map(v, mask) for v in (rate, s0, explained)), method)


def arlo(signal: np.ndarray, echo_times_s: np.ndarray) -> np.ndarray:
    """R2* (s⁻¹) of (…, echo) signals by auto-regression on linear operations (Pei 2015), equally spaced echoes."""
    spacing = np.float32(echo_times_s[1] - echo_times_s[0])
    first, middle, last = signal[..., :-2], signal[..., 1:-1], signal[..., 2:]
    integral = (first + 4 * middle + last) * (spacing / 3)  # Simpson
    drop = first - last
    cross = np.sum(integral * drop, axis=-1)
    numerator = cross + spacing / 3 * np.sum(drop * drop, axis=-1)
    denominator = np.sum(integral * integral, axis=-1) + spacing / 3 * cross
    rate = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
    return np.clip(rate, *R2STAR_RANGE_HZ)


def log_linear(signal: np.ndarray, echo_times_s: np.ndarray, use: np.ndarray | None = None) -> np.ndarray:
    """R2* (s⁻¹) of (…, echo) signals by a line through log S, weights S²; echoes without signal have no weight."""
    times = np.asarray(echo_times_s, np.float32)
    peak = signal.max(axis=-1, keepdims=True)
    scaled = np.divide(signal, peak, out=np.zeros_like(signal), where=peak > 0)
    weight = scaled * scaled
    if use is not None:
        weight = weight * use
    log = np.log(np.maximum(scaled, np.float32(1e-12)))
    total = np.maximum(weight.sum(axis=-1, keepdims=True), np.float32(1e-20))
    time = times - (weight * times).sum(axis=-1, keepdims=True) / total
    weight *= time
    spread = (weight * time).sum(axis=-1)
    slope = (weight * log).sum(axis=-1)
    rate = np.divide(-slope, spread, out=np.zeros_like(slope), where=spread > 0)
    return np.clip(rate, *R2STAR_RANGE_HZ)


def nonlinear(signal: np.ndarray, echo_times_s: np.ndarray, use: np.ndarray | None = None) -> np.ndarray:
    """R2* (s⁻¹) of (…, echo) signals by least squares on the signal itself.

    The amplitude is solved exactly at every rate (variable projection), the rate by Gauss-Newton steps. ``use``
    (…, echo) is 1 for echoes that count.
    """
    times = np.asarray(echo_times_s, np.float32)
    start = log_linear(signal, echo_times_s, use)
    shape, signal = start.shape, signal.reshape(-1, len(times))
    use = None if use is None else use.reshape(signal.shape)
    rate = start.reshape(-1)
    moving = None  # all, then those whose last step was not yet small
    for _ in range(_STEPS):
        part = slice(None) if moving is None else moving
        stepped = _gauss_newton(rate[part], signal[part], times, None if use is None else use[part])
        change = np.abs(stepped - rate[part])
        rate[part] = stepped
        far = np.flatnonzero(change > _SETTLED_HZ)
        if len(far) == 0:
            break
        moving = far if moving is None else moving[far]
    return rate.reshape(shape)


def _gauss_newton(rate: np.ndarray, signal: np.ndarray, times: np.ndarray, use: np.ndarray | None) -> np.ndarray:
    """One step of `nonlinear` for (voxel,) rates."""
    decay = np.exp(-rate[..., None] * times)
    if use is not None:
        decay *= use
    power = np.maximum((decay * decay).sum(axis=-1), np.float32(1e-20))
    amplitude = (signal * decay).sum(axis=-1) / power
    timed = decay * times
    # With J1 = decay and J2 = -amplitude · timed the residual is orthogonal to J1: one equation is left.
    mean_time = (decay * timed).sum(axis=-1) / power
    spread = (timed * timed).sum(axis=-1) - mean_time * mean_time * power
    misfit = (timed * signal).sum(axis=-1) - amplitude * mean_time * power
    curvature = amplitude * spread
    step = np.divide(misfit, curvature, out=np.zeros_like(rate), where=curvature > 1e-20)
    # A step is held to half the rate plus 20 s⁻¹: where the signal is noise the full step may oscillate.
    limit = np.float32(0.5) * rate + 20
    return np.clip(rate - np.clip(step, -limit, limit), *R2STAR_RANGE_HZ)


def residual_noise(signal: np.ndarray, echo_times_s: np.ndarray) -> float:
    """Noise standard deviation of (voxel, echo) signals: median misfit of the log-linear fit; 0 with 2 echoes."""
    echoes = signal.shape[-1]
    if echoes < 3 or len(signal) == 0:
        return 0.0
    sample = signal[:: max(1, len(signal) // 50_000)]
    sample = sample[sample.min(axis=-1) > 0]
    if len(sample) == 0:
        return 0.0
    times = np.asarray(echo_times_s, np.float32)
    decay = np.exp(-log_linear(sample, times)[:, None] * times)
    amplitude = (sample * decay).sum(axis=-1) / (decay * decay).sum(axis=-1)
    variance = ((sample - amplitude[:, None] * decay) ** 2).sum(axis=-1) / (echoes - 2)
    # Median to mean of a χ² variable over its degrees of freedom (Wilson & Hilferty 1931).
    return float(np.sqrt(np.median(variance) / (1 - 2 / (9 * (echoes - 2))) ** 3))


def _above_noise(signal: np.ndarray, times: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Signals with first-order Rician bias removed, and which echoes count: those above the noise floor, at least 2.

    The fitted decay decides, not the echo's own value: to keep echoes that noise happens to raise would bias the rate.
    """
    if noise <= 0:
        return signal, None
    signal = np.sqrt(np.maximum(signal * signal - np.float32(noise**2), 0))
    use = None
    for _ in range(2):
        decay = np.exp(-log_linear(signal, times, use)[:, None] * times.astype(np.float32))
        weighted = decay if use is None else decay * use
        amplitude = (signal * weighted).sum(axis=-1) / np.maximum((decay * weighted).sum(axis=-1), np.float32(1e-20))
        use = (amplitude[:, None] * decay > NOISE_FLOOR_SIGMAS * noise).astype(np.float32)
        use[:, :2] = 1
    return signal, use


def _amplitude_and_fit(signal, times, rate, use) -> tuple[np.ndarray, np.ndarray]:
    decay = np.exp(-rate[:, None] * np.asarray(times, np.float32))
    weight = np.ones_like(signal) if use is None else use
    amplitude = (weight * signal * decay).sum(axis=-1) / np.maximum((weight * decay * decay).sum(axis=-1), 1e-20)
    count = weight.sum(axis=-1)
    mean = (weight * signal).sum(axis=-1) / count
    variance = (weight * (signal - mean[:, None]) ** 2).sum(axis=-1)
    misfit = (weight * (signal - amplitude[:, None] * decay) ** 2).sum(axis=-1)
    explained = np.divide(misfit, variance, out=np.ones_like(misfit), where=variance > 0)
    return amplitude, np.maximum(1 - explained, -1)


def _chosen_method(method: str, times: np.ndarray, magnitude: np.ndarray, mask: np.ndarray) -> str:
    if method not in METHODS:
        raise InputError(f"There is no R2* fit {method!r}.", f"Choose from {', '.join(METHODS)}.")
    if len(times) < 2 or magnitude.shape[0] != len(times) or magnitude.shape[1:] != mask.shape:
        raise InputError(
            f"R2* needs at least 2 echoes on the grid of the mask: magnitude {magnitude.shape}, "
            f"{len(times)} echo times, mask {mask.shape}.",
            "Give a multi-echo scan with one echo time per echo.",
        )
    if not mask.any():
        raise InputError("The brain mask is empty.", "Give a mask that covers the brain, on the grid of the scan.")
    if method == "auto":
        method = "nonlinear" if len(times) > 2 else "log-linear"
    if method == "arlo":
        spacing = np.diff(times)
        if len(times) < 3 or np.ptp(spacing) > 1e-5:
            shown = ", ".join(f"{1e3 * t:g}" for t in times)
            raise InputError(
                f"ARLO needs at least 3 equally spaced echoes; these are at {shown} ms.",
                'Use the method "nonlinear" or "log-linear".',
            )
    return method


def _map(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    full = np.zeros(mask.shape, np.float32)
    full[mask] = values
    return full
