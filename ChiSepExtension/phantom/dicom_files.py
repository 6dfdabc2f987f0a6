"""A simulated scan as DICOM files in the style of each vendor: tests of reading have a truth to compare with.

==================  =========================================================================================
style               as
==================  =========================================================================================
siemens             classic; magnitude and phase in series of their own; phase with slope 2, intercept -4096
siemens-research    the same without rescale elements: phase 0..4095
siemens-xa          enhanced, one file per part and echo; rescale and echo time in the per-frame groups alone
interoperability    classic, a series for each part and echo, no EchoNumbers
philips             classic, one series; magnitude and phase with slopes of their own, phase in mrad
philips-enhanced    one file of slices × echoes × {magnitude, phase} with a rescale per frame
ge                  classic, one series of magnitude, real and imaginary parts told apart by (0043,102F) alone; every
                    second slice with turned sign, phase of opposite sign. **Not verified on a scanner's file.**
==================  =========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..acquisition.dicom_values import write_dataset
from ..acquisition.gradient_echo import GradientEchoSeries
from ..acquisition.spin_echo import SpinEchoSeries
from ..errors import InputError
from .dicom_header import (
    ENHANCED_MR_IMAGE,
    MR_IMAGE,
    Plane,
    Scan,
    Scanner,
    common_dataset,
    decimals,
    imaging_frequency_mhz,
    set_pixels,
)
from .files import PHILIPS_INTERCEPT, PHILIPS_SLOPE, stored_phase

SIEMENS = Scanner("SIEMENS", "Prisma", "syngo MR E11")
SIEMENS_XA = Scanner("Siemens Healthineers", "MAGNETOM Vida", "syngo MR XA30")
PHILIPS = Scanner("Philips Medical Systems", "Ingenia", "5.7.1")
GE = Scanner("GE MEDICAL SYSTEMS", "SIGNA Premier", "29\\LX\\MR Software release:RX29.1")

_SCANNERS = {
    "siemens": SIEMENS,
    "siemens-research": SIEMENS,
    "siemens-xa": SIEMENS_XA,
    "interoperability": SIEMENS_XA,
    "philips": PHILIPS,
    "philips-enhanced": PHILIPS,
    "ge": GE,
}
#: What `write_dicom` accepts as ``style``.
DICOM_STYLES = tuple(_SCANNERS)

_PHILIPS_MAGNITUDE_SLOPE = 1.23663
_ENHANCED = ("siemens-xa", "philips-enhanced")


@dataclass(frozen=True, eq=False)
class _Part:
    """One part of one echo as a scanner stores it: pixels (z, y, x) of 16 bits, and how they are labelled."""

    name: str  # magnitude, phase, real, imaginary
    echo: int
    echo_time_s: float
    series: int  # offset to the first series number
    pixels: np.ndarray
    image_type: tuple[str, ...]
    bits: int = 12
    slope: float | None = None
    intercept: float | None = None
    rescale_type: str = ""
    ge_code: int | None = None


def write_dicom(
    folder: str | Path,
    series: GradientEchoSeries,
    *,
    style: str = "siemens",
    name: str = "scan",
    **changes,
) -> list[Path]:
    """Write a gradient-echo series as DICOM files.

    Parameters
    ----------
    series
        Phase wrapped to -π..π. Magnitude is stored with 12 bits over all echoes.
    style
        One of `DICOM_STYLES`.
    name
        Seeds the UIDs and begins the file names.
    changes
        Fields of `Scan` to set, such as ``acquired="102000"`` or ``first_series=9``.

    Returns
    -------
    Paths in the order in which the scanner would write them.

    Raises
    ------
    InputError
        If the style is unknown.
    """
    if style not in _SCANNERS:
        raise InputError(f"There is no DICOM style “{style}”.", f"Choose one of: {', '.join(DICOM_STYLES)}.")
    scan = Scan(series.grid, _SCANNERS[style], series.field_strength_t, name=name)
    scan = replace(scan, **changes)
    parts = list(_parts(series, style))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if style in _ENHANCED:
        return _write_enhanced(folder, scan, parts, one_file=style == "philips-enhanced")
    return _write_classic(folder, scan, parts, echo_numbers=style != "interoperability")


def write_dicom_spin_echo(folder: str | Path, series: SpinEchoSeries, *, name: str = "se", **changes) -> list[Path]:
    """Write a multi-echo spin echo as classic DICOM files in the style of Siemens, magnitude only."""
    scan = Scan(series.grid, SIEMENS, 3.0, name=name, description="se_mc", spin_echo=True, first_series=20)
    scan = replace(scan, flip_angle_deg=series.refocusing_deg or 180.0, repetition_time_s=3.0, **changes)
    scale = 4095 / float(series.magnitude.max())
    kind = ("ORIGINAL", "PRIMARY", "M", "ND")
    parts = [
        _Part("magnitude", n, float(time), 0, _twelve_bit(series.magnitude[n], scale), kind)
        for n, time in enumerate(series.echo_times_s)
    ]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return _write_classic(folder, scan, parts, echo_numbers=True)


def _parts(series: GradientEchoSeries, style: str) -> Iterator[_Part]:
    scale = 4095 / float(series.magnitude.max())
    for n, time in enumerate(float(t) for t in series.echo_times_s):
        magnitude = _twelve_bit(series.magnitude[n], scale)
        angle = series.phase[n]
        if style in ("siemens", "siemens-research", "siemens-xa", "interoperability"):
            end = ("NONE",) if style in ("siemens-xa", "interoperability") else ("ND",)
            offset = 2 * n if style == "interoperability" else 0
            rescale = style != "siemens-research"
            yield _Part("magnitude", n, time, offset, magnitude, ("ORIGINAL", "PRIMARY", "M", *end))
            yield _Part(
                "phase",
                n,
                time,
                offset + 1,
                stored_phase(angle, "siemens-unsigned"),
                ("ORIGINAL", "PRIMARY", "P", *end),
                slope=2.0 if rescale else None,
                intercept=-4096.0 if rescale else None,
                rescale_type="US" if rescale else "",
            )
        elif style in ("philips", "philips-enhanced"):
            raw = np.rint((stored_phase(angle, "philips").astype(np.float64) - PHILIPS_INTERCEPT) / PHILIPS_SLOPE)
            last = ("FFE",) if style == "philips" else ()
            yield _Part(
                "magnitude",
                n,
                time,
                0,
                magnitude,
                ("ORIGINAL", "PRIMARY", "M_FFE", "M", *last),
                slope=_PHILIPS_MAGNITUDE_SLOPE,
                intercept=0.0,
                rescale_type="normalized",
            )
            yield _Part(
                "phase",
                n,
                time,
                0,
                raw.astype(np.uint16),
                ("ORIGINAL", "PRIMARY", "PHASE MAP", "P", *last),
                slope=PHILIPS_SLOPE,
                intercept=PHILIPS_INTERCEPT,
                rescale_type="mrad",
            )
        else:
            yield from _ge_parts(series, n, time, magnitude)


def _ge_parts(series: GradientEchoSeries, n: int, time: float, magnitude: np.ndarray) -> Iterator[_Part]:
    kind = ("ORIGINAL", "PRIMARY", "OTHER")
    sign = np.where(np.arange(series.grid.shape[0]) % 2, -1.0, 1.0)[:, None, None]
    scale = 30000 / float(series.magnitude.max())
    yield _Part("magnitude", n, time, 0, magnitude.astype(np.int16), kind, bits=16, ge_code=0)
    for name, wave, turn, code in (("real", np.cos, 1, 2), ("imaginary", np.sin, -1, 3)):
        values = turn * sign * scale * series.magnitude[n] * wave(series.phase[n])
        yield _Part(name, n, time, 0, np.rint(values).astype(np.int16), kind, bits=16, ge_code=code)


def _write_classic(folder: Path, scan: Scan, parts: list[_Part], *, echo_numbers: bool) -> list[Path]:
    paths = []
    for part in parts:
        number = scan.first_series + part.series
        for k, pixels in enumerate(part.pixels):
            instance = len(paths) + 1
            dataset = common_dataset(scan, number, MR_IMAGE, instance)
            dataset.ImageType = list(part.image_type)
            dataset.EchoTime = decimals(1e3 * part.echo_time_s)[0]
            if echo_numbers:
                dataset.EchoNumbers = part.echo + 1
            dataset.RepetitionTime = decimals(1e3 * scan.repetition_time_s)[0]
            dataset.FlipAngle = decimals(scan.flip_angle_deg)[0]
            dataset.ImagingFrequency = decimals(imaging_frequency_mhz(scan))[0]
            dataset.InstanceNumber = instance
            plane = Plane.of(scan.grid, k)
            dataset.ImagePositionPatient = list(plane.position)
            dataset.ImageOrientationPatient = list(plane.orientation)
            dataset.PixelSpacing = list(plane.spacing)
            dataset.SliceThickness = plane.step_mm
            if part.ge_code is not None:
                dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", part.ge_code)
            _rescale(dataset, part)
            set_pixels(dataset, pixels, part.bits)
            paths.append(_save(dataset, folder / f"{scan.name}_{instance:05d}.dcm"))
    return paths


def _write_enhanced(folder: Path, scan: Scan, parts: list[_Part], *, one_file: bool) -> list[Path]:
    from pydicom.dataset import Dataset

    groups = [parts] if one_file else [[part] for part in parts]
    paths = []
    for instance, group in enumerate(groups, start=1):
        dataset = common_dataset(scan, scan.first_series + group[0].series, ENHANCED_MR_IMAGE, instance)
        dataset.ImageType = list(group[0].image_type)
        dataset.ComplexImageComponent = "MIXED" if len(group) > 1 else group[0].name.upper()
        dataset.InstanceNumber = instance
        dataset.NumberOfFrames = sum(len(part.pixels) for part in group)
        shared, timing, imaging, measures = Dataset(), Dataset(), Dataset(), Dataset()
        timing.RepetitionTime = decimals(1e3 * scan.repetition_time_s)[0]
        timing.FlipAngle = decimals(scan.flip_angle_deg)[0]
        imaging.TransmitterFrequency = imaging_frequency_mhz(scan)
        plane = Plane.of(scan.grid, 0)
        measures.PixelSpacing, measures.SliceThickness = list(plane.spacing), plane.step_mm
        shared.MRTimingAndRelatedParametersSequence = [timing]
        shared.MRImagingModifierSequence = [imaging]
        shared.PixelMeasuresSequence = [measures]
        dataset.SharedFunctionalGroupsSequence = [shared]
        # Slices run fastest in none of the two vendors' files: all parts and echoes of a slice follow each other.
        order = [(part, k) for k in range(scan.grid.shape[0]) for part in group]
        dataset.PerFrameFunctionalGroupsSequence = [_frame(scan, part, k) for part, k in order]
        set_pixels(dataset, np.stack([part.pixels[k] for part, k in order]), group[0].bits)
        paths.append(_save(dataset, folder / f"{scan.name}_{instance:05d}.dcm"))
    return paths


def _frame(scan: Scan, part: _Part, k: int):
    from pydicom.dataset import Dataset

    frame, content, position, orientation, echo, kind, values = (Dataset() for _ in range(7))
    plane = Plane.of(scan.grid, k)
    content.FrameAcquisitionDateTime = f"20260101{scan.acquired}"
    content.InStackPositionNumber = k + 1
    content.StackID = "1"
    position.ImagePositionPatient = list(plane.position)
    orientation.ImageOrientationPatient = list(plane.orientation)
    echo.EffectiveEchoTime = 1e3 * part.echo_time_s
    kind.FrameType = list(part.image_type)
    kind.ComplexImageComponent = part.name.upper()
    _rescale(values, part)
    frame.FrameContentSequence, frame.PlanePositionSequence = [content], [position]
    frame.PlaneOrientationSequence, frame.MREchoSequence = [orientation], [echo]
    frame.MRImageFrameTypeSequence = [kind]
    if part.slope is not None:
        frame.PixelValueTransformationSequence = [values]
    return frame


def _rescale(dataset, part: _Part) -> None:
    if part.slope is not None:
        dataset.RescaleIntercept, dataset.RescaleSlope = decimals(part.intercept, part.slope)
        dataset.RescaleType = part.rescale_type


def _twelve_bit(values: np.ndarray, scale: float) -> np.ndarray:
    return np.rint(values * scale).astype(np.uint16)


def _save(dataset, path: Path) -> Path:
    write_dataset(dataset, path)
    return path
