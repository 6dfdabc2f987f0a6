"""The user's own copy of the published χ-sepnet checkpoints: read, checked, never trusted with code.

Expected in one folder, as released: ``QSMnet.pth.tar``, ``R2PRIMEnet.pth.tar``, ``xsepnet.pth.tar`` and
``xsepnet_norm_factor.mat``. The project neither ships nor downloads them; their licence is the user's to accept.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

from ..errors import WeightsError
from .card import Channel, ModelCard
from .checksum import sha256
from .folding import checked_weights
from .network import Network, NetworkSet
from .probe import check_role
from .weight_store import PUBLISHED_STATISTICS, PUBLISHED_STEMS, published_files

#: Input maps and output maps of each role with their names in the normalisation file.
NETWORKS = {
    "qsm": ((("local_field", "field"),), (("chi_total", "cosmos_sus"),)),
    "r2prime": ((("r2star", "r2star"),), (("r2prime", "r2prime"),)),
    "separation": (
        (("qsm", "cosmos_sus"), ("local_field", "field"), ("r2prime", "r2prime")),
        (("chi_para", "x_pos"), ("chi_dia", "x_neg")),
    ),
}

STATISTICS = ("cosmos_sus", "field", "r2prime", "r2star", "x_pos", "x_neg")

#: Dr in s⁻¹/ppm that the released networks were trained with.
DR_HZ_PER_PPM = 114.0

#: (mean, std) in ppm that were published with the 2024-04-20 checkpoints: a documented stand-in for a lost
#: normalisation file, used on explicit request only. The 2022 statistics differ by up to 12 %.
DOCUMENTED_STATISTICS = {
    "cosmos_sus": (-0.0013402087, 0.0315040313),
    "field": (-0.0026045702, 0.0108496593),
    "r2prime": (0.0514187962, 0.0697753131),
    "r2star": (0.1586536616, 0.0750197917),
    "x_pos": (0.0259128194, 0.0352641791),
    "x_neg": (0.0267006904, 0.0279360991),
}

_REMEDY = "Give the folder with the files as they were released."


def load_published(
    folder: str | Path, *, probe: bool = True, use_documented_statistics: bool = False, name: str = "published"
) -> NetworkSet:
    """Load the checkpoints of a folder; those that are absent leave their role empty.

    Parameters
    ----------
    folder
        Holds some or all of the three checkpoints and the normalisation file.
    probe
        Check by behaviour that the two networks which shapes cannot tell apart are in their places (2 s).
    use_documented_statistics
        Take `DOCUMENTED_STATISTICS` if there is no normalisation file.

    Raises
    ------
    WeightsError
        If nothing is there, or a file is broken, wrong, or needs code to be unpickled.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise WeightsError(f"There is no folder {folder}.", _REMEDY)
    files = published_files(folder)
    found = [role for role in NETWORKS if role in files]
    if not found:
        raise WeightsError(f"There are no published checkpoints in {folder}.", _REMEDY)
    if "statistics" in files:
        statistics = read_statistics(files["statistics"])
    elif use_documented_statistics:
        statistics = DOCUMENTED_STATISTICS
    else:
        raise WeightsError(f"The normalisation file {PUBLISHED_STATISTICS} is missing in {folder}.", _REMEDY)
    networks = {}
    for role in found:
        network = _load(role, files[role], statistics)
        if "statistics" in files:
            network.files[files["statistics"].name] = sha256(files["statistics"])
        networks[role] = network
    if probe:  # last: everything that can be read off a file comes first
        for role, network in networks.items():
            check_role(network, files[role].name)
    return NetworkSet(name, networks)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """State dictionary of a checkpoint, without a ``module.`` prefix; tensors only, no code is run.

    Raises
    ------
    WeightsError
        If the file is missing, truncated, not a checkpoint, or needs full unpickling.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {path}.", _REMEDY)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error):
            raise WeightsError(
                f"{path} holds more than numbers: loading it would run code from the file. Nothing was loaded.",
                "A genuine checkpoint holds only an epoch number and tensors; get it from its source again.",
            ) from error
        raise WeightsError(f"{path} is not a checkpoint of PyTorch.", _REMEDY) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, AttributeError, TypeError) as error:
        # What torch raises for cut or overwritten files depends on where the damage is.
        raise WeightsError(f"{path} cannot be read; it is cut off or damaged.", "Copy or download it again.") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(key, str) for key in state):
        raise WeightsError(f"{path} holds no state dictionary.", _REMEDY)
    return {key.removeprefix("module."): value for key, value in state.items()}


def read_statistics(path: Path) -> dict[str, tuple[float, float]]:
    """(mean, std) of the six maps from a MATLAB normalisation file.

    Raises
    ------
    WeightsError
        If the file cannot be read or one of the 12 numbers is missing or unusable.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path)
    except (MatReadError, ValueError, TypeError, OSError, NotImplementedError, IndexError, KeyError) as error:
        raise WeightsError(f"{path} is not a readable MATLAB file: {error}.", _REMEDY) from error
    except Exception as error:
        raise WeightsError(f"{path} is damaged: {error}.", "Copy or download it again.") from error
    statistics = {}
    for quantity in STATISTICS:
        numbers = []
        for kind in ("mean", "std"):
            value = np.asarray(content.get(f"{quantity}_{kind}", np.nan))
            if value.size != 1 or value.dtype.kind not in "fiu" or not np.isfinite(value).all():
                raise WeightsError(f"{path} holds no usable number {quantity}_{kind}.", _REMEDY)
            numbers.append(float(value.ravel()[0]))
        if numbers[1] <= 0:
            raise WeightsError(f"{path}: {quantity}_std is not positive.", _REMEDY)
        statistics[quantity] = (numbers[0], numbers[1])
    return statistics


def _load(role: str, path: Path, statistics: dict[str, tuple[float, float]]) -> Network:
    inputs, outputs = NETWORKS[role]
    state = read_state(path)
    first, last = state.get("conv11.conv.weight"), state.get("out.conv.weight")
    if isinstance(first, torch.Tensor) and isinstance(last, torch.Tensor) and first.ndim == last.ndim == 5:
        found = (int(first.shape[1]), int(last.shape[0]))
        if found != (len(inputs), len(outputs)):
            raise WeightsError(
                f"{path.name} maps {found[0]} to {found[1]} channels, "
                f"a {PUBLISHED_STEMS[role]} maps {len(inputs)} to {len(outputs)}.",
                "Have two checkpoints been swapped? " + _REMEDY,
            )
    weights = checked_weights(state, len(outputs), path.name)
    card = ModelCard(
        role=role,
        base_width=weights.base_width,
        inputs=tuple(Channel(quantity, *statistics[key]) for quantity, key in inputs),
        outputs=tuple(Channel(quantity, *statistics[key]) for quantity, key in outputs),
        dr_hz_per_ppm=DR_HZ_PER_PPM,
        name=path.name,
        version="published",
        licence="academic, non-commercial research; see the licence of the release",
        sha256=sha256(path),
    )
    return Network(card, weights, {path.name: card.sha256})
