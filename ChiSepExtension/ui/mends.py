"""One-click mends of the input check: each changes a choice of the panel, or leads to the control that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..preprocessing.vendor_findings import REPAIRS


class Mends:
    """What the buttons of the check's rows do.

    Parameters
    ----------
    ui
        Widgets of the .ui by name.
    choose
        ``choose(name, value)`` sets a parameter.
    method
        The section of methods.
    parameters
        Wrapper of the parameter node.
    """

    def __init__(self, ui, choose: Callable[[str, Any], None], method, parameters) -> None:
        self._ui, self._choose, self._method, self._parameters = ui, choose, method, parameters

    def do(self, name: str) -> None:
        """Do a mend of `quality.gate_rows.MENDS`; the ones that need a person lead to the control."""
        if name in REPAIRS and name != "invert-phase":
            agreed = self._parameters.repair.split()
            self._choose("repair", " ".join([*agreed, *([] if name in agreed else [name])]))
            return
        actions = {
            "invert-phase": lambda: self._choose("invertPhase", not self._parameters.invertPhase),
            "choose-r2star-method": lambda: self._choose("method", self._method.bestR2starMethod()),
            "choose-model-method": lambda: self._choose("method", "closed-form"),
            "use-default-dr": lambda: self._choose("drAutomatic", True),
            "give-echo-times": lambda: self._lead("inputsButton", "echoTimesEdit"),
            "give-field-strength": lambda: self._lead("inputsButton", "fieldStrengthSpinBox"),
            "name-vendor": lambda: self._lead("inputsButton", "manufacturerEdit", "moreInputsGroup"),
            "give-mask": lambda: self._lead("inputsButton", "maskVolumeSelector", "moreInputsGroup"),
            "give-r2": lambda: self._lead("inputsButton", "r2Selector"),
            "verify-weights": lambda: self._lead("weightsButton", "weightsVerifyButton"),
        }
        actions[name]()

    def _lead(self, section: str, control: str, group: str = "") -> None:
        getattr(self._ui, section).collapsed = False
        if group:
            getattr(self._ui, group).collapsed = False
        getattr(self._ui, control).setFocus()
