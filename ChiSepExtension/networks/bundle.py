"""The project's own weight files: safetensors, which cannot hold code, beside a JSON model card.

A bundle is a folder with one pair of files per network: ``<role>.safetensors`` and ``<role>.card.json``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ..errors import WeightsError
from ..volume_io import atomic_path, write_text
from .card import ModelCard
from .checksum import sha256
from .folding import checked_weights
from .network import Network, NetworkSet

CARD_SUFFIX = ".card.json"
WEIGHTS_SUFFIX = ".safetensors"


def load_bundle(folder: str | Path) -> NetworkSet:
    """Load all networks of a bundle.

    Raises
    ------
    WeightsError
        If there is no card, a file is broken, or card and weights do not belong together.
    """
    folder = Path(folder)
    cards = sorted(folder.glob(f"*{CARD_SUFFIX}")) if folder.is_dir() else []
    if not cards:
        raise WeightsError(f"There is no bundle in {folder}: no file ends in {CARD_SUFFIX}.", "Check the folder.")
    networks = {}
    for path in cards:
        network = _load(path)
        if network.card.role in networks:
            raise WeightsError(f"{folder} holds two networks of role {network.card.role!r}.", "Remove one of them.")
        networks[network.card.role] = network
    return NetworkSet(folder.name, networks)


def load_state(folder: str | Path, role: str) -> dict[str, torch.Tensor]:
    """State dictionary of a bundle's network, float32, as `save_bundle` was given it; for further training."""
    from safetensors.torch import load_file

    load_bundle(folder)  # checks sums and shapes
    state = load_file(str(Path(folder) / f"{role}{WEIGHTS_SUFFIX}"))
    return {key: value.float() for key, value in state.items()}


def save_bundle(
    folder: str | Path, card: ModelCard, state: dict[str, torch.Tensor], dtype: torch.dtype = torch.float16
) -> ModelCard:
    """Write one network into a bundle's folder; each file appears whole or not at all, the card last.

    Parameters
    ----------
    card
        Its ``sha256`` is filled in.
    state
        State dictionary of a `unet.UNet3d`.
    dtype
        Number type of the stored weights. float16 halves the file and changes maps by 0.02 %.

    Returns
    -------
    The card as written.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    check = checked_weights(state, card.out_channels, card.name or card.role)
    _check_agreement(card, check.in_channels, check.base_width, card.name or card.role)
    stored = {key: _stored(key, value, dtype) for key, value in state.items() if value.is_floating_point()}
    with atomic_path(folder / f"{card.role}{WEIGHTS_SUFFIX}") as temporary:
        save_file(stored, str(temporary))
        temporary.chmod(0o644)  # safetensors writes for the owner alone
        card = replace(card, sha256=sha256(temporary))
    write_text(folder / f"{card.role}{CARD_SUFFIX}", card.to_json())
    return card


def read_card(path: Path) -> ModelCard:
    """Read a card's file; `WeightsError` if it cannot be."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", "Get the bundle again.") from error
    return ModelCard.from_json(text, str(path))


def weights_path(card_path: Path) -> Path:
    """The weight file that belongs to a card's file."""
    return card_path.with_name(card_path.name.removesuffix(CARD_SUFFIX) + WEIGHTS_SUFFIX)


def _load(path: Path) -> Network:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card, weights = read_card(path), weights_path(path)
    if not weights.is_file():
        raise WeightsError(f"The weights {weights.name} of the card {path} are missing.", "Get the bundle again.")
    digest = sha256(weights)
    if card.sha256 != digest:
        raise WeightsError(
            f"{weights} is not the file that its card describes (SHA-256 differs).",
            "It is damaged, or was exchanged without its card; get the bundle again.",
        )
    try:
        state = load_file(str(weights))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{weights} cannot be read: {error}.", "Get the bundle again.") from error
    folded = checked_weights({key: value.float() for key, value in state.items()}, card.out_channels, weights.name)
    _check_agreement(card, folded.in_channels, folded.base_width, weights.name)
    return Network(card, folded, {weights.name: digest, path.name: sha256(path)})


def _check_agreement(card: ModelCard, in_channels: int, base_width: int, where: str) -> None:
    if (in_channels, base_width) != (card.in_channels, card.base_width):
        raise WeightsError(
            f"{where} takes {in_channels} channels at width {base_width}; "
            f"its card says {card.in_channels} at width {card.base_width}.",
            "Card and weights are from different networks; get the bundle again.",
        )


def _stored(key: str, value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    # Running variances span more decades than float16 has; they are few.
    return value.detach().float().contiguous() if ".bn." in key else value.detach().to(dtype).contiguous()
