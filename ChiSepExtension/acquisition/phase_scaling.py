"""From the numbers a scanner or converter stores to phase in radians.

One decision is made for all echoes together, from the spans that vendors and converters are known to use. The data's
own minimum and maximum never define the scale: an echo whose phase stays short of ±π would be stretched, unlike its
neighbours, and every later step would look plausible and be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class PhaseSpan:
    """A stored span [low, high] that stands for one period: radians = (value - low) · 2π / period - π."""

    name: str
    low: float
    high: float
    period: float
    description: str
    integer: bool = False

    def to_radians(self, values: np.ndarray) -> np.ndarray:
        """Float32 radians of stored values; a span that is radians already is passed through unchanged."""
        scale = 2 * np.pi / self.period
        if self.name == "radians":
            return values.astype(np.float32, copy=False)
        centre = self.low + self.period / 2
        return ((values.astype(np.float32, copy=False) - np.float32(centre)) * np.float32(scale)).astype(np.float32)


_PI = float(np.pi)

#: Sources: measured on real files of each kind (Siemens VE11 research and product, Philips classic, converted NIfTI);
#: the GE span is what their polar export is documented to use and is not verified on a scanner's file.
KNOWN_SPANS: tuple[PhaseSpan, ...] = (
    PhaseSpan("radians", -_PI, _PI, 2 * _PI, "radians, -π..π"),
    PhaseSpan("radians-unsigned", 0.0, 2 * _PI, 2 * _PI, "radians, 0..2π"),
    PhaseSpan("milliradians", -3142.0, 3142.0, 2000 * _PI, "milliradians, ±3142 (Philips, GE)"),
    PhaseSpan("siemens", -4096.0, 4096.0, 8192.0, "±4096 (Siemens product: slope 2, intercept -4096)"),
    PhaseSpan("siemens-unsigned", 0.0, 4096.0, 4096.0, "0..4095 (12 bit without rescale, Siemens research)", True),
    PhaseSpan("signed-12-bit", -2048.0, 2048.0, 4096.0, "±2048 (12 bit, signed)", True),
    PhaseSpan("degrees", -180.0, 180.0, 360.0, "degrees, ±180"),
    PhaseSpan("degrees-unsigned", 0.0, 360.0, 360.0, "degrees, 0..360"),
    # A NIfTI header slope applied twice: ±π arrives as ±0.0036744. Seen in a published data set.
    PhaseSpan("header-slope", -0.0036743768, 0.0036743768, 0.0073487536, "±0.00367 (a header slope applied twice)"),
)

#: Noise and wraps fill a period to the last per mille; 2 % is left for short or masked data.
MINIMUM_FILL = 0.98
#: Float rounding, and one stored step beyond the end of the span.
OVERSHOOT = 1.5e-3


def span_by_name(name: str) -> PhaseSpan:
    """The span a user or a sidecar names; `InputError` lists the names if it is unknown."""
    for span in KNOWN_SPANS:
        if span.name == name:
            return span
    names = ", ".join(span.name for span in KNOWN_SPANS)
    raise InputError(f"There is no phase scaling named “{name}”.", f"Choose one of: auto, {names}.")


def detect_span(stored: np.ndarray, *, stated_unit: str | None = None) -> PhaseSpan:
    """Recognise the span of stored phase, jointly over all echoes.

    Parameters
    ----------
    stored
        (echo, z, y, x) values as stored, header slope applied.
    stated_unit
        Unit from a sidecar (BIDS ``Units``: "rad", "arbitrary"); believed only where the data agree.

    Raises
    ------
    InputError
        If no known span fits, or the values do not behave like a phase (a magnitude, say).
    """
    low, high = float(stored.min()), float(stored.max())
    if not np.isfinite([low, high]).all():
        raise InputError("The phase holds values that are not numbers (NaN or infinite).", "Export it again.")
    if low == high:
        raise InputError(f"The phase is {low:g} everywhere.", "Check that the right files were given.")
    is_integer = bool(np.equal(np.mod(stored[:, :: max(1, stored.shape[1] // 16)], 1), 0).all())
    fitting = []
    for span in KNOWN_SPANS:
        width = span.high - span.low
        if low < span.low - OVERSHOOT * width or high > span.high + OVERSHOOT * width:
            continue
        if span.integer and not is_integer:
            continue
        fill = (high - low) / width
        stated = span.name == "radians" and stated_unit in ("rad", "radian", "radians") and fill > 0.05
        if fill >= MINIMUM_FILL or stated:
            fitting.append((width, span))
    if not fitting:
        raise InputError(
            f"The phase runs from {low:.6g} to {high:.6g}, which is none of the known spans "
            f"({'; '.join(s.description for s in KNOWN_SPANS)}).",
            "Give the scaling yourself (--phase-scaling NAME), or export the phase without filtering or masking.",
        )
    span = min(fitting, key=lambda item: item[0])[1]
    _refuse_open_period(stored, span)
    return span


def to_radians(
    stored: np.ndarray, *, scaling: str = "auto", stated_unit: str | None = None
) -> tuple[np.ndarray, PhaseSpan]:
    """Scale stored phase to float32 radians. Returns the phase and the span that was found or named."""
    if scaling == "auto":
        span = detect_span(stored, stated_unit=stated_unit)
    else:
        span = span_by_name(scaling)
        width = span.high - span.low
        low, high = float(stored.min()), float(stored.max())
        # Radians may be unwrapped by the user; every other span has ends.
        if span.name != "radians" and (low < span.low - OVERSHOOT * width or high > span.high + OVERSHOOT * width):
            raise InputError(
                f"The phase runs from {low:.6g} to {high:.6g}, outside {span.description}.",
                "Choose another phase scaling, or auto (--phase-scaling).",
            )
    return span.to_radians(stored), span


def _refuse_open_period(stored: np.ndarray, span: PhaseSpan) -> None:
    """Refuse values that do not close over the period.

    The two ends of a period are the same angle, so a phase is about as frequent just above the low end as just below
    the high end. A magnitude is crowded at zero and thin at its maximum. Exact zeros (a masked background) and the
    exact ends are left out.
    """
    values = stored[(stored != 0) & (stored != span.low)].ravel()
    if values.size == 0:
        raise InputError("The phase holds only zeros.", "Check that the right files were given.")
    values = values[:: max(1, values.size // 2_000_000)]
    edge = 0.05 * span.period
    low = int(np.count_nonzero(values < span.low + edge))
    high = int(np.count_nonzero(values > span.high - edge))
    if max(low, high) > 0.01 * values.size and max(low, high) > 10 * max(1, min(low, high)):
        raise InputError(
            f"The phase does not behave like a phase: {100 * low / values.size:.1f} % of its values lie at the low end "
            f"of {span.description} but {100 * high / values.size:.2f} % at the high end.",
            "Was a magnitude image given as phase? Check the order of the files.",
        )
