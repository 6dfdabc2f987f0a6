"""The scene bundle that a run writes without an application: it opens, with units, windows, views and selection."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer
from slicer.util import arrayFromVolume

from ChiSepExtension.acquisition.gradient_echo import GradientEchoSeries
from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.layout import LAYOUT_ID, composite_of
from ChiSepExtension.mrml.outputs import provenance_of
from ChiSepExtension.mrml.scene import write_scene
from ChiSepExtension.mrml.volumes import grid_of, unit_of
from ChiSepExtension.result import Result

REPOSITORY = Path(__file__).resolve().parents[3]


def oblique_grid() -> Grid:
    angle = np.radians(25)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return Grid.from_spacing((10, 12, 14), (2.0, 1.0, 1.5), rotation=rotation)


def small_run(grid: Grid):
    rng = np.random.default_rng(0)
    para, dia, rate, field = (rng.uniform(0, 0.1, grid.shape).astype(np.float32) for _ in range(4))
    echoes = rng.uniform(1, 100, (2, *grid.shape)).astype(np.float32)
    series = GradientEchoSeries(echoes, echoes / 100, [0.004, 0.008], 3.0, grid)
    mask = np.ones(grid.shape, bool)
    return series, Result(para, dia, 100 * rate, 50 * rate, field, mask, grid, provenance={"seed": 0})


@pytest.fixture
def opened(tmp_path):
    """A bundle written on a scene of its own and opened in the application."""
    grid = oblique_grid()
    series, result = small_run(grid)
    nodes_before = slicer.mrmlScene.GetNumberOfNodes()
    path = write_scene(tmp_path / "scene.mrb", series, result, name="sub-01")
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes_before  # the open scene is left alone
    slicer.util.loadScene(str(path))
    return grid, result


def test_maps_come_back_on_their_oblique_grid(opened):
    grid, result = opened
    node = slicer.util.getNode("sub-01 chi-para")
    assert np.array_equal(arrayFromVolume(node), result.chi_para)
    assert grid_of(node).matches(grid, tolerance_mm=1e-6)


def test_meaning_comes_back(opened):
    node = slicer.util.getNode("sub-01 chi-dia")
    assert unit_of(node) == "[ppm]"
    assert provenance_of(node) == {"seed": 0}
    assert node.GetNodeReference("ChiSep.magnitude").GetName() == "sub-01 magnitude"


def test_display_comes_back(opened):
    node = slicer.util.getNode("sub-01 chi-para")
    assert node.GetDisplayNode().GetWindowLevelMax() == pytest.approx(0.1)
    assert node.GetDisplayNode().GetLowerThreshold() == pytest.approx(0.025)
    assert node.GetDisplayNode().GetColorNode().GetName() == "Inferno"
    assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node).GetTitleText() == "chi-para [ppm]"


def test_views_come_back(opened):
    assert slicer.app.layoutManager().layout == LAYOUT_ID
    composite = composite_of(slicer.mrmlScene, "ChiSepDia")
    assert slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID()).GetName() == "sub-01 chi-dia"
    assert composite.GetForegroundOpacity() == 1


def test_module_finds_its_maps_selected(opened):
    node = slicer.mrmlScene.GetSingletonNode("ChiSepModule", "vtkMRMLScriptedModuleNode")
    assert node.GetNodeReference("chiPara").GetName() == "sub-01 chi-para"


def test_bundle_is_written_by_plain_python(tmp_path):
    """No application, no host: what the command line does."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from test_scene_bundle import oblique_grid, small_run\n"
        "from ChiSepExtension.mrml.scene import write_scene\n"
        "write_scene(sys.argv[3], *small_run(oblique_grid()))\n"
        "assert 'qt' not in sys.modules and 'torch' not in sys.modules\n"
    )
    path = tmp_path / "scene.mrb"
    arguments = [str(REPOSITORY), str(Path(__file__).parent), str(path)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size > 1000
