"""Checks of finished maps: unit, sign, swapped sources, mirrored axes, consistency, plausible values.

No segmentation is needed. Three things hold in every brain and hang on nothing that is checked here: what decays
fastest is rich in iron; iron has a heavier tail than myelin (pallidum and veins reach 100 ppb and more, tracts 60);
and the field that the maps make by themselves is the field that was measured.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from ..acquisition.gradient_echo import GradientEchoSeries
from ..dipole import dipole_field
from ..geometry import Grid
from ..preprocessing.brain_mask import block_mean
from ..preprocessing.sphere_filter import depth_mm
from ..preprocessing.unwrapping import bounding_box
from ..preprocessing.vendor_repair import find_phase_sign
from .gate_rows import AMBER, GREEN, RED, Gate, GateRow
from .plausibility import plausibility_rows
from .quick_look import COARSE_MM

#: Maps are judged this far from the mask's edge: what background removal left lies nearer.
DEEP_MM = 8.0

_AXES = ("z", "y", "x")
_PHASE = "Sign of the phase"


@dataclass(frozen=True, eq=False)
class CheckedMaps:
    """The maps to check, all (z, y, x) on ``grid``; None is not there.

    Parameters
    ----------
    chi_para, chi_dia
        In what should be ppm, ≥ 0.
    chi_total
        A map that claims to be chi_para - chi_dia.
    qsm
        Total susceptibility of a dipole inversion.
    qsm_is_input
        True if the sources were made from ``qsm`` voxel by voxel, so that their difference must equal it.
    magnitude, echo_times_s
        The scan: (echo, z, y, x) and seconds.
    white_matter
        bool; None takes deep voxels of medium decay and high signal, of which 70 to 80 % are white matter.
    """

    chi_para: np.ndarray
    chi_dia: np.ndarray
    mask: np.ndarray
    grid: Grid
    chi_total: np.ndarray | None = None
    qsm: np.ndarray | None = None
    qsm_is_input: bool = False
    local_field_ppm: np.ndarray | None = None
    r2star_hz: np.ndarray | None = None
    r2prime_hz: np.ndarray | None = None
    r2prime_is_measured: bool | None = None
    magnitude: np.ndarray | None = None
    echo_times_s: np.ndarray | None = None
    series_grid: Grid | None = None
    white_matter: np.ndarray | None = None


def check_maps(maps: CheckedMaps) -> Gate:
    """All checks that the maps at hand allow; nothing is changed or converted."""
    broken = _values(maps)
    rows = [broken, _unit(maps)]
    if not np.isfinite(maps.chi_para).all() or not np.isfinite(maps.chi_dia).all() or not maps.mask.any():
        return Gate(tuple(rows))
    coarse = _coarse(maps)
    deep = depth_mm(coarse.mask, coarse.grid.spacing_mm) > DEEP_MM
    if np.count_nonzero(deep) < 1000:
        deep = coarse.mask
    made = _Field.of(coarse, deep)
    rows += [_phase_sign(coarse), _sources(coarse, deep, made), _side(maps, coarse, deep, made), _scale(made)]
    rows += [_consistency(maps), _r2prime(maps), *plausibility_rows(maps)]
    return Gate(tuple(row for row in rows if row is not None))


def check_result(result: Any, series: GradientEchoSeries | None = None) -> Gate:
    """`check_maps` of a run's `Result` and the scan it was made from (in its own orientation)."""
    findings = result.provenance.get("findings", {})
    method = findings.get("separation", {}).get("method", "")
    return check_maps(
        CheckedMaps(
            chi_para=result.chi_para,
            chi_dia=result.chi_dia,
            mask=np.asarray(result.mask, bool),
            grid=result.grid,
            qsm=result.qsm,
            qsm_is_input=method in ("closed-form", "r2star-qsm"),
            local_field_ppm=result.local_field_ppm,
            r2star_hz=result.r2star_hz,
            r2prime_hz=result.r2prime_hz if method != "r2star-qsm" else None,
            r2prime_is_measured=findings.get("r2prime", {}).get("measured"),
            magnitude=None if series is None else series.magnitude,
            echo_times_s=None if series is None else series.echo_times_s,
            series_grid=None if series is None else series.grid,
        )
    )


def _coarse(maps: CheckedMaps) -> CheckedMaps:
    """The maps around the mask, averaged over blocks of about 3 mm: sign and side show there as well, in a second."""
    # Symmetric about the middle of the image, about which a mirrored map is mirrored.
    cut = [max(min(part.start, n - part.stop) - 3, 0) for part, n in zip(bounding_box(maps.mask), maps.grid.shape)]
    box = tuple(slice(c, n - c) for c, n in zip(cut, maps.grid.shape))
    size = [part.stop - part.start for part in box]
    factors = tuple(int(np.clip(round(COARSE_MM / s), 1, max(1, n // 8))) for s, n in zip(maps.grid.spacing_mm, size))
    matrix = maps.grid.ijk_to_ras.copy()
    matrix[:3, 3] = maps.grid.index_to_ras(np.array([part.start + (f - 1) / 2 for part, f in zip(box, factors)]))
    matrix[:3, :3] = matrix[:3, :3] * np.array(factors[::-1])

    def mean(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else block_mean(np.asarray(array[box], np.float32), factors)

    ends = None
    if maps.magnitude is not None and len(maps.magnitude) > 1:
        ends = np.stack([mean(maps.magnitude[0]), mean(maps.magnitude[-1])])
    mask = mean(np.where(maps.mask, 1, 0)) > 0.999
    return replace(
        maps,
        grid=Grid(mask.shape, matrix),
        mask=mask if mask.any() else mean(maps.mask) > 0,
        magnitude=ends,
        **{name: mean(getattr(maps, name)) for name in ("chi_para", "chi_dia", "local_field_ppm", "r2star_hz")},
        **dict.fromkeys(("chi_total", "qsm", "r2prime_hz", "white_matter")),
    )


def _values(maps: CheckedMaps) -> GateRow:
    key, title = "values", "Values of χ_para and χ_dia"
    both = (maps.chi_para, maps.chi_dia)
    wrong = sum(int(np.count_nonzero(~np.isfinite(array))) for array in both)
    if wrong:
        return GateRow(key, title, RED, f"{wrong} voxels", "Values that are not numbers (NaN or infinite).")
    negative = [float(np.mean(array[maps.mask] < 0)) if maps.mask.any() else 0.0 for array in both]
    if max(negative) > 0:
        name = "χ_para" if negative[0] >= negative[1] else "χ_dia"
        reason = f"{name} holds negative values. Both sources are magnitudes; is this map stored with the other sign?"
        return GateRow(key, title, RED, f"{100 * max(negative):.1f} % negative", reason)
    if not maps.mask.any() or not both[0][maps.mask].any() or not both[1][maps.mask].any():
        return GateRow(key, title, RED, "all zero", "A map or its mask is empty.")
    return GateRow(key, title, GREEN, "all ≥ 0", "Both maps are magnitudes without gaps.")


def _unit(maps: CheckedMaps) -> GateRow:
    key, title = "unit", "Unit of χ"
    values = np.abs(np.concatenate([np.nan_to_num(m[maps.mask]) for m in (maps.chi_para, maps.chi_dia)]))
    top = float(np.percentile(values, 99)) if values.size else 0.0
    value = f"99th percentile {top:.3g}"
    if 0.005 <= top < 1:
        return GateRow(key, title, GREEN, value, "The values are those of a brain in ppm.")
    if top > 5:
        return GateRow(key, title, RED, value, "The values look like ppb; ppm are expected. Nothing was converted.")
    if top < 0.005:
        return GateRow(key, title, RED, value, "The values are far too small for ppm. Nothing was converted.")
    return GateRow(key, title, RED, value, "The values fit neither ppm nor ppb. Nothing was converted.")


def _phase_sign(maps: CheckedMaps) -> GateRow | None:
    if maps.local_field_ppm is None or maps.r2star_hz is None:
        return None
    rates = maps.r2star_hz[maps.mask]
    if np.percentile(rates, 98) <= rates.min():
        return GateRow("phase-sign", _PHASE, AMBER, "not tested", "R2* is the same everywhere.")
    found = find_phase_sign(maps.local_field_ppm, maps.r2star_hz, maps.mask, maps.grid)
    value = f"contrast of fast decay {found.contrast:+.2f} SD"
    if found.inverted is None:
        return GateRow("phase-sign", _PHASE, AMBER, value, "The data do not tell whether the phase has the right sign.")
    if found.inverted:
        reason = "Tissue that decays fastest, which is iron-rich, lies in a diamagnetic field: the phase is inverted."
        return GateRow("phase-sign", _PHASE, RED, value, reason, "invert-phase")
    return GateRow("phase-sign", _PHASE, GREEN, value, "Tissue that decays fastest is paramagnetic.")


@dataclass(frozen=True, eq=False)
class _Field:
    """The field that the maps make, against the one that was measured, for the maps as they are and mirrored."""

    correlation: float
    slope: float
    best_flip: tuple[int, ...]
    best: float

    @classmethod
    def of(cls, maps: CheckedMaps, deep: np.ndarray) -> _Field | None:
        if maps.local_field_ppm is None or not np.any(maps.local_field_ppm[deep]):
            return None
        total = np.where(maps.mask, maps.chi_para - maps.chi_dia, 0).astype(np.float32)
        total[maps.mask] -= total[maps.mask].mean()
        measured = _detail(maps.local_field_ppm, maps)
        padding = tuple(n // 2 for n in maps.grid.shape)
        scores = {}
        for axes in ((), *_flips()):
            scores[axes] = _correlation_slope(
                _detail(dipole_field(np.flip(total, axes), maps.grid, padding), maps), measured, deep
            )
        correlation, slope = scores.pop(())
        best = max(scores, key=lambda axes: abs(scores[axes][0]))
        return cls(correlation, slope, best, scores[best][0])


def _flips() -> list[tuple[int, ...]]:
    return [axes for count in (1, 2, 3) for axes in itertools.combinations(range(3), count)]


def _detail(values: np.ndarray, maps: CheckedMaps) -> np.ndarray:
    """What is finer than about 15 mm: background removal and references change the rest."""
    values = np.where(maps.mask, values, 0).astype(np.float32)
    return values - gaussian_filter(values, [6.0 / s for s in maps.grid.spacing_mm], truncate=2.5)


def _correlation_slope(x: np.ndarray, y: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    a, b = x[where].astype(np.float64), y[where].astype(np.float64)
    a -= a.mean()
    b -= b.mean()
    aa, bb, ab = float(a @ a), float(b @ b), float(a @ b)
    if aa <= 0 or bb <= 0:
        return 0.0, 0.0
    return ab / np.sqrt(aa * bb), ab / aa


def _sources(maps: CheckedMaps, deep: np.ndarray, made: _Field | None) -> GateRow:
    """χ_para must lead in iron, χ_dia elsewhere; swapped maps or a swapped sign turn all three tests round."""
    key, title = "sources", "χ_para and χ_dia"
    para, dia = maps.chi_para[deep], maps.chi_dia[deep]
    tail = float(np.percentile(para, 99.5)) / max(float(np.percentile(dia, 99.5)), 1e-9)
    votes, told = [np.sign(np.log(max(tail, 1e-9)))], [f"tail of χ_para over χ_dia {tail:.2f}"]
    if maps.r2star_hz is not None:
        rate = maps.r2star_hz[deep]
        fast = rate >= np.percentile(rate, 98)
        if fast.any() and not fast.all():
            lead = float(np.mean(para[fast] - dia[fast]) - np.mean(para[~fast] - dia[~fast])) * 1e3
            votes.append(np.sign(lead))
            told.append(f"lead of χ_para where decay is fast {lead:+.0f} ppb")
    if made is not None and abs(made.correlation) > 0.3:
        votes += [np.sign(made.correlation)] * 2  # the field is measured, the others are rules of thumb
        told.append(f"field of the maps against the measured field {made.correlation:+.2f}")
    value = ", ".join(told)
    if sum(votes) < 0:
        reason = "Iron comes out in χ_dia: the two maps are swapped, or the sign of the phase is wrong."
        return GateRow(key, title, RED, value, reason)
    if min(votes) < 0 or tail < 1.1:
        return GateRow(key, title, AMBER, value, "The two sources do not stand apart as they do in a brain.")
    return GateRow(key, title, GREEN, value, "χ_para leads in iron, χ_dia elsewhere.")


def _side(maps: CheckedMaps, coarse: CheckedMaps, deep: np.ndarray, made: _Field | None) -> GateRow | None:
    """Whether the maps lie as the scan does, or mirrored."""
    key, title = "side", "Left and right, up and down"
    if maps.series_grid is not None and not maps.grid.matches(maps.series_grid):
        reason = f"The maps lie on {maps.grid.describe()}, the scan on {maps.series_grid.describe()}."
        return GateRow(key, title, RED, "another grid", reason)
    scores = []  # what it was compared with, as it is, best mirrored, how
    if made is not None:
        scores.append(("field", abs(made.correlation), abs(made.best), made.best_flip))
    if coarse.magnitude is not None and maps.echo_times_s is not None:
        scores.append(("decay", *_decay_match(coarse, deep)))
    if not scores:
        return None
    value = ", ".join(f"match with the {name} {own:.2f}, mirrored {best:.2f}" for name, own, best, _ in scores)
    for name, own, best, axes in scores:
        if best > max(own, 0.2):
            names = " and ".join(_AXES[axis] for axis in axes)
            reason = f"The maps fit the {name} of the scan better when they are mirrored along {names} of the array."
            return GateRow(key, title, RED, value, reason)
    lowest = min(own for _, own, _, _ in scores)
    if lowest < 0.3:  # 0.5 and more on simulated heads; noise lowers it, another scan brings it to 0
        color = RED if lowest < 0.15 else AMBER
        return GateRow(key, title, color, value, "The maps do not fit the scan that they should come from.")
    return GateRow(key, title, GREEN, value, "The maps lie as the scan does.")


def _decay_match(maps: CheckedMaps, deep: np.ndarray) -> tuple[float, float, tuple[int, ...]]:
    """Correlation of R2* (or χ_para + χ_dia) with the decay between first and last echo: own, best mirrored, how."""
    times = np.asarray(maps.echo_times_s, np.float64)
    first, last = (np.maximum(maps.magnitude[n], 1e-6) for n in (0, -1))
    decay = _detail(np.clip(np.log(first / last) / np.float32(times[-1] - times[0]), 0, 200), maps)
    rates = [maps.chi_para + maps.chi_dia] + ([] if maps.r2star_hz is None else [maps.r2star_hz])
    worst = (2.0, 0.0, ())
    for rate in rates:
        own = _correlation_slope(_detail(rate, maps), decay, deep)[0]
        flips = {
            axes: _correlation_slope(_detail(np.flip(np.where(maps.mask, rate, 0), axes), maps), decay, deep)[0]
            for axes in _flips()
        }
        best = max(flips, key=flips.get)
        if own - flips[best] < worst[0] - worst[1]:
            worst = (own, flips[best], best)
    return worst


def _scale(made: _Field | None) -> GateRow | None:
    """Whether the field of the maps has the size of the measured one: a wrong unit of either shows here."""
    if made is None:
        return None
    key, title, value = "scale", "Size of the field that the maps make", f"measured over made {abs(made.slope):.2f}"
    if 0.5 <= abs(made.slope) <= 1.6:
        return GateRow(key, title, GREEN, value, "The maps explain the size of the measured field.")
    if 0.25 <= abs(made.slope) <= 3:
        return GateRow(key, title, AMBER, value, "The maps are too strong or too weak for the measured field.")
    reason = "The maps do not have the size of the measured field: a unit or the field strength is wrong."
    return GateRow(key, title, RED, value, reason)


def _consistency(maps: CheckedMaps) -> GateRow | None:
    key, title = "consistency", "χ_para - χ_dia against χ_total"
    total = maps.chi_total if maps.chi_total is not None else maps.qsm
    if total is None:
        return None
    difference = 1e3 * (maps.chi_para - maps.chi_dia - total)[maps.mask]
    off = float(np.median(np.abs(difference)))
    shift = float(np.median(difference))
    spread = float(np.median(np.abs(difference - shift)))
    value = f"median difference {off:.1f} ppb"
    if off <= 5:
        return GateRow(key, title, GREEN, value, "The two sources add up to the total.")
    if maps.chi_total is None and not maps.qsm_is_input and spread <= 15:
        reason = f"Two solvers differ: reference {shift:+.1f} ppb, the rest {spread:.1f} ppb."
        return GateRow(key, title, AMBER, value, reason)
    return GateRow(key, title, RED, value, "The two sources do not add up to the total within 5 ppb.")


def _r2prime(maps: CheckedMaps) -> GateRow | None:
    if maps.r2prime_hz is None:
        return None
    key, title = "r2prime-zero", "Share of R2′ = 0"
    share = float(np.mean(maps.r2prime_hz[maps.mask] <= 0))
    value = f"{100 * share:.0f} % of the mask"
    if share <= 0.15:
        return GateRow(key, title, GREEN, value, "R2 exceeds R2* in few voxels, as noise makes it.")
    if share <= 0.4:
        reason = "R2 exceeds R2* in many voxels: it is biased or not registered, and both sources are cut there."
        return GateRow(key, title, AMBER, value, reason)
    return GateRow(
        key, title, RED, value, "R2 exceeds R2* nearly everywhere: R2 is wrong or in another unit.", "give-r2"
    )
