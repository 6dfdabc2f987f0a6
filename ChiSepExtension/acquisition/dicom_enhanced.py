"""Enhanced multi-frame MR images: one `ImageHeader` per frame from the per-frame and shared functional groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .dicom_headers import ImageHeader, common_header, ge_code, scaling
from .dicom_image_type import computed_kind, part_of, variant_of
from .dicom_values import items, number, numbers, seconds_of_day, text, texts, whole

_FRAME_CONTENT = 0x00209111
_PLANE_POSITION = 0x00209113
_PLANE_ORIENTATION = 0x00209116
_PIXEL_MEASURES = 0x00289110
_PIXEL_VALUES = 0x00289145
_ECHO = 0x00189114
_TIMING = 0x00189112
_IMAGING = 0x00189006
_FRAME_TYPE = 0x00189226
_COIL = 0x00189042
_REAL_WORLD = 0x00409096


def frame_headers(path: Path, dataset) -> list[ImageHeader]:
    """Headers of all frames; the file's own values stand in where a frame and the shared groups say nothing.

    Raises
    ------
    ValueError
        If there are not as many per-frame groups as frames: the file is damaged, and frames would be mistaken.
    """
    shared = next(iter(items(dataset, 0x52009229)), None)
    frames = items(dataset, 0x52009230)
    stated = whole(dataset, 0x00280008)
    if not frames and stated in (None, 1):
        frames = [None]  # one frame, everything shared
    elif len(frames) != stated:
        raise ValueError(f"it describes {len(frames)} frames, but states {stated}")
    top = common_header(path, dataset)
    image_type, component, code = texts(dataset, 0x00080008), text(dataset, 0x00089208), ge_code(dataset)
    headers = []
    for index, own in enumerate(frames):
        header = replace(top, frame=index)
        groups = _Groups(own, shared, dataset)
        _fill_content(header, groups)
        _fill_part(header, groups, image_type, component, code)
        _fill_geometry(header, groups)
        values = groups.find(_PIXEL_VALUES)
        found = scaling(values) if values is not None else (None, None, "", "")
        if not found[3]:
            found = scaling(groups.holder(_REAL_WORLD))
        header.slope, header.intercept, header.rescale_type, header.scaled_by = found
        headers.append(header)
    return headers


class _Groups:
    """Functional groups of a frame: its own first, then the shared ones, then the top of the file."""

    def __init__(self, own, shared, dataset) -> None:
        self._places = [place for place in (own, shared) if place is not None]
        self.dataset = dataset

    def find(self, tag: int):
        """First item of a functional group, None if there is none."""
        return next((found[0] for place in self._places if (found := items(place, tag))), None)

    def holder(self, tag: int):
        """The place that holds the group (the frame, the shared groups or the file)."""
        return next((place for place in self._places if items(place, tag)), self.dataset)


def _fill_content(header: ImageHeader, groups: _Groups) -> None:
    content, echo, timing, imaging = (groups.find(tag) for tag in (_FRAME_CONTENT, _ECHO, _TIMING, _IMAGING))
    if content is not None:
        time = seconds_of_day(text(content, 0x00189074))
        header.acquisition_time_s = header.acquisition_time_s if time is None else time
        header.temporal_position = whole(content, 0x00209128) or header.temporal_position
        header.acquisition_number = whole(content, 0x00209156) or header.acquisition_number
    time = number(echo, 0x00189082) if echo is not None else None
    if time is None:
        time = number(groups.dataset, 0x00189082)
    if time is None:
        time = number(groups.dataset, 0x00180081)
    header.echo_time_s = time / 1e3 if time else None
    stated = dict(header.facts)
    if timing is not None:
        repetition, flip = number(timing, 0x00180080), number(timing, 0x00181314)
        stated["repetition_time_s"] = stated["repetition_time_s"] if repetition is None else repetition / 1e3
        stated["flip_angle_deg"] = stated["flip_angle_deg"] if flip is None else flip
    if imaging is not None:
        frequency = number(imaging, 0x00189098)
        stated["imaging_frequency_mhz"] = stated["imaging_frequency_mhz"] if frequency is None else frequency
    header.facts = tuple(stated.items())
    coil = groups.find(_COIL)
    if coil is not None and text(coil, 0x00189043).upper() != "MULTICOIL":
        header.coil = text(coil, 0x00181250) or header.coil


def _fill_part(header: ImageHeader, groups: _Groups, image_type, component: str, code: int | None) -> None:
    frame = groups.find(_FRAME_TYPE)
    frame_type: tuple[str, ...] = ()
    if frame is not None:
        frame_type = texts(frame, 0x00089007)
        component = text(frame, 0x00089208) or component
    header.image_type = frame_type or image_type
    header.part = part_of(image_type if not frame_type else (), component, code, frame_type)
    header.computed = computed_kind(image_type if not frame_type else (), frame_type)
    header.variant = variant_of(image_type, frame_type)


def _fill_geometry(header: ImageHeader, groups: _Groups) -> None:
    position, orientation, measures = (
        groups.find(tag) for tag in (_PLANE_POSITION, _PLANE_ORIENTATION, _PIXEL_MEASURES)
    )
    if position is not None:
        header.position = numbers(position, 0x00200032)
    if orientation is not None:
        header.orientation = numbers(orientation, 0x00200037)
    if measures is not None:
        header.spacing = numbers(measures, 0x00280030)
        header.slice_thickness = number(measures, 0x00180050)
        header.slice_spacing = number(measures, 0x00180088)
