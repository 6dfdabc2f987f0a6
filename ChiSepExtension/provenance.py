"""Facts that let a result be traced: versions, hashes, times."""

from __future__ import annotations

import hashlib
import platform
from datetime import datetime, timezone
from importlib import metadata

import numpy as np

from . import __version__


def software_versions() -> dict[str, str]:
    """Name → version of everything that can change a number; what is not installed is left out."""
    versions = {"ChiSepExtension": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "SimpleITK", "torch"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def array_sha256(array: np.ndarray) -> str:
    """SHA-256 over dtype, shape and values of an array."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(memoryview(np.ascontiguousarray(array)).cast("B"))
    return digest.hexdigest()


def utc_now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
