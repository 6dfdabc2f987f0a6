"""Searching what is about to leave for the name, ID or birth date of the patient, in every file and form.

Files are searched as bytes, unpacked where they are packed (gzip, zip, PNG text), in UTF-8, UTF-16 and Latin-1, in
upper and lower case, as plain text and as JSON, XML and URL write it; file names are searched as well.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape as xml_escape

from ..errors import ChiSepError
from ..notice import RESEARCH_USE
from .codebook import load_codebook
from .measure_tables import SHOWN_MAPS, measure_columns

#: Shorter words ("Lee", "12") occur everywhere by chance: they are searched as whole words, and not in pixel data.
MIN_FREE_LENGTH = 5
#: In front of text that a scene file holds compressed (base64 of zlib); see `mrml.review_scene`.
PACKED_MARK = "chisep-packed:"
#: Packed files inside packed files are opened to this depth.
MAX_DEPTH = 4
#: Head of the element Float Pixel Data of a DICOM map; its length follows.
_FLOAT_PIXELS = b"\xe0\x7f\x08\x00OF\0\0"
#: Enough for a NIfTI header with its extensions.
_HEADER_BYTES = 1 << 20


class IdentityFound(ChiSepError):
    """Something about to be written holds the patient's identity. The message never repeats it."""


@dataclass(frozen=True)
class Hit:
    """Where something was found: ``kind`` of "name", "ID" or "birth date"."""

    file: str
    kind: str


class Identity:
    """What must not leave.

    Parameters
    ----------
    names
        Patient names; of "DOE^JANE" the parts and their orders are searched, too. A part that is a word of our own
        tables ("White") is searched only together with the other parts: it stands in every file.
    ids
        Patient IDs, accession numbers, any other identifying string.
    birth_dates
        "19700131", "1970-01-31" or `datetime.date`; searched in the usual spellings.
    """

    def __init__(
        self, names: Iterable[str] = (), ids: Iterable[str] = (), birth_dates: Iterable[str | date] = ()
    ) -> None:
        words: dict[str, str] = {}
        found = [("name", s) for name in names for s in _name_spellings(name)]
        found += [("ID", identifier) for identifier in ids]
        found += [("birth date", s) for day in birth_dates for s in _date_spellings(day)]
        for kind, word in found:
            if word.strip():
                words.setdefault(word.strip().lower(), kind)
        self._words = tuple(_Word.of(word, kind) for word, kind in words.items())

    def __bool__(self) -> bool:
        return bool(self._words)

    def kinds_in(self, data: bytes, *, is_text: bool = True) -> set[str]:
        """Kinds of identity found in the bytes; with ``is_text`` False short words are left out."""
        lowered = data.lower()
        return {word.kind for word in self._words if (is_text or not word.is_short) and word.is_in(lowered)}


@dataclass(frozen=True)
class _Word:
    kind: str
    is_short: bool
    encoded: tuple[bytes, ...]
    boundary: re.Pattern[bytes] | None

    @classmethod
    def of(cls, word: str, kind: str) -> _Word:
        is_short = len(word) < MIN_FREE_LENGTH
        encoded = _encodings(word)
        any_of = b"(?:" + b"|".join(map(re.escape, encoded)) + b")"
        boundary = None
        if is_short:
            boundary = re.compile(b"(?<![0-9a-z\\x80-\\xff])" + any_of + b"(?![0-9a-z\\x80-\\xff])")
        elif word.isdigit():
            # 5 digits occur by chance in the 39 digits of 200 UIDs (8 %), and behind the point of any number.
            boundary = re.compile(b"(?<![0-9])(?<![0-9][.])" + any_of + b"(?![0-9])")
        return cls(kind, is_short, encoded, boundary)

    def is_in(self, lowered: bytes) -> bool:
        # Finding bytes is a hundred times faster than a pattern: a head in float32 has 40 MB.
        present = any(e in lowered for e in self.encoded)
        return present and (self.boundary is None or bool(self.boundary.search(lowered)))


def search(paths: Iterable[str | os.PathLike], identity: Identity) -> list[Hit]:
    """All files (folders are walked) that hold something of the identity, by content or by name."""
    hits = []
    for path in map(Path, paths):
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            shown = str(file.relative_to(path)) if path.is_dir() else file.name
            in_name = identity.kinds_in(shown.encode("utf-8", "surrogatepass"))
            hits += [Hit("a file name", kind) for kind in sorted(in_name)]
            in_content = _search_bytes(file.read_bytes(), identity, 0)
            hits += [Hit("a file whose name holds it, too" if in_name else shown, kind) for kind in sorted(in_content)]
    return hits


def require_anonymous(paths: Iterable[str | os.PathLike], identity: Identity) -> None:
    """Raise `IdentityFound` if anything is found; an identity without words is refused, for it would find nothing."""
    if not identity:
        raise IdentityFound(
            "The patient's name, ID and birth date are not known, so the files cannot be searched for them.",
            "Load the images from their DICOM files, or give the identity; or export without de-identification.",
        )
    hits = search(paths, identity)
    if hits:
        where = ", ".join(sorted({f"{hit.kind} in {hit.file}" for hit in hits}))
        raise IdentityFound(
            f"The export would hold the patient's identity: {where}.",
            "Remove it (look at comments and file names), then export again. Nothing was written.",
        )


def _search_bytes(data: bytes, identity: Identity, depth: int) -> set[str]:
    found = identity.kinds_in(_without_voxels(data), is_text=_looks_like_text(data))
    if depth >= MAX_DEPTH:
        return found
    for name, inner in (*_unpacked(data), *_marked(data)):
        found |= identity.kinds_in(name.encode("utf-8", "surrogatepass"))
        found |= _search_bytes(inner, identity, depth + 1)
    return found


def _unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Parts of a packed file; a broken one yields what could be read."""
    if data[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(data)) as file:
                start = file.read(_HEADER_BYTES)
                yield "", start if _nifti_offset(start) else start + file.read()
        except (OSError, EOFError, zlib.error):
            return
    elif data[:4] == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for entry in archive.infolist():
                    yield entry.filename, archive.read(entry)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError):
            return
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png_texts(data)
    elif data[:3] == b"NRR" and b"\n\n" in data:
        # The header is text, whatever the pixels behind it look like.
        yield "", data[: data.index(b"\n\n")]
    elif data[128:132] == b"DICM":
        yield from _dicom_texts(data)
    elif offset := _nifti_offset(data):
        yield "", data[4:offset].replace(b"\0", b" ")


def _marked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Compressed texts behind our own mark, in whatever file they stand."""
    for match in re.finditer(re.escape(PACKED_MARK.encode()) + b"([A-Za-z0-9+/]+={0,2})", data):
        try:
            yield "", zlib.decompress(base64.b64decode(match[1]))
        except (ValueError, zlib.error):  # damaged: nothing can be read from it, by anybody
            continue


def _nifti_offset(data: bytes) -> int:
    """Bytes before the voxels of a NIfTI-1 file (header and extensions); 0 if it is none."""
    for order in "<>":
        if len(data) >= 352 and data[:4] == struct.pack(f"{order}i", 348) and data[344:346] in (b"n+", b"ni"):
            (offset,) = struct.unpack(f"{order}f", data[108:112])
            return min(len(data), int(offset)) if 352 < offset < 2**31 else 352  # NaN and nonsense: no extensions
    return 0


def _without_voxels(data: bytes) -> bytes:
    """The part of a file that can hold text: voxels and packed bytes cannot, and are most of an export."""
    if data[:2] == b"\x1f\x8b":
        return data[:1024]  # the name of the packed file
    if data[128:132] == b"DICM" and (start := data.find(_FLOAT_PIXELS)) > 0:
        (length,) = struct.unpack("<I", data[start + 8 : start + 12].ljust(4, b"\0"))
        return data[:start] + data[start + 12 + length :]
    return data[: _nifti_offset(data) or len(data)]


def _png_texts(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Text, EXIF and colour profile chunks of a PNG, unpacked, and whatever is hung behind its end."""
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        if kind == b"tEXt" or kind == b"eXIf":
            yield "", body.replace(b"\0", b" ")
        elif kind in (b"zTXt", b"iCCP") and b"\0" in body:
            keyword, rest = body.split(b"\0", 1)
            yield "", keyword + b" " + _inflate(rest[1:])
        elif kind == b"iTXt" and b"\0" in body:
            keyword, rest = body.split(b"\0", 1)
            packed = rest[:1] == b"\1"
            parts = rest[2:].split(b"\0", 2)
            text = parts[-1]
            yield "", keyword + b" " + b" ".join(parts[:-1]) + b" " + (_inflate(text) if packed else text)
        position += 12 + length
        if kind == b"IEND":
            yield "", data[position:]
            return


def _inflate(packed: bytes) -> bytes:
    try:
        return zlib.decompress(packed)
    except zlib.error:
        return b""


def _looks_like_text(data: bytes) -> bool:
    """No zero byte among the first 4096, unless it is UTF-16."""
    return b"\0" not in data[:4096] or data[:2] in (b"\xff\xfe", b"\xfe\xff")


def _dicom_texts(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Attributes of a DICOM file except its pixels, as text."""
    import pydicom

    try:
        dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
        yield "", str(dataset).encode("utf-8", "replace")
    except Exception:  # noqa: BLE001 - any damage: the bytes were searched already, unpacking is a second look
        return


def _encodings(word: str) -> tuple[bytes, ...]:
    """The lower-case word as bytes, as files of different kinds write it."""
    encoded: set[bytes] = set()
    for cased in (word, word.upper(), word.title()):
        spellings = {
            cased,
            json.dumps(cased)[1:-1],
            xml_escape(cased, {'"': "&quot;"}),
            "".join(c if ord(c) < 128 else f"&#{ord(c)};" for c in cased),
            "".join(c if ord(c) < 128 else f"&#x{ord(c):x};" for c in cased),
            quote(cased),
        }
        for spelling in spellings:
            for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1", "euc-kr", "shift-jis", "gb18030"):
                try:
                    encoded.add(spelling.encode(encoding).lower())
                except UnicodeEncodeError:
                    continue
    return tuple(sorted(encoded, key=len, reverse=True))


@cache
def _own_words() -> frozenset[str]:
    """Words of the tables and codebook that every export holds."""
    texts = [json.dumps(load_codebook().content), RESEARCH_USE]
    texts += [f"{column.name} {json.dumps(column.sidecar())}" for column in measure_columns(list(SHOWN_MAPS))]
    return frozenset(re.findall(r"[^\W\d_]+", " ".join(texts).lower()))


def _name_spellings(name: str) -> list[str]:
    words = []
    for group in name.split("="):  # alphabetic, ideographic, phonetic
        parts = [part.strip() for part in re.split(r"[\^,\s]+", group) if part.strip()]
        if len(parts) != 1:
            words.append(group.strip())
        own = _own_words()
        words += [p for p in parts if (len(p) > 2 or not p.isascii()) and p.lower() not in own]
        if len(parts) > 1:
            for first, second in ((parts[0], parts[1]), (parts[1], parts[0])):
                words += [f"{first}{joint}{second}" for joint in (" ", "_", "-", "^", ", ", ",", ".", "")]
    return words


def _date_spellings(day: str | date) -> list[str]:
    if not isinstance(day, date):
        digits = re.sub(r"\D", "", day)
        if len(digits) != 8:
            return [day]
        try:
            day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
        except ValueError:
            return [day]
    formats = ("%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d%m%Y")
    return [day.strftime(f) for f in formats]
