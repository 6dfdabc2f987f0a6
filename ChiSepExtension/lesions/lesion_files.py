"""Lesion outlines in files: BIDS label map with its table, and Slicer's segmentation file; identifiers survive both."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..volume_io import atomic_path, read_volume, write_volume
from .canonical import require_same_grid
from .components import LesionSet, find_lesions, lesions_from_labels
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
    """Lesions of a file: ``.seg.nrrd``, a label map with its table, a label map alone, or a binary mask.

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
    path = Path(path)
    labels, own_grid = read_volume(path)
    if grid is not None:
        require_same_grid("lesion mask", own_grid, grid)
    return lesions_of(labels, own_grid, path, case=case)


def lesions_of(labels: np.ndarray, grid: Grid, path: str | os.PathLike = "", *, case: str = "") -> LesionSet:
    """Lesions of an array that was read (and possibly resampled) from ``path``, with identifiers stored there."""
    path = Path(path)
    if labels.ndim != 3:
        raise InputError(f"{path} has more than one volume (or overlapping segments).", "Give one 3-D label map.")
    uids, parents = _identifiers(path)
    if uids:
        lesions = lesions_from_labels(labels, grid, uids=uids, parents=parents)
        return lesions
    if labels.dtype.kind in "bui" or (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        values = np.unique(labels)
        if (values > 0).sum() > 1:
            return lesions_from_labels(labels, grid, case=case)
    return find_lesions(labels, grid, case=case)


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
    """UIDs and parents by label value, from the file's own fields or from the table beside it; empty if none."""
    if path.name.endswith(".seg.nrrd") and path.is_file():
        return _identifiers_of_segments(path)
    table = _table_beside(path)
    if not path.name or not table.is_file():
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


def _identifiers_of_segments(path: Path) -> tuple[dict[int, str], dict[int, tuple[str, ...]]]:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    keys = set(reader.GetMetaDataKeys())
    uids, parents = {}, {}
    n = 0
    while f"Segment{n}_LabelValue" in keys:
        label = int(reader.GetMetaData(f"Segment{n}_LabelValue"))
        tags = dict(tag.split(":", 1) for tag in reader.GetMetaData(f"Segment{n}_Tags").split("|") if ":" in tag)
        if UID_TAG in tags:
            uids[label] = tags[UID_TAG]
            parents[label] = _split(tags.get(_PARENTS_TAG, MISSING))
        n += 1
    return uids, parents


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
