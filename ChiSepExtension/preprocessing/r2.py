"""R2 from a multi-echo spin-echo scan by matching its echoes with simulated trains (stimulated echoes included)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent
from .epg import echo_train

#: T2 grid of the dictionary (s): logarithmic, steps of 2.6 %, which matching then interpolates.
T2_GRID_S = np.geomspace(8e-3, 1.5, 200)

#: Refocusing flip angle over its nominal value for a nominal 180°; 1.2 matches as 0.8 does, so the grid ends at 1.
B1_GRID = np.linspace(0.6, 1.0, 41)

#: Every so many T2 and B1 steps make the coarse grid that is searched first. With 3 to 16 echoes and noise of 0.2 to
#: 3 % of S0 the R2 error equals that of a search through the whole dictionary to 0.1 %, in a sixth of the time.
_COARSE = (5, 5)

_CHUNK = 1 << 15


@dataclass(frozen=True, eq=False)
class R2Fit:
    """All maps (z, y, x) float32, 0 outside the mask.

    Parameters
    ----------
    r2_hz
        1 / T2 in s⁻¹.
    b1
        Refocusing angle found, as a share of the nominal one (0.6..1 of 180°; over-flipping looks like under-flipping).
    s0
        Signal that full excitation would give at time 0.
    match
        Cosine between measured and simulated train, 0..1; brain tissue lies above 0.99.
    """

    r2_hz: np.ndarray
    b1: np.ndarray
    s0: np.ndarray
    match: np.ndarray


def fit_r2(
    magnitude: np.ndarray,
    echo_times_s: np.ndarray,
    mask: np.ndarray,
    *,
    refocusing_deg: float = 180.0,
    b1: np.ndarray | None = None,
    t1_s: float = 1.0,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> R2Fit:
    """Best match of every voxel's echo train in a dictionary over T2 and B1 (Ben-Eliezer et al., MRM 2015;73:809).

    A mono-exponential fit of the same echoes overestimates T2: stimulated echoes carry longitudinal memory. T1 matters
    little (1 s is taken). The slice profile is not modelled; B1 takes up part of it.

    Parameters
    ----------
    magnitude
        (echo, z, y, x), at least 3 echoes.
    echo_times_s
        (echo,), multiples 1, 2, 3 … of the first.
    mask
        (z, y, x) bool.
    refocusing_deg
        Nominal refocusing angle; excitation is scaled by B1 too.
    b1
        (z, y, x) measured B1 as a share of the nominal, or None to fit it.

    Raises
    ------
    InputError
        If echoes are too few or not equally spaced from 0, or the mask is empty.
    """
    times = np.asarray(echo_times_s, np.float64).ravel()
    mask = np.asarray(mask, bool)
    magnitude = np.asarray(magnitude)
    _check(magnitude, times, mask)
    signal = np.stack([np.asarray(echo[mask], np.float32) for echo in magnitude], axis=-1)
    np.nan_to_num(signal, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    found = np.zeros((4, len(signal)), np.float32)
    groups = [(slice(None), b1_grid(refocusing_deg))] if b1 is None else _b1_groups(np.asarray(b1)[mask])
    done = 0
    for members, scale in groups:
        trains = np.abs(
            echo_train(
                T2_GRID_S[:, None],
                refocusing_deg * scale,
                len(times),
                times[0],
                t1_s=t1_s,
                excitation_deg=90 * scale,
            )
        )
        index = np.arange(len(signal))[members]
        for start in range(0, len(index), _CHUNK):
            cancel.check()
            progress(done / len(signal), "R2 fit")
            part = index[start : start + _CHUNK]
            found[:, part] = _match(signal[part], trains, scale)
            done += len(part)
    progress(1.0, "R2 fit")
    return R2Fit(*(_map(values, mask) for values in found))


def b1_grid(refocusing_deg: float) -> np.ndarray:
    """Shares of the nominal refocusing angle that are told apart: 0.6 to what makes 180°, at most 1.3."""
    if abs(refocusing_deg - 180) < 1:
        return B1_GRID
    return np.linspace(0.6, float(np.clip(180 / refocusing_deg, 0.9, 1.3)), 41)


def _match(signal: np.ndarray, trains: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(4, voxel): R2, B1, S0 and match, the peak over T2 refined by a parabola in log T2."""
    norms = np.linalg.norm(trains, axis=-1)
    atoms = (trains / norms[..., None]).astype(np.float32)
    length = np.maximum(np.linalg.norm(signal, axis=1), 1e-20)
    unit = signal / length[:, None]
    row, column = _best_atom(unit, atoms)
    inner = np.clip(row, 1, len(T2_GRID_S) - 2)
    before, peak, after = (np.einsum("ve,ve->v", unit, atoms[inner + k, column]) for k in (-1, 0, 1))
    bend = before - 2 * peak + after
    shift = np.divide(0.5 * (before - after), bend, out=np.zeros_like(bend), where=bend < -1e-7)
    position = np.where(row == inner, inner + np.clip(shift, -0.5, 0.5), row)
    t2 = np.exp(np.interp(position, np.arange(len(T2_GRID_S)), np.log(T2_GRID_S)))
    cosine = np.einsum("ve,ve->v", unit, atoms[row, column])
    s0 = cosine * length / norms[row, column]
    empty = length <= 1e-20
    return np.where(empty, 0, np.stack([1 / t2, scale[column], s0, cosine]))


def _best_atom(unit: np.ndarray, atoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row (T2) and column (B1) of the atom nearest to each voxel: a coarse grid first, then the window around it.

    The window moves as long as its best atom lies on its border, so that a ridge along which T2 and B1 trade is
    followed to its top.
    """
    rows, columns, echoes = atoms.shape
    coarse = [np.unique(np.append(np.arange(0, n, step), n - 1)) for n, step in zip((rows, columns), _COARSE)]
    table = atoms[np.ix_(*coarse)].reshape(-1, echoes)
    first = np.argmax(unit @ table.T, axis=1)
    row, column = (axis[i] for axis, i in zip(coarse, np.divmod(first, len(coarse[1]))))
    pending = np.arange(len(unit))
    for _ in range(8):
        order = np.lexsort((column[pending], row[pending]))
        pending = pending[order]
        key = row[pending] * columns + column[pending]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        moved = []
        for start, stop in zip(starts, np.append(starts[1:], len(pending))):
            voxels = pending[start:stop]
            low = [max(0, int(centre[voxels[0]]) - step) for centre, step in zip((row, column), _COARSE)]
            high = [
                min(n, int(centre[voxels[0]]) + step + 1)
                for centre, step, n in zip((row, column), _COARSE, (rows, columns))
            ]
            window = atoms[low[0] : high[0], low[1] : high[1]]
            best = np.argmax(unit[voxels] @ window.reshape(-1, echoes).T, axis=1)
            r, c = np.divmod(best, window.shape[1])
            at_border = ((r == 0) & (low[0] > 0)) | ((r == window.shape[0] - 1) & (high[0] < rows))
            at_border |= ((c == 0) & (low[1] > 0)) | ((c == window.shape[1] - 1) & (high[1] < columns))
            row[voxels], column[voxels] = r + low[0], c + low[1]
            moved.append(voxels[at_border])
        pending = np.concatenate(moved)
        if len(pending) == 0:
            break
    return row, column


def _b1_groups(b1: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Voxels that share one dictionary: B1 rounded to 0.01; values that are no number count as 1."""
    rounded = np.round(np.clip(np.nan_to_num(b1, nan=1.0), 0.3, 1.7), 2)
    return [(rounded == value, np.array([value])) for value in np.unique(rounded)]


def _check(magnitude: np.ndarray, times: np.ndarray, mask: np.ndarray) -> None:
    if magnitude.ndim != 4 or len(times) != len(magnitude) or magnitude.shape[1:] != mask.shape or len(times) < 3:
        raise InputError(
            f"R2 needs at least 3 spin echoes on one grid: magnitude {magnitude.shape}, {len(times)} echo times, "
            f"mask {mask.shape}.",
            "Give all echoes of a multi-echo spin-echo scan with their echo times.",
        )
    if not mask.any():
        raise InputError("The brain mask is empty.", "Give a mask that covers the brain, on the grid of the scan.")
    if np.abs(times / times[0] - np.arange(1, len(times) + 1)).max() > 0.02 or times[0] <= 0:
        shown = ", ".join(f"{1e3 * t:g}" for t in times)
        raise InputError(
            f"The spin echoes at {shown} ms are not at 1, 2, 3 … times the first echo time.",
            "Give the whole echo train; single echoes of separate scans need a plain exponential fit instead.",
        )


def _map(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    full = np.zeros(mask.shape, np.float32)
    full[mask] = values
    return full
