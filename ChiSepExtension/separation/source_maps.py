"""The result of every separation method: one map of each source, on the grid of the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .convergence import Convergence


@dataclass(frozen=True, eq=False)
class SourceMaps:
    """Paramagnetic and diamagnetic susceptibility.

    Parameters
    ----------
    chi_para, chi_dia
        (z, y, x) float32 in ppm, both ≥ 0; ``chi_dia`` is the magnitude of the diamagnetic source. 0 outside the mask.
    method
        What made them, as it is written into the provenance: "closed-form", "iterative", …
    standard_error_para, standard_error_dia
        (z, y, x) standard error in ppm from noise in the input, where the method can tell.
    convergence
        What an iterative method measured about itself; None for a direct one.
    parameters
        Everything needed to repeat the run: Dr, weights, iterations.
    """

    chi_para: np.ndarray
    chi_dia: np.ndarray
    method: str = ""
    standard_error_para: np.ndarray | None = None
    standard_error_dia: np.ndarray | None = None
    convergence: Convergence | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.chi_para.shape != self.chi_dia.shape:
            raise ValueError(f"Maps of shapes {self.chi_para.shape} and {self.chi_dia.shape} are not of one head.")

    @property
    def chi_total(self) -> np.ndarray:
        """(z, y, x) total susceptibility in ppm: paramagnetic minus diamagnetic."""
        return self.chi_para - self.chi_dia
