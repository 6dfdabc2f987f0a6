"""Training on maps and labels of one's own: a folder per head, files named as the truth of ``chisep simulate``.

``local_field`` (ppm), ``r2star`` and ``r2prime`` (s⁻¹), ``brain_mask``, and the labels ``chi_para`` and ``chi_dia``
(ppm, both positive), each as ``.nii.gz`` on one grid. ``r2star`` is needed for R2PRIMEnet alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..geometry import Grid, turned_onto
from ..progress import NEVER, CancelToken, Progress, silent
from ..volume_io import read_volume
from .heads import FIRST_HELD_OUT_SEED, TrainingMaps, on_working_grid

_FIELD, _MASK = "local_field", "brain_mask"
_PPM = (_FIELD, "chi_para", "chi_dia")
_RATES = ("r2star", "r2prime")


@dataclass(frozen=True)
class OwnHeads:
    """A head source (`heads.HeadSource`) over folders; the last quarter by name, at least one, is held out.

    Parameters
    ----------
    folders
        In the order of their names.
    dr_hz_per_ppm
        Relaxivity that R2* and R2' are divided by.
    spacing_mm
        Voxel size that the maps are brought to.

    Raises
    ------
    InputError
        On construction, if there are fewer than two; on reading, if a file is missing or on another grid.
    """

    folders: tuple[Path, ...]
    dr_hz_per_ppm: float = 137.0
    spacing_mm: float = 1.0

    def __post_init__(self) -> None:
        if len(self.folders) < 2:
            raise InputError(
                f"{len(self.folders)} folders with {_FIELD}.nii.gz were found.",
                "Training and validation need one each; give a folder that holds one folder per head.",
            )

    @classmethod
    def find(cls, folder: str | Path, *, dr_hz_per_ppm: float = 137.0, spacing_mm: float = 1.0) -> OwnHeads:
        """All folders below ``folder`` that hold a local field."""
        found = sorted({path.parent for path in Path(folder).rglob(f"{_FIELD}.nii.gz")})
        return cls(tuple(found), dr_hz_per_ppm, spacing_mm)

    @property
    def held_out(self) -> int:
        return max(1, len(self.folders) // 4)

    @property
    def training(self) -> int:
        return len(self.folders) - self.held_out

    @property
    def label(self) -> str:
        """Changes when a file does, so that heads prepared before are not taken for it."""
        text = f"{self.dr_hz_per_ppm} {self.spacing_mm}"
        for folder in self.folders:
            for path in sorted(folder.glob("*.nii.gz")):
                about = path.stat()
                text += f"\n{path.resolve()} {about.st_size} {about.st_mtime_ns}"
        return hashlib.sha256(text.encode()).hexdigest()

    def __call__(self, seed: int, *, progress: Progress = silent, cancel: CancelToken = NEVER) -> TrainingMaps:
        """Head of a seed: training seeds run through the first folders, held-out ones through the last."""
        if seed >= FIRST_HELD_OUT_SEED:
            folder = self.folders[self.training + (seed - FIRST_HELD_OUT_SEED) % self.held_out]
        else:
            folder = self.folders[seed % self.training]
        cancel.check()
        progress(0.0, f"Reading {folder.name}")
        mask, grid = read_volume(folder / f"{_MASK}.nii.gz")
        inside = mask != 0
        names = [name for name in (*_PPM, *_RATES) if name != "r2star" or (folder / "r2star.nii.gz").is_file()]
        maps = {name: _read(folder / f"{name}.nii.gz", inside, grid) for name in names}
        for name in set(names) & set(_RATES):
            maps[name] /= np.float32(self.dr_hz_per_ppm)
        maps["true_r2prime"] = maps["r2prime"]
        made = on_working_grid(maps, inside, grid, self.spacing_mm)
        made.provenance["head"] = folder.name
        progress(1.0, "Maps read")
        return made


def _read(path: Path, mask: np.ndarray, grid: Grid) -> np.ndarray:
    values, own = read_volume(path)
    turned = turned_onto(values.astype(np.float32), own, grid) if values.ndim == 3 else None
    if turned is None:
        raise InputError(f"{path} is not on the grid of {_MASK}.nii.gz.", "Resample the maps of a head to one grid.")
    if not np.isfinite(turned[mask]).all():
        raise InputError(f"{path} holds values in the mask that are not numbers.", "Set them to 0, or mend the map.")
    return turned
