"""Blobs, tiny networks and short runs that the tests of training share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from scipy.ndimage import gaussian_filter  # noqa: E402

from ChiSepExtension.dipole import dipole_field  # noqa: E402
from ChiSepExtension.errors import Cancelled  # noqa: E402
from ChiSepExtension.geometry import Grid  # noqa: E402
from ChiSepExtension.networks.inference import choose_device  # noqa: E402
from ChiSepExtension.progress import NEVER, CancelToken  # noqa: E402
from ChiSepExtension.training import heads  # noqa: E402
from ChiSepExtension.training.cards import template  # noqa: E402
from ChiSepExtension.training.export import export_bundle  # noqa: E402
from ChiSepExtension.training.loop import train  # noqa: E402
from ChiSepExtension.training.pairs import fill_statistics, prepare_head  # noqa: E402
from ChiSepExtension.training.schedule import Schedule  # noqa: E402

DR = 120.0
SHAPE = (30, 36, 34)
WIDTH, PATCH = 4, 16


def blob_head(seed, *, progress=None, cancel=NEVER):
    """Smooth sources in an ellipsoid, through the same step to the networks' grid as a simulated head."""
    cancel.check()
    grid = Grid.from_spacing(SHAPE)
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in SHAPE)]
    mask = sum(a**2 for a in axes) < 0.8
    generator = np.random.default_rng(seed)
    para, dia = (0.02 * np.abs(gaussian_filter(generator.normal(size=SHAPE), 1.5) * 6) * mask for _ in range(2))
    rate = para + dia
    maps = {
        "local_field": dipole_field((para - dia).astype(np.float32), grid),
        "r2star": rate + 0.11,
        "r2prime": rate + 0.001 * generator.normal(size=SHAPE),
        "chi_para": para,
        "chi_dia": dia,
        "true_r2prime": rate,
    }
    return heads.on_working_grid({k: v.astype(np.float32) for k, v in maps.items()}, mask, grid, 1.0)


def make_case(folder):
    """Card with statistics, two training heads, one held-out head."""
    card = template("sepnet", WIDTH)
    training = [prepare_head(seed, blob_head, card, folder) for seed in (1, 2)]
    held_out = [prepare_head(3, blob_head, card, folder, bar=True)]
    return fill_statistics(card, training), training, held_out


def run(case, folder, steps, **options):
    card, training, held_out = case
    schedule = Schedule(steps, patch=PATCH, batch=2, seed=5, validate_every=3, learning_rate=0.01)
    return train(card, training, held_out, folder, schedule, device="cpu", **options)


def run_until(case, folder, stop, steps):
    """A run that the user cancels while step ``stop`` is reported: before its validation, if it has one."""
    cancel = CancelToken()

    def progress(fraction, message):
        if message.startswith(f"Step {stop} "):
            cancel.cancel()

    with pytest.raises(Cancelled, match=f"after step {stop}"):
        run(case, folder, steps, progress=progress, cancel=cancel)


def save_network(folder: Path, case, checkpoint=None):
    card, training, held_out = case
    if checkpoint is None:
        checkpoint = run(case, folder / "run", 1)
    schedule = Schedule(1, patch=PATCH, batch=2)
    options = {"data": "Blobs.", "spacing_mm": 1.0, "device": choose_device("cpu")}
    return export_bundle(folder, card, checkpoint, schedule, training, held_out, **options)
