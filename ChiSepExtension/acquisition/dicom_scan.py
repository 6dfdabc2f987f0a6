"""A scan found among DICOM files: what it is, what is wrong with it, and its arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, silent
from .dicom_headers import ImageHeader
from .dicom_image_type import IMAGINARY, MAGNITUDE, PARTS, PHASE, REAL
from .dicom_phase import from_complex, phase_in_radians, undo_alternation
from .dicom_pixels import read_volumes, stated_span
from .dicom_stack import Volume
from .gradient_echo import GradientEchoSeries
from .images import echo_times_in_seconds
from .sidecar import Sidecar
from .spin_echo import SpinEchoSeries

GRADIENT_ECHO = "gradient-echo"
SPIN_ECHO = "spin-echo"
FIELD_MAP = "field-map"
COMPUTED = "computed"
OTHER = "other"


@dataclass(frozen=True)
class ScanProblem:
    """Why a scan cannot be used, and what to do. ``code`` names what the caller may give instead."""

    message: str
    remedy: str = ""
    code: str = ""


@dataclass(frozen=True, eq=False)
class FoundScan:
    """One scan among DICOM files.

    Parameters
    ----------
    number
        Position in the list, from 1.
    kind
        GRADIENT_ECHO, SPIN_ECHO, FIELD_MAP, COMPUTED (SWI, MIP, T2* map, …) or OTHER.
    title
        For people: "Multi-echo GRE (magnitude + phase, 5 echoes)".
    volumes
        What would be used, by part and ascending echo time.
    problems
        Why it cannot be used as it is; empty if it can.
    remarks
        What the user should know although it can be used.
    """

    number: int
    kind: str
    title: str
    volumes: tuple[Volume, ...]
    problems: tuple[ScanProblem, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        return self.kind in (GRADIENT_ECHO, SPIN_ECHO) and not self.problems

    @property
    def images(self) -> list[ImageHeader]:
        return [image for volume in self.volumes for image in volume.images]

    @property
    def files(self) -> list[Path]:
        """Every file of the scan once, sorted."""
        return sorted({image.path for image in self.images})

    @property
    def parts(self) -> tuple[str, ...]:
        there = {volume.part for volume in self.volumes}
        return tuple(part for part in PARTS if part in there)

    def volumes_of(self, part: str) -> list[Volume]:
        return [volume for volume in self.volumes if volume.part == part]

    @property
    def echo_times_s(self) -> list[float]:
        """Ascending; of the part that has the most of them."""
        times = [[v.echo_time_s for v in self.volumes_of(p) if v.echo_time_s is not None] for p in self.parts]
        return max(times, key=len, default=[])

    @property
    def grid(self) -> Grid | None:
        return next((volume.grid for volume in self.volumes if volume.grid is not None), None)

    @property
    def series_numbers(self) -> list[int]:
        return sorted({image.series_number for image in self.images if image.series_number is not None})

    @property
    def series_uids(self) -> list[str]:
        return sorted({image.series_uid for image in self.images})

    @property
    def study_uid(self) -> str:
        return self.volumes[0].first.study_uid

    @property
    def description(self) -> str:
        names = dict.fromkeys(i.series_description or i.protocol for i in (v.first for v in self.volumes))
        return ", ".join(name for name in names if name)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Of the scanner and the sequence, the most frequent value of each where images differ; without patient."""
        rows = [dict(image.facts) for image in self.images]
        found = {}
        for name in rows[0] if rows else ():
            values = Counter(row[name] for row in rows if row.get(name) not in (None, ""))
            if values:
                found[name] = values.most_common(1)[0][0]
        return found

    @property
    def vendor(self) -> str:
        """ "Siemens", "Philips", "GE" or what the header says."""
        return vendor_name(self.facts.get("manufacturer", ""))

    @property
    def field_strength_t(self) -> float | None:
        """B0 in tesla, from the imaging frequency where that agrees with the nominal value."""
        facts = self.facts
        names = {"MagneticFieldStrength": "field_strength_t", "ImagingFrequency": "imaging_frequency_mhz"}
        return Sidecar(None, {key: facts.get(name) for key, name in names.items()}).field_strength_t

    def to_dict(self) -> dict[str, Any]:
        """For JSON: without paths and without the patient."""
        grid = self.grid
        return {
            "number": self.number,
            "kind": self.kind,
            "title": self.title,
            "usable": self.usable,
            "series_numbers": self.series_numbers,
            "description": self.description,
            "images": len(self.images),
            "parts": {part: len(self.volumes_of(part)) for part in self.parts},
            "echo_times_s": self.echo_times_s,
            "geometry": None if grid is None else grid.describe(),
            "vendor": self.vendor,
            "field_strength_t": self.field_strength_t,
            "problems": [{"message": p.message, "remedy": p.remedy} for p in self.problems],
            "remarks": list(self.remarks),
        }

    def read_parts(
        self, *, progress: Progress = silent, cancel: CancelToken = NEVER
    ) -> tuple[dict[str, np.ndarray], Grid, list[str]]:
        """Rescaled values of every part, (echo, z, y, x) float32 in the scanner's units; the grid; remarks.

        Also for scans that cannot be used, such as field maps, as long as their slices make volumes on one grid.
        """
        grid = self.grid
        if grid is None or any(v.grid is None or not v.grid.matches(grid) for v in self.volumes):
            raise InputError(*self._first_problem("The slices do not make volumes on one grid."))
        parts, remarks = read_volumes(self.volumes, progress=progress, cancel=cancel)
        return {part: parts[part] for part in self.parts}, grid, remarks

    def read(
        self,
        *,
        phase_scaling: str = "auto",
        echo_times: Sequence[float] | None = None,
        field_strength: float | None = None,
        manufacturer: str | None = None,
        keep_identity: bool = False,
        progress: Progress = silent,
        cancel: CancelToken = NEVER,
    ) -> GradientEchoSeries:
        """The scan as a validated gradient-echo series.

        Parameters
        ----------
        phase_scaling
            "auto" or the name of a span in `phase_scaling.KNOWN_SPANS`.
        echo_times, field_strength
            Instead of those in the headers, in s (ascending, one per echo) and tesla.
        manufacturer
            Of the scanner, instead of what the headers state: decides how phase is read.
        keep_identity
            True puts the patient's name, identifier, birth date and sex, and the UIDs, into the provenance.

        Raises
        ------
        InputError
            With the first of `problems`, or what turns out to be wrong when the pixels are read.
        """
        if self.kind != GRADIENT_ECHO:
            raise InputError(*self._first_problem(f"{self.title} is no multi-echo gradient-echo scan."))
        self._refuse_problems(echo_times, field_strength)
        parts, grid, remarks = self.read_parts(progress=progress, cancel=cancel)
        repairs: list[str] = []
        magnitude, phase, scaling = self._complex(
            parts, phase_scaling, vendor_name(manufacturer) if manufacturer else self.vendor, remarks, repairs
        )
        remarks = [*self.remarks, *remarks]
        given = None if echo_times is None else echo_times_in_seconds(echo_times, remarks)
        times = np.array(self.echo_times_s) if given is None else given
        strength = self.field_strength_t if field_strength is None else field_strength
        provenance = self.provenance(keep_identity=keep_identity)
        provenance |= {"phase_scaling": scaling, "remarks": remarks}
        if manufacturer:
            provenance["manufacturer"] = manufacturer
        if repairs:  # what the gate calls them
            provenance["phase_repairs"] = repairs
        return GradientEchoSeries(magnitude, phase, times, strength, grid, provenance).validate()

    def read_spin_echo(
        self,
        *,
        echo_times: Sequence[float] | None = None,
        keep_identity: bool = False,
        progress: Progress = silent,
        cancel: CancelToken = NEVER,
    ) -> SpinEchoSeries:
        """The scan as a multi-echo spin-echo series (magnitude only)."""
        if self.kind != SPIN_ECHO and (PHASE in self.parts or len(self.volumes_of(MAGNITUDE)) < 2):
            raise InputError(*self._first_problem(f"{self.title} is no multi-echo spin-echo scan."))
        if self.kind == SPIN_ECHO:
            self._refuse_problems(echo_times, 0.0)
        parts, grid, remarks = self.read_parts(progress=progress, cancel=cancel)
        times = np.array(self.echo_times_s) if echo_times is None else echo_times_in_seconds(echo_times, remarks)
        flip = self.facts.get("flip_angle_deg")
        provenance = self.provenance(keep_identity=keep_identity) | {"remarks": [*self.remarks, *remarks]}
        # Some scanners state the refocusing angle as flip angle, others the excitation of at most 95°.
        return SpinEchoSeries(
            parts[MAGNITUDE], times, grid, flip if flip and flip > 95 else None, provenance
        ).validate()

    def provenance(self, *, keep_identity: bool = False) -> dict[str, Any]:
        """What to keep of the headers, JSON-able; the patient's identity and UIDs only if asked for."""
        facts = self.facts
        kept: dict[str, Any] = {
            "source": "DICOM",
            "dicom": {
                "images": len(self.images),
                "series_numbers": self.series_numbers,
                "parts": {part: len(self.volumes_of(part)) for part in self.parts},
                **{name: facts[name] for name in facts if name not in ("manufacturer", "age_years")},
            },
            "manufacturer": facts.get("manufacturer"),
            "series_description": self.description,
            "orientation_known": True,
        }
        if "age_years" in facts:
            kept["age_years"] = facts["age_years"]
        if PHASE in self.parts:
            kept["phase_image_type"] = list(self.volumes_of(PHASE)[0].first.image_type)
        if keep_identity:
            names = ("name", "identifier", "birth_date", "sex")
            kept["patient"] = dict(zip(names, self.volumes[0].first.patient))
            kept["study_uid"], kept["series_uids"] = self.study_uid, self.series_uids
        return kept

    def _complex(self, parts: dict[str, np.ndarray], scaling: str, vendor: str, remarks: list[str], repairs: list[str]):
        """(magnitude, phase in radians, name of the scaling) of the parts there are."""
        if PHASE in parts:
            unit = self.volumes_of(PHASE)[0].first.rescale_type
            spans = [stated_span(volume.first) for volume in self.volumes_of(PHASE)]
            phase, span = phase_in_radians(parts[PHASE], scaling=scaling, header_spans=spans, unit=unit)
            magnitude, name = parts[MAGNITUDE], span.name
            remarks.append(f"Phase read as {span.description}.")
        else:
            magnitude, phase = from_complex(parts[REAL], parts[IMAGINARY])
            magnitude, name = parts.get(MAGNITUDE, magnitude), "complex"
            remarks.append("Phase computed from real and imaginary images.")
        if vendor == "GE" or PHASE not in parts:
            phase, cosine = undo_alternation(phase, magnitude)
            if cosine is not None:
                repairs.append("repair-slices")
                remarks.append(f"Every second slice was turned by π (cosine between slices {cosine:.2f}).")
        if vendor == "GE":
            np.negative(phase, out=phase)
            repairs.append("invert-phase")
            remarks.append(
                "Phase was negated, as GE stores it with the opposite sign (not verified on a scanner: heed the "
                "check of the sign of phase after the run)."
            )
        return magnitude, phase, name

    def _refuse_problems(self, echo_times: Sequence[float] | None, field_strength: float | None) -> None:
        given = {"echo-times"} if echo_times is not None else set()
        given |= {"field-strength"} if field_strength is not None else set()
        for problem in self.problems:
            if problem.code not in given:
                raise InputError(problem.message, problem.remedy)

    def _first_problem(self, otherwise: str) -> tuple[str, str]:
        if self.problems:
            return self.problems[0].message, self.problems[0].remedy
        return otherwise, "Choose another scan."


def vendor_name(manufacturer: str) -> str:
    """Short name of a manufacturer as headers spell it."""
    low = manufacturer.lower()
    for word, name in (
        ("siemens", "Siemens"),
        ("philips", "Philips"),
        ("ge medical", "GE"),
        ("ge health", "GE"),
        ("general electric", "GE"),
    ):
        if word in low:
            return name
    return "GE" if low.strip() == "ge" else manufacturer.strip()
