"""How long a run will take: from the last run on this computer, or from a reference computer."""

from __future__ import annotations

import json

from slicer.i18n import tr as _

from .compat import settingText, storeSetting

#: Seconds per million voxels on 2 busy cores, measured on a simulated head of 2 mm with 5 echoes; stages as in the
#: provenance. A first guess: from the second run on it is this computer's own times.
_SHARED = {"mask": 8.0, "field": 1.0, "background": 0.9, "relaxation": 0.4}
_REFERENCE = {
    "closed-form": {"inversion": 1.7, "separation": 0.02},
    "iterative": {"inversion": 1.7, "separation": 2.7},
    "least-squares": {"inversion": 1.7, "separation": 1.1},
    "r2star-qsm": {"inversion": 1.7, "separation": 0.02},
    "sepnet-r2prime": {"separation": 29.0},
    "sepnet-r2star": {"separation": 29.0},
}


def stageTitles() -> dict[str, str]:
    return {
        "mask": _("mask"),
        "field": _("field"),
        "background": _("background"),
        "relaxation": _("R2*"),
        "inversion": _("inversion"),
        "separation": _("separation"),
    }


def estimate(method: str, device: str, voxels: int) -> dict[str, float]:
    """Seconds per stage for a scan of so many voxels (of one echo)."""
    rates = _SHARED | _REFERENCE.get(method, {})
    try:
        rates = rates | json.loads(settingText(_key(method, device), "{}"))
    except (ValueError, TypeError):
        pass  # a setting that somebody has edited
    return {stage: float(rates[stage]) * voxels / 1e6 for stage in stageTitles() if stage in rates}


def learn(method: str, device: str, voxels: int, stage_times_s: dict[str, float]) -> None:
    """Remember how long the stages of a run took."""
    if voxels > 0 and stage_times_s:
        rates = {stage: round(seconds * 1e6 / voxels, 4) for stage, seconds in stage_times_s.items()}
        storeSetting(_key(method, device), json.dumps(rates))


def timesText(times: dict[str, float]) -> str:
    """Such as "about 1 min 40 s: mask 5 s, field 40 s, …"; stages below a second are left out."""
    titles = stageTitles()
    parts = [f"{titles[stage]} {duration(seconds)}" for stage, seconds in times.items() if seconds >= 1]
    total = _("about {time}").format(time=duration(sum(times.values())))
    return f"{total}: {', '.join(parts)}" if parts else total


def duration(seconds: float) -> str:
    """In words that promise no more than is known: "8 s", "1 min 40 s", "1 h 5 min"."""
    if seconds < 60:
        return _("{s} s").format(s=max(1, round(seconds)))
    if seconds < 600:
        minutes, rest = divmod(round(seconds / 10) * 10, 60)
        return _("{m} min {s} s").format(m=minutes, s=rest) if rest else _("{m} min").format(m=minutes)
    if seconds < 3600:
        return _("{m} min").format(m=round(seconds / 60))
    hours, rest = divmod(round(seconds / 60), 60)
    return _("{h} h {m} min").format(h=hours, m=rest)


def _key(method: str, device: str) -> str:
    return f"times/{method}/{device.replace(':', '-')}"
