"""Tissue labels of the head phantom and their magnetic, relaxation and spin-density values at 3 T, as data.

Codes 1 to 16 are those of the QSM reconstruction challenge 2.0, so that its regional scores apply; 17 and above are
ours. Susceptibilities in ppb: ``chi_para`` and ``chi_dia`` are magnitudes; tissues outside the brain have a total only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Label(IntEnum):
    """What a voxel is made of."""

    OUTSIDE = 0
    CAUDATE = 1
    PALLIDUM = 2
    PUTAMEN = 3
    RED_NUCLEUS = 4
    DENTATE = 5
    SUBSTANTIA_NIGRA = 6
    THALAMUS = 7
    WHITE_MATTER = 8
    CORTEX = 9
    CSF = 10
    VEIN = 11
    FAT = 12
    CORTICAL_BONE = 13
    AIR = 14
    MUSCLE = 15
    CALCIFICATION = 16
    SPONGY_BONE = 17
    SKIN = 18
    SUBTHALAMIC_NUCLEUS = 19
    CALLOSUM_GENU = 20
    CALLOSUM_BODY = 21
    CALLOSUM_SPLENIUM = 22
    CAPSULE_ANTERIOR = 23
    CAPSULE_POSTERIOR = 24
    PEDUNCLE = 25
    SAGITTAL_STRATUM = 26
    BRAIN_STEM = 27
    CEREBELLAR_WHITE_MATTER = 28
    CEREBELLAR_CORTEX = 29
    PULVINAR = 30
    ACCUMBENS = 31
    HIPPOCAMPUS = 32
    DURA = 33
    EYE = 34
    MUCOSA = 35
    CHOROID_PLEXUS = 36
    MS_LESION = 40
    LESION_RIM = 41


#: Deep grey matter whose label means make the slope of `quality.metrics.deep_grey_slope`.
DEEP_GREY = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Tissue:
    """Mean values of one tissue at 3 T; times in ms, susceptibility in ppb, proton density relative to water."""

    chi_para_ppb: float
    chi_dia_ppb: float
    t2_ms: float
    t1_ms: float
    proton_density: float
    source: str
    chi_outside_ppb: float | None = None  # total susceptibility of a tissue that is not brain

    @property
    def chi_total_ppb(self) -> float:
        if self.chi_outside_ppb is not None:
            return self.chi_outside_ppb
        return self.chi_para_ppb - self.chi_dia_ppb


def venous_chi_ppm(hematocrit: float = 0.42, oxygenation: float = 0.62) -> float:
    """Susceptibility of venous blood against tissue in ppm: 4π·Hct·(0.273·(1 − Y) − 0.008), 0.50 by default.

    Jain et al., Magn Reson Med 2012;68:863 (0.27 ppm cgs) with Hct 0.42, Y 0.62.
    """
    return 4 * math.pi * hematocrit * (0.273 * (1 - oxygenation) - 0.008)


_MIN = "chi: Min 2024 NMR Biomed e5226 (106 healthy); T2: Kumar 2011/2012; T1, PD: usual 3 T values"
_RIDANI = "chi: NeuroPoly phantom (MIT), Ridani 2026; T2: Kumar 2011/2012; T1, PD: usual 3 T values"
_MIX = "chi: mean of Min 2024 and the NeuroPoly phantom, which disagree; T2: Kumar 2011/2012; T1, PD: usual 3 T values"
_OWN = "design choice"
_HEAD = "chi: Buch 2015 MRM 73:2185 and design choice; relaxation: order of magnitude"

TISSUES: dict[Label, Tissue] = {
    Label.OUTSIDE: Tissue(0, 0, 1, 1000, 0.0, "chi of air against water", 9400),
    Label.AIR: Tissue(0, 0, 1, 1000, 0.0, "chi of air against water", 9400),
    Label.CAUDATE: Tissue(50, 8.5, 88, 1350, 0.81, _MIX),
    Label.PALLIDUM: Tissue(138, 13, 64, 1050, 0.74, _MIX),
    Label.PUTAMEN: Tissue(62, 9.5, 78, 1250, 0.81, _MIX),
    Label.RED_NUCLEUS: Tissue(111, 10.5, 68, 1000, 0.74, _MIX),
    Label.DENTATE: Tissue(150, 16, 95, 1050, 0.76, _RIDANI),
    Label.SUBSTANTIA_NIGRA: Tissue(119, 11, 73, 1100, 0.76, _MIX),
    Label.SUBTHALAMIC_NUCLEUS: Tissue(112, 15, 73, 1100, 0.76, _MIN),
    Label.THALAMUS: Tissue(35, 25, 87, 1200, 0.77, _MIX),
    Label.PULVINAR: Tissue(52, 8, 87, 1200, 0.77, _MIN),
    Label.ACCUMBENS: Tissue(45, 23, 85, 1300, 0.81, _MIN),
    Label.WHITE_MATTER: Tissue(15, 31, 70, 850, 0.70, _MIX),
    Label.CORTEX: Tissue(39, 19, 100, 1400, 0.82, "chi: NeuroPoly phantom (MIT); T2 without CSF"),
    Label.HIPPOCAMPUS: Tissue(33, 17, 100, 1400, 0.83, _OWN),
    Label.CALLOSUM_GENU: Tissue(13, 36, 70, 850, 0.70, _MIX),
    Label.CALLOSUM_BODY: Tissue(12, 39, 70, 850, 0.70, _MIX),
    Label.CALLOSUM_SPLENIUM: Tissue(14, 41, 70, 850, 0.70, _MIX),
    Label.CAPSULE_ANTERIOR: Tissue(13, 37, 72, 870, 0.70, _MIX),
    Label.CAPSULE_POSTERIOR: Tissue(8, 47, 72, 870, 0.70, _MIX),
    Label.PEDUNCLE: Tissue(20, 44, 72, 880, 0.70, _MIN),
    Label.SAGITTAL_STRATUM: Tissue(15, 38, 69, 850, 0.70, _MIX),
    Label.BRAIN_STEM: Tissue(18, 28, 75, 950, 0.73, _OWN),
    Label.CEREBELLAR_WHITE_MATTER: Tissue(14, 28, 73, 900, 0.71, _OWN),
    Label.CEREBELLAR_CORTEX: Tissue(30, 15, 95, 1350, 0.82, _OWN),
    Label.CSF: Tissue(0, 0, 1500, 4300, 1.0, "reference of susceptibility"),
    Label.CHOROID_PLEXUS: Tissue(20, 5, 150, 1800, 0.85, _OWN),
    Label.VEIN: Tissue(1000 * venous_chi_ppm(), 0, 30, 1600, 0.80, "Jain 2012; R2 25-40 per s"),
    Label.CALCIFICATION: Tissue(0, 350, 50, 900, 0.45, _OWN),
    Label.DURA: Tissue(0, 0, 15, 900, 0.45, _OWN, 0),
    Label.FAT: Tissue(0, 0, 80, 380, 0.90, _HEAD, 600),
    Label.MUSCLE: Tissue(0, 0, 40, 1200, 0.75, _HEAD, 0),
    Label.SKIN: Tissue(0, 0, 30, 900, 0.65, _HEAD, 0),
    Label.MUCOSA: Tissue(0, 0, 60, 1300, 0.80, _HEAD, 0),
    Label.EYE: Tissue(0, 0, 800, 3800, 0.98, _HEAD, 0),
    Label.CORTICAL_BONE: Tissue(0, 0, 0.5, 300, 0.12, _HEAD, -2100),
    Label.SPONGY_BONE: Tissue(0, 0, 50, 400, 0.50, _HEAD, -1000),
    # Lesions get their values per type from `ms_lesions`; these two rows serve label-only readers.
    Label.MS_LESION: Tissue(15, 14, 105, 1150, 0.80, _OWN),
    Label.LESION_RIM: Tissue(48, 12, 85, 1050, 0.77, _OWN),
}

#: chi of air against water, in ppm.
CHI_AIR_PPM = TISSUES[Label.AIR].chi_total_ppb / 1000

#: Labels that make up white matter outside lesions.
WHITE_MATTER_LABELS = (8, 20, 21, 22, 23, 24, 25, 26, 28)

#: Labels whose values get smooth texture: parenchyma, neither fluid nor blood.
PARENCHYMA_LABELS = tuple(
    sorted(
        int(label)
        for label, tissue in TISSUES.items()
        if tissue.chi_outside_ppb is None and label not in (Label.CSF, Label.VEIN, Label.CALCIFICATION)
    )
)


def lookup(attribute: str) -> np.ndarray:
    """(256,) float32 table from label to ``attribute`` of `Tissue`; unused codes hold 0."""
    table = np.zeros(256, np.float32)
    for label, tissue in TISSUES.items():
        table[int(label)] = getattr(tissue, attribute)
    return table


def label_names() -> dict[int, str]:
    """Label code to a readable name, for colour tables and sidecars."""
    return {int(label): label.name.replace("_", " ").lower() for label in Label}
