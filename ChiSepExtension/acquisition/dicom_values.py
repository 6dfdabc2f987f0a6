"""Values of a DICOM header, read from the stored bytes: absent or unreadable is None, never an exception.

pydicom converts on access and warns or raises on what does not conform. Headers from hospitals (and damaged ones) hold
a lot of that; here a value that cannot be understood counts as absent, and what is missing is judged by the caller.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from pydicom.errors import BytesLengthException, InvalidDicomError

#: What pydicom, its decoders and numpy raise for damaged files.
READ_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    ImportError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

_NUMPY_TYPES = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8"}

#: Value types of private elements, which a file in implicit encoding does not state.
_PRIVATE_TYPES = {0x0043102F: "SS", 0x2005100E: "FL"}


def text(dataset, tag: int) -> str:
    """First value of an element as text; "" if absent."""
    values = texts(dataset, tag)
    return values[0] if values else ""


def texts(dataset, tag: int) -> tuple[str, ...]:
    """All values of a text element, blanks around them removed; () if absent."""
    found = _stored(dataset, tag)
    if found is None:
        return ()
    value, kind, _ = found
    if isinstance(value, bytes):
        if kind in _NUMPY_TYPES or kind == "SQ":
            return ()
        value = _decode(value).split("\\")
    elif isinstance(value, str) or not isinstance(value, Iterable):
        value = str(value).split("\\")
    parts = tuple(str(v).strip(" \0\t\r\n") for v in value)
    return parts if any(parts) else ()


def number(dataset, tag: int) -> float | None:
    """First value of an element as a finite number; None if absent or no number."""
    values = numbers(dataset, tag)
    return values[0] if values else None


def numbers(dataset, tag: int) -> tuple[float, ...]:
    """All values of an element as finite numbers; () if it is absent or one of them is no number."""
    found = _stored(dataset, tag)
    if found is None:
        return ()
    value, kind, little_endian = found
    try:
        if isinstance(value, bytes):
            if kind in _NUMPY_TYPES:
                dtype = np.dtype(("<" if little_endian else ">") + _NUMPY_TYPES[kind])
                values = [float(v) for v in np.frombuffer(value, dtype)]
            else:
                values = [float(v) for v in _decode(value).replace("\0", " ").split("\\") if v.strip()]
        elif isinstance(value, str) or not isinstance(value, Iterable):
            values = [float(value)]
        else:
            values = [float(v) for v in value]
    except (TypeError, ValueError):
        return ()
    return tuple(values) if all(math.isfinite(v) for v in values) else ()


def whole(dataset, tag: int) -> int | None:
    """First value as a whole number; None if absent or not whole."""
    value = number(dataset, tag)
    return int(value) if value is not None and value == int(value) else None


def items(dataset, tag: int) -> list:
    """Data sets of a sequence; [] if absent or damaged."""
    try:
        element = dataset[tag] if tag in dataset else None
        return list(element.value) if element is not None and element.VR == "SQ" and element.value else []
    except READ_FAILURES:
        return []


def seconds_of_day(stated: str) -> float | None:
    """Seconds since midnight of a DICOM time (HHMMSS.ffffff) or the time in a date-time; None if it is neither."""
    digits = stated.partition("+")[0].partition("-")[0].replace(":", "").strip()
    whole_part, _, fraction = digits.partition(".")
    if len(whole_part) == 14:  # date and time
        whole_part = whole_part[8:]
    if len(whole_part) not in (2, 4, 6) or not whole_part.isdigit() or (fraction and not fraction.isdigit()):
        return None
    hours, minutes, seconds = (int(whole_part[n : n + 2] or 0) for n in (0, 2, 4))
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return 3600 * hours + 60 * minutes + seconds + float(f"0.{fraction or 0}")


def write_dataset(dataset, path: str | os.PathLike) -> None:
    """Write a data set with its file_meta as a DICOM file, explicit little-endian or encapsulated."""
    import pydicom

    if int(pydicom.__version__.partition(".")[0]) >= 3:
        dataset.save_as(path, enforce_file_format=True)
    else:
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
        dataset.save_as(path, write_like_original=False)


def _stored(dataset, tag: int):
    """(value or bytes, value type, little-endian) of an element as it lies in the file; None if absent or empty."""
    try:
        element = dataset.get_item(tag)
    except READ_FAILURES:
        return None
    value = getattr(element, "value", None)
    if element is None or value is None or (isinstance(value, (bytes, str)) and not value):
        return None
    kind = element.VR
    if kind in (None, "UN"):
        kind = _PRIVATE_TYPES.get(tag) or _dictionary_type(tag)
    return value, kind, bool(getattr(element, "is_little_endian", True))


def _dictionary_type(tag: int) -> str:
    from pydicom.datadict import dictionary_VR

    try:
        return dictionary_VR(tag).partition(" ")[0]
    except KeyError:
        return "LO"


def _decode(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
