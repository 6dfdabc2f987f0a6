"""What a person thinks of a run's maps, stored with them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from ..errors import InputError
from ..provenance import utc_now

PASS, REMARK, FAIL = "pass", "remark", "fail"
ATTRIBUTE = "ChiSep.qc"


@dataclass(frozen=True)
class Verdict:
    """A judgement on the quality of maps.

    Raises
    ------
    InputError
        If nobody signs it, or a remark or a failure says nothing.
    """

    verdict: str
    remark: str
    by: str
    at: str

    def __post_init__(self) -> None:
        if self.verdict not in (PASS, REMARK, FAIL):
            raise InputError(f"{self.verdict!r} is no verdict.", "Choose pass, pass with remark, or fail.")
        if not self.by.strip():
            raise InputError("The verdict has no name.", "Give your name or your rater code.")
        if self.verdict != PASS and not self.remark.strip():
            raise InputError("The verdict says nothing about what was noticed.", "Write a remark.")

    @classmethod
    def now(cls, verdict: str, remark: str, by: str) -> Verdict:
        return cls(verdict, remark.strip(), by.strip(), utc_now())


def record_verdict(nodes: Iterable, verdict: Verdict) -> None:
    """Store a verdict with map nodes; ASCII, as the scene file keeps it."""
    text = json.dumps(asdict(verdict), ensure_ascii=True)
    for node in nodes:
        node.SetAttribute(ATTRIBUTE, text)


def verdict_of(node) -> Verdict | None:
    """The verdict on a map, None where nobody has judged it."""
    text = node.GetAttribute(ATTRIBUTE) if node is not None else None
    return Verdict(**json.loads(text)) if text else None


def forget_verdict(nodes: Iterable) -> None:
    """New voxels have not been judged."""
    for node in nodes:
        node.RemoveAttribute(ATTRIBUTE)
