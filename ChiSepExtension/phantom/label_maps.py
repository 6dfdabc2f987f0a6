"""Anatomy from a whole-head label map (FreeSurfer codes, SynthSeg's 5xx outside the brain), as a function of position.

It answers the same questions as the procedural `Anatomy`, so that lesions, veins, maps and the scan are made alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..geometry import Grid, to_closest_ras
from ..volume_io import read_volume
from .anatomy import ORIGIN_RAS_MM
from .cortex import callosal_arch
from .deep_structures import paint_named_tracts, paint_small_nuclei
from .random_fields import RandomField
from .shapes import mirrored
from .tissues import Label

#: SynthSeg code to label; what is missing counts as muscle.
CODES: Mapping[int, Label] = {
    0: Label.OUTSIDE,
    **dict.fromkeys((2, 41, 25, 57, 85), Label.WHITE_MATTER),
    **dict.fromkeys((3, 42), Label.CORTEX),
    **dict.fromkeys((4, 43, 5, 44, 14, 15, 24, 502), Label.CSF),
    **dict.fromkeys((7, 46), Label.CEREBELLAR_WHITE_MATTER),
    **dict.fromkeys((8, 47), Label.CEREBELLAR_CORTEX),
    **dict.fromkeys((10, 49), Label.THALAMUS),
    **dict.fromkeys((11, 50), Label.CAUDATE),
    **dict.fromkeys((12, 51), Label.PUTAMEN),
    **dict.fromkeys((13, 52), Label.PALLIDUM),
    **dict.fromkeys((16, 28, 60, 512), Label.BRAIN_STEM),
    **dict.fromkeys((17, 53, 18, 54), Label.HIPPOCAMPUS),
    **dict.fromkeys((26, 58), Label.ACCUMBENS),
    **dict.fromkeys((30, 62, 514), Label.VEIN),
    **dict.fromkeys((31, 63, 136, 163, 137, 164), Label.CHOROID_PLEXUS),
    506: Label.EYE,
    507: Label.MUSCLE,
    508: Label.MUSCLE,
    509: Label.MUCOSA,
    511: Label.SKIN,
    515: Label.CORTICAL_BONE,
    516: Label.SPONGY_BONE,
    530: Label.MUSCLE,
}

_SOFT_TISSUE = 507
_NOT_BRAIN = (24, 502, 512, 514)

#: Centroids (right side, brain coordinates) of structures that tie a map to the procedural head's coordinates.
_LANDMARKS = {
    (12, 51): (25.5, 2.0, 1.5),
    (13, 52): (19.5, -4.5, -0.5),
    (10, 49): (12.0, -19.0, 8.0),
    (11, 50): (14.0, 9.0, 10.0),
    (17, 53): (26.0, -22.0, -14.0),
    (18, 54): (22.0, -4.0, -18.0),
    (8, 47): (25.0, -63.0, -34.0),
    (3, 42): (33.0, -22.0, 17.0),
    (4, 43): (14.0, -16.0, 16.0),
}

#: CIT168 codes of the nuclei that head label maps lack.
_CIT168 = {
    **dict.fromkeys((13, 14, 17, 18), Label.SUBSTANTIA_NIGRA),
    **dict.fromkeys((15, 16), Label.RED_NUCLEUS),
    **dict.fromkeys((31, 32), Label.SUBTHALAMIC_NUCLEUS),
}


class LabelMapAnatomy:
    """A head from a label map, centred on RAS 0 like the procedural one.

    Parameters
    ----------
    codes
        (z, y, x) SynthSeg codes.
    grid
        Of the map, about 1 mm.
    seed
        Of fat lobules and augmentation.
    nuclei
        CIT168 label map and its grid (MNI space); without it the small nuclei are ellipsoids.
    rotation_deg, scale, warp_mm, flip
        Augmentation: largest rotation about each axis, largest relative change of size, standard deviation of a
        smooth warp, and whether left and right change places.

    Raises
    ------
    InputError
        If the map lacks the structures that tie it to brain coordinates.
    """

    def __init__(
        self,
        codes: np.ndarray,
        grid: Grid,
        *,
        seed: int = 0,
        nuclei: tuple[np.ndarray, Grid] | None = None,
        rotation_deg: float = 0.0,
        scale: float = 0.0,
        warp_mm: float = 0.0,
        flip: bool = False,
    ) -> None:
        turn = to_closest_ras(grid)
        codes, self._grid = turn.apply(np.asarray(codes)), turn.target
        # Map RAS to brain coordinates: affine through the centroids of structures.
        self._to_brain = _fit_affine(codes, self._grid)
        codes = _fill_air_islands(codes)
        table = np.full(int(codes.max()) + 1, Label.MUSCLE, np.uint8)
        for code, label in CODES.items():
            if code < len(table):
                table[code] = label
        self._labels = table[codes]
        self._soft = codes == _SOFT_TISSUE
        self._brain = _brain_mask(codes) & ~np.isin(codes, (0, 506, 507, 508, 509, 511, 515, 516, 530, 512, 514))
        self._bottom = int(np.flatnonzero((codes > 0).any(axis=(1, 2)))[0])
        self._nuclei = nuclei
        generator = np.random.default_rng([seed, 21])
        self._fat = RandomField(generator, 11.0, bandwidth=0.4, period_mm=120.0)
        self._wobble = RandomField(generator, 11.0, bandwidth=0.3, period_mm=120.0)
        self._warp = [RandomField(generator, 80.0, bandwidth=0.4) for _ in range(3)] if warp_mm else []
        self._warp_mm = np.float32(warp_mm)
        self._move = _random_affine(generator, rotation_deg, scale, flip)
        centre = np.linalg.inv(self._to_brain) @ (0, 0, 0, 1)
        self._centre = centre[:3]  # map RAS of the brain coordinates' origin

    @classmethod
    def read(cls, path: str | Path, *, nuclei_path: str | Path | None = None, **options) -> LabelMapAnatomy:
        """From a SynthSeg-coded image file and, for the small nuclei, a CIT168 one."""
        codes, grid = read_volume(path)
        nuclei = None if nuclei_path is None else read_volume(nuclei_path)
        return cls(codes.astype(np.int32), grid, nuclei=nuclei, **options)

    def to_brain(self, points_ras: np.ndarray) -> np.ndarray:
        """Brain coordinates of (n, 3) RAS points."""
        return _transform(self._to_brain, self._to_map(points_ras)).astype(np.float32)

    def to_ras(self, points_brain: np.ndarray) -> np.ndarray:
        """Inverse of `to_brain` by fixed-point iteration."""
        target = np.asarray(points_brain, np.float64)
        linear = np.linalg.inv(self._to_brain[:3, :3] @ self._move)
        guess = target @ linear.T + ORIGIN_RAS_MM
        for _ in range(12):
            guess = guess + (target - self.to_brain(guess)) @ linear.T
        return guess.astype(np.float32)

    def labels(self, points_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels (n,) uint8 and brain membership (n,) bool of (n, 3) RAS points."""
        points = self._to_map(points_ras)
        index = np.rint(self._grid.ras_to_index(points)).astype(np.int32)
        index[:, 0] = np.maximum(index[:, 0], self._bottom)  # the last slice goes on as the neck
        known = np.all((index >= 0) & (index < np.array(self._labels.shape)), axis=1)
        flat = np.ravel_multi_index(tuple(index[known].T), self._labels.shape)
        labels = np.zeros(len(index), np.uint8)
        brain = np.zeros(len(index), bool)
        part = self._labels.ravel()[flat]
        soft = self._soft.ravel()[flat]
        part[np.flatnonzero(soft)[self._fat(points[known][soft].astype(np.float32)) > 0.2]] = Label.FAT
        inside = self._brain.ravel()[flat] & (np.rint(self._grid.ras_to_index(points[known])[:, 0]) >= self._bottom)
        where = np.flatnonzero(inside)
        tissue = part[where]
        self._refine(tissue, _transform(self._to_brain, points[known][where]).astype(np.float32))
        part[where] = tissue
        labels[known] = part
        brain[known] = inside
        return labels, brain

    def _to_map(self, points_ras: np.ndarray) -> np.ndarray:
        points = np.asarray(points_ras, np.float64)
        moved = (points - ORIGIN_RAS_MM) @ self._move.T
        if self._warp:
            shift = np.stack([field(points.astype(np.float32)) for field in self._warp], axis=1)
            moved = moved + self._warp_mm * shift
        return moved + self._centre

    def _refine(self, labels: np.ndarray, brain: np.ndarray) -> None:
        """Named tracts, pulvinar and the small nuclei, which the map does not tell apart."""
        folded = mirrored(brain)
        white = labels == Label.WHITE_MATTER
        arch = callosal_arch(brain)
        callosum = (
            white & (folded[:, 0] < 12) & (np.abs(arch + 3) < 9) & (np.abs(brain[:, 1] + 4) < 42) & (brain[:, 2] > 0)
        )
        y = brain[callosum, 1]
        parts = np.where(y > 18, Label.CALLOSUM_GENU, np.where(y < -30, Label.CALLOSUM_SPLENIUM, Label.CALLOSUM_BODY))
        labels[callosum] = parts
        labels[(labels == Label.THALAMUS) & (brain[:, 1] < -25)] = Label.PULVINAR
        paint_named_tracts(labels, brain, labels == Label.WHITE_MATTER)
        host = np.isin(labels, (Label.BRAIN_STEM, Label.WHITE_MATTER, Label.PEDUNCLE, Label.CAPSULE_POSTERIOR))
        little = labels == Label.CEREBELLAR_WHITE_MATTER
        if self._nuclei is None:
            paint_small_nuclei(labels, brain, self._wobble, host, little)
            return
        paint_small_nuclei(labels, brain, self._wobble, np.zeros(len(labels), bool), little)
        codes, grid = self._nuclei
        index = np.rint(grid.ras_to_index(brain)).astype(int)
        known = host & np.all((index >= 0) & (index < np.array(codes.shape)), axis=1)
        found = codes[tuple(index[known].T)]
        where = np.flatnonzero(known)
        for code, label in _CIT168.items():
            labels[where[found == code]] = label


def _transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _fit_affine(codes: np.ndarray, grid: Grid) -> np.ndarray:
    """4x4 from map RAS to brain coordinates through the landmarks of both sides, by least squares."""
    wanted = [code for pair in _LANDMARKS for code in pair]
    missing = [code for code in wanted if not (codes == code).any()]
    if missing:
        raise InputError(
            f"The label map lacks the codes {missing}.",
            "Give a whole-head map with FreeSurfer codes, such as SynthSeg's.",
        )
    centres = ndimage.center_of_mass(np.ones(codes.shape, np.uint8), codes, wanted)
    source = grid.index_to_ras(np.array(centres))
    target = np.array([(side * x, y, z) for x, y, z in _LANDMARKS.values() for side in (-1, 1)])
    solution, *_ = np.linalg.lstsq(np.column_stack([source, np.ones(len(source))]), target, rcond=None)
    matrix = np.eye(4)
    matrix[:3] = solution.T
    return matrix


def _fill_air_islands(codes: np.ndarray, largest: int = 60, near_voxels: int = 4) -> np.ndarray:
    """Air specks of under ``largest`` voxels beside brain become CSF: errors of the segmentation, not sinuses."""
    parts, count = ndimage.label(codes == 0)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    small = (sizes < largest) & (np.arange(count + 1) > 0)
    speck = small[parts]
    brain = ((codes > 0) & (codes < 200)).astype(bool)
    close = ndimage.distance_transform_cdt(~brain, "taxicab") <= near_voxels
    return np.where(speck & close, 24, codes)


def _brain_mask(codes: np.ndarray) -> np.ndarray:
    """Brain tissue and ventricles, closed by 3 mm over the sulci."""
    tissue = (codes > 0) & (codes < 200) & ~np.isin(codes, _NOT_BRAIN)
    ball = ndimage.generate_binary_structure(3, 1)
    grown = ndimage.binary_dilation(tissue, ball, iterations=3)
    closed = ndimage.binary_erosion(grown, ball, iterations=3, border_value=1)
    return ndimage.binary_fill_holes(closed | tissue)


def _random_affine(generator: np.random.Generator, rotation_deg: float, scale: float, flip: bool) -> np.ndarray:
    matrix = np.diag(1 / (1 + scale * generator.uniform(-1, 1, 3)))
    for axis in range(3):
        angle = np.radians(rotation_deg * generator.uniform(-1, 1))
        turn = np.eye(3)
        a, b = [n for n in range(3) if n != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix @ np.diag([-1.0 if flip else 1.0, 1, 1])
