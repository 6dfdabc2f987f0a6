"""A case of a BIDS folder as nodes: its maps with anatomy and lesion mask, or its raw echoes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from ..errors import InputError
from ..lesions.map_files import read_maps
from ..volume_io import read_volume
from .loading import LoadedEchoes, load_folder
from .maps import BY_KEY
from .outputs import KIND
from .review_maps import KEY_OF_NAME
from .volumes import set_array, set_meaning

#: Suffixes of images to look at, as BIDS names them.
ANATOMY = ("FLAIR", "T1w", "T2w", "T2starw", "SWI")
_LESIONS = re.compile(r"(lesions?\w*_(dseg|mask|probseg)|_lesions?)(\.seg)?\.(nii(\.gz)?|nrrd)$", re.IGNORECASE)
_IMAGE = re.compile(r"\.(nii(\.gz)?|nrrd)$", re.IGNORECASE)


@dataclass
class LoadedCase:
    """What was found of a case; nodes by name, ``lesions`` a path or None, ``echoes`` None where maps were found."""

    code: str
    maps: dict[str, Any] = field(default_factory=dict)
    anatomy: dict[str, Any] = field(default_factory=dict)
    mask: Any = None
    lesions: Path | None = None
    echoes: LoadedEchoes | None = None

    @property
    def is_loaded(self) -> bool:
        return bool(self.maps) and all(node.GetScene() is not None for node in self.maps.values())


def load_case(
    scene, bids: str | Path, sub: str, ses: str = "", *, chi_unit: str | None = None, dia_sign: str | None = None
) -> LoadedCase:
    """Load ``sub`` (and ``ses``), labels without "sub-", of a BIDS folder.

    Raises
    ------
    InputError
        If the case is not there, several derivatives have maps of it, or a map's unit or sign must be told.
    """
    bids = Path(bids)
    labels = {"subject": str(sub).removeprefix("sub-"), "session": str(ses).removeprefix("ses-")}
    for what, label in labels.items():
        if not re.fullmatch("[A-Za-z0-9]+", label) and (label or what == "subject"):
            raise InputError(f"{label!r} is no label of a {what}.", "Use letters and digits, such as 01.")
    below = Path(f"sub-{labels['subject']}", f"ses-{labels['session']}" if labels["session"] else "")
    raw = bids / below
    folders = [folder for folder in [raw, *sorted(bids.glob(f"derivatives/*/{below.as_posix()}"))] if folder.is_dir()]
    if not folders:
        raise InputError(f"There is no {below.as_posix()} in {bids.name}.", "Check the folder and the labels.")
    code = labels["subject"] + labels["session"]
    with_maps = [place for folder in folders for place in (folder, folder / "anat") if _has_maps(place)]
    if len(with_maps) > 1:
        raise InputError(
            f"{len(with_maps)} folders have maps of {below.as_posix()}: "
            f"{', '.join(sorted(str(place.relative_to(bids)) for place in with_maps))}.",
            "Load the maps of one of them, and begin the review with these.",
        )
    if not with_maps:
        return LoadedCase(code, echoes=load_folder(scene, raw / "anat" if (raw / "anat").is_dir() else raw))
    found = read_maps(with_maps[0], chi_unit=chi_unit, dia_sign=dia_sign)
    case = LoadedCase(code)
    for name, array in found.maps.items():
        key = KEY_OF_NAME.get(name, name)
        node = _volume(scene, f"{code} {name}", array, found.grid)
        if key in BY_KEY:
            node.SetAttribute(KIND, key)
            set_meaning(node, BY_KEY[key].quantity, BY_KEY[key].unit)
        case.maps[name] = node
    case.mask = _volume(scene, f"{code} mask", found.mask, found.grid, "vtkMRMLLabelMapVolumeNode")
    images = [path for folder in folders for path in sorted(folder.rglob("*")) if _IMAGE.search(path.name)]
    for suffix in ANATOMY:
        path = next((p for p in images if re.search(rf"_{suffix}\.nii(\.gz)?$", p.name)), None)
        if path is not None:
            array, grid = read_volume(path)
            if array.ndim == 3:
                case.anatomy[suffix] = _volume(scene, f"{code} {suffix}", array, grid)
    case.lesions = next((path for path in images if _LESIONS.search(path.name)), None)
    return case


def _has_maps(folder: Path) -> bool:
    return folder.is_dir() and any("Chimap" in path.name and _IMAGE.search(path.name) for path in folder.iterdir())


def _volume(scene, name: str, array, grid, node_class: str = "vtkMRMLScalarVolumeNode"):
    node = scene.AddNewNodeByClass(node_class, scene.GenerateUniqueName(name))
    set_array(node, array, grid)
    slicer.util.arrayFromVolumeModified(node)
    node.CreateDefaultDisplayNodes()
    return node
