"""What a multi-echo gradient-echo scan measured, as one value object that knows when it is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid, to_closest_ras


@dataclass(frozen=True, eq=False)
class GradientEchoSeries:
    """Magnitude and phase of a multi-echo gradient-echo scan.

    Parameters
    ----------
    magnitude
        (echo, z, y, x) float32, arbitrary unit, one scale for all echoes, ≥ 0.
    phase
        (echo, z, y, x) float32 in radians, wrapped or not, paramagnetic-positive: phase = 2π · f · TE.
    echo_times_s
        (echo,) in seconds, ascending.
    field_strength_t
        B0 in tesla.
    grid
        Of one echo. B0's direction comes from it.
    provenance
        Where the data came from (files, vendor, phase scaling found, remarks to the user), JSON-able.
    """

    magnitude: np.ndarray
    phase: np.ndarray
    echo_times_s: np.ndarray
    field_strength_t: float
    grid: Grid
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "magnitude", np.asarray(self.magnitude, dtype=np.float32))
        object.__setattr__(self, "phase", np.asarray(self.phase, dtype=np.float32))
        object.__setattr__(self, "echo_times_s", np.asarray(self.echo_times_s, dtype=np.float64).ravel())
        object.__setattr__(self, "field_strength_t", float(self.field_strength_t))

    @property
    def number_of_echoes(self) -> int:
        return int(self.magnitude.shape[0])

    @property
    def b0_direction(self) -> np.ndarray:
        """Unit vector of B0 along the array axes (z, y, x)."""
        return self.grid.b0_direction

    @property
    def is_equally_spaced(self) -> bool:
        """True if all echo spacings agree within 0.01 ms, as ARLO needs."""
        spacings = np.diff(self.echo_times_s)
        return bool(len(spacings) > 0 and np.ptp(spacings) <= 1e-5)

    def in_closest_ras(self) -> tuple[GradientEchoSeries, Any]:
        """The same series turned losslessly to x→R, y→A, z→S, and the `Reorientation` that undoes it."""
        turn = to_closest_ras(self.grid)
        series = GradientEchoSeries(
            turn.apply(self.magnitude),
            turn.apply(self.phase),
            self.echo_times_s,
            self.field_strength_t,
            turn.target,
            dict(self.provenance),
        )
        return series, turn

    def validate(self) -> GradientEchoSeries:
        """Return self, or raise `InputError` with the reason and the remedy."""
        magnitude, phase, times = self.magnitude, self.phase, self.echo_times_s
        if magnitude.ndim != 4 or phase.ndim != 4:
            raise InputError(
                f"Magnitude and phase must be (echo, z, y, x), got {magnitude.shape} and {phase.shape}.",
                "Stack the echoes along the first axis.",
            )
        if magnitude.shape[0] != phase.shape[0]:
            raise InputError(
                f"There are {magnitude.shape[0]} magnitude echoes but {phase.shape[0]} phase echoes.",
                "Give magnitude and phase of the same echoes.",
            )
        if magnitude.shape != phase.shape or magnitude.shape[1:] != self.grid.shape:
            raise InputError(
                f"Magnitude {magnitude.shape[1:]}, phase {phase.shape[1:]} and grid {self.grid.shape} differ in shape.",
                "Give magnitude and phase of one scan, on one grid.",
            )
        _check_echo_times(times, magnitude.shape[0])
        if not 0.1 <= self.field_strength_t <= 25:
            raise InputError(
                f"A field strength of {self.field_strength_t:g} T is not plausible.",
                "Give it in tesla (--field-strength 3).",
            )
        for name, values in (("magnitude", magnitude), ("phase", phase)):
            bad = int(values.size - np.count_nonzero(np.isfinite(values)))
            if bad:
                raise InputError(
                    f"The {name} holds {bad} values that are not numbers (NaN or infinite).",
                    "Export it again; outside the head use 0, not NaN.",
                )
        _check_magnitude(magnitude)
        _check_phase(phase)
        return self


def _check_echo_times(times: np.ndarray, echoes: int) -> None:
    shown = ", ".join(f"{1e3 * t:g}" for t in times) + " ms"
    if len(times) != echoes:
        raise InputError(
            f"There are {echoes} echoes but {len(times)} echo times ({shown}).",
            "Give one echo time per echo, in the order of the images.",
        )
    if echoes < 2:
        raise InputError(
            "There is only one echo.",
            "R2* and the field need a multi-echo scan: at least 2 echoes, 5 are recommended.",
        )
    if not np.isfinite(times).all() or times.min() <= 0:
        raise InputError(f"The echo times ({shown}) must be positive numbers.", "Give them in seconds.")
    steps = np.diff(times)
    if (np.abs(steps) < 1e-6).any():
        raise InputError(f"Two echoes have the same echo time ({shown}).", "Give every echo its own time.")
    if (steps < 0).any():
        raise InputError(
            f"The echo times are not in ascending order ({shown}).",
            "Sort images and echo times together, first echo first.",
        )
    if times.max() > 0.5:
        raise InputError(
            f"Echo times up to {1e3 * times.max():g} ms are not plausible for a gradient-echo scan.",
            "Give them in seconds.",
        )


def _check_magnitude(magnitude: np.ndarray) -> None:
    if not magnitude.any():
        raise InputError("The magnitude is empty (all zero).", "Check that the right files were given.")
    for n, echo in enumerate(magnitude):
        if not echo.any():
            raise InputError(f"Magnitude echo {n + 1} is empty (all zero).", "Check that file or leave out that echo.")
    if magnitude.min() < 0:
        raise InputError(
            f"The magnitude holds negative values (down to {magnitude.min():g}).",
            "Were phase or real images given as magnitude, or unsigned integers stored as signed?",
        )


def _check_phase(phase: np.ndarray) -> None:
    if not phase.any():
        raise InputError("The phase is empty (all zero).", "Check that the right files were given.")
    for n, echo in enumerate(phase):
        if not echo.any():
            raise InputError(f"Phase echo {n + 1} is empty (all zero).", "Check that file or leave out that echo.")
