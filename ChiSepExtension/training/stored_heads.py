"""Simulated heads kept on disk, so that networks of several roles and runs share them.

Simulating a head costs ten times what preparing it for one network does.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, silent
from ..volume_io import atomic_path
from .heads import HeadSource, TrainingMaps

#: Maps are stored as float16 in parts per billion: steps of 0.05 % of the value, which is far below the noise.
UNIT_PPM = np.float32(1e-3)

#: Largest magnitude that float16 holds.
_LIMIT = np.float32(65000)

#: Raised when the simulated heads change, so that older files are made again.
VERSION = 4


@dataclass(frozen=True)
class StoredHeads:
    """A head source (`heads.HeadSource`) that simulates each seed once.

    Parameters
    ----------
    source
        Makes the heads that are not there.
    folder
        Where they are kept, 40 to 60 MB per head at 1 mm.
    label
        What tells this source from others; part of the file's identity.
    """

    source: HeadSource
    folder: Path
    label: str = ""

    def path(self, seed: int) -> Path:
        """File of a seed."""
        digest = hashlib.sha256(json.dumps([VERSION, self.label]).encode()).hexdigest()[:10]
        return Path(self.folder) / f"simulated-{seed}-{digest}.npz"

    def __call__(self, seed: int, *, progress: Progress = silent, cancel: CancelToken = NEVER) -> TrainingMaps:
        """The head of a seed, from disk if it is there."""
        path = self.path(seed)
        if not path.is_file():
            _write(path, self.source(seed, progress=progress, cancel=cancel))
        # Read back even when just made: a repeated run sees the same bits.
        return _read(path)


def _write(path: Path, made: TrainingMaps) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    maps = {name: np.clip(values / UNIT_PPM, -_LIMIT, _LIMIT).astype(np.float16) for name, values in made.maps.items()}
    about = np.frombuffer(json.dumps(made.provenance, default=float).encode(), np.uint8)
    with atomic_path(path) as temporary:
        np.savez(temporary, mask=made.mask, matrix=made.grid.ijk_to_ras, about=about, **maps)


def _read(path: Path) -> TrainingMaps:
    with np.load(path, allow_pickle=False) as content:
        maps = {name: content[name] for name in content.files}
    mask, matrix, about = maps.pop("mask"), maps.pop("matrix"), maps.pop("about")
    physical = {name: values.astype(np.float32) * UNIT_PPM for name, values in maps.items()}
    return TrainingMaps(Grid(mask.shape, matrix), mask, physical, json.loads(about.tobytes()))
