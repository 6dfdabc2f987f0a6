"""Maps that the user already has and the pipeline need not compute."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .errors import InputError
from .geometry import Grid


@dataclass(frozen=True, eq=False)
class GivenMaps:
    """Maps that the user already has, (z, y, x) on the grid of the series; None is computed.

    ``mask`` bool; ``r2_hz``, ``r2prime_hz``, ``r2star_hz`` in s⁻¹; ``local_field_ppm`` in ppm.
    """

    mask: np.ndarray | None = None
    r2_hz: np.ndarray | None = None
    r2prime_hz: np.ndarray | None = None
    r2star_hz: np.ndarray | None = None
    local_field_ppm: np.ndarray | None = None

    def validate(self, grid: Grid) -> GivenMaps:
        """Return self, or raise `InputError` naming the map that does not fit."""
        for name, array in self.named().items():
            if array.shape != grid.shape:
                raise InputError(
                    f"The given {name} has shape {array.shape}, the scan has {grid.shape}.",
                    "Resample it to the gradient-echo scan.",
                )
            if not np.isfinite(array).all():
                raise InputError(f"The given {name} holds NaN or infinite values.", "Set them to 0 outside the brain.")
        if self.mask is not None and not self.mask.any():
            raise InputError("The given mask is empty.", "Choose another mask, or none to have one made.")
        if self.r2prime_hz is not None and self.r2_hz is not None:
            raise InputError("R2 and R2′ were both given.", "Give one of them.")
        return self

    def named(self) -> dict[str, np.ndarray]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
