"""Test code: `object.connect('signal(arguments)', f)` for stand-ins that are no QObjects."""

from __future__ import annotations

from collections.abc import Callable

from .errors import report


class Signals:
    """Knows the signals named in SIGNALS; any other name answers False, as in PythonQt, and fails under `strict`."""

    SIGNALS: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._slots: dict[str, list[Callable]] = {}

    def connect(self, signal: str, slot: Callable) -> bool:
        if signal not in self.SIGNALS:
            report(f"QObject::connect: no such signal {type(self).__name__}::{signal}")
            return False
        self._slots.setdefault(signal, []).append(slot)
        return True

    def disconnect(self, signal: str, slot: Callable) -> bool:
        slots = self._slots.get(signal, [])
        if slot not in slots:
            return False
        slots.remove(slot)
        return True

    def emit(self, signal: str, *args) -> None:
        for slot in list(self._slots.get(signal, ())):
            slot(*args)
