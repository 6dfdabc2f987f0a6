"""Tables as BIDS keeps them: UTF-8, tab-separated, ``n/a`` for what is missing, every column described in a JSON file.

Numbers are written by Python's own formatting, which knows no locale: the decimal point is a point everywhere.
Free text is escaped as inside a JSON string, so that tabs, line breaks, quotes and emoji survive any reader.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..notice import RESEARCH_USE
from ..volume_io import write_text

MISSING = "n/a"

#: What a reader of tables could take for a line break, a quote, or nothing visible.
_UNSAFE = re.compile('[\x00-\x1f\x7f-\x9f"\\\\\u2028\u2029\ufeff\ud800-\udfff]')
#: Words that pandas and R read as missing; and first characters that spreadsheets run as a formula.
_AS_MISSING = {"", "n/a", "N/A", "NA", "#N/A", "#NA", "NaN", "nan", "-NaN", "-nan", "null", "NULL", "None", "<NA>"}
_FORMULA = ("=", "+", "-", "@", " ")


@dataclass(frozen=True)
class Column:
    """A column of a table, with what BIDS asks to be said about it."""

    name: str
    description: str
    units: str = ""
    levels: Mapping[str, str] | None = None

    def sidecar(self) -> dict[str, object]:
        entry: dict[str, object] = {"Description": self.description}
        if self.units:
            entry["Units"] = self.units
        if self.levels:
            entry["Levels"] = dict(self.levels)
        return entry


def escape(text: str) -> str:
    """Free text as one table field: `unescape` gives back every character.

    >>> unescape(escape('a\\tb "c"')) == 'a\\tb "c"'
    True
    """
    escaped = _UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1] if match[0] != '"' else "\\u0022", text)
    if text and (text in _AS_MISSING or text.startswith(_FORMULA) or text.endswith(" ")):
        escaped = f"\\u{ord(text[0]):04x}" + escaped[1:] if escaped[0] == text[0] else escaped
        if escaped.endswith(" "):
            escaped = escaped[:-1] + "\\u0020"
    return escaped


def unescape(field: str) -> str:
    """The text that `escape` wrote."""
    try:
        return json.loads(f'"{field}"')
    except ValueError as error:
        raise InputError(f"The text {field[:40]!r} is not escaped as this table's texts are.", "Restore it.") from error


def format_value(value: object) -> str:
    """One field: numbers with seven significant digits, truth as 1 and 0, None and NaN as ``n/a``.

    Seven digits keep a relative error below 1e-6.
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return f"{value:.8g}"
    return str(value) or MISSING


def write_table(
    path: str | os.PathLike,
    columns: Sequence[Column],
    rows: Iterable[Mapping[str, object]],
    about: Mapping[str, object],
) -> tuple[Path, Path]:
    """Write the TSV and its JSON description; returns both paths.

    Parameters
    ----------
    rows
        Values by column name; text that people typed must be escaped by the caller.
    about
        Facts of the whole table (units, reference region, codebook …), stored under "ChiSep" in the JSON file.
    """
    path = Path(path)
    lines = ["\t".join(column.name for column in columns)]
    for row in rows:
        fields = [format_value(row.get(column.name)) for column in columns]
        broken = [field for field in fields if "\t" in field or len(field.splitlines()) > 1]
        if broken:
            raise ValueError(f"A field was not escaped: {broken[0]!r}")
        lines.append("\t".join(fields))
    sidecar: dict[str, object] = {column.name: column.sidecar() for column in columns}
    sidecar["ChiSep"] = {"Notice": RESEARCH_USE, **about}
    json_path = write_json(path.with_suffix(".json"), sidecar)
    return write_text(path, "\n".join(lines) + "\n"), json_path


def write_json(path: str | os.PathLike, content: object) -> Path:
    """Write JSON in ASCII (any character survives any reader), sorted as given."""
    return write_text(path, json.dumps(content, ensure_ascii=True, indent=1, allow_nan=False) + "\n")


def read_table(path: str | os.PathLike) -> tuple[list[dict[str, str]], dict[str, object]]:
    """Rows of a TSV (fields as text) and what its JSON file says about the whole table.

    Raises
    ------
    InputError
        If a file is missing or a row has another number of fields than the header.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}", "Give a UTF-8 TSV file.") from error
    lines = text.split("\n")
    lines = [line.rstrip("\r") for line in lines if line.strip("\r")]
    if not lines:
        raise InputError(f"{path} is empty.", "Give a table with a header line.")
    header = lines[0].split("\t")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split("\t")
        if len(fields) != len(header):
            raise InputError(
                f"{path}, line {number}: {len(fields)} fields instead of {len(header)}.",
                "Was the table edited in a spreadsheet? Restore the original file.",
            )
        rows.append(dict(zip(header, fields)))
    sidecar = path.with_suffix(".json")
    about: dict[str, object] = {}
    if sidecar.is_file():
        try:
            about = json.loads(sidecar.read_text(encoding="utf-8")).get("ChiSep", {})
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{sidecar} is no readable JSON: {error}", "Restore the original file.") from error
    return rows, about
