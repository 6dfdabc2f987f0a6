"""Lesions as segments: imported, edited with the application's own functions, split, merged, undone, jumped to."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.lesions.components import find_lesions
from ChiSepExtension.mrml import lesion_display, lesion_jump
from ChiSepExtension.mrml.lesion_segmentation import read_segments, segment_ids, write_lesions_node
from ChiSepExtension.mrml.volumes import set_array
from Testing.Python.core.lesion_phantom import ball
from Testing.Python.mrml.lesion_case import SPHERES, add_volume, draw, review_of, segment_mask, small_head

_turn = vtk.vtkTransform()
_turn.RotateX(20)
_turn.RotateZ(25)
#: Turned by 20° and 25°, voxels of 1 mm.
OBLIQUE = np.array([_turn.GetMatrix().GetElement(*rc) for rc in np.ndindex(4, 4)]).reshape(4, 4)
ORIENTATIONS = ("Axial", "Coronal", "Sagittal")


@pytest.fixture
def review():
    found = review_of(small_head())
    yield found
    found.close()


def names_of(review) -> list[str]:
    segmentation = review.node.GetSegmentation()
    return [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]


def voxels_shown(review, uid: str, slice_node) -> int:
    """Voxels of the lesion that the slice cuts: their centre is within half a voxel of its plane, along the normal."""
    to_ras = slice_node.GetSliceToRAS()
    normal = np.array([to_ras.GetElement(n, 2) for n in range(3)])
    origin = np.array([to_ras.GetElement(n, 3) for n in range(3)])
    grid = review.maps.grid
    centres = grid.index_to_ras(np.argwhere(review.lesions.mask(uid)))
    half = 0.5 * np.abs(normal @ grid.ijk_to_ras[:3, :3]).max()
    return int((np.abs((centres - origin) @ normal) <= half + 1e-6).sum())


def edge_cases() -> np.ndarray:
    """F2 in short: one voxel, a ring, a thin shell, a crescent, a lesion at the border of the image."""
    mask = np.zeros((40, 60, 64), bool)
    mask[5, 5, 5] = True
    mask |= ball(mask.shape, (20, 30, 16), 13) & ~ball(mask.shape, (20, 30, 16), 10)
    ring = (np.hypot(*np.meshgrid(np.arange(60) - 15, np.arange(64) - 45, indexing="ij")) - 8) ** 2 < 1
    mask[30:32] |= ring
    mask |= ball(mask.shape, (12, 45, 45), 12) & ~ball(mask.shape, (12, 47, 45), 12)
    mask[36:, 50:, 58:] = True
    return mask


def test_every_lesion_is_a_segment_in_one_layer_with_its_identifier(review):
    assert names_of(review) == [f"L{n:03d}" for n in range(1, len(SPHERES) + 1)]
    assert review.node.GetSegmentation().GetNumberOfLayers() == 1
    assert set(segment_ids(review.node)) == set(review.lesions.uids)


def test_segments_hold_the_voxels_of_the_lesions(review):
    for uid, segment_id in segment_ids(review.node).items():
        assert np.array_equal(segment_mask(review, segment_id), review.lesions.mask(uid))


def test_a07_contours_only_and_the_neighbours_grey(review):
    display = review.node.GetDisplayNode()
    assert display.GetVisibility2DOutline() and not display.GetVisibility2DFill()
    assert not display.GetVisibility3D()
    lesion_display.highlight(review.node, review.lesions.uids[1])
    colors = [review.node.GetSegmentation().GetNthSegment(n).GetColor() for n in range(len(SPHERES))]
    assert colors[1] == pytest.approx(lesion_display.ACTIVE_COLOR)
    assert len(set(colors)) == 2


def test_a07_peek_hides_the_outlines_and_brings_them_back(review):
    lesion_display.peek(review.node, True)
    assert not review.node.GetDisplayNode().GetVisibility()
    lesion_display.peek(review.node, False)
    assert review.node.GetDisplayNode().GetVisibility()


@pytest.mark.parametrize("oblique", [False, True])
def test_a02_jump_lands_inside_every_lesion_in_every_orientation(oblique):
    mask = edge_cases()
    grid = Grid(mask.shape, OBLIQUE) if oblique else Grid.from_spacing(mask.shape)
    head = small_head()
    head.grid, head.lesion_mask = grid, mask
    review = review_of(head)
    nodes = [slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode() for name in ("Red", "Green", "Yellow")]
    for node, orientation in zip(nodes, ORIENTATIONS):
        node.SetOrientation(orientation)
    for lesion in review.lesions.lesions:
        lesion_jump.jump(nodes, lesion_jump.jump_point(lesion, grid), lesion_jump.field_of_view_mm(lesion))
        for node in nodes:
            assert voxels_shown(review, lesion.uid, node) >= 1, (lesion.name, node.GetOrientation())
    review.close()


def test_a03_crosshair_stands_on_the_voxel_in_the_middle_of_every_view(review):
    nodes = [slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode() for name in ("Red", "Green", "Yellow")]
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    for lesion in review.lesions.lesions:
        point = lesion_jump.jump_point(lesion, review.maps.grid)
        lesion_jump.jump(nodes, point)
        lesion_jump.show_crosshair(slicer.mrmlScene, point)
        voxel = review.maps.grid.ras_to_index(np.array(crosshair.GetCrosshairRAS()))
        assert voxel == pytest.approx(lesion.jump_voxel, abs=1e-3)
        assert review.lesions.labels[lesion.jump_voxel] == lesion.label
        for node in nodes:
            width, height, _ = node.GetDimensions()
            middle = node.GetXYToRAS().MultiplyPoint((width / 2, height / 2, 0, 1))[:3]
            assert middle == pytest.approx(point, abs=0.5)


@pytest.mark.parametrize("diameter, field", [(3, 30), (10, 40), (40, 80)])
def test_field_of_view_is_four_lesions_between_30_and_80_mm(diameter, field):
    lesions = find_lesions(ball((60, 60, 60), (30, 30, 30), diameter), Grid.from_spacing((60, 60, 60)))
    lesion = lesions.lesions[0]
    node = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    lesion_jump.jump([node], (0, 0, 0), lesion_jump.field_of_view_mm(lesion))
    # A 10 mm sphere has a largest diameter of 11 mm with its boundary voxels.
    assert min(node.GetFieldOfView()[:2]) == pytest.approx(field, abs=6 if diameter == 10 else 1e-6)


def test_a75_painting_in_a_segment_edits_its_lesion(review):
    uid = review.lesions.uids[0]
    segment_id = segment_ids(review.node)[uid]
    mask = segment_mask(review, segment_id)
    mask[20] = False
    draw(review, segment_id, mask)
    assert [event.kind for event in review.outlines.sync()] == ["edit"]
    assert review.lesions[uid].n_voxels == mask.sum()


def test_a75_new_segment_becomes_a_lesion_with_name_and_identifier(review):
    new = np.zeros(review.maps.grid.shape, bool)
    new[10:13, 30:34, 30:34] = True
    draw(review, "", new)
    assert [event.kind for event in review.outlines.sync()] == ["new"]
    lesion = review.lesions.lesions[-1]
    assert np.array_equal(review.lesions.mask(lesion.uid), new)
    assert names_of(review)[-1] == lesion.name
    assert lesion.uid in segment_ids(review.node)


def test_a75_removed_segment_is_a_deleted_lesion(review):
    uid = review.lesions.uids[2]
    review.node.GetSegmentation().RemoveSegment(segment_ids(review.node)[uid])
    assert [(event.kind, event.before) for event in review.outlines.sync()] == [("delete", (uid,))]
    assert uid not in review.lesions.uids


def test_a75_segment_that_comes_back_by_undo_has_its_identifier_again(review):
    """What the Segment Editor's undo does: the segment object with its tags is put back."""
    uid = review.lesions.uids[2]
    segmentation = review.node.GetSegmentation()
    saved = slicer.vtkSegment()
    saved.DeepCopy(segmentation.GetSegment(segment_ids(review.node)[uid]))
    outlines = {lesion.uid: lesion.outline for lesion in review.lesions.lesions}
    segmentation.RemoveSegment(segment_ids(review.node)[uid])
    assert uid not in review.lesions.uids
    segmentation.AddSegment(saved)
    assert {lesion.uid: lesion.outline for lesion in review.lesions.lesions} == outlines


def test_copied_segment_is_a_new_lesion(review):
    uid = review.lesions.uids[1]
    moved = np.roll(review.lesions.mask(uid), 12, axis=0)
    segmentation = review.node.GetSegmentation()
    copy = segmentation.AddEmptySegment("copy")
    segmentation.GetSegment(copy).SetTag("ChiSep.LesionUID", uid)
    draw(review, copy, moved & (review.lesions.labels == 0))
    assert len(review.lesions) == len(SPHERES) + 1
    assert len(set(review.lesions.uids)) == len(SPHERES) + 1


def test_a32_split_makes_two_segments_that_name_their_parent_and_undo_restores(review):
    uid = review.lesions.uids[0]
    segment_id = segment_ids(review.node)[uid]
    mask = segment_mask(review, segment_id)
    mask[20] = False
    draw(review, segment_id, mask)
    parts = review.split(uid)
    assert [part.parents for part in parts] == [(uid,), (uid,)]
    ids = segment_ids(review.node)
    assert sum(segment_mask(review, ids[part.uid]).sum() for part in parts) == mask.sum()
    assert uid not in ids
    review.undo()
    assert np.array_equal(segment_mask(review, segment_ids(review.node)[uid]), mask)


def test_a32_merge_makes_one_segment_with_both_parents(review):
    first, second = review.lesions.uids[:2]
    n = review.lesions[first].n_voxels + review.lesions[second].n_voxels
    merged = review.merge([first, second])
    assert merged.parents == (first, second)
    assert segment_mask(review, segment_ids(review.node)[merged.uid]).sum() == n
    assert len(segment_ids(review.node)) == len(SPHERES) - 1


def test_own_changes_are_not_taken_for_edits(review):
    review.merge(review.lesions.uids[:2])
    assert not review.outlines.is_dirty


def test_edited_lesion_is_measured_again_and_the_others_are_not(review):
    before = {row.uid: row for row in review.measure()}
    uid = review.lesions.uids[1]
    mask = review.lesions.mask(uid)
    mask[:20] = False
    draw(review, segment_ids(review.node)[uid], mask)
    after = {row.uid: row for row in review.measure()}
    assert after[uid].n_voxels == mask.sum()
    assert sum(after[u] is before[u] for u in after) >= len(SPHERES) - 2


def test_one_drawn_mask_is_taken_apart_into_its_components():
    head = small_head()
    review = review_of(head)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    segmentation.CreateDefaultDisplayNodes()
    reference = next(iter(review.maps.nodes.values()))
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    segment_id = segmentation.GetSegmentation().AddEmptySegment("mask")
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        head.lesion_mask.astype(np.uint8), segmentation, segment_id, reference
    )
    assert len(review.import_lesions(segmentation)) == len(SPHERES)
    assert review.node is not segmentation
    review.close()


def test_identifiers_and_numbers_survive_a_second_import_of_the_node(review):
    review.delete(review.lesions.uids[1])
    before = [(lesion.uid, lesion.name, lesion.outline) for lesion in review.lesions.lesions]
    review.import_lesions(review.node)
    assert [(lesion.uid, lesion.name, lesion.outline) for lesion in review.lesions.lesions] == before


def test_a64_outlines_on_another_grid_are_refused_and_resampled_on_demand(review):
    grid = Grid.from_spacing((20, 30, 32), (2, 2, 2))
    coarse = add_volume("coarse", np.zeros(grid.shape, np.uint8), grid, "vtkMRMLLabelMapVolumeNode")
    mask = np.zeros(grid.shape, np.uint8)
    mask[8:12, 10:16, 10:16] = 1
    set_array(coarse, mask, grid)
    with pytest.raises(InputError, match="does not lie on the grid"):
        review.import_lesions(coarse)
    assert len(review.import_lesions(coarse, resample=True)) == 1
    assert 0.5 < review.outlines.resampled_dice <= 1


def test_segmentation_under_a_transform_is_refused(review):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    review.node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="transform"):
        read_segments(review.node, review.maps.grid)


def test_a33_identifiers_survive_the_segmentation_file(review, tmp_path):
    uids = set(review.lesions.uids)
    path = str(tmp_path / "lesions.seg.nrrd")
    assert slicer.util.saveNode(review.node, path)
    assert set(review.import_lesions(path).uids) == uids


def test_empty_segmentation_is_refused(review):
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    with pytest.raises(InputError, match="no lesion"):
        review.import_lesions(empty)


def test_200_lesions_come_in_through_one_layer():
    generator = np.random.Generator(np.random.PCG64(2))
    labels = np.zeros((60, 80, 80), np.uint8)
    for n, place in enumerate(generator.permutation(10 * 13 * 13)[:200]):
        z, y, x = np.unravel_index(place, (10, 13, 13))
        labels[6 * z : 6 * z + 3, 6 * y : 6 * y + 3, 6 * x : 6 * x + 2 + n % 3] = 1
    lesions = find_lesions(labels, Grid.from_spacing(labels.shape))
    node = write_lesions_node(slicer.mrmlScene, lesions, "many")
    assert node.GetSegmentation().GetNumberOfSegments() == 200
    assert node.GetSegmentation().GetNumberOfLayers() == 1
