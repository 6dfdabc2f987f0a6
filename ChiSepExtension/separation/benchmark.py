"""Separation methods side by side on heads with known truth: error, time, memory, iterations.

Every method gets the same noisy data; the closed form gets, besides, the true χ with noise, as in published
comparisons, and one row of the iterative separation a magnitude, which every scan has. The zero map is in the table to
show what an error of 100 % looks like. Parameters of the methods were chosen on heads of other seeds (`TUNING_SEED`).
"""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..dipole import dipole_field
from ..errors import InputError
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, silent
from ..quality.metrics import mean_bias, nrmse, xsim
from .closed_form import DR_3T, closed_form
from .convergence import Convergence, ConvergenceWarning
from .inversion import reference_region, tikhonov, tkd, total_variation
from .iterative import separate_iterative
from .least_squares import separate_least_squares
from .r2star_only import r2star_qsm
from .source_maps import SourceMaps

#: Shape (z, y, x), voxel size in mm (z, y, x) and angle of B0 in degrees of each case.
CASES: dict[str, tuple[tuple[int, int, int], tuple[float, float, float], float]] = {
    "64": ((64, 64, 64), (2.5, 2.5, 2.5), 0.0),
    "64-oblique": ((64, 64, 64), (2.5, 2.5, 2.5), 30.0),
    "128": ((128, 128, 128), (1.25, 1.25, 1.25), 0.0),
    "128-oblique": ((128, 128, 128), (1.25, 1.25, 1.25), 30.0),
    "thick": ((80, 160, 160), (2.0, 1.0, 1.0), 0.0),
    "thick-oblique": ((80, 160, 160), (2.0, 1.0, 1.0), 30.0),
    "head": ((160, 192, 160), (1.0, 1.0, 1.0), 0.0),
}
PHANTOMS = ("uniform", "textured")
#: Noise of the published comparison: field and χ in ppm, R2′ in s⁻¹.
FIELD_NOISE_PPM, CHI_NOISE_PPM, R2PRIME_NOISE_HZ = 8e-4, 4e-3, 1.0

#: A magnitude of the scan that has this noise: echo (middle of a train of 5 to 29 ms) and repetition time in s, flip
#: angle in degrees, and signal-to-noise ratio of the brain's mean. A ratio of 58 gives the field noise above.
ECHO_TIME_S, REPETITION_TIME_S, FLIP_ANGLE_DEG, MAGNITUDE_SNR = 0.017, 0.033, 15.0, 58.0
#: Seed of the heads on which strengths and weights were chosen; the benchmark's is 0.
TUNING_SEED = 201


@dataclass(frozen=True, eq=False)
class Case:
    """Truth and data of one head; maps are (z, y, x), 0 outside the mask."""

    name: str
    grid: Grid
    mask: np.ndarray
    chi_para: np.ndarray
    chi_dia: np.ndarray
    field_ppm: np.ndarray
    chi_ppm: np.ndarray
    r2prime_hz: np.ndarray
    r2star_hz: np.ndarray
    magnitude: np.ndarray


def make_case(name: str, phantom: str = "uniform", *, noisy: bool = True, seed: int = 0) -> Case:
    """Data of one of `CASES` on one of `PHANTOMS`.

    "uniform" is an ellipsoid of uniform tissues without partial volume, which flatters total variation; "textured" is
    the project's head with folded cortex, veins, lesions, texture and partial volume. Both have Dr 137.
    """
    if name not in CASES or phantom not in PHANTOMS:
        raise InputError(
            f'There is no case "{name}" on the phantom "{phantom}".',
            f"Choose from {', '.join(CASES)} and {', '.join(PHANTOMS)}.",
        )
    shape, spacing, degrees = CASES[name]
    a = np.deg2rad(degrees)
    grid = Grid.from_spacing(
        shape, spacing, np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    )
    if phantom == "uniform":
        para, dia, r2, mask = uniform_sources(grid, seed)
        density, t1 = np.float32(1), np.where(r2 < 5, np.float32(4), np.float32(1))
    else:
        from ..phantom.head import make_head

        head = make_head(grid, seed=seed, dr_para=DR_3T, dr_dia=DR_3T)
        para, dia, r2, mask = head.chi_para, head.chi_dia, head.r2_hz, head.brain_mask
        density, t1 = head.proton_density, head.t1_s
    chi = para - dia
    rate = np.float32(DR_3T) * (para + dia)
    field = dipole_field(chi, grid)
    r2star = rate + r2
    magnitude = density * _spoiled_echo(t1) * np.exp(-np.float32(ECHO_TIME_S) * r2star) * mask
    if noisy:
        magnitude += magnitude[mask].mean() / MAGNITUDE_SNR * _noise(shape, seed + 2) * mask
        noise = _noise((3, *shape), seed + 1)
        field = field + np.float32(FIELD_NOISE_PPM) * noise[0]
        chi = chi + np.float32(CHI_NOISE_PPM) * noise[1]
        rate = np.maximum(rate + np.float32(R2PRIME_NOISE_HZ) * noise[2], 0)
    title = f"{phantom}, {grid.describe()}, {'noisy' if noisy else 'no noise'}"
    return Case(title, grid, mask, para, dia, field * mask, chi * mask, rate * mask, r2star * mask, magnitude)


def _noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _spoiled_echo(t1_s: np.ndarray) -> np.ndarray:
    """Steady state of a spoiled gradient echo, relative to the proton density, before decay."""
    angle, e = np.deg2rad(FLIP_ANGLE_DEG), np.exp(-np.float32(REPETITION_TIME_S) / np.maximum(t1_s, np.float32(1e-3)))
    return np.float32(np.sin(angle)) * (1 - e) / (1 - np.float32(np.cos(angle)) * e)


def methods(case: Case, device: str = "cpu") -> dict[str, Callable[[], SourceMaps]]:
    """The methods of the table, ready to run on a case."""

    def after(invert: Callable[..., np.ndarray]) -> Callable[[], SourceMaps]:
        def run() -> SourceMaps:
            reports: list[Convergence] = []
            extra = {"on_convergence": reports.append} if invert is total_variation else {}
            chi = invert(case.field_ppm, case.mask, case.grid, **extra)
            region = reference_region(case.r2star_hz, case.mask, case.grid).region
            chi = (chi - chi[region].mean()) * case.mask
            maps = closed_form(chi, case.r2prime_hz, case.mask)
            return SourceMaps(maps.chi_para, maps.chi_dia, convergence=reports[0] if reports else None)

        return run

    data = (case.field_ppm, case.r2prime_hz, case.mask, case.grid)
    zero = np.zeros(case.grid.shape, np.float32)
    return {
        "zero map": lambda: SourceMaps(zero, zero),
        "closed form, true χ": lambda: closed_form(case.chi_ppm, case.r2prime_hz, case.mask),
        "R2*-QSM, true χ": lambda: r2star_qsm(case.chi_ppm, case.r2star_hz, case.mask),
        "TKD + closed form": after(tkd),
        "Tikhonov + closed form": after(tikhonov),
        "total variation + closed form": after(total_variation),
        "least squares": lambda: separate_least_squares(*data),
        "iterative": lambda: separate_iterative(*data, device=device),
        "iterative, magnitude": lambda: separate_iterative(*data, guide=case.magnitude, device=device),
    }


def benchmark_separation(
    cases: Iterable[str] = ("64",),
    phantoms: Iterable[str] = PHANTOMS,
    *,
    noisy: bool = True,
    device: str = "cpu",
    only: Iterable[str] | None = None,
    seed: int = 0,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> list[dict[str, Any]]:
    """Run the methods on the cases.

    Parameters
    ----------
    cases, phantoms
        Names in `CASES` and `PHANTOMS`.
    noisy
        With the noise of the published comparison.
    device
        Of the iterative separation.
    only
        Names of methods; all by default.

    Returns
    -------
    One JSON-able row per case and method: NRMSE in % (demeaned), XSIM, signed bias in ppb, seconds, peak of memory in
    GB that the method needed on top of its input (numpy's arrays; not torch's), iterations.
    """
    rows = []
    wanted = [(name, phantom) for name in cases for phantom in phantoms]
    for number, (name, phantom) in enumerate(wanted):
        cancel.check()
        progress(number / len(wanted), f"Benchmark: making {name}, {phantom}")
        case = make_case(name, phantom, noisy=noisy, seed=seed)
        for method, run in methods(case, device).items():
            if only is not None and method not in only:
                continue
            cancel.check()
            progress((number + 0.5) / len(wanted), f"Benchmark: {name}, {phantom}: {method}")
            rows.append({"case": name, "phantom": phantom, "noisy": noisy, **_measure(case, method, run)})
    progress(1.0, "Benchmark done")
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as text."""
    head = f"{'case':14}{'phantom':10}{'method':31}{'NRMSE χ+ / χ− / χ %':>21}{'XSIM χ+ / χ−':>15}"
    lines = [head + f"{'bias ppb':>14}{'s':>8}{'GB':>6}{'it.':>5}"]
    for row in rows:
        error = " / ".join(f"{row[f'nrmse_{source}']:.1f}" for source in ("para", "dia", "total"))
        similarity = f"{row['xsim_para']:.2f} / {row['xsim_dia']:.2f}"
        bias = f"{row['bias_para_ppb']:+.1f} / {row['bias_dia_ppb']:+.1f}"
        mark = "" if row["converged"] else "!"
        lines.append(
            f"{row['case']:14}{row['phantom']:10}{row['method']:31}{error:>21}{similarity:>15}{bias:>14}"
            f"{row['seconds']:8.2f}{row['peak_gb']:6.2f}{row['iterations'] or '':>5}{mark}"
        )
    return "\n".join(lines)


def _measure(case: Case, method: str, run: Callable[[], SourceMaps]) -> dict[str, Any]:
    tracemalloc.start()
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the row
        maps = run()
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    truth = {"para": case.chi_para, "dia": case.chi_dia, "total": case.chi_para - case.chi_dia}
    found = {"para": maps.chi_para, "dia": maps.chi_dia, "total": maps.chi_total}
    row: dict[str, Any] = {"method": method, "grid": case.grid.describe(), "seconds": seconds, "peak_gb": peak / 1e9}
    for source in truth:
        row[f"nrmse_{source}"] = nrmse(found[source], truth[source], case.mask)
        row[f"xsim_{source}"] = xsim(found[source], truth[source], case.mask)
        row[f"bias_{source}_ppb"] = 1000 * mean_bias(found[source], truth[source], case.mask)
    report = maps.convergence
    row["iterations"] = report.iterations if report else None
    row["converged"] = report.converged if report else True
    return row


def uniform_sources(grid: Grid, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """χpara and χdia in ppm, R2 in s⁻¹, and brain mask of an ellipsoid with cortex, CSF, nuclei, veins and lesions."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    centre = (np.array(grid.shape) - 1) / 2
    z, y, x = np.moveaxis((index - centre) * np.array(grid.spacing_mm), -1, 0).astype(np.float32)
    generator = np.random.default_rng(seed)

    def ball(cx: float, cy: float, cz: float, rx: float, ry: float, rz: float) -> np.ndarray:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 <= 1

    mask = ball(0, 0, 0, 58, 70, 55)
    radius = np.sqrt((x / 58) ** 2 + (y / 70) ** 2 + (z / 55) ** 2)
    folds = ndimage.gaussian_filter(generator.standard_normal(grid.shape), [4 / d for d in grid.spacing_mm])
    folds *= 0.06 / folds.std()
    para, dia, r2 = (np.zeros(grid.shape, np.float32) for _ in range(3))

    def paint(where: np.ndarray, para_ppb: float, dia_ppb: float, rate: float) -> None:
        para[where], dia[where], r2[where] = para_ppb / 1000, dia_ppb / 1000, rate

    paint(mask, 6, 36, 14.3)
    paint(mask & (radius + folds > 0.82), 34, 19.5, 10.0)
    paint(mask & (radius + folds > 0.98), 0, 0, 0.7)
    nuclei = (
        ((14, 20, 8, 5, 10, 7), 48, 9, 11.4),
        ((26, 5, 3, 6, 13, 9), 47, 9, 12.8),
        ((18, 2, 1, 4, 9, 6), 138, 13, 15.6),
        ((10, -14, 3, 7, 11, 8), 47, 31, 11.5),
        ((5, -18, -13, 3, 4, 4), 108, 10, 14.7),
    )
    for side in (-1, 1):
        paint(ball(9 * side, 5, 12, 5, 22, 8), 0, 0, 0.7)
        for (cx, *rest), para_ppb, dia_ppb, rate in nuclei:
            paint(ball(cx * side, *rest), para_ppb, dia_ppb, rate)
    for _ in range(14):  # straight veins of 2 mm
        point = generator.uniform(-1, 1, 3) * (40, 50, 38)
        way = generator.standard_normal(3)
        way /= np.linalg.norm(way)
        along = (x - point[0]) * way[0] + (y - point[1]) * way[1] + (z - point[2]) * way[2]
        aside = (x - point[0]) ** 2 + (y - point[1]) ** 2 + (z - point[2]) ** 2 - along**2
        paint(mask & (aside < 1) & (np.abs(along) < 30), 190, 0, 30)
    paint(ball(-30, -25, 15, 3.5, 3.5, 3.5), 0, 350, 20)
    for (cx, cy, cz), r, rim in (((24, -25, 18), 6, True), ((-22, 30, 15), 7, True), ((30, 25, 20), 5, False)):
        if rim:
            paint(ball(cx, cy, cz, r, r, r), 50, 14, 11)
            r -= 1.5
        paint(ball(cx, cy, cz, r, r, r), 8, 14, 9)
    return para, dia, r2, mask
