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

_FIELD = ("local_field", {})

#: Inputs by layout and network. "joint": one network separates, fed with global inversions. "published": the chain of
#: Kim et al. 2025, in which QSMnet and, without R2', R2PRIMEnet feed the separation.
_INPUTS = {
    ("joint", "qsmnet"): (_FIELD, _TKD, _TIKHONOV),
    ("joint", "r2primenet"): (("r2star", {}),),
    ("joint", "sepnet"): (_FIELD, ("r2prime", {}), _TKD, _TIKHONOV),
    ("published", "qsmnet"): (_FIELD,),
    ("published", "r2primenet"): (("r2star", {}),),
    ("published", "sepnet"): (("qsm", {}), _FIELD, ("r2prime", {})),
}
LAYOUTS = ("joint", "published")

#: What tells the joint separation about relaxation: R2' corrects the closed form; R2* has no closed form to correct.
RELAXATIONS = ("r2prime", "r2star")

#: Half of the error of the closed form's χdia is noise of R2', which this blur takes away.
_BASE = Base("tikhonov", {"strength_mm2": 0.01}, r2prime_smoothing_voxels=0.5)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of a map in the masks of the training heads, ppm."""

    mean: float
    std: float


def template(name: str, width: int, *, layout: str = "joint", relaxation: str = "r2prime") -> ModelCard:
    """Card of a network by its name on the command line, with statistics 0 and 1.

    Parameters
    ----------
    layout
        One of `LAYOUTS`.
    relaxation
        "r2star" makes the joint separation take R2* in the place of R2': gradient echo alone.

    Raises
    ------
    InputError
        If there is no such network or layout, or the width is not positive.
    """
    if name not in ROLES:
        raise InputError(f"There is no network {name!r} to train.", f"Choose {', '.join(ROLES)}.")
    for value, allowed in ((layout, LAYOUTS), (relaxation, RELAXATIONS)):
        if value not in allowed:
            raise InputError(f"{value!r} is not a network of {name}.", f"Choose {' or '.join(allowed)}.")
    if relaxation == "r2star" and (layout, name) != ("joint", "sepnet"):
        raise InputError(
            "Only the joint separation network takes R2* itself.", "In the published chain R2PRIMEnet does."
        )
    if width < 1:
        raise InputError(f"A width of {width} channels is not positive.", "Use 8, 16 or 32.")
    role = ROLES[name]
    inputs = _INPUTS[layout, name]
    if relaxation == "r2star":
        inputs = tuple(("r2star", {}) if quantity == "r2prime" else (quantity, given) for quantity, given in inputs)
    corrects = (layout, name, relaxation) == ("joint", "sepnet", "r2prime")
    return ModelCard(
        role=role,
        base_width=int(width),
        inputs=tuple(Channel(quantity, 0.0, 1.0, dict(parameters)) for quantity, parameters in inputs),
        outputs=tuple(Channel(quantity, 0.0, 1.0) for quantity in OUTPUTS[role]),
        parametrisation="correction-to-closed-form" if corrects else "direct",
        base=_BASE if corrects else None,
        dr_hz_per_ppm=137.0,
        name=f"{name}, {layout} layout{', R2*' if relaxation == 'r2star' else ''} (simulated heads)",
        licence="Apache-2.0",
    )


def with_statistics(card: ModelCard, inputs: list[Statistics], outputs: list[Statistics]) -> ModelCard:
    """The card with the statistics of its channels filled in."""

    def filled(channels: tuple[Channel, ...], found: list[Statistics]) -> tuple[Channel, ...]:
        return tuple(replace(channel, mean=s.mean, std=s.std) for channel, s in zip(channels, found))

    return replace(card, inputs=filled(card.inputs, inputs), outputs=filled(card.outputs, outputs))
