"""The digit that a key event means by the key's place in the digit row, whatever the keyboard's layout.

On a French keyboard the digit row gives digits only with Shift: by character, "1" and "Shift+1" would be exchanged. The
operating system's number of the physical key does not know layouts. The keypad counts as unshifted.
"""

from __future__ import annotations

import sys

import qt

#: Physical keys 1 2 3 4 5 6 7 8 9 0 as `QKeyEvent.nativeScanCode` (evdev plus 8 under X11 and Wayland; set 1 under
#: Windows) and, where Qt has no scan code (macOS), as `nativeVirtualKey`.
_LINUX = dict(zip(range(10, 20), (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)))
_WINDOWS = dict(zip(range(2, 12), (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)))
_MACOS = dict(zip((18, 19, 20, 21, 23, 22, 26, 28, 25, 29), (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)))


def digitOf(event, platform: str = sys.platform) -> tuple[int, bool] | None:
    """(digit, with Shift) of a key event; None if it is no digit key, or Ctrl, Alt or Meta is held."""
    modifiers, key = int(event.modifiers()), int(event.key())
    if modifiers & (int(qt.Qt.ControlModifier) | int(qt.Qt.AltModifier) | int(qt.Qt.MetaModifier)):
        return None
    character = key - int(qt.Qt.Key_0) if int(qt.Qt.Key_0) <= key <= int(qt.Qt.Key_9) else None
    shift = bool(modifiers & int(qt.Qt.ShiftModifier))
    if modifiers & int(qt.Qt.KeypadModifier):
        return None if character is None else (character, False)
    place = _place(event, platform)
    if place is None:
        place = character
    return None if place is None else (place, shift)


def _place(event, platform: str) -> int | None:
    if platform == "darwin":
        codes, read = _MACOS, getattr(event, "nativeVirtualKey", None)
    else:
        codes = _WINDOWS if platform.startswith("win") else _LINUX
        read = getattr(event, "nativeScanCode", None)
    return None if read is None else codes.get(int(read()))
