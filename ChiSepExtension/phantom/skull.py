"""Skull, air spaces, face, scalp and neck of the procedural head, in brain coordinates (mm).

They matter for the field alone: air and bone in and around the head make the background that a scan has to remove.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .random_fields import RandomField
from .shapes import ellipsoid, inside_box, mirrored, smooth_cut, smooth_union, tube
from .tissues import Label

#: Fluid between the brain's envelope and the inner table.
FLUID_MM = 3.0
_SCALP_MM = 6.0
_TABLE_MM = 1.7

_PHARYNX = np.array([(0, 24, -58), (0, 12, -70), (0, 4, -95), (0, 6, -270)], np.float32)
_MANDIBLE = np.array([(50, 4, -50), (48, 16, -84), (34, 48, -98), (0, 68, -104)], np.float32)
_ZYGOMA = np.array([(62, 4, -32), (58, 34, -38), (40, 58, -46)], np.float32)
_ORBIT = (29, 50, -37)


def cavity_distance(envelope: np.ndarray, stem: np.ndarray) -> np.ndarray:
    """Distance to the inner table of the skull and the spinal canal."""
    return smooth_union(envelope - FLUID_MM, stem - 3.5, 8.0)


def head_distance(points: np.ndarray, cavity: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    """Distance to the skin."""
    cranium = cavity - thickness - _SCALP_MM
    cranium = np.where(points[:, 2] < -70, 1e3, cranium)  # the canal in the neck makes no scalp of its own
    face = ellipsoid(points, (0, 32, -62), (61, 48, 62))
    jaw = ellipsoid(points, (0, 56, -96), (30, 24, 24))
    nose = ellipsoid(points, (0, 82, -52), (13, 15, 20))
    y = (points[:, 1] + 24) / 58
    x = points[:, 0] / 54
    neck = (np.sqrt(x * x + y * y) - 1) * 54
    neck = smooth_cut(neck, points[:, 2] + 42, 20.0)
    shape = smooth_union(smooth_union(cranium, face, 22.0), neck, 22.0)
    shape = smooth_union(smooth_union(shape, jaw, 12.0), nose, 8.0)
    ear = ellipsoid(mirrored(points), (80, -24, -26), (6, 14, 24))
    return np.minimum(shape, ear)


def paint_shell(
    labels: np.ndarray,
    points: np.ndarray,
    skin: np.ndarray,
    cavity: np.ndarray,
    thickness: np.ndarray,
    cells: RandomField,
) -> None:
    """Write everything between the cavity and the skin; points inside the cavity keep their label.

    Parameters
    ----------
    labels
        (n,) uint8, changed in place.
    points
        (n, 3) of the points in the head.
    skin, cavity, thickness
        (n,) distance to the skin and to the inner table, and thickness of the skull.
    cells
        Field that breaks up mastoid and ethmoid into cells and fat into lobules.
    """
    outer = cavity > 0
    marrow = cells(points)
    soft = np.where((marrow > 0.9) | ((skin > -8) & (cavity < 60)), Label.FAT, Label.MUSCLE)
    soft[skin > -2.0] = Label.SKIN
    # The temporal and neck muscles lie directly on the bone.
    temporal = (np.abs(points[:, 0]) > 52) & (points[:, 2] < 25) & (points[:, 1] > -40) & (skin < -3.5)
    soft[temporal & (soft == Label.FAT)] = Label.MUSCLE
    labels[outer] = soft[outer]
    bone = outer & (cavity < thickness) & (points[:, 2] > -72)
    labels[bone] = Label.CORTICAL_BONE
    diploe = bone & (cavity > _TABLE_MM) & (cavity < thickness - _TABLE_MM)
    labels[diploe] = Label.SPONGY_BONE
    _paint_vertebrae(labels, points, cavity)
    _paint_face(labels, points, skin, cavity, marrow)


def _paint_vertebrae(labels: np.ndarray, points: np.ndarray, cavity: np.ndarray) -> None:
    near = inside_box(points, (-24, -70, -280), (24, -8, -60))
    if not len(near):
        return
    p = points[near]
    body = ellipsoid(p * np.array([1, 1, 0], np.float32), (0, -27, 0), (13, 9.5, 1e3))
    arch = np.abs(cavity[near] - 3) - 2.5
    disc = np.mod(p[:, 2], 17.0) < 4.5
    ring = (cavity[near] > 0) & ((body < 0) | ((arch < 0) & ~disc))
    target = labels[near]
    target[ring] = np.where((body[ring] < -1.5) | disc[ring], Label.SPONGY_BONE, Label.CORTICAL_BONE)
    labels[near] = target


def _paint_face(
    labels: np.ndarray, points: np.ndarray, skin: np.ndarray, cavity: np.ndarray, cells: np.ndarray
) -> None:
    near = inside_box(points, (-90, -60, -280), (90, 110, 20))
    near = near[(cavity[near] > 1.0) & (skin[near] < -1.5)]
    p, part = points[near], labels[near]
    folded, marrow, gap = mirrored(p), cells[near], cavity[near]
    right = p[:, 0] > 0

    def paint(label: Label, distance: Callable[[np.ndarray], np.ndarray], grow: float = 0.0) -> None:
        part[distance(folded) < grow] = label

    paint(Label.CORTICAL_BONE, lambda q: tube(q, _MANDIBLE, 7.0))
    paint(Label.SPONGY_BONE, lambda q: tube(q, _MANDIBLE, 4.0))
    paint(Label.CORTICAL_BONE, lambda q: tube(q, _ZYGOMA, 4.0))
    # Orbit: a bony cone of fat with the globe in front.
    paint(Label.CORTICAL_BONE, _orbit, 1.6)
    paint(Label.FAT, _orbit)
    paint(Label.MUSCLE, lambda q: tube(q, np.array([(31, 58, -38), (13, 22, -34)]), 2.2))
    paint(Label.EYE, lambda q: ellipsoid(q, (31, 59, -38), (12, 12, 12)))
    # Nasal cavity with septum and turbinates, hard palate, pharynx.
    paint(Label.CORTICAL_BONE, lambda q: ellipsoid(q, (0, 48, -78), (26, 28, 3)))
    nasal = ellipsoid(folded, (0, 52, -57), (14, 30, 17))
    part[nasal < 1.5] = Label.MUCOSA
    septum = folded[:, 0] + 0.02 * p[:, 2] < 1.3
    turbinate = ellipsoid(folded, (8, 50, -60), (3.2, 20, 9)) < 0
    part[(nasal < 0) & ~septum & ~turbinate] = Label.AIR
    paint(Label.AIR, lambda q: tube(q, _PHARYNX, np.array([9, 8, 7, 8])))
    # Sinuses: the right frontal and the right mastoid are larger, as an anatomical left-right marker.
    for distance in (_maxillary, _sphenoid):
        paint(Label.CORTICAL_BONE, distance, 1.8)
        paint(Label.MUCOSA, distance, 0.7)
        paint(Label.AIR, distance)
    ethmoid = np.maximum(ellipsoid(folded, (8.5, 42, -38), (8, 19, 9)), 1.0 - folded[:, 0])
    part[ethmoid < 1.2] = Label.CORTICAL_BONE
    part[(ethmoid < 0) & (marrow < 0.8)] = Label.AIR
    part[(ethmoid < 0) & (marrow >= 0.8)] = Label.MUCOSA
    frontal = np.where(
        right, ellipsoid(folded, (14, 69, -9), (15, 6.5, 15)), ellipsoid(folded, (10, 69, -13), (10, 5.5, 10))
    )
    frontal = np.maximum(np.maximum(frontal, 1.2 - folded[:, 0]), 2.0 - gap)
    part[frontal < 2.0] = Label.CORTICAL_BONE
    part[frontal < 0] = Label.AIR
    # Petrous bone with the mastoid cells, ear canal.
    petrous = tube(folded, np.array([(60, -30, -36), (24, -10, -34)]), np.array([11, 6]))
    part[petrous < 0] = Label.CORTICAL_BONE
    mastoid = ellipsoid(folded, (59, -34, -42), (9, 13, 17))
    part[mastoid < 2] = Label.CORTICAL_BONE
    part[(mastoid < 0) & (marrow < np.where(right, 0.7, 0.1))] = Label.AIR
    paint(
        Label.AIR, lambda q: tube(q, np.array([(92, -20, -29), (60, -22, -32), (48, -20, -33)]), np.array([4, 3, 4.5]))
    )
    labels[near] = part


def _orbit(q: np.ndarray) -> np.ndarray:
    return np.minimum(ellipsoid(q, _ORBIT, (17, 20, 16)), tube(q, np.array([_ORBIT, (14, 22, -34)]), np.array([13, 3])))


def _maxillary(q: np.ndarray) -> np.ndarray:
    return ellipsoid(q, (29, 44, -66), (12, 15, 13))


def _sphenoid(q: np.ndarray) -> np.ndarray:
    return np.maximum(ellipsoid(q, (7, 13, -42), (9, 11, 9)), 0.8 - q[:, 0])
