"""Coded concepts of the exported objects: standard ones where DICOM has them, else private ones of 99CHISEP.

Standard codes are those of PS3.16: 126396 and 126395 stand in CID 7180 and 7469, the units in CID 7181 (which writes
parts per million as "ppm").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

#: Designator of our own codes; DICOM reserves the prefix 99 for private schemes.
PRIVATE = "99CHISEP"
PRIVATE_NAME = "ChiSepExtension susceptibility source separation"


class Concept(NamedTuple):
    """A coded concept: value, scheme designator, meaning, version of the scheme (private codes of a codebook)."""

    value: str
    scheme: str
    meaning: str
    version: str | None = None


MAGNETIC_SUSCEPTIBILITY = Concept("126396", "DCM", "Magnetic Susceptibility")
R2STAR = Concept("126395", "DCM", "R2*")
R2PRIME = Concept("r2prime", PRIVATE, "R2'")

PPM = Concept("ppm", "UCUM", "ppm")
PER_SECOND = Concept("/s", "UCUM", "/s")
NO_UNITS = Concept("1", "UCUM", "no units")
CUBIC_MILLIMETER = Concept("mm3", "UCUM", "cubic millimeter")
MILLIMETER = Concept("mm", "UCUM", "mm")

MEASUREMENT_METHOD = Concept("370129005", "SCT", "Measurement Method")
BRAIN = Concept("12738006", "SCT", "Brain")
LESION = Concept("52988006", "SCT", "Lesion")
ABNORMAL_STRUCTURE = Concept("49755003", "SCT", "Morphologically Abnormal Structure")
BRAIN_MRI = Concept("24590-2", "LN", "Brain MRI")
COMMENT = Concept("121106", "DCM", "Comment")
VOLUME = Concept("118565006", "SCT", "Volume")
DIAMETER = Concept("81827009", "SCT", "Diameter")
MAXIMUM = Concept("56851009", "SCT", "Maximum")
COVERAGE = Concept("coverage", PRIVATE, "Fraction of the lesion inside the mask of the maps")

#: How a statistic of a lesion was derived, by its name in `lesions.statistics.MapStatistics`.
STATISTICS = {
    "mean": Concept("373098007", "SCT", "Mean"),
    "sd": Concept("386136009", "SCT", "Standard Deviation"),
    "median": Concept("373099004", "SCT", "Median"),
    "contrast": Concept("contrast", PRIVATE, "Median of lesion minus median of reference region"),
    "rim_core": Concept("rim_core", PRIVATE, "Mean of rim minus mean of core"),
}


@dataclass(frozen=True)
class MapCodes:
    """What a map is in DICOM.

    ``method`` tells maps of the same quantity apart; ``window`` is (lower, upper) in the unit of the map.
    """

    quantity: Concept
    unit: Concept
    method: Concept
    label: str
    window: tuple[float, float]


def _susceptibility(name: str, meaning: str, label: str, window: tuple[float, float]) -> MapCodes:
    return MapCodes(MAGNETIC_SUSCEPTIBILITY, PPM, Concept(name, PRIVATE, meaning), label, window)


#: Maps that can be exported, by the names of `lesions.measure_tables.SHOWN_MAPS`. Windows are the survey presets.
MAPS = {
    "chi_para": _susceptibility("chi_para", "Paramagnetic source susceptibility", "CHI_PARA", (0.0, 0.1)),
    "chi_dia": _susceptibility("chi_dia", "Diamagnetic source susceptibility, magnitude", "CHI_DIA", (0.0, 0.1)),
    "chi_total": _susceptibility("chi_total", "Total susceptibility", "CHI_TOTAL", (-0.1, 0.1)),
    "qsm": _susceptibility("qsm", "Total susceptibility by dipole inversion", "QSM", (-0.1, 0.1)),
    "r2star": MapCodes(
        R2STAR, PER_SECOND, Concept("r2star", PRIVATE, "Effective transverse relaxation rate"), "R2STAR", (0.0, 50.0)
    ),
    "r2prime": MapCodes(
        R2PRIME,
        PER_SECOND,
        Concept("r2prime", PRIVATE, "Reversible transverse relaxation rate"),
        "R2PRIME",
        (0.0, 50.0),
    ),
}


def coded(concept: Concept):
    """The concept as a highdicom object; values beyond 16 characters go into LongCodeValue."""
    from highdicom.sr import CodedConcept

    return CodedConcept(*concept)


def private_scheme():
    """What an object says about the scheme of our own codes."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(PRIVATE, name=PRIVATE_NAME, responsible_organization="ChiSepExtension")
