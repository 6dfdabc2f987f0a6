"""Training volumes: what preprocessing would hand to a network for a simulated head, and the truth beside it.

What varies from head to head is drawn by its seed: anatomy, lesions, tissue values, Dr, noise, error of R2, residual
background, mask and tilt. Ranges follow the phantom's sources where they have one and are design choices elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from ..dipole import dipole_field
from ..errors import InputError
from ..geometry import Grid
from ..networks.orientation import TrainedGrid, trained_grid
from ..phantom.head import Head, default_grid, make_head
from ..phantom.scanner import head_fields, shim, simulate_r2_map
from ..phantom.tissues import Label
from ..preprocessing.background import remove_background
from ..preprocessing.r2prime import measured
from ..progress import NEVER, CancelToken, Progress, part, silent

#: Training heads of run seed s are FIRST_TRAINING_SEED + s·HEADS_PER_RUN + n; held-out heads lie above all of them,
#: and demos, tests and benchmarks, whose seeds people choose, below.
FIRST_TRAINING_SEED = 100_000
FIRST_HELD_OUT_SEED = 10_000_000
HEADS_PER_RUN = 1000
LARGEST_RUN_SEED = (FIRST_HELD_OUT_SEED - FIRST_TRAINING_SEED) // HEADS_PER_RUN - 1

#: Noise of phase grows as magnitude decays; the echo whose decay stands for all of a train of 5 to 29 ms.
_NOISE_ECHO_S = 0.02

#: Share of heads whose field goes through the pipeline's own background removal; the others stand for local fields
#: made elsewhere.
_REMOVED_SHARE = 0.7

#: First echo of the same train, and the signal below which a voxel is bone or air to a mask; water has 1.
_FIRST_ECHO_S = 0.005
_DARK = 0.25

#: What lies between the folds of the brain and is no brain: a mask closed over so many mm holds it.
_SOFT_LABELS = (Label.CSF, Label.VEIN, Label.DURA, Label.BRAIN_STEM, Label.CHOROID_PLEXUS)
_HULL_MM = 8.0

#: Width of the blur that makes the wandering of a mask's edge.
_ROUGHNESS_MM = 6.0

#: Voxels kept around the mask.
_MARGIN = 8

#: The last n-th part of the label maps is held out: of 18 the last 4.
_HELD_OUT_SHARE = 4

#: Of the training heads from label maps every n-th is procedural instead.
_PROCEDURAL_EVERY = 9


@dataclass(frozen=True)
class Recipe:
    """Everything that makes one training volume. Relaxivities in Hz/ppm, angles in degrees, noise as named.

    ``stated_dr`` is the one constant that a user would divide R2' by: the mean of both true ones, up to 5 % off.
    ``background`` is "removed" (field of the whole head through V-SHARP) or "residual" (own field, plus a harmonic
    field of sources beyond the mask). The mask's edge lies ``mask_depth_mm`` inside the brain's, negative outside,
    and wanders by ``mask_roughness_mm``.
    """

    seed: int
    spacing_mm: float
    shape: tuple[int, int, int] | None
    dr_para: float
    dr_dia: float
    stated_dr: float
    lesions: int
    texture: float
    value_spread: float
    partial_volume: float
    tilt_deg: tuple[float, float, float]
    field_noise_ppb: float
    r2star_noise_hz: float
    r2_noise_hz: float
    r2_bias: float
    background: str
    residual_ppb: float
    mask_depth_mm: float
    mask_roughness_mm: float


@dataclass(frozen=True, eq=False)
class TrainingMaps:
    """Maps of one head on the networks' working grid (z, y, x), x to the right, y to the front, z up.

    Parameters
    ----------
    maps
        ``local_field``, ``r2star``, ``r2prime`` as measured, and the truth ``chi_para``, ``chi_dia``,
        ``true_r2prime``: ppm, relaxation rates divided by the stated Dr. ``scored``, where there is one: 1 where the
        truth counts.
    """

    grid: Grid
    mask: np.ndarray
    maps: dict[str, np.ndarray]
    provenance: dict[str, Any]


#: Makes the volume of a seed: ``source(seed, progress=…, cancel=…)``.
HeadSource = Callable[..., TrainingMaps]


def split_seeds(run_seed: int, heads: int, held_out: int) -> tuple[list[int], list[int]]:
    """Seeds of the training heads of a run, and of the held-out ones, which are the same for every run.

    Raises
    ------
    InputError
        If a number is out of range; ranges never overlap.
    """
    if not 0 <= run_seed <= LARGEST_RUN_SEED:
        raise InputError(f"The seed {run_seed} is not between 0 and {LARGEST_RUN_SEED}.", "Choose another.")
    if not 1 <= heads <= HEADS_PER_RUN or held_out < 1:
        raise InputError(
            f"{heads} training and {held_out} held-out heads.", f"Use 1 to {HEADS_PER_RUN}, and 1 or more."
        )
    first = FIRST_TRAINING_SEED + run_seed * HEADS_PER_RUN
    return list(range(first, first + heads)), list(range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + held_out))


def draw_recipe(seed: int, spacing_mm: float = 1.0, shape: tuple[int, int, int] | None = None) -> Recipe:
    """The recipe of a seed: same seed, same volume."""
    generator = np.random.default_rng([seed, 41])
    mean_dr = generator.uniform(100, 160)  # literature: 114 to 137 at 3 T
    asymmetry = generator.uniform(-0.1, 0.1)  # Dr_para / Dr_dia from 0.82 to 1.22
    tilted = generator.random() < 0.3
    angles = generator.uniform(-12, 12, 3) if tilted else np.zeros(3)
    return Recipe(
        seed=seed,
        spacing_mm=float(spacing_mm),
        shape=shape,
        dr_para=mean_dr * (1 + asymmetry),
        dr_dia=mean_dr * (1 - asymmetry),
        stated_dr=mean_dr * generator.uniform(0.95, 1.05),
        lesions=int(generator.integers(0, 31)),
        texture=generator.uniform(0.04, 0.12),
        value_spread=0.15,
        partial_volume=generator.uniform(0.35, 0.6),
        tilt_deg=tuple(float(a) for a in angles),
        field_noise_ppb=generator.uniform(0.4, 2.5),
        r2star_noise_hz=generator.uniform(0.3, 2.0),
        r2_noise_hz=generator.uniform(0.3, 1.5),
        r2_bias=generator.uniform(-0.08, 0.08),
        background="removed" if generator.random() < _REMOVED_SHARE else "residual",
        residual_ppb=generator.uniform(0.3, 2.0),
        mask_depth_mm=generator.uniform(-0.5, 4.0),
        mask_roughness_mm=generator.uniform(0.0, 1.0),
    )


def procedural_heads(spacing_mm: float = 1.0, shape: tuple[int, int, int] | None = None) -> HeadSource:
    """Heads that need no file. ``shape`` cuts the grid down, for tests."""

    def source(seed: int, *, progress: Progress = silent, cancel: CancelToken = NEVER) -> TrainingMaps:
        return simulate(draw_recipe(seed, spacing_mm, shape), progress=progress, cancel=cancel)

    return source


def label_map_heads(folder: str | Path, spacing_mm: float = 1.0) -> HeadSource:
    """Heads from a folder of whole-head label maps; the last quarter by name serves held-out seeds only.

    Every ninth training head is procedural, so that a network does not learn one way of drawing anatomy. The others
    are turned, scaled, warped and flipped by their seed; held-out ones are taken as they are.

    Raises
    ------
    InputError
        If the folder holds fewer than two label maps.
    """
    files = _label_maps(folder)
    if len(files) < 2:
        raise InputError(f"{folder} holds {len(files)} label maps (*.nii.gz).", "Training and validation need two.")
    held = held_out_label_maps(folder)
    others = procedural_heads(spacing_mm)

    def source(seed: int, *, progress: Progress = silent, cancel: CancelToken = NEVER) -> TrainingMaps:
        from ..phantom.label_maps import LabelMapAnatomy

        if seed < FIRST_HELD_OUT_SEED and seed % _PROCEDURAL_EVERY == 0:
            return others(seed, progress=progress, cancel=cancel)
        if seed >= FIRST_HELD_OUT_SEED:
            path, options = held[(seed - FIRST_HELD_OUT_SEED) % len(held)], {}
        else:
            flip = bool(np.random.default_rng([seed, 42]).random() < 0.5)
            path = files[seed % (len(files) - len(held))]
            options = {"rotation_deg": 10.0, "scale": 0.08, "warp_mm": 4.0, "flip": flip}
        anatomy = LabelMapAnatomy.read(path, seed=seed, **options)
        made = simulate(draw_recipe(seed, spacing_mm), anatomy, progress=progress, cancel=cancel)
        made.provenance["label_map"] = path.name
        return made

    return source


def held_out_label_maps(folder: str | Path) -> list[Path]:
    """The label maps of a folder that no network is trained on: the last quarter by name, at least one."""
    files = _label_maps(folder)
    return files[len(files) - max(1, len(files) // _HELD_OUT_SHARE) :]


def label_map_names(folder: str | Path) -> str:
    """Names of the label maps of a folder: heads prepared from others are not to be mixed up with them."""
    return " ".join(path.name for path in _label_maps(folder))


def simulate(
    recipe: Recipe, anatomy: Any = None, *, progress: Progress = silent, cancel: CancelToken = NEVER
) -> TrainingMaps:
    """Make the volume of a recipe; ``anatomy`` instead of the procedural one."""
    head = make_head(
        default_grid(recipe.shape, recipe.spacing_mm, _rotation(recipe.tilt_deg)),
        anatomy=anatomy,
        seed=recipe.seed,
        lesions=recipe.lesions,
        dr_para=recipe.dr_para,
        dr_dia=recipe.dr_dia,
        texture=recipe.texture,
        value_spread=recipe.value_spread,
        partial_volume=recipe.partial_volume,
        progress=part(progress, 0.0, 0.6),
        cancel=cancel,
    )
    generator = np.random.default_rng([recipe.seed, 43])
    progress(0.6, "Field and relaxation")
    noise = _noise_profile(head)
    field_ppm, mask = _local_field(recipe, head, noise, generator, cancel)
    cancel.check()
    white = generator.standard_normal(noise.shape, dtype=np.float32)
    r2star_hz = np.maximum(head.r2star_hz + np.float32(recipe.r2star_noise_hz) * noise * white, 0)
    r2_hz = simulate_r2_map(head, noise_hz=recipe.r2_noise_hz, bias=recipe.r2_bias, seed=recipe.seed)
    dr = np.float32(recipe.stated_dr)
    maps = {
        "local_field": field_ppm,
        "r2star": r2star_hz / dr,
        "r2prime": measured(r2star_hz, r2_hz, mask).r2prime_hz / dr,
        "chi_para": head.chi_para,
        "chi_dia": head.chi_dia,
        "true_r2prime": head.r2prime_hz / dr,
        # Sinuses and fluid within the mask make field, but no truth is known of their two sources.
        "scored": head.brain_mask.astype(np.float32),
    }
    progress(0.9, "Grid of the networks")
    made = on_working_grid(maps, mask, head.grid, recipe.spacing_mm)
    made.provenance.update(asdict(recipe))
    progress(1.0, "Training head")
    return made


def on_working_grid(maps: dict[str, np.ndarray], mask: np.ndarray, grid: Grid, spacing_mm: float) -> TrainingMaps:
    """Maps the way inference sees them: masked, turned or resampled, and cut to the brain with a margin."""
    way: TrainedGrid = trained_grid(grid, mask, spacing_mm)
    inside = way.working_mask
    boxes = ndimage.find_objects(inside.astype(np.uint8))
    if not boxes:
        raise InputError("The mask of a training head is empty.", "Choose a larger grid.")
    box = tuple(slice(max(0, s.start - _MARGIN), min(n, s.stop + _MARGIN)) for s, n in zip(boxes[0], inside.shape))
    matrix = way.working.ijk_to_ras.copy()
    matrix[:3, 3] = way.working.index_to_ras(np.array([s.start for s in box], float))
    cut = Grid(inside[box].shape, matrix)
    inside = np.ascontiguousarray(inside[box])
    made = {}
    for name, values in maps.items():
        masked = np.where(way.mask, values, np.float32(0)).astype(np.float32)
        made[name] = np.where(inside, way.to_working(masked)[box], np.float32(0))
    return TrainingMaps(cut, inside, made, {"geometry": way.describe()})


def _label_maps(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).glob("*.nii.gz"))


def _local_field(
    recipe: Recipe, head: Head, noise: np.ndarray, generator: np.random.Generator, cancel: CancelToken
) -> tuple[np.ndarray, np.ndarray]:
    white = generator.standard_normal(noise.shape, dtype=np.float32)
    error = np.float32(recipe.field_noise_ppb * 1e-3) * noise * white
    mask = _imperfect_mask(recipe, head, generator)
    if recipe.background == "removed":
        whole, _ = head_fields(head, cancel=cancel)
        total = whole - shim(whole, head.brain_mask, head.grid, 2) + error
        # As the pipeline does it: what is left at low spatial frequencies differs much without deconvolution.
        local = remove_background(total, mask, head.grid, method="vsharp", deconvolve=False, cancel=cancel)
        return local.field_ppm, local.mask
    own = np.where(head.brain_mask, head.chi_para - head.chi_dia, np.float32(0))
    cancel.check()
    field_ppm = dipole_field(own, head.grid) + error
    field_ppm += _residual(mask, head.grid, generator) * np.float32(recipe.residual_ppb * 1e-3)
    return np.where(mask, field_ppm, 0).astype(np.float32), mask


def _imperfect_mask(recipe: Recipe, head: Head, generator: np.random.Generator) -> np.ndarray:
    """What a mask made from magnitudes may look like: too small or too large by a wandering depth, with the fluid and
    the sinuses between the folds and hemispheres in it, without bone and scalp.
    """
    spacing = head.grid.spacing_mm
    reach = [_HULL_MM / d for d in spacing]
    near = ndimage.distance_transform_edt(~head.brain_mask, sampling=spacing) <= _HULL_MM
    padded = np.pad(near, [(int(r) + 2,) * 2 for r in reach])
    hull = ndimage.distance_transform_edt(padded, sampling=spacing) > _HULL_MM
    hull = hull[tuple(slice(int(r) + 2, int(r) + 2 + n) for r, n in zip(reach, near.shape))]
    hull = (hull & np.isin(head.labels, _SOFT_LABELS)) | head.brain_mask
    depth = ndimage.distance_transform_edt(hull, sampling=spacing)
    depth -= ndimage.distance_transform_edt(~hull, sampling=spacing)
    sigma = [_ROUGHNESS_MM / d for d in spacing]
    wander = ndimage.gaussian_filter(generator.standard_normal(depth.shape, dtype=np.float32), sigma)
    wander *= np.float32(recipe.mask_roughness_mm / wander.std())
    bright = head.proton_density * np.exp(-np.float32(_FIRST_ECHO_S) * head.r2star_hz) > _DARK
    mask = (depth - wander > recipe.mask_depth_mm) & bright & (head.brain_mask | np.isin(head.labels, _SOFT_LABELS))
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    if len(sizes) < 2:
        return head.brain_mask
    return ndimage.binary_fill_holes(parts == 1 + int(np.argmax(sizes[1:])))


def _residual(mask: np.ndarray, grid: Grid, generator: np.random.Generator) -> np.ndarray:
    """Field of smooth random sources beyond the mask, SD 1 and mean 0 in it: harmonic inside, strongest at the rim."""
    sources = generator.standard_normal(mask.shape, dtype=np.float32)
    sigma = [6.0 / d for d in grid.spacing_mm]
    sources = np.where(mask, 0, ndimage.gaussian_filter(sources, sigma)).astype(np.float32)
    field_ppm = dipole_field(sources, grid, tuple(n // 2 for n in mask.shape))
    spread = float(field_ppm[mask].std())
    return (field_ppm - field_ppm[mask].mean()) / np.float32(spread if spread > 0 else 1.0)


def _noise_profile(head: Head) -> np.ndarray:
    """Relative noise of field and R2*, 1 at the brain's median: what has decayed is noisier."""
    profile = np.exp(np.float32(_NOISE_ECHO_S) * np.minimum(head.r2star_hz, 100.0))
    return np.clip(profile / np.median(profile[head.brain_mask]), 0.5, 4.0).astype(np.float32)


def _rotation(angles_deg: tuple[float, float, float]) -> np.ndarray | None:
    if not any(angles_deg):
        return None
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(angles_deg)):
        turn = np.eye(3)
        a, b = [n for n in range(3) if n != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix
