"""Which letter key of Read mode does what; digits are asked from the codebook."""

from __future__ import annotations

from collections.abc import Callable


def keyActions(part) -> dict[str, Callable[[], None]]:
    """Actions of a `ReadPart` by key sequence."""
    return {
        "W": lambda: part.step(1),
        ".": lambda: part.step(1),
        "Q": lambda: part.step(-1),
        ",": lambda: part.step(-1),
        "N": lambda: part.nextUnrated(),
        "Shift+N": lambda: part.nextUnrated(backwards=True),
        "J": part.recenter,
        "P": lambda: part.cycle("prl", ("yes", "no")),
        "Shift+P": lambda: part.cycle("prl_conf"),
        "C": lambda: part.cycle("cvs"),
        "U": part.toggleFlag,
        "M": lambda: part.ui.commentEdit.setFocus(),
        "E": lambda: part.ui.excludeComboBox.setFocus(),
        "Shift+E": lambda: part.setEditing(True),
        "S": part.savePicture,
        "Return": part.enterPressed,
        "Enter": part.enterPressed,
        "Backspace": part.reopen,
        "?": part.toggleKeySheet,
    }
