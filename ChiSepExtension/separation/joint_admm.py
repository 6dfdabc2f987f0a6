"""The solver of the iterative separation: both sources at once, by ADMM, on any array engine.

Minimise over p, d (paramagnetic and diamagnetic source, ppm)::

    ½‖W(D⊛χ − δ)‖² + ½µ‖W_r(α·p + β·d − y)‖² + λ Σ (a·|∇u|_along + e·|∇u|_across)           p, d ≥ 0 in the mask
                                             + ½ε(p² + d²)                                 outside it

with χ = p − d, u = (χ, γ(p + d)), α = Dr_para/Dr, β = Dr_dia/Dr, y = R2′/Dr, Dr their mean. Three splits (gradients,
field, sources) leave steps that are each solved exactly: in k-space for p − d and p + d, which decouple, and voxel by
voxel for the rest. The edges (a, e, and their directions) are found again in the sources a few times on the way, when
most of the noise is gone: reweighting as in Candès et al., J Fourier Anal Appl 2008;14:877.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..progress import CancelToken, Progress
from .convergence import Convergence
from .edges import Edges

#: ADMM penalties of the gradient split (mm²), the source split and the field split. Of 0.0025…0.03, 0.03…0.3 and 0.1…1
#: these came within 1 % of the minimum in the fewest iterations: 40, where the worst needed more than 300.
RHO_GRADIENT = 0.03
RHO_SOURCE = 0.03
RHO_FIELD = 0.1
#: Iterations after which the edges are found again, and the fewest after the last: what a change of the weights does
#: takes some iterations to show.
REFINEMENTS = (15, 25, 35)
FEWEST_AFTER = 4


@dataclass
class JointProblem:
    """Data of the minimisation, all on the padded box and of the engine's array type.

    Parameters
    ----------
    kernel, gradient_spectrum
        D and ∇ᵀ∇ in k-space.
    mask
        bool
    field, field_weight
        δ in ppm and W², both 0 outside the mask.
    rate, rate_weight
        y in ppm and µW_r², both 0 outside the mask.
    strength
        λ in ppm·mm.
    edges, refine
        The first edges, and what finds them again in two sources (None: they stay).
    sum_factor
        γ: how much more p + d is smoothed than p − d.
    alpha, beta
        Dr_para/Dr and Dr_dia/Dr.
    outside
        ε, the price of sources outside the mask.
    """

    kernel: Any
    gradient_spectrum: Any
    mask: Any
    field: Any
    field_weight: Any
    rate: Any
    rate_weight: Any
    strength: float
    edges: Edges
    refine: Callable[[list], Edges] | None
    sum_factor: float
    alpha: float
    beta: float
    outside: float


def solve(
    problem: JointProblem,
    engine: Any,
    para: Any,
    dia: Any,
    *,
    iterations: int,
    tolerance: float,
    progress: Progress,
    cancel: CancelToken,
) -> tuple[Any, Any, Convergence]:
    """Run ADMM from ``para``, ``dia`` (changed in place) until both change by less than ``tolerance`` relatively.

    Returns
    -------
    The two sources on the padded box, and how it went.
    """
    gamma = problem.sum_factor
    inverse_total = RHO_GRADIENT * problem.gradient_spectrum + RHO_SOURCE / 2
    inverse_total += RHO_FIELD * problem.kernel**2
    inverse_total = 1 / inverse_total
    inverse_sum = 1 / (RHO_GRADIENT * gamma**2 * problem.gradient_spectrum + RHO_SOURCE / 2)
    threshold, edges = problem.strength / RHO_GRADIENT, problem.edges
    refinements = REFINEMENTS if problem.refine is not None else ()
    fewest = max((*refinements, 0)) + FEWEST_AFTER
    share = problem.field_weight / (problem.field_weight + RHO_FIELD)

    dual_t, dual_s = engine.zeros(3), engine.zeros(3)
    dual_field, misfit = engine.zeros(), engine.zeros()
    sources = [para, dia]
    duals = [engine.zeros(), engine.zeros()]
    right_total, right_sum = engine.zeros(), engine.zeros()
    work_p, work_d, change = engine.zeros(), engine.zeros(), [engine.zeros(), engine.zeros()]
    history: list[float] = []
    # Warm start of the splits: u = ∇x and v = D⊛(p − d) of the start. From zero they smooth it away at first, and its
    # mean comes back slowly: 70 iterations for what otherwise takes 15 to 40.
    right_t, right_s = engine.gradient(para - dia), engine.gradient(gamma * (para + dia))
    right_field = engine.irfftn(engine.rfftn(para - dia) * problem.kernel)

    def gather(s: slice) -> None:
        """Right-hand sides for p − d and p + d, of the gradient and source splits."""
        p = RHO_SOURCE / 2 * (sources[0][s] - duals[0][s])
        d = RHO_SOURCE / 2 * (sources[1][s] - duals[1][s])
        right_total[s] = RHO_GRADIENT * work_p[s] + p - d
        right_sum[s] = RHO_GRADIENT * gamma * work_d[s] + p + d

    def update(predicted: Any, total: Any, both: Any, s: slice) -> None:
        """Field split, then source split: two-variable least squares with p, d ≥ 0."""
        t = dual_field[s] + predicted[s]
        dual_field[s] = (t - problem.field[s]) * share[s]
        right_field[s] = t - 2 * dual_field[s]
        misfit[s] = predicted[s] - problem.field[s]
        work_p[s] = 0.5 * (both[s] + total[s])
        work_d[s] = 0.5 * (both[s] - total[s])
        _update_sources(problem, s, (work_p, work_d), sources, duals, change)

    for number in range(iterations):
        cancel.check()
        engine.gradient_adjoint(right_t, work_p)
        engine.gradient_adjoint(right_s, work_d)

        engine.pointwise(gather)
        spectrum = engine.rfftn(right_field)
        spectrum *= RHO_FIELD * problem.kernel
        spectrum += engine.rfftn(right_total)
        spectrum *= inverse_total
        predicted = engine.irfftn(spectrum * problem.kernel)
        total = engine.irfftn(spectrum)
        spectrum = engine.rfftn(right_sum)
        spectrum *= inverse_sum
        both = engine.irfftn(spectrum)

        engine.pointwise(partial(update, predicted, total, both))
        if number + 1 in refinements:
            edges = problem.refine(sources)
        both *= gamma
        engine.shrink_along_edges([total, both], [dual_t, dual_s], [right_t, right_s], threshold, edges)
        size = _norm(engine, sources)
        relative = _norm(engine, change) / size if size else 0.0
        history.append(relative)
        progress((number + 1) / iterations, f"Iterative separation, iteration {number + 1}")
        if relative <= tolerance and (number + 1 >= fewest or not size):
            break
    residuals = _residuals(problem, engine, misfit, sources, (work_p, work_d))
    report = Convergence("iterative separation", len(history), tolerance, history[-1], residuals, tuple(history))
    return sources[0], sources[1], report


def _update_sources(
    problem: JointProblem, s: slice, estimate: tuple[Any, Any], sources: list, duals: list, change: list
) -> None:
    """Solve min ½m(αp + βd − y)² + ½ρ((p − t)² + (d − u)²), p, d ≥ 0, of a slab, and update its scaled duals.

    The Hessian has a positive off-diagonal, so a source that is negative without the constraint is 0 with it, and
    the other one is the clipped solution of what remains.
    """
    rho, alpha, beta = RHO_SOURCE, problem.alpha, problem.beta
    inside, m, y = problem.mask[s], problem.rate_weight[s], problem.rate[s]
    t, u = estimate[0][s] + duals[0][s], estimate[1][s] + duals[1][s]
    step = m * (alpha * t + beta * u - y) / (rho + m * (alpha * alpha + beta * beta))
    p, d = t - alpha * step, u - beta * step
    p_alone = (rho * t + alpha * m * y) / (rho + alpha * alpha * m)
    d_alone = (rho * u + beta * m * y) / (rho + beta * beta * m)
    p_negative, d_negative = p < 0, d < 0
    p = (p * ~d_negative + p_alone * d_negative) * ~p_negative
    d = (d * ~p_negative + d_alone * p_negative) * ~d_negative
    outside = rho / (rho + problem.outside) * ~inside
    for new, plain, source, dual, moved in zip((p, d), (t, u), sources, duals, change):
        new = new * (new > 0) * inside + plain * outside
        moved[s] = (new - source[s]) * inside
        source[s] = new
        dual[s] = plain - new


def _residuals(problem: JointProblem, engine: Any, misfit: Any, sources: list, estimate: tuple[Any, Any]) -> dict:
    """Relative misfits in the mask, and how far the splits still disagree."""
    root = problem.field_weight**0.5
    rate_root = problem.rate_weight**0.5
    rate = problem.alpha * sources[0] + problem.beta * sources[1] - problem.rate
    gap = [(e - s) * problem.mask for e, s in zip(estimate, sources)]
    return {
        "field": _ratio(engine.norm(misfit * root), engine.norm(problem.field * root)),
        "R2′": _ratio(engine.norm(rate * rate_root), engine.norm(problem.rate * rate_root)),
        "split": _ratio(_norm(engine, gap), _norm(engine, [s * problem.mask for s in sources])),
    }


def _norm(engine: Any, arrays: list) -> float:
    return sum(engine.norm(a) ** 2 for a in arrays) ** 0.5


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
