"""From the headers of a folder to scans: what was acquired together, whatever series and order the files are in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from .dicom_headers import ImageHeader
from .dicom_image_type import DISTORTION_CORRECTED
from .dicom_runs import doubts_without_times, run_that_it_follows, same_kind
from .dicom_stack import Problem, Volume, build_volume, clusters, same_echo, same_plane, split_repeats

#: Volumes of one scan begin within this time: echoes of a multi-slice scan differ by a repetition time, repeated scans
#: by the minute that a scan lasts.
SAME_SCAN_S = 10.0


@dataclass
class Draft:
    """Volumes that belong to one scan, one per part and echo; ``left`` are other reconstructions of the same."""

    volumes: list[Volume]
    left: list[Volume] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    computed: str | None = None
    remarks: list[str] = field(default_factory=list)


def sort_images(images: Sequence[ImageHeader], *, by_time: bool = True) -> tuple[list[Draft], list[str]]:
    """Group images into scans, independent of their order. Returns the scans and remarks for the user.

    ``by_time=False`` takes images of one geometry as one scan whenever they say they were acquired.
    """
    remarks: list[str] = []
    ordered = sorted(images, key=_order)
    kept = _without_copies(ordered, remarks)
    drafts = [_computed(group) for group in _by(kept, lambda i: (i.series_uid, i.computed)) if group[0].computed]
    acquired = [image for image in kept if not image.computed]
    _assume_magnitude(acquired, remarks)
    _spread_kind_of_echo(acquired)
    for group in _by(acquired, lambda i: (i.study_uid, i.spin_echo)):
        drafts += _scans(group, by_time)
    return sorted(drafts, key=_draft_order), remarks


def _scans(images: list[ImageHeader], by_time: bool) -> list[Draft]:
    """Scans among the acquired images of one study and kind of echo."""
    volumes: list[tuple[Volume, Problem | None]] = []
    for group in _by(images, lambda i: (i.series_uid, i.part, i.variant)):
        for plane in clusters(group, same_plane):
            in_plane = [group[n] for n in plane]
            for echo in clusters([image.echo_time_s for image in in_plane], same_echo):
                repeats, problem = split_repeats([in_plane[n] for n in echo])
                volumes += [(build_volume(repeat) if _apart(repeat) else Volume(repeat), problem) for repeat in repeats]
    drafts: list[Draft] = []
    for space in clusters([v for v, _ in volumes], lambda a, b: _same_space(a.first, b.first)):
        alike = [volumes[n] for n in space]
        runs = _runs(alike) if by_time else [alike]
        for n, run in enumerate(runs):
            problem, remark = doubts_without_times([[v for v, _ in one] for one in runs], n)
            for draft in _choose(run):
                draft.problems += [problem] if by_time and problem else []
                draft.remarks += [remark] if by_time and remark else []
                drafts.append(draft)
    return drafts


def _runs(volumes: list[tuple[Volume, Problem | None]]) -> list[list[tuple[Volume, Problem | None]]]:
    """Volumes grouped by when they were acquired; series without times join the run that their number follows."""
    runs: list[list[tuple[Volume, Problem | None]]] = []
    timed = [item for item in volumes if item[0].acquisition_time_s is not None]
    for item in sorted(timed, key=lambda item: (item[0].acquisition_time_s, *_volume_order(item[0]))):
        time = item[0].acquisition_time_s
        for run in runs:
            if abs(time - run[0][0].acquisition_time_s) <= SAME_SCAN_S:
                run.append(item)
                break
        else:
            runs.append([item])
    silent = sorted((i for i in volumes if i[0].acquisition_time_s is None), key=lambda i: _volume_order(i[0]))
    for series in _by(silent, lambda item: (item[0].first.series_number, item[0].first.series_uid)):
        own = [volume for volume, _ in series]
        place = run_that_it_follows(own, [[volume for volume, _ in run] for run in runs])
        if place is None:
            runs.append(series)
        else:
            runs[place] += series
    return runs


def _choose(run: list[tuple[Volume, Problem | None]]) -> list[Draft]:
    """One reconstruction of each part; repetitions that share the time of acquisition become scans of their own."""
    problems = list({p.message: p for _, p in run if p is not None}.values())
    by_part: dict[str, dict[tuple, list[Volume]]] = defaultdict(lambda: defaultdict(list))
    for volume, _ in run:
        by_part[volume.part][volume.variant].append(volume)
    chosen, left = [], []
    states = [{bool(DISTORTION_CORRECTED & set(words)) for words in variants} for variants in by_part.values()]
    common = set.intersection(*states)
    corrected: bool | None = min(common) if common else None  # without correction if every part has that
    for part in sorted(by_part, key=("phase", "real", "imaginary", "magnitude", "contradictory").index):
        variants = by_part[part]
        best = min(variants, key=lambda words: _preference(words, variants[words], corrected))
        if corrected is None:
            corrected = bool(DISTORTION_CORRECTED & set(best))
        elif corrected != bool(DISTORTION_CORRECTED & set(best)) and part != "contradictory":
            problems.append(
                Problem(
                    f"The {part} and the phase differ in distortion correction: their voxels do not match.",
                    "Export both with or both without distortion correction (better without).",
                )
            )
        chosen += variants[best]
        left += [volume for words, others in variants.items() if words != best for volume in others]
    unstated = any(problem.code == "echo-times" for problem in problems)
    doubled = [group for group in clusters(chosen, same_kind) if len(group) > 1]
    if not doubled or unstated:
        return [Draft(chosen, left, problems)]
    coils = {chosen[n].first.coil for group in doubled for n in group}
    if len(coils) > 1 and len(coils) >= max(len(group) for group in doubled):
        problems.append(
            Problem(
                f"The images of {len(coils)} receive coils are stored one by one ({', '.join(sorted(coils)[:4])} …).",
                "Export the combined images; uncombined coil data cannot be used.",
            )
        )
        return [Draft(chosen, left, problems)]
    repeats = _by(chosen, lambda v: (v.first.acquisition_number, v.first.temporal_position))
    if len(repeats) > 1 and all(len(clusters(repeat, same_kind)) == len(repeat) for repeat in repeats):
        return [Draft(repeat, list(left), list(problems)) for repeat in repeats]
    series = _by(chosen, lambda v: v.first.series_uid)
    if all(len(clusters(one, same_kind)) == len(one) for one in series) and _each_complete(series):
        return [Draft(one, list(left), list(problems)) for one in series]
    twice = chosen[doubled[0][0]]
    problems.append(
        Problem(
            f"There are {len(doubled[0])} versions of the {twice.describe()}, acquired at the same time.",
            "Give the files of one reconstruction, without the others.",
        )
    )
    return [Draft(chosen, left, problems)]


def _each_complete(series: list[list[Volume]]) -> bool:
    """Whether every series holds a magnitude together with phase or complex parts."""
    return all({"magnitude", "phase"} <= {v.part for v in one} for one in series)


def _preference(words: tuple[str, ...], volumes: list[Volume], corrected: bool | None) -> tuple:
    """The most echoes, in the same state of distortion correction as the phase, the least processed, first."""
    distorted = bool(DISTORTION_CORRECTED & set(words))
    mismatch = distorted if corrected is None else distorted != corrected
    complete = [volume for volume in volumes if volume.grid is not None]
    return ("DERIVED" in words, -len(clusters(complete, same_kind)), mismatch, len(words), words)


def _assume_magnitude(images: list[ImageHeader], remarks: list[str]) -> None:
    """A series in which no image states its part is magnitude; one that is silent among others is contradictory."""
    for group in _by(images, lambda i: i.series_uid):
        silent = [image for image in group if image.part is None]
        if silent and len(silent) == len(group):
            remarks.append(f"Series {group[0].series_number} does not state its part and was taken as magnitude.")
        for image in silent:
            image.part = "magnitude" if len(silent) == len(group) else "contradictory"


def _spread_kind_of_echo(images: list[ImageHeader]) -> None:
    """What a series says of its sequence holds for its images that do not say it."""
    for group in _by(images, lambda i: i.series_uid):
        stated = {image.spin_echo for image in group} - {None}
        if len(stated) == 1:
            for image in group:
                image.spin_echo = next(iter(stated))


def _without_copies(images: list[ImageHeader], remarks: list[str]) -> list[ImageHeader]:
    """Leave out images that are there twice: same identifier, place, part and echo."""
    kept: dict[tuple, ImageHeader] = {}
    for image in images:
        key = (image.sop_uid, image.frame, image.position, image.part, image.echo_time_s, image.series_uid)
        kept.setdefault(key if image.sop_uid else (image.path, image.frame), image)
    copies = len(images) - len(kept)
    if copies:
        remarks.append(f"{copies} images are there more than once (copied files); one of each was used.")
    return list(kept.values())


def _computed(images: list[ImageHeader]) -> Draft:
    return Draft([Volume(images)], computed=images[0].computed)


def _same_space(a: ImageHeader, b: ImageHeader) -> bool:
    frames = {a.frame_of_reference, b.frame_of_reference} - {""}
    return len(frames) <= 1 and same_plane(a, b)


def _volume_order(volume: Volume) -> tuple:
    first = volume.first
    return (
        -1 if first.series_number is None else first.series_number,
        first.series_uid,
        volume.part,
        volume.variant,
        volume.echo_time_s or 0.0,
        first.echo_number or 0,
    )


def _apart(images: list[ImageHeader]) -> bool:
    return len({tuple(round(v, 2) for v in image.position) for image in images}) == len(images)


def _by(values: Sequence, key) -> list[list]:
    groups: dict = defaultdict(list)
    for value in values:
        groups[key(value)].append(value)
    return list(groups.values())


def _order(image: ImageHeader) -> tuple:
    """By content, so that the order of the files does not matter; the path decides between copies only."""
    number = -1 if image.series_number is None else image.series_number
    instance = -1 if image.instance_number is None else image.instance_number
    return number, image.series_uid, instance, image.sop_uid, image.frame or 0, image.position, str(image.path)


def _draft_order(draft: Draft) -> tuple:
    first = draft.volumes[0].first
    number = min((v.first.series_number for v in draft.volumes if v.first.series_number is not None), default=10**9)
    return number, draft.computed or "", first.series_uid, first.acquisition_number or 0
