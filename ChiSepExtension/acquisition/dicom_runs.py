"""Which series make one scan where the headers state no acquisition time, as anonymised ones: what can be told from
the numbers of the series, and what must be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .dicom_stack import Problem, Volume, same_echo

#: The caller mends it by choosing the series of one scan.
TIMES_MISSING = "acquisition-times"

#: Magnitude, phase and echoes of one scan share these; repeated scans need not differ in them.
_OF_THE_SEQUENCE = ("repetition_time_s", "flip_angle_deg")


def same_kind(a: Volume, b: Volume) -> bool:
    """Whether two volumes are one part of one echo."""
    return a.part == b.part and same_echo(a.echo_time_s, b.echo_time_s)


def run_that_it_follows(series: Sequence[Volume], runs: Sequence[Sequence[Volume]]) -> int | None:
    """Index of the run that a series without times continues, None if it begins one.

    Only the run with the latest series number before its own is asked, never an earlier one: what that one lacks may
    have been lost, and a series of a later scan must not take its place. Another reconstruction of what the run holds
    belongs to it if the scanner made it directly after.
    """
    alike = [n for n, run in enumerate(runs) if _same_sequence(run[0], series[0])]
    if not alike:
        return None
    own = _last_number(series)
    before = [n for n in alike if _last_number(runs[n]) <= own]
    latest = max(before, key=lambda n: _last_number(runs[n])) if before else min(alike, key=lambda n: _first(runs[n]))
    doubled = [(a, b) for a in runs[latest] for b in series if same_kind(a, b)]
    processed = all(a.variant != b.variant for a, b in doubled) and own - _last_number(runs[latest]) in (0, 1)
    return latest if not doubled or processed else None


def doubts_without_times(runs: Sequence[Sequence[Volume]], index: int) -> tuple[Problem | None, str | None]:
    """(problem, remark) on a run of which some volumes, or some of what it may be confused with, state no time."""
    run = runs[index]
    rivals = [other for other in runs if _same_sequence(other[0], run[0])]
    if not any(volume.acquisition_time_s is None for other in rivals for volume in other):
        return None, None
    numbers = _numbers(run)
    if len(rivals) > 1 and not _told_apart(rivals):
        best = next((other for other in [run, *rivals] if _complete(other)), run)
        choice = ",".join(map(str, _numbers(best)))
        flag = "--spin-echo-series" if run[0].first.spin_echo else "--series"
        return (
            Problem(
                "Acquisition times are missing, and from the numbers of the series it cannot be told which of "
                f"{', '.join(map(str, sorted({n for other in rivals for n in _numbers(other)})))} are one scan.",
                f"Choose the series that were acquired together ({flag} {choice}).",
                TIMES_MISSING,
            ),
            None,
        )
    if len({volume.first.series_uid for volume in run}) > 1:
        return None, (
            f"Acquisition times are missing: series {', '.join(map(str, numbers))} were taken as one scan by their "
            "numbers."
        )
    return None, None


def _told_apart(runs: Sequence[Sequence[Volume]]) -> bool:
    """Whether the numbers of the runs do not interleave and nothing is missing from any of them."""
    if any(volume.first.series_number is None for run in runs for volume in run):
        return False
    ordered = sorted(runs, key=_first)
    if any(_last_number(a) >= _first(b) for a, b in zip(ordered, ordered[1:])):
        return False
    if any(not _within(a, b, same_kind) for a in runs for b in runs):  # one lost an echo that another may have taken
        return False
    one_part = len({volume.part for run in runs for volume in run}) == 1  # dynamic series, or several spin echoes
    return one_part or all(_complete(run) for run in runs)


def _complete(run: Sequence[Volume]) -> bool:
    """Whether every magnitude has its phase and every real part its imaginary part, and the other way round."""
    parts = {part: [v for v in run if v.part == part] for part in ("magnitude", "phase", "real", "imaginary")}
    polar = _same_echoes(parts["magnitude"], parts["phase"])
    return (polar or not parts["phase"]) and (polar or _same_echoes(parts["real"], parts["imaginary"]))


def _same_echoes(some: Sequence[Volume], others: Sequence[Volume]) -> bool:
    def alike(a, b):
        return same_echo(a.echo_time_s, b.echo_time_s)

    return bool(some) and _within(some, others, alike) and _within(others, some, alike)


def _within(some: Sequence[Volume], others: Sequence[Volume], alike: Callable[[Volume, Volume], bool]) -> bool:
    return all(any(alike(a, b) for b in others) for a in some)


def _same_sequence(a: Volume, b: Volume) -> bool:
    """Whether nothing that both headers state of the sequence differs."""
    first, second = dict(a.first.facts), dict(b.first.facts)
    pairs = [(first.get(name), second.get(name)) for name in _OF_THE_SEQUENCE]
    return all(x is None or y is None or abs(x - y) <= 0.01 * abs(x) for x, y in pairs)


def _numbers(volumes: Sequence[Volume]) -> list[int]:
    return sorted({v.first.series_number for v in volumes if v.first.series_number is not None})


def _first(volumes: Sequence[Volume]) -> int:
    return min(_numbers(volumes), default=-1)


def _last_number(volumes: Sequence[Volume]) -> int:
    return max(_numbers(volumes), default=-1)
