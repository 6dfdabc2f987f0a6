"""Data with known truth: a procedural head with MS lesions, its scan, and both as files.

>>> from ChiSepExtension.phantom import make_head, simulate_gradient_echo
>>> head = make_head(spacing_mm=2.0, seed=1)                      # doctest: +SKIP
>>> scan = simulate_gradient_echo(head, snr=100)                  # doctest: +SKIP
"""

from __future__ import annotations

from .case import simulate_case
from .files import SCALINGS, WrittenCase, stored_phase, write_bids
from .head import Head, default_grid, make_head
from .ms_lesions import LESION_MODELS, LesionType
from .scanner import Acquisition, simulate_gradient_echo, simulate_r2_map
from .tissues import TISSUES, Label

__all__ = [
    "LESION_MODELS",
    "SCALINGS",
    "TISSUES",
    "Acquisition",
    "Head",
    "Label",
    "LesionType",
    "WrittenCase",
    "default_grid",
    "make_head",
    "simulate_case",
    "simulate_gradient_echo",
    "simulate_r2_map",
    "stored_phase",
    "write_bids",
]
