"""What the panel calls things; in files and scripts they keep their short names."""

from __future__ import annotations

from slicer.i18n import tr as _


def methodTitles() -> dict[str, str]:
    """Methods in the order in which they are offered."""
    return {
        "sepnet-r2prime": _("χ-sepnet-R2′ (networks, measured R2)"),
        "sepnet-r2star": _("χ-sepnet-R2* (networks, gradient echo alone)"),
        "iterative": _("Iterative χ-separation"),
        "least-squares": _("Least squares, streaks removed"),
        "closed-form": _("Closed form"),
        "r2star-qsm": _("R2*-QSM (approximation, gradient echo alone)"),
    }


def methodDescriptions() -> dict[str, str]:
    return {
        "sepnet-r2prime": _("Networks separate the sources from field and measured R2′."),
        "sepnet-r2star": _("Networks predict R2′ from R2* and separate the sources; no spin echo is needed."),
        "iterative": _("Field and R2′ are solved together with edge-weighted regularisation; needs no networks."),
        "least-squares": _("Field and R2′ are solved by least squares, streaks are estimated and removed; needs no "
                           "networks."),
        "closed-form": _("Two equations per voxel, from QSM and R2′; fast, needs no networks."),
        "r2star-qsm": _("The closed form with R2* instead of R2′: an approximation for scans without spin echo."),
    }  # fmt: skip


def fallbackTitles() -> dict[str, str]:
    return {
        "constant-r2": _("R2* − 13 s⁻¹ (assumed)"),
        "scaled-r2star": _("0.19 · R2* (assumed)"),
    }


def presetTitles() -> dict[str, str]:
    return {"Survey": _("Survey (whole brain)"), "Lesion": _("Lesion (narrow)")}


def styleTitles() -> dict[str, str]:
    return {"overlay": _("Colour over the magnitude"), "grey": _("Grey, for reading")}


def deviceTitles() -> dict[str, str]:
    """What is known without asking: the devices of this computer come later, from a child process."""
    return {"auto": _("Automatic"), "cpu": _("Processor (CPU)")}


def deviceTitle(name: str, description: str, free_bytes: int) -> str:
    """Such as "NVIDIA RTX A4000 · 14.2 GB free (cuda:0)"."""
    return _("{description} · {free:.1f} GB free ({name})").format(
        description=description, free=free_bytes / 1e9, name=name
    )
