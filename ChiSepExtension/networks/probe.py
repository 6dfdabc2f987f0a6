"""Telling apart by behaviour what shapes cannot: QSMnet and R2PRIMEnet are the same layers with other numbers.

A wave of the input along B0 is the clearest question. The dipole kernel is −2/3 there, so that a field-to-
susceptibility network must answer with the opposite sign; across B0 it is +1/3, same sign. A relaxation network has
no preferred direction: more R2* means more R2' either way, and a plain 18 s⁻¹ (the mean of a brain) must give a
positive R2' below it.
"""

from __future__ import annotations

import numpy as np

from ..errors import WeightsError
from .inference import Engine
from .network import Network

#: Side of the probe's volume and length of the wave, voxels: three periods.
SIDE = 48
WAVELENGTH = 16

#: Voxels at the rim that are not looked at: there the edge of the mask speaks, not the wave.
RIM = 6

#: Correlation between wave and answer that counts as following it. Small networks that were trained for a few seconds
#: answer with 0.8 to 0.99, along and across B0; random weights can follow a wave both ways (0.97 was seen), never with
#: opposite signs.
LEAST_CORRELATION = 0.2

#: R2' in s⁻¹ that a uniform brain of R2* 18 s⁻¹ may have (mean of the training data: 5.9).
PLAUSIBLE_R2PRIME_HZ = (0.5, 15.0)


def check_role(network: Network, where: str) -> None:
    """Raise `WeightsError` if a qsm or r2prime network does not behave like one; others pass."""
    role = network.card.role
    if role not in ("qsm", "r2prime") or network.card.in_channels != 1:
        return
    engine = Engine("cpu", dtype="float32")
    mask = _ball()
    along, across = (_follows(engine, network, mask, axis) for axis in (2, 0))
    remedy = (
        "Have QSMnet and R2PRIMEnet been swapped? Give the files under their original names. "
        "If you are sure of them, import them unprobed (--no-probe)."
    )
    if role == "qsm" and not (along <= -LEAST_CORRELATION and across >= LEAST_CORRELATION):
        raise WeightsError(
            f"{where} does not behave like a field-to-susceptibility network "
            f"(it follows a field wave along B0 by {along:+.2f} and across by {across:+.2f}).",
            remedy,
        )
    if role == "r2prime":
        if not (along >= LEAST_CORRELATION and across >= LEAST_CORRELATION):
            raise WeightsError(
                f"{where} does not behave like an R2*-to-R2' network "
                f"(it follows a wave of R2* along B0 by {along:+.2f} and across by {across:+.2f}).",
                remedy,
            )
        low, high = PLAUSIBLE_R2PRIME_HZ
        rate = _uniform_r2prime(engine, network, mask)
        if not low <= rate <= high:
            raise WeightsError(f"{where} makes R2' of {rate:.1f} s⁻¹ from a uniform R2* of 18 s⁻¹.", remedy)


def _follows(engine: Engine, network: Network, mask: np.ndarray, axis: int) -> float:
    """Correlation of the answer with a wave of one standard deviation along an axis."""
    position = np.arange(SIDE, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    wave = np.where(mask, np.cos(2 * np.pi * position / WAVELENGTH), 0).astype(np.float32)
    answer = engine.run(network.weights, wave[np.newaxis], mask)[0]
    inner = _ball(RIM)
    if answer[inner].std() < 1e-6:
        return 0.0
    return float(np.corrcoef(wave[inner], answer[inner])[0, 1])


def _uniform_r2prime(engine: Engine, network: Network, mask: np.ndarray) -> float:
    taken, given = network.card.inputs[0], network.card.outputs[0]
    value = (18.0 / network.card.dr_hz_per_ppm - taken.mean) / taken.std
    answer = engine.run(network.weights, np.where(mask, value, 0).astype(np.float32)[np.newaxis], mask)[0]
    return float(np.median(answer[_ball(RIM)]) * given.std + given.mean) * network.card.dr_hz_per_ppm


def _ball(rim: int = 0) -> np.ndarray:
    centre = (SIDE - 1) / 2
    squared = sum((axis - centre) ** 2 for axis in np.ogrid[:SIDE, :SIDE, :SIDE])
    return squared < (SIDE / 2 - 1 - rim) ** 2
