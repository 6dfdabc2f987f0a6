"""What the checks of scanner data say: a finding with a number, words and a picture, and the remedies by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: What `repair` can mend, in the order in which it does: each step needs the ones before it done.
REPAIRS: dict[str, str] = {
    "unsigned-magnitude": "Add 65536 to negative magnitudes: unsigned 16-bit numbers that were stored as signed.",
    "repair-slices": "Add π to the phase of every second slice.",
    "rescale-magnitude": "Bring the magnitudes of all echoes to the scale of the first.",
    "reorder-echoes": "Put the images in the order of the echo times that their phase and magnitude show.",
    "correct-bipolar": "Remove the phase by which odd and even echoes differ.",
    "invert-phase": "Negate the phase of all echoes.",
}

_TITLES = {
    "unsigned-magnitude": "Unsigned magnitude stored as signed",
    "repair-slices": "Phase from slice to slice",
    "reorder-echoes": "Order of the echoes",
    "rescale-magnitude": "Scale of the magnitudes",
    "correct-bipolar": "Read-out direction of the echoes",
    "invert-phase": "Sign of the phase",
}


@dataclass(frozen=True, eq=False)
class Picture:
    """What proves a finding: the data as they are, and as they would be.

    Parameters
    ----------
    caption, unit
        Of both.
    before, after
        A plane (row, column), or a curve over the echoes (echo,); float32. Planes show array rows downwards.
    """

    caption: str
    unit: str
    before: np.ndarray
    after: np.ndarray


@dataclass(frozen=True, eq=False)
class Finding:
    """The answer to one question about the data.

    Parameters
    ----------
    name
        What `repair` calls the remedy, one of `REPAIRS`.
    found
        True: the fault is there; False: it is not; None: the data do not tell.
    value
        The number that decided, in plain words.
    text
        What it means.
    facts
        Numbers, JSON-able.
    picture
        None where there is nothing to see.
    """

    name: str
    found: bool | None
    value: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    picture: Picture | None = None

    @property
    def title(self) -> str:
        return _TITLES[self.name]

    @property
    def remedy(self) -> str:
        return REPAIRS[self.name]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the picture."""
        return {
            "name": self.name,
            "title": self.title,
            "found": self.found,
            "value": self.value,
            "text": self.text,
            "remedy": self.remedy,
            "facts": self.facts,
        }
