"""What a DICOM image shows by its ImageType: magnitude, phase, real or imaginary part, or something computed later."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAGNITUDE, PHASE, REAL, IMAGINARY = "magnitude", "phase", "real", "imaginary"
PARTS = (MAGNITUDE, PHASE, REAL, IMAGINARY)

#: ImageType and FrameType values, as scanners write them (Philips has two of them in one ImageType).
_PART_OF_WORD = {
    **dict.fromkeys(("M", "MAGNITUDE", "M_FFE", "M_SE", "M_IR", "M_TSE", "M_PCA", "MAG"), MAGNITUDE),
    **dict.fromkeys(("P", "PHASE", "PHASE MAP", "PHASE_MAP", "P_FFE", "P_SE"), PHASE),
    **dict.fromkeys(("R", "REAL", "R_FFE", "R_SE", "R_IR"), REAL),
    **dict.fromkeys(("I", "IMAGINARY", "I_FFE", "I_SE", "I_IR", "IMAG"), IMAGINARY),
}
#: ComplexImageComponent (0008,9208).
_PART_OF_COMPONENT = {"MAGNITUDE": MAGNITUDE, "PHASE": PHASE, "REAL": REAL, "IMAGINARY": IMAGINARY}
#: GE's private (0043,102F), by its documented order; not verified on a scanner's file.
_PART_OF_GE_CODE = {0: MAGNITUDE, 1: PHASE, 2: REAL, 3: IMAGINARY}

#: Words of ImageType that stand for an image computed from others, and what to call it.
_COMPUTED = {
    **dict.fromkeys(("SWI", "SWI_IMAGES"), "susceptibility-weighted image (SWI)"),
    **dict.fromkeys(("MIP", "MNIP", "MINIP", "MIN_IP", "MAX_IP", "MIN IP", "MAX IP"), "projection (MIP)"),
    **dict.fromkeys(("PROJECTION IMAGE", "PROJECTION_IMAGE", "VOLUME RENDERING", "VOLUME_RENDERING"), "projection"),
    **dict.fromkeys(("MPR", "REFORMATTED", "CURVED MPR", "RESAMPLED"), "reformatted image (MPR)"),
    **dict.fromkeys(("ADC", "ADC_UNSPECIFIED", "TRACEW", "FA", "DIFFUSION", "EXP", "EADC", "TENSOR"), "diffusion map"),
    **dict.fromkeys(
        ("T2_STAR", "T2*", "T2STAR", "T2_STAR MAP", "T2STAR MAP", "T2_STAR_UNSPECIFIED", "R2_STAR", "R2_STAR MAP"),
        "T2* or R2* map",
    ),
    **dict.fromkeys(("T2", "T2 MAP", "T2_MAP", "R2", "R2 MAP", "R2_MAP", "T1", "T1 MAP", "T1_MAP"), "relaxation map"),
    **dict.fromkeys(("B0", "B0 MAP", "B0_MAP", "FIELDMAP", "FIELD MAP", "FIELD_MAP"), "field map in Hz"),
    **dict.fromkeys(("B1", "B1 MAP", "B1_MAP"), "B1 map"),
    **dict.fromkeys(("VELOCITY", "VELOCITY MAP", "VELOCITY_MAP", "V", "PCA"), "velocity image"),
    **dict.fromkeys(
        ("W", "F", "WATER", "FAT", "FF", "IP", "OP", "IN_PHASE", "OUT_PHASE", "OPP_PHASE", "FAT_FRACTION"),
        "water, fat, in- or opposed-phase image",
    ),
    **dict.fromkeys(("SUB", "SUBTRACT", "SUBTRACTION"), "subtraction image"),
    **dict.fromkeys(("PHASE_DIFFERENCE", "PHASEDIFF", "PHASE DIFFERENCE"), "phase difference"),
    **dict.fromkeys(("CSA REPORT", "SCREEN SAVE", "SCREENSAVE", "POSDISP"), "screen picture"),
    "MOSAIC": "mosaic (all slices in one picture)",
    "LOCALIZER": "localizer",
    "PERFUSION": "perfusion map",
}

#: In enhanced images these name the weighting of an acquired image, and a map only where the image is DERIVED.
_FLAVOURS = {"T1", "T2", "T2_STAR", "DIFFUSION", "PERFUSION"}

#: Words that say nothing about how an image was processed.
_NEUTRAL = {
    *("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "OTHER", "NONE", "FFE", "SE", "UNSPECIFIED", "AXIAL", ""),
    *("VOLUME", "MULTIECHO", "PROTON_DENSITY", "RESEARCH", *_FLAVOURS),
}

#: Image corrected for gradient distortion: its voxels were interpolated.
DISTORTION_CORRECTED = {"DIS2D", "DIS3D"}


def part_of(
    image_type: Sequence[str], component: str = "", ge_code: int | None = None, frame_type: Sequence[str] = ()
) -> str | None:
    """Which part of the complex image this is; "contradictory" if two sources disagree, None if none says.

    Parameters
    ----------
    image_type, frame_type
        Values of ImageType (0008,0008) and of the frame's own FrameType (0008,9007), which goes first.
    component
        ComplexImageComponent (0008,9208) of the frame or, failing that, of the file.
    ge_code
        GE's private (0043,102F).
    """
    said = {
        _part_in(frame_type) or _part_in(image_type),
        _PART_OF_COMPONENT.get(component.upper()),
        _PART_OF_GE_CODE.get(ge_code) if ge_code is not None else None,
    } - {None}
    if len(said) > 1 or any(_words_disagree(words) for words in (frame_type, image_type)):
        return "contradictory"
    return said.pop() if said else None


def computed_kind(image_type: Sequence[str], frame_type: Sequence[str] = ()) -> str | None:
    """Name of what was computed if the image is no acquired part of the signal, else None."""
    acquired = bool(frame_type) and frame_type[0].upper() == "ORIGINAL"
    for word in (word.upper() for word in (*frame_type[2:], *image_type[2:])):
        if word in _COMPUTED and not (acquired and word in _FLAVOURS):
            return _COMPUTED[word]
    if not (_part_in(frame_type) or _part_in(image_type)):
        for word in (*frame_type[2:], *image_type[2:]):
            if word.upper() in ("QSM", "CHI", "SUSCEPTIBILITY"):
                return "susceptibility map"  # with a part it is an acquired image of a scan for QSM
    # A defaced or anonymised acquisition may be DERIVED\\SECONDARY too; it still says which part it is.
    if _is_derived(frame_type or image_type) and not (_part_in(frame_type) or _part_in(image_type)):
        return "image derived from others"
    return None


def variant_of(image_type: Sequence[str], frame_type: Sequence[str] = ()) -> tuple[str, ...]:
    """Sorted words that tell two reconstructions of one acquisition apart (NORM, DIS2D, …)."""
    words = {word.upper() for word in (frame_type[2:] or image_type[2:])}
    derived = {"DERIVED"} if _is_derived(frame_type or image_type) else set()
    return tuple(sorted((words - _NEUTRAL - set(_PART_OF_WORD) - {"ND"}) | derived))


def _is_derived(words: Sequence[str]) -> bool:
    return [word.upper() for word in words[:2]] == ["DERIVED", "SECONDARY"]


def _part_in(words: Sequence[str]) -> str | None:
    """Part by the first telling word after ORIGINAL\\PRIMARY."""
    for word in words[2:]:
        part = _PART_OF_WORD.get(re.sub(r"\s+", " ", word.upper()))
        if part:
            return part
    return None


def _words_disagree(words: Sequence[str]) -> bool:
    return len({_PART_OF_WORD[word.upper()] for word in words[2:] if word.upper() in _PART_OF_WORD}) > 1
