"""Green, amber, red: the rows of a gate, the gate they make, and the words with which a person overrules red."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from ..errors import InputError
from ..provenance import utc_now

GREEN, AMBER, RED = "green", "amber", "red"

#: From good to bad.
COLORS = (GREEN, AMBER, RED)

#: What can be mended with one click (or one option), and what it does.
MENDS: dict[str, str] = {
    "invert-phase": "Negate the phase of all echoes (--invert-phase).",
    "repair-slices": "Add π to the phase of every second slice.",
    "correct-bipolar": "Remove the phase by which odd and even echoes differ.",
    "reorder-echoes": "Put the images in the order of the echo times that their phase and magnitude show.",
    "rescale-magnitude": "Bring the magnitudes of all echoes to the scale of the first.",
    "unsigned-magnitude": "Add 65536 to negative magnitudes: unsigned numbers that were stored as signed.",
    "give-echo-times": "Type the echo times (--echo-times).",
    "give-field-strength": "Type the field strength (--field-strength).",
    "name-vendor": "Name the scanner's manufacturer (--manufacturer).",
    "give-r2": "Give a spin-echo series, or an R2 or R2′ map (--spin-echo, --r2, --r2prime).",
    "choose-r2star-method": "Choose a method that takes R2* alone (--method sepnet-r2star or r2star-qsm).",
    "choose-model-method": "Choose a method without networks.",
    "use-default-dr": "Go back to the default relaxometric constant.",
    "resample-context": "Register the image to the scan and resample it, with a look at the result.",
    "reorder-axes": "Store the image in the axis order of the scan; no interpolation.",
    "give-mask": "Give a brain mask or draw one (--mask).",
    "verify-weights": "Import the network weights again.",
}

#: An override says why, in at least this many letters: one word is a reflex, not a reason.
SHORTEST_OVERRIDE_LETTERS = 10


@dataclass(frozen=True)
class GateRow:
    """One check.

    Parameters
    ----------
    key
        Stable name, such as "field" or "phase-sign".
    title
        What was checked, in words.
    color
        "green", "amber" or "red".
    value
        The number that decided, with its unit.
    reason
        One sentence: what the value means.
    mend
        One of `MENDS`, or None where no click helps.
    """

    key: str
    title: str
    color: str
    value: str
    reason: str
    mend: str | None = None

    def __post_init__(self) -> None:
        if self.color not in COLORS:
            raise ValueError(f"{self.color!r} is none of {', '.join(COLORS)}.")
        if self.mend is not None and self.mend not in MENDS:
            raise ValueError(f"There is no mend {self.mend!r}.")


@dataclass(frozen=True)
class Override:
    """A person's decision to go on although a row is red; part of the provenance and of every picture.

    Raises
    ------
    InputError
        On construction, if the reason is not given in words, nobody signs it, or the time is no ISO 8601 time.
    """

    text: str
    user: str
    time: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", " ".join(self.text.split()))
        object.__setattr__(self, "user", " ".join(self.user.split()))
        letters = len(re.findall(r"[^\W\d_]", self.text))
        if letters < SHORTEST_OVERRIDE_LETTERS:
            raise InputError(
                f"The override says {self.text!r}, which is not a reason.",
                f"Say in words why the red rows may be passed (at least {SHORTEST_OVERRIDE_LETTERS} letters).",
            )
        if not self.user:
            raise InputError("The override has no name.", "Give your name or your rater code.")
        try:
            datetime.fromisoformat(self.time.replace("Z", "+00:00"))
        except ValueError as error:
            raise InputError(f"{self.time!r} is not a time.", "Give ISO 8601, such as 2026-11-22T14:05:00Z.") from error

    @classmethod
    def now(cls, text: str, user: str) -> Override:
        return cls(text, user, utc_now())

    def describe(self) -> str:
        """One line for pictures and tables."""
        return f"Input check overridden by {self.user} at {self.time}: {self.text}"

    def to_dict(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, str]) -> Override:
        return cls(values.get("text", ""), values.get("user", ""), values.get("time", ""))


class GateBlocked(InputError):
    """A row of the gate is red and nobody has overridden it."""


@dataclass(frozen=True)
class Gate:
    """All rows of a check, and the override if there is one."""

    rows: tuple[GateRow, ...]
    override: Override | None = None

    @property
    def color(self) -> str:
        """The worst color of all rows; an empty gate is amber, because nothing is known."""
        return max((row.color for row in self.rows), key=COLORS.index, default=AMBER)

    @property
    def blocks(self) -> bool:
        """True if a row is red and no override is given."""
        return self.color == RED and self.override is None

    def of_color(self, color: str) -> tuple[GateRow, ...]:
        return tuple(row for row in self.rows if row.color == color)

    def row(self, key: str) -> GateRow:
        """The row of that key; `KeyError` if there is none."""
        for row in self.rows:
            if row.key == key:
                return row
        raise KeyError(key)

    def overridden(self, override: Override | None) -> Gate:
        """The same gate with an override, or with none."""
        return replace(self, override=override)

    def require(self) -> Gate:
        """Return self, or raise `GateBlocked` that names the red rows and how to go on."""
        if not self.blocks:
            return self
        red = "; ".join(f"{row.title}: {row.value}. {row.reason}" for row in self.of_color(RED))
        mends = [MENDS[row.mend] for row in self.of_color(RED) if row.mend]
        raise GateBlocked(
            f"The check of the inputs is red. {red}",
            " ".join(
                [
                    *dict.fromkeys(mends),
                    "Or override the check with a reason in words, which is recorded (--override REASON).",
                ]
            ),
        )

    def summary(self) -> list[str]:
        """What every output carries: override and, per amber or red row, one line; empty if all is green."""
        lines = [] if self.override is None else [self.override.describe()]
        marked = [row for color in (RED, AMBER) for row in self.of_color(color)]
        return lines + [f"{row.color}: {row.title} - {row.value}. {row.reason}" for row in marked]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: color, rows, override."""
        return {
            "color": self.color,
            "rows": [asdict(row) for row in self.rows],
            "override": None if self.override is None else self.override.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Gate:
        override = values.get("override")
        return cls(
            tuple(GateRow(**row) for row in values["rows"]), None if override is None else Override.from_dict(override)
        )

    def __add__(self, other: Gate) -> Gate:
        """Rows of both, such as of the gate before and of the checks after a run."""
        return Gate(self.rows + other.rows, self.override or other.override)


def worst(colors: Iterable[str]) -> str:
    """The worst of some colors; green if there are none."""
    return max(colors, key=COLORS.index, default=GREEN)
