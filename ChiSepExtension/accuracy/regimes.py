"""The conditions of the benchmark's cases: (a) like those of training, (b) outside them.

What a network has seen in training it may have learnt by heart: Dr, the spread of lesions, the echo train. Regime (b)
takes every such value from outside the ranges of `training.heads.draw_recipe`, and voxels and tilt as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError

REGIMES = {"a": "as in training", "b": "shifted"}

#: Heads of the benchmark have seeds from here on, below all training seeds (`training.heads.FIRST_TRAINING_SEED`).
FIRST_SEED = 70_000

PROCEDURAL = "procedural"

_SHIFT_TIMES_S = (0.0025, 0.0055, 0.0085, 0.0115, 0.0145, 0.0175)


@dataclass(frozen=True)
class Conditions:
    """What makes one case besides its anatomy. Rates in s⁻¹, relaxivities in s⁻¹/ppm, voxels (z, y, x) in mm.

    ``stated_dr`` is the one constant that the methods are told; ``r2_bias`` the relative error of the R2 map;
    ``lesion_spread`` the relative range of the values of a lesion type.
    """

    regime: str
    seed: int
    spacing_mm: tuple[float, float, float]
    tilt_deg: float
    dr_para: float
    dr_dia: float
    stated_dr: float
    echo_times_s: tuple[float, ...]
    snr: float
    r2_noise_hz: float
    r2_bias: float
    lesions: int
    lesion_spread: float
    texture: float
    value_spread: float
    partial_volume: float

    def to_dict(self) -> dict[str, Any]:
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}


def draw_conditions(regime: str, number: int, *, lesions: int = 60, spacing_mm: float = 1.0) -> Conditions:
    """Conditions of case ``number`` of a regime: same number, same conditions.

    Parameters
    ----------
    spacing_mm
        Of regime (a), and in plane of (b), whose slices are twice as thick.

    Raises
    ------
    InputError
        If there is no such regime.
    """
    if regime not in REGIMES:
        raise InputError(f"There is no regime {regime!r}.", f"Choose {' or '.join(REGIMES)}.")
    generator = np.random.default_rng([number, 61, ord(regime)])
    sign = generator.choice((-1.0, 1.0), 3)
    size = float(spacing_mm)
    common = {"regime": regime, "seed": FIRST_SEED + number, "lesions": lesions}
    if regime == "a":
        mean, asymmetry = generator.uniform(100, 160), 0.1 * generator.uniform(-1, 1)
        return Conditions(
            **common,
            spacing_mm=(size, size, size),
            tilt_deg=0.0,
            dr_para=mean * (1 + asymmetry),
            dr_dia=mean * (1 - asymmetry),
            stated_dr=mean * generator.uniform(0.95, 1.05),
            echo_times_s=(0.005, 0.011, 0.017, 0.023, 0.029),
            snr=generator.uniform(60, 150),
            r2_noise_hz=generator.uniform(0.3, 1.5),
            r2_bias=generator.uniform(-0.08, 0.08),
            lesion_spread=0.2,
            texture=generator.uniform(0.04, 0.12),
            value_spread=0.15,
            partial_volume=generator.uniform(0.35, 0.6),
        )
    # Training: mean 100 to 160, Dr_para/Dr_dia 0.82 to 1.22, stated Dr up to 5 % off, R2 up to 8 % off.
    mean = float(generator.choice((generator.uniform(80, 95), generator.uniform(168, 190))))
    asymmetry = sign[0] * generator.uniform(0.13, 0.18)
    return Conditions(
        **common,
        spacing_mm=(2 * size, size, size),
        tilt_deg=float(sign[1] * generator.uniform(18, 25)),
        dr_para=mean * (1 + asymmetry),
        dr_dia=mean * (1 - asymmetry),
        stated_dr=mean * (1 + sign[2] * generator.uniform(0.07, 0.12)),
        echo_times_s=_SHIFT_TIMES_S,
        snr=generator.uniform(40, 50),
        r2_noise_hz=generator.uniform(1.6, 2.2),
        r2_bias=-generator.uniform(0.12, 0.2),
        lesion_spread=0.5,
        texture=0.14,
        value_spread=0.25,
        partial_volume=0.7,
    )
