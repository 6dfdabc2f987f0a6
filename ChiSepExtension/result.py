"""What a run gives back: the maps on the grid of the input, and how they came about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .geometry import Grid


@dataclass(frozen=True)
class MapKind:
    """How a map is named, stored and read."""

    name: str
    file_name: str
    unit: str
    description: str


#: The maps of a run in the order they are shown: attribute of `Result`, BIDS-style file name, unit, meaning.
MAP_KINDS: tuple[MapKind, ...] = (
    MapKind("chi_para", "desc-paramagnetic_Chimap", "ppm", "Paramagnetic susceptibility source (iron), never negative"),
    MapKind(
        "chi_dia",
        "desc-diamagnetic_Chimap",
        "ppm",
        "Magnitude of the diamagnetic susceptibility source (myelin), never negative: bright means more",
    ),
    MapKind("chi_total", "Chimap", "ppm", "Total susceptibility, chi_para - chi_dia"),
    MapKind("qsm", "desc-qsm_Chimap", "ppm", "Total susceptibility by dipole inversion, input of the separation"),
    MapKind("r2star_hz", "R2starmap", "1/s", "Effective transverse relaxation rate R2*"),
    MapKind("r2_hz", "R2map", "1/s", "Transverse relaxation rate R2, from the spin echo"),
    MapKind("r2prime_hz", "R2primemap", "1/s", "Reversible transverse relaxation rate R2'"),
    MapKind(
        "trust",
        "desc-trust_map",
        "",
        "Trust in the sources, 0 to 1; 0.5 where an error of 10 ppb is expected of either",
    ),
    MapKind("chi_para_error", "desc-paramagnetic_Chistandarderror", "ppm", "Standard error of chi_para from noise"),
    MapKind("chi_dia_error", "desc-diamagnetic_Chistandarderror", "ppm", "Standard error of chi_dia from noise"),
    MapKind("local_field_ppm", "desc-local_fieldmap", "ppm", "Local field, background removed"),
    MapKind("total_field_hz", "desc-total_fieldmap", "Hz", "Total field, fitted to the unwrapped phase"),
    MapKind("mask", "desc-brain_mask", "", "Voxels in which the maps are defined"),
)


@dataclass(frozen=True, eq=False)
class Result:
    """Maps of one run, all float32 (z, y, x) on ``grid``, which is the grid of the input.

    ``chi_para``, ``chi_dia`` and ``chi_total`` in ppm, ``chi_dia`` as a positive magnitude;
    ``chi_total = chi_para - chi_dia``. ``mask`` is where they are defined (the brain mask after background removal);
    outside it every map is 0. ``qsm``, ``total_field_hz``, ``r2_hz``, ``trust`` (0 to 1) and the standard errors (ppm)
    are None where a run did not make them.
    """

    chi_para: np.ndarray
    chi_dia: np.ndarray
    r2star_hz: np.ndarray
    r2prime_hz: np.ndarray
    local_field_ppm: np.ndarray
    mask: np.ndarray
    grid: Grid
    qsm: np.ndarray | None = None
    total_field_hz: np.ndarray | None = None
    r2_hz: np.ndarray | None = None
    trust: np.ndarray | None = None
    chi_para_error: np.ndarray | None = None
    chi_dia_error: np.ndarray | None = None
    brain_mask: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def chi_total(self) -> np.ndarray:
        return self.chi_para - self.chi_dia

    @property
    def warnings(self) -> list[str]:
        """What the user should know before trusting the maps, in plain words."""
        return self.provenance.get("warnings", [])

    def maps(self) -> dict[str, np.ndarray]:
        """Name → array of every map that this run made, in the order of `MAP_KINDS`."""
        named = ((kind.name, getattr(self, kind.name)) for kind in MAP_KINDS)
        return {name: array for name, array in named if array is not None}
