"""The optional package that writes DICOM objects."""

from __future__ import annotations

from types import ModuleType

from ..errors import InputError


def require_highdicom() -> ModuleType:
    """The package highdicom, or an `InputError` that says how to install it."""
    try:
        import highdicom
    except ImportError as error:
        raise InputError(
            f"Writing DICOM needs the Python package highdicom ({error}).",
            "Install it: pip install highdicom; in Slicer's Python console: slicer.util.pip_install('highdicom').",
        ) from error
    return highdicom
