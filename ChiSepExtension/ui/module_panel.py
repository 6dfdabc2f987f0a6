"""What the controls of the panel do: each slot calls one function of the Logic and logs it as a line of Python."""

from __future__ import annotations

import ctk
import qt
from slicer.i18n import tr as _

from ..errors import ChiSepError
from ..mrml.loading import format_echo_times, parse_echo_times
from ..mrml.outputs import KIND
from ..mrml.parameters import (
    drop_foreign_outputs,
    fill_from_sequence,
    forget_filled_times,
    input_state,
    output_nodes,
    remember_filled,
    run_arguments,
    select_outputs,
    typed_values,
    why_not,
)
from ..mrml.verdict import forget_verdict
from ..notice import RESEARCH_USE
from .console_line import callText
from .cursor_readout import CursorReadout
from .display_panel import DisplayPanel
from .echo_list import EchoList
from .gate_panel import GatePanel
from .keys import Keys
from .mends import Mends
from .method_panel import MethodPanel
from .preview_panel import PreviewPanel
from .quality_panel import QualityPanel
from .run_panel import RunPanel
from .stage_times import learn
from .torch_install import ensureTorch
from .views import MapViews
from .weights_panel import WeightsPanel

_LOGIC = "ChiSepModuleLogic()"
#: Parameters whose control is not bound by Slicer: it shows other words than the value, or it is more than one control.
BOUND_BY_HAND = {
    "method": "methodComboBox",
    "device": "deviceComboBox",
    "r2primeFallback": "r2primeFallbackComboBox",
    "repair": "gateTable",
    "weights": "weightsPath",
    "preset": "presetComboBox",
    "style": "styleComboBox",
    "viewLayout": "layoutMapsButton",
}


class ModulePanel:
    """Connects the sections of the panel with Logic, parameters and views.

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
        self.views = MapViews()
        self.run = RunPanel(ui, self.apply)
        self.gate = GatePanel(ui, self.mend, self.update)
        self.method = MethodPanel(ui, self.choose, self.run.log)
        self.weights = WeightsPanel(ui, lambda value: self.choose("weights", value), self.weightsChanged, self.run)
        self.display = DisplayPanel(ui, self.views, self.choose, self._outputs, self.run.showMessage, self._logShown)
        self.quality = QualityPanel(ui, self._outputs, self.run)
        self.preview = PreviewPanel(ui, self.display, self._outputs, self.choose, self.run)
        ui.earlierMapSelector.addAttribute("vtkMRMLScalarVolumeNode", KIND)
        self.echoes = EchoList(ui.volumeList)
        self.readout = CursorReadout(ui.readoutLabel, self._outputs)
        self.keys = Keys(
            {"K": self.display.cycleLayout, "L": self.display.togglePreset, "O": self.display.cycleOverlay}
        )
        ui.noticeLabel.text = RESEARCH_USE
        ui.folderPath.filters = ui.spinEchoPath.filters = ctk.ctkPathLineEdit.Dirs
        connected = [
            ui.applyButton.connect("clicked(bool)", lambda _checked=False: self.run.applyOrCancel()),
            ui.checkButton.connect("clicked(bool)", lambda _checked=False: self.check()),
            ui.resetButton.connect("clicked(bool)", lambda _checked=False: self.reset()),
            ui.loadButton.connect("clicked(bool)", lambda _checked=False: self.loadFolder()),
            ui.spinEchoLoadButton.connect("clicked(bool)", lambda _checked=False: self.loadSpinEcho()),
            ui.useAsMagnitudeButton.connect("clicked(bool)", lambda _checked=False: self.gather("magnitude")),
            ui.useAsPhaseButton.connect("clicked(bool)", lambda _checked=False: self.gather("phase")),
            ui.showButton.connect("clicked(bool)", lambda _checked=False: self.showMaps()),
            ui.echoTimesEdit.connect("textEdited(QString)", lambda _text: self._echoTimesEdited()),
            ui.volumesGroup.connect("toggled(bool)", lambda _shown: self.echoes.refresh()),
        ]
        # What a section hides is shown again when it is opened: it has to be hidden anew.
        for section in (ui.gateButton, ui.methodButton, ui.weightsButton, ui.qualityButton):
            connected.append(section.connect("contentsCollapsed(bool)", lambda _collapsed: self._sectionOpened()))
        connected.append(ui.importGroup.connect("toggled(bool)", lambda _shown: self._sectionOpened()))
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
        self.display.setParameters(parameters)
        if parameters is None:
            self.preview.stop()
            self.run.setProblem(_("No scene is open."))
            return
        self._magnitudeId = _idOf(parameters.magnitude)
        self._guiTag = parameters.connectGui(self._ui)
        self.update()
        self.quality.update()

    def choose(self, name: str, value) -> None:
        """Set a parameter; without a scene nothing happens."""
        if self._parameters is not None and getattr(self._parameters, name) != value:
            setattr(self._parameters, name, value)

    def update(self, *_args) -> None:
        """Follow the parameters: what is enabled, and why not."""
        if self._parameters is None or self._updating:
            return
        ui, parameters = self._ui, self._parameters
        self._updating = True
        try:
            if _idOf(parameters.magnitude) != self._magnitudeId:
                self._magnitudeId = _idOf(parameters.magnitude)
                fill_from_sequence(parameters)
                drop_foreign_outputs(parameters)
            self.weights.update(parameters.weights)
            self.method.update(parameters)
            problem = why_not(parameters) or self.method.reason(parameters.method)
            if not problem and not self.gate.isCurrent(input_state(parameters)):
                self.gate.clear()
            self.run.setProblem(problem or self.gate.problem())
        finally:
            self._updating = False
        ui.drParaSpinBox.enabled = ui.drDiaSpinBox.enabled = not parameters.drAutomatic
        if not self.run.isRunning:
            ui.checkButton.enabled = not problem
        self.display.update()

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
        # Also None: R2 map, masks, other images and maps of the scan before belong to another head.
        parameters.r2Map = loaded.r2_map
        parameters.manufacturer = parameters.repair = ""
        for name in ("r2primeMap", "spinEcho", "maskVolume", "maskSegmentation", "flair", "t1", "swi", "earlierMap"):
            setattr(parameters, name, None)
        drop_foreign_outputs(parameters)
        self.views.showMagnitude(loaded.magnitude)
        self.run.showMessage("\n".join(loaded.remarks))
        self.run.log(callText(f"{_LOGIC}.loadFolder", folder=folder, echoTimes=times, fieldStrength=fieldStrength))
        self.update()

    def loadSpinEcho(self) -> None:
        """Load the spin echo of the chosen folder; it takes the place of an R2 or R2′ map."""
        folder = self._ui.spinEchoPath.currentPath
        if not folder.strip():
            self.run.showMessage(_("Choose the folder of the spin echo first."))
            return
        qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
        try:
            sequence = self._logic.loadSpinEcho(folder)
        except ChiSepError as error:
            self.run.showError(error)
            return
        finally:
            qt.QApplication.restoreOverrideCursor()
        self._ui.spinEchoPath.addCurrentPathToHistory()
        self._parameters.r2Map = self._parameters.r2primeMap = None
        self._parameters.spinEcho = sequence
        self.run.log(callText(f"{_LOGIC}.loadSpinEcho", folder=folder))
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

    def check(self, then=None) -> None:
        """Look at the inputs in a child process and show what was found; ``then(gate)`` follows."""
        try:
            arguments, state = run_arguments(self._parameters), input_state(self._parameters)
        except ChiSepError as error:
            self.run.showError(error)
            return
        arguments = {name: value for name, value in arguments.items() if name != "device"}

        def start(callbacks):
            self.run.log(callText(f"{_LOGIC}.gate", **arguments))
            return self._logic.gate(**arguments, waitForCompletion=False, callbacks=callbacks)

        def finished(checked):
            gate = checked.gate
            if self._parameters is not None and input_state(self._parameters) == state:
                self.gate.show(gate, state, checked.pictures)
                self.update()
            if then is not None:
                then(gate)

        self.run.begin(start, finished, _("Inputs checked"))

    def apply(self) -> None:
        """Check the inputs if that has not been done, and run unless something is red."""
        if self._parameters is None:
            return
        # What was chosen at the click is run, whatever is chosen while the inputs are checked.
        arguments = run_arguments(self._parameters)
        outputs = {key: node for key, node in self._outputs().items() if node is not None}
        if self.gate.isCurrent(input_state(self._parameters)):
            self._process(arguments, outputs, self.gate.passed)
        else:
            self.check(then=lambda gate: self._process(arguments, outputs, gate.require))

    def mend(self, name: str) -> None:
        """Do what a row of the check offers, and check again if that changed something."""
        before = input_state(self._parameters)
        Mends(self._ui, self.choose, self.method, self._parameters).do(name)
        self.update()
        if input_state(self._parameters) != before and self._ui.checkButton.enabled:
            self.check()

    def showMaps(self) -> None:
        """Show the chosen maps in the linked views."""
        self.display.show()
        self._logShown()

    def showAgain(self) -> None:
        """Show the chosen maps as before, without a word in the log."""
        self.display.show()

    def showAgainIfShown(self) -> None:
        """After a scene has been loaded: its views refer to the maps in ppm, and the copies in ppb are gone."""
        if self.views.areShown:
            self.display.show()

    def nodesChanged(self) -> None:
        """The scene has got or lost a node."""
        if self._ui.volumesGroup.checked:
            self.echoes.refresh()

    def reset(self) -> None:
        """Every choice as in a new scene; no node is removed."""
        self.preview.stop()
        self._logic.resetParameters(self._parameters)
        self.views.leave()
        self.run.showMessage("")
        self.run.log(f"{_LOGIC}.resetParameters()")
        self.update()

    def weightsChanged(self) -> None:
        """Weights have been imported or removed, or torch has been installed."""
        if self._parameters is not None:
            self.method.weightsChanged(self._parameters.weights)
            self.update()

    def abandon(self) -> None:
        """End every child process and everything that is only shown, without a word."""
        self.run.abandon()
        self.method.abandon()
        self.weights.abandon()
        self.preview.stop()
        self.quality.close()

    def _process(self, arguments: dict, outputs: dict, passed) -> None:
        """Run; ``passed()`` is the gate, or raises because it is red."""
        self.preview.stop()
        try:
            gate = passed()
        except ChiSepError as error:
            self.run.refuse(str(error))
            return

        def start(callbacks):
            if arguments["method"].startswith("sepnet"):
                ensureTorch()
            run = self._logic.process(
                **arguments, outputs=outputs, gate=gate, waitForCompletion=False, callbacks=callbacks
            )
            self.run.log(callText(f"{_LOGIC}.process", **arguments))
            return run

        def finished(result):
            self._finished(result, arguments["method"], arguments["device"])

        self.run.begin(start, finished, showing=lambda result: self.views.prepare(result.nodes))

    def _finished(self, result, method: str, device: str) -> None:
        self.run.showMessage("\n".join(result.warnings))
        voxels = result.nodes["mask"].GetImageData().GetNumberOfPoints() if "mask" in result.nodes else 0
        learn(method, device, voxels, result.provenance.get("stage_times_s", {}))
        forget_verdict(result.nodes.values())
        self.quality.showPicture(result.quality_picture)
        if self._parameters is None:  # another module is open: the maps wait there until this one is entered again
            parameters = self._logic.getParameterNode()
            select_outputs(parameters, result.nodes)
            drop_foreign_outputs(parameters)
            return
        select_outputs(self._parameters, result.nodes)
        drop_foreign_outputs(self._parameters)  # another scan may have been chosen in the meantime
        self.display.show(result.nodes)
        self.quality.update()
        self.update()

    def _logShown(self) -> None:
        choice = self.display.choice()
        arguments = {
            "nodes": {key: node for key, node in self._outputs().items() if node is not None},
            "preset": choice.preset,
            "style": choice.style,
            "layout": choice.layout,
            "opacity": None if choice.opacity == 1 else choice.opacity,
            "context": choice.context or None,
            "earlier": choice.earlier,
        }
        self.run.log(callText(f"{_LOGIC}.showMaps", **arguments))

    def _sectionOpened(self) -> None:
        self.gate.refresh()
        self.weights.refresh()
        self.update()

    def _echoTimesEdited(self) -> None:
        if self._parameters is not None:
            forget_filled_times(self._parameters)

    def _outputs(self) -> dict:
        return output_nodes(self._parameters) if self._parameters is not None else {}


def _idOf(node) -> str | None:
    return node.GetID() if node is not None else None
