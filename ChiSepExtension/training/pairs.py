"""Prepared heads on disk, and patches drawn from them.

A prepared head is one array (map, a, b, c) in the networks' axis order: the card's inputs as inference makes them, the
target, the base of a correction, the mask. Files are mapped into memory, so that any number of heads costs none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..networks.card import Base, ModelCard
from ..networks.orientation import to_network
from ..progress import NEVER, CancelToken, Progress, part, silent
from ..separation.channels import Channels
from ..volume_io import atomic_path, write_text
from .cards import Statistics, with_statistics
from .heads import HeadSource, TrainingMaps

#: Maps are stored as float16 in parts per billion: steps of 0.05 % of the value, which is far below the noise.
_UNIT_PPM = np.float32(1e-3)

#: Standard deviation of the logarithm of the common factor of all maps of a patch.
SCALE_SPREAD = 0.12

#: A patch holds at least this share of brain, if one of so many places does.
_SMALLEST_SHARE = 0.1
_TRIES = 12

#: Raised when the content of prepared heads changes, so that older files are made again.
_VERSION = 3

#: The strong conventional bar: total variation and R2' without its noise.
BAR = Base("total_variation", {}, r2prime_smoothing_voxels=0.5)


@dataclass(frozen=True, eq=False)
class PreparedHead:
    """Maps of one head in ppm, (map, a, b, c): inputs, targets, base and bar (χpara, χdia or one map), then the mask.

    ``target`` is the truth minus the base where the card corrects one.
    """

    seed: int
    values: np.ndarray
    names: tuple[str, ...]
    provenance: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.values.shape[1:]

    @property
    def mask(self) -> np.ndarray:
        return np.asarray(self.values[-1] > 0)

    def scored(self, box: tuple[slice, ...] = ()) -> np.ndarray:
        """bool (a, b, c): the part of the mask whose truth is known and counts."""
        inside = self.values[(-1, *box)] > 0
        known = self.maps("scored", box)
        return inside & (known[0] > 0) if len(known) else np.asarray(inside)

    def maps(self, kind: str, box: tuple[slice, ...] = ()) -> np.ndarray:
        """(n, a, b, c) float32 in ppm of one kind: "input", "truth", "base", "bar" or "scored"."""
        chosen = [n for n, name in enumerate(self.names) if name.startswith(kind + ":")]
        if not chosen:
            return np.zeros((0, *np.empty(self.shape, bool)[box].shape), np.float32)
        return self.values[(slice(chosen[0], chosen[-1] + 1), *box)].astype(np.float32) * _UNIT_PPM

    def target(self, box: tuple[slice, ...] = ()) -> np.ndarray:
        truth, base = self.maps("truth", box), self.maps("base", box)
        return truth - base if len(base) else truth


def prepare_head(
    seed: int,
    source: HeadSource,
    card: ModelCard,
    folder: Path,
    *,
    bar: bool = False,
    label: str = "",
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> PreparedHead:
    """A prepared head from disk, or made and written there.

    Parameters
    ----------
    source
        See `heads`.
    bar
        Add the conventional method that the network is compared with.
    label
        What tells this source from others (voxel size, folder of label maps); part of the file's identity.
    """
    content = {
        "version": _VERSION,
        "label": label,
        "inputs": [(c.quantity, c.parameters) for c in card.inputs],
        "base": None if card.base is None else asdict(card.base),
        "role": card.role,
        "bar": bar,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    path = folder / f"head-{seed}-{digest}.npy"
    described = path.with_suffix(".json")
    if not (described.is_file() and path.is_file()):
        made = source(seed, progress=part(progress, 0.0, 0.7), cancel=cancel)
        progress(0.7, "Input maps of the network")
        values, names = _stack(made, card, bar, cancel)
        with atomic_path(path) as temporary:
            np.save(temporary, values)
        write_text(described, json.dumps({"names": names, "provenance": made.provenance}, indent=1) + "\n")
    about = json.loads(described.read_text(encoding="utf-8"))
    progress(1.0, "Training head")
    return PreparedHead(seed, np.load(path, mmap_mode="r"), tuple(about["names"]), about["provenance"])


def _stack(made: TrainingMaps, card: ModelCard, bar: bool, cancel: CancelToken) -> tuple[np.ndarray, list[str]]:
    channels = Channels(made.mask, made.grid, made.maps, cancel=cancel)
    maps = {f"input:{c.quantity}": channels.map(c.quantity, c.parameters) for c in card.inputs}
    for name, truth in zip((c.quantity for c in card.outputs), truth_maps(made, card.role)):
        maps[f"truth:{name}"] = truth
    if card.base is not None:
        para, dia = channels.closed_form(card.base, made.maps["r2prime"])
        maps |= {"base:chi_para": para, "base:chi_dia": dia}
    if bar:
        maps |= _bar(channels, card.role)
    if "scored" in made.maps:
        # In steps of ppb like all maps: 1 is far above the half that decides.
        maps["scored:mask"] = (made.maps["scored"] > 0.5).astype(np.float32)
    stack = [np.where(made.mask, values, 0) / _UNIT_PPM for values in maps.values()]
    stack.append(made.mask.astype(np.float32))
    return to_network(np.stack(stack).astype(np.float16)), [*maps, "mask"]


def truth_maps(made: TrainingMaps, role: str) -> list[np.ndarray]:
    """Truth of a role's outputs, ppm, (z, y, x)."""
    if role == "separation":
        return [made.maps["chi_para"], made.maps["chi_dia"]]
    if role == "qsm":
        return [made.maps["chi_para"] - made.maps["chi_dia"]]
    return [made.maps["true_r2prime"]]


def _bar(channels: Channels, role: str) -> dict[str, np.ndarray]:
    if role == "separation":
        para, dia = channels.closed_form(BAR, channels.maps["r2prime"])
        return {"bar:chi_para": np.maximum(para, 0), "bar:chi_dia": np.maximum(dia, 0)}
    if role == "qsm":
        return {"bar:chi_total": channels.map("total_variation", {})}
    # One R2 for every voxel; the score is blind to which.
    return {"bar:r2prime": channels.maps["r2star"]}


def fill_statistics(card: ModelCard, heads: list[PreparedHead]) -> ModelCard:
    """The card with mean and standard deviation over all voxels in the masks of ``heads``."""
    sums: dict[str, list[np.ndarray]] = {"input": [], "output": []}
    for head in heads:
        for kind, maps in (("input", head.maps("input")), ("output", head.target())):
            inside = maps[:, head.scored()].astype(np.float64)
            sums[kind].append(np.stack([np.full(len(inside), inside.shape[1]), inside.sum(1), (inside**2).sum(1)]))
    found = {}
    for kind, parts in sums.items():
        count, total, square = np.sum(parts, axis=0)
        mean = total / count
        std = np.sqrt(np.maximum(square / count - mean**2, 1e-12))
        found[kind] = [Statistics(float(m), float(s)) for m, s in zip(mean, std)]
    return with_statistics(card, found["input"], found["output"])


def normalised(maps: np.ndarray, channels: tuple, mask: np.ndarray) -> np.ndarray:
    """(n, a, b, c) maps in ppm by the card's statistics, 0 outside the mask (`Channels.channel`, for many maps)."""
    mean, std = (np.array([getattr(c, key) for c in channels], np.float32) for key in ("mean", "std"))
    return np.where(mask, (maps - mean[:, None, None, None]) / std[:, None, None, None], np.float32(0))


class Patches:
    """Batches of augmented patches: batch n is a function of the seed and n alone.

    Parameters
    ----------
    patch
        Side in voxels, a multiple of 16.
    augment
        Flips of all axes, exchange of the two axes across B0 (the third), and a common factor on all maps. The model
        is linear and even in B0, so that all of them give valid pairs.
    """

    def __init__(
        self, heads: list[PreparedHead], card: ModelCard, *, patch: int, batch: int, seed: int, augment: bool = True
    ) -> None:
        self.heads, self.card = heads, card
        self.patch, self.size, self.seed, self.augment = patch, batch, seed, augment

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs (batch, c, p, p, p), targets (batch, o, p, p, p), masks (batch, 1, p, p, p), float32."""
        generator = np.random.default_rng([self.seed, 51, number])
        patches = [self._patch(generator) for _ in range(self.size)]
        return tuple(np.stack(parts) for parts in zip(*patches))

    def _patch(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        head = self.heads[generator.integers(len(self.heads))]
        for _ in range(_TRIES):
            box = tuple(
                slice(start, start + self.patch)
                for start in (int(generator.integers(max(0, n - self.patch) + 1)) for n in head.shape)
            )
            mask = head.values[(-1, *box)] > 0
            if mask.mean() >= _SMALLEST_SHARE:
                break
        factor = np.float32(np.exp(generator.normal(0, SCALE_SPREAD)) if self.augment else 1)
        maps = (
            normalised(head.maps("input", box) * factor, self.card.inputs, mask),
            normalised(head.target(box) * factor, self.card.outputs, mask),
            head.scored(box)[None].astype(np.float32),
        )
        maps = tuple(_padded(values, self.patch) for values in maps)
        if not self.augment:
            return maps
        flips = [axis + 1 for axis in range(3) if generator.random() < 0.5]
        swap = generator.random() < 0.5
        maps = tuple(np.flip(np.swapaxes(values, 1, 2) if swap else values, flips) for values in maps)
        return tuple(np.ascontiguousarray(values) for values in maps)


def _padded(values: np.ndarray, side: int) -> np.ndarray:
    """Zeros at the end of the axes that are shorter than the patch."""
    missing = [(0, side - n) for n in values.shape[1:]]
    return np.pad(values, [(0, 0), *missing]) if any(after for _, after in missing) else values
