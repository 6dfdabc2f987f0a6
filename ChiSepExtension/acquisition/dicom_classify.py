"""What a group of volumes is (multi-echo GRE, field map, spin echo, …), and all that keeps it from being used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .dicom_image_type import DISTORTION_CORRECTED, IMAGINARY, MAGNITUDE, PHASE, REAL
from .dicom_pixels import pixel_problems
from .dicom_scan import COMPUTED, FIELD_MAP, GRADIENT_ECHO, OTHER, SPIN_ECHO, FoundScan, ScanProblem
from .dicom_sort import Draft
from .dicom_stack import Problem, Volume, clusters, missing_against, same_echo
from .sidecar import Sidecar

_NEED = "χ-separation needs magnitude and phase of every echo of a multi-echo GRE."

#: Phase of these series is usually high-pass filtered by the scanner.
_FILTERED = ("SWI", "SWAN", "VENBOLD", "VENOUS")


def classify(draft: Draft, number: int) -> FoundScan:
    """Name a draft, and judge whether it can be used."""
    volumes = sorted(draft.volumes, key=_volume_order)
    if draft.computed is not None:
        count = len(volumes[0].images)
        problem = ScanProblem(f"This is a {draft.computed}, computed from other images.", _NEED)
        title = f"{draft.computed[0].upper()}{draft.computed[1:]} ({count} images)"
        return FoundScan(number, COMPUTED, title, tuple(volumes), (problem,))
    parts = {part: [v for v in volumes if v.part == part] for part in (MAGNITUDE, PHASE, REAL, IMAGINARY)}
    if not parts[PHASE] and parts[REAL] and parts[IMAGINARY]:
        used = [*parts[MAGNITUDE], *parts[REAL], *parts[IMAGINARY]]
        if len(parts[MAGNITUDE]) != len(parts[REAL]):
            used = [*parts[REAL], *parts[IMAGINARY]]
    else:
        used = [*parts[MAGNITUDE], *parts[PHASE]] or volumes
    used += [volume for volume in volumes if volume.part == "contradictory"]
    kind, title, problems = _name(used, parts)
    problems = [*_unclear(used), *(_public(p) for p in draft.problems), *problems]
    remarks: list[str] = []
    if kind in (GRADIENT_ECHO, SPIN_ECHO, FIELD_MAP):
        problems += _stack_problems(used)
    if kind in (GRADIENT_ECHO, SPIN_ECHO):
        scan = FoundScan(number, kind, title, tuple(used))
        problems += [_public(p) for p in pixel_problems(used)] + _header_problems(scan)
        remarks = _remarks(scan, draft)
    return FoundScan(number, kind, title, tuple(used), tuple(problems), tuple(remarks))


def fold_repetitions(scans: Sequence[FoundScan]) -> tuple[FoundScan, ...]:
    """One entry for the many repetitions of a scan that cannot be used (a dynamic series), numbered anew."""
    folded: dict[tuple, FoundScan] = {}
    for scan in scans:
        key = (scan.kind, scan.title, tuple(scan.series_uids)) if not scan.usable else (scan.number,)
        first = folded.get(key)
        if first is None:
            folded[key] = scan
        else:
            count = sum(1 for other in scans if other.title == scan.title and other.series_uids == scan.series_uids)
            folded[key] = replace(first, remarks=(f"This is the first of {count} repetitions.",))
    return tuple(replace(scan, number=number) for number, scan in enumerate(folded.values(), start=1))


def _name(used: list[Volume], parts: dict[str, list[Volume]]) -> tuple[str, str, list[ScanProblem]]:
    """(kind, title, problems) by the parts and echoes there are."""
    echoes = {part: _echoes(volumes) for part, volumes in parts.items()}
    magnitudes, phases = echoes[MAGNITUDE], echoes[PHASE]
    complex_echoes = [t for t in echoes[REAL] if _has(echoes[IMAGINARY], t)]
    spin = next((v.first.spin_echo for v in used if v.first.spin_echo is not None), None)
    planar = any(image.echo_planar for v in used for image in v.images)
    name = "spin echo" if spin else "echo-planar GRE" if planar else "GRE" if spin is False else "images"
    if spin:
        if len(magnitudes) >= 2:
            return SPIN_ECHO, f"Multi-echo spin echo ({len(magnitudes)} echoes)", []
        return OTHER, "Single-echo spin echo", [ScanProblem("This is a spin echo with one echo.", _NEED)]
    if complex_echoes and not phases:
        count = len(complex_echoes)
        if count >= 2 and len(echoes[REAL]) == len(echoes[IMAGINARY]) == count:
            return GRADIENT_ECHO, f"Multi-echo {name} (real + imaginary, {count} echoes)", []
        problem = f"There are {len(echoes[REAL])} real and {len(echoes[IMAGINARY])} imaginary echoes."
        return OTHER, f"Complex {name}", [ScanProblem(problem, _NEED)]
    if phases and magnitudes:
        return _name_polar(name, magnitudes, phases)
    if phases:
        problem = ScanProblem("There is phase without magnitude.", "Give the magnitude of the same scan too.")
        return OTHER, f"Phase {name} without magnitude ({_count(phases)})", [problem]
    if len(magnitudes) >= 2:
        problem = ScanProblem("There is magnitude without phase.", "Export the phase images too. " + _NEED)
        return OTHER, f"Multi-echo {name} without phase ({len(magnitudes)} echoes)", [problem]
    if len(magnitudes) == 1:
        return OTHER, f"Single-echo {name}", [ScanProblem("There is one echo, and no phase.", _NEED)]
    found = ", ".join(sorted({volume.part for volume in used}))
    return OTHER, f"Images ({found})", [ScanProblem(f"There are only {found} images.", _NEED)]


def _name_polar(name: str, magnitudes: list, phases: list) -> tuple[str, str, list[ScanProblem]]:
    both = [t for t in magnitudes if _has(phases, t)]
    if len(both) == len(magnitudes) == len(phases):
        if len(both) == 1:
            problem = ScanProblem("There is only one echo.", "R2* and the field need at least 2 echoes. " + _NEED)
            return OTHER, f"Single-echo {name} (magnitude + phase)", [problem]
        return GRADIENT_ECHO, f"Multi-echo {name} (magnitude + phase, {len(both)} echoes)", []
    if len(magnitudes) == 2 and len(phases) == 1:
        problem = ScanProblem(
            f"This is a field map: two magnitudes (echo times {_shown(magnitudes)}) and one phase, which is their "
            "phase difference and not the phase of an echo.",
            "A field map cannot replace the phase of every echo. " + _NEED,
        )
        return FIELD_MAP, "Field map (2 magnitudes, phase difference)", [problem]
    lacking = [t for t in magnitudes if not _has(phases, t)]
    extra = [t for t in phases if not _has(magnitudes, t)]
    words = [f"no phase at {_shown(lacking)}"] if lacking else []
    words += [f"no magnitude at {_shown(extra)}"] if extra else []
    problem = ScanProblem(
        f"There are {_count(magnitudes)} of magnitude and {_count(phases)} of phase: {' and '.join(words)}.",
        "Export magnitude and phase of all echoes.",
    )
    title = f"Multi-echo {name} (magnitude {len(magnitudes)}, phase {len(phases)} echoes)"
    return GRADIENT_ECHO if len(magnitudes) > 1 else OTHER, title, [problem]


def _stack_problems(volumes: Sequence[Volume]) -> list[ScanProblem]:
    """What is wrong with single volumes, and volumes that do not lie on the grid of the others."""
    problems = [problem for volume in volumes for problem in volume.problems]
    whole = [volume for volume in volumes if volume.grid is not None]
    if whole:
        reference = max(whole, key=lambda volume: len(volume.images))
        problems += [missing_against(v, reference) for v in whole if not v.grid.matches(reference.grid, 0.05)]
        if len(reference.images) == 1:
            problems.append(Problem("The scan has one slice.", "χ-separation needs a volume."))
    return [_public(problem) for problem in problems]


def _header_problems(scan: FoundScan) -> list[ScanProblem]:
    problems = []
    if scan.kind == GRADIENT_ECHO:
        rows = [dict(image.facts) for image in scan.images]
        problems += _strength_problems(scan, rows)
    if any(volume.echo_time_s is None for volume in scan.volumes):
        problems.append(ScanProblem("The headers state no echo time.", "Give the times (--echo-times).", "echo-times"))
    return problems


def _strength_problems(scan: FoundScan, rows: list[dict]) -> list[ScanProblem]:
    give = "Give the field strength (--field-strength)."
    for name, unit in (("field_strength_t", "T"), ("imaging_frequency_mhz", "MHz")):
        values = sorted({row[name] for row in rows if row.get(name)})
        if values and values[-1] - values[0] > 1e-3 * abs(values[-1]):
            text = f"The images state different values of {name[: name.rindex('_')].replace('_', ' ')}: "
            return [ScanProblem(f"{text}{values[0]:g} and {values[-1]:g} {unit}.", give, "field-strength")]
    if scan.field_strength_t is None:
        return [ScanProblem("The headers state no field strength.", give, "field-strength")]
    frequency = scan.facts.get("imaging_frequency_mhz")
    nominal = scan.facts.get("field_strength_t")
    if nominal and frequency and 4 < frequency < 1000:
        actual = Sidecar(None, {"ImagingFrequency": frequency}).field_strength_t
        if abs(actual / nominal - 1) > 0.1:
            text = f"The headers state {nominal:g} T, but an imaging frequency of {frequency:g} MHz ({actual:.2f} T)."
            return [ScanProblem(text, give, "field-strength")]
    return []


def _remarks(scan: FoundScan, draft: Draft) -> list[str]:
    remarks = list(draft.remarks)
    names = " ".join({image.series_description + " " + image.protocol for image in scan.images}).upper()
    if scan.kind == GRADIENT_ECHO and any(word in names for word in _FILTERED):
        remarks.append("The series is named as susceptibility-weighted: its phase must not be high-pass filtered.")
    if DISTORTION_CORRECTED & {word for volume in scan.volumes for word in volume.variant}:
        remarks.append("The images are corrected for distortion, which interpolates phase across its wraps.")
    if all(image.spin_echo is None for image in scan.images):
        remarks.append("The headers do not say whether this is a gradient echo.")
    if scan.kind == GRADIENT_ECHO and len(scan.echo_times_s) == 2:
        remarks.append("There are only two echoes.")
    for left in clusters(draft.left, lambda a, b: (a.part, a.variant) == (b.part, b.variant)):
        volume = draft.left[left[0]]
        words = "\\".join(volume.variant) or "without processing"
        series = volume.first.series_number
        remarks.append(f"Another version of the {volume.part} ({words}, series {series}) was left out.")
    return remarks


def _unclear(volumes: Sequence[Volume]) -> list[ScanProblem]:
    images = [image for volume in volumes if volume.part == "contradictory" for image in volume.images]
    if not images:
        return []
    return [
        ScanProblem(
            f"{len(images)} images do not state clearly whether they are magnitude or phase, such as "
            f"{images[0].path.name}.",
            "Export the series again.",
        )
    ]


def _public(problem: Problem) -> ScanProblem:
    message = problem.message
    return ScanProblem(message[:1].upper() + message[1:], problem.remedy, problem.code)


def _echoes(volumes: Sequence[Volume]) -> list[float | None]:
    times = [volume.echo_time_s for volume in volumes]
    numbered = [(t, v.first.echo_number) for t, v in zip(times, volumes)]
    if len(set(numbered)) == len(numbered) and len(clusters(times, same_echo)) == 1:
        return times  # one stated time for all echoes: as many echoes as there are numbers
    return [times[group[0]] for group in clusters(times, same_echo)]


def _has(times: Sequence[float | None], time: float | None) -> bool:
    return any(same_echo(time, other) for other in times)


def _shown(times: Sequence[float | None]) -> str:
    return ", ".join("unknown" if t is None else f"{1e3 * t:g}" for t in times) + " ms"


def _count(values: Sequence) -> str:
    return f"{len(values)} echo{'es' if len(values) != 1 else ''}"


def _volume_order(volume: Volume) -> tuple:
    time = volume.echo_time_s
    return volume.part, time is None, time or 0.0, volume.first.echo_number or 0
