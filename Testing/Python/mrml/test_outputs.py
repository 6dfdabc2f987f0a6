"""Maps as nodes: names, units, references, place in the hierarchy, and no second set on the second run."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from slicer.util import arrayFromVolume

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.echoes import echo_sequence
from ChiSepExtension.mrml.outputs import magnitude_behind, provenance_of, write_magnitude, write_maps
from ChiSepExtension.mrml.separation import SeparationJob
from ChiSepExtension.mrml.volumes import set_array

GRID = Grid.from_spacing((4, 5, 6), (2.0, 1.0, 1.0))
MAPS = {
    "chi_para": np.full(GRID.shape, 0.05, np.float32),
    "chi_dia": np.full(GRID.shape, 0.02, np.float32),
    "r2star_hz": np.full(GRID.shape, 20, np.float32),
    "mask": np.ones(GRID.shape, bool),
}


def magnitude_node(name="sub-01 magnitude"):
    return echo_sequence(slicer.mrmlScene, name, np.ones((2, *GRID.shape), np.float32), GRID, [0.004, 0.008])


def write(magnitude, **more):
    return write_maps(
        slicer.mrmlScene, MAPS, GRID, name="sub-01", provenance={"a": 1}, inputs={"magnitude": magnitude}, **more
    )


def test_names_follow_the_input():
    nodes = write(magnitude_node())
    assert [node.GetName() for node in nodes.values()] == [
        "sub-01 chi-para",
        "sub-01 chi-dia",
        "sub-01 R2star",
        "sub-01 brain mask",
    ]


def test_units_by_map():
    nodes = write(magnitude_node())
    assert nodes["chi_para"].GetVoxelValueUnits().GetCodeValue() == "[ppm]"
    assert nodes["r2star_hz"].GetVoxelValueUnits().GetCodeValue() == "/s"


def test_mask_is_a_label_map_of_zeros_and_ones():
    mask = write(magnitude_node())["mask"]
    assert mask.IsA("vtkMRMLLabelMapVolumeNode")
    assert set(np.unique(arrayFromVolume(mask))) == {1}


def test_second_run_fills_the_same_nodes():
    magnitude = magnitude_node()
    first = write(magnitude)
    before = slicer.mrmlScene.GetNumberOfNodes()
    second = write(magnitude)
    assert first == second
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_another_input_gets_its_own_nodes():
    first, second = write(magnitude_node()), write(magnitude_node("sub-02 magnitude"))
    assert not set(first.values()) & set(second.values())


def test_chosen_node_is_filled():
    chosen = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "my iron")
    nodes = write(magnitude_node(), outputs={"chi_para": chosen})
    assert nodes["chi_para"] is chosen
    assert chosen.GetName() == "my iron"
    assert arrayFromVolume(chosen).max() == np.float32(0.05)


def scan():
    magnitude = echo_sequence(
        slicer.mrmlScene, "m", np.ones((2, *GRID.shape), np.float32), GRID, [0.004, 0.008], field_strength_t=3
    )
    phase = echo_sequence(slicer.mrmlScene, "p", np.ones((2, *GRID.shape), np.float32), GRID, [0.004, 0.008])
    return magnitude, phase


def test_one_node_for_two_maps_is_refused():
    chosen = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "chosen")
    with pytest.raises(InputError, match="chosen"):
        SeparationJob.prepare(slicer.mrmlScene, *scan(), outputs={"chi_para": chosen, "chi_dia": chosen})


def test_input_is_never_overwritten():
    r2 = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "R2 map")
    set_array(r2, np.full(GRID.shape, 13, np.float32), GRID)
    with pytest.raises(InputError, match="R2 map"):
        SeparationJob.prepare(slicer.mrmlScene, *scan(), r2=r2, outputs={"chi_para": r2})


def test_input_volume_is_never_overwritten():
    """Echoes may also be given as a list of volumes: none of them may be an output."""
    volumes = []
    for n in range(2):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"echo {n + 1}")
        set_array(node, np.ones(GRID.shape, np.float32), GRID)
        volumes.append(node)
    with pytest.raises(InputError, match="echo 2"):
        SeparationJob.prepare(
            slicer.mrmlScene,
            volumes,
            scan()[1],
            echo_times_s=[0.004, 0.008],
            field_strength_t=3,
            outputs={"chi_para": volumes[1]},
        )


def test_outputs_refer_to_their_input():
    magnitude = magnitude_node()
    assert write(magnitude)["chi_para"].GetNodeReference("ChiSep.magnitude") is magnitude


def test_outputs_lie_beside_the_input():
    magnitude = magnitude_node()
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "sub-01")
    hierarchy.CreateItem(study, magnitude)
    for node in write(magnitude).values():
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_node_that_the_user_has_moved_stays_there():
    magnitude = magnitude_node()
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "sub-01")
    hierarchy.CreateItem(study, magnitude)
    node = write(magnitude)["chi_para"]
    folder = hierarchy.CreateFolderItem(study, "mine")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), folder)
    write(magnitude)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder


def test_provenance_with_difficult_text_comes_back():
    magnitude = magnitude_node()
    provenance = {"text": 'a:b;c|d "e" χ 한글 ☃\n\t%20', "number": np.float32(1.5), "list": np.arange(3)}
    nodes = write_maps(slicer.mrmlScene, MAPS, GRID, name="x", provenance=provenance, inputs={"magnitude": magnitude})
    assert provenance_of(nodes["chi_dia"]) == {"text": provenance["text"], "number": 1.5, "list": [0, 1, 2]}


def test_mean_magnitude_lies_behind_the_maps():
    """Root mean square of echoes 3 and 4 is sqrt(12.5)."""
    echoes = np.stack([np.full(GRID.shape, value, np.float32) for value in (3, 4)])
    magnitude = echo_sequence(slicer.mrmlScene, "sub-01 magnitude", echoes, GRID, [0.004, 0.008])
    volumes = [magnitude.GetNthDataNode(n) for n in range(2)]
    made = write_magnitude(slicer.mrmlScene, volumes, GRID, name="sub-01", inputs={"magnitude": magnitude})
    assert np.allclose(arrayFromVolume(made), np.sqrt(12.5), rtol=1e-6)
    assert magnitude_behind(write(magnitude)["chi_para"]) is made
