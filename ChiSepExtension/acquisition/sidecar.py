"""JSON sidecars beside NIfTI files, as BIDS and dcm2niix write them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dipole import GAMMA_BAR_HZ_PER_T
from ..errors import InputError

_PHASE_DIFFERENCE = re.compile(r"(_phasediff|phase_?diff(erence)?)", re.IGNORECASE)


def without_suffix(path: Path) -> Path:
    """The path without .nii, .nii.gz, .nrrd or the like."""
    name = path.name
    for suffix in (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"):
        if name.lower().endswith(suffix):
            return path.with_name(name[: -len(suffix)])
    return path.with_suffix("")


@dataclass(frozen=True)
class Sidecar:
    """What the JSON file beside an image says; empty where there is none."""

    path: Path | None
    fields: dict[str, Any]

    @classmethod
    def beside(cls, image: str | Path) -> Sidecar:
        """Read the sidecar of an image file. A broken JSON is an `InputError`, a missing one is empty."""
        path = without_suffix(Path(image))
        path = path.with_name(path.name + ".json")
        if not path.is_file():
            return cls(None, {})
        try:
            fields = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise InputError(f"The sidecar {path} cannot be read: {error}.", "Mend or remove it.") from error
        if not isinstance(fields, dict):
            raise InputError(f"The sidecar {path} is not a JSON object.", "Mend or remove it.")
        return cls(path, fields)

    def number(self, name: str) -> float | None:
        """A field as a number, None if absent; `InputError` if it is something else."""
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"{name} in {self.path} is {value!r}, not a number.", "Mend the sidecar.")
        return float(value)

    @property
    def echo_times(self) -> list[float] | None:
        """``EchoTime`` as a list, also where a 4-D file carries one list for all echoes."""
        value = self.fields.get("EchoTime", self.fields.get("EchoTimes"))
        if value is None:
            return None
        values = value if isinstance(value, list) else [value]
        if not values or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
            raise InputError(f"EchoTime in {self.path} is {value!r}, not a number.", "Mend the sidecar.")
        return [float(v) for v in values]

    @property
    def field_strength_t(self) -> float | None:
        """B0 in tesla; from ``ImagingFrequency`` (MHz) where that agrees with the nominal value.

        A "3 T" magnet of 123.2 MHz has 2.893 T: taking 3 T would scale every susceptibility by 0.965.
        """
        nominal = self.number("MagneticFieldStrength")
        if nominal is not None and nominal > 100:  # some exports write gauss
            nominal /= 1e4
        frequency = self.number("ImagingFrequency")
        if frequency:
            actual = frequency * 1e6 / GAMMA_BAR_HZ_PER_T
            if nominal is None or abs(actual / nominal - 1) < 0.1:
                return actual
        return nominal

    @property
    def stated_unit(self) -> str | None:
        value = self.fields.get("Units")
        return value.strip().lower() if isinstance(value, str) else None

    def image_type(self) -> list[str]:
        value = self.fields.get("ImageType", [])
        values = value if isinstance(value, list) else str(value).split("\\")
        return [str(v).upper() for v in values]

    def part(self) -> str | None:
        """ "mag" or "phase" by ``ImageType``, None if it does not say."""
        kinds = self.image_type()
        if "P" in kinds or "PHASE" in kinds or "PHASE MAP" in kinds:
            return "phase"
        if "M" in kinds or "MAGNITUDE" in kinds or "M_FFE" in kinds:
            return "mag"
        return None


def refuse_phase_difference(image: Path, sidecar: Sidecar) -> None:
    """Raise if an image is the difference of two echoes: it has no echo time of its own."""
    named = _PHASE_DIFFERENCE.search(image.name)
    two_times = "EchoTime1" in sidecar.fields and "EchoTime2" in sidecar.fields
    if named or two_times:
        why = "its sidecar has EchoTime1 and EchoTime2" if two_times else "by its name"
        raise InputError(
            f"{image} is a phase-difference image ({why}), not the phase of one echo.",
            "χ-separation needs the phase of every echo of a multi-echo GRE; a field map cannot replace it.",
        )
