"""Lesion outlines in files: BIDS label map with its table, Slicer's and DICOM's segmentation; identifiers survive."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..volume_io import atomic_path, read_volume, write_volume
from .canonical import require_same_grid
from .components import LesionSet, find_lesions, lesions_from_labels
from .resampling import resample_mask
from .tables import MISSING, Column, read_table, write_table

#: Tag of a segment that carries the lesion's identifier.
UID_TAG = "ChiSep.LesionUID"
_PARENTS_TAG = "ChiSep.ParentUIDs"

#: Colours after Okabe and Ito, distinguishable with any colour vision; they repeat.
COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


def write_lesions(path: str | os.PathLike, lesions: LesionSet) -> tuple[Path, Path, Path]:
    """Write ``*_dseg.nii.gz`` with ``*_dseg.tsv`` and its JSON; returns the paths.

    The table has the BIDS columns index, name, color, mapping (7 is "Lesion") and the identifiers.
    """
    path = Path(path)
    columns = [
        Column("index", "Value of the lesion in the label map."),
        Column("name", "Short name of the lesion."),
        Column("color", "Display colour, hexadecimal RGB."),
        Column("mapping", "BIDS standard label: 7 is lesion."),
        Column("lesion_uid", "Identifier of the lesion, kept through edits."),
        Column("parent_uids", "Comma-separated identifiers of the lesions it was split or merged from."),
        Column("volume_mm3", "Volume.", units="mm^3"),
        Column("counted", "0 for lesions below 3 mm.", levels={"0": "no", "1": "yes"}),
    ]
    rows = [
        {
            "index": lesion.label,
            "name": lesion.name,
            "color": _color(lesion.label),
            "mapping": 7,
            "lesion_uid": lesion.uid,
            "parent_uids": ",".join(lesion.parents) or None,
            "volume_mm3": lesion.volume_mm3,
            "counted": not lesion.is_small,
        }
        for lesion in lesions.lesions
    ]
    image = write_volume(path, lesions.labels.astype(_label_type(lesions)), lesions.grid)
    return image, *write_table(_table_beside(path), columns, rows, {"Grid": lesions.grid.describe()})


def read_lesions(path: str | os.PathLike, *, grid: Grid | None = None, case: str = "") -> LesionSet:
    """Lesions of a file: ``.seg.nrrd``, DICOM SEG, a label map with its table, a label map alone, or a binary mask.

    A mask with one value is taken apart into connected components; of a label map with more, each value is a lesion.

    Parameters
    ----------
    grid
        Of the maps; a file on another grid is refused.

    Raises
    ------
    InputError
        If the file is unreadable, on another grid, or does not fit its table.
    """
    labels = read_labels(path)
    if grid is not None:
        labels = labels.on(grid)
    return labels.lesions(case)


@dataclass(frozen=True, eq=False)
class LabelFile:
    """Labels of a file with the identifiers stored in it or beside it.

    Parameters
    ----------
    labels
        (z, y, x).
    uids, parents
        By label value; empty if the file has none.
    is_cropped
        True for Slicer's and DICOM's segmentation files, which are stored cropped to what is drawn.
    """

    labels: np.ndarray
    grid: Grid
    uids: dict[int, str]
    parents: dict[int, tuple[str, ...]]
    is_cropped: bool = False

    def on(self, grid: Grid) -> LabelFile:
        """The labels on the grid of the maps, if they lie voxel on voxel on it; otherwise `InputError`."""
        if self.is_cropped:
            labels = _paste(self.labels, self.grid, grid)
            if labels is not None:
                return replace(self, labels=labels, grid=grid)
        require_same_grid("lesion mask", self.grid, grid)
        return self

    def resampled(self, grid: Grid) -> tuple[LabelFile, float]:
        """The labels resampled to the grid (nearest neighbour), and the round-trip Dice overlap."""
        result = resample_mask(self.labels, self.grid, grid)
        return replace(self, labels=result.labels, grid=grid, is_cropped=False), result.round_trip_dice

    def lesions(self, case: str = "") -> LesionSet:
        if self.uids:
            return lesions_from_labels(self.labels, self.grid, case=case, uids=self.uids, parents=self.parents)
        whole = np.isfinite(self.labels).all() and (self.labels == np.rint(self.labels)).all()
        if whole and (np.unique(self.labels) > 0).sum() > 1:
            return lesions_from_labels(self.labels, self.grid, case=case)
        return find_lesions(self.labels, self.grid, case=case)


def read_labels(path: str | os.PathLike) -> LabelFile:
    """Read a mask, a label map or a segmentation (``.seg.nrrd`` or DICOM) as it is stored."""
    path = Path(path)
    if path.suffix.lower() == ".dcm":
        from ..dicom_export.segmentation_reader import read_dicom_segmentation

        return read_dicom_segmentation(path)
    array, grid = read_volume(path)
    if path.name.endswith(".seg.nrrd"):
        labels, uids, parents = _segments(path, array)
        return LabelFile(labels, grid, uids, parents, is_cropped=True)
    if array.ndim != 3:
        raise InputError(f"{path} has {len(array)} volumes.", "Give one 3-D mask or label map.")
    return LabelFile(array, grid, *_identifiers(path))


def write_segmentation(path: str | os.PathLike, lesions: LesionSet) -> Path:
    """Write a ``.seg.nrrd`` with one segment per lesion, all in one layer, as 3D Slicer reads it.

    Tags hold identifiers only: the format splits them at "|" and ":", which free text would not survive.
    """
    import SimpleITK as sitk

    path = Path(path)
    with atomic_path(path) as temporary:
        plain = temporary.with_name("labels.nrrd")
        write_volume(plain, lesions.labels.astype(_label_type(lesions)), lesions.grid)
        image = sitk.ReadImage(str(plain))
        for key, value in _segment_fields(lesions).items():
            image.SetMetaData(key, value)
        sitk.WriteImage(image, str(temporary), useCompression=True)
    return path


def _segment_fields(lesions: LesionSet) -> dict[str, str]:
    fields = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for n, lesion in enumerate(lesions.lesions):
        z, y, x = lesion.box
        color = [int(_color(lesion.label)[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        tags = {"Segmentation.Status": "notstarted", UID_TAG: lesion.uid}
        if lesion.parents:
            tags[_PARENTS_TAG] = ",".join(lesion.parents)
        fields |= {
            f"Segment{n}_ID": lesion.name,
            f"Segment{n}_Name": lesion.name,
            f"Segment{n}_NameAutoGenerated": "0",
            f"Segment{n}_Color": " ".join(f"{c:.6g}" for c in color),
            f"Segment{n}_ColorAutoGenerated": "0",
            f"Segment{n}_LabelValue": str(lesion.label),
            f"Segment{n}_Layer": "0",
            f"Segment{n}_Extent": f"{x.start} {x.stop - 1} {y.start} {y.stop - 1} {z.start} {z.stop - 1}",
            f"Segment{n}_Tags": "".join(f"{key}:{value}|" for key, value in tags.items()),
        }
    return fields


def _identifiers(path: Path) -> tuple[dict[int, str], dict[int, tuple[str, ...]]]:
    """UIDs and parents by label value from the table beside the label map; empty if there is none."""
    table = _table_beside(path)
    if not table.is_file():
        return {}, {}
    rows, _ = read_table(table)
    if not rows or not {"index", "lesion_uid"} <= set(rows[0]):
        return {}, {}
    try:
        uids = {int(row["index"]): row["lesion_uid"] for row in rows}
    except ValueError as error:
        raise InputError(f"{table}: {error}.", "Restore the original table.") from error
    if len(uids) != len(rows) or MISSING in uids.values():
        raise InputError(f"{table} names an index twice or lacks an identifier.", "Restore the original table.")
    parents = {int(row["index"]): _split(row.get("parent_uids", MISSING)) for row in rows}
    return uids, parents


def _segments(path: Path, array: np.ndarray) -> tuple[np.ndarray, dict[int, str], dict[int, tuple[str, ...]]]:
    """One label per segment, from one or more layers; segments without an identifier get one from their voxels."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    fields = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    layers = array if array.ndim == 4 else array[np.newaxis]
    values = [int(fields.get(f"Segment{n}_LabelValue", 1)) for n in range(_count(fields))]
    keep_values = len(layers) == 1 and len(set(values)) == len(values)
    labels = np.zeros(layers.shape[1:], np.int32)
    uids: dict[int, str] = {}
    parents: dict[int, tuple[str, ...]] = {}
    for n, value in enumerate(values):
        label = value if keep_values else n + 1
        inside = layers[int(fields.get(f"Segment{n}_Layer", 0))] == value
        if (labels[inside] > 0).any():
            name = fields.get(f"Segment{n}_Name", str(n + 1))
            raise InputError(f"Segment {name} of {path.name} overlaps another.", "Each voxel may be of one lesion.")
        labels[inside] = label
        tags = dict(tag.split(":", 1) for tag in fields.get(f"Segment{n}_Tags", "").split("|") if ":" in tag)
        uids[label] = tags.get(UID_TAG, "")
        parents[label] = _split(tags.get(_PARENTS_TAG, MISSING))
    return labels, uids, parents


def _count(fields: dict[str, str]) -> int:
    n = 0
    while f"Segment{n}_ID" in fields:
        n += 1
    return n


def _paste(labels: np.ndarray, grid: Grid, target: Grid) -> np.ndarray | None:
    """The labels in an array of the target grid, if both are parts of one lattice and all labels fit; else None."""
    # From voxel to voxel (x, y, z): whole steps along the axes, exchanged or reversed, if the lattice is the same.
    step = np.linalg.inv(target.ijk_to_ras) @ grid.ijk_to_ras
    turn, start = np.rint(step[:3, :3]), np.rint(step[:3, 3])
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (np.array(grid.shape[::-1]) - 1)
    error = corners @ (step[:3, :3] - turn).T + step[:3, 3] - start
    is_turn = (np.abs(turn).sum(axis=0) == 1).all() and (np.abs(turn).sum(axis=1) == 1).all()
    if not is_turn or np.abs(error).max() > 1e-2:
        return None
    z, y, x = np.nonzero(labels)
    placed = (np.stack([x, y, z], axis=1) @ turn.T + start).astype(int)[:, ::-1]
    if len(placed) and (placed.min() < 0 or (placed.max(axis=0) >= target.shape).any()):
        return None
    result = np.zeros(target.shape, labels.dtype)
    result[tuple(placed.T)] = labels[z, y, x]
    return result


def _table_beside(path: Path) -> Path:
    name = path.name
    for suffix in (".nii.gz", ".nii", ".seg.nrrd", ".nrrd"):
        if name.endswith(suffix):
            return path.with_name(name[: -len(suffix)] + ".tsv")
    return path.with_suffix(".tsv")


def _split(text: str) -> tuple[str, ...]:
    return () if text in (MISSING, "") else tuple(text.split(","))


def _label_type(lesions: LesionSet) -> type:
    highest = max((lesion.label for lesion in lesions.lesions), default=0)
    return np.uint8 if highest < 2**8 else np.uint16 if highest < 2**16 else np.int32


def _color(label: int) -> str:
    return COLORS[(label - 1) % len(COLORS)]
