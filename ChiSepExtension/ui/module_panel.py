"""What the controls of the panel do: each slot calls one function of the Logic and logs it as a line of Python."""

from __future__ import annotations

import ctk
import qt
from slicer.i18n import tr as _

from ..errors import ChiSepError
from ..mrml.loading import format_echo_times, parse_echo_times
from ..mrml.maps import OUTPUT_MAPS
from ..mrml.parameters import (
    drop_foreign_outputs,
    fill_from_sequence,
    forget_filled_times,
    output_nodes,
    remember_filled,
    run_arguments,
    select_outputs,
    typed_values,
    why_not,
)
from ..notice import RESEARCH_USE
from ..options import METHODS
from .console_line import callText
from .cursor_readout import CursorReadout
from .echo_list import EchoList
from .run_panel import RunPanel
from .views import MapViews

_LOGIC = "ChiSepModuleLogic()"


class ModulePanel:
    """Connects the widgets of the .ui with Logic, parameters and views.

    Parameters
    ----------
    ui
        Widgets by name (`slicer.util.childWidgetVariables`).
    logic
        The module's Logic.
    """

    def __init__(self, ui, logic) -> None:
        self._ui, self._logic = ui, logic
        self._parameters = None
        self._guiTag = None
        self._magnitudeId = None
        self._updating = False
        self._shown = None
        self.views = MapViews()
        self.run = RunPanel(ui, self._start, self._finished)
        self.echoes = EchoList(ui.volumeList)
        self.readout = CursorReadout(ui.readoutLabel, self._outputs)
        ui.noticeLabel.text = RESEARCH_USE
        ui.folderPath.filters = ctk.ctkPathLineEdit.Dirs
        ui.weightsPath.filters = ctk.ctkPathLineEdit.Dirs
        connected = [
            ui.applyButton.connect("clicked(bool)", lambda _checked=False: self.run.applyOrCancel()),
            ui.resetButton.connect("clicked(bool)", lambda _checked=False: self.reset()),
            ui.loadButton.connect("clicked(bool)", lambda _checked=False: self.loadFolder()),
            ui.useAsMagnitudeButton.connect("clicked(bool)", lambda _checked=False: self.gather("magnitude")),
            ui.useAsPhaseButton.connect("clicked(bool)", lambda _checked=False: self.gather("phase")),
            ui.showButton.connect("clicked(bool)", lambda _checked=False: self.showMaps()),
            ui.echoTimesEdit.connect("textEdited(QString)", lambda _text: self._echoTimesEdited()),
            ui.weightsPath.connect("currentPathChanged(QString)", self._weightsChanged),
            ui.volumesGroup.connect("toggled(bool)", lambda _shown: self.echoes.refresh()),
        ]
        if not all(connected):
            raise RuntimeError("A control of the panel has lost its signal; is the .ui file of another version?")

    @property
    def parameters(self):
        return self._parameters

    def setParameters(self, parameters) -> None:
        """Bind the panel to a wrapper of the parameter node, or to None."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
        self._parameters = parameters
        if parameters is None:
            self.run.setProblem(_("No scene is open."))
            return
        self._magnitudeId = _idOf(parameters.magnitude)
        self._shown = (parameters.preset, parameters.style)
        self._guiTag = parameters.connectGui(self._ui)
        self.update()

    def update(self, *_args) -> None:
        """Follow the parameters: what is enabled, and why not."""
        if self._parameters is None or self._updating:
            return
        self._updating = True
        try:
            if _idOf(self._parameters.magnitude) != self._magnitudeId:
                self._magnitudeId = _idOf(self._parameters.magnitude)
                fill_from_sequence(self._parameters)
                drop_foreign_outputs(self._parameters)
            self.run.setProblem(why_not(self._parameters))
        finally:
            self._updating = False
        ui, parameters = self._ui, self._parameters
        ui.drParaSpinBox.enabled = ui.drDiaSpinBox.enabled = not parameters.drAutomatic
        ui.methodLabel.text = METHODS[parameters.method]
        shown = (parameters.preset, parameters.style)
        if shown != self._shown:
            self._shown = shown
            if self.views.areShown:
                self.showAgain()
        if ui.weightsPath.currentPath != parameters.weights:
            ui.weightsPath.currentPath = parameters.weights
        ui.showButton.enabled = any(node is not None for node in self._outputs().values())

    def loadFolder(self) -> None:
        """Load the chosen folder and fill in everything its files say; nothing of the scan before is kept."""
        folder = self._ui.folderPath.currentPath
        parameters = self._parameters
        if not folder.strip():
            self.run.showMessage(_("Choose a folder first."))
            return
        qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
        try:
            line, fieldStrength = typed_values(parameters)
            times = parse_echo_times(line) or None
            loaded = self._logic.loadFolder(folder, echoTimes=times, fieldStrength=fieldStrength)
        except ChiSepError as error:
            self.run.showError(error)
            return
        finally:
            qt.QApplication.restoreOverrideCursor()
        self._ui.folderPath.addCurrentPathToHistory()
        self._magnitudeId = _idOf(loaded.magnitude)
        parameters.magnitude, parameters.phase = loaded.magnitude, loaded.phase
        parameters.echoTimes = format_echo_times(loaded.echo_times_s)
        parameters.fieldStrength = loaded.field_strength_t
        remember_filled(parameters)
        # Also None: R2 map, masks and maps of the scan before belong to another head.
        parameters.r2Map = loaded.r2_map
        parameters.maskVolume = parameters.maskSegmentation = None
        drop_foreign_outputs(parameters)
        self.views.showMagnitude(loaded.magnitude)
        self.run.showMessage("\n".join(loaded.remarks))
        self.run.log(callText(f"{_LOGIC}.loadFolder", folder=folder, echoTimes=times, fieldStrength=fieldStrength))
        self.update()

    def gather(self, role: str) -> None:
        """Make one sequence of the volumes selected in the list."""
        volumes = self.echoes.selectedVolumes()
        try:
            times = parse_echo_times(typed_values(self._parameters)[0])
            sequence = self._logic.gatherEchoes(volumes, role, times or None)
        except ChiSepError as error:
            self.run.showError(error)
            return
        setattr(self._parameters, role, sequence)
        self.run.log(callText(f"{_LOGIC}.gatherEchoes", volumes=volumes, role=role, echoTimes=times or None))
        self.update()

    def showMaps(self) -> None:
        """Show the chosen maps in the linked views."""
        preset, style = self._parameters.preset, self._parameters.style
        self.showAgain()
        nodes = {key: node for key, node in self._outputs().items() if node is not None}
        shown = ", ".join(
            f"{key!r}: {callText('slicer.util.getNode', pattern=n.GetName())}" for key, n in nodes.items()
        )
        self.run.log(f"{_LOGIC}.showMaps({{{shown}}}, {preset!r}, {style!r})")

    def showAgain(self) -> None:
        """Show the chosen maps as before, without a word in the log."""
        self._show(self._outputs())

    def showAgainIfShown(self) -> None:
        """After a scene has been loaded: its views refer to the maps in ppm, and the copies in ppb are gone."""
        if self.views.areShown:
            self.showAgain()

    def nodesChanged(self) -> None:
        """The scene has got or lost a node."""
        if self._ui.volumesGroup.checked:
            self.echoes.refresh()

    def reset(self) -> None:
        """Every choice as in a new scene; no node is removed."""
        self._logic.resetParameters(self._parameters)
        self.views.leave()
        self.run.showMessage("")
        self.run.log("ChiSepModuleLogic().resetParameters()")
        self.update()

    def _start(self, callbacks):
        arguments = run_arguments(self._parameters)
        nodes = {key: node for key, node in self._outputs().items() if node is not None}
        run = self._logic.process(**arguments, outputs=nodes, waitForCompletion=False, callbacks=callbacks)
        self.run.log(callText(f"{_LOGIC}.process", **arguments))
        return run

    def _finished(self, result) -> None:
        if self._parameters is None:  # another module is open: the maps wait there until this one is entered again
            parameters = self._logic.getParameterNode()
            select_outputs(parameters, result.nodes)
            drop_foreign_outputs(parameters)
            return
        select_outputs(self._parameters, result.nodes)
        drop_foreign_outputs(self._parameters)  # another scan may have been chosen in the meantime
        self._show(result.nodes)
        self.update()

    def _show(self, nodes: dict) -> None:
        try:
            self.views.show(nodes, self._parameters.preset, self._parameters.style)
        except ChiSepError as error:
            self.run.showMessage(str(error))

    def _echoTimesEdited(self) -> None:
        if self._parameters is not None:
            forget_filled_times(self._parameters)

    def _outputs(self) -> dict:
        return output_nodes(self._parameters) if self._parameters is not None else {k.key: None for k in OUTPUT_MAPS}

    def _weightsChanged(self, path: str) -> None:
        if self._parameters is not None and self._parameters.weights != path:
            self._parameters.weights = path


def _idOf(node) -> str | None:
    return node.GetID() if node is not None else None
