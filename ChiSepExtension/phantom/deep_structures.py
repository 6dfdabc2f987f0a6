"""Ventricles, deep nuclei and named tracts of the procedural head, in brain coordinates (mm, origin near the AC)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .cortex import callosal_arch
from .random_fields import RandomField
from .shapes import ellipsoid, inside_box, mirrored, spline, tube
from .tissues import WHITE_MATTER_LABELS, Label


def _curve(*nodes: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    curve = spline(nodes, 4)
    return curve[:, :3], curve[:, 3]


# Nodes are x, y, z, radius on the right side.
_HORN = _curve(
    (7, 31, 6, 2.5), (10, 24, 11, 5), (10, 8, 16, 4.8), (11, -12, 20, 4.5), (17, -30, 20, 5), (25, -43, 13, 6.5)
)
_OCCIPITAL = _curve((25, -43, 13, 6), (27, -56, 9, 4.2), (25, -68, 7, 2))
_TEMPORAL = _curve((25, -43, 12, 6), (34, -36, 0, 4), (36, -22, -12, 2.8), (32, -9, -19, 2.2))
_CAUDATE = _curve(
    (10, 17, 0, 5),
    (13, 15, 6, 6.8),
    (15, 8, 11, 5.8),
    (17, -4, 17, 4),
    (21, -20, 20, 2.8),
    (30, -34, 13, 2),
    (35, -32, 0, 1.4),
)
_HIPPOCAMPUS = _curve((22, -8, -21, 5), (27, -16, -18, 5), (29, -26, -12, 4.2), (25, -36, -3, 3))
_PEDUNCLE = _curve(
    (21, -14, -1, 4), (16, -16, -9, 4.5), (10.5, -16, -19, 5), (6.5, -15, -30, 4.2), (3.5, -27, -50, 2.5)
)
_CHOROID = _curve((12, -10, 16.5, 1.3), (17, -28, 16, 1.5), (24, -42, 11, 2.8))

_SEPTUM_HALF_WIDTH = 1.2


def ventricle_distance(points: np.ndarray) -> np.ndarray:
    """Distance to the lateral ventricles (both sides)."""
    folded = mirrored(points)
    lateral = np.minimum(tube(folded, *_HORN), tube(folded, *_OCCIPITAL))
    lateral = np.minimum(lateral, tube(folded, *_TEMPORAL))
    return np.maximum(lateral, _SEPTUM_HALF_WIDTH - folded[:, 0])


class _Painter:
    """Writes labels where a distance, roughened a little, is negative; boxes on the folded points keep it cheap."""

    def __init__(self, labels: np.ndarray, points: np.ndarray, wobble: RandomField | None = None) -> None:
        self.labels = labels
        self.folded = mirrored(points)
        self._rough = np.zeros(len(points), np.float32) if wobble is None else 0.5 * wobble(points)

    def __call__(
        self,
        label: Label,
        distance: Callable[[np.ndarray], np.ndarray],
        low: tuple[float, float, float],
        high: tuple[float, float, float],
        only: np.ndarray | None = None,
    ) -> None:
        box = inside_box(self.folded, low, high)
        if only is not None:
            box = box[only[box]]
        if len(box):
            self.labels[box[distance(self.folded[box]) + self._rough[box] < 0]] = label


def paint_deep_structures(labels: np.ndarray, points: np.ndarray, wobble: RandomField) -> None:
    """Write tracts, nuclei and ventricles into ``labels`` of points in the brain.

    ``wobble`` roughens the surfaces by about half a millimetre, so that nuclei are no mathematical ellipsoids.
    """
    near = inside_box(points, (-50, -85, -50), (50, 45, 40))
    points = points[near]
    part = labels[near]
    paint = _Painter(part, points, wobble)
    folded = paint.folded
    # White matter fills the space between the nuclei, wherever the folded surface came close to it.
    paint(Label.WHITE_MATTER, _core, (0, -48, -14), (37, 36, 36))
    white = np.isin(part, WHITE_MATTER_LABELS)
    _paint_callosum(part, points, folded)
    _paint_tracts(paint, white)
    paint(Label.BRAIN_STEM, lambda p: ellipsoid(p, (0, -24, -9), (13, 12, 10)), (0, -40, -20), (18, -8, 0), white)
    paint(Label.PEDUNCLE, lambda p: tube(p, *_PEDUNCLE), (0, -36, -58), (28, -8, 4))
    paint(Label.CORTEX, _claustrum, (26, -22, -12), (38, 24, 16), white)
    paint(Label.HIPPOCAMPUS, lambda p: tube(p, *_HIPPOCAMPUS), (14, -42, -28), (36, 0, 4))
    paint(Label.HIPPOCAMPUS, _amygdala, (12, -12, -28), (32, 8, -8))
    paint(Label.CORTEX, _hypothalamus, (0, -16, -16), (10, 8, -4))
    paint(Label.PUTAMEN, _putamen, (12, -26, -14), (38, 26, 16))
    paint(Label.PALLIDUM, _pallidum, (8, -18, -10), (28, 10, 10))
    paint(Label.ACCUMBENS, lambda p: ellipsoid(p, (11, 11, -6), (5, 5.5, 4)), (4, 2, -12), (18, 20, 0))
    paint(Label.CAUDATE, lambda p: tube(p, *_CAUDATE), (3, -42, -8), (40, 28, 26))
    paint(Label.THALAMUS, lambda p: ellipsoid(p, (11, -18, 8), (8.5, 14.5, 8.5), 22), (0, -38, -4), (28, 2, 20))
    paint(Label.PULVINAR, lambda p: ellipsoid(p, (16.5, -28.5, 7), (7.5, 6, 7)), (6, -38, -4), (28, -20, 18))
    _paint_midbrain_nuclei(paint)
    paint(Label.DENTATE, lambda p: _dentate(p, wobble), (3, -74, -44), (28, -44, -24))
    _paint_fluid(part, points, folded)
    paint(Label.CHOROID_PLEXUS, lambda p: tube(p, *_CHOROID), (8, -50, 5), (30, -5, 22), part == Label.CSF)
    labels[near] = part


def paint_named_tracts(labels: np.ndarray, points: np.ndarray, white: np.ndarray) -> None:
    """Internal capsule and sagittal stratum within ``white``, for anatomies that know white matter alone."""
    _paint_tracts(_Painter(labels, points), white)


def paint_small_nuclei(
    labels: np.ndarray, points: np.ndarray, wobble: RandomField, stem: np.ndarray, cerebellum: np.ndarray
) -> None:
    """Red nucleus, substantia nigra and subthalamic nucleus within ``stem``, dentate within ``cerebellum`` (bool)."""
    paint = _Painter(labels, points, wobble)
    _paint_midbrain_nuclei(paint, stem)
    paint(Label.DENTATE, lambda p: _dentate(p, wobble), (3, -74, -44), (28, -44, -24), cerebellum)


def _paint_tracts(paint: _Painter, white: np.ndarray) -> None:
    paint(Label.SAGITTAL_STRATUM, _stratum, (20, -80, -16), (48, -15, 32), white)
    paint(Label.CAPSULE_ANTERIOR, _capsule_anterior, (8, 0, -6), (30, 30, 20), white)
    paint(Label.CAPSULE_POSTERIOR, _capsule_posterior, (10, -28, -6), (36, 2, 22), white)


def _paint_midbrain_nuclei(paint: _Painter, only: np.ndarray | None = None) -> None:
    paint(Label.SUBTHALAMIC_NUCLEUS, _subthalamic, (2, -22, -12), (20, -4, -3), only)
    paint(Label.SUBSTANTIA_NIGRA, _nigra, (1, -26, -22), (20, -8, -8), only)
    paint(Label.RED_NUCLEUS, _red_nucleus, (0, -26, -16), (11, -12, -3), only)


def _amygdala(p: np.ndarray) -> np.ndarray:
    return ellipsoid(p, (22, -3, -18), (7, 7, 6.5))


def _hypothalamus(p: np.ndarray) -> np.ndarray:
    return ellipsoid(p, (4, -3, -10), (4, 9, 4))


def _subthalamic(p: np.ndarray) -> np.ndarray:
    return ellipsoid(p, (11, -12.5, -7.7), (6, 2.6, 2.9), -35)


def _nigra(p: np.ndarray) -> np.ndarray:
    return ellipsoid(p, (9.5, -17, -14), (7.6, 2.7, 5), -45)


def _red_nucleus(p: np.ndarray) -> np.ndarray:
    return ellipsoid(p, (5, -19.5, -9.5), (4.1, 4.5, 4.8))


def _core(p: np.ndarray) -> np.ndarray:
    return ellipsoid(p, (16, -6, 10), (21, 36, 22))


def _paint_callosum(labels: np.ndarray, points: np.ndarray, folded: np.ndarray) -> None:
    y = points[:, 1]
    swept = points.copy()  # the forceps sweep forwards and backwards on their way out
    swept[:, 1] -= np.sign(y) * 0.03 * folded[:, 0] ** 2 * np.minimum(np.abs(y + 4) / 30, 1)
    arch = callosal_arch(swept)
    thickness = 5.5 + 4 * np.exp(-(((y - 28) / 9) ** 2)) + 5 * np.exp(-(((y + 38) / 8) ** 2))
    callosum = (
        (arch < 0)
        & (arch > -thickness * (1 - (folded[:, 0] / 20) ** 2))
        & (folded[:, 0] < 16)
        & (points[:, 2] > np.where(y > 0, -2, 4))
    )
    labels[callosum] = np.where(
        y[callosum] > 18, Label.CALLOSUM_GENU, np.where(y[callosum] < -30, Label.CALLOSUM_SPLENIUM, Label.CALLOSUM_BODY)
    )
    fornix = (folded[:, 0] < 3) & (np.abs(arch + thickness + 1.5) < 1.5) & (y < 5) & (y > -30) & (points[:, 2] > 8)
    labels[fornix] = Label.WHITE_MATTER


def _paint_fluid(labels: np.ndarray, points: np.ndarray, folded: np.ndarray) -> None:
    fluid = ventricle_distance(points) < 0
    third = ellipsoid(points, (0, -11, 1), (2.4, 13, 9.5))
    fourth = ellipsoid(points, (0, -43, -32), (6.5, 5, 11))
    aqueduct = tube(points, np.array([(0, -24, -2), (0, -31, -14), (0, -40, -26)]), 1.1)
    labels[fluid | (third < 0) | (fourth < 0) | (aqueduct < 0)] = Label.CSF
    # Quadrigeminal and interpeduncular cisterns.
    behind = ellipsoid(points, (0, -40, 0), (9, 5, 7))
    front = ellipsoid(points, (0, -8, -17), (5.5, 6, 5))
    labels[(np.minimum(behind, front) < 0) & ~np.isin(labels, (Label.CALLOSUM_SPLENIUM,))] = Label.CSF


def _stratum(p: np.ndarray) -> np.ndarray:
    wall = np.minimum(tube(p, *_OCCIPITAL), tube(p, *_TEMPORAL))
    return np.maximum(np.abs(wall - 4.5) - 1.8, 24 - p[:, 0])


_ANTERIOR_LIMB = np.array([(11, 25), (14.5, 14), (17.5, 5), (18, 0)], np.float32)
_POSTERIOR_LIMB = np.array([(18, 0), (20, -8), (24, -18), (28, -26)], np.float32)


def _sheet(p: np.ndarray, line: np.ndarray, half_width: float, z: tuple[float, float]) -> np.ndarray:
    flat = p.copy()
    flat[:, 2] = 0
    lean = 0.25 * np.maximum(p[:, 2], 0)  # the capsule leans outwards as it rises
    flat[:, 0] -= lean
    distance = tube(flat, np.column_stack([line, np.zeros(len(line))]), half_width)
    return np.maximum(np.maximum(distance, z[0] - p[:, 2]), p[:, 2] - z[1])


def _capsule_anterior(p: np.ndarray) -> np.ndarray:
    return _sheet(p, _ANTERIOR_LIMB, 4.0, (-4, 17))


def _capsule_posterior(p: np.ndarray) -> np.ndarray:
    return _sheet(p, _POSTERIOR_LIMB, 4.0, (-4, 20))


def _putamen(p: np.ndarray) -> np.ndarray:
    return np.maximum(ellipsoid(p, (25.5, 2, 1.5), (6.2, 17.5, 11), 14), -(_pallidum(p) - 0.9))


def _pallidum(p: np.ndarray) -> np.ndarray:
    return ellipsoid(p, (19.5, -4.5, -0.5), (5.2, 9.5, 6.3), 24)


def _claustrum(p: np.ndarray) -> np.ndarray:
    shell = np.abs(ellipsoid(p, (25.5, 2, 1.5), (6.2, 17.5, 11), 14) - 3.2) - 0.8
    return np.maximum(shell, 29 - p[:, 0] + 0.2 * np.abs(p[:, 1]))


def _dentate(p: np.ndarray, wobble: RandomField) -> np.ndarray:
    crumple = 0.9 * wobble(p * np.float32(1.7))
    shell = np.abs(ellipsoid(p, (15, -59, -34), (7.5, 9.5, 5.5), -30) + crumple + 1.0) - 1.2
    hilum = ellipsoid(p, (10, -53, -33), (5, 6, 3.5))  # opens forwards and inwards
    return np.maximum(shell, -hilum)
