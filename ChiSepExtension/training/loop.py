"""The training loop: steps, average, validation, checkpoints. Continued after an interruption it gives the same bits.

Batch n and the rate of step n follow from their number and the seed; with weights, optimizer and average from the
checkpoint nothing else enters. The promise of equal bits holds on one CPU with one number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from ..errors import Cancelled, ChiSepError
from ..networks.card import ModelCard
from ..networks.inference import choose_device
from ..networks.precision import fast_dtype
from ..networks.unet import UNet3d
from ..progress import NEVER, CancelToken, Progress, silent
from .average import Average
from .beginning import Beginning
from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .curves import Log
from .losses import masked_loss
from .pairs import Patches, PreparedHead
from .schedule import Schedule
from .validation import Score, validate

#: See `autocast_dtype`.
SMALLEST_BFLOAT16_PATCH = 48

#: The last layer starts almost silent, so that a correction starts from its base.
_OUTPUT_SPREAD = 0.02


def train(
    card: ModelCard,
    heads: list[PreparedHead],
    held_out: list[PreparedHead],
    folder: Path,
    schedule: Schedule,
    *,
    start_from: Beginning | None = None,
    device: str = "auto",
    resume: bool = True,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> Checkpoint:
    """Train a network to the end of its schedule.

    Parameters
    ----------
    card
        With statistics (`pairs.fill_statistics`).
    folder
        For ``checkpoint.pt``, ``log.csv`` and ``curves.png``.
    start_from
        A trained network to start from, instead of random weights.
    resume
        Go on from the folder's checkpoint if there is one; otherwise start again.

    Returns
    -------
    The last checkpoint; its ``average`` is the network to use.

    Raises
    ------
    Cancelled
        With a checkpoint of the last finished step written.
    InputError
        If the checkpoint belongs to other settings.
    """
    run = _Run(card, heads, held_out, folder, schedule, device, start_from)
    run.start(read_checkpoint(folder, run.identity) if resume else None)
    try:
        run.go(progress, cancel)
    except Cancelled:
        run.save()
        raise Cancelled(
            f"Cancelled after step {run.step} of {schedule.steps}.", f"Run it again with the folder {folder} to go on."
        ) from None
    return run.checkpoint()


class _Run:
    def __init__(
        self,
        card: ModelCard,
        heads: list[PreparedHead],
        held_out: list[PreparedHead],
        folder: Path,
        schedule: Schedule,
        device: str,
        beginning: Beginning | None = None,
    ) -> None:
        self.card, self.held_out, self.folder, self.schedule = card, held_out, folder, schedule
        self.device = choose_device(device)
        self.patches = Patches(heads, card, patch=schedule.patch, batch=schedule.batch, seed=schedule.seed)
        self.identity: dict[str, Any] = {
            **schedule.identity(),
            "card": card.to_json(),
            "heads": [head.seed for head in heads],
        }
        self.beginning = beginning
        if beginning is not None:
            self.identity["start_from"] = beginning.sha256
        self.layout = torch.contiguous_format if self.device.type == "mps" else torch.channels_last_3d
        self.dtype = autocast_dtype(self.device, schedule.patch)
        self.step, self.seconds = 0, 0.0

    def start(self, checkpoint: Checkpoint | None) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.schedule.seed)
            model = UNet3d(self.card.in_channels, self.card.out_channels, self.card.base_width)
            torch.nn.init.normal_(model.out.conv.weight, std=_OUTPUT_SPREAD)
            torch.nn.init.zeros_(model.out.conv.bias)
        if self.beginning is not None:
            model.load_state_dict(self.beginning.state, strict=False)
        if checkpoint is not None:
            model.load_state_dict(checkpoint.model)
        self.model = model.to(self.device, memory_format=self.layout).train()
        settings = {"lr": self.schedule.learning_rate, "weight_decay": self.schedule.weight_decay}
        self.optimizer = torch.optim.AdamW(self.model.parameters(), **settings)
        self.average = Average(self.model)
        self.log = Log(self.folder, [] if checkpoint is None else checkpoint.rows)
        if checkpoint is not None:
            self.optimizer.load_state_dict(checkpoint.optimizer)
            self.average.state = {key: value.to(self.device) for key, value in checkpoint.average.items()}
            self.step, self.seconds = checkpoint.step, checkpoint.seconds

    def go(self, progress: Progress, cancel: CancelToken) -> None:
        steps = self.schedule.steps
        started = saved = time.monotonic()
        before = self.seconds
        if self.owes_score():
            self.log.add_score(self.step, self.seconds, self.score(cancel))
            self.save()
        with _Ahead(self.patches, self.step, steps) as batches:
            for inputs, targets, masks in batches:
                cancel.check()
                loss = self.one_step(inputs, targets, masks)
                self.seconds = before + time.monotonic() - started
                self.log.add_loss(self.step, loss)
                progress(self.step / steps, f"Step {self.step} of {steps}, loss {loss:.3f}")
                if self.owes_score():
                    self.log.add_score(self.step, self.seconds, self.score(cancel))
                    self.save()
                    saved = time.monotonic()
                elif time.monotonic() - saved > self.schedule.checkpoint_every_s:
                    self.save()
                    saved = time.monotonic()

    def one_step(self, inputs: torch.Tensor, targets: torch.Tensor, masks: torch.Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        inputs = inputs.to(self.device).contiguous(memory_format=self.layout)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None):
            prediction = self.model(inputs)
        loss = masked_loss(prediction, targets.to(self.device), masks.to(self.device))
        loss.backward()
        length = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.clip_norm)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(length))):
            raise ChiSepError(
                f"The loss of step {self.step + 1}, or its gradient, is not a number.",
                "Look at the training heads; the last checkpoint is as it was.",
            )
        self.optimizer.step()
        self.step += 1
        self.average.update(self.model, self.step)
        return value

    def owes_score(self) -> bool:
        """True at the steps of validation, until it is done: a run may have been stopped in the middle of one."""
        due = self.step == self.schedule.steps or (self.step > 0 and self.step % self.schedule.validate_every == 0)
        return due and self.log.last_score().get("step") != self.step

    def score(self, cancel: CancelToken) -> Score:
        return validate(self.card, self.average.state, self.held_out, str(self.device), cancel)

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            self.step,
            self.model.state_dict(),
            self.average.state,
            self.optimizer.state_dict(),
            self.identity,
            self.log.rows,
            self.seconds,
        )

    def save(self) -> None:
        write_checkpoint(self.folder, self.checkpoint())
        self.log.write()


class _Ahead:
    """Batches in their order, the next one made by a thread while a step runs."""

    def __init__(self, patches: Patches, start: int, stop: int) -> None:
        self.patches, self.start, self.stop = patches, start, stop

    def __enter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        self.pool = ThreadPoolExecutor(1)
        return self._batches()

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def _batches(self) -> Iterator[tuple[torch.Tensor, ...]]:
        if self.start >= self.stop:
            return
        waiting = self.pool.submit(self.patches.batch, self.start)
        for number in range(self.start, self.stop):
            ready = waiting.result()
            if number + 1 < self.stop:
                waiting = self.pool.submit(self.patches.batch, number + 1)
            yield tuple(torch.from_numpy(part) for part in ready)


def autocast_dtype(device: torch.device, patch: int) -> torch.dtype | None:
    """bfloat16 where the device computes it fast and right, else None; unlike float16 it needs no scaling of the loss.

    On CPUs, the bfloat16 gradient of a 3×3×3 convolution over 2×2×2 voxels takes in memory that nobody wrote (torch
    2.13: other numbers, or NaN, at each call). Patches of 16 and 32 have such a level; those of 48, 64, 80 and 96 gave
    the same bits each time.
    """
    if device.type == "cpu" and patch < SMALLEST_BFLOAT16_PATCH:
        return None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    return torch.bfloat16 if fast_dtype(device) == torch.bfloat16 else None
