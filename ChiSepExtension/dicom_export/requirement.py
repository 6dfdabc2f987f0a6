"""The optional package that writes DICOM objects."""

from __future__ import annotations

import re
from types import ModuleType

from ..errors import InputError

#: The first with windows for maps of small numbers, and colours of segments from RGB.
MINIMUM = (0, 28)
_INSTALL = (
    "Install it: pip install 'highdicom>=0.28'; in Slicer's Python console: slicer.util.pip_install('highdicom>=0.28')."
)


def require_highdicom() -> ModuleType:
    """The package highdicom, or an `InputError` that says how to install it."""
    try:
        import highdicom
    except ImportError as error:
        raise InputError(f"Writing DICOM needs the Python package highdicom ({error}).", _INSTALL) from error
    version = tuple(int(number) for number in re.findall(r"\d+", highdicom.__version__)[:2])
    if version < MINIMUM:
        raise InputError(f"The Python package highdicom {highdicom.__version__} is too old.", _INSTALL)
    return highdicom
