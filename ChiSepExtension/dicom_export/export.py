"""Maps, outlines, values and ratings of one case as DICOM files in a folder, searched for the patient's identity."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..lesions.components import LesionSet
from ..lesions.deidentify import Identity, require_anonymous
from ..lesions.measures import LesionMeasures
from ..lesions.rating_tables import RatingTable
from ..progress import NEVER, CancelToken, Progress, part, silent
from .codes import MAPS
from .measurement_groups import lesion_measurements
from .parametric_map import parametric_map
from .reference import make_reference
from .requirement import require_highdicom
from .segmentation import lesion_segmentation

#: Series numbers count on from here: behind those of a scanner.
FIRST_SERIES = 9001


def export_dicom(
    folder: str | os.PathLike,
    maps: Mapping[str, np.ndarray],
    grid: Grid,
    *,
    case: str,
    lesions: LesionSet | None = None,
    measures: Sequence[LesionMeasures] = (),
    ratings: Sequence[RatingTable] = (),
    sources: Sequence[Any] = (),
    identify: bool = False,
    identity: Identity | None = None,
    outlines: str = "semiautomatic",
    origin: str = "",
    overwrite: bool = False,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> tuple[Path, ...]:
    """Write one Parametric Map per map, a Segmentation of the lesions, and their values and ratings as SR.

    All files appear, or none. De-identified unless ``identify``: the patient is the code of the case.

    Parameters
    ----------
    maps
        (z, y, x) by the names of `codes.MAPS`, in ppm and 1/s.
    case
        Code of the case.
    lesions, measures, ratings
        Of this case; measures make one SR for each reader's ratings, or one without.
    sources
        Headers of the scan's images (`reference.read_headers`): their study and frame of reference are referred to,
        their patient's identity is searched for in the files.
    identify
        Take over patient and study attributes of the sources.
    identity
        Further words that must not stand in the files.
    outlines
        "manual" or "semiautomatic".
    origin
        How the maps were made (software, method, hashes of weights), for the comment of each map.

    Raises
    ------
    InputError
        If highdicom is missing, files exist, or the parts do not fit each other.
    IdentityFound
        If a file would hold the patient's identity.
    """
    require_highdicom()
    folder = Path(folder)
    if measures and lesions is None:
        raise InputError("Lesion values need the outlines they were measured in.", "Give the lesion mask as well.")
    if ratings and not measures:
        raise InputError("Ratings are exported together with the values.", "Give the table of measures as well.")
    if lesions is not None and not lesions.grid.matches(grid):
        raise InputError(
            f"The lesions lie on {lesions.grid.describe()}, the maps on {grid.describe()}.",
            "Give a lesion mask on the grid of the maps.",
        )
    names = [f"{name}.dcm" for name in maps] + (["lesions_seg.dcm"] if lesions is not None else [])
    tables: list[RatingTable | None] = [*ratings] or [None]
    if measures:
        names += [f"lesions_{f'rater-{t.rater}_' if t else ''}sr.dcm" for t in tables]
    for name in names:
        if (folder / name).exists() and not overwrite:
            raise InputError(f"{folder / name} exists.", "Choose another folder, or allow overwriting.")
    reference = make_reference(grid, case, sources, identify=identify, identity=identity)
    folder.mkdir(parents=True, exist_ok=True)
    steps = len(names) + 1
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as stage:
        written: dict[str, Any] = {}

        def save(dataset: Any) -> None:
            dataset.save_as(Path(stage) / names[len(written)])
            written[names[len(written)]] = dataset
            cancel.check()
            progress(len(written) / steps, names[min(len(written), len(names) - 1)])

        by_name = {}
        for number, (name, array) in enumerate(maps.items(), start=FIRST_SERIES):
            by_name[name] = parametric_map(name, array, grid, reference, origin=origin, series_number=number)
            save(by_name[name])
        if lesions is not None:
            source = next(iter(by_name.values()), None)
            number = FIRST_SERIES + len(MAPS)
            save(lesion_segmentation(lesions, reference, source=source, algorithm=outlines, series_number=number))
            segmentation = written["lesions_seg.dcm"]
        for number, table in enumerate(tables if measures else (), start=FIRST_SERIES + len(MAPS) + 1):
            steps_here = part(progress, len(written) / steps, (len(written) + 1) / steps)
            options = {"ratings": table, "case": case, "progress": steps_here, "cancel": cancel}
            save(lesion_measurements(measures, segmentation, by_name, series_number=number, **options))
        progress(len(names) / steps, "Searching for the patient's identity")
        for words in filter(None, reference.identities):
            require_anonymous([stage], words)
        for name in names:
            (Path(stage) / name).replace(folder / name)
    progress(1.0, "Done")
    return tuple(folder / name for name in names)
