"""How a run goes: everything that a checkpoint must agree on to be continued, and the learning rate of each step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError
from ..networks.layout import MULTIPLE

#: Steps in which the learning rate rises from 0, share of the run in which it falls at the end, and to what.
WARM_UP = 50
DECAY_SHARE = 0.15
FINAL_RATE = 0.02


@dataclass(frozen=True)
class Schedule:
    """Settings of a run; AdamW with rate 2e-3 and decay 1e-4 as measured for widths 8 and 16.

    ``validate_every`` steps the average is scored on the held-out heads and a checkpoint is written.
    """

    steps: int
    patch: int = 64
    batch: int = 2
    seed: int = 0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    validate_every: int = 500
    checkpoint_every_s: float = 300.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.validate_every < 1:
            raise InputError("Steps, batch and validation interval must be 1 or more.", "Choose larger numbers.")
        if self.patch < MULTIPLE or self.patch % MULTIPLE:
            raise InputError(
                f"A patch of {self.patch} voxels is not a multiple of {MULTIPLE}.", "Use 32, 48, 64 or 96."
            )
        if self.batch * (self.patch // MULTIPLE) ** 3 < 2:
            raise InputError(
                f"Batch {self.batch} of patches of {self.patch} leaves one voxel at the bottom of the network.",
                "Batch normalisation needs two: choose a larger patch or batch.",
            )

    def rate(self, step: int) -> float:
        """Learning rate of step 0, 1, …: warm-up, constant, linear fall at the end."""
        rise = min(1.0, (step + 1) / WARM_UP)
        fall_steps = max(1.0, DECAY_SHARE * self.steps)
        left = min(1.0, (self.steps - step) / fall_steps)
        return self.learning_rate * rise * (FINAL_RATE + (1 - FINAL_RATE) * left)

    def identity(self) -> dict[str, Any]:
        """What a continued run must share with its beginning: all that decides the numbers but the length."""
        free = ("steps", "validate_every", "checkpoint_every_s")
        return {key: value for key, value in asdict(self).items() if key not in free}
