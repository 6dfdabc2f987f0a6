"""From a folder of weight files to networks, whichever kind it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .weight_store import PUBLISHED, kind_of

if TYPE_CHECKING:
    from .inference import Engine
    from .network import NetworkSet
    from .onnx_engine import OnnxEngine


def load_weights(folder: str | Path, *, probe: bool = False) -> NetworkSet:
    """Load published checkpoints, a bundle, or a bundle exported to ONNX.

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
    if kind_of(folder) == PUBLISHED:
        require_package("torch")
        from .published import load_published

        return load_published(folder, probe=probe)
    if any(folder.glob("*.onnx")):
        from .onnx_engine import load_onnx

        return load_onnx(folder)
    require_package("torch")
    require_package("safetensors")
    from .bundle import load_bundle

    return load_bundle(folder)


def make_engine(weights: NetworkSet, device: str = "auto", dtype: str = "auto") -> Engine | OnnxEngine:
    """The engine that runs a set: torch on a device, or onnxruntime for ONNX files."""
    from .onnx_engine import OnnxEngine, OnnxNetwork

    if any(isinstance(network.weights, OnnxNetwork) for network in weights.networks.values()):
        return OnnxEngine()
    from .inference import Engine

    return Engine(device, dtype=dtype)


def require_package(name: str) -> None:
    """Raise `InputError` with the remedy if a package cannot be imported."""
    try:
        __import__(name)
    except (ImportError, OSError) as error:  # OSError: a library of it cannot be loaded, on Windows
        state = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        raise InputError(
            f"The networks need the Python package {name}, which {state}.",
            "In 3D Slicer install the PyTorch extension; elsewhere: pip install 'chisep-extension[networks]'. "
            "The methods closed-form and iterative need neither.",
        ) from error
