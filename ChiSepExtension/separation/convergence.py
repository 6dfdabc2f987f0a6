"""How an iterative solver ended: measured, so that nobody has to assume that it was done."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass


class ConvergenceWarning(UserWarning):
    """An iterative solver reached its limit of iterations before its stopping rule was met."""


@dataclass(frozen=True)
class Convergence:
    """State of an iterative solver at its end.

    Parameters
    ----------
    method
        Name of the solver.
    iterations
        Iterations that were done.
    tolerance
        The stopping rule: relative change of the map in one iteration below this.
    relative_change
        ‖x_k − x_{k−1}‖ / ‖x_k‖ of the last iteration.
    residuals
        Relative misfit of each data term in the mask at the end, by name; 0 is a perfect fit, 1 is the zero map.
    history
        Relative change of each iteration.
    """

    method: str
    iterations: int
    tolerance: float
    relative_change: float
    residuals: dict[str, float]
    history: tuple[float, ...] = ()

    @property
    def converged(self) -> bool:
        return self.relative_change <= self.tolerance

    def describe(self) -> str:
        """One line for a log or a panel."""
        state = "converged" if self.converged else "stopped at its limit"
        misfit = ", ".join(f"{name} misfit {value:.3g}" for name, value in self.residuals.items())
        return (
            f"{self.method} {state} after {self.iterations} iterations: "
            f"last change {self.relative_change:.2g} (rule {self.tolerance:.2g}), {misfit}"
        )

    def warn_if_early(self) -> None:
        """Issue a `ConvergenceWarning` unless the stopping rule was met."""
        if not self.converged:
            message = f"{self.describe()}. Allow more iterations, or take the map as an approximation."
            warnings.warn(message, ConvergenceWarning, stacklevel=3)


#: Receives the report of a solver that itself returns a map.
OnConvergence = Callable[[Convergence], None]
