"""Echo trains of a multi-echo spin-echo sequence with imperfect refocusing, by extended phase graphs."""

from __future__ import annotations

import numpy as np


def echo_train(
    t2_s: np.ndarray,
    refocusing_deg: np.ndarray,
    echoes: int,
    echo_spacing_s: float,
    *,
    t1_s: float | np.ndarray = 1.0,
    excitation_deg: float | np.ndarray = 90.0,
) -> np.ndarray:
    """Echo amplitudes of a CPMG train: excitation about y, equal refocusing pulses about x.

    Extended phase graphs (Hennig, J Magn Reson 1988;78:397; Weigel, J Magn Reson Imaging 2015;41:266): with this
    phase cycle all states are real. Between pulses every half interval relaxes and dephases by one order.

    Parameters
    ----------
    t2_s, refocusing_deg, t1_s, excitation_deg
        Broadcast together to the shape (…).
    echoes
        Number of echoes.
    echo_spacing_s
        Time between echoes; the first echo comes after one spacing.

    Returns
    -------
    (…, echoes) float64, relative to the equilibrium magnetisation, signed; negative only far from 180°.
    """
    t2, angle, t1, excitation = np.broadcast_arrays(
        np.asarray(t2_s, np.float64),
        np.deg2rad(refocusing_deg),
        np.asarray(t1_s, np.float64),
        np.deg2rad(excitation_deg),
    )
    transverse = np.exp(-echo_spacing_s / 2 / t2)
    longitudinal = np.exp(-echo_spacing_s / 2 / t1)
    cos2, sin2 = np.cos(angle / 2) ** 2, np.sin(angle / 2) ** 2
    sine, cosine = np.sin(angle), np.cos(angle)
    # States of dephasing order k: F[k] dephasing, G[k] rephasing (F of order -k), Z[k] stored. An echo at order 0 only
    # forms from orders up to the number of echoes, so higher ones need not be kept.
    orders = 2 * echoes + 2
    f, g, z = (np.zeros((orders, *t2.shape)) for _ in range(3))
    f[0] = g[0] = np.sin(excitation)
    # Magnetisation left or regrown along z enters later echoes only as free decay of the pulses, which the crushers
    # around each pulse spoil: it is left out.
    amplitudes = np.empty((*t2.shape, echoes))
    for echo in range(echoes):
        f, g, z = _dephase(f * transverse, g * transverse, z * longitudinal)
        f, g, z = (
            cos2 * f + sin2 * g - sine * z,
            sin2 * f + cos2 * g + sine * z,
            0.5 * sine * (f - g) + cosine * z,
        )
        f, g, z = _dephase(f * transverse, g * transverse, z * longitudinal)
        amplitudes[..., echo] = f[0]
    return amplitudes


def _dephase(f: np.ndarray, g: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One order more of dephasing: F moves up, G moves down, and what reaches order 0 belongs to both."""
    rising = np.empty_like(f)
    rising[1:] = f[:-1]
    falling = np.zeros_like(g)
    falling[:-1] = g[1:]
    rising[0] = falling[0]
    return rising, falling, z
