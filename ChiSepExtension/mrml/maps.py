"""The maps that the module makes: their names, what their numbers mean, and how each is shown."""

from __future__ import annotations

from dataclasses import dataclass

from .volumes import Code

PPM = Code("[ppm]", "UCUM", "ppm")
PPB = Code("[ppb]", "UCUM", "ppb")
PER_SECOND = Code("/s", "UCUM", "1/s")
SUSCEPTIBILITY = Code("126396", "DCM", "Magnetic Susceptibility")
R2STAR = Code("R2star", "99CHISEP", "R2* relaxation rate")
R2PRIME = Code("R2prime", "99CHISEP", "R2 prime relaxation rate")
TRUST = Code("Trust", "99CHISEP", "Trust in the sources, 0.5 where an error of 10 ppb is expected")
SHARE = Code("1", "UCUM", "0 to 1")
FIELD = Code("LocalField", "99CHISEP", "Local field shift relative to B0")


@dataclass(frozen=True)
class OutputMap:
    """One output of the separation.

    Parameters
    ----------
    key
        Attribute of the pipeline's result that holds the array.
    label
        What is appended to the input's name; also the legend's title, so plain ASCII (VTK text has no χ).
    shown_unit, shown_scale
        Unit in legends and read-outs, and the factor from the stored unit to it.
    windows
        Display range by preset, in the shown unit.
    overlay_color
        Name of Slicer's colour table for the overlay on the magnitude; None where only grey makes sense.
    transparent_below
        Values below this (shown unit) are not painted over the magnitude.
    """

    key: str
    parameter: str
    label: str
    title: str
    quantity: Code | None
    unit: Code | None
    shown_unit: str
    shown_scale: float
    windows: dict[str, tuple[float, float]]
    overlay_color: str | None = None
    transparent_below: float | None = None
    is_mask: bool = False


SURVEY, LESION = "Survey", "Lesion"
PRESETS = (SURVEY, LESION)

#: Windows: the whole-brain range of published viewers (0..100, ±100 ppb), and a narrower one because a lesion differs
#: from its surroundings by 5 to 20 ppb.
OUTPUT_MAPS: tuple[OutputMap, ...] = (
    OutputMap(
        "chi_para", "chiPara", "chi-para", "χ-para", SUSCEPTIBILITY, PPM, "ppb", 1e3,
        {SURVEY: (0.0, 100.0), LESION: (0.0, 50.0)}, "Inferno", 25.0,
    ),
    OutputMap(
        "chi_dia", "chiDia", "chi-dia", "χ-dia", SUSCEPTIBILITY, PPM, "ppb", 1e3,
        {SURVEY: (0.0, 100.0), LESION: (0.0, 60.0)}, "Viridis", 10.0,
    ),
    OutputMap(
        "chi_total", "chiTotal", "chi-total", "χ-total", SUSCEPTIBILITY, PPM, "ppb", 1e3,
        {SURVEY: (-100.0, 100.0), LESION: (-50.0, 50.0)},
    ),
    OutputMap(
        "r2star_hz", "r2star", "R2star", "R2*", R2STAR, PER_SECOND, "1/s", 1.0,
        {SURVEY: (0.0, 50.0), LESION: (0.0, 35.0)},
    ),
    OutputMap(
        "r2prime_hz", "r2prime", "R2prime", "R2′", R2PRIME, PER_SECOND, "1/s", 1.0,
        {SURVEY: (0.0, 30.0), LESION: (0.0, 15.0)},
    ),
    OutputMap(
        "local_field_ppm", "localField", "local field", "local field", FIELD, PPM, "ppb", 1e3,
        {SURVEY: (-100.0, 100.0), LESION: (-50.0, 50.0)},
    ),
    OutputMap(
        "trust", "trust", "trust", "trust", TRUST, SHARE, "", 1.0, {SURVEY: (0.0, 1.0), LESION: (0.0, 1.0)},
    ),
    OutputMap("mask", "brainMask", "brain mask", "brain mask", None, None, "", 1.0, {}, is_mask=True),
)  # fmt: skip

BY_KEY = {kind.key: kind for kind in OUTPUT_MAPS}
CHI_KEYS = ("chi_para", "chi_dia", "chi_total")
