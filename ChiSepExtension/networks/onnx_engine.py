"""Inference by onnxruntime, for computers on which torch cannot be installed (Macs with Intel processors).

The whole padded volume goes through in one piece: the same map as `inference.Engine`, with the memory of plain
PyTorch (at base width 32 about 0.8 kB per voxel, 8 GB at 256×224×176).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import Cancelled, InputError, MemoryLimitError, WeightsError
from ..progress import NEVER, CancelToken, Progress, silent
from .card import ModelCard
from .checksum import sha256
from .layout import MULTIPLE
from .network import Network, NetworkSet

CARD_SUFFIX = ".card.json"


@dataclass(frozen=True)
class OnnxNetwork:
    """A network in an ONNX file."""

    path: Path
    in_channels: int
    out_channels: int


@dataclass(frozen=True)
class OnnxReport:
    """How a network was run; the fields that `inference.RunReport` has, as far as they apply."""

    network: str
    seconds: float
    box: tuple[int, int, int]
    device: str = "onnxruntime, cpu"
    dtype: str = "float32"
    refused: tuple[str, ...] = ()
    precision_check: None = None


def load_onnx(folder: str | Path) -> NetworkSet:
    """Load the ONNX networks of a folder, each ``<role>.onnx`` with its card.

    Raises
    ------
    WeightsError
        If there is none, or card and file do not belong together.
    """
    folder, networks = Path(folder), {}
    for path in sorted(folder.glob("*.onnx")):
        card_path = path.with_name(path.stem + CARD_SUFFIX)
        try:
            text = card_path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise WeightsError(f"{path.name} has no readable card {card_path}.", "Export it again.") from error
        card, digest = ModelCard.from_json(text, str(card_path)), sha256(path)
        if card.sha256 != digest:
            raise WeightsError(f"{path} is not the file that its card describes (SHA-256 differs).", "Export it again.")
        files = {path.name: digest, card_path.name: sha256(card_path)}
        networks[card.role] = Network(card, OnnxNetwork(path, card.in_channels, card.out_channels), files)
    if not networks:
        raise WeightsError(f"There are no ONNX networks in {folder}.", "Export them with export_onnx.")
    return NetworkSet(folder.name, networks)


class OnnxEngine:
    """Runs ONNX networks one after the other on the CPU; stands in for `inference.Engine`."""

    def __init__(self) -> None:
        self.reports: list[OnnxReport] = []

    def run(
        self,
        network: OnnxNetwork,
        channels: np.ndarray,
        mask: np.ndarray,
        *,
        name: str = "network",
        progress: Progress = silent,
        cancel: CancelToken = NEVER,
    ) -> np.ndarray:
        """Output of the network on (in_channels, a, b, c); see `inference.Engine.run`."""
        if not mask.any():
            return np.zeros((network.out_channels, *mask.shape), dtype=np.float32)
        progress(0.0, name)
        started = time.perf_counter()
        pads = [((-n % MULTIPLE) // 2, -n % MULTIPLE - (-n % MULTIPLE) // 2) for n in mask.shape]
        x = np.pad(channels.astype(np.float32, copy=False), [(0, 0), *pads])[np.newaxis]
        output = _interruptible(network.path, x, name, cancel)[0]
        output = output[(slice(None), *(slice(b, b + n) for (b, _), n in zip(pads, mask.shape)))]
        if not np.isfinite(output).all():
            raise InputError(f"{name} gave values that are not numbers.", "Check that the maps are in ppm and 1/s.")
        self.reports.append(OnnxReport(name, time.perf_counter() - started, mask.shape))
        progress(1.0, name)
        return np.ascontiguousarray(output)


def _interruptible(path: Path, x: np.ndarray, name: str, cancel: CancelToken) -> np.ndarray:
    """Run a model in a thread, looking at the cancel button ten times a second."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("ONNX networks need the Python package onnxruntime.", "pip install onnxruntime") from error
    options, answer = onnxruntime.RunOptions(), {}

    def work() -> None:
        try:
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            answer["output"] = session.run(None, {"x": x}, options)[0]
        except Exception as error:  # noqa: BLE001  handed to the caller's thread, which sorts it
            answer["error"] = error

    thread = threading.Thread(target=work, name=f"onnxruntime {name}", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
        if cancel.is_cancelled:
            options.terminate = True
            thread.join(2.0)
            raise Cancelled()
    if "output" in answer:
        return answer["output"]
    error = answer["error"]
    text = str(error).lower()
    if isinstance(error, MemoryError) or "alloc" in text:
        raise MemoryLimitError(f"{name} does not fit into memory.", "Crop the images to the head.") from error
    raise WeightsError(f"{path} cannot be run: {error}.", "Export it again.") from error
