"""What a method makes of each MS lesion: error of its sources, its rim, and its category by a fixed rule.

The rule is the codebook's with numbers: contrast of a lesion's median against the median of white matter 1 to 3 mm
around it, and the rim's mean against the core's. It is applied to the true maps as well, so that a category is right
when the method leads to the same reading as the truth would. The limits are a design choice.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from ..lesions.components import lesions_from_labels
from ..lesions.measures import measure_lesions
from ..lesions.statistics import MapStatistics
from ..phantom.ms_lesions import LesionType
from ..phantom.tissues import WHITE_MATTER_LABELS, Label
from ..quality.region_metrics import lesion_errors
from .cases import Case
from .methods import Maps

#: Contrast against the shell from which a source counts as raised or reduced, ppm.
CONTRAST_PPM = 0.006

#: Rim against core from which an edge counts as a rim, ppm; and the share of the perimeter that must have it.
RIM_PPM, RIM_ARC = 0.010, 2 / 3

#: Lesions less than this in the map's mask are left out.
_COVERAGE = 0.9

#: Rim lesions from this diameter on are those that the project's aim speaks of, mm.
LARGE_RIM_MM = 8.0


@dataclass(frozen=True)
class LesionScore:
    """One lesion under one method. Errors in ppb; ``rim_core_ppb`` NaN where it is too small for rim and core."""

    number: int
    kind: str
    diameter_mm: float
    bias_para_ppb: float
    bias_dia_ppb: float
    mae_para_ppb: float
    mae_dia_ppb: float
    rim_recovery: float
    rim_core_ppb: float
    rim: bool
    category: str
    true_category: str


def score_lesions(case: Case, maps: Maps, mask: np.ndarray) -> list[dict]:
    """Rows (`LesionScore` as dict) of all lesions that lie in the mask."""
    inside = mask & case.brain
    if not (case.lesion_labels[inside] > 0).any():
        return []
    numbers = [int(n) for n in np.unique(case.lesion_labels) if n]
    lesions = lesions_from_labels(case.lesion_labels, case.grid, uids={n: f"lesion-{n}" for n in numbers})
    named = {"para": maps[0], "dia": maps[1], "true_para": case.chi_para, "true_dia": case.chi_dia}
    measures = measure_lesions(
        lesions,
        named,
        inside,
        white_matter=np.isin(case.labels, WHITE_MATTER_LABELS),
        vessels=case.labels == Label.VEIN,
    )
    rim = case.labels == Label.LESION_RIM
    errors = {
        key: {e.number: e for e in lesion_errors(x, t, case.lesion_labels, rim, inside)}
        for key, x, t in (("para", maps[0], case.chi_para), ("dia", maps[1], case.chi_dia))
    }
    rows = []
    for lesion, row in zip(lesions.lesions, measures):
        if row.coverage < _COVERAGE or row.reference == "none":
            continue
        para, dia = errors["para"][lesion.label], errors["dia"][lesion.label]
        kind = int(case.lesion_types[case.lesion_labels == lesion.label].max())
        rows.append(
            asdict(
                LesionScore(
                    number=lesion.label,
                    kind=LesionType(kind).name.lower(),
                    diameter_mm=float(lesion.max_diameter_mm),
                    bias_para_ppb=1000 * para.bias,
                    bias_dia_ppb=1000 * dia.bias,
                    mae_para_ppb=1000 * para.mean_absolute_error,
                    mae_dia_ppb=1000 * dia.mean_absolute_error,
                    rim_recovery=para.rim_recovery,
                    rim_core_ppb=1000 * row.maps["para"].rim_core,
                    rim=kind == LesionType.IRON_RIM,
                    category=category(row.maps["para"], row.maps["dia"]),
                    true_category=category(row.maps["true_para"], row.maps["true_dia"]),
                )
            )
        )
    return rows


def category(para: MapStatistics, dia: MapStatistics) -> str:
    """Reading of a lesion by the fixed rule: "rim", "hyper", "iso" or "hypo" of iron, and "…" of myelin."""
    has_rim = para.rim_core > RIM_PPM and para.rim_arc >= RIM_ARC
    return f"{'rim' if has_rim else _level(para.contrast)}/{_level(dia.contrast)}"


def _level(contrast: float) -> str:
    if contrast > CONTRAST_PPM:
        return "hyper"
    return "hypo" if contrast < -CONTRAST_PPM else "iso"


def area_under_curve(positive: list[float], negative: list[float]) -> float:
    """Share of pairs in which the positive one scores higher, ties half: the area under the ROC curve."""
    if not positive or not negative:
        return math.nan
    difference = np.subtract.outer(np.asarray(positive), np.asarray(negative))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def sensitivity_at(positive: list[float], negative: list[float], false_share: float = 0.05) -> float:
    """Share of the positives above the limit that at most ``false_share`` of the negatives exceed."""
    if not positive or not negative:
        return math.nan
    allowed = int(false_share * len(negative))
    limit = np.sort(negative)[::-1][allowed]
    return float(np.mean(np.asarray(positive) > limit))
