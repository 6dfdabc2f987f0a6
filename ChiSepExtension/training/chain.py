"""The published chain: a trained QSM network makes an input of the separation network, in training as in use."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..networks.bundle import CARD_SUFFIX, WEIGHTS_SUFFIX, load_bundle
from ..networks.card import ModelCard
from ..networks.inference import Engine
from ..networks.network import Network
from ..networks.orientation import from_network, to_network
from ..progress import NEVER, CancelToken, Progress, part, silent
from ..separation.channels import Channels
from .heads import HeadSource, TrainingMaps


@dataclass(frozen=True, eq=False)
class WithQsm:
    """A head source whose heads also have the total susceptibility that a QSM network makes of their field."""

    source: HeadSource
    network: Network
    engine: Engine

    def __call__(self, seed: int, *, progress: Progress = silent, cancel: CancelToken = NEVER) -> TrainingMaps:
        """The head of a seed with ``qsm`` in ppm among its maps."""
        made = self.source(seed, progress=part(progress, 0.0, 0.9), cancel=cancel)
        card = self.network.card
        stack = Channels(made.mask, made.grid, made.maps, cancel=cancel).stack(card.inputs)
        mask = to_network(made.mask)
        output = self.engine.run(self.network.weights, stack, mask, name="QSMnet", cancel=cancel)[0]
        channel = card.outputs[0]
        qsm = from_network(output * np.float32(channel.std) + np.float32(channel.mean))
        made.maps["qsm"] = np.where(made.mask, qsm, np.float32(0)).astype(np.float32)
        return made


def with_networks(
    source: HeadSource, label: str, card: ModelCard, networks: str | Path | None, device: str
) -> tuple[HeadSource, str]:
    """The source, and its label, with the maps that other networks make for this one.

    Raises
    ------
    InputError
        If the card takes the output of a QSM network and none is given.
    WeightsError
        If the bundle holds none.
    """
    if all(channel.quantity != "qsm" for channel in card.inputs):
        return source, label
    if networks is None:
        raise InputError(
            "The separation network of the published layout takes the output of a QSM network; none was given.",
            "Train one first (chisep train qsmnet --layout published) and give its bundle (--networks).",
        )
    qsm = load_bundle(networks)["qsm"]
    return WithQsm(source, qsm, Engine(device)), f"{label} qsm {qsm.card.sha256}"


def copy_others(networks: str | Path, bundle: Path, role: str) -> None:
    """Copy the networks of all other roles into a bundle: the chain runs as one set."""
    for path in sorted(Path(networks).glob(f"*{CARD_SUFFIX}")):
        name = path.name.removesuffix(CARD_SUFFIX)
        if name != role:
            shutil.copyfile(path.with_name(name + WEIGHTS_SUFFIX), bundle / f"{name}{WEIGHTS_SUFFIX}")
            shutil.copyfile(path, bundle / path.name)
