"""One DICOM header as the facts that sorting needs: an `ImageHeader` for every slice image of every file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .dicom_image_type import computed_kind, part_of, variant_of
from .dicom_values import READ_FAILURES, items, number, numbers, seconds_of_day, text, texts, whole

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.4"

#: Objects that lie beside images in an export, by SOP class (a prefix where a family shares one).
_OTHER_OBJECTS = (
    ("1.2.840.10008.1.3.10", "DICOMDIR"),
    ("1.2.840.10008.5.1.4.1.1.4.2", "MR spectroscopy"),
    ("1.2.840.10008.5.1.4.1.1.4.3", "enhanced MR color image"),
    ("1.2.840.10008.5.1.4.1.1.7", "secondary capture"),
    ("1.2.840.10008.5.1.4.1.1.11", "presentation state"),
    ("1.2.840.10008.5.1.4.1.1.30", "parametric map"),
    ("1.2.840.10008.5.1.4.1.1.66.4", "segmentation"),
    ("1.2.840.10008.5.1.4.1.1.66", "raw data or registration"),
    ("1.2.840.10008.5.1.4.1.1.88", "structured report"),
    ("1.2.840.10008.5.1.4.1.1.104", "PDF or other document"),
    ("1.2.840.10008.5.1.4.1.1.481", "radiotherapy object"),
    ("1.2.840.10008.5.1.4.1.1.2", "CT image"),
    ("1.2.840.10008.5.1.4.1.1.128", "PET image"),
)

#: Elements that are read from each file; all others are skipped, which halves the time for Siemens headers.
_TAGS = (
    *(0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x0008002A, 0x00080031, 0x00080032, 0x00080060, 0x00080070),
    *(0x0008103E, 0x00081090, 0x00089208, 0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00180020, 0x00180023),
    *(0x00180024, 0x00180050, 0x00180080, 0x00180081, 0x00180084, 0x00180086, 0x00180087, 0x00181020, 0x00181030),
    *(0x00181060, 0x00181250, 0x00181314, 0x00189005, 0x00189008, 0x00189073, 0x00189082, 0x0020000D, 0x0020000E),
    *(0x00200011, 0x00200012, 0x00200013, 0x00200032, 0x00200037, 0x00200052, 0x00200100, 0x00280002, 0x00280004),
    *(0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00281052),
    *(0x00281053, 0x00281054, 0x00409096, 0x00430010, 0x0043102F, 0x00510010, 0x0051100F, 0x20050010, 0x2005100E),
    *(0x52009229, 0x52009230, 0x00101010, 0x00180088),
)


@dataclass(slots=True)
class ImageHeader:
    """Facts of one slice image. None, "" or () where the header does not say; times in s, lengths in mm, LPS."""

    path: Path
    frame: int | None = None  # index in a multi-frame file
    sop_uid: str = ""
    study_uid: str = ""
    series_uid: str = ""
    frame_of_reference: str = ""
    series_number: int | None = None
    series_description: str = ""
    protocol: str = ""
    instance_number: int | None = None
    acquisition_number: int | None = None
    temporal_position: int | None = None
    trigger_time: float | None = None
    acquisition_time_s: float | None = None
    image_type: tuple[str, ...] = ()  # of the frame, where it has its own
    part: str | None = None
    computed: str | None = None
    variant: tuple[str, ...] = ()
    echo_time_s: float | None = None
    echo_number: int | None = None
    spin_echo: bool | None = None
    echo_planar: bool = False
    coil: str = ""
    rows: int = 0
    columns: int = 0
    spacing: tuple[float, ...] = ()  # between rows, between columns
    position: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    slice_thickness: float | None = None
    slice_spacing: float | None = None  # as stated; the positions decide
    bits: tuple[int | None, ...] = (None, None, None, None)  # allocated, stored, high bit, signed
    slope: float | None = None
    intercept: float | None = None
    rescale_type: str = ""
    scaled_by: str = ""  # "rescale", "real-world value" or ""
    philips_scale: float | None = None
    facts: tuple[tuple[str, Any], ...] = ()  # of the scanner and the sequence, see `acquisition_facts`
    patient: tuple[str, ...] = ()  # name, identifier, birth date, sex


@dataclass(frozen=True)
class Foreign:
    """A file that holds no MR image: what it is instead."""

    path: Path
    kind: str
    reason: str = ""


def read_headers(path: Path) -> list[ImageHeader] | Foreign:
    """Headers of all images in a file, or what the file is if it holds no MR image. Never raises for its content."""
    from pydicom import dcmread

    from .dicom_enhanced import frame_headers

    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError as error:
        return Foreign(path, "unreadable", str(error))
    bare = start[:2] == b"\x08\x00" and start[3:4] == b"\x00"  # exports without the 128 bytes of preamble
    if start[128:132] != b"DICM" and not bare:
        return Foreign(path, "not DICOM")
    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS), force=bare)
        kind = other_object(dataset)
        if kind is not None:
            return Foreign(path, kind)
        if whole(dataset, 0x00280002) not in (None, 1):
            return Foreign(path, "color picture")
        if items(dataset, 0x52009230) or items(dataset, 0x52009229):
            return frame_headers(path, dataset)
        if (whole(dataset, 0x00280008) or 1) > 1:
            return Foreign(path, "multi-frame image without frame information")
        return [classic_header(path, dataset)]
    except READ_FAILURES as error:
        return Foreign(path, "unreadable", f"{type(error).__name__}: {error}")


def other_object(dataset) -> str | None:
    """Name of what the data set is if it is no MR image, by SOP class and modality; None for an MR image."""
    sop_class = text(dataset, 0x00080016) or text(getattr(dataset, "file_meta", None) or {}, 0x00020002)
    if sop_class in (MR_IMAGE, ENHANCED_MR_IMAGE, LEGACY_ENHANCED_MR_IMAGE):
        return None
    for prefix, name in _OTHER_OBJECTS:
        if sop_class == prefix or sop_class.startswith(prefix + "."):
            return name
    modality = text(dataset, 0x00080060).upper()
    if modality and modality != "MR":
        return f"{modality} object"
    # A private or lost SOP class: what has rows and an orientation is taken as an image.
    return None if whole(dataset, 0x00280010) and numbers(dataset, 0x00200037) else "DICOM object without an image"


def classic_header(path: Path, dataset) -> ImageHeader:
    """The header of a single-frame image."""
    header = common_header(path, dataset)
    image_type = texts(dataset, 0x00080008)
    header.image_type = image_type
    header.part = part_of(image_type, text(dataset, 0x00089208), ge_code(dataset))
    header.computed = computed_kind(image_type)
    header.variant = variant_of(image_type)
    time = number(dataset, 0x00180081)
    header.echo_time_s = (number(dataset, 0x00189082) if time is None else time) or None
    if header.echo_time_s:
        header.echo_time_s /= 1e3
    header.echo_number = whole(dataset, 0x00180086)
    header.position = numbers(dataset, 0x00200032)
    header.orientation = numbers(dataset, 0x00200037)
    header.spacing = numbers(dataset, 0x00280030)
    header.slice_thickness = number(dataset, 0x00180050)
    header.slice_spacing = number(dataset, 0x00180088)
    header.slope, header.intercept, header.rescale_type, header.scaled_by = scaling(dataset)
    return header


def common_header(path: Path, dataset) -> ImageHeader:
    """What stands at the top of both classic and enhanced files."""
    return ImageHeader(
        path=path,
        sop_uid=text(dataset, 0x00080018),
        study_uid=text(dataset, 0x0020000D),
        series_uid=text(dataset, 0x0020000E),
        frame_of_reference=text(dataset, 0x00200052),
        series_number=whole(dataset, 0x00200011),
        series_description=text(dataset, 0x0008103E),
        protocol=text(dataset, 0x00181030),
        instance_number=whole(dataset, 0x00200013),
        acquisition_number=whole(dataset, 0x00200012),
        temporal_position=whole(dataset, 0x00200100),
        trigger_time=number(dataset, 0x00181060),
        acquisition_time_s=_acquisition_time(dataset),
        spin_echo=_is_spin_echo(dataset),
        echo_planar="EP" in texts(dataset, 0x00180020),
        coil=_coil(dataset),
        rows=whole(dataset, 0x00280010) or 0,
        columns=whole(dataset, 0x00280011) or 0,
        bits=tuple(whole(dataset, tag) for tag in (0x00280100, 0x00280101, 0x00280102, 0x00280103)),
        philips_scale=number(dataset, 0x2005100E) if "Philips" in text(dataset, 0x20050010) else None,
        facts=acquisition_facts(dataset),
        patient=tuple(text(dataset, tag) for tag in (0x00100010, 0x00100020, 0x00100030, 0x00100040)),
    )


def acquisition_facts(dataset) -> tuple[tuple[str, Any], ...]:
    """What identifies the scanner and the sequence; no identity of the patient."""
    repetition = number(dataset, 0x00180080)
    # GE's private block says whose images these are where an anonymiser took the manufacturer away.
    is_ge = text(dataset, 0x00430010).startswith("GEMS_PARM")
    return (
        ("manufacturer", text(dataset, 0x00080070) or ("GE MEDICAL SYSTEMS" if is_ge else "")),
        ("model", text(dataset, 0x00081090)),
        ("software_versions", " ".join(texts(dataset, 0x00181020))),
        ("field_strength_t", number(dataset, 0x00180087)),
        ("imaging_frequency_mhz", number(dataset, 0x00180084)),
        ("repetition_time_s", None if repetition is None else repetition / 1e3),
        ("flip_angle_deg", number(dataset, 0x00181314)),
        ("acquisition_type", text(dataset, 0x00180023)),
        ("sequence_name", text(dataset, 0x00180024) or text(dataset, 0x00189005)),
        ("age_years", _age(text(dataset, 0x00101010))),
        ("transfer_syntax", str(getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", ""))),
    )


def scaling(dataset) -> tuple[float | None, float | None, str, str]:
    """(slope, intercept, unit, source) from rescale elements, or from a real-world value mapping if there are none."""
    slope, intercept = number(dataset, 0x00281053), number(dataset, 0x00281052)
    if slope is not None or intercept is not None:
        return slope, intercept, text(dataset, 0x00281054), "rescale"
    mappings = items(dataset, 0x00409096)
    for mapping in mappings:
        slope, intercept = number(mapping, 0x00409225), number(mapping, 0x00409224)
        if slope is not None:
            return slope, intercept, "", "real-world value"
    return None, None, "", "table" if mappings else ""


def ge_code(dataset) -> int | None:
    """GE's private image type (0043,102F): 0 magnitude, 1 phase, 2 real, 3 imaginary."""
    return whole(dataset, 0x0043102F) if text(dataset, 0x00430010).startswith("GEMS_PARM") else None


def _age(stated: str) -> float | None:
    """Years of an age such as 045Y or 018M; None from 90 on, where the age alone may tell who it is."""
    per_year = {"Y": 1, "M": 12, "W": 52, "D": 365}.get(stated[-1:].upper())
    if per_year is None or not stated[:-1].isdigit() or int(stated[:-1]) / per_year >= 90:
        return None
    return round(int(stated[:-1]) / per_year, 1)


def _acquisition_time(dataset) -> float | None:
    for tag in (0x00080032, 0x0008002A):
        found = seconds_of_day(text(dataset, tag))
        if found is not None:
            return found
    return None


def _is_spin_echo(dataset) -> bool | None:
    """True for spin echo, False for gradient echo, None if the header does not say."""
    words = set(texts(dataset, 0x00180020))
    if words & {"GR", "SE"}:
        return "GR" not in words
    return {"SPIN": True, "BOTH": True, "GRADIENT": False}.get(text(dataset, 0x00189008).upper())


def _coil(dataset) -> str:
    """Siemens' coil element of the image, which tells uncombined coils apart."""
    return text(dataset, 0x0051100F) if text(dataset, 0x00510010).startswith("SIEMENS") else ""
