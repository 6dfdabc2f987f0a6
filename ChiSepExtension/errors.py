"""Errors that a user can act on: each says what is wrong, where, and what to do about it."""

from __future__ import annotations

import re

#: What only a user of the command line can follow stands in brackets of its own: "Give a mask (--mask)."
_COMMAND_LINE = re.compile(r"\s*\((?:[^()]*--|chisep )[^()]*\)")


def without_command_line(text: str) -> str:
    """A message or remedy for someone who clicks: "Give a mask (--mask)." becomes "Give a mask."."""
    return _COMMAND_LINE.sub("", text)


class ChiSepError(Exception):
    """Something the user can understand and mend.

    Parameters
    ----------
    message
        What is wrong and where, in one sentence.
    remedy
        What the user can do about it. Shown after the message.
    """

    #: Exit status of the command line for this kind of error.
    exit_code = 2

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def __reduce__(self):
        return type(self), (self.message, self.remedy)


class InputError(ChiSepError):
    """The input files or arguments are wrong, incomplete or contradict each other."""

    exit_code = 2


class Cancelled(ChiSepError):
    """The user cancelled the run; nothing was written."""

    exit_code = 3

    def __init__(self, message: str = "Cancelled.", remedy: str = "") -> None:
        super().__init__(message, remedy)


class MemoryLimitError(ChiSepError):
    """The work does not fit into the memory that is free on the chosen device."""

    exit_code = 4


class WeightsError(ChiSepError):
    """Network weights are missing, broken, or not what they claim to be."""

    exit_code = 5
