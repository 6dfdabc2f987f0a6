"""Images in files: arrays and grids in and out, through SimpleITK, written by atomic rename."""

from __future__ import annotations

import gzip
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .errors import InputError
from .geometry import Grid

#: ITK is LPS, we are RAS.
_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_volume(path: str | os.PathLike) -> tuple[np.ndarray, Grid]:
    """Read a 3-D or 4-D image.

    Returns
    -------
    array
        (z, y, x), or (t, z, y, x) for a 4-D file; the file's own number type, header slope and intercept applied.
    grid
        Of the three spatial axes.

    Raises
    ------
    InputError
        If the file is missing, unreadable, or not 3-D or 4-D.
    """
    import SimpleITK as sitk

    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}.", "Check the path.")
    _refuse_truncated_nifti(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = _first_reason(str(error))
        raise InputError(f"{path} cannot be read as an image: {reason}", "Is it a complete NIfTI or NRRD?") from error
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:  # an NRRD or NIfTI vector: components are the last axis
        array = np.moveaxis(array, -1, 0)
    elif array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim not in (3, 4):
        raise InputError(f"{path} has {array.ndim} dimensions.", "Give a 3-D image, or a 4-D one with the echoes last.")
    return array, _grid_of(image, array.shape[-3:])


def write_volume(path: str | os.PathLike, array: np.ndarray, grid: Grid) -> Path:
    """Write (z, y, x) or (t, z, y, x); the format follows the suffix. Returns the path.

    The file appears whole or not at all.
    """
    import SimpleITK as sitk

    path = Path(path)
    if array.shape[-3:] != grid.shape:
        raise ValueError(f"Array of shape {array.shape} does not lie on a grid of shape {grid.shape}.")
    values = array.astype(np.uint8) if array.dtype == bool else array
    matrix = _LPS_RAS @ grid.ijk_to_ras
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    cosines = matrix[:3, :3] / spacing
    if values.ndim == 4:
        image = sitk.JoinSeries([_image(v, spacing, cosines, matrix[:3, 3]) for v in values])
    else:
        image = _image(values, spacing, cosines, matrix[:3, 3])
    with atomic_path(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True)
    return path


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it on success and vanishes on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The temporary name keeps the suffixes: writers choose the format by them.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        temporary.replace(path)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write UTF-8 text by atomic rename."""
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def _image(values: np.ndarray, spacing: np.ndarray, cosines: np.ndarray, origin: np.ndarray):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(values)
    image.SetSpacing([float(v) for v in spacing])
    image.SetDirection([float(v) for v in cosines.ravel()])
    image.SetOrigin([float(v) for v in origin])
    return image


def _grid_of(image, shape: tuple[int, ...]) -> Grid:
    dimension = image.GetDimension()
    matrix = np.eye(4)
    spatial = min(dimension, 3)
    cosines = np.array(image.GetDirection()).reshape(dimension, dimension)
    matrix[:spatial, :spatial] = cosines[:spatial, :spatial] * np.array(image.GetSpacing())[:spatial]
    matrix[:spatial, 3] = image.GetOrigin()[:spatial]
    return Grid(tuple(int(n) for n in shape), _LPS_RAS @ matrix)


def _refuse_truncated_nifti(path: Path) -> None:
    """ITK reads a cut-off .nii.gz without complaint and leaves the rest of the image undefined."""
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        return
    try:
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as stream:
            header = stream.read(352)
            size = len(header)
            while block := stream.read(1 << 22):
                size += len(block)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged or cut off: {error}.", "Copy or export it again.") from error
    if len(header) < 352:
        raise InputError(f"{path} is cut off: it has no complete header.", "Copy or export it again.")
    order = "<" if struct.unpack("<i", header[:4])[0] == 348 else ">"
    if struct.unpack(f"{order}i", header[:4])[0] != 348:
        return  # NIfTI-2, or not NIfTI at all: left to ITK
    dimensions = struct.unpack(f"{order}8h", header[40:56])
    bits = struct.unpack(f"{order}h", header[72:74])[0]
    offset = struct.unpack(f"{order}f", header[108:112])[0]
    voxels = int(np.prod([max(1, n) for n in dimensions[1 : 1 + dimensions[0]]], dtype=np.int64))
    expected = int(offset) + voxels * bits // 8
    if header[344:347] == b"n+1" and size < expected:
        raise InputError(f"{path} is cut off: {size} of {expected} bytes.", "Copy or export it again.")


def _first_reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if ":" in line), lines[-1] if lines else "unknown reason")
