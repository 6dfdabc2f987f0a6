"""Method, device, weights in use and the estimated time: what will run, where, and why something cannot."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..errors import without_command_line
from ..mrml.echoes import echo_volumes
from ..mrml.parameters import alive, method_reasons
from ..networks.in_use import WeightsInUse, weights_in_use
from .child_query import ChildQuery
from .choice_box import ChoiceBox
from .names import deviceTitle, deviceTitles, fallbackTitles, methodDescriptions, methodTitles
from .stage_times import estimate, timesText
from .torch_install import missingForNetworks

_NETWORK_METHODS = ("sepnet-r2prime", "sepnet-r2star")
_SHOWN_HASH = 12  # letters of a SHA-256 that the panel shows


class MethodPanel:
    """Fills the section “Separation” and follows the parameters.

    Parameters
    ----------
    ui
        Widgets of the .ui by name.
    choose
        ``choose(name, value)`` sets a parameter.
    log
        Takes one line.
    """

    def __init__(self, ui, choose, log) -> None:
        self._ui, self._log = ui, log
        self._query: ChildQuery | None = None
        self._devicesKnown = False
        self._weights: dict[str, WeightsInUse] = {}
        self._weightsChoice: str | None = None
        self.method = ChoiceBox(ui.methodComboBox, methodTitles(), lambda value: choose("method", value))
        self.device = ChoiceBox(ui.deviceComboBox, deviceTitles(), lambda value: choose("device", value))
        self.fallback = ChoiceBox(
            ui.r2primeFallbackComboBox, fallbackTitles(), lambda value: choose("r2primeFallback", value)
        )

    def update(self, parameters: Any) -> None:
        """Follow the parameters."""
        if parameters.weights != self._weightsChoice:
            self.weightsChanged(parameters.weights)
        problems = {method: without_command_line(found.problem) for method, found in self._weights.items()}
        self.method.setReasons(method_reasons(parameters, problems))
        self.method.select(parameters.method)
        self.device.select(parameters.device)
        self.fallback.select(parameters.r2primeFallback)
        ui, networks = self._ui, parameters.method.startswith("sepnet")
        description = methodDescriptions()[parameters.method]
        reason = self.method.reasonOf(parameters.method)
        lacking = missingForNetworks() if networks else ""
        ui.methodLabel.text = " ".join(filter(None, (description, reason, lacking)))
        for widget in (ui.deviceLabel, ui.deviceComboBox, ui.weightsCaption, ui.weightsLabel):
            widget.visible = networks
        ui.weightsLabel.text = self.weightsText(parameters.method)
        ui.timeLabel.text = self._timeText(parameters)
        if networks and not lacking:
            self.askDevices()

    def weightsChanged(self, choice: str) -> None:
        """Look at the folder of weights again."""
        self._weightsChoice = choice
        self._weights = {method: weights_in_use(choice, method) for method in _NETWORK_METHODS}

    def weightsText(self, method: str) -> str:
        """Name of the set that a method would take, and the start of each file's SHA-256."""
        found = self._weights.get(method)
        if found is None or found.problem:
            return without_command_line(found.problem) if found is not None else ""
        hashes = ", ".join(f"{name} {digest[:_SHOWN_HASH]}…" for name, digest in found.hashes.items())
        return f"{found.title}: {hashes}" if hashes else found.title

    def reason(self, method: str) -> str:
        """Why a method cannot be chosen; empty if it can."""
        return self.method.reasonOf(method)

    def bestR2starMethod(self) -> str:
        """A method that takes R2* alone: networks where there are any, else the approximation."""
        return "sepnet-r2star" if self.method.isOffered("sepnet-r2star") else "r2star-qsm"

    def askDevices(self) -> None:
        """Ask for the devices once, in a child process: importing torch here would freeze the application."""
        if not self._devicesKnown and self._query is None:
            self._query = ChildQuery("devices", [], self._gotDevices, self._gotNoDevices)

    def abandon(self) -> None:
        """End the question; it can be asked again."""
        if self._query is not None:
            self._query.abandon()
        self._query = None

    def _gotDevices(self, answer: dict[str, Any]) -> None:
        self._query, self._devicesKnown = None, True
        titles = {"auto": deviceTitles()["auto"]}
        for device in answer.get("devices", []):
            titles[device["name"]] = deviceTitle(device["name"], device["description"], device["free_bytes"])
        if answer.get("problem"):
            self._log(answer["problem"])
        self.device.setTitles(titles if len(titles) > 1 else deviceTitles())

    def _gotNoDevices(self, error: Exception) -> None:
        self._query, self._devicesKnown = None, True
        self._log(str(error))

    def _timeText(self, parameters: Any) -> str:
        magnitude = alive(parameters.magnitude)
        volumes = echo_volumes(magnitude) if magnitude is not None else []
        image = volumes[0].GetImageData() if volumes else None
        if image is None:
            return _("—")
        return timesText(estimate(parameters.method, parameters.device, image.GetNumberOfPoints()))
