"""Iterative χ-separation after Shin et al. (NeuroImage 2021;240:118371): field and R2′ fitted together.

The two data terms of the paper, its weights, edge-weighted regularisation of both sources and χ ≥ 0; solved by ADMM
(`joint_admm`), not by the paper's Gauss–Newton. Differences, each measured on a digital head:

- One joint total variation of χ_para − χ_dia and χ_para + χ_dia, which share their edges: it smooths fully along a
  tissue border and by 1/(1 + (|∇|/κ)²) across it, where the paper has a binary mask for all directions. Borders are
  taken from R2′, a first QSM and the magnitude, and found again in the sources three times. On two heads that no
  benchmark uses, one textured and one uniform, NRMSE of χ_para / χ_dia in %: 16.4 / 26.1 and 8.9 / 12.6 with weights
  for all directions, 13.8 / 18.7 and 9.6 / 11.5 as it is, 15.2 / 20.5 and 10.3 / 11.9 without the magnitude.
- Sources outside the mask are allowed at a small price. Background removal has taken the harmonic part out of the
  field; without such sources that part returns as shading: NRMSE of χ_para / χ_dia after V-SHARP 64 / 87 % without
  them, 45 / 62 % with them, all else equal.
- R2′ below 1 s⁻¹ keeps its full weight: the paper's tenth loses what says that CSF is empty (noisy head: 19 / 22 %
  instead of 13 / 14 %, λ 6e-4, µ 0.02).
- The zero of χ needs no reference: it follows from R2′ and χ ≥ 0 (a voxel without R2′ has no source).

It fails where R2′ does: vessels and hemorrhage (saturation), macroscopic gradients near air, fibre orientation; and a
wrong Dr scales the share that R2′ decides.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, part, silent
from .closed_form import DR_3T, check_dr
from .convergence import Convergence
from .domain import PADDING_MM, DipoleDomain
from .edges import BLUR_VOXELS, SMOOTH_FRACTION, Edges, blurred_inside, find_edges, mask_borders
from .inversion.tv import field_weight, total_variation
from .joint_admm import JointProblem, solve
from .noise import noise_level
from .numpy_engine import NumpyEngine
from .source_maps import SourceMaps
from .torch_engine import TorchEngine

#: λ in ppm·mm; γ, how much more χ_para + χ_dia is smoothed than the difference, as R2′ is noisier than the field; and
#: µ, trust in R2′/Dr relative to the field: for noise of 0.8 ppb and 1 s⁻¹ the ratio of variances is 0.012. Chosen on
#: the two heads named above from λ 1.1…2.1e-4, γ 0.7…2.4, µ 0.012…0.05: the pair best for uniform tissue (λ 2.1e-4)
#: loses texture (16.1 / 20.1), the one best for texture (λ 1.1e-4, γ 2.4) is equal within 0.7 % on both.
#: They suit the noise of `REFERENCE_NOISE_PPM`, in the field and in R2′/Dr. λ grows with the noise of the field and λ/µ
#: with that of R2′, both as measured (`noise.noise_level`), by 1 to 4: with less smoothing the solver needs more than
#: its 150 iterations, and gains little. With 3 times the noise on heads of 2.5 mm: 41 / 56 instead of 58 / 84
#: (uniform) and 58 / 76 instead of 72 / 103 (textured).
STRENGTH = 1.5e-4
REFERENCE_NOISE_PPM = (8e-4, 1 / 137)
NOISE_FACTORS = (1.0, 4.0)
SUM_FACTOR = 1.25
BALANCE = 0.03
#: Share of voxels whose gradient counts as noise, in the sources on the way and in the magnitude; and the blur of the
#: magnitude in voxels. 0.6 instead of 0.7 in the sources: χ_para 13.8, χ_dia 20.0.
REFINED_SMOOTH_FRACTION = 0.7
GUIDE_BLUR_VOXELS = 0.5
#: ε: price of sources outside the mask relative to the field term. 1e-3 was best or within 2 % of it for the true local
#: field and after RESHARP, PDF, V-SHARP and LBV, of 0, 1e-3, 1e-2, 0.1 and forbidding them.
OUTSIDE_PENALTY = 1e-3
#: R2′ outside this span in s⁻¹ is trusted a tenth: above are vessels and bleeds, where R2′ saturates (Shin 2021).
TRUSTED_R2PRIME_HZ = (0.0, 30.0)


def separate_iterative(
    local_field_ppm: np.ndarray,
    r2prime_hz: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    *,
    dr_para: float = DR_3T,
    dr_dia: float = DR_3T,
    weight: np.ndarray | None = None,
    chi_start_ppm: np.ndarray | None = None,
    guide: np.ndarray | None = None,
    csf: np.ndarray | None = None,
    strength: float | None = None,
    balance: float | None = None,
    trusted_r2prime_hz: tuple[float, float] = TRUSTED_R2PRIME_HZ,
    iterations: int = 150,
    tolerance: float = 1e-3,
    padding_mm: float = PADDING_MM,
    device: str = "cpu",
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> SourceMaps:
    """Both sources from the local field and R2′.

    Parameters
    ----------
    local_field_ppm, r2prime_hz
        (z, y, x) local field in ppm and R2′ in s⁻¹.
    mask, grid
        Where both are known; B0 and voxel size.
    dr_para, dr_dia
        Relaxometric constants in s⁻¹/ppm at the field strength of the data (`relaxometry.dr_at`).
    weight
        (z, y, x) confidence in the field, proportional to its inverse standard error; None counts all alike.
    chi_start_ppm
        (z, y, x) QSM that shows where edges are; by default a total-variation inversion is made for it.
    guide
        (z, y, x) image whose edges are tissue borders, such as a magnitude; by default the weight, if there is one.
    csf
        (z, y, x) bool: voxels known to hold no source (`inversion.csf_mask`). Their R2′ counts as 0.
    strength, balance
        λ and µ; None chooses them by the noise that is found in the maps.
    trusted_r2prime_hz
        R2′ outside this span weighs a tenth.
    iterations, tolerance
        Stop when the sources change by less than the tolerance in one iteration, relative to their norm. What is
        left to change by then are slow shadings, which background removal gets wrong.
    device
        "cpu" (numpy, without torch), a torch device ("cuda", "cuda:1", "mps"; "torch:cpu" for torch on the processor),
        or "auto": CUDA if torch finds it, else "cpu". A device that runs out of memory, lacks an operation or fails is
        followed by "cpu", with a warning in the parameters.

    Returns
    -------
    SourceMaps
        With its convergence. A `ConvergenceWarning` is issued if the limit of iterations came first.
    """
    check_dr(dr_para, dr_dia)
    if not local_field_ppm.shape == r2prime_hz.shape == grid.shape:
        raise InputError(
            f"Field {local_field_ppm.shape}, R2′ {r2prime_hz.shape} and grid {grid.shape} differ in shape.",
            "Resample R2′ to the gradient-echo grid first.",
        )
    if any(value is not None and value <= 0 for value in (strength, balance)) or iterations < 1:
        raise InputError(
            f"Strength {strength}, balance {balance} and iterations {iterations} must be positive.",
            f"Use {STRENGTH}, {BALANCE} (or none) and 150.",
        )
    domain = DipoleDomain(mask, grid, padding_mm)
    share_of_start = 0.0
    if chi_start_ppm is None:
        share_of_start = 0.3
        chi_start_ppm = total_variation(
            local_field_ppm,
            mask,
            grid,
            weight=weight,
            iterations=40,
            tolerance=0.02,
            padding_mm=padding_mm,
            progress=part(progress, 0, share_of_start),
            cancel=cancel,
            warn=False,
        )
    dr = (dr_para + dr_dia) / 2
    rate = domain.masked(r2prime_hz, "R2′")
    if csf is not None:
        rate[domain.embed(np.asarray(csf, dtype=bool))] = 0
    chi = domain.masked(chi_start_ppm, "The start of χ")
    squared_weight = field_weight(weight, domain)
    low, high = trusted_r2prime_hz
    trusted = (rate >= low) & (rate <= high)
    if csf is not None:
        trusted |= domain.embed(np.asarray(csf, dtype=bool))
    rate /= np.float32(dr)
    alpha, beta = dr_para / dr, dr_dia / dr
    field = domain.masked(local_field_ppm, "The local field")
    noise = [noise_level(values * np.sqrt(squared_weight), domain.mask) for values in (field, rate)]
    field_factor, rate_factor = (_factor(n, usual) for n, usual in zip(noise, REFERENCE_NOISE_PPM))
    strength = STRENGTH * field_factor if strength is None else strength
    balance = BALANCE * field_factor / rate_factor if balance is None else balance
    data = {
        "field": field,
        "field_weight": squared_weight,
        "rate": rate,
        "rate_weight": np.float32(balance) * squared_weight * np.where(trusted, 1, 0.01).astype(np.float32),
    }
    guides = [(blurred_inside(values, domain.mask, BLUR_VOXELS), SMOOTH_FRACTION) for values in (rate, chi)]
    fixed = None
    if (guide if guide is not None else weight) is not None:
        image = np.nan_to_num(guide if guide is not None else weight, posinf=0, neginf=0)
        fixed = blurred_inside(domain.masked(image, "The guide"), domain.mask, GUIDE_BLUR_VOXELS)
    # Start: the closed form, with the zero of χ that R2′ allows.
    chi = chi - np.float32(feasible_zero(chi[domain.mask], rate[domain.mask]))
    start = [np.maximum(rate + np.float32(factor) * chi, 0) * domain.mask / np.float32(2) for factor in (beta, -alpha)]

    def run(engine: NumpyEngine | TorchEngine) -> tuple[np.ndarray, np.ndarray, Convergence]:
        mask_here = engine.array(domain.mask)
        borders = [engine.array(border) for border in mask_borders(domain.mask)]
        fixed_here = [] if fixed is None else [(engine.array(fixed), REFINED_SMOOTH_FRACTION)]

        def refine(sources: list) -> Edges:
            total, both = ((sources[0] + sign * sources[1]) * mask_here for sign in (-1, 1))
            found = [(total, REFINED_SMOOTH_FRACTION), (both, REFINED_SMOOTH_FRACTION), *fixed_here]
            return find_edges(found, mask_here, borders, engine)

        first = [(engine.array(values), share) for values, share in guides]
        problem = JointProblem(
            kernel=engine.array(domain.kernel),
            gradient_spectrum=engine.array(domain.gradient_spectrum()),
            mask=mask_here,
            strength=strength,
            edges=find_edges([*first, *fixed_here], mask_here, borders, engine),
            refine=refine,
            sum_factor=SUM_FACTOR,
            alpha=alpha,
            beta=beta,
            outside=OUTSIDE_PENALTY,
            **{name: engine.array(values) for name, values in data.items()},
        )
        para, dia, report = solve(
            problem,
            engine,
            *(engine.array(values.copy()) for values in start),
            iterations=iterations,
            tolerance=tolerance,
            progress=part(progress, share_of_start, 1.0),
            cancel=cancel,
        )
        return engine.to_numpy(para), engine.to_numpy(dia), report

    engine = make_engine(device, domain)
    warnings = []
    try:
        para, dia, report = run(engine)
    except (RuntimeError, TypeError, MemoryError) as error:
        if isinstance(engine, NumpyEngine):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.append(f"The iterative separation ran on the processor, as {engine.name} failed: {reason[:200]}.")
        engine = make_engine("cpu", domain)
        para, dia, report = run(engine)
    report.warn_if_early()
    return SourceMaps(
        domain.extract(para),
        domain.extract(dia),
        method="iterative",
        convergence=report,
        parameters={
            "dr_para": dr_para,
            "dr_dia": dr_dia,
            "strength_ppm_mm": strength,
            "sum_factor": SUM_FACTOR,
            "balance": balance,
            "noise_ppb": [round(1000 * n, 3) for n in noise],
            "trusted_r2prime_hz": tuple(trusted_r2prime_hz),
            "outside_penalty": OUTSIDE_PENALTY,
            "iterations": report.iterations,
            "tolerance": tolerance,
            "engine": engine.name,
            "warnings": warnings,
        },
    )


def _factor(noise_ppm: float, usual_ppm: float) -> float:
    """Noise relative to the usual, within `NOISE_FACTORS`; 1 if it is not known."""
    factor = noise_ppm / usual_ppm
    return float(np.clip(factor, *NOISE_FACTORS)) if np.isfinite(factor) else 1.0


def feasible_zero(chi_ppm: np.ndarray, rate_ppm: np.ndarray) -> float:
    """Shift of χ that contradicts R2′ least: a voxel with the rate y = R2′/Dr can only have −y ≤ χ ≤ y.

    Minimises the convex sum of max(|χ − shift| − y, 0) over voxels, by golden-section search to a thousandth of the
    range of χ. The sum counts outliers linearly: a bleed does not move it. The solver would find the same zero, but
    slowly, as a shift of everything costs the field next to nothing.

    Parameters
    ----------
    chi_ppm, rate_ppm
        (voxels,) χ and R2′/Dr.
    """
    step = max(1, chi_ppm.size // 100_000)
    chi, rate = chi_ppm[::step], rate_ppm[::step]

    def conflict(shift: float) -> float:
        return float(np.maximum(np.abs(chi - np.float32(shift)) - rate, 0).sum(dtype=np.float64))

    low, high = (float(q) for q in np.quantile(chi, (0.001, 0.999)))
    golden = (np.sqrt(5) - 1) / 2
    inner, outer = high - golden * (high - low), low + golden * (high - low)
    at_inner, at_outer = conflict(inner), conflict(outer)
    wanted = 1e-3 * (high - low)
    while high - low > wanted:
        if at_inner <= at_outer:
            high, outer, at_outer = outer, inner, at_inner
            inner = high - golden * (high - low)
            at_inner = conflict(inner)
        else:
            low, inner, at_inner = inner, outer, at_outer
            outer = low + golden * (high - low)
            at_outer = conflict(outer)
    return (low + high) / 2


def make_engine(device: str, domain: DipoleDomain) -> NumpyEngine | TorchEngine:
    """The array engine of a device name; see `separate_iterative`."""
    if device == "auto":
        device = "cuda" if _has_cuda() else "cpu"
    if device == "cpu":
        return NumpyEngine(domain.shape, domain.spacing_mm)
    return TorchEngine(domain.shape, domain.spacing_mm, device.removeprefix("torch:"))


def _has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()
