"""A simulated scan as files: BIDS NIfTI with the numbers that each vendor stores, and the truth as derivatives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..dipole import field_hz_per_ppm
from ..errors import InputError
from ..volume_io import write_text, write_volume
from .head import Head
from .ms_lesions import LESION_MODELS
from .scanner import Acquisition
from .tissues import label_names

#: Philips stores 12 bit with this slope, in milliradians.
PHILIPS_SLOPE, PHILIPS_INTERCEPT = 1.53455, -3142.0

_VENDORS = {
    "radians": None,
    "siemens": "Siemens",
    "siemens-unsigned": "Siemens",
    "philips": "Philips",
    "milliradians": "Philips",
    "degrees": None,
    "ge": "GE",
}

#: What `write_bids` and `simulate_case` accept as ``scaling``.
SCALINGS = tuple(_VENDORS)


@dataclass(frozen=True)
class WrittenCase:
    """Where the files of a simulated case lie."""

    folder: Path
    anat_folder: Path
    truth_folder: Path
    magnitude: tuple[Path, ...]
    phase: tuple[Path, ...]
    r2_map: Path


def stored_phase(phase_rad: np.ndarray, scaling: str) -> np.ndarray:
    """The numbers in which a vendor stores wrapped phase.

    ==================  ======================================================  =====================
    scaling             stored                                                  back to radians
    ==================  ======================================================  =====================
    radians             float32, -π..π                                          v
    siemens             int16, -4096..4094 in steps of 2                        v / 4096 · π
    siemens-unsigned    uint16, 0..4095                                         v / 4096 · 2π - π
    philips             float32 mrad, 12 bit · 1.53455 - 3142                   v / 1000
    degrees             float32, -180..180                                      v · π / 180
    ==================  ======================================================  =====================
    """
    turn = np.asarray(phase_rad, np.float64) / (2 * np.pi) + 0.5  # 0..1
    if scaling == "radians":
        return np.asarray(phase_rad, np.float32)
    if scaling == "siemens":
        return (2 * _twelve_bit(turn) - 4096).astype(np.int16)
    if scaling == "siemens-unsigned":
        return _twelve_bit(turn).astype(np.uint16)
    if scaling in ("philips", "milliradians"):
        raw = np.clip(np.rint((1000 * np.asarray(phase_rad, np.float64) - PHILIPS_INTERCEPT) / PHILIPS_SLOPE), 0, 4095)
        return (raw * PHILIPS_SLOPE + PHILIPS_INTERCEPT).astype(np.float32)
    if scaling == "degrees":
        return np.degrees(phase_rad).astype(np.float32)
    raise InputError(f"There is no phase scaling named “{scaling}”.", f"Choose one of: {', '.join(SCALINGS)}.")


def write_bids(
    folder: str | Path,
    acquisition: Acquisition,
    head: Head,
    *,
    scaling: str = "siemens",
    r2_map: np.ndarray | None = None,
    subject: str = "01",
) -> WrittenCase:
    """Write a BIDS data set: ``sub-01/anat`` with echoes, sidecars and R2 map, ``derivatives/truth`` with the truth.

    Magnitude is int16 with 0..4095 over all echoes. ``scaling="ge"`` writes real and imaginary parts with the sign of
    every second slice turned, as GE's complex images come; there are no phase files then.

    Raises
    ------
    InputError
        If the scaling is unknown.
    """
    if scaling not in _VENDORS:
        raise InputError(f"There is no phase scaling named “{scaling}”.", f"Choose one of: {', '.join(SCALINGS)}.")
    folder = Path(folder)
    anat = folder / f"sub-{subject}" / "anat"
    truth = folder / "derivatives" / "truth" / f"sub-{subject}" / "anat"
    series = acquisition.series
    _write_json(
        folder / "dataset_description.json",
        {
            "Name": "Simulated multi-echo gradient echo with known susceptibility sources",
            "BIDSVersion": "1.9.0",
            "DatasetType": "raw",
            "GeneratedBy": [{"Name": "ChiSepExtension", "Version": __version__}],
        },
    )
    scale = 4095 / float(series.magnitude.max())
    stem = f"sub-{subject}_echo-"
    magnitude, phase = [], []
    for n in range(series.number_of_echoes):
        sidecar = _sidecar(acquisition, n, scaling)
        name = f"{stem}{n + 1}"
        stored = np.rint(series.magnitude[n] * scale).astype(np.int16)
        magnitude.append(_write_map(anat / f"{name}_part-mag_MEGRE.nii.gz", stored, series.grid, sidecar | _MAGNITUDE))
        if scaling == "ge":
            phase += _write_complex(anat / name, series, n, scale, sidecar)
            continue
        numbers = stored_phase(series.phase[n], scaling)
        unit = {"Units": "rad"} if scaling == "radians" else {"Units": "arbitrary"}
        path = anat / f"{name}_part-phase_MEGRE.nii.gz"
        phase.append(_write_map(path, numbers, series.grid, sidecar | _PHASE | unit))
    r2 = anat / f"sub-{subject}_R2map.nii.gz"
    _write_map(r2, head.r2_hz if r2_map is None else r2_map, series.grid, {"Units": "Hz"})
    _write_truth(truth, acquisition, head)
    return WrittenCase(folder, anat, truth, tuple(magnitude), tuple(phase), r2)


_MAGNITUDE = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}
_PHASE = {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}


def _twelve_bit(turn: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(turn, 0, 1) * 4096 + 0.5).astype(np.int32) % 4096


def _write_complex(stem: Path, series, echo: int, scale: float, sidecar: dict[str, Any]) -> list[Path]:
    sign = np.where(np.arange(series.grid.shape[0]) % 2, -1.0, 1.0)[:, None, None]
    paths = []
    for part, wave, code in (("real", np.cos, "R"), ("imag", np.sin, "I")):
        values = np.rint(scale * series.magnitude[echo] * wave(series.phase[echo]) * sign).astype(np.int16)
        path = stem.with_name(f"{stem.name}_part-{part}_MEGRE.nii.gz")
        paths.append(_write_map(path, values, series.grid, sidecar | {"ImageType": ["ORIGINAL", "PRIMARY", code]}))
    return paths


def _sidecar(acquisition: Acquisition, echo: int, scaling: str) -> dict[str, Any]:
    series, settings = acquisition.series, acquisition.settings
    fields = {
        "EchoTime": float(series.echo_times_s[echo]),
        "EchoNumber": echo + 1,
        "MagneticFieldStrength": series.field_strength_t,
        "ImagingFrequency": round(field_hz_per_ppm(series.field_strength_t), 6),
        "RepetitionTime": settings.get("repetition_time_s"),
        "FlipAngle": settings.get("flip_angle_deg"),
        "ConversionSoftware": "ChiSepExtension phantom",
    }
    vendor = _VENDORS[scaling]
    return fields | ({"Manufacturer": vendor} if vendor else {})


def _write_map(path: Path, array: np.ndarray, grid, sidecar: dict[str, Any]) -> Path:
    write_volume(path, array, grid)
    _write_json(path.with_name(path.name.removesuffix(".nii.gz") + ".json"), sidecar)
    return path


def _write_truth(folder: Path, acquisition: Acquisition, head: Head) -> None:
    maps = {
        "chi_para": (head.chi_para, "ppm"),
        "chi_dia": (head.chi_dia, "ppm"),
        "chi_total": (head.chi_total, "ppm"),
        "r2": (head.r2_hz, "Hz"),
        "r2prime": (head.r2prime_hz, "Hz"),
        "r2star": (head.r2star_hz, "Hz"),
        "total_field": (acquisition.total_field_ppm, "ppm"),
        "local_field": (acquisition.local_field_ppm, "ppm"),
        "background_field": (acquisition.background_field_ppm, "ppm"),
        "phase_offset": (acquisition.phase_offset_rad, "rad"),
        "labels": (head.labels, "label"),
        "lesions": (head.lesion_labels, "number of the lesion"),
        "lesion_types": (head.lesion_types, "type of the lesion"),
        "brain_mask": (head.brain_mask, "1 in the brain"),
    }
    for name, (array, unit) in maps.items():
        _write_map(folder / f"{name}.nii.gz", array, head.grid, {"Units": unit})
    _write_json(folder / "labels_names.json", {str(code): name for code, name in label_names().items()})
    _write_json(
        folder / "simulation.json",
        {
            "head": head.provenance,
            "dr_para_hz_per_ppm": head.dr_para,
            "dr_dia_hz_per_ppm": head.dr_dia,
            "scan": acquisition.settings,
            "noise_sd": acquisition.noise_sd,
            "lesions": [
                {
                    "number": lesion.number,
                    "type": lesion.kind.name.lower().replace("_", "-"),
                    "appears_as": LESION_MODELS[lesion.kind].appears_as,
                    "centre_ras_mm": [round(float(v), 2) for v in lesion.centre_ras],
                    "volume_mm3": round(
                        float((head.lesion_labels == lesion.number).sum()) * head.grid.voxel_volume_mm3, 1
                    ),
                    "chi_para_ppm": round(lesion.chi_para_ppm, 5),
                    "chi_dia_ppm": round(lesion.chi_dia_ppm, 5),
                    "rim_chi_para_ppm": round(lesion.rim_para_ppm, 5),
                    "central_vein": lesion.central_vein,
                }
                for lesion in head.lesions
            ],
        },
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
