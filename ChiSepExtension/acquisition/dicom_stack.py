"""Slice images to volumes: sorted along the slice normal, with the grid they lie on or with what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from .dicom_headers import ImageHeader

#: DICOM is LPS, we are RAS.
_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: Two echo times of one echo differ by rounding only; neighbouring echoes are at least 0.3 ms apart.
ECHO_TOLERANCE_S = 2e-5
#: Positions are written with two decimals by some exports: 0.01 mm, and 2 % of the slice spacing beside that.
_POSITION_TOLERANCE_MM = 0.01
_POSITION_TOLERANCE = 0.02
#: Cosine between two orientations that count as one: 0.06°, as six decimals and a rounded export give.
_SAME_ORIENTATION = 1e-3


#: What tells images at one place apart, in the order in which it is tried.
_REPEATS = ("echo_number", "acquisition_number", "temporal_position", "coil", "trigger_time", "acquisition_time_s")


@dataclass
class Problem:
    """What is wrong, and what the user can do."""

    message: str
    remedy: str = ""
    code: str = ""  # what the caller can give to mend it: "echo-times", "field-strength"

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


@dataclass
class Volume:
    """One part of one echo in one reconstruction: its images from the first slice to the last.

    ``grid`` is None where the images do not make a rectangular stack; ``problems`` say why.
    """

    images: list[ImageHeader]
    grid: Grid | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def first(self) -> ImageHeader:
        return self.images[0]

    @property
    def part(self) -> str:
        return self.first.part or "magnitude"

    @property
    def variant(self) -> tuple[str, ...]:
        return self.first.variant

    @property
    def echo_time_s(self) -> float | None:
        times = [image.echo_time_s for image in self.images if image.echo_time_s is not None]
        return median(times) if times else None

    @property
    def acquisition_time_s(self) -> float | None:
        times = [image.acquisition_time_s for image in self.images if image.acquisition_time_s is not None]
        return median(times) if times else None

    def describe(self) -> str:
        """Such as "phase of echo time 10 ms (series 5)"."""
        time = self.echo_time_s
        stated = "without echo time" if time is None else f"of echo time {1e3 * time:.4g} ms"
        number = "" if self.first.series_number is None else f" (series {self.first.series_number})"
        return f"{self.part} {stated}{number}"


def clusters(values: Iterable, same: Callable[[object, object], bool]) -> list[list[int]]:
    """Indices grouped so that each is the same as the first of its group, in order of appearance."""
    values = list(values)
    groups: list[list[int]] = []
    for index, value in enumerate(values):
        for group in groups:
            if same(values[group[0]], value):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def same_echo(a: float | None, b: float | None) -> bool:
    """Whether two echo times (s) are one echo; an unknown time is like another unknown one only."""
    return a is b if a is None or b is None else abs(a - b) <= ECHO_TOLERANCE_S


def same_plane(a: ImageHeader, b: ImageHeader) -> bool:
    """Whether two images have one matrix, pixel size and orientation."""
    if (a.rows, a.columns, len(a.orientation), len(a.spacing)) != (
        b.rows,
        b.columns,
        len(b.orientation),
        len(b.spacing),
    ):
        return False
    turned = max((abs(x - y) for x, y in zip(a.orientation, b.orientation)), default=0.0)
    stretched = max((abs(x - y) / max(abs(x), 1e-9) for x, y in zip(a.spacing, b.spacing)), default=0.0)
    return turned <= _SAME_ORIENTATION and stretched <= 1e-3


def split_repeats(images: Sequence[ImageHeader]) -> tuple[list[list[ImageHeader]], Problem | None]:
    """Split images that lie at one place into the repetitions (or coils) they belong to.

    Returns the groups, and a problem if nothing in the headers tells the images at one place apart.
    """
    if _places_differ(images):
        return [list(images)], None
    copies = max(Counter(map(_place, images)).values())
    for attribute in (
        "echo_number",
        "acquisition_number",
        "temporal_position",
        "coil",
        "trigger_time",
        "acquisition_time_s",
    ):
        groups: dict[Hashable, list[ImageHeader]] = defaultdict(list)
        for image in images:
            groups[getattr(image, attribute)].append(image)
        if len(groups) == copies and all(_places_differ(group) for group in groups.values()):
            problem = None
            if attribute == "echo_number":
                problem = Problem(
                    f"The {copies} echoes of the {Volume(list(images)).describe()} do not state their own echo times.",
                    "The scanner left them out; give them (--echo-times).",
                    "echo-times",
                )
            return list(groups.values()), problem
    return [list(images)], _cannot_tell_apart(images)


def build_volume(images: Sequence[ImageHeader]) -> Volume:
    """Sort images of one part and echo along the slice normal, and find their grid or what is wrong with them."""
    volume = Volume(list(images))
    broken = [image for image in images if not _has_plane(image)]
    if broken:
        volume.problems.append(
            Problem(
                f"{volume.describe()}: {_name(broken[0])} has no usable position, orientation or pixel size"
                + (f", and {len(broken) - 1} more" if len(broken) > 1 else "") + ".",
                "Export the series again; the header has lost its geometry.",
            )
        )  # fmt: skip
        return volume
    normal = _normal(images[0])
    volume.images.sort(key=lambda image: float(np.dot(normal, image.position)))
    positions = np.array([image.position for image in volume.images], dtype=np.float64)
    problem = _uneven(volume, positions, normal)
    if problem is None:
        try:
            volume.grid = _grid(volume.first, positions, normal)
        except InputError as error:
            problem = Problem(f"{volume.describe()}: {error.message}", error.remedy)
    if problem is not None:
        volume.problems.append(problem)
    return volume


def missing_against(volume: Volume, reference: Volume) -> Problem:
    """Why a volume does not lie on the grid of another: slices that it lacks or that lie elsewhere, named."""
    normal = _normal(reference.first)
    own = np.array([np.dot(normal, image.position) for image in volume.images])
    there = np.array([np.dot(normal, image.position) for image in reference.images])
    lacking = [float(t) for t in there if np.abs(own - t).min() > 0.1]
    what = f"The {volume.describe()} has {len(own)} slices, the {reference.describe()} has {len(there)}"
    if lacking and len(own) < len(there):
        shown = ", ".join(f"{value:.1f}" for value in lacking[:5]) + (" …" if len(lacking) > 5 else "")
        return Problem(f"{what}: missing at {shown} mm along the slice direction.", "Export the series again.")
    return Problem(f"{what}, and they do not lie at the same places.", "Give the parts of one scan only.")


def _places_differ(images: Sequence[ImageHeader]) -> bool:
    """Whether no two images lie at the same place."""
    places = Counter(_place(image) for image in images)
    return max(places.values()) == 1


def _place(image: ImageHeader) -> tuple:
    return tuple(round(value, 2) for value in image.position)


def _cannot_tell_apart(images: Sequence[ImageHeader]) -> Problem:
    at_one = [image for image in images if _place(image) == Counter(map(_place, images)).most_common(1)[0][0]]
    volume = Volume(at_one)
    return Problem(
        f"{volume.describe()}: {len(at_one)} different images lie at one place ({_name(at_one[0])} and "
        f"{_name(at_one[1])}), and nothing in their headers tells them apart.",
        "Export one reconstruction of one scan; uncombined coil images cannot be used.",
    )


def _has_plane(image: ImageHeader) -> bool:
    if len(image.position) != 3 or len(image.orientation) != 6 or len(image.spacing) != 2:
        return False
    row, column = np.array(image.orientation[:3]), np.array(image.orientation[3:])
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    right = abs(float(row @ column)) < 1e-2 and np.abs(lengths - 1).max() < 1e-2
    return bool(right and min(image.spacing) > 0 and min(image.rows, image.columns) > 0)


def _normal(image: ImageHeader) -> np.ndarray:
    normal = np.cross(image.orientation[:3], image.orientation[3:])
    return normal / np.linalg.norm(normal)


def _uneven(volume: Volume, positions: np.ndarray, normal: np.ndarray) -> Problem | None:
    """Slices that are missing, unevenly spaced, doubled or out of line, named by file and place."""
    count = len(positions)
    if count < 2:
        return None
    along = positions @ normal
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    tolerance = _POSITION_TOLERANCE_MM + _POSITION_TOLERANCE * usual
    again = "Export the series again, with all of its slices."
    if usual <= 2 * _POSITION_TOLERANCE_MM or gaps.min() < tolerance:
        at = int(np.argmin(gaps))
        return Problem(
            f"{volume.describe()}: two slices lie at the same place ({_between(volume, at)}).",
            "Give one scan; copies and repetitions must not be mixed.",
        )
    odd = np.flatnonzero(np.abs(gaps - usual) > tolerance)
    if len(odd):
        at = int(odd[np.argmax(np.abs(gaps[odd] - usual))])
        lost = int(round(gaps[at] / usual)) - 1
        if lost >= 1 and abs(gaps[at] - (lost + 1) * usual) <= (lost + 1) * tolerance:
            return Problem(
                f"{volume.describe()}: {lost} slice{'s are' if lost > 1 else ' is'} missing between "
                f"{_between(volume, at)}: {gaps[at]:.2f} mm apart instead of {usual:.2f} mm.",
                again,
            )
        return Problem(
            f"{volume.describe()}: the slices are not evenly spaced: {gaps[at]:.3f} mm instead of {usual:.3f} mm "
            f"between {_between(volume, at)}.",
            again,
        )
    stated = _stated_spacing(volume)
    if stated is not None and usual > 1.3 * stated:
        return Problem(
            f"{volume.describe()}: its slices lie {usual:.2f} mm apart, but the headers state {stated:.2f} mm: slices "
            "are missing throughout.",
            again,
        )
    step = (positions[-1] - positions[0]) / (count - 1)
    residual = np.linalg.norm(positions - positions[0] - np.arange(count)[:, None] * step, axis=1)
    if residual.max() > 2 * tolerance:
        return Problem(
            f"{volume.describe()}: {_name(volume.images[int(np.argmax(residual))])} lies "
            f"{residual.max():.2f} mm out of line with the other slices.",
            again,
        )
    tilt = np.degrees(np.arccos(min(1.0, float(step @ normal) / np.linalg.norm(step))))
    if tilt > 0.05:
        return Problem(
            f"{volume.describe()}: the slices are sheared by {tilt:.2f}° (gantry tilt): they are not stacked along "
            "their normal.",
            "Export the original series; phase must not be resampled to a rectangular grid.",
        )
    return None


def _stated_spacing(volume: Volume) -> float | None:
    """Distance of slices that most headers state; of a 3-D scan, whose slices touch or overlap, the thickness too."""
    spacings = [abs(image.slice_spacing) for image in volume.images if image.slice_spacing]
    if not spacings and dict(volume.first.facts).get("acquisition_type") == "3D":
        spacings = [image.slice_thickness for image in volume.images if image.slice_thickness]
    return median(spacings) if spacings and median(spacings) > 0 else None


def _grid(first: ImageHeader, positions: np.ndarray, normal: np.ndarray) -> Grid:
    count = len(positions)
    matrix = np.eye(4)
    # PixelSpacing is (between rows, between columns); i runs along a row, from column to column.
    matrix[:3, 0] = np.array(first.orientation[:3]) * first.spacing[1]
    matrix[:3, 1] = np.array(first.orientation[3:]) * first.spacing[0]
    if count > 1:
        matrix[:3, 2] = (positions[-1] - positions[0]) / (count - 1)
    else:
        matrix[:3, 2] = normal * (first.slice_thickness or 1.0)
    matrix[:3, 3] = positions[0]
    return Grid((count, first.rows, first.columns), _LPS_RAS @ matrix)


def _between(volume: Volume, at: int) -> str:
    return f"{_name(volume.images[at])} and {_name(volume.images[at + 1])}"


def _name(image: ImageHeader) -> str:
    return image.path.name if image.frame is None else f"frame {image.frame + 1} of {image.path.name}"
