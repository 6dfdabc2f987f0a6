"""The scripted module: it wires the package's rooms to Slicer and holds no numerics of its own."""

import importlib
import importlib.util
import sys
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

PACKAGE = "ChiSepExtension"


def _makePackageImportable() -> None:
    """Append the repository folder to the path where the package is not installed beside the module file.

    A checkout folder that is called like the package looks like a package without a file: only `origin` tells them
    apart.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin is not None:
        return
    root = Path(__file__).resolve().parents[1]
    if not (root / PACKAGE / "__init__.py").is_file():
        raise ImportError(
            f"The folder {PACKAGE} is missing beside ChiSepModule in {root}: copy the whole extension, not this folder "
            "alone."
        )
    sys.modules.pop(PACKAGE, None)
    sys.path.append(str(root))
    importlib.invalidate_caches()


_makePackageImportable()

from ChiSepExtension.errors import InputError  # noqa: E402
from ChiSepExtension.mrml import sample  # noqa: E402
from ChiSepExtension.mrml.loading import gather_echoes, load_folder  # noqa: E402
from ChiSepExtension.mrml.maps import SURVEY  # noqa: E402
from ChiSepExtension.mrml.parameters import options_of, reset_parameters  # noqa: E402
from ChiSepExtension.mrml.review_logic import ReviewLogic  # noqa: E402
from ChiSepExtension.mrml.separation import SeparationJob  # noqa: E402
from ChiSepExtension.mrml.spin_echo import load_spin_echo  # noqa: E402
from ChiSepExtension.mrml.verdict import Verdict, record_verdict  # noqa: E402
from ChiSepExtension.notice import RESEARCH_USE  # noqa: E402
from ChiSepExtension.progress import NEVER, silent  # noqa: E402
from ChiSepExtension.ui.parameter_node import ChiSepModuleParameterNode  # noqa: E402
from ChiSepExtension.ui.self_test import SelfTest  # noqa: E402


class ChiSepModule(ScriptedLoadableModule):
    """What Slicer knows of the module before its panel is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("χ-separation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        parent.contributors = ["The ChiSepExtension contributors"]
        parent.helpText = _(
            "Separates magnetic susceptibility into its paramagnetic source (iron) and its diamagnetic source "
            "(myelin), from the magnitude and phase of a multi-echo gradient-echo scan."
        )
        parent.helpText += self.getDefaultModuleDocumentationLink()
        parent.acknowledgementText = _(
            "{notice}. The method is described in Shin et al., NeuroImage 2021;240:118371 "
            "(doi:10.1016/j.neuroimage.2021.118371). 3D Slicer is not approved for clinical use."
        ).format(notice=RESEARCH_USE)
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the simulated head in the Sample Data module; it is computed, not downloaded."""
    try:
        import SampleData
    except ImportError:  # an application that was built without the module
        return
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="ChiSep",
        sampleName=sample.NAME,
        uris=[],
        fileNames=[],
        nodeNames=[],
        thumbnailFileName=str(Path(__file__).parent / "Resources" / "Icons" / "ChiSepModule.png"),
        customDownloader=lambda _source: [sample.add_simulated_head(slicer.mrmlScene).magnitude],
    )


class ChiSepModuleLogic(ReviewLogic, ScriptedLoadableModuleLogic):
    """Everything the panel can do, for scripts: no dialogs, errors are `ChiSepError` with a remedy."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self._run = None

    def getParameterNode(self):
        return ChiSepModuleParameterNode(super().getParameterNode())

    def loadFolder(self, folder, echoTimes=None, fieldStrength=None):
        """Load a multi-echo scan (NIfTI with JSON sidecars, BIDS or plain) into two sequence nodes.

        Echo times (s) and field strength (T) are used only where the sidecars say nothing. Returns `LoadedEchoes`.
        """
        return load_folder(slicer.mrmlScene, folder, echo_times_s=echoTimes, field_strength_t=fieldStrength)

    def loadSpinEcho(self, folder):
        """Load a multi-echo spin echo (NIfTI with JSON sidecars) into a sequence node, for a measured R2."""
        return load_spin_echo(slicer.mrmlScene, folder)

    def gatherEchoes(self, volumes, role, echoTimes=None):
        """One sequence node out of volumes that are loaded one per echo; ``role`` is "magnitude" or "phase"."""
        return gather_echoes(slicer.mrmlScene, volumes, role, echoTimes)

    def process(
        self,
        magnitude,
        phase,
        echoTimes=None,
        fieldStrength=None,
        mask=None,
        r2=None,
        r2prime=None,
        spinEcho=None,
        context=None,
        outputs=None,
        gate=None,
        waitForCompletion=True,
        progress=None,
        cancel=NEVER,
        callbacks=None,
        **choices,
    ):
        """Separate the susceptibility sources of a multi-echo gradient-echo scan.

        Parameters
        ----------
        magnitude, phase
            Sequence node, or a list of volume nodes, one per echo. Phase in the numbers the file stored: the scaling
            to radians is recognised.
        echoTimes, fieldStrength
            In s and T; None takes them from the magnitude sequence.
        mask, r2, r2prime
            Brain mask (volume or segmentation) and measured R2 or R2' in 1/s; None does without.
        spinEcho
            Sequence of a multi-echo spin echo, from which R2 is measured; instead of an R2 map.
        context
            Volumes that lie beside the maps, by name: {"flair": …, "t1": …, "swi": …}.
        outputs
            Nodes to fill, by map ("chi_para", "chi_dia", …); None takes those of an earlier run, or new ones.
        gate
            What `gate` has returned; red without an override in words is refused, and all of it is recorded.
        waitForCompletion
            True computes in this process and returns `SeparationResult`. False starts a child process and returns a
            handle with ``cancel()``; ``callbacks`` (`ui.separation_run.RunCallbacks`) tell how it goes.
        progress
            ``progress(fraction, message)`` while waiting.
        choices
            method, drPara, drDia, r2primeFallback, invertPhase, repair (list), manufacturer, device, weights: see
            `ChiSepModuleParameterNode`.

        Raises
        ------
        ChiSepError
            With what is wrong and what to do about it.

        Example
        -------
        >>> from ChiSepModule import ChiSepModuleLogic
        >>> logic = ChiSepModuleLogic()
        >>> scan = logic.loadFolder("/data/sub-01")
        >>> maps = logic.process(scan.magnitude, scan.phase)
        >>> slicer.util.arrayFromVolume(maps.chi_para).max()  # in ppm
        """
        if self.isRunning:
            raise InputError("A run is under way.", "Wait for it, or cancel it.")
        given = {"mask": mask, "r2": r2, "r2prime": r2prime, "spin_echo": spinEcho, "context": context}
        job = self._job(magnitude, phase, echoTimes, fieldStrength, choices, outputs=outputs, gate=gate, **given)
        if waitForCompletion:
            return job.run(progress or silent, cancel)
        from ChiSepExtension.ui.separation_run import RunCallbacks, SeparationRun

        self._run = SeparationRun(job, callbacks or RunCallbacks(progress=progress or silent))
        return self._run

    def gate(
        self,
        magnitude=None,
        phase=None,
        echoTimes=None,
        fieldStrength=None,
        waitForCompletion=True,
        callbacks=None,
        mask=None,
        r2=None,
        r2prime=None,
        spinEcho=None,
        context=None,
        **choices,
    ):
        """Look at the inputs of `process` before it is called; takes its arguments and changes nothing.

        Without arguments, at what is chosen in the module or was loaded by `loadCase`.

        Returns a `quality.gate.Gate` (``gate.color``, ``gate.rows``), or the handle of a child process.

        Example
        -------
        >>> gate = logic.gate(scan.magnitude, scan.phase, method="r2star-qsm")
        >>> maps = logic.process(scan.magnitude, scan.phase, method="r2star-qsm", gate=gate)
        """
        if magnitude is None:
            return self.gate(**self.inputArguments(), waitForCompletion=waitForCompletion, callbacks=callbacks)
        given = {"mask": mask, "r2": r2, "r2prime": r2prime, "spin_echo": spinEcho, "context": context}
        job = self._job(magnitude, phase, echoTimes, fieldStrength, choices, **given)
        if waitForCompletion:
            return job.check()
        from ChiSepExtension.ui.gate_run import GateRun, RunCallbacks

        return GateRun(job, callbacks or RunCallbacks())

    @staticmethod
    def _job(magnitude, phase, echoTimes, fieldStrength, choices, **given):
        manufacturer = choices.pop("manufacturer", None)
        return SeparationJob.prepare(
            slicer.mrmlScene,
            magnitude,
            phase,
            echo_times_s=echoTimes,
            field_strength_t=fieldStrength,
            options=options_of(choices),
            record={"manufacturer": manufacturer} if manufacturer else None,
            **given,
        )

    @property
    def isRunning(self):
        """True while a child process of `process(waitForCompletion=False)` is under way."""
        return self._run is not None and self._run.isRunning

    def resetParameters(self, parameters=None):
        """Every choice as in a new scene; no node is removed."""
        reset_parameters(parameters or self.getParameterNode())

    def abandonRun(self):
        """End a child process that is under way, without a word."""
        if self.isRunning:
            self._run.abandon()
        self._run = None

    def showMaps(self, nodes, preset=SURVEY, style="overlay", layout="maps", opacity=1.0, context=None, earlier=None):
        """Show maps (nodes by key) in linked views; returns False where there are no views."""
        from ChiSepExtension.ui.views import MapViews, ViewChoice

        return MapViews().show(nodes, ViewChoice(preset, style, layout, opacity, context or {}, earlier))

    def recordVerdict(self, nodes, verdict, remark="", by=""):
        """Store a verdict on the quality of maps ("pass", "remark" or "fail") with them; ``by`` signs it."""
        record_verdict(nodes, Verdict.now(verdict, remark, by))


class ChiSepModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Life cycle of the panel; what the controls do is in `ChiSepExtension.ui.module_panel`."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._isEntered = False
        self._viewsWereShown = False

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from ChiSepExtension.ui.module_panel import ModulePanel
        from ChiSepExtension.ui.review_panel import ReviewPanel, Surroundings

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/ChiSepModule.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = ChiSepModuleLogic()
        self.panel = ModulePanel(self.ui, self.logic)
        surroundings = Surroundings(self.panel, self.ui)
        self.review = ReviewPanel(self.logic, self.resourcePath, self.panel.run.log, surroundings)
        self.layout.addWidget(self.review.widget)
        scene = slicer.mrmlScene
        for event, method in (
            (scene.StartCloseEvent, self.onSceneStartClose),
            (scene.EndCloseEvent, self.onSceneEnd),
            (scene.EndImportEvent, self.onSceneEnd),
            (scene.NodeAddedEvent, self.onNodesChanged),
            (scene.NodeRemovedEvent, self.onNodesChanged),
            (scene.StartSaveEvent, self.onStartSave),
            (scene.EndSaveEvent, self.onEndSave),
        ):
            self.addObserver(scene, event, method)
        self.initializeParameterNode()
        if getattr(self.parent, "isEntered", False):  # after a reload there is a new setup but no new enter
            self.enter()

    def cleanup(self):
        if self.panel is not None:
            self.review.cleanup()
            self.panel.abandon()
            self.logic.abandonRun()
            self.panel.readout.stop()
            self.panel.keys.remove()
            self.panel.views.leave()
            self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self._isEntered = True
        self.initializeParameterNode()
        self.panel.readout.start()
        self.panel.keys.install()
        if self._viewsWereShown or self.panel.views.areShown:
            self.panel.showAgain()
        self.review.enter()

    def exit(self):
        self._isEntered = False
        self.review.exit()
        self.panel.keys.remove()
        self.panel.preview.stop()
        self.panel.readout.stop()
        self._viewsWereShown = self.panel.views.leave()
        self.setParameterNode(None)

    def onReload(self):
        # Slicer reads the module file again; the package's files would stay as they were.
        for name in [name for name in sys.modules if name == PACKAGE or name.startswith(PACKAGE + ".")]:
            del sys.modules[name]
        super().onReload()

    def onSceneStartClose(self, caller, event):
        self.review.sceneCloses()
        self.panel.abandon()
        self.logic.abandonRun()
        self.panel.readout.stop()
        self.setParameterNode(None)

    def onSceneEnd(self, caller, event):
        # An open wrapper reads None for nodes that an import has brought: it is built again.
        if self._isEntered:
            self.initializeParameterNode()
            self.panel.readout.start()
            self.panel.showAgainIfShown()
            self.review.sceneChanged()

    def onNodesChanged(self, caller, event):
        if self._isEntered:
            self.panel.nodesChanged()

    def onStartSave(self, caller, event):
        self.panel.preview.stop()
        self.panel.views.beforeSave()

    def onEndSave(self, caller, event):
        self.panel.views.afterSave()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameters):
        """Bind the panel to a parameter node, and follow it."""
        if self.panel.parameters is not None:
            self.removeObserver(self.panel.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.panel.update)
        self.panel.setParameters(parameters)
        if parameters is not None:
            self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.panel.update)


class ChiSepModuleTest(SelfTest, ScriptedLoadableModuleTest):
    """Runs the whole way on a small simulated head; without network, about 10 s."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.makeLogic = ChiSepModuleLogic

    def runTest(self):
        for name in self.NAMES:
            self.setUp()
            getattr(self, name)()
            self.delayDisplay(f"{name} passed", 50)
