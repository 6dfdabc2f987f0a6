"""The model card: what a network takes, what it gives, in which units, made from what, under which licence.

The card, not the code, says what a network is fed with, so that a network of one's own may use further channels or
predict a correction instead of a map. Cards are JSON files beside the weights; published checkpoints get theirs from
their shapes and their normalisation file. This module needs no torch.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import WeightsError

FORMAT = "chisep-network"
FORMAT_VERSION = 1

#: What a network is for: field to total susceptibility, R2* to R2', or separation of the two sources.
ROLES = ("qsm", "r2prime", "separation")

#: Input maps that the pipeline can provide. Field and susceptibility in ppm; relaxation rates divided by Dr, ppm.
INPUTS = {
    "local_field": "local field, ppm",
    "r2star": "R2* / Dr, ppm",
    "r2prime": "R2' / Dr, ppm",
    "qsm": "total susceptibility of the set's qsm network, ppm",
    "tkd": "total susceptibility by truncated k-space division, ppm",
    "tikhonov": "total susceptibility by Tikhonov inversion, ppm",
    "total_variation": "total susceptibility by total-variation inversion, ppm",
}

#: Inputs that are made from the local field by an inversion of `separation.inversion`.
INVERSIONS = ("tkd", "tikhonov", "total_variation")

OUTPUTS = {
    "qsm": ("chi_total",),
    "r2prime": ("r2prime",),
    "separation": ("chi_para", "chi_dia"),
}

#: How outputs become maps: as they are, or added to the closed form of `Base`.
PARAMETRISATIONS = ("direct", "correction-to-closed-form")


@dataclass(frozen=True)
class Channel:
    """One map going in or out, with the statistics that normalise it: (value − mean) / std."""

    quantity: str
    mean: float
    std: float
    #: Keyword arguments of the inversion that makes the map.
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Base:
    """The closed form that a correction is added to: (R2'/Dr ± χ)/2, not clipped, χ by the named inversion."""

    inversion: str = "tikhonov"
    parameters: dict[str, Any] = field(default_factory=dict)
    #: Standard deviation in voxels of the Gaussian that R2' is smoothed with first; 0 for none.
    r2prime_smoothing_voxels: float = 0.0


@dataclass(frozen=True)
class ModelCard:
    """Everything about a network but its weights.

    Raises
    ------
    WeightsError
        On construction, if the card contradicts itself.
    """

    role: str
    base_width: int
    inputs: tuple[Channel, ...]
    outputs: tuple[Channel, ...]
    parametrisation: str = "direct"
    base: Base | None = None
    dr_hz_per_ppm: float = 114.0
    field_strength_t: float = 3.0
    name: str = ""
    version: str = ""
    training_data: str = ""
    licence: str = ""
    #: For people: data, schedule, hardware, scores, limits. JSON-able; nothing is computed from it.
    details: dict[str, Any] = field(default_factory=dict)
    #: SHA-256 of the weight file, hexadecimal.
    sha256: str = ""

    def __post_init__(self) -> None:
        self._require(self.role in ROLES, f"role {self.role!r} is none of {', '.join(ROLES)}")
        self._require(isinstance(self.base_width, int) and self.base_width > 0, f"base width {self.base_width!r}")
        self._require(len(self.inputs) > 0, "it has no inputs")
        for channel in self.inputs:
            self._require(channel.quantity in INPUTS, f"input {channel.quantity!r} is not known")
        given = tuple(channel.quantity for channel in self.outputs)
        self._require(given == OUTPUTS[self.role], f"outputs {given} are not those of role {self.role!r}")
        for channel in self.inputs + self.outputs:
            usable = math.isfinite(channel.mean) and math.isfinite(channel.std) and channel.std > 0
            self._require(usable, f"mean {channel.mean} and std {channel.std} of {channel.quantity} do not normalise")
        self._require(self.parametrisation in PARAMETRISATIONS, f"parametrisation {self.parametrisation!r}")
        corrects = self.parametrisation != "direct"
        self._require(not corrects or (self.role == "separation" and self.base is not None), "it corrects no base")
        known = self.base is None or self.base.inversion in INVERSIONS
        self._require(known, f"the base's inversion is none of {', '.join(INVERSIONS)}")
        self._require(self.dr_hz_per_ppm > 0, f"Dr {self.dr_hz_per_ppm} is not positive")

    @property
    def in_channels(self) -> int:
        return len(self.inputs)

    @property
    def out_channels(self) -> int:
        return len(self.outputs)

    def to_json(self) -> str:
        """Text of the card's file."""
        return json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelCard:
        """Read a card; ``where`` names the file in errors.

        Raises
        ------
        WeightsError
            If the text is not a card of this format.
        """
        try:
            content = json.loads(text)
            kind, version = content.pop("format"), content.pop("format_version")
            if kind != FORMAT or version != FORMAT_VERSION:
                raise ValueError(f"format {kind!r} version {version!r}")
            for key in ("inputs", "outputs"):
                content[key] = tuple(Channel(**channel) for channel in content[key])
            if content.get("base") is not None:
                content["base"] = Base(**content["base"])
            return cls(**content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise WeightsError(
                f"{where} is not a model card that this version can read: {error}.",
                "Get the network again, or update the extension.",
            ) from error

    def _require(self, condition: bool, what: str) -> None:
        if not condition:
            raise WeightsError(f"The model card {self.name or '(no name)'} is not usable: {what}.", "Get it again.")
