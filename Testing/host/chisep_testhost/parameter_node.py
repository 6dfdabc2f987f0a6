"""Test code: `slicer.parameterNodeWrapper` for flat parameters: nodes, float, int, bool, str, Enum, Path, Optional.

Own writing after the documented behavior of Slicer. Node parameters are remembered at each Modified event of the
parameter node, as in Slicer: while a scene is read that event comes before the referenced nodes, so an open wrapper
reads None for them afterwards, until it is built again.
"""

from __future__ import annotations

import enum
import pathlib
import types
import typing
import weakref

import slicer
import vtk

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Maximum",
    "Minimum",
    "SingleStep",
    "WithinRange",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

WIDGET_PROPERTY = "SlicerParameterName"
FIRST = 1000.0  # observer priority: whoever else hears of the change reads the new value from the wrapper


class Default:
    def __init__(self, value) -> None:
        self.value = value


class Decimals:
    def __init__(self, value: int) -> None:
        self.value = value


class SingleStep:
    def __init__(self, value: float) -> None:
        self.value = value


class WithinRange:
    def __init__(self, minimum, maximum) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value) -> None:
        if value is not None and not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within the range [{self.minimum}, {self.maximum}], is {value}")


class Minimum:
    def __init__(self, minimum) -> None:
        self.minimum = minimum

    def validate(self, value) -> None:
        if value is not None and value < self.minimum:
            raise ValueError(f"Value must not be less than {self.minimum}, is {value}")


class Maximum:
    def __init__(self, maximum) -> None:
        self.maximum = maximum

    def validate(self, value) -> None:
        if value is not None and value > self.maximum:
            raise ValueError(f"Value must not be greater than {self.maximum}, is {value}")


class Choice:
    def __init__(self, choices) -> None:
        self.choices = list(choices)

    def validate(self, value) -> None:
        if value not in self.choices:
            raise ValueError(f"Value must be one of {self.choices}, is {value!r}")


class Parameter:
    """One typed parameter: how it is checked, written to and read from a vtkMRMLScriptedModuleNode."""

    def __init__(self, name: str, hint, class_value) -> None:
        base, self.notes = hint, ()
        if typing.get_origin(hint) is typing.Annotated:
            base, *self.notes = typing.get_args(hint)
        self.optional = typing.get_origin(base) in (typing.Union, types.UnionType)
        if self.optional:
            inner = [part for part in typing.get_args(base) if part is not type(None)]
            if len(inner) != 1:
                raise NotImplementedError(f"chisep_testhost does not implement a parameter of type {hint!r} ({name})")
            base = inner[0]
        self.name, self.hint, self.type = name, hint, base
        self.is_node = isinstance(base, type) and issubclass(base, slicer.vtkMRMLNode)
        self.is_enum = isinstance(base, type) and issubclass(base, enum.Enum)
        if not (self.is_node or self.is_enum or base in (float, int, bool, str, pathlib.Path)):
            raise NotImplementedError(f"chisep_testhost does not implement a parameter of type {hint!r} ({name})")
        self.default = self._default(class_value)
        self.check(self.default)

    def note(self, kind):
        return next((note for note in self.notes if isinstance(note, kind)), None)

    def _default(self, class_value):
        if class_value is not None:
            return class_value
        if self.note(Default):
            return self.note(Default).value
        if self.is_node or self.optional:
            return None
        if self.note(Choice):
            return self.note(Choice).choices[0]
        if self.is_enum:
            return next(iter(self.type))
        value = {float: 0.0, int: 0, bool: False, str: "", pathlib.Path: pathlib.Path()}[self.type]
        for note in self.notes:
            if isinstance(note, (WithinRange, Minimum)):
                value = max(value, self.type(note.minimum))
            if isinstance(note, (WithinRange, Maximum)):
                value = min(value, self.type(note.maximum))
        return value

    def check(self, value) -> None:
        """TypeError for the wrong type, ValueError for a value outside the annotated range or choice."""
        allowed = {float: (float, int), int: (int,)}.get(self.type, self.type)
        if not (isinstance(value, allowed) or (value is None and (self.is_node or self.optional))):
            raise TypeError(f"{self.name} must be {self.hint}, is {type(value).__name__} ({value!r})")
        for note in self.notes:
            if hasattr(note, "validate"):
                note.validate(value)

    def is_in(self, node) -> bool:
        return self.is_node or self.name in (node.GetParameterNames() or ())

    def read(self, node):
        if self.is_node:
            return node.GetNodeReference(self.name)
        if not self.is_in(node):
            return self.default
        text = node.GetParameter(self.name)
        if self.optional and text == "None":
            return None
        if self.type is bool:
            return text == "True"
        return self.type[text] if self.is_enum else self.type(text)

    def write(self, node, value) -> None:
        self.check(value)
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        elif isinstance(value, enum.Enum):
            node.SetParameter(self.name, value.name)
        else:
            node.SetParameter(self.name, str(self.type(value)) if value is not None else "None")


class Wrapper:
    """Base of every class made by `parameterNodeWrapper`."""

    _is_parameter_node_wrapper = True
    allParameters: typing.ClassVar[dict[str, Parameter]] = {}

    def __init__(self, parameterNode) -> None:
        self.__dict__.update(parameterNode=parameterNode, _links={}, _last_tag=0, _to_gui=False, _nodes={})
        for parameter in self.allParameters.values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)
        self._remember_nodes()
        myself = weakref.ref(self)
        tag = parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _modified(myself), FIRST)
        weakref.finalize(self, parameterNode.RemoveObserver, tag)

    def __setattr__(self, name: str, value) -> None:
        if name not in self.allParameters:
            raise AttributeError(f"{type(self).__name__} has no parameter {name!r}")
        self.setValue(name, value)

    def _remember_nodes(self) -> None:
        self._nodes.update({n: p.read(self.parameterNode) for n, p in self.allParameters.items() if p.is_node})

    def getValue(self, name: str):
        parameter = self.allParameters[name]
        if not parameter.is_node:
            return parameter.read(self.parameterNode)
        node = self._nodes[name]
        return node if node is not None and node.GetScene() is not None else None

    def setValue(self, name: str, value) -> None:
        parameter = self.allParameters[name]
        parameter.write(self.parameterNode, value)
        if parameter.is_node:
            self._nodes[name] = value

    def default(self, name: str) -> Default:
        return Default(self.allParameters[name].default)

    def dataType(self, name: str):
        return self.allParameters[name].hint

    def isCached(self, name: str) -> bool:
        return self.allParameters[name].is_node

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, was: int) -> int:
        return self.parameterNode.EndModify(was)

    def Modified(self) -> None:
        self.parameterNode.Modified()

    def AddObserver(self, event, callback, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def HasObserver(self, *args) -> int:
        return self.parameterNode.HasObserver(*args)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def connectGui(self, gui) -> int:
        """Bind every widget in `gui` (a widget, or the namespace of `childWidgetVariables`) that names a parameter."""
        widgets = slicer.util.findChildren(gui) if hasattr(gui, "findChildren") else vars(gui).values()
        named: dict[str, object] = {}
        for widget in widgets:
            name = widget.property(WIDGET_PROPERTY) if hasattr(widget, "property") else None
            if name and name in named:
                raise ValueError(f"two widgets have the {WIDGET_PROPERTY} {name!r}")
            if name:
                named[name] = widget
        return self.connectParametersToGui(named)

    def connectParametersToGui(self, mapping: dict) -> int:
        from .connectors import connector

        unknown = sorted(set(mapping) - set(self.allParameters))
        if unknown:
            raise ValueError(f"no parameter named {', '.join(unknown)}")
        links = {name: connector(widget, self.allParameters[name]) for name, widget in mapping.items()}
        for name, link in links.items():
            link.write(self.getValue(name))
            link.connect(lambda *_, name=name, link=link: self._read_widget(name, link))
        self.__dict__["_last_tag"] += 1
        self._links[self._last_tag] = links
        return self._last_tag

    def disconnectGui(self, tag: int) -> None:
        for link in self._links.pop(tag).values():
            link.disconnect()

    def _read_widget(self, name: str, link) -> None:
        if not self._to_gui:
            self.setValue(name, link.read())

    def _write_widgets(self) -> None:
        if self._to_gui:
            return
        self.__dict__["_to_gui"] = True
        try:
            for links in list(self._links.values()):
                for name, link in links.items():
                    link.write(self.getValue(name))
        finally:
            self.__dict__["_to_gui"] = False


def _modified(reference) -> None:
    wrapper = reference()
    if wrapper is not None:
        wrapper._remember_nodes()
        wrapper._write_widgets()


def parameterNodeWrapper(classtype=None):
    """Class decorator: annotations become typed attributes over a vtkMRMLScriptedModuleNode."""

    def wrap(cls):
        hints = typing.get_type_hints(cls, include_extras=True)
        parameters = {name: Parameter(name, hint, getattr(cls, name, None)) for name, hint in hints.items()}
        reserved = sorted(name for name in parameters if hasattr(Wrapper, name) or name == "parameterNode")
        if reserved:
            raise ValueError(f"reserved names cannot be parameters: {', '.join(reserved)}")
        dropped = {*parameters, "__dict__", "__weakref__", "__annotations__"}
        members = {name: value for name, value in vars(cls).items() if name not in dropped}
        for name in parameters:
            members[name] = property(lambda self, name=name: self.getValue(name))
        members["allParameters"] = parameters
        return type(cls.__name__, (Wrapper,), members)

    return wrap if classtype is None else wrap(classtype)


def isParameterNodeWrapper(value) -> bool:
    return getattr(value, "_is_parameter_node_wrapper", False)
