"""Multi-echo spin echo with imperfect refocusing: where the stimulated echoes that spoil R2 maps come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent
from .head import Head
from .random_fields import RandomField

#: T1 of brain tissue in the echo train; a factor of two moves the echoes by less than 1 % (longitudinal storage of
#: stimulated echoes lasts a few echo spacings only).
_T1_S = 1.1


@dataclass(eq=False)
class SpinEchoes:
    """Magnitude (echo, z, y, x), echo times in s, and the true refocusing angle map in degrees."""

    magnitude: np.ndarray
    echo_times_s: np.ndarray
    refocusing_deg: np.ndarray


def echo_train(
    echoes: int, spacing_s: float, t2_s: np.ndarray, refocusing_deg: np.ndarray, t1_s: float = _T1_S
) -> np.ndarray:
    """Echo amplitudes of a CPMG train by extended phase graphs (Hennig 1991; Weigel, JMRI 2015;41:266).

    Excitation of 90° about one axis, refocusing about the other; each half spacing relaxes and shifts the
    configurations by one order.

    Parameters
    ----------
    echoes, spacing_s
        Number of echoes and time between two of them.
    t2_s, refocusing_deg
        Broadcast against each other.

    Returns
    -------
    (echoes, …) amplitudes relative to the magnetisation after excitation: exp(-n·spacing/T2) at 180°.
    """
    t2, angle = np.broadcast_arrays(np.asarray(t2_s, np.float64), np.radians(np.asarray(refocusing_deg, np.float64)))
    transverse, longitudinal = np.exp(-spacing_s / 2 / t2), np.exp(-spacing_s / 2 / t1_s)
    cos2, sin2 = np.cos(angle / 2) ** 2, np.sin(angle / 2) ** 2
    sin, cos = np.sin(angle), np.cos(angle)
    # Orders 0 … echoes of the dephasing, rephasing and stored configurations, all real for CPMG.
    plus = np.zeros((echoes + 2, *t2.shape))
    minus, stored = np.zeros_like(plus), np.zeros_like(plus)
    plus[0] = minus[0] = 1.0
    amplitude = np.empty((echoes, *t2.shape))

    def half(plus, minus, stored):
        plus, minus, stored = plus * transverse, minus * transverse, stored * longitudinal
        shifted_minus = np.zeros_like(minus)
        shifted_minus[:-1] = minus[1:]
        shifted_plus = np.zeros_like(plus)
        shifted_plus[1:] = plus[:-1]
        shifted_plus[0] = shifted_minus[0]  # order 0 of both is one and the same magnetisation
        return shifted_plus, shifted_minus, stored

    for n in range(echoes):
        plus, minus, stored = half(plus, minus, stored)
        plus, minus, stored = (
            cos2 * plus + sin2 * minus - sin * stored,
            sin2 * plus + cos2 * minus + sin * stored,
            0.5 * sin * (plus - minus) + cos * stored,
        )
        plus, minus, stored = half(plus, minus, stored)
        amplitude[n] = plus[0]
    return amplitude


def simulate_spin_echo(
    head: Head,
    *,
    echoes: int = 8,
    spacing_s: float = 0.012,
    refocusing_deg: float = 180.0,
    b1_variation: float = 0.12,
    snr: float = 100.0,
    seed: int = 0,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> SpinEchoes:
    """Multi-echo spin echo of a head: proton density times the echo train of each voxel's R2, Rician noise.

    Parameters
    ----------
    refocusing_deg
        Nominal angle, reached where the transmit field is nominal.
    b1_variation
        Relative standard deviation of the smooth transmit field; 0 and 180° give pure exp(-TE·R2).
    snr
        As in `simulate_gradient_echo`; ``inf`` for no noise.
    """
    if echoes < 2 or spacing_s <= 0:
        raise InputError(f"{echoes} spin echoes every {1e3 * spacing_s:g} ms cannot be simulated.", "Give 2 or more.")
    generator = np.random.default_rng([seed, 31])
    transmit = RandomField(generator, 260.0, bandwidth=0.4, period_mm=640.0)
    angle = np.empty(head.grid.shape, np.float32)
    for k in range(head.grid.shape[0]):
        plane = np.stack(np.meshgrid([k], *[np.arange(n) for n in head.grid.shape[1:]], indexing="ij"), axis=-1)
        b1 = 1 + b1_variation * transmit(head.grid.index_to_ras(plane).reshape(-1, 3))
        angle[k] = refocusing_deg * b1.reshape(head.grid.shape[1:])
    # Table over R2 and angle, linear between nodes: 0.2 % of the first echo at worst.
    rates = np.concatenate([np.linspace(0.2, 60, 150), np.geomspace(62, 4000, 40)])
    angles = np.linspace(max(angle.min() - 0.1, 1.0), angle.max() + 0.1, 60)
    table = echo_train(echoes, spacing_s, 1 / rates[:, None], angles)
    row = np.interp(head.r2_hz, rates, np.arange(len(rates))).astype(np.float32)
    column = np.interp(angle, angles, np.arange(len(angles))).astype(np.float32)
    magnitude = np.empty((echoes, *head.grid.shape), np.float32)
    peak = None
    for n in range(echoes):
        cancel.check()
        progress(n / echoes, f"Spin echo {n + 1}")
        signal = head.proton_density * map_coordinates(table[n], [row, column], order=1, output=np.float32)
        if peak is None:
            peak = float(np.percentile(signal[head.brain_mask], 99))
        signal *= np.float32(1000 / peak)
        if not np.isinf(snr):
            noise = (1000 / snr) * generator.standard_normal((2, *signal.shape), dtype=np.float32)
            signal = np.hypot(signal + noise[0], noise[1])
        magnitude[n] = signal
    progress(1.0, "Spin echoes ready")
    return SpinEchoes(magnitude, spacing_s * np.arange(1, echoes + 1), angle)


def exponential_r2(spin_echoes: SpinEchoes, mask: np.ndarray) -> np.ndarray:
    """R2 (Hz) by a line through the log of all echoes, as inline maps are made: the stimulated echoes bias it."""
    signal = np.log(np.maximum(spin_echoes.magnitude[:, mask], 1e-3)).astype(np.float64)
    times = spin_echoes.echo_times_s - spin_echoes.echo_times_s.mean()
    slope = -(times @ signal) / (times @ times)
    result = np.zeros(mask.shape, np.float32)
    result[mask] = np.clip(slope, 0, None)
    return result
