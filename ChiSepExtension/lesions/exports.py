"""A locked research read as a BIDS derivative: maps, outlines, measures, ratings, provenance, pictures, lock.

Everything is written into a hidden folder first, searched for the patient's identity, read back, and only then moved
to its place. Nothing that exists is overwritten: a changed read becomes the next version.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import InputError
from ..notice import RESEARCH_USE
from ..volume_io import write_text, write_volume
from .components import LesionSet
from .deidentify import Identity, require_anonymous
from .lesion_files import read_lesions, write_lesions, write_segmentation
from .lock import check_lock, write_lock
from .measure_tables import write_measures
from .measures import LesionMeasures
from .rating_tables import RatingTable, read_ratings, write_ratings
from .tables import write_json

#: BIDS name and sidecar of the maps that can be exported with a read.
_MAPS = {
    "chi_para": ("desc-paramagnetic_Chimap", {"Units": "ppm", "SignConvention": "absolute"}),
    "chi_dia": ("desc-diamagnetic_Chimap", {"Units": "ppm", "SignConvention": "absolute"}),
    "chi_total": ("Chimap", {"Units": "ppm", "SignConvention": "paramagnetic positive"}),
    "r2star": ("R2starmap", {"Units": "1/s"}),
    "r2prime": ("R2primemap", {"Units": "1/s"}),
}
#: No tissue of the brain has more; a map beyond it is in ppb.
MAX_PPM = 2.0


@dataclass(frozen=True)
class BidsCase:
    """Subject and session labels, letters and digits only; the session may be empty."""

    subject: str
    session: str = ""

    def __post_init__(self) -> None:
        for label in (self.subject, self.session or "x"):
            if not re.fullmatch("[A-Za-z0-9]+", label):
                raise InputError(f"{label!r} is no BIDS label.", "Use letters and digits, no sub- or ses- in front.")

    @property
    def prefix(self) -> str:
        return f"sub-{self.subject}" + (f"_ses-{self.session}" if self.session else "")

    @property
    def folder(self) -> Path:
        return Path(f"sub-{self.subject}", f"ses-{self.session}") if self.session else Path(f"sub-{self.subject}")


@dataclass(frozen=True)
class Export:
    """Files of an export below the derivative's root, the lock among them, and the version."""

    files: tuple[Path, ...]
    lock: Path
    version: int


def export_review(
    root: str | os.PathLike,
    case: BidsCase,
    *,
    lesions: LesionSet,
    measures: Sequence[LesionMeasures],
    measures_about: Mapping[str, object],
    ratings: Sequence[RatingTable],
    provenance: Mapping[str, object],
    identity: Identity | None,
    consensus: str | os.PathLike | None = None,
    maps: Mapping[str, np.ndarray] | None = None,
    figures: Sequence[str | os.PathLike] = (),
) -> Export:
    """Write and lock a read below ``root`` (``…/derivatives/chisep-review``).

    Parameters
    ----------
    identity
        What must not leave; the export is refused on a hit. None switches the search off: the user's own decision,
        recorded in the provenance.
    maps
        (z, y, x) by name on the grid of the lesions; susceptibility in ppm.

    Raises
    ------
    InputError
        If ratings are stale or of other lesions, or a map is not in ppm.
    IdentityFound
        If anything to be written holds the patient's identity.
    """
    _check(lesions, measures, ratings, maps or {})
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    version = _next_version(root / case.folder / "review", case)
    mark = "" if version == 1 else f"V{version:02d}"
    with tempfile.TemporaryDirectory(dir=root, prefix=".partial-") as name:
        stage = Path(name)
        anat, review = stage / case.folder / "anat", stage / case.folder / "review"
        for map_name, array in (maps or {}).items():
            suffix, sidecar = _MAPS[map_name]
            entity = suffix if not mark else _with_version(suffix, mark)
            write_volume(anat / f"{case.prefix}_{entity}.nii.gz", array.astype(np.float32), lesions.grid)
            write_json(anat / f"{case.prefix}_{entity}.json", {**sidecar, "Notice": RESEARCH_USE})
        outlines = write_lesions(anat / f"{case.prefix}_desc-lesions{mark}_dseg.nii.gz", lesions)[0]
        write_segmentation(review / f"{case.prefix}_desc-lesions{mark}.seg.nrrd", lesions)
        write_measures(review / f"{case.prefix}_desc-lesions{mark}_measures.tsv", measures, measures_about)
        written = []
        for table in ratings:
            entity = f"rater-{table.rater}" + (f"_desc-v{version:02d}" if mark else "")
            written.append(write_ratings(review / f"{case.prefix}_{entity}_ratings.tsv", table)[0])
        if consensus is not None:
            for suffix in (".tsv", ".json"):
                target = review / f"{case.prefix}_desc-consensus{mark}_ratings{suffix}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(consensus).with_suffix(suffix), target)
        for figure in map(Path, figures):
            (review / "figures").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(figure, review / "figures" / _versioned(figure.name, mark))
        _write_provenance(review / f"{case.prefix}_desc-provenance{mark}.json", provenance, ratings, identity, version)
        lock = review / f"{case.prefix}_desc-lock{mark}.json"
        files = [p for p in sorted(stage.rglob("*")) if p.is_file()]
        write_lock(lock, files, version=version, raters=[table.rater for table in ratings])
        if identity is not None:
            require_anonymous([stage], identity)
        _read_back(outlines, lesions, written, ratings, lock)
        moved = _move(stage, root, [*files, lock])
    _describe_dataset(root)
    return Export(tuple(moved), root / case.folder / "review" / lock.name, version)


def _check(lesions: LesionSet, measures, ratings, maps) -> None:
    if [m.uid for m in measures] != list(lesions.uids):
        raise InputError("The measures are of other lesions.", "Measure again after the last change of outlines.")
    for table in ratings:
        stale = [row for row in table.rows if row.stale]
        outlines = {lesion.uid: lesion.outline for lesion in lesions.lesions}
        stale += [r for r in table.rows if r.rating.uid in outlines and r.rating.outline != outlines[r.rating.uid]]
        if stale:
            raise InputError(
                f"{len(stale)} ratings of rater {table.rater} are older than the outline of their lesion.",
                "Rate these lesions again before locking.",
            )
    for name, array in maps.items():
        if name not in _MAPS:
            raise InputError(f"There is no BIDS name for a map {name!r}.", f"Export one of {', '.join(_MAPS)}.")
        high = float(np.nanmax(np.abs(array))) if array.size else 0.0
        if _MAPS[name][1]["Units"] == "ppm" and not high < MAX_PPM:
            raise InputError(
                f"The map {name} reaches {high:.3g}, which is no susceptibility of a brain in ppm.",
                "Was it stored in ppb? Files hold ppm.",
            )


def _write_provenance(path: Path, provenance, ratings, identity: Identity | None, version: int) -> None:
    own = {
        "Notice": RESEARCH_USE,
        "Version": version,
        "ChiSepVersion": __version__,
        "NumPyVersion": np.__version__,
        "Raters": [table.rater for table in ratings],
        "CodebookVersions": sorted({f"{t.codebook.version} {t.codebook.sha256}" for t in ratings}),
        "SearchedForIdentity": identity is not None,
    }
    write_json(path, {**own, **provenance})


def _read_back(outlines: Path, lesions: LesionSet, written: Sequence[Path], ratings, lock: Path) -> None:
    """Read what was written, as whoever gets it will."""
    again = read_lesions(outlines, grid=lesions.grid)
    if again.uids != tuple(x.uid for x in sorted(lesions.lesions, key=lambda x: x.label)) or not np.array_equal(
        again.labels, lesions.labels
    ):
        raise OSError(f"{outlines.name} does not read back as it was written.")
    for path, table in zip(written, ratings):
        if [r.rating.codes for r in read_ratings(path).rows] != [dict(r.rating.codes) for r in table.rows]:
            raise OSError(f"{path.name} does not read back as it was written.")
    if check_lock(lock).state != "intact":
        raise OSError(f"{lock.name} does not fit the files it locks.")


def _move(stage: Path, root: Path, files: Sequence[Path]) -> list[Path]:
    targets = [root / file.relative_to(stage) for file in files]
    existing = [target for target in targets if target.exists()]
    if existing:
        raise InputError(f"{existing[0]} exists.", "Move it away; an export never overwrites a file.")
    for file, target in zip(files, targets):
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    return targets


def _describe_dataset(root: Path) -> None:
    description = root / "dataset_description.json"
    if not description.exists():
        content = {
            "Name": "Lesion review of susceptibility source maps",
            "BIDSVersion": "1.9.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "ChiSepExtension", "Version": __version__}],
        }
        write_text(description, json.dumps(content, indent=1) + "\n")
    if not (root / ".bidsignore").exists():
        write_text(root / ".bidsignore", "**/review/**\n")


def _next_version(review: Path, case: BidsCase) -> int:
    version = 1
    while (review / f"{case.prefix}_desc-lock{'' if version == 1 else f'V{version:02d}'}.json").exists():
        version += 1
    return version


def _with_version(suffix: str, mark: str) -> str:
    if suffix.startswith("desc-"):
        entity, _, rest = suffix.partition("_")
        return f"{entity}{mark}_{rest}"
    return f"desc-{mark.lower()}_{suffix}"


def _versioned(name: str, mark: str) -> str:
    path = Path(name)
    return f"{path.stem}{'_' + mark.lower() if mark else ''}{path.suffix}"
