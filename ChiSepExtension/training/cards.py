"""What each network takes and gives, before its statistics are known: the starting point of a model card."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InputError
from ..networks.card import OUTPUTS, Base, Channel, ModelCard

#: Names on the command line, and the roles of the cards.
ROLES = {"qsmnet": "qsm", "r2primenet": "r2prime", "sepnet": "separation"}

#: Inversions as inputs: global solutions of what a patch of 64 voxels cannot see. They save a factor 1.5 to 2 of
#: training time (measured with width 8 on two cores).
_TKD = ("tkd", {"threshold": 0.2})
_TIKHONOV = ("tikhonov", {"strength_mm2": 0.01})

_INPUTS = {
    "qsm": (("local_field", {}), _TKD, _TIKHONOV),
    "r2prime": (("r2star", {}),),
    "separation": (("local_field", {}), ("r2prime", {}), _TKD, _TIKHONOV),
}

#: Half of the error of the closed form's χdia is noise of R2', which this blur takes away.
_BASE = Base("tikhonov", {"strength_mm2": 0.01}, r2prime_smoothing_voxels=0.5)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of a map in the masks of the training heads, ppm."""

    mean: float
    std: float


def template(name: str, width: int) -> ModelCard:
    """Card of a network by its name on the command line, with statistics 0 and 1.

    Raises
    ------
    InputError
        If there is no such network, or the width is not positive.
    """
    if name not in ROLES:
        raise InputError(f"There is no network {name!r} to train.", f"Choose {', '.join(ROLES)}.")
    if width < 1:
        raise InputError(f"A width of {width} channels is not positive.", "Use 8, 16 or 32.")
    role = ROLES[name]
    corrects = role == "separation"
    return ModelCard(
        role=role,
        base_width=int(width),
        inputs=tuple(Channel(quantity, 0.0, 1.0, dict(parameters)) for quantity, parameters in _INPUTS[role]),
        outputs=tuple(Channel(quantity, 0.0, 1.0) for quantity in OUTPUTS[role]),
        parametrisation="correction-to-closed-form" if corrects else "direct",
        base=_BASE if corrects else None,
        dr_hz_per_ppm=137.0,
        name=f"{name} (simulated heads)",
        licence="Apache-2.0",
    )


def with_statistics(card: ModelCard, inputs: list[Statistics], outputs: list[Statistics]) -> ModelCard:
    """The card with the statistics of its channels filled in."""

    def filled(channels: tuple[Channel, ...], found: list[Statistics]) -> tuple[Channel, ...]:
        return tuple(replace(channel, mean=s.mean, std=s.std) for channel, s in zip(channels, found))

    return replace(card, inputs=filled(card.inputs, inputs), outputs=filled(card.outputs, outputs))
