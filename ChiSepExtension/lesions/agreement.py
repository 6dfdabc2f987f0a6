"""Agreement of two raters, or of one with himself, field by field, with intervals clustered by patient.

What is undefined is called so: with one category in use, kappa is neither 0 nor 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..notice import RESEARCH_USE
from .codebook import Field
from .coefficients import (
    Interval,
    clustered_bootstrap,
    cohen_kappa,
    confusion_matrix,
    gwet_ac1,
    icc_2_1,
    icc_interval,
    pabak,
    positive_negative_agreement,
    raw_agreement,
    wilson_interval,
)
from .rating_tables import RatedLesion, RatingTable

UNDEFINED = "undefined: both raters used one category"
NO_PAIRS = "undefined: no pair of ratings"
#: Below this number of pairs a kappa says little; the panel prints a remark.
FEW_PAIRS = 20


@dataclass(frozen=True)
class Coefficient:
    """A value in -1..1 with its 95 % interval; NaN if undefined."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True, eq=False)
class FieldAgreement:
    """Agreement in one field.

    Parameters
    ----------
    field
        Name in the codebook.
    with_na
        True if "na" counted as a category of its own; False if pairs with "na" were left out.
    labels
        Rows and columns of the matrix, in codebook order.
    matrix
        (k, k): first rater in rows.
    linear
        Weighted kappa of the pairs in which both codes are on the field's scale; None if it has none.
    positive, negative
        Agreement on the field's positive code and on its absence; NaN if undefined.
    """

    field: str
    with_na: bool
    labels: tuple[str, ...]
    matrix: np.ndarray
    n: int
    agreed: int
    raw_interval: tuple[float, float]
    kappa: Coefficient
    linear: Coefficient | None
    linear_n: int
    pabak: float
    ac1: float
    positive_code: str
    positive: float
    negative: float

    @property
    def raw(self) -> float:
        return float(raw_agreement(self.matrix))


@dataclass(frozen=True, eq=False)
class Agreement:
    """All fields of a comparison, and what was left out."""

    rater_a: str
    rater_b: str
    codebook_version: str
    n_lesions: int
    n_patients: int
    excluded: int
    stale: int
    seed: int
    fields: tuple[FieldAgreement, ...]
    rim_count_icc: Coefficient | None
    remarks: tuple[str, ...]


def pairs_of(a: RatingTable, b: RatingTable) -> list[tuple[RatedLesion, RatedLesion]]:
    """First showings of both raters, matched by lesion UID in the order of UIDs.

    Raises
    ------
    InputError
        If codebooks differ, or the files are of different lesions.
    """
    if a.codebook.sha256 != b.codebook.sha256:
        raise InputError(
            f"The ratings use different codebooks: {_version(a)} and {_version(b)}.",
            "Compare ratings that were made with one codebook.",
        )
    first_a, first_b = a.first, b.first
    missing_b, missing_a = sorted(set(first_a) - set(first_b)), sorted(set(first_b) - set(first_a))
    if missing_a or missing_b:
        example = (missing_b or missing_a)[0]
        raise InputError(
            f"The ratings are of different lesions: {len(missing_b)} only in the first, {len(missing_a)} only in the "
            f"second file (such as {example}).",
            "Rate the same lesion list, completely, in both files.",
        )
    return [(first_a[uid], first_b[uid]) for uid in sorted(first_a)]


def compare(
    a: RatingTable, b: RatingTable, *, fields: Sequence[str] | None = None, seed: int = 0, resamples: int = 2000
) -> Agreement:
    """Agreement of two raters on the same lesions; row order does not matter."""
    return _agreement(pairs_of(a, b), a, a.rater, b.rater, fields, seed, resamples)


def compare_repeats(
    table: RatingTable, *, fields: Sequence[str] | None = None, seed: int = 0, resamples: int = 2000
) -> Agreement:
    """Agreement of a rater with himself on the hidden repeats."""
    first, repeated = table.first, table.repeated
    pairs = [(first[uid], repeated[uid]) for uid in sorted(repeated) if uid in first]
    return _agreement(pairs, table, table.rater, f"{table.rater} again", fields, seed, resamples)


def _agreement(pairs, table: RatingTable, rater_a, rater_b, names, seed, resamples) -> Agreement:
    used = [(x, y) for x, y in pairs if not x.rating.excluded and not y.rating.excluded]
    patients = sorted({x.patient for x, _ in used})
    stale = sum(x.stale or y.stale for x, y in used)
    remarks = []
    if len(patients) < 2:
        remarks.append("All lesions are of one patient: no interval of kappa can be given.")
    if stale:
        remarks.append(f"{stale} pairs have an outline that was changed after the rating.")
    result = []
    for field in table.codebook.fields:
        if names is not None and field.name not in names:
            continue
        rated = [(x, y) for x, y in used if field.name in x.rating.codes and field.name in y.rating.codes]
        one_sided = sum((field.name in x.rating.codes) != (field.name in y.rating.codes) for x, y in used)
        if not rated:
            continue
        if one_sided:
            remarks.append(f"{field.name}: {one_sided} lesions have a code from one rater only and are left out.")
        result += [
            _field(field, rated, patients, with_na, seed, resamples)
            for with_na in ((False, True) if "na" in field.order else (False,))
        ]
    return Agreement(
        rater_a=rater_a,
        rater_b=rater_b,
        codebook_version=table.codebook.version,
        n_lesions=len(used),
        n_patients=len(patients),
        excluded=len(pairs) - len(used),
        stale=stale,
        seed=seed,
        fields=tuple(result),
        rim_count_icc=_rim_counts(used, patients, seed, resamples),
        remarks=tuple(remarks),
    )


def _field(field: Field, rated, patients, with_na: bool, seed: int, resamples: int) -> FieldAgreement:
    labels = field.order if with_na else tuple(code for code in field.order if code != "na")
    by_patient = _matrices(field.name, rated, patients, labels)
    matrix = by_patient.sum(axis=0)
    linear, linear_n = None, 0
    if len(field.ordered) > 2:
        scale = _matrices(field.name, rated, patients, field.ordered)
        linear_n = int(scale.sum())
        linear = _coefficient(scale, lambda m: cohen_kappa(m, linear=True), seed, resamples)
    positive = negative = math.nan
    if field.positive:
        positive, negative = positive_negative_agreement(matrix, labels.index(field.positive))
    agreed, n = int(np.trace(matrix)), int(matrix.sum())
    return FieldAgreement(
        field=field.name,
        with_na=with_na,
        labels=tuple(labels),
        matrix=matrix,
        n=n,
        agreed=agreed,
        raw_interval=wilson_interval(agreed, n),
        kappa=_coefficient(by_patient, cohen_kappa, seed, resamples),
        linear=linear,
        linear_n=linear_n,
        pabak=float(pabak(matrix)),
        ac1=float(gwet_ac1(matrix)),
        positive_code=field.positive,
        positive=positive,
        negative=negative,
    )


def _matrices(name: str, rated, patients, labels) -> np.ndarray:
    """(patients, k, k) confusion matrices of the pairs in which both codes are among the labels."""
    place = {patient: n for n, patient in enumerate(patients)}
    codes: list[tuple[list[str], list[str]]] = [([], []) for _ in patients]
    for x, y in rated:
        code_x, code_y = x.rating.codes[name], y.rating.codes[name]
        if code_x in labels and code_y in labels:
            codes[place[x.patient]][0].append(code_x)
            codes[place[x.patient]][1].append(code_y)
    return np.stack([confusion_matrix(first, second, labels) for first, second in codes])


def _coefficient(by_patient: np.ndarray, statistic, seed: int, resamples: int) -> Coefficient:
    occupied = by_patient[by_patient.sum(axis=(1, 2)) > 0]
    value = float(statistic(by_patient.sum(axis=0)))
    if math.isnan(value):
        return Coefficient(value)
    return Coefficient(value, clustered_bootstrap(occupied, statistic, seed=seed, resamples=resamples))


def _rim_counts(used, patients, seed: int, resamples: int) -> Coefficient | None:
    """ICC(2,1) of the number of rim lesions per patient; None if nobody rated the field."""
    if not any("prl" in x.rating.codes or "prl" in y.rating.codes for x, y in used):
        return None
    place = {patient: n for n, patient in enumerate(patients)}
    table = np.zeros((len(patients), 2))
    for pair in used:
        for rater, row in enumerate(pair):
            table[place[row.patient], rater] += row.rating.codes.get("prl") == "yes"
    value = icc_2_1(table)
    return Coefficient(value, None if math.isnan(value) else icc_interval(table, seed=seed, resamples=resamples))


def agreement_text(agreement: Agreement) -> str:
    """The panel as plain text."""
    a = agreement
    lines = [
        RESEARCH_USE,
        f"Raters {a.rater_a} and {a.rater_b}, codebook {a.codebook_version}: {a.n_lesions} lesions of "
        f"{a.n_patients} patients, {a.excluded} excluded, {a.stale} stale.",
        f"Intervals 95 %: Wilson for raw agreement, bootstrap over patients for kappa and ICC (seed {a.seed}).",
    ]
    lines += [f"Remark: {remark}" for remark in a.remarks]
    for field in a.fields:
        lines += ["", *_field_lines(field)]
    if a.rim_count_icc is not None:
        value = _format(a.rim_count_icc, "undefined: no spread, or fewer than two patients")
        lines += ["", f"Rim lesions per patient: ICC(2,1) {value}"]
    return "\n".join(lines) + "\n"


def _field_lines(f: FieldAgreement) -> list[str]:
    lines = [f"{f.field} ({'na as a category' if f.with_na else 'without na'}), {f.n} pairs"]
    if f.n == 0:
        return [*lines, f"  {NO_PAIRS}"]
    if f.n < FEW_PAIRS:
        lines.append(f"  fewer than {FEW_PAIRS} pairs: the values say little")
    low, high = f.raw_interval
    lines.append(f"  identical {f.agreed}/{f.n}: {percent(f.raw, low, high)}")
    lines.append(f"  kappa {_format(f.kappa, UNDEFINED)}")
    if f.linear is not None:
        why = NO_PAIRS if f.linear_n == 0 else UNDEFINED
        lines.append(f"  kappa, linear weights, {f.linear_n} pairs on the scale {_format(f.linear, why)}")
    lines.append(f"  PABAK {_number(f.pabak)}, AC1 {_number(f.ac1)}")
    if f.positive_code:
        lines.append(f"  agreement on {f.positive_code} {_number(f.positive)}, on its absence {_number(f.negative)}")
    width = max(5, *(len(label) for label in f.labels))
    lines.append("  " + " ".join(text.rjust(width) for text in ("", *f.labels)))
    for label, row in zip(f.labels, f.matrix):
        lines.append("  " + " ".join(text.rjust(width) for text in (label, *(str(n) for n in row))))
    return lines


def percent(value: float, low: float, high: float) -> str:
    """
    >>> percent(0.996, 0.9777, 0.9993)
    '99.6 % [97.8–99.9]'
    """
    return f"{100 * value:.1f} % [{100 * low:.1f}–{100 * high:.1f}]"


def _format(c: Coefficient, undefined: str) -> str:
    if math.isnan(c.value):
        return undefined
    if c.interval is None or math.isnan(c.interval.low):
        return f"{c.value:.3f} [no interval]"
    note = f", undefined in {c.interval.undefined} of {c.interval.resamples} resamples" if c.interval.undefined else ""
    return f"{c.value:.3f} [{c.interval.low:.3f} to {c.interval.high:.3f}]{note}"


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def _version(table: RatingTable) -> str:
    return f"{table.codebook.name} {table.codebook.version} ({table.codebook.sha256[:8]})"
