"""Rigid registration of one scan of a head to another by mutual information, with a verdict on the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, silent

#: ITK is LPS, we are RAS.
_LPS = np.diag([-1.0, -1.0, 1.0])

#: Voxel sizes (mm) of the resolution levels, coarse to fine: rigid motion is told to 0.1 mm from 2 mm voxels.
_LEVELS_MM = (8.0, 4.0, 2.0)

#: `RigidPose.contrast` above which a pose is not looked for any further; two heads that differ reach 0.4.
_CLEAR_GAIN = 1.5

#: Displacement (mm) along each axis with which the pose found is compared.
_PROBE_MM = 6.0


@dataclass(frozen=True, eq=False)
class RigidPose:
    """Where the moving scan lies: point in it = rotation · (point in the fixed scan) + translation, RAS mm.

    Parameters
    ----------
    rotation
        (3, 3)
    translation_mm
        (3,)
    shift_mm, angle_deg
        Displacement of the middle of the fixed mask, and angle of the rotation.
    information
        Normalised mutual information at the pose (1: nothing in common, 2: one determines the other).
    information_start
        The same at the start, where the scanner's coordinates are taken as they are.
    information_beside
        Mean of it with the pose displaced by 6 mm: what two heads that do not fit look like.
    """

    rotation: np.ndarray
    translation_mm: np.ndarray
    shift_mm: float
    angle_deg: float
    information: float
    information_start: float
    information_beside: float

    @property
    def contrast(self) -> float:
        """How much better the pose fits than its surroundings: 0 not at all; 2 and more for two scans of a head."""
        return _gain(self.information, self.information_beside)


def register_rigidly(
    fixed: np.ndarray,
    fixed_grid: Grid,
    moving: np.ndarray,
    moving_grid: Grid,
    mask: np.ndarray,
    *,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> RigidPose:
    """Find the rigid motion between two scans of one head.

    Mattes mutual information on three levels of resolution from the scanner's own coordinates and from a dozen
    other poses on the coarsest, inside ``mask`` dilated by 6 mm: neck and jaw move against the brain. Deterministic.

    Parameters
    ----------
    fixed, moving
        (z, y, x) images of any contrast, each on its grid.
    mask
        (z, y, x) bool on the fixed grid: the brain.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    progress(0.0, "Registration")
    near = ndimage.distance_transform_edt(~mask, sampling=fixed_grid.spacing_mm) <= 6.0
    fixed_image, moving_image = _image(_levelled(fixed), fixed_grid), _image(_levelled(moving), moving_grid)
    mask_image = _image(near.astype(np.uint8), fixed_grid)
    centre = fixed_grid.index_to_ras(np.argwhere(mask).mean(axis=0))
    scans = (fixed, fixed_grid, moving, moving_grid, mask)
    start = _information(*scans, np.eye(3), np.zeros(3))
    transform = None
    for level, size in enumerate(_LEVELS_MM):
        images = (_coarse(fixed_image, size, sitk.sitkLinear), _coarse(moving_image, size, sitk.sitkLinear))
        inside = _coarse(mask_image, size, sitk.sitkNearestNeighbor)
        tries = []
        for n, begin in enumerate(_starts(centre, moving, moving_grid) if transform is None else [transform]):
            cancel.check()
            progress(0.1 + 0.25 * level + 0.03 * n, f"Registration, level {level + 1}")
            _optimise(*images, inside, begin, size)
            tries.append((_information(*scans, *_as_ras(begin)), -n, begin))
            if n == 0 and _gain(tries[0][0], _beside(scans, *_as_ras(begin))) > _CLEAR_GAIN:
                break  # the scanner's coordinates lead to a fit that no other head has: no need to try more
        transform = max(tries)[2]
    cancel.check()
    matrix, translation = _as_ras(transform)
    progress(1.0, "Registration")
    return RigidPose(
        rotation=matrix,
        translation_mm=translation,
        shift_mm=float(np.linalg.norm(matrix @ centre + translation - centre)),
        angle_deg=float(np.degrees(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1)))),
        information=_information(*scans, matrix, translation),
        information_start=start,
        information_beside=_beside(scans, matrix, translation),
    )


def _starts(centre: np.ndarray, moving: np.ndarray, moving_grid: Grid) -> list:
    """Poses to begin with: the scanner's coordinates; the heads' middles on each other, straight or turned by 15°."""
    import SimpleITK as sitk

    weight = np.asarray(moving, np.float64)
    weight = np.where(weight > 0.3 * np.percentile(weight, 98), 1.0, 0.0)
    sums = [weight.sum(axis=tuple(b for b in range(3) if b != a)) for a in range(3)]
    where = [np.average(np.arange(len(line)), weights=line) for line in sums]
    offset = _LPS @ (moving_grid.index_to_ras(np.array(where)) - centre)
    starts = [(np.zeros(3), np.zeros(3)), (np.zeros(3), offset)]
    starts += [
        (sign * np.radians(15) * np.eye(3)[a], shift)
        for a in range(3)
        for sign in (-1, 1)
        for shift in (offset, 0 * offset)
    ]
    poses = []
    for angles, shift in starts:
        pose = sitk.Euler3DTransform()
        pose.SetCenter([float(v) for v in _LPS @ centre])
        pose.SetRotation(*[float(v) for v in angles])
        pose.SetTranslation([float(v) for v in shift])
        poses.append(pose)
    return poses


def _optimise(fixed, moving, mask, transform, size_mm: float) -> None:
    """Move ``transform`` to the largest mutual information, in place."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricFixedMask(mask)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=size_mm / 2, minStep=0.01, numberOfIterations=80, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:
        return  # the images do not overlap at this pose: it stays as bad as it is


def _as_ras(transform) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation in RAS of an ITK transform about a centre in LPS."""
    matrix = _LPS @ np.array(transform.GetMatrix()).reshape(3, 3) @ _LPS
    middle = _LPS @ np.array(transform.GetCenter())
    return matrix, _LPS @ np.array(transform.GetTranslation()) + middle - matrix @ middle


def resample(
    values: np.ndarray, grid: Grid, target: Grid, rotation: np.ndarray, translation_mm: np.ndarray, *, order: int = 1
) -> np.ndarray:
    """``values`` (z, y, x) of ``grid`` at the voxels of ``target`` moved by the pose; 0 outside; float32."""
    from scipy import ndimage

    move = np.eye(4)
    move[:3, :3], move[:3, 3] = rotation, translation_mm
    matrix = np.linalg.inv(grid.ijk_to_ras) @ move @ target.ijk_to_ras  # ijk of target to ijk of grid
    turned = matrix[:3, :3][::-1, ::-1]
    return ndimage.affine_transform(
        np.asarray(values, np.float32),
        turned,
        matrix[:3, 3][::-1],
        output_shape=target.shape,
        order=order,
        mode="constant",
        output=np.float32,
    )


def _beside(scans: tuple, rotation: np.ndarray, translation: np.ndarray) -> float:
    """Mean information of the six poses displaced along one axis."""
    steps = [sign * _PROBE_MM * np.eye(3)[axis] for axis in range(3) for sign in (-1, 1)]
    return float(np.mean([_information(*scans, rotation, translation + step) for step in steps]))


def _gain(information: float, beside: float) -> float:
    return (information - 1) / max(beside - 1, 1e-6) - 1


def _information(fixed, fixed_grid, moving, moving_grid, mask, rotation, translation, bins: int = 32) -> float:
    """Normalised mutual information (H(a) + H(b)) / H(a, b) in the mask (Studholme 1999), at about 2 mm."""
    from scipy import ndimage

    step = [max(1, int(round(2.0 / s))) for s in fixed_grid.spacing_mm]
    index = np.stack(np.meshgrid(*[np.arange(0, n, s) for n, s in zip(fixed_grid.shape, step)], indexing="ij"), -1)
    inside = mask[tuple(np.moveaxis(index, -1, 0))]
    index = index[inside]
    points = moving_grid.ras_to_index(fixed_grid.index_to_ras(index) @ rotation.T + translation)
    b = ndimage.map_coordinates(np.asarray(moving, np.float32), points.T, order=1, cval=0.0)
    a = np.asarray(fixed, np.float32)[tuple(index.T)]
    edges = [np.quantile(v, np.linspace(0, 1, bins + 1)[1:-1]) for v in (a, b)]
    joint = np.bincount(
        np.searchsorted(edges[0], a) * bins + np.searchsorted(edges[1], b), minlength=bins * bins
    ).reshape(bins, bins) / max(len(a), 1)

    def entropy(p: np.ndarray) -> float:
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    both = entropy(joint)
    return (entropy(joint.sum(axis=0)) + entropy(joint.sum(axis=1))) / both if both > 0 else 1.0


def _levelled(values: np.ndarray) -> np.ndarray:
    """Clipped at the 99.5th percentile: a few bright voxels (fat, inflow) must not take most histogram bins."""
    values = np.asarray(values, np.float32)
    return np.minimum(values, np.float32(np.percentile(values[values > 0], 99.5)))


def _image(values: np.ndarray, grid: Grid):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.ijk_to_ras
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing([float(v) for v in spacing])
    image.SetDirection([float(v) for v in (matrix[:3, :3] / spacing).ravel()])
    image.SetOrigin([float(v) for v in matrix[:3, 3]])
    return image


def _coarse(image, size_mm: float, interpolator):
    """The image at about ``size_mm``, smoothed to it first unless it is a mask."""
    import SimpleITK as sitk

    spacing = np.array(image.GetSpacing())
    wanted = np.maximum(spacing, size_mm)
    if np.allclose(wanted, spacing):
        return image
    shape = np.maximum(1, np.round(np.array(image.GetSize()) * spacing / wanted)).astype(int)
    step = np.array(image.GetSize()) * spacing / shape
    if interpolator != sitk.sitkNearestNeighbor:
        image = sitk.SmoothingRecursiveGaussian(image, [float(v) for v in 0.4 * np.maximum(step, 0.3 * spacing)])
    direction = np.array(image.GetDirection()).reshape(3, 3)
    origin = np.array(image.GetOrigin()) + direction @ ((step - spacing) / 2)
    return sitk.Resample(
        image,
        [int(n) for n in shape],
        sitk.Transform(),
        interpolator,
        [float(v) for v in origin],
        [float(v) for v in step],
        image.GetDirection(),
        0.0,
        image.GetPixelID(),
    )
