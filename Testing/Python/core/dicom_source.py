"""The DICOM images that maps were computed from, with a patient, for the tests of the DICOM export."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ChiSepExtension.acquisition.gradient_echo import GradientEchoSeries
from ChiSepExtension.geometry import Grid
from ChiSepExtension.lesions.deidentify import Identity
from ChiSepExtension.phantom.dicom_files import write_dicom

PATIENT = ("DOE^JANE", "PAT0815", "19700131", "F")
JANE = Identity(names=[PATIENT[0]], ids=[PATIENT[1]], birth_dates=[PATIENT[2]])


def scan_images(folder: Path, grid: Grid, style: str = "siemens", **changes) -> list[Path]:
    """Magnitude and phase of two echoes on a grid whose slices are the frames."""
    rng = np.random.default_rng(0)
    magnitude = rng.uniform(0.1, 1, (2, *grid.shape)).astype(np.float32)
    phase = rng.uniform(-3.1, 3.1, (2, *grid.shape)).astype(np.float32)
    series = GradientEchoSeries(magnitude, phase, np.array([0.005, 0.010]), 3.0, grid)
    return write_dicom(folder, series, style=style, patient=PATIENT, **changes)
