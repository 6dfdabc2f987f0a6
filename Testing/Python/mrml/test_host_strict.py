"""Layer: real scene. Errors that Slicer would only print fail the test that caused them."""

from __future__ import annotations

import chisep_testhost
import pytest
import slicer
import vtk
from chisep_testhost.errors import CollectedErrors
from chisep_testhost.leftovers import observer_counts


def test_exception_in_an_observer_fails():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")

    def broken(*_args):
        raise KeyError("lost lesion")

    node.AddObserver("ModifiedEvent", broken)
    with pytest.raises(CollectedErrors, match="lost lesion"), chisep_testhost.strict():
        node.Modified()


def test_vtk_error_fails():
    with pytest.raises(CollectedErrors, match="vtkPNGReader"), chisep_testhost.strict():
        vtk.vtkPNGReader().Update()


def test_allowed_message_passes():
    with chisep_testhost.strict(allow=["vtkPNGReader", "Algorithm"]):
        vtk.vtkPNGReader().Update()


def test_forgotten_scene_observer_is_counted():
    before = observer_counts()["mrmlScene"]
    tag = slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndCloseEvent, lambda *_: None)
    assert observer_counts()["mrmlScene"] == before + 1
    slicer.mrmlScene.RemoveObserver(tag)
    assert observer_counts()["mrmlScene"] == before


def test_foreign_slicer_package_is_refused(monkeypatch):
    monkeypatch.delattr(slicer, "vtkMRMLScene")
    assert "not 3D Slicer's" in chisep_testhost.unavailable_reason()


def test_cache_is_a_private_folder(host):
    cache = host._remote_io.GetCacheManager().GetRemoteCacheDirectory()
    assert cache.startswith(str(host.folder))


def test_scene_does_not_grow_over_clears(host):
    def cycle():
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode").CreateDefaultDisplayNodes()
        host.reset()
        return slicer.mrmlScene.GetNumberOfNodes()

    first = cycle()
    assert [cycle() for _ in range(10)] == [first] * 10
