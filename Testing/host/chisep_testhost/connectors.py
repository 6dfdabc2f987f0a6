"""Test code: which widget can hold which parameter, and how; used by `connectGui`."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from dataclasses import dataclass

from .parameter_node import Choice, Decimals, Maximum, Minimum, Parameter, SingleStep, WithinRange


@dataclass
class Connector:
    """One widget bound to one parameter."""

    widget: object
    signal: str
    read: Callable[[], object]
    write: Callable[[object], None]
    slot: Callable | None = None

    def connect(self, slot: Callable) -> None:
        self.slot = slot
        if not self.widget.connect(self.signal, slot):
            raise RuntimeError(f"{type(self.widget).__name__} has no signal {self.signal}")

    def disconnect(self) -> None:
        self.widget.disconnect(self.signal, self.slot)


def connector(widget, parameter: Parameter) -> Connector:
    """The connector, with the annotated range, step and decimals handed to the widget."""
    import ctk
    import qt
    import slicer

    kind = parameter.type
    if parameter.is_node and isinstance(widget, slicer.qMRMLNodeComboBox):
        return Connector(widget, "currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode)
    if isinstance(widget, qt.QComboBox) and (parameter.is_enum or parameter.note(Choice)):
        return _choice(widget, parameter)
    if kind is bool and isinstance(widget, qt.QCheckBox | qt.QPushButton):
        return _property(widget, "toggled(bool)", "checked", bool)
    if kind is float and isinstance(widget, qt.QDoubleSpinBox | ctk.ctkSliderWidget):
        _limit(widget, parameter)
        return _property(widget, "valueChanged(double)", "value", float)
    if kind is int and isinstance(widget, qt.QSpinBox | qt.QSlider):
        _limit(widget, parameter)
        return _property(widget, "valueChanged(int)", "value", int)
    if kind is int and isinstance(widget, ctk.ctkSliderWidget):
        _limit(widget, parameter)
        return _property(widget, "valueChanged(double)", "value", int)
    if kind is str and isinstance(widget, qt.QLineEdit):
        return _property(widget, "textChanged(QString)", "text", str)
    if kind is pathlib.Path and isinstance(widget, ctk.ctkPathLineEdit):
        return Connector(
            widget,
            "currentPathChanged(QString)",
            lambda: pathlib.Path(widget.currentPath),
            lambda value: setattr(widget, "currentPath", str(value) if value is not None else ""),
        )
    raise NotImplementedError(
        f"chisep_testhost does not bind a parameter of type {parameter.hint} to a {type(widget).__name__}"
    )


def _property(widget, signal: str, name: str, kind: type) -> Connector:
    def write(value) -> None:
        if value is not None and getattr(widget, name) != value:
            setattr(widget, name, value)

    return Connector(widget, signal, lambda: kind(getattr(widget, name)), write)


def _choice(widget, parameter: Parameter) -> Connector:
    """The items of the `.ui` are replaced; an Enum shows its names."""
    choices = list(parameter.type) if parameter.is_enum else parameter.note(Choice).choices
    widget.clear()
    widget.addItems([choice.name if parameter.is_enum else str(choice) for choice in choices])
    return Connector(
        widget,
        "currentIndexChanged(int)",
        lambda: choices[widget.currentIndex],
        lambda value: setattr(widget, "currentIndex", choices.index(value)),
    )


def _limit(widget, parameter: Parameter) -> None:
    if parameter.note(Decimals):
        widget.decimals = parameter.note(Decimals).value
    if parameter.note(SingleStep):
        widget.singleStep = parameter.note(SingleStep).value
    for note in parameter.notes:
        if isinstance(note, WithinRange | Minimum):
            widget.minimum = note.minimum
        if isinstance(note, WithinRange | Maximum):
            widget.maximum = note.maximum
