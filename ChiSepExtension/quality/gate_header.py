"""The gate's rows that need no image values: what the header says, against what the method was made for.

Green, amber and red follow one rule where the table of limits leaves a gap: what lies beyond amber is red, and what is
not known is amber, but for B0's direction, the echo times and the manufacturer, without which the maps would be
guesses: there it is red. The limits between amber and red are proposals, not findings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..acquisition.gradient_echo import GradientEchoSeries
from ..options import DR_NETWORKS_3T, Options
from .gate_rows import AMBER, GREEN, RED, GateRow

#: Rounding of headers: float32 matrices keep voxel sizes to 1e-6, DICOM echo times have a few decimals.
_ROUNDING = 1e-4

#: Words in ImageType or the series description that say the phase was filtered, and one that says it was resampled.
_FILTERED = re.compile(r"SWAN|FILT|HIGH.?PASS|\bHPF?\b|HOMODYNE|\bMI?N?IP\b|\bSWI\b", re.IGNORECASE)
_RESAMPLED = re.compile(r"\bDIS[23]D\b", re.IGNORECASE)
_NOT_A_PERSON = re.compile(
    r"ex.?vivo|post.?mortem|specimen|animal|mouse|\brats?\b|macaque|monkey|marmoset|bottle|\bphantom", re.IGNORECASE
)


@dataclass(frozen=True)
class Header:
    """What is known about a scan without looking at its voxels; None or empty is unknown.

    Parameters
    ----------
    spacing_mm
        Voxel size along the array axes (z, y, x).
    b0_angle_deg
        Angle between B0 and the nearest axis of the image.
    phase_type, description
        DICOM ImageType of the phase images, and the series description.
    subject
        "simulated", or words that tell what was scanned.
    bipolar
        True if the read-out changes its direction from echo to echo.
    """

    field_strength_t: float | None = None
    spacing_mm: tuple[float, float, float] | None = None
    echo_times_s: tuple[float, ...] = ()
    b0_angle_deg: float | None = None
    manufacturer: str | None = None
    phase_type: tuple[str, ...] = ()
    description: str = ""
    age_years: float | None = None
    subject: str = ""
    bipolar: bool | None = None

    @classmethod
    def of(cls, series: GradientEchoSeries) -> Header:
        """The header of a series; see `PROVENANCE_KEYS` for what its provenance may tell."""
        facts, grid = series.provenance, series.grid
        known = facts.get("orientation_known", not _is_default_orientation(grid.ijk_to_ras))
        simulated = facts.get("source") == "simulated"
        words = facts.get("phase_image_type") or ()
        return cls(
            field_strength_t=series.field_strength_t,
            spacing_mm=grid.spacing_mm,
            echo_times_s=tuple(float(t) for t in series.echo_times_s),
            b0_angle_deg=grid.b0_angle_deg if known else None,
            manufacturer=facts.get("manufacturer") or ("simulated" if simulated else None),
            phase_type=tuple(words.split("\\") if isinstance(words, str) else words),
            description=str(facts.get("series_description") or ""),
            age_years=_age(facts.get("age_years", facts.get("patient_age"))),
            subject=str(facts.get("subject") or ("simulated" if simulated else "")),
            bipolar={"monopolar": False, "bipolar": True}.get(str(facts.get("readout", "")).lower()),
        )


#: Keys of `GradientEchoSeries.provenance` that the gate reads.
PROVENANCE_KEYS: dict[str, str] = {
    "manufacturer": "as in DICOM (0008,0070)",
    "phase_image_type": "ImageType of a phase image, a list or one string with backslashes",
    "series_description": "as in DICOM (0008,103E)",
    "age_years": "a number, or DICOM's (0010,1010) such as 045Y",
    "subject": "what was scanned, in words, if not a living adult",
    "orientation_known": "False if the file has no orientation",
    "readout": "monopolar or bipolar",
    "phase_repairs": "list of the repairs that were made on the phase",
    "source": "simulated",
}


@dataclass(frozen=True)
class PhaseEvidence:
    """What the phase itself tells; None is undecided. Made by `gate_data.phase_evidence`."""

    largest_rad: float
    #: Length of the mean unit phasor of the last echo over 12 mm blocks of the head: near 1 after a high-pass filter.
    flatness: float | None = None
    #: Size in rad of the phase that alternates from echo to echo.
    alternating_rad: float | None = None


def check_header(
    header: Header,
    options: Options | None = None,
    *,
    measured_r2prime: bool = False,
    is_echo_train: bool = True,
    network_dr: float | None = None,
    evidence: PhaseEvidence | None = None,
    repairs: Iterable[str] = (),
) -> list[GateRow]:
    """The rows of the header, in the order of the table of limits.

    Parameters
    ----------
    measured_r2prime
        An R2 or R2′ map, or a spin-echo series, is there.
    is_echo_train
        False for spin echoes that stimulated echoes cannot be corrected in, such as a dual-echo TSE.
    network_dr
        Dr that the chosen network was trained with, None for the default.
    evidence
        What the phase images themselves tell.
    repairs
        Repairs made on the phase (names of `gate_rows.MENDS`).
    """
    options = options or Options()
    return [
        _field(header.field_strength_t, options),
        _voxel(header.spacing_mm),
        _echoes(header.echo_times_s),
        _echo_spacing(header.echo_times_s),
        _echo_range(header.echo_times_s, header.field_strength_t),
        _phase(header, evidence, tuple(repairs)),
        _b0(header.b0_angle_deg),
        _r2prime(options, measured_r2prime, is_echo_train),
        _dr(options, header.field_strength_t, network_dr),
        _vendor(header.manufacturer),
        _subject(header),
    ]


def _field(tesla: float | None, options: Options) -> GateRow:
    key, title = "field", "Field strength"
    if tesla is None or not np.isfinite(tesla):
        return GateRow(key, title, AMBER, "unknown", "The field strength is not in the header.", "give-field-strength")
    value = f"{tesla:.3g} T"
    if _within(tesla, 2.8, 3.1):
        return GateRow(key, title, GREEN, value, "The methods were made for 3 T.")
    if _within(tesla, 6.5, 7.5):
        if not options.uses_networks:
            return GateRow(
                key, title, AMBER, value, "Dr was measured at 3 T and is scaled with the field strength to 7 T."
            )
        if options.method == "sepnet-r2prime" and options.resolution == "generalise":
            return GateRow(key, title, AMBER, value, "The networks were trained at 3 T; resolution is generalised.")
        reason = "Networks trained at 3 T fail at 7 T" + (
            ", the one from R2* to R2′ above all." if options.method == "sepnet-r2star" else " without generalisation."
        )
        return GateRow(key, title, RED, value, reason, "choose-model-method")
    return GateRow(key, title, RED, value, "The methods were shown to work at 3 T and 7 T only.")


def _voxel(spacing: tuple[float, float, float] | None) -> GateRow:
    key, title = "voxel", "Voxel size"
    if spacing is None:
        return GateRow(key, title, AMBER, "unknown", "The voxel size is not in the header.")
    low, high = min(spacing), max(spacing)
    ratio = high / low
    value = "×".join(f"{s:.3g}" for s in spacing[::-1]) + f" mm (longest over shortest side {ratio:.2g})"
    if low < 0.6 - _ROUNDING:
        return GateRow(key, title, RED, value, "Voxels below 0.6 mm underestimate susceptibility and are mostly noise.")
    if high > 2.0 + _ROUNDING:
        return GateRow(key, title, RED, value, "A side above 2 mm is too coarse for lesions, veins and their field.")
    if _within(low, 0.9, 1.1) and _within(high, 0.9, 1.1) and ratio <= 1.2 + _ROUNDING:
        return GateRow(key, title, GREEN, value, "The methods were made for 1 mm.")
    if high <= 1.5 + _ROUNDING or ratio <= 2 + _ROUNDING:
        return GateRow(
            key, title, AMBER, value, "Not 1 mm isotropic: networks resample, and small lesions are blurred."
        )
    return GateRow(key, title, RED, value, "The voxels are too far from a cube: the dipole inversion streaks.")


def _echoes(times: tuple[float, ...]) -> GateRow:
    key, title, count = "echoes", "Number of echoes", len(times)
    value = f"{count} echoes"
    if count >= 5:
        return GateRow(key, title, GREEN, value, "Five or more echoes are recommended.")
    if count >= 3:
        return GateRow(key, title, AMBER, value, "Five echoes are recommended; fits of R2* and field are noisier.")
    return GateRow(key, title, RED, value, "Fewer than 3 echoes leave errors of R2* and of the field unseen.")


def _echo_spacing(times: tuple[float, ...]) -> GateRow:
    key, title = "echo-spacing", "Echo spacing"
    if not times:
        return GateRow(key, title, RED, "no echo times", "Without echo times there is no field.", "give-echo-times")
    if len(times) < 3:
        return GateRow(key, title, AMBER, f"{len(times)} echo times", "There are no two spacings to compare.")
    steps = 1e3 * np.diff(times)
    spread = float(np.ptp(steps))
    if spread <= 0.001 + 1e-6:
        return GateRow(key, title, GREEN, f"{steps.mean():.4g} ms", "The echoes are equally spaced.")
    value = f"{steps.min():.4g} to {steps.max():.4g} ms"
    return GateRow(key, title, AMBER, value, "The spacing is unequal: R2* is fitted without the closed form (ARLO).")


def _echo_range(times: tuple[float, ...], field_strength_t: float | None) -> GateRow:
    key, title = "echo-range", "First and last echo time"
    if not times:
        return GateRow(key, title, RED, "no echo times", "Without echo times there is no field.", "give-echo-times")
    first, last = 1e3 * times[0], 1e3 * times[-1]
    value = f"{first:.4g} to {last:.4g} ms"
    # R2* of tissue grows with the field: at 7 T the decay of 20 ms at 3 T is over after 9.
    earliest = 20 * 3 / max(field_strength_t or 3.0, 3.0)
    if last < earliest - _ROUNDING:
        reason = f"A last echo before {earliest:.3g} ms is too early for R2* of tissue at this field strength."
        return GateRow(key, title, RED, value, reason)
    if last > 45 + _ROUNDING:
        return GateRow(key, title, RED, value, "A last echo after 45 ms is noise in iron-rich tissue.")
    if first > 7 + _ROUNDING:
        return GateRow(key, title, AMBER, value, "The first echo comes after 7 ms: fast decay is missed.")
    if _within(last, 25, 35):
        return GateRow(key, title, GREEN, value, "The echoes cover the decay of tissue.")
    return GateRow(key, title, AMBER, value, "The last echo is best between 25 and 35 ms.")


def _phase(header: Header, evidence: PhaseEvidence | None, repairs: tuple[str, ...]) -> GateRow:
    key, title = "phase", "Phase images"
    words = "\\".join(header.phase_type)
    if filtered := _FILTERED.search(words.replace("_", " ")):
        return GateRow(key, title, RED, words, f"“{filtered[0]}” says that the phase was filtered: the field is lost.")
    if evidence is not None:
        if evidence.largest_rad > 50:
            return GateRow(key, title, RED, f"up to {evidence.largest_rad:.4g}", "These numbers are not radians.")
        # Measured on simulated heads of 1.5 to 2 mm at 3 T: raw last echoes 0.0 to 0.3, high-pass filtered 0.95 up.
        if evidence.flatness is not None and evidence.flatness > 0.8:
            return GateRow(
                key,
                title,
                RED,
                f"mean phasor {evidence.flatness:.2f} (raw phase: below 0.5)",
                "The phase is flat over the head, as after a high-pass (SWI) filter: the field is lost.",
            )
        if evidence.flatness is not None and evidence.flatness > 0.5:
            value = f"mean phasor {evidence.flatness:.2f} (raw phase: below 0.5)"
            return GateRow(
                key, title, AMBER, value, "The phase is flatter over the head than raw phase; was it filtered?"
            )
        if evidence.largest_rad > 1.2 * np.pi:
            value = f"up to {evidence.largest_rad:.3g} rad"
            return GateRow(key, title, AMBER, value, "The phase was unwrapped before; errors of that stay in it.")
    if repairs:
        return GateRow(key, title, AMBER, ", ".join(repairs), "The phase was repaired before the run.")
    alternating = 0.0 if evidence is None else evidence.alternating_rad or 0.0
    if header.bipolar or alternating > 0.2:
        value = "bipolar read-out" if header.bipolar else f"odd and even echoes differ by {alternating:.2f} rad"
        reason = "The read-out changes direction from echo to echo, which adds a phase of its own."
        return GateRow(key, title, AMBER, value, reason, "correct-bipolar")
    if resampled := _RESAMPLED.search(words):
        return GateRow(key, title, AMBER, words, f"“{resampled[0]}” says that the phase was resampled by the scanner.")
    if _FILTERED.search(header.description.replace("_", " ")) and (evidence is None or evidence.flatness is None):
        return GateRow(key, title, AMBER, header.description, "The description hints at a filter; look at the phase.")
    if evidence is not None and evidence.flatness is not None and evidence.flatness < 0.5:
        return GateRow(
            key, title, GREEN, f"mean phasor {evidence.flatness:.2f}", "The phase is wrapped and unfiltered."
        )
    if header.phase_type and "ORIGINAL" in (word.upper() for word in header.phase_type):
        return GateRow(key, title, GREEN, words, "The scanner's own phase, without a filter in its name.")
    return GateRow(key, title, AMBER, "unknown", "Nothing tells whether the phase was filtered.")


def _b0(angle: float | None) -> GateRow:
    key, title = "b0-direction", "Direction of B0"
    if angle is None:
        reason = "The file has no orientation: the dipole would point anywhere."
        return GateRow(key, title, RED, "unknown", reason)
    value = f"{abs(angle):.1f}° from the nearest axis"
    if abs(angle) <= 5 + _ROUNDING:
        return GateRow(key, title, GREEN, value, "The scan is straight; what is left is corrected.")
    if abs(angle) <= 30 + _ROUNDING:
        return GateRow(key, title, AMBER, value, "The scan is oblique: the dipole is rotated, networks resample.")
    return GateRow(key, title, RED, value, "The scan is tilted by more than 30°, beyond what was tested.")


def _r2prime(options: Options, measured: bool, is_echo_train: bool) -> GateRow:
    key, title = "r2prime", "Source of R2′"
    if not options.uses_r2prime:
        return GateRow(key, title, AMBER, "R2* only", "R2′ is not measured; the maps depend on R2* and say so.")
    if measured and not is_echo_train:
        reason = "These spin echoes are no train: stimulated echoes stay in R2, which is off by 0.5 to 3 s⁻¹."
        return GateRow(key, title, AMBER, "measured, plain exponential", reason)
    if measured:
        return GateRow(key, title, GREEN, "measured", "R2 was measured in this head.")
    assumed = "one R2 for all tissue" if options.r2prime_fallback == "constant-r2" else "a fixed share of R2*"
    if options.needs_measured_r2prime:
        return GateRow(key, title, RED, "missing", "This method needs a measured R2′.", "give-r2")
    reason = "R2′ is an assumption, not a measurement: χ_para and χ_dia are biased between tissues."
    return GateRow(key, title, RED, assumed, reason, "give-r2")


def _dr(options: Options, tesla: float | None, network_dr: float | None) -> GateRow:
    key, title = "dr", "Relaxometric constant Dr"
    if options.uses_networks:
        trained = network_dr or DR_NETWORKS_3T
        used = options.dr_para or trained
        value = f"{used:g} s⁻¹/ppm"
        if abs(used - trained) <= 0.5:
            return GateRow(key, title, GREEN, value, "The networks were trained with this constant.")
        reason = f"The networks were trained with {trained:g}: both maps would be scaled."
        return GateRow(key, title, RED, value, reason, "use-default-dr")
    if options.method == "r2star-qsm":
        return GateRow(key, title, GREEN, "274 s⁻¹/ppm at 3 T, of R2*", "The constant of the method.")
    default = Options(method=options.method)
    para, dia = options.dr(tesla or 3.0)
    value = f"{para:.4g} s⁻¹/ppm" if para == dia else f"{para:.4g} and {dia:.4g} s⁻¹/ppm"
    if np.allclose((para, dia), default.dr(tesla or 3.0), atol=0.5):
        return GateRow(key, title, GREEN, value, "137 at 3 T, scaled with the field strength.")
    return GateRow(key, title, AMBER, value, "Chosen by hand; compare only maps made with one Dr.", "use-default-dr")


def _vendor(manufacturer: str | None) -> GateRow:
    key, title = "vendor", "Manufacturer"
    if not manufacturer:
        reason = "Sign and scaling of phase differ between manufacturers; this one is not known."
        return GateRow(key, title, RED, "unknown", reason, "name-vendor")
    name = manufacturer.strip()
    if re.match(r"siemens|ge\b|g\.?e\.? |general electric", name, re.IGNORECASE):
        return GateRow(key, title, GREEN, name, "The rules for phase of this manufacturer are known.")
    if re.match(r"philips", name, re.IGNORECASE):
        return GateRow(key, title, AMBER, name, "Phase of this manufacturer can carry a bias from echo to echo.")
    if name == "simulated":
        return GateRow(key, title, AMBER, name, "Simulated data follow no manufacturer's rules.")
    return GateRow(key, title, RED, name, "There are no tested rules for phase of this manufacturer.", "name-vendor")


def _subject(header: Header) -> GateRow:
    key, title = "subject", "Subject"
    if header.subject == "simulated":
        return GateRow(key, title, AMBER, "simulated head", "A simulation, not a person.")
    if _NOT_A_PERSON.search(header.subject):
        reason = "The methods and their constants hold for living human brains."
        return GateRow(key, title, RED, header.subject, reason)
    age = header.age_years
    if age is None:
        return GateRow(
            key, title, AMBER, "age unknown", "Iron and myelin depend on age; reference values are for adults."
        )
    if 18 <= age <= 85:
        return GateRow(
            key, title, GREEN, f"{age:.0f} years", "An adult; reference values are known from 27 to 85 years."
        )
    return GateRow(key, title, AMBER, f"{age:.0f} years", "There are no reference values for this age.")


def _within(value: float, low: float, high: float) -> bool:
    return low - _ROUNDING <= value <= high + _ROUNDING


def _is_default_orientation(matrix: np.ndarray) -> bool:
    """Axes along the patient's and the first voxel at 0: what readers put where a file has no orientation."""
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(np.allclose(np.abs(axes), np.eye(3), atol=1e-6) and np.allclose(matrix[:3, 3], 0, atol=1e-6))


def _age(value: Any) -> float | None:
    """Age in years of a number or of DICOM's "045Y", "006M", "003W", "010D"."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if np.isfinite(value) and value >= 0 else None
    if isinstance(value, str) and (found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([YMWD]?)\s*", value.upper())):
        return float(found[1]) / {"": 1, "Y": 1, "M": 12, "W": 52.18, "D": 365.25}[found[2]]
    return None
