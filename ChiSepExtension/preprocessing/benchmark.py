"""Every stage before the separation on heads with known truth: error, time and memory, beside references of the run.

The references are scikit-image's `unwrap_phase` (where it is installed) and plain numpy (`np.unwrap` over the echoes).
Errors are those of `quality.metrics`; background removal is scored on each method's own mask and on the mask that all
share, so that a method cannot win by leaving out the rim.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..acquisition.gradient_echo import GradientEchoSeries
from ..dipole import field_hz_per_ppm
from ..errors import InputError
from ..geometry import Grid
from ..phantom.head import Head, default_grid, make_head
from ..phantom.label_maps import LabelMapAnatomy
from ..phantom.scanner import Acquisition, simulate_gradient_echo
from ..phantom.spin_echo import simulate_spin_echo
from ..phantom.tissues import CHI_AIR_PPM
from ..progress import NEVER, CancelToken, Progress, silent
from ..quality.metrics import field_error, nrmse, rmse, xsim
from .background import remove_background
from .bipolar import correct_bipolar
from .field_fit import fit_field
from .phase_offset import remove_phase_offset
from .r2 import fit_r2
from .r2star import fit_r2star
from .romeo import TWO_PI, wrap
from .sphere_filter import depth_mm
from .unwrapping import unwrap
from .vendor_repair import repair

#: Shape (z, y, x), voxel size (z, y, x) in mm, angle of B0 in degrees. "full" holds about 2.5 million brain voxels;
#: "128-uniform" is an ellipsoid of uniform tissues under a smooth scalp, as in published comparisons.
CASES: dict[str, tuple[tuple[int, int, int], tuple[float, float, float], float]] = {
    "quick": ((48, 56, 48), (4.0, 4.0, 4.0), 0.0),
    "128": ((128, 128, 128), (1.5, 1.5, 1.5), 0.0),
    "128-oblique": ((128, 128, 128), (1.5, 1.5, 1.5), 30.0),
    "128-uniform": ((128, 128, 128), (1.25, 1.25, 1.25), 0.0),
    "thick": ((88, 192, 160), (2.0, 1.0, 1.0), 0.0),
    "full": ((176, 256, 256), (0.875, 0.875, 0.875), 0.0),
}

_FIVE = (0.005, 0.011, 0.017, 0.023, 0.029)
#: Echo times in s, peak signal-to-noise ratio, and what is wrong with the data.
SCANS: dict[str, tuple[tuple[float, ...], float, tuple[str, ...]]] = {
    "standard": (_FIVE, 100.0, ()),
    "snr-150": (_FIVE, 150.0, ()),
    "snr-40": (_FIVE, 40.0, ()),
    "snr-20": (_FIVE, 20.0, ()),
    "3-echoes": ((0.004, 0.012, 0.020), 100.0, ()),
    "8-echoes": (tuple(0.003 + 0.0035 * n for n in range(8)), 100.0, ()),
    "bipolar": (_FIVE, 100.0, ("correct-bipolar",)),
    "alternated": (_FIVE, 100.0, ("repair-slices",)),
    "inverted": (_FIVE, 100.0, ("invert-phase",)),
}

#: Background removal: name in the table, method and its options.
BACKGROUND: dict[str, tuple[str, dict[str, Any]]] = {
    "V-SHARP 12 mm": ("vsharp", {}),
    "V-SHARP 12 mm, deconvolved": ("vsharp", {"deconvolve": True}),
    "RESHARP 6 mm": ("resharp", {}),
    "RESHARP 8 mm": ("resharp", {"radius_mm": 8.0}),
    "PDF": ("pdf", {}),
    "LBV": ("lbv", {}),
    "LBV + V-SHARP": ("lbv-vsharp", {}),
}

#: Depth (mm) of the rim left out of the eroded scores.
_RIM_MM = 6.0


@dataclass(frozen=True, eq=False)
class Case:
    """One head with its truth, scanned without noise-free copies: series are made per scan."""

    name: str
    head: Head


def make_case(name: str, *, seed: int = 0, anatomy: str | None = None) -> Case:
    """The head of one of `CASES`: procedural, or from a label-map file."""
    if name not in CASES:
        raise InputError(f"There is no case {name!r}.", f"Choose from {', '.join(CASES)}.")
    shape, spacing, degrees = CASES[name]
    a = np.deg2rad(degrees)
    rotation = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    if name == "128-uniform":
        return Case(name, _uniform_head(default_grid(shape, spacing), seed))
    shape_of = None if anatomy is None else LabelMapAnatomy.read(anatomy, seed=seed)
    head = make_head(default_grid(shape, spacing, rotation), anatomy=shape_of, seed=seed)
    return Case(name, head)


def _uniform_head(grid: Grid, seed: int) -> Head:
    """An ellipsoidal brain in a larger ellipsoid of soft tissue, a frontal air sinus between them, air around."""
    from ..separation.benchmark import uniform_sources

    para, dia, r2_hz, brain = uniform_sources(grid, seed)
    head = Head.from_sources(grid, para, dia, brain)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(grid.index_to_ras(index), -1, 0)
    scalp = (x / 70) ** 2 + (y / 79) ** 2 + (z / 67) ** 2 <= 1
    sinus = x**2 + (y - 56) ** 2 + (z + 44) ** 2 <= 9**2
    head.chi_total = np.where(brain, para - dia, np.where(scalp & ~sinus, 0, np.float32(CHI_AIR_PPM))).astype(
        np.float32
    )
    head.r2_hz = np.where(brain, r2_hz, 20).astype(np.float32)
    head.proton_density = np.where(brain | (scalp & ~sinus), np.float32(0.75), 0)
    return head


def make_scan(case: Case, name: str, *, seed: int = 0) -> tuple[Acquisition, GradientEchoSeries]:
    """A scan of `SCANS`: the truth, and the series as a scanner with that fault would give it."""
    if name not in SCANS:
        raise InputError(f"There is no scan {name!r}.", f"Choose from {', '.join(SCANS)}.")
    times, snr, faults = SCANS[name]
    scan = simulate_gradient_echo(case.head, echo_times_s=times, snr=snr, seed=seed)
    series = scan.series
    if "correct-bipolar" in faults:
        ramp = np.linspace(-1.2, 1.2, series.grid.shape[2], dtype=np.float32)
        sign = np.array([1.0, -1.0] * len(times), np.float32)[: len(times)].reshape(-1, 1, 1, 1)
        series = replace(series, phase=wrap(series.phase + sign * ramp))
    if "repair-slices" in faults:
        turn = np.zeros((series.grid.shape[0], 1, 1), np.float32)
        turn[1::2] = np.pi
        series = replace(series, phase=wrap(series.phase + turn))
    if "invert-phase" in faults:
        series = replace(series, phase=-series.phase)
    return scan, series


def benchmark_preprocessing(
    cases: Iterable[str] = ("128",),
    scans: Iterable[str] = ("standard",),
    *,
    seed: int = 0,
    anatomy: str | None = None,
    references: bool = True,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> list[dict[str, Any]]:
    """Run the stages on the cases and scans.

    Parameters
    ----------
    cases, scans
        Names in `CASES` and `SCANS`. Background removal, R2* and R2 are measured on the first scan of each case only.
    anatomy
        Label-map file instead of the procedural head.
    references
        False leaves scikit-image and numpy out.

    Returns
    -------
    JSON-able rows, one per stage: seconds, peak memory in GB on top of the input, and the errors of that stage.
    """
    rows: list[dict[str, Any]] = []
    wanted = [(case, scan) for case in cases for scan in scans]
    made: Case | None = None
    for number, (case_name, scan_name) in enumerate(wanted):
        cancel.check()
        progress(number / len(wanted), f"Benchmark: {case_name}, {scan_name}")
        first = made is None or made.name != case_name
        if first:
            made = make_case(case_name, seed=seed, anatomy=anatomy)
        scan, series = make_scan(made, scan_name, seed=seed)
        common = {"case": case_name, "scan": scan_name, "grid": series.grid.describe()}
        common["brain_voxels"] = int(np.count_nonzero(made.head.brain_mask))
        parts = [_field_rows(made.head, scan, series, SCANS[scan_name][2], references, cancel)]
        if first:
            parts.append(_background_rows(made.head, scan, cancel))
            parts.append(_rate_rows(made.head, scan, seed, cancel))
        rows += [{**common, **row} for part_rows in parts for row in part_rows]
    progress(1.0, "Benchmark done")
    return rows


def _field_rows(
    head: Head,
    scan: Acquisition,
    series: GradientEchoSeries,
    faults: tuple[str, ...],
    references: bool,
    cancel: CancelToken,
) -> list[dict[str, Any]]:
    mask, grid, times = head.brain_mask, series.grid, series.echo_times_s
    rows: list[dict[str, Any]] = []
    if any(name != "correct-bipolar" for name in faults):
        series, row = _measured("repair", lambda: repair(series, faults, mask=mask))
        rows.append(row)
    (series, facts, _), row = _measured("bipolar check", lambda: correct_bipolar(series, mask))
    rows.append({**row, "corrected": facts["corrected"]})
    cancel.check()
    magnitude = series.magnitude
    (phase, offset), row = _measured(
        "phase offset", lambda: remove_phase_offset(series.phase, magnitude, times, mask, grid)
    )
    rows.append(row)
    for mode in ("template", "individual"):
        cancel.check()
        unwrapped, row = _measured(
            f"unwrapping, {mode}", lambda mode=mode: unwrap(phase, magnitude, times, mask, mode=mode)
        )
        rows.append({**row, "wrap_errors_percent": _wrap_errors(unwrapped, offset, scan, mask)})
        fit, row = _measured("field fit", lambda unwrapped=unwrapped: fit_field(unwrapped, magnitude, times, mask))
        if mode == "template":
            rows.append({**row, **_field_scores(fit.field_hz, scan, mask)})
            del fit
    if references:
        for name, function in (("scikit-image", _by_scikit_image), ("numpy", _by_numpy)):
            cancel.check()
            found, row = _measured(f"reference: {name}", lambda f=function: f(series, mask))
            if found is not None:
                rows.append({**row, **_field_scores(found, scan, mask)})
    return rows


def _background_rows(head: Head, scan: Acquisition, cancel: CancelToken) -> list[dict[str, Any]]:
    """On the true total field, as published comparisons have it."""
    mask, truth = head.brain_mask, scan.local_field_ppm
    found: dict[str, np.ndarray] = {}
    rows = []
    shared = depth_mm(mask, head.grid.spacing_mm) > _RIM_MM
    kept = {}
    for name, (method, options) in BACKGROUND.items():
        cancel.check()
        try:
            local, row = _measured(
                f"background: {name}",
                lambda m=method, o=options: remove_background(scan.total_field_ppm, mask, head.grid, method=m, **o),
            )
        except InputError:  # a grid too coarse for this sphere
            continue
        found[name], kept[name] = local.field_ppm, local.mask
        shared &= local.mask
        rows.append({**row, "kept": float(local.mask.sum() / mask.sum())})
    for row, (name, field) in zip(rows, found.items()):
        row["nrmse_own"] = nrmse(field, truth, kept[name])
        row["nrmse_common"] = nrmse(field, truth, shared) if shared.any() else float("nan")
        row["xsim_common"] = xsim(field, truth, shared)
    zero = np.zeros_like(truth)
    rows.append({"stage": "background: zero map", "seconds": 0.0, "kept": 1.0, "nrmse_own": nrmse(zero, truth, mask)})
    return rows


def _rate_rows(head: Head, scan: Acquisition, seed: int, cancel: CancelToken) -> list[dict[str, Any]]:
    mask, series = head.brain_mask, scan.series
    rows = []
    for method in ("arlo", "log-linear", "nonlinear"):
        cancel.check()
        try:
            fit, row = _measured(
                f"R2*: {method}", lambda m=method: fit_r2star(series.magnitude, series.echo_times_s, mask, method=m)
            )
        except InputError:  # ARLO and unequal echoes
            continue
        rows.append({**row, **_rate_scores(fit.r2star_hz, head.r2star_hz, mask)})
    echoes = simulate_spin_echo(head, seed=seed)
    fit, row = _measured("R2: EPG dictionary", lambda: fit_r2(echoes.magnitude, echoes.echo_times_s, mask))
    return [*rows, {**row, **_rate_scores(fit.r2_hz, head.r2_hz, mask)}]


def _wrap_errors(unwrapped: np.ndarray, offset: np.ndarray, scan: Acquisition, mask: np.ndarray) -> float:
    """Share (%) of the mask where the last echo is off by other turns than the rest."""
    hz = scan.total_field_ppm[mask] * np.float32(field_hz_per_ppm(scan.series.field_strength_t))
    left = wrap(scan.phase_offset_rad[mask] - offset[mask])
    truth = TWO_PI * np.float32(scan.series.echo_times_s[-1]) * hz + left
    turns = np.rint((unwrapped[-1][mask] - truth) / TWO_PI)
    return float(100 * np.mean(turns != np.median(turns)))


def _field_scores(field_hz: np.ndarray, scan: Acquisition, mask: np.ndarray) -> dict[str, float]:
    tesla, times = scan.series.field_strength_t, scan.series.echo_times_s
    field = field_hz / np.float32(field_hz_per_ppm(tesla))
    deep = depth_mm(mask, scan.grid.spacing_mm) > _RIM_MM
    error = field_error(field, scan.total_field_ppm, mask, tesla, float(times[1] - times[0]))
    inner = field_error(field, scan.total_field_ppm, deep, tesla, float(times[1] - times[0]))
    return {
        "nrmse_full": nrmse(field, scan.total_field_ppm, mask),
        "nrmse_eroded": nrmse(field, scan.total_field_ppm, deep),
        "rmse_ppb": error.rmse_ppb,
        "rmse_eroded_ppb": inner.rmse_ppb,
        "gross_percent": 100 * error.gross_share,
    }


def _rate_scores(found: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    return {"rmse_hz": rmse(found, truth, mask), "bias_hz": float(np.median((found - truth)[mask]))}


def _by_scikit_image(series: GradientEchoSeries, mask: np.ndarray) -> np.ndarray | None:
    """Field (Hz) from each echo unwrapped by scikit-image, and a line with intercept; None without scikit-image."""
    try:  # by name: scikit-image is no dependency of this package, only a yardstick where it happens to be
        unwrap_phase = importlib.import_module("skimage.restoration").unwrap_phase
    except ImportError:
        return None
    unwrapped = np.stack(
        [np.asarray(unwrap_phase(np.ma.masked_array(echo, ~mask)).filled(0), np.float32) for echo in series.phase]
    )
    step = np.median(unwrapped[1:, mask] - unwrapped[:-1, mask], axis=1)
    unwrapped[1:] -= TWO_PI * np.cumsum(np.rint((step - step[0]) / TWO_PI)).reshape(-1, 1, 1, 1).astype(np.float32)
    return fit_field(unwrapped, series.magnitude, series.echo_times_s, mask).field_hz


def _by_numpy(series: GradientEchoSeries, mask: np.ndarray) -> np.ndarray:
    """Field (Hz) from `np.unwrap` over the echoes of each voxel, and a line with intercept: no neighbour is asked."""
    unwrapped = np.zeros_like(series.phase)
    unwrapped[:, mask] = np.unwrap(series.phase[:, mask], axis=0)
    return fit_field(unwrapped, series.magnitude, series.echo_times_s, mask).field_hz


def _measured(stage: str, run: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    with _PeakMemory() as memory:
        start = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - start
    return result, {"stage": stage, "seconds": round(seconds, 3), "peak_gb": memory.peak_gb}


class _PeakMemory:
    """Largest resident memory over the start's, looked at every 10 ms; None where the system does not tell."""

    peak_gb: float | None = None

    def __enter__(self) -> _PeakMemory:
        self._start = self._highest = _resident_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if self._start is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._start is not None:
            self._thread.join()
            self.peak_gb = round((max(self._highest, _resident_bytes()) - self._start) / 1e9, 3)

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self._highest = max(self._highest, _resident_bytes())


def _resident_bytes() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
    except OSError:
        return None
