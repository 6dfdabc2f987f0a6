"""Stored pixels of sorted slice images to arrays, each frame with its own rescale."""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent
from .dicom_headers import ImageHeader
from .dicom_image_type import IMAGINARY, MAGNITUDE, PHASE, REAL
from .dicom_stack import Problem, Volume
from .dicom_values import READ_FAILURES, write_dataset

#: Elements that a decoder needs.
_PIXEL_DESCRIPTION = (
    *(0x00280002, 0x00280004, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x7FE00010),
)

_Result = TypeVar("_Result")

#: Threads that read files: reading waits for the disk, decoding releases the interpreter's lock.
WORKERS = 4

_IMPLICIT = "1.2.840.10008.1.2"
#: Byte order of transfer syntaxes without compression of the pixels.
_NATIVE = {
    _IMPLICIT: "<",
    "1.2.840.10008.1.2.1": "<",
    "1.2.840.10008.1.2.1.99": "<",
    "1.2.840.10008.1.2.2": ">",
}
#: JPEG baseline and extended, JPEG-LS near-lossless; others may be either, which LossyImageCompression says.
_LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81"}


def pixel_problems(volumes: Sequence[Volume]) -> list[Problem]:
    """Scalings and number formats that do not go together, found in the headers of the volumes of one scan."""
    problems: list[Problem] = []
    for volume in volumes:
        problems += _odd_one_out(volume, "pixel format (bits, sign)", lambda image: image.bits)
        # One slope for all, one per echo, or one per slice are in use; a few that differ from most are damage.
        problems += _odd_one_out(volume, "rescale slope and intercept", _scaling)
    images = [image for volume in volumes for image in volume.images]
    if any(image.scaled_by == "table" for image in images):
        problems.append(
            Problem(
                "The images are scaled by a look-up table, which is not supported.",
                "Export them with rescale slope and intercept.",
            )
        )
    if any(image.slope is not None and image.slope <= 0 for image in images):
        problems.append(Problem("A rescale slope is zero or negative.", "Export the series again."))
    spans = {span for volume in volumes if volume.part == PHASE for span in map(stated_span, volume.images)}
    spans = {tuple(round(v, 1) for v in span) for span in spans}
    if len(spans) > 1:
        shown = "; ".join(f"{low:g} … {high:g}" for low, high in sorted(spans)[:3])
        problems.append(
            Problem(
                f"The phase images state {len(spans)} different spans ({shown}).",
                "Export the phase of all echoes in one go.",
            )
        )
    return problems


def read_volumes(
    volumes: Sequence[Volume], *, progress: Progress = silent, cancel: CancelToken = NEVER
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Rescaled values of volumes on one grid, (echo, z, y, x) float32 for each part, and remarks for the user.

    Every file is opened once, whichever volumes its frames belong to; nothing is held twice.

    Raises
    ------
    InputError
        If a file has changed, cannot be decoded, or holds other values than its header states.
    """
    remarks: list[str] = []
    echoes = Counter(volume.part for volume in volumes)
    parts = {name: np.empty((count, *volumes[0].grid.shape), np.float32) for name, count in echoes.items()}
    rooms = {name: iter(stack) for name, stack in parts.items()}
    arrays = [next(rooms[volume.part]) for volume in volumes]  # views
    wanted: dict[Path, list[tuple[int, int, ImageHeader]]] = defaultdict(list)
    for v, volume in enumerate(volumes):
        for k, image in enumerate(volume.images):
            wanted[image.path].append((v, k, image))
    signed = [False] * len(volumes)

    def load(path: Path) -> Path:
        cancel.check()
        for (v, k, _), stored in zip(wanted[path], _frames(path, [image for *_, image in wanted[path]])):
            arrays[v][k] = stored
            signed[v] = signed[v] or (stored.dtype == np.int16 and bool(stored.min() < 0))
        return path

    for done, _ in enumerate(in_threads(load, sorted(wanted)), start=1):
        cancel.check()
        progress(done / len(wanted), "Reading DICOM images")
    for name in {volume.part for volume in volumes}:
        chosen = [v for v, volume in enumerate(volumes) if volume.part == name]
        if all(_scaling(image)[1] == 0 for v in chosen for image in volumes[v].images):
            _mend_sign([arrays[v] for v in chosen], name, any(signed[v] for v in chosen), remarks)
    for v, volume in enumerate(volumes):
        for k, image in enumerate(volume.images):
            slope, intercept = _scaling(image)
            if (slope, intercept) != (1.0, 0.0):
                arrays[v][k] = arrays[v][k] * np.float64(slope) + np.float64(intercept)
    _one_philips_scale(arrays, volumes, remarks)
    return parts, list(dict.fromkeys(remarks))


def in_threads(work: Callable[[Path], _Result], paths: Sequence[Path]) -> Iterator[_Result]:
    """Results of ``work`` for each path in order, some paths at a time; stops at once when the caller does."""
    pool = ThreadPoolExecutor(WORKERS)
    try:
        with warnings.catch_warnings():  # pydicom warns of every value that does not conform
            warnings.simplefilter("ignore")
            yield from pool.map(work, paths)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _frames(path: Path, images: list[ImageHeader]) -> Iterator[np.ndarray]:
    """Stored values (rows, columns) of some frames of a file, one after the other."""
    from pydicom import dcmread

    try:
        dataset = dcmread(path, force=True)
        syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", "") or _IMPLICIT)
        pixels = _native(dataset, syntax, images[0]) if syntax in _NATIVE else _decoded(dataset, syntax, path)
        for image in images:
            frame = pixels[image.frame or 0]
            if frame.shape != (image.rows, image.columns):
                raise ValueError(f"pixels of {frame.shape} for {image.rows} rows and {image.columns} columns")
            yield _checked(frame, image)
    except InputError:
        raise
    except READ_FAILURES as error:
        raise InputError(
            f"The pixels of {path.name} cannot be read: {error}.", "Copy or export the file again."
        ) from error


def _native(dataset, syntax: str, image: ImageHeader) -> np.ndarray:
    """(frame, rows, columns) of uncompressed pixels."""
    allocated, _, _, is_signed = image.bits
    if allocated not in (8, 16, 32):
        raise ValueError(f"{allocated} bits are allocated per pixel")
    raw = dataset.get_item(0x7FE00010).value
    dtype = np.dtype(f"{_NATIVE[syntax]}{'i' if is_signed else 'u'}{allocated // 8}")
    size = image.rows * image.columns * dtype.itemsize
    frames = max(1, int(dataset.get("NumberOfFrames") or 1))
    # One byte of padding makes the length even; more or less means that rows, columns or bits are not true.
    if not frames * size <= len(raw) <= frames * size + 1:
        raise ValueError(f"it holds {len(raw)} bytes of pixels, its header asks for {frames * size}")
    return np.frombuffer(raw, dtype, frames * image.rows * image.columns).reshape(frames, image.rows, image.columns)


def _decoded(dataset, syntax: str, path: Path) -> np.ndarray:
    name = getattr(dataset.file_meta.TransferSyntaxUID, "name", syntax)
    if syntax in _LOSSY or str(dataset.get("LossyImageCompression", "")) == "01":
        raise InputError(
            f"{path.name} was compressed with loss ({name}).",
            "Export the original: lossy compression destroys phase.",
        )
    try:
        pixels = dataset.pixel_array
    except READ_FAILURES as error:
        pixels = _decoded_by_itk(dataset, syntax)
        if pixels is None:
            reason = (str(error).splitlines() or ["unknown reason"])[0]
            raise InputError(
                f"{path.name} is compressed ({name}) and cannot be decoded here: {reason}",
                "Export it without compression, or decompress it first (gdcmconv --raw, dcmdjpeg).",
            ) from error
    return pixels if pixels.ndim == 3 else pixels[np.newaxis]


def _decoded_by_itk(dataset, syntax: str) -> np.ndarray | None:
    """Stored values (frame, rows, columns) by ITK's own decoders, None if they fail too.

    pydicom needs packages for JPEG Lossless, the usual compression of archives, that 3D Slicer does not have; ITK has
    the decoder. It gets the pixels alone, as a secondary capture: it would apply one rescale to all frames.
    """
    import SimpleITK as sitk
    from pydicom.dataset import Dataset, FileMetaDataset

    bare = Dataset()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = syntax
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3"
    bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID = "2.25.1"
    for tag in _PIXEL_DESCRIPTION:
        if tag in dataset:
            bare[tag] = dataset[tag]
    bare.NumberOfFrames = int(dataset.get("NumberOfFrames") or 1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pixels.dcm"
            write_dataset(bare, file)
            pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))
    except READ_FAILURES:
        return None
    expected = (bare.NumberOfFrames, bare.Rows, bare.Columns)
    return pixels.reshape(expected) if pixels.size == np.prod(expected) else None


def _checked(frame: np.ndarray, image: ImageHeader) -> np.ndarray:
    """The frame as int16 or float32 after a check of its values against the bits that are stated."""
    allocated, stored, _, is_signed = image.bits
    if stored is None or allocated is None or not 1 <= stored <= allocated:
        raise ValueError(f"{stored} of {allocated} bits are stored")
    if is_signed and stored < allocated and frame.size and int(frame.max()) >= 1 << (stored - 1):
        if int(frame.min()) >= 0 and int(frame.max()) < 1 << stored:  # sign bit below the top of the word
            frame = np.where(frame >= 1 << (stored - 1), frame - (1 << stored), frame)
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if is_signed else (0, (1 << stored) - 1)
    if frame.size and (int(frame.min()) < low or int(frame.max()) > high):
        raise ValueError(
            f"its values run from {int(frame.min())} to {int(frame.max())}, but {stored} bits "
            f"{'with' if is_signed else 'without'} sign are stated"
        )
    return frame.astype(np.int16) if is_signed and allocated == 16 else frame.astype(np.float32)


def _mend_sign(arrays: list[np.ndarray], part: str, negative: bool, remarks: list[str]) -> None:
    """Undo unsigned numbers marked as signed (magnitude) and signed ones marked as unsigned (real, imaginary).

    Decided for all echoes together: the later ones may be too dark to show it.
    """
    highest = max(float(array.max()) for array in arrays)
    if part == MAGNITUDE and negative and highest > 0.9 * 32767:
        for array in arrays:
            array[array < 0] += 65536
        remarks.append("Negative magnitude values were 16-bit unsigned numbers stored as signed; 65536 was added.")
    if part in (REAL, IMAGINARY) and min(float(array.min()) for array in arrays) >= 0:
        if highest <= 32767:
            raise InputError(
                f"The {part} images have no negative values.",
                "Export real and imaginary images with their sign, or magnitude and phase.",
            )
        for array in arrays:
            array[array > 32767] -= 65536
        remarks.append("Real and imaginary parts were signed numbers stored as unsigned; 65536 was subtracted.")


def _one_philips_scale(arrays: list[np.ndarray], volumes: Sequence[Volume], remarks: list[str]) -> None:
    """Bring Philips volumes whose display scale differs to one scale.

    A displayed value is the measured one times slope and scale slope (2005,100E); where their product differs between
    echoes the displayed decay is not the decay that was measured (Chenevert, Transl Oncol 2014;7:65).
    """
    for parts in ((MAGNITUDE,), (REAL, IMAGINARY)):
        chosen = [v for v, volume in enumerate(volumes) if volume.part in parts]
        factors = [
            [(image.slope or 1.0) * image.philips_scale for image in volumes[v].images]
            for v in chosen
            if all(image.philips_scale for image in volumes[v].images)
        ]
        if not chosen or len(factors) != len(chosen):
            continue
        reference = factors[0][0]
        if max(abs(f / reference - 1) for row in factors for f in row) < 1e-3:
            continue
        for v, row in zip(chosen, factors):
            arrays[v] *= (reference / np.array(row))[:, None, None].astype(np.float32)
        remarks.append("Philips display scales differ between images; the scale slope brought them to one scale.")


def _scaling(image: ImageHeader) -> tuple[float, float]:
    slope = 1.0 if image.slope is None else image.slope
    return slope, 0.0 if image.intercept is None else image.intercept


def stated_span(image: ImageHeader) -> tuple[float, float]:
    """Lowest and highest value that the stored bits can stand for after rescale."""
    slope, intercept = _scaling(image)
    bits = image.bits[1] or 16
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if image.bits[3] else (0, (1 << bits) - 1)
    return slope * low + intercept, slope * high + intercept


def _odd_one_out(volume: Volume, what: str, value_of) -> list[Problem]:
    values = [value_of(image) for image in volume.images]
    usual, count = Counter(values).most_common(1)[0]
    if not len(values) / 2 < count < len(values):
        return []
    odd = next(image for image, value in zip(volume.images, values) if value != usual)
    return [
        Problem(
            f"The {volume.describe()}: {odd.path.name} has another {what} ({_shown(value_of(odd))}) than the other "
            f"slices ({_shown(usual)}).",
            "Export the series again.",
        )
    ]


def _shown(values) -> str:
    return ", ".join("none" if value is None else f"{value:g}" for value in values)
