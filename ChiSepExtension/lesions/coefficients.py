"""Coefficients of agreement from a confusion matrix or a table of counts; NaN where one is not defined.

Sources: Cohen, Educ Psychol Meas 1960;20:37 and Psychol Bull 1968;70:213 (weights); Byrt et al., J Clin Epidemiol
1993;46:423 (PABAK); Gwet, Br J Math Stat Psychol 2008;61:29 (AC1); Feinstein and Cicchetti, J Clin Epidemiol
1990;43:551 (positive and negative agreement); Shrout and Fleiss, Psychol Bull 1979;86:420 (ICC); Wilson, J Am Stat
Assoc 1927;22:209.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


def confusion_matrix(a: Sequence[str], b: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """int64 (k, k): rows are the first rater's codes, columns the second's, in the order of ``labels``."""
    place = {label: n for n, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), np.int64)
    for x, y in zip(a, b):
        matrix[place[x], place[y]] += 1
    return matrix


def raw_agreement(matrix: np.ndarray) -> np.ndarray:
    """Share of pairs with one code; of (..., k, k) matrices."""
    matrix = np.asarray(matrix, np.float64)
    return _divide(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1)))


def cohen_kappa(matrix: np.ndarray, *, linear: bool = False) -> np.ndarray:
    """Cohen's kappa of (..., k, k) matrices; NaN if both raters used one code each.

    Parameters
    ----------
    linear
        Weight a disagreement by the distance of the codes in the order of the matrix. The order must be the scale's.
    """
    matrix = np.asarray(matrix, np.float64)
    k = matrix.shape[-1]
    total = matrix.sum(axis=(-2, -1))
    expected = matrix.sum(axis=-1)[..., :, np.newaxis] * matrix.sum(axis=-2)[..., np.newaxis, :]
    expected = _divide(expected, total[..., np.newaxis, np.newaxis])
    place = np.arange(k)
    weights = np.abs(place[:, np.newaxis] - place) if linear else (1 - np.eye(k))
    disagreement = (weights * matrix).sum(axis=(-2, -1))
    by_chance = (weights * expected).sum(axis=(-2, -1))
    # Two raters who use one code each, even different ones, have shown nothing about chance: no 0 for them either.
    used = (matrix.sum(axis=-1) > 0).sum(axis=-1) + (matrix.sum(axis=-2) > 0).sum(axis=-1)
    return np.where(used > 2, 1 - _divide(disagreement, by_chance), np.nan)


def pabak(matrix: np.ndarray) -> np.ndarray:
    """Prevalence- and bias-adjusted kappa: (k po - 1) / (k - 1) with k codes offered."""
    k = np.shape(matrix)[-1]
    return (k * raw_agreement(matrix) - 1) / (k - 1)


def gwet_ac1(matrix: np.ndarray) -> np.ndarray:
    """Gwet's AC1 with k codes offered."""
    matrix = np.asarray(matrix, np.float64)
    k = matrix.shape[-1]
    total = matrix.sum(axis=(-2, -1))
    prevalence = _divide(matrix.sum(axis=-1) + matrix.sum(axis=-2), 2 * total[..., np.newaxis])
    by_chance = (prevalence * (1 - prevalence)).sum(axis=-1) / (k - 1)
    return _divide(raw_agreement(matrix) - by_chance, 1 - by_chance)


def positive_negative_agreement(matrix: np.ndarray, index: int) -> tuple[float, float]:
    """Agreement on one code against all others: 2a / (2a + b + c) and 2d / (2d + b + c); NaN if never used."""
    matrix = np.asarray(matrix, np.float64)
    both = matrix[index, index]
    one = matrix[index].sum() + matrix[:, index].sum() - 2 * both
    neither = matrix.sum() - both - one
    return float(_divide(2 * both, 2 * both + one)), float(_divide(2 * neither, 2 * neither + one))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion; NaN for no trials.

    >>> [round(100 * v, 1) for v in wilson_interval(249, 250)]
    [97.8, 99.9]
    """
    if n == 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Interval:
    """Bootstrap percentile interval; ``undefined`` resamples had no value and are left out."""

    low: float
    high: float
    resamples: int
    undefined: int


def clustered_bootstrap(
    matrices: np.ndarray, statistic, *, seed: int, resamples: int = 2000, confidence: float = 0.95
) -> Interval:
    """Interval of a coefficient when whole patients, not lesions, are drawn with replacement.

    Lesions of one patient resemble each other; drawn one by one they would feign a narrower interval.

    Parameters
    ----------
    matrices
        (patients, k, k) confusion matrix of each patient.
    statistic
        Function of (..., k, k) matrices that returns (...).
    """
    patients = len(matrices)
    if patients < 2:
        return Interval(math.nan, math.nan, resamples, resamples)
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = generator.multinomial(patients, np.full(patients, 1 / patients), size=resamples)
    values = statistic(np.tensordot(drawn.astype(np.float64), np.asarray(matrices, np.float64), axes=1))
    defined = values[np.isfinite(values)]
    if not len(defined):
        return Interval(math.nan, math.nan, resamples, resamples)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(defined, (tail, 100 - tail))
    return Interval(float(low), float(high), resamples, resamples - len(defined))


def icc_2_1(table: np.ndarray) -> float:
    """ICC(2,1) of Shrout and Fleiss: two-way random effects, absolute agreement, one rater.

    Parameters
    ----------
    table
        (subjects, raters) numbers, such as rim lesions per patient.

    Returns
    -------
    float
        NaN with fewer than two subjects or raters, or if all numbers are equal.
    """
    table = np.asarray(table, np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        return math.nan
    n, k = table.shape
    grand = table.mean()
    subjects, raters = table.mean(axis=1), table.mean(axis=0)
    between = k * ((subjects - grand) ** 2).sum() / (n - 1)
    of_raters = n * ((raters - grand) ** 2).sum() / (k - 1)
    residual = table - subjects[:, np.newaxis] - raters + grand
    error = (residual**2).sum() / ((n - 1) * (k - 1))
    return float(_divide(between - error, between + (k - 1) * error + k * (of_raters - error) / n))


def icc_interval(table: np.ndarray, *, seed: int, resamples: int = 2000, confidence: float = 0.95) -> Interval:
    """Bootstrap interval of `icc_2_1` over subjects."""
    table = np.asarray(table, np.float64)
    if table.ndim != 2 or len(table) < 2:
        return Interval(math.nan, math.nan, resamples, resamples)
    generator = np.random.Generator(np.random.PCG64(seed))
    chosen = generator.integers(0, len(table), size=(resamples, len(table)))
    values = np.array([icc_2_1(table[rows]) for rows in chosen])
    defined = values[np.isfinite(values)]
    if not len(defined):
        return Interval(math.nan, math.nan, resamples, resamples)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(defined, (tail, 100 - tail))
    return Interval(float(low), float(high), resamples, resamples - len(defined))


def _divide(a, b) -> np.ndarray:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A difference that is zero but for rounding (1e-17) is zero: the coefficient is undefined, not huge.
        return np.where(np.abs(b) > 1e-12, a / np.where(np.abs(b) > 1e-12, b, 1), np.nan)
