"""A case in the scene for the tests of the review: maps with known lesions, as volume nodes."""

from __future__ import annotations

import numpy as np
import slicer

from ChiSepExtension.mrml.lesion_review import LesionReview
from ChiSepExtension.mrml.outputs import KIND
from ChiSepExtension.mrml.review_maps import ReviewMaps
from ChiSepExtension.mrml.volumes import set_array
from Testing.Python.core.lesion_phantom import LesionPhantom, Sphere, phantom

SHAPE = (40, 60, 64)
#: Four kinds of lesions, the second pair touching by nothing, one below 3 mm.
SPHERES = [
    Sphere((20, 30, 46), 12, "rim"),
    Sphere((20, 20, 20), 9, "hypo"),
    Sphere((24, 42, 20), 7, "hyper"),
    Sphere((16, 42, 44), 6, "iso"),
    Sphere((28, 20, 44), 2.2, "hypo"),
]
NAMES = ("chi_para", "chi_dia", "chi_total", "qsm", "r2star")


def small_head() -> LesionPhantom:
    return phantom(SHAPE, list(SPHERES))


def add_volume(name: str, array: np.ndarray, grid, node_class: str = "vtkMRMLScalarVolumeNode"):
    node = slicer.mrmlScene.AddNewNodeByClass(node_class, name)
    set_array(node, array, grid)
    node.CreateDefaultDisplayNodes()
    return node


def add_maps(head: LesionPhantom, names=NAMES, prefix: str = "sub-01") -> dict[str, object]:
    nodes = {}
    for name in names:
        nodes[name] = add_volume(f"{prefix} {name}", head.maps[name].astype(np.float32), head.grid)
        nodes[name].SetAttribute(KIND, {"r2star": "r2star_hz"}.get(name, name))
    return nodes


def review_of(head: LesionPhantom, *, case: str = "C001", **options) -> LesionReview:
    """A review with the phantom's lesions imported from a label map node."""
    mask = add_volume("brain", head.mask, head.grid, "vtkMRMLLabelMapVolumeNode")
    maps = ReviewMaps(slicer.mrmlScene, add_maps(head), mask=mask, **options)
    review = LesionReview(slicer.mrmlScene, maps, case=case)
    lesions = add_volume("outlines", head.lesion_mask, head.grid, "vtkMRMLLabelMapVolumeNode")
    review.import_lesions(lesions)
    slicer.mrmlScene.RemoveNode(lesions)
    return review


def segment_mask(review: LesionReview, segment_id: str) -> np.ndarray:
    """bool (z, y, x) on the maps' grid, read by the application's own function."""
    reference = next(iter(review.maps.nodes.values()))
    return slicer.util.arrayFromSegmentBinaryLabelmap(review.node, segment_id, reference) > 0


def draw(review: LesionReview, segment_id: str, mask: np.ndarray) -> None:
    """Give a segment new voxels, by the application's own function; "" makes a new segment. Others keep theirs."""
    reference = next(iter(review.maps.nodes.values()))
    segment_id = segment_id or review.node.GetSegmentation().AddEmptySegment()
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), review.node, segment_id, reference)
