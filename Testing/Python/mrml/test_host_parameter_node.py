"""Layer: real scene. What the stand-in's `parameterNodeWrapper` promises, as seen in a launched Slicer."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Optional

import numpy as np
import pytest
import slicer
from slicer.parameterNodeWrapper import (
    Choice,
    Default,
    Maximum,
    Minimum,
    WithinRange,
    isParameterNodeWrapper,
    parameterNodeWrapper,
)


class Method(enum.Enum):
    ClosedForm = 1
    Sepnet = 2


@parameterNodeWrapper
class Parameters:
    volume: slicer.vtkMRMLScalarVolumeNode
    segmentation: Optional[slicer.vtkMRMLSegmentationNode]  # noqa: UP045 - the spelling that also works in Python 3.11
    relaxivity: Annotated[float, WithinRange(1, 500)] = 137.0
    small: Annotated[float, Minimum(0.5)]
    steps: Annotated[int, Maximum(9), Default(3)]
    enabled: bool = True
    name: str = "χ map"
    device: Annotated[str, Choice(["auto", "cpu"])]
    method: Method = Method.Sepnet
    folder: Path
    threshold: Optional[float]  # noqa: UP045


def scene_node():
    existing = slicer.mrmlScene.GetSingletonNode("Parameters", "vtkMRMLScriptedModuleNode")
    if existing is not None:
        return existing
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag("Parameters")
    return slicer.mrmlScene.AddNode(node)


def add_volume(name):
    return slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.float32), name=name)


VALUES = {
    "relaxivity": 114.25,
    "small": 0.75,
    "steps": 7,
    "enabled": False,
    "name": "병변 | lesion",
    "device": "cpu",
    "method": Method.ClosedForm,
    "folder": Path("/data/sub 01"),
    "threshold": 0.025,
}
DEFAULTS = {
    "volume": None,
    "segmentation": None,
    "relaxivity": 137.0,
    "small": 0.5,
    "steps": 3,
    "enabled": True,
    "name": "χ map",
    "device": "auto",
    "method": Method.Sepnet,
    "folder": Path(),
    "threshold": None,
}


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_default_before_first_write(name, value):
    assert getattr(Parameters(scene_node()), name) == value


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_value_round_trips_through_a_second_wrapper(name, value):
    setattr(Parameters(scene_node()), name, value)
    assert getattr(Parameters(scene_node()), name) == value


def test_every_type_round_trips_through_a_scene_file(tmp_path):
    wrapper = Parameters(scene_node())
    for name, value in VALUES.items():
        setattr(wrapper, name, value)
    wrapper.volume = add_volume("magnitude")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert Parameters(scene_node()).relaxivity == 137.0
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    again = Parameters(scene_node())
    assert {name: getattr(again, name) for name in VALUES} == VALUES
    assert again.volume.GetName() == "magnitude"


def test_open_wrapper_loses_nodes_at_load_until_it_is_built_again(tmp_path):
    Parameters(scene_node()).volume = add_volume("magnitude")
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    open_wrapper = Parameters(scene_node())
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert open_wrapper.volume is None
    assert scene_node().GetNodeReferenceID("volume") is not None
    assert Parameters(scene_node()).volume.GetName() == "magnitude"


@pytest.mark.parametrize(("name", "value"), [("relaxivity", 501.0), ("small", 0.4), ("steps", 10), ("device", "cuda")])
def test_value_out_of_range_raises_and_the_old_one_stays(name, value):
    wrapper = Parameters(scene_node())
    with pytest.raises(ValueError):
        setattr(wrapper, name, value)
    assert getattr(wrapper, name) == DEFAULTS[name]


@pytest.mark.parametrize(
    ("name", "value"), [("folder", "/a/str"), ("steps", 2.5), ("relaxivity", "137"), ("method", "Sepnet")]
)
def test_value_of_wrong_type_raises(name, value):
    with pytest.raises(TypeError):
        setattr(Parameters(scene_node()), name, value)


def test_node_of_wrong_class_raises():
    with pytest.raises(TypeError):
        Parameters(scene_node()).segmentation = add_volume("no segmentation")


def test_misspelt_parameter_raises():
    with pytest.raises(AttributeError, match="relaxivty"):
        Parameters(scene_node()).relaxivty = 1.0


def test_removed_node_reads_none():
    wrapper = Parameters(scene_node())
    wrapper.volume = node = add_volume("magnitude")
    slicer.mrmlScene.RemoveNode(node)
    assert wrapper.volume is None


def test_modified_event_of_the_node_reports_a_change():
    wrapper, calls = Parameters(scene_node()), []
    tag = wrapper.AddObserver("ModifiedEvent", lambda *_: calls.append(wrapper.steps))
    wrapper.steps = 5
    wrapper.RemoveObserver(tag)
    wrapper.steps = 6
    assert calls == [5]


def test_dropped_wrapper_leaves_no_observer():
    wrapper = Parameters(scene_node())
    del wrapper
    assert not scene_node().HasObserver("ModifiedEvent")


def test_unsupported_type_is_named():
    with pytest.raises(NotImplementedError, match="volumes"):

        @parameterNodeWrapper
        class _Lists:
            volumes: list[float]


def test_wrapper_is_recognized():
    assert isParameterNodeWrapper(Parameters(scene_node()))
    assert not isParameterNodeWrapper(scene_node())
