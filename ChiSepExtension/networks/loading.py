"""From a folder of weight files to networks, whichever of the two kinds it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .weight_store import PUBLISHED, kind_of

if TYPE_CHECKING:
    from .network import NetworkSet


def load_weights(folder: str | Path, *, probe: bool = False) -> NetworkSet:
    """Load published checkpoints or a bundle.

    Parameters
    ----------
    folder
        As `weight_store.find_weights` gives it.
    probe
        Check published networks by behaviour too (done once, on import).

    Raises
    ------
    InputError
        If torch (or safetensors, for a bundle) is not installed.
    WeightsError
        If the files are missing or broken.
    """
    folder = Path(folder)
    kind = kind_of(folder)
    require_package("torch")
    if kind == PUBLISHED:
        from .published import load_published

        return load_published(folder, probe=probe)
    require_package("safetensors")
    from .bundle import load_bundle

    return load_bundle(folder)


def require_package(name: str) -> None:
    """Raise `InputError` with the remedy if a package cannot be imported."""
    try:
        __import__(name)
    except ImportError as error:
        raise InputError(
            f"The networks need the Python package {name}, which is not installed.",
            "In 3D Slicer install the PyTorch extension; elsewhere: pip install 'chisep-extension[networks]'. "
            "The methods closed-form and iterative need neither.",
        ) from error
