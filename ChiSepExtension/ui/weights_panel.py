"""The section “Network weights”: which set is taken, importing published checkpoints, verifying, removing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ctk
import slicer
from slicer.i18n import tr as _

from ..errors import ChiSepError, without_command_line
from ..networks import weight_store
from .child_query import ChildQuery
from .choice_box import ChoiceBox
from .compat import openFolder
from .console_line import callText
from .torch_install import ensureTorch, missingForNetworks, torchIsInstalled

_AUTOMATIC = ""
_OWN = ":own"


class WeightsPanel:
    """Fills the section and follows the parameter ``weights``, which is a name, a folder, or empty.

    Parameters
    ----------
    ui
        Widgets of the .ui by name.
    choose
        ``choose(weights)`` sets the parameter.
    changed
        Called when weights have been imported or removed, or torch has been installed.
    runPanel
        Shows errors and the log.
    """

    def __init__(self, ui, choose: Callable[[str], None], changed: Callable[[], None], runPanel) -> None:
        self._ui, self._choose, self._changed, self._run = ui, choose, changed, runPanel
        self._query: ChildQuery | None = None
        self._value = _AUTOMATIC
        ui.weightsPath.filters = ui.importPath.filters = ctk.ctkPathLineEdit.Dirs
        ui.licenceText.setPlainText(weight_store.PUBLISHED_LICENCE)
        ui.licenceText.setMaximumHeight(130)
        self._box = ChoiceBox(ui.weightsComboBox, self._titles(), self._chosen)
        connected = [
            ui.weightsPath.connect("currentPathChanged(QString)", self._pathChanged),
            ui.weightsVerifyButton.connect("clicked(bool)", lambda _checked=False: self.verify()),
            ui.weightsRemoveButton.connect("clicked(bool)", lambda _checked=False: self.remove()),
            ui.weightsOpenButton.connect("clicked(bool)", lambda _checked=False: self.openStore()),
            ui.importPath.connect("currentPathChanged(QString)", lambda _path: self._updateButtons()),
            ui.licenceCheckBox.connect("toggled(bool)", lambda _checked: self._updateButtons()),
            ui.importButton.connect("clicked(bool)", lambda _checked=False: self.importWeights()),
            ui.torchButton.connect("clicked(bool)", lambda _checked=False: self.installTorch()),
        ]
        if not all(connected):
            raise RuntimeError("A control of the weights has lost its signal.")
        self._updateButtons()

    def update(self, weights: str) -> None:
        """Follow the parameter."""
        if weights == self._value:
            return
        self._value = weights
        self._box.setTitles(self._titles())
        self._box.select(_OWN if self._isFolder(weights) else weights)
        path = weights if self._isFolder(weights) else ""
        if self._ui.weightsPath.currentPath != path:
            self._ui.weightsPath.currentPath = path
        self._updateButtons()

    def abandon(self) -> None:
        """End an import or a check without a word."""
        if self._query is not None:
            self._query.abandon()
        self._query = None
        self._updateButtons()

    def importWeights(self) -> None:
        """Check the files of a folder, all of them, and copy them into the store."""
        folder = self._ui.importPath.currentPath.strip()
        accepted = self._ui.licenceCheckBox.checked
        try:
            ensureTorch()
        except ChiSepError as error:
            self._run.showError(error)
            return
        self._run.log(callText("import_weights", source=folder, accept_licence=accepted or None))
        arguments = [folder, *(["accept-licence"] if accepted else [])]
        self._ask("weights-import", arguments, _("Checking and copying…"), self._imported)

    def verify(self) -> None:
        """Hash every file of the weights in use."""
        from ..networks.in_use import weights_in_use

        found = weights_in_use(self._value)
        if found.problem:
            self._ui.weightsMessage.text = without_command_line(found.problem)
            return
        self._ask("weights-verify", [str(found.folder)], _("Verifying…"), self._verified)

    def remove(self) -> None:
        """Delete the chosen imported set, after asking."""
        name = self._value
        question = _("Delete the imported weights “{name}” from this computer?").format(name=name)
        if not slicer.util.confirmOkCancelDisplay(question):
            return
        try:
            weight_store.remove_weights(name)
        except ChiSepError as error:
            self._run.showError(error)
            return
        self._run.log(callText("remove_weights", name=name))
        self._ui.weightsMessage.text = _("“{name}” was removed.").format(name=name)
        self._choose(_AUTOMATIC)
        self._changed()
        self.refresh()

    def openStore(self) -> None:
        """Show the folder of imported weights."""
        folder = weight_store.weights_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if not openFolder(folder):
            self._ui.weightsMessage.text = str(folder)

    def installTorch(self) -> None:
        """Install PyTorch, after asking."""
        try:
            ensureTorch()
        except ChiSepError as error:
            self._run.showError(error)
        self._changed()
        self._updateButtons()

    def refresh(self) -> None:
        """Read the store again."""
        self._box.setTitles(self._titles())
        self._updateButtons()

    def _titles(self) -> dict[str, str]:
        titles = {_AUTOMATIC: _("Automatic")}
        for folder in weight_store.shipped_weights():
            titles[folder.name] = _("{name} (comes with the extension)").format(name=folder.name)
        try:
            for entry in weight_store.list_weights():
                titles[entry.name] = _("{name} (imported {date})").format(name=entry.name, date=entry.installed[:10])
        except ChiSepError as error:
            self._ui.weightsMessage.text = without_command_line(str(error))
        titles[_OWN] = _("A folder of your own")
        return titles

    def _chosen(self, value: str) -> None:
        if value != _OWN:
            self._choose(value)

    def _pathChanged(self, path: str) -> None:
        if path.strip() or self._isFolder(self._value):
            self._choose(path.strip())

    def _ask(self, question: str, arguments: list[str], message: str, answered: Callable) -> None:
        self.abandon()
        self._ui.weightsMessage.text = message
        self._query = ChildQuery(question, arguments, answered, self._failed)
        self._updateButtons()

    def _imported(self, answer: dict) -> None:
        self._query = None
        self._ui.weightsMessage.text = _("“{name}” was imported: {files}.").format(
            name=answer["name"], files=", ".join(answer["files"])
        )
        self._changed()
        self.refresh()

    def _verified(self, answer: dict) -> None:
        self._query = None
        problems = answer["problems"]
        self._ui.weightsMessage.text = (
            "; ".join(problems)
            if problems
            else _("{n} files are what was imported or shipped.").format(n=len(answer["hashes"]))
        )
        self._updateButtons()

    def _failed(self, error: ChiSepError) -> None:
        self._query = None
        text = without_command_line(str(error))
        self._ui.weightsMessage.text = text
        self._run.log(text)
        self._updateButtons()

    def _updateButtons(self) -> None:
        ui, busy = self._ui, self._query is not None
        folder = ui.importPath.currentPath.strip()
        isPublished = bool(folder) and self._kind(folder) == weight_store.PUBLISHED
        needsLicence = isPublished and not weight_store.licence_accepted()
        ui.licenceText.visible = ui.licenceCheckBox.visible = needsLicence
        ui.importButton.enabled = bool(folder) and not busy and (ui.licenceCheckBox.checked or not needsLicence)
        ui.weightsVerifyButton.enabled = not busy
        ui.weightsRemoveButton.enabled = not busy and self._isImported(self._value)
        installed = torchIsInstalled()
        ui.torchLabel.text = _("installed") if installed else missingForNetworks()
        ui.torchButton.visible = not installed

    @staticmethod
    def _kind(folder: str) -> str:
        try:
            return weight_store.kind_of(Path(folder))
        except (ChiSepError, OSError):
            return ""

    @staticmethod
    def _isImported(name: str) -> bool:
        try:
            return bool(name) and any(entry.name == name for entry in weight_store.list_weights())
        except ChiSepError:
            return False

    @staticmethod
    def _isFolder(value: str) -> bool:
        return "/" in value or "\\" in value
