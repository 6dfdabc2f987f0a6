"""The keys of the module: there while the module is open, gone afterwards, silent while somebody else owns the keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .compat import makeShortcut, removeShortcut


class Keys:
    """Shortcuts of the main window.

    Parameters
    ----------
    actions
        What to call, by key sequence such as "Shift+1".
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self._actions = dict(actions)
        self._shortcuts: list = []

    def install(self) -> None:
        """Make the shortcuts; twice is harmless, and without a main window there are none."""
        if not self._shortcuts:
            made = [makeShortcut(key, action) for key, action in self._actions.items()]
            self._shortcuts = [shortcut for shortcut in made if shortcut is not None]

    def setEnabled(self, enabled: bool) -> None:
        """Two shortcuts on one key silence each other: these are off while another mode owns the keys."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(enabled)

    def remove(self) -> None:
        for shortcut in self._shortcuts:
            removeShortcut(shortcut)
        self._shortcuts = []
