"""What was found among DICOM files, as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dicom import Acquisitions
    from .dicom_scan import FoundScan

_HEAD = ("", "series", "what", "echo times (ms)", "geometry", "scanner")

#: A whole examination has some dozens of series; a folder of many is not listed to its end.
_MOST_ROWS = 40


def table(found: Acquisitions) -> str:
    """One row per scan with what is wrong below it, then the other files and what would be used."""
    shown = [scan for scan in found.scans if scan.usable or scan.number <= _MOST_ROWS]
    rows = [_row(scan) for scan in shown]
    widths = [max(len(row[n]) for row in (_HEAD, *rows)) for n in range(len(_HEAD))]
    lines = [_line(_HEAD, widths)] if rows else ["No MR images."]
    for scan, row in zip(shown, rows):
        lines.append(_line(row, widths))
        lines += [f"      ✗ {problem.message} {problem.remedy}".rstrip() for problem in scan.problems]
        lines += [f"      · {remark}" for remark in scan.remarks]
    if len(shown) < len(found):
        lines.append(f"… and {len(found) - len(shown)} more that cannot be used.")
    lines += [f"· {remark}" for remark in found.remarks]
    lines += [f"✗ {path.name} cannot be read: {reason}" for path, reason in found.unreadable[:5]]
    if len(found.unreadable) > 5:
        lines.append(f"✗ … and {len(found.unreadable) - 5} more files that cannot be read.")
    others = ", ".join(f"{count} × {kind}" for kind, count in found.foreign.items() if kind != "unreadable")
    if others:
        lines.append(f"Other files: {others}.")
    return "\n".join([*lines, _verdict(found)])


def _row(scan: FoundScan) -> tuple[str, ...]:
    grid, strength = scan.grid, scan.field_strength_t
    title = f"{scan.title}: {scan.description}" if scan.description else scan.title
    scanner = f"{scan.vendor} {strength:.3g} T" if strength else scan.vendor
    return (
        f"#{scan.number}",
        _ranges(scan.series_numbers) or "–",
        title,
        " ".join(f"{1e3 * t:.4g}" for t in scan.echo_times_s) or "–",
        grid.describe() if grid is not None else "–",
        scanner.strip() or "–",
    )


def _ranges(numbers: list[int]) -> str:
    """Such as "5, 7–9" of ascending numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    joined = (f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return ", ".join(joined)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def _verdict(found: Acquisitions) -> str:
    usable = found.usable
    if len(usable) == 1:
        return f"Would be used: #{usable[0].number}, {usable[0].title}."
    if not usable:
        return "Nothing here can be used for χ-separation."
    return f"{len(usable)} scans could be used: choose one by its series number or #{usable[0].number}."
