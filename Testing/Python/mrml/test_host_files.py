"""Layer: real scene. `slicer.util` reads and writes files through the stand-in's IO manager as it does in Slicer."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

OBLIQUE = np.array([[1.1, 0.2, 0, -30], [-0.2, 1.2, 0.1, 12], [0, -0.1, 2.0, 7], [0, 0, 0, 1]])


def oblique_volume(name="chi-para"):
    rotation, _ = np.linalg.qr(OBLIQUE[:3, :3])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * [0.9, 1.1, 2.0]
    matrix[:3, 3] = OBLIQUE[:3, 3]
    values = np.random.default_rng(3).normal(size=(6, 7, 8)).astype(np.float32)
    node = slicer.util.addVolumeFromArray(values, ijkToRAS=matrix, name=name)
    node.CreateDefaultDisplayNodes()
    return node, values, matrix


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_volume_round_trip_keeps_values_and_geometry(tmp_path, ending):
    node, values, matrix = oblique_volume()
    path = tmp_path / f"map{ending}"
    assert slicer.util.saveNode(node, str(path))
    again = slicer.util.loadVolume(path)
    assert np.array_equal(slicer.util.arrayFromVolume(again), values)
    # A NIfTI header stores its matrix in float32.
    assert np.allclose(slicer.util.arrayFromVTKMatrix(_ijk_to_ras(again)), matrix, atol=1e-5)
    assert again.GetName() == "map"


def _ijk_to_ras(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_label_map_is_loaded_as_label_map(tmp_path):
    node = slicer.util.addVolumeFromArray(np.ones((3, 4, 5), np.uint8), nodeClassName="vtkMRMLLabelMapVolumeNode")
    slicer.util.saveNode(node, str(tmp_path / "mask.nii.gz"))
    assert slicer.util.loadLabelVolume(tmp_path / "mask.nii.gz").IsA("vtkMRMLLabelMapVolumeNode")


def test_missing_file_raises_with_its_path(tmp_path):
    with pytest.raises(RuntimeError, match="absent.nii.gz"):
        slicer.util.loadVolume(tmp_path / "absent.nii.gz")


@pytest.mark.expects_message("StorageNode", "Archetype")
def test_broken_file_raises(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    with pytest.raises(RuntimeError, match="broken.nii.gz"):
        slicer.util.loadVolume(tmp_path / "broken.nii.gz")


@pytest.mark.expects_message("StorageNode", "Writer", "write")
def test_unwritable_folder_answers_false(tmp_path):
    node, _, _ = oblique_volume()
    (tmp_path / "a file").touch()
    assert not slicer.util.saveNode(node, str(tmp_path / "a file" / "map.nrrd"))


def write_4d(path, echoes=5):
    import SimpleITK as sitk

    series = [sitk.GetImageFromArray(np.full((3, 4, 5), e, np.float32)) for e in range(echoes)]
    sitk.WriteImage(sitk.JoinSeries(series), str(path))


@pytest.mark.expects_message("StorageNode", "Archetype")
def test_4d_nifti_is_refused_as_volume_and_as_sequence(tmp_path):
    write_4d(tmp_path / "echoes.nii.gz")
    with pytest.raises(RuntimeError):
        slicer.util.loadVolume(tmp_path / "echoes.nii.gz")
    with pytest.raises(RuntimeError):
        slicer.util.loadSequence(tmp_path / "echoes.nii.gz")


def test_4d_nifti_is_read_by_the_sequence_storage_node(tmp_path):
    write_4d(tmp_path / "echoes.nii.gz")
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "echoes")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
    storage.SetFileName(str(tmp_path / "echoes.nii.gz"))
    assert storage.ReadData(sequence) == 1
    values = [slicer.util.arrayFromVolume(sequence.GetNthDataNode(i)).mean() for i in range(5)]
    assert values == [0, 1, 2, 3, 4]


def test_sequence_keeps_echo_times_through_a_file(tmp_path):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "echoes")
    sequence.SetIndexName("EchoTime")
    sequence.SetIndexUnit("s")
    for echo_time in ("0.0040", "0.0100"):
        node, _, _ = oblique_volume(echo_time)
        sequence.SetDataNodeAtValue(node, echo_time)
        slicer.mrmlScene.RemoveNode(node)
    assert slicer.util.saveNode(sequence, str(tmp_path / "echoes.seq.nrrd"))
    again = slicer.util.loadSequence(tmp_path / "echoes.seq.nrrd")
    assert (again.GetIndexName(), again.GetIndexUnit()) == ("EchoTime", "s")
    assert [again.GetNthIndexValue(i) for i in range(2)] == ["0.0040", "0.0100"]


def test_segmentation_table_and_markups_round_trip(tmp_path):
    volume, _, _ = oblique_volume()
    mask = np.zeros((6, 7, 8), np.uint8)
    mask[2:4, 2:5, 3:6] = 1
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lesions")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = segmentation.GetSegmentation().AddEmptySegment("L1", "L1")
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "ratings")
    slicer.util.updateTableFromArray(table, np.arange(6.0).reshape(3, 2), ["a", "b"])
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    points.AddControlPoint(1.0, 2.0, 3.0)
    for node, name in ((segmentation, "l.seg.nrrd"), (table, "t.tsv"), (points, "p.mrk.json")):
        assert slicer.util.saveNode(node, str(tmp_path / name)), name

    loaded = slicer.util.loadSegmentation(tmp_path / "l.seg.nrrd")
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(loaded, "L1", volume), mask)
    assert slicer.util.loadTable(str(tmp_path / "t.tsv")).GetNumberOfRows() == 3
    assert slicer.util.loadMarkups(str(tmp_path / "p.mrk.json")).GetNthControlPointPosition(0)[2] == 3.0


@pytest.mark.parametrize("ending", [".mrb", ".mrml"])
def test_scene_round_trip_keeps_display_and_hierarchy(tmp_path, ending):
    node, values, _ = oblique_volume()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(slicer.util.getNode("Inferno").GetID())
    display.SetThreshold(0.02, 1e6)
    display.ApplyThresholdOn()
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "sub-01")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)
    if ending == ".mrml":
        slicer.util.saveNode(node, str(tmp_path / "map.nrrd"))
    assert slicer.util.saveScene(str(tmp_path / f"scene{ending}"))
    slicer.mrmlScene.Clear(0)

    slicer.util.loadScene(str(tmp_path / f"scene{ending}"))
    again = slicer.util.getNode("chi-para")
    assert np.array_equal(slicer.util.arrayFromVolume(again), values)
    assert again.GetDisplayNode().GetColorNode().GetName() == "Inferno"
    assert again.GetDisplayNode().GetLowerThreshold() == 0.02
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(again))
    assert hierarchy.GetItemName(parent) == "sub-01"


@pytest.mark.parametrize(
    ("path", "filetype"),
    [
        ("a.seg.nrrd", "SegmentationFile"),
        ("a.seq.nrrd", "SequenceFile"),
        ("a.nrrd", "VolumeFile"),
        ("A.NII.GZ", "VolumeFile"),
        ("a.mrk.json", "MarkupsFile"),
        ("a.mrb", "SceneFile"),
        ("a.xyz", "NoFile"),
    ],
)
def test_file_type_by_longest_ending(path, filetype):
    assert slicer.app.coreIOManager().fileType(path) == filetype


def test_color_legend_settings_survive_a_bundle(tmp_path):
    node, _, _ = oblique_volume()
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(node)
    legend.SetTitleText("chi-para [ppm]")
    legend.SetLabelFormat("%.3f")
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    again = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLColorLegendDisplayNode")
    assert (again.GetTitleText(), again.GetLabelFormat()) == ("chi-para [ppm]", "%.3f")
