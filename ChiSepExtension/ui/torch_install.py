"""PyTorch for the networks: through the PyTorch extension, after asking, when it is needed and never before."""

from __future__ import annotations

import logging

from slicer.i18n import tr as _

from ..errors import InputError
from .compat import hasPackage, installPackage

#: Checkpoints load with torch 2.1 and later; the newest wheel for Intel Macs is 2.2.
TORCH_REQUIREMENT = ">=2.1"
_REQUESTER = "χ-separation"


def torchIsInstalled() -> bool:
    """Whether PyTorch is there; it is not imported, so this takes no time."""
    return hasPackage("torch")


def missingForNetworks() -> str:
    """What the networks lack on this computer and how to get it; empty if nothing."""
    if torchIsInstalled():
        return ""
    if hasPackage("PyTorchUtils"):
        return _("PyTorch is not installed; a run with networks offers to install it.")
    return _(
        "PyTorch is not installed. Install the PyTorch extension (Extensions Manager), restart Slicer, and come back. "
        "Without network: the README of this extension says how to bring PyTorch from another computer. "
        "The other methods need no PyTorch."
    )


def ensureTorch() -> None:
    """Install PyTorch if it is missing and the user agrees.

    Raises
    ------
    InputError
        If it is still missing: the user declined, there is no network, or the PyTorch extension is not installed.
    """
    if not torchIsInstalled():
        if not hasPackage("PyTorchUtils"):
            raise InputError(_("The networks need PyTorch."), missingForNetworks())
        _install()
    if not hasPackage("safetensors"):
        try:
            installPackage("safetensors", _REQUESTER)
        except Exception as error:  # pip tells its troubles in many ways
            raise InputError(
                _("The networks need the Python package safetensors: {error}").format(error=error),
                _("Run again and agree, or choose a method without networks."),
            ) from error


def _install() -> None:
    import PyTorchUtils

    logic = PyTorchUtils.PyTorchUtilsLogic()
    try:
        installed = logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT)
    except Exception as error:  # pip tells its troubles in many ways
        logging.exception("PyTorch could not be installed")
        raise InputError(
            _("PyTorch could not be installed: {error}").format(error=error),
            _("Is there a network? Restart Slicer and try again, or choose a method without networks."),
        ) from error
    if installed is None or not torchIsInstalled():
        raise InputError(
            _("PyTorch was not installed."), _("Run again and agree, or choose a method without networks.")
        )
