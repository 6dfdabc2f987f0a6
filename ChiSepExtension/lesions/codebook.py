"""The codebook: which codes a reader may give, in which order, and what each means. A data file with a version."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

_SHIPPED = Path(__file__).with_name("codebook_v1.json")


@dataclass(frozen=True)
class Code:
    """``code`` is stored, ``label`` is shown, ``definition`` travels with every exported table."""

    code: str
    label: str
    definition: str


@dataclass(frozen=True)
class Field:
    """One question about a lesion.

    Parameters
    ----------
    codes
        In codebook order, which is the order of confusion matrices and of linear weights.
    required
        A rating cannot be committed without it.
    ordered
        The codes that form a scale, for linear weights; empty if there is none.
    positive
        The code whose agreement is told apart ("positive agreement"); empty if there is none.
    only_if
        (field, code) that must be given for this field to make sense.
    keys
        Default key by code.
    """

    name: str
    label: str
    description: str
    codes: tuple[Code, ...]
    required: bool = False
    ordered: tuple[str, ...] = ()
    positive: str = ""
    only_if: tuple[str, str] | None = None
    keys: Mapping[str, str] | None = None

    @property
    def order(self) -> tuple[str, ...]:
        return tuple(code.code for code in self.codes)


@dataclass(frozen=True)
class Codebook:
    """A version of the codebook; ``sha256`` is of its content, not of the file's white space."""

    name: str
    version: str
    fields: tuple[Field, ...]
    content: Mapping[str, object]
    sha256: str

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise InputError(f"The codebook {self.version} has no field {name!r}.", f"Use one of {', '.join(self.names)}.")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    def check(self, codes: Mapping[str, str], *, complete: bool = True) -> None:
        """Raise `InputError` unless all codes are of this codebook and fit together.

        Parameters
        ----------
        complete
            Also ask for the required fields, as at a commit; False for a rating that is being made.
        """
        for name, code in codes.items():
            field = self[name]
            if code not in field.order:
                raise InputError(f"{code!r} is no code of {name!r}.", f"Use one of {', '.join(field.order)}.")
            if field.only_if and codes.get(field.only_if[0]) != field.only_if[1]:
                raise InputError(
                    f"{name!r} is asked only if {field.only_if[0]!r} is {field.only_if[1]!r}.", "Remove it."
                )
        missing = [field.name for field in self.fields if field.required and field.name not in codes]
        if complete and missing:
            raise InputError(f"Not rated yet: {', '.join(missing)}.", "Give a code for each, or exclude the lesion.")

    def without_orphans(self, codes: Mapping[str, str]) -> dict[str, str]:
        """The codes without those whose condition is no longer met, as after rim was changed to increased."""
        kept = dict(codes)
        for field in self.fields:  # a condition refers to an earlier field
            if field.only_if and kept.get(field.only_if[0]) != field.only_if[1]:
                kept.pop(field.name, None)
        return kept


def load_codebook(path: str | os.PathLike | None = None) -> Codebook:
    """Read a codebook file; without a path, the version 1 that ships with the extension."""
    path = Path(path or _SHIPPED)
    try:
        return codebook_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no readable codebook: {error}", "Give a codebook JSON file.") from error


def codebook_from_json(content: Mapping[str, object]) -> Codebook:
    """Codebook from parsed JSON, as embedded in rating files.

    Raises
    ------
    InputError
        If a part is missing or a scale, condition or code contradicts the rest.
    """
    try:
        fields = tuple(_field(entry) for entry in content["fields"])
        name, version = str(content["name"]), str(content["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The codebook lacks a part: {error}.", "Compare it with the one that ships.") from error
    by_name: dict[str, Field] = {}
    for field in fields:
        order = field.order
        condition = field.only_if
        wrong = (
            field.name in by_name
            or len(set(order)) != len(order)
            or not set(field.ordered) <= set(order)
            or (field.positive and field.positive not in order)
            or (condition and (condition[0] not in by_name or condition[1] not in by_name[condition[0]].order))
        )
        if wrong:
            raise InputError(f"The codebook's field {field.name!r} contradicts itself.", "Correct its codes.")
        by_name[field.name] = field
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return Codebook(name, version, fields, dict(content), hashlib.sha256(canonical.encode()).hexdigest())


def _field(entry: Mapping[str, object]) -> Field:
    condition = entry.get("only_if")
    return Field(
        name=str(entry["name"]),
        label=str(entry["label"]),
        description=str(entry["description"]),
        codes=tuple(Code(str(c["code"]), str(c["label"]), str(c["definition"])) for c in entry["codes"]),
        required=bool(entry.get("required", False)),
        ordered=tuple(entry.get("ordered", ())),
        positive=str(entry.get("positive", "")),
        only_if=next(iter(condition.items())) if condition else None,
        keys=dict(entry.get("keys", {})),
    )
