"""One-click mends of the input check: each changes a choice of the panel, or leads to the control that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..errors import ChiSepError
from ..mrml.echoes import reorder_by_decay
from .console_line import callText


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
    runPanel
        Shows errors and the log.
    """

    def __init__(self, ui, choose: Callable[[str, Any], None], method, parameters, runPanel) -> None:
        self._ui, self._choose, self._method = ui, choose, method
        self._parameters, self._run = parameters, runPanel

    def do(self, name: str) -> None:
        """Do a mend of `quality.gate_rows.MENDS`; the ones that need a person lead to the control."""
        actions = {
            "invert-phase": lambda: self._choose("invertPhase", not self._parameters.invertPhase),
            "repair-slices": lambda: self._addRepair("repair-slices"),
            "correct-bipolar": lambda: self._addRepair("correct-bipolar"),
            "reorder-echoes": self._reorder,
            "choose-r2star-method": lambda: self._choose("method", self._method.bestR2starMethod()),
            "choose-model-method": lambda: self._choose("method", "closed-form"),
            "use-default-dr": lambda: self._choose("drAutomatic", True),
            "give-echo-times": lambda: self._lead("inputsButton", "echoTimesEdit"),
            "give-field-strength": lambda: self._lead("inputsButton", "fieldStrengthSpinBox"),
            "give-mask": lambda: self._lead("inputsButton", "maskVolumeSelector", "moreInputsGroup"),
            "give-r2": lambda: self._lead("inputsButton", "r2Selector"),
            "verify-weights": lambda: self._lead("weightsButton", "weightsVerifyButton"),
        }
        actions[name]()

    def _addRepair(self, name: str) -> None:
        repairs = [repair for repair in self._parameters.repairs.split() if repair]
        if name not in repairs:
            self._choose("repairs", " ".join([*repairs, name]))

    def _reorder(self) -> None:
        magnitude, phase = self._parameters.magnitude, self._parameters.phase
        try:
            magnitude, phase = reorder_by_decay(magnitude, phase)
        except ChiSepError as error:
            self._run.showError(error)
            return
        self._run.log(callText("reorder_by_decay", magnitude=self._parameters.magnitude, phase=self._parameters.phase))
        self._choose("magnitude", magnitude)
        self._choose("phase", phase)
        self._run.showMessage(_("The echoes were sorted by the decay of their magnitude; check again."))

    def _lead(self, section: str, control: str, group: str = "") -> None:
        getattr(self._ui, section).collapsed = False
        if group:
            getattr(self._ui, group).collapsed = False
        getattr(self._ui, control).setFocus()
