"""Phase unwrapping of all echoes: ROMEO in space, consistent 2π in time, and the Laplacian alternative."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent
from .romeo import TWO_PI, edge_weight, grouped_median, neighbours, unwrap_spatially, voxel_quality, wrap

METHODS = ("romeo", "laplacian")
MODES = ("individual", "template")

#: Template mode: an echo whose temporal unwrapping leaves this much larger a share of broken edges than the template
#: itself has is unwrapped on its own. A phase offset of ±1.2 rad breaks 2-10 % of the edges, noise alone < 0.1 %.
_BROKEN_EDGES_ALLOWED = 2e-3


def unwrap(
    phase: np.ndarray,
    magnitude: np.ndarray,
    echo_times_s: np.ndarray,
    mask: np.ndarray,
    *,
    method: str = "romeo",
    mode: str = "individual",
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> np.ndarray:
    """Unwrap the phase of all echoes inside the mask.

    Each face-connected component of the mask has a multiple of 2π that space cannot tell. It is chosen so that the
    component's medians over the echoes follow a line in time whose slope is the smallest that the shortest echo
    spacing allows (|f| < 1 / 2ΔTE) and whose intercept lies within ±π.

    Parameters
    ----------
    phase, magnitude
        (echo, z, y, x); phase in radians, wrapped. At least one echo.
    echo_times_s
        (echo,), ascending.
    mask
        (z, y, x) bool. Nothing outside it is looked at or unwrapped.
    method
        "romeo" (exact up to noise) or "laplacian" (smooth and fast, not exact: Schofield & Zhu, Opt Lett 2003;28:1194).
    mode
        "individual": every echo in space, the safe choice when phase offsets are left. "template": echo 1 in space,
        the others from it in time, about as many times faster as there are echoes; an echo that comes out broken is
        unwrapped individually after all. Template mode needs the phase offset removed.

    Returns
    -------
    (echo, z, y, x) float32 in radians, 0 outside the mask.

    Raises
    ------
    InputError
        If the mask is empty, shapes disagree, or method or mode is unknown.
    """
    phase, magnitude, times, mask = _checked(phase, magnitude, echo_times_s, mask)
    if method not in METHODS or mode not in MODES:
        raise InputError(
            f"There is no unwrapping method {method!r} with mode {mode!r}.",
            f"Choose the method from {', '.join(METHODS)} and the mode from {', '.join(MODES)}.",
        )
    box = bounding_box(mask)
    phase, magnitude, inside = phase[(slice(None), *box)], magnitude[(slice(None), *box)], mask[box]
    result = np.zeros((len(times), *mask.shape), np.float32)
    unwrapped = result[(slice(None), *box)]
    labels, count = ndimage.label(inside)
    group = labels[inside] - 1
    if method == "laplacian":
        for echo in range(len(times)):
            cancel.check()
            progress(echo / len(times), f"Unwrapping echo {echo + 1} (Laplacian)")
            unwrapped[echo] = unwrap_laplacian(phase[echo], inside)
        return result
    for echo in range(len(times)):
        cancel.check()
        progress(echo / len(times), f"Unwrapping echo {echo + 1}")
        if mode == "template" and echo > 0:
            unwrapped[echo] = _unwrap_in_time(phase[echo], unwrapped[:echo], times[: echo + 1], inside)
            broken = _broken_share(unwrapped[echo], inside)
            if broken <= _broken_share(unwrapped[0], inside) + _BROKEN_EDGES_ALLOWED:
                continue
        unwrapped[echo] = _unwrap_echo(phase, magnitude, times, inside, echo)
        if mode == "template" and echo == 0 and len(times) > 1:
            _choose_template_turns(unwrapped[0], phase, magnitude, times, inside, group, count)
        elif mode == "template" and echo > 0:
            _match_in_time(unwrapped[: echo + 1], times[: echo + 1], inside, group, count)
    if mode == "individual" and len(times) > 1:
        _align_echoes(unwrapped, times, inside, group, count)
    progress(1.0, "Unwrapping")
    return result


def romeo_quality(
    phase: np.ndarray, magnitude: np.ndarray, echo_times_s: np.ndarray, mask: np.ndarray | None = None
) -> np.ndarray:
    """Mean reliability of each voxel's edges, 0 (noise: about 0.2) to 1 (smooth, linear in time).

    Parameters
    ----------
    phase, magnitude
        (echo, z, y, x); echoes 1 and 2 are used (echo 1 alone if there is no other).
    echo_times_s
        (echo,)
    mask
        (z, y, x) bool or None: phase outside it is not looked at for the linearity of edges.

    Returns
    -------
    (z, y, x) float32
    """
    phase = np.asarray(phase, np.float32)
    times = np.asarray(echo_times_s, np.float64).ravel()
    pair = {}
    if len(times) > 1:
        pair = {"second_phase": phase[1], "echo_time_ratio": times[0] / times[1]}
    first = np.asarray(magnitude[0], np.float32)
    weights = [edge_weight(phase[0], axis, magnitude=first, mask=mask, **pair) for axis in range(3)]
    return voxel_quality(weights, phase.shape[1:])


def unwrap_laplacian(phase: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Laplacian unwrapping (Schofield & Zhu 2003): solve ∇²u = cos φ ∇² sin φ - sin φ ∇² cos φ by cosine transform.

    Smooth, never broken along lines, but not congruent with the measured phase: where the true phase has sources
    at the border of the mask, they are spread over the image.

    Parameters
    ----------
    phase
        (z, y, x) radians.
    mask
        (z, y, x) bool; phase outside is taken as 0.

    Returns
    -------
    (z, y, x) float32, 0 outside the mask, median of the mask in -π..π.
    """
    wrapped = np.where(mask, phase, 0).astype(np.float32)
    eigenvalue = np.float32(0)
    for axis, n in enumerate(wrapped.shape):
        line = 2 * np.cos(np.pi * np.arange(n) / n) - 2
        eigenvalue = eigenvalue + line.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    sine, cosine = np.sin(wrapped), np.cos(wrapped)
    source = cosine * _laplacian(sine, eigenvalue) - sine * _laplacian(cosine, eigenvalue)
    spectrum = fft.dctn(source, type=2, workers=-1)
    eigenvalue[0, 0, 0] = 1
    spectrum /= eigenvalue
    spectrum[0, 0, 0] = 0
    unwrapped = np.where(mask, fft.idctn(spectrum, type=2, workers=-1), 0).astype(np.float32)
    # The solution lacks a constant; the mean of the wrapped remainder is it.
    remainder = np.exp(1j * (wrapped[mask] - unwrapped[mask])).mean()
    unwrapped[mask] += np.float32(np.angle(remainder))
    unwrapped[mask] -= TWO_PI * np.rint(np.median(unwrapped[mask]) / TWO_PI)
    return unwrapped


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """Slices of the smallest box that holds the mask.

    Raises
    ------
    InputError
        If the mask is empty.
    """
    box = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if len(used) == 0:
            raise InputError("The brain mask is empty.", "Give a mask that covers the brain, on the grid of the scan.")
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def _checked(phase, magnitude, echo_times_s, mask):
    phase = np.asarray(phase, np.float32)
    magnitude = np.asarray(magnitude, np.float32)
    times = np.asarray(echo_times_s, np.float64).ravel()
    mask = np.asarray(mask, bool)
    if phase.ndim != 4 or phase.shape != magnitude.shape or phase.shape[1:] != mask.shape or len(times) != len(phase):
        raise InputError(
            f"Phase {phase.shape}, magnitude {magnitude.shape}, mask {mask.shape}, {len(times)} echo times disagree.",
            "Give phase and magnitude as (echo, z, y, x) of one scan, and a mask on its grid.",
        )
    return phase, magnitude, times, mask


def _unwrap_echo(phase, magnitude, times, mask, echo) -> np.ndarray:
    pair = {}
    if len(times) > 1:
        other = echo + 1 if echo == 0 else echo - 1
        pair = {"second_phase": phase[other], "echo_time_ratio": times[echo] / times[other]}
    return unwrap_spatially(phase[echo], mask, magnitude=magnitude[echo], **pair)


def _unwrap_in_time(phase, earlier, times, mask) -> np.ndarray:
    """Add the turns that bring ``phase`` nearest to the line through the origin fitted to the earlier echoes."""
    weight = times[:-1] / np.sum(times[:-1] ** 2) * times[-1]
    prediction = np.tensordot(weight.astype(np.float32), earlier, axes=1)
    return np.where(mask, phase + TWO_PI * np.rint((prediction - phase) / TWO_PI), 0)


def _broken_share(unwrapped: np.ndarray, mask: np.ndarray) -> float:
    """Share of the mask's edges whose step is more than half a turn."""
    broken = edges = 0
    for axis in range(3):
        lower, upper = neighbours(axis)
        joined = mask[lower] & mask[upper]
        edges += np.count_nonzero(joined)
        broken += np.count_nonzero((np.abs(unwrapped[upper] - unwrapped[lower]) > np.pi) & joined)
    return broken / max(edges, 1)


def _choose_template_turns(template, phase, magnitude, times, mask, group, count) -> None:
    """Shift each component of the template, in place, to the turns that best predict echo 2.

    Where echo times make several turns predict equally well (TE2 a multiple of TE1), the smallest median wins.
    """
    values = template[mask]
    second, weight = phase[1][mask], magnitude[1][mask]
    norm = np.maximum(np.bincount(group, weight, count), 1e-30)
    candidates = np.arange(-2, 3)
    cost = np.empty((len(candidates), count))
    for n, turns in enumerate(candidates):
        misfit = np.abs(wrap(second - (values + TWO_PI * turns) * np.float32(times[1] / times[0])))
        median = grouped_median(values + TWO_PI * turns, group, count)
        # The second term, at most 0.06 rad, breaks ties only.
        cost[n] = np.bincount(group, weight * misfit, count) / norm + 0.005 * np.abs(median)
    best = candidates[np.argmin(cost, axis=0)].astype(np.float32)
    template[mask] = values + TWO_PI * best[group]


def _match_in_time(unwrapped, times, mask, group, count) -> None:
    """Shift each component of the last echo, in place, nearest to the line through the origin of the earlier ones."""
    weight = times[:-1] / np.sum(times[:-1] ** 2) * times[-1]
    prediction = np.tensordot(weight.astype(np.float32), unwrapped[:-1], axes=1)[mask]
    turns = np.rint(grouped_median(prediction - unwrapped[-1][mask], group, count) / TWO_PI)
    unwrapped[-1][mask] += TWO_PI * turns[group].astype(np.float32)


def _align_echoes(unwrapped, times, mask, group, count) -> None:
    """Choose the turns of each component and echo, in place; see `unwrap` for the rule."""
    echoes = len(times)
    values = [unwrapped[echo][mask] for echo in range(echoes)]
    spacing = np.diff(times)
    nearest = int(np.argmin(spacing))
    step = grouped_median(values[nearest + 1] - values[nearest], group, count)
    slope = wrap(step) / spacing[nearest]
    first = grouped_median(values[0], group, count)
    turns = [-np.rint((first - slope * times[0]) / TWO_PI)]
    for echo in range(1, echoes):
        # Predicted from the echo before, voxel by voxel; the slope is refined with every echo.
        gap = times[echo] - times[echo - 1]
        jump = grouped_median(values[echo] - values[echo - 1], group, count)
        relative = -np.rint((jump - slope * gap) / TWO_PI)
        slope = (slope * (times[echo - 1] - times[0]) + jump + TWO_PI * relative) / (times[echo] - times[0])
        turns.append(turns[-1] + relative)
    for echo in range(echoes):
        unwrapped[echo][mask] += TWO_PI * turns[echo].astype(np.float32)[group]


def _laplacian(values: np.ndarray, eigenvalue: np.ndarray) -> np.ndarray:
    return fft.idctn(fft.dctn(values, type=2, workers=-1) * eigenvalue, type=2, workers=-1)
