"""The solver of the iterative separation: both sources at once, by ADMM, on any array engine.

Minimise over p, d (paramagnetic and diamagnetic source, ppm)::

    ½‖W(D⊛(p − d) − δ)‖² + ½µ‖W_r(α·p + β·d − y)‖² + λ Σ e·√(|∇p|² + |∇d|²)      p, d ≥ 0 in the mask
                                                     + ½ε(p² + d²)               outside it

with α = Dr_para/Dr, β = Dr_dia/Dr, y = R2′/Dr, Dr their mean. Three splits (gradients, field, sources) leave steps that
are each solved exactly: in k-space for p − d and p + d, which decouple, and voxel by voxel for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from ..progress import CancelToken, Progress
from .convergence import Convergence

#: ADMM penalties of the gradient split (mm²), the source split and the field split. Of 0.005…0.06, 0.03…0.3 and 0.1…1
#: these came within 1 % of the minimum in the fewest iterations: 40, where the worst needed more than 300.
RHO_GRADIENT = 0.06
RHO_SOURCE = 0.03
RHO_FIELD = 0.1
#: The sources hardly move while the duals are still small, which is not convergence.
FEWEST_ITERATIONS = 10


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
    threshold
        λ·e.
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
    threshold: Any
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
    inverse_total = RHO_GRADIENT / 2 * problem.gradient_spectrum + RHO_SOURCE / 2
    inverse_total += RHO_FIELD * problem.kernel**2
    inverse_total = 1 / inverse_total
    inverse_sum = 1 / (RHO_GRADIENT * problem.gradient_spectrum + RHO_SOURCE)
    threshold = problem.threshold / RHO_GRADIENT
    share = problem.field_weight / (problem.field_weight + RHO_FIELD)

    dual_p, dual_d, right_p, right_d = (engine.zeros(3) for _ in range(4))
    dual_field, misfit = engine.zeros(), engine.zeros()
    sources = [para, dia]
    duals = [engine.zeros(), engine.zeros()]
    right_total, right_sum = engine.zeros(), engine.zeros()
    work_p, work_d, change = engine.zeros(), engine.zeros(), [engine.zeros(), engine.zeros()]
    history: list[float] = []
    # Warm start of the splits: u = ∇x and v = D⊛(p − d) of the start. From zero they smooth it away at first, and its
    # mean comes back slowly: 70 iterations for what otherwise takes 15 to 40.
    engine.shrink_gradients(sources, [dual_p, dual_d], [right_p, right_d], 0.0)
    right_field = engine.irfftn(engine.rfftn(para - dia) * problem.kernel)

    def gather(s: slice) -> None:
        """Right-hand sides for p − d and p + d: ½(…)_p ∓ ½(…)_d of the gradient and source splits."""
        p = RHO_GRADIENT * work_p[s] + RHO_SOURCE * (sources[0][s] - duals[0][s])
        d = RHO_GRADIENT * work_d[s] + RHO_SOURCE * (sources[1][s] - duals[1][s])
        right_total[s] = 0.5 * (p - d)
        right_sum[s] = p + d

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
        engine.gradient_adjoint(right_p, work_p)
        engine.gradient_adjoint(right_d, work_d)

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
        engine.shrink_gradients([work_p, work_d], [dual_p, dual_d], [right_p, right_d], threshold)
        size = _norm(engine, sources)
        relative = _norm(engine, change) / size if size else 0.0
        history.append(relative)
        progress((number + 1) / iterations, f"Iterative separation, iteration {number + 1}")
        if relative <= tolerance and number + 1 >= FEWEST_ITERATIONS:
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
