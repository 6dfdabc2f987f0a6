"""Plugin of the DICOM browser: multi-echo scans as sequences of echoes instead of one wrong stack.

Slicer's own plugin for volumes does not look at echo times. This one sorts the files of all chosen series together,
for many scanners store magnitude and phase, or every echo, as series of their own.
"""

import importlib
import logging
import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate

try:
    from DICOMLib import DICOMLoadable, DICOMPlugin
except ImportError:  # an application that was built without DICOM: there is no browser to plug into
    DICOMLoadable, DICOMPlugin = None, object

MODALITY, SERIES_UID = "0008,0060", "0020,000E"


def _package():
    """`ChiSepExtension.mrml.dicom_loading`, imported when it is first needed: Slicer's start-up must not wait."""
    name = "ChiSepExtension.mrml.dicom_loading"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "ChiSepExtension":
            raise
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    importlib.invalidate_caches()
    return importlib.import_module(name)


class DICOMMultiEchoPluginClass(DICOMPlugin):
    """What the DICOM browser makes an instance of."""

    def __init__(self):
        super().__init__()
        self.loadType = _("Multi-echo scan")
        # Fetched for all files when they are imported, so that the browser need not open them again.
        self.tags["modality"] = MODALITY
        self.tags["seriesUID"] = SERIES_UID
        self._offers = {}

    def examineForImport(self, fileLists):
        """List of DICOMLoadable for multi-echo scans in the file lists, one list per series. Never raises."""
        try:
            series = [list(files) for files in fileLists if files and self._isMR(files[0])]
            files = [file for files in series for file in files]
            if len(files) == 0:
                return []
            loadables = self.getCachedLoadables(files)
            if loadables is None:
                loadables = [self._loadable(offer) for offer in _package().find_offers(series)]
                self.cacheLoadables(files, loadables)
            return loadables
        except Exception:  # one strange file must not keep the browser from offering the others
            logging.exception("The multi-echo plugin could not examine the files.")
            return []

    def load(self, loadable):
        """Load a scan that `examineForImport` offered. Returns its first node, or False with the reason in the log."""
        package = _package()
        offer = self._offer(loadable)
        if offer is None:
            logging.error("“%s” was not offered by the multi-echo plugin.", loadable.name)
            return False
        if not offer.leads and package.is_loaded(slicer.mrmlScene, offer.scan):
            return True
        try:
            name = "" if loadable.name == offer.name else loadable.name
            parts = package.load_scan(slicer.mrmlScene, offer.scan, name=name)
        except package.ChiSepError as error:
            logging.error("“%s” was not loaded: %s", loadable.name, error)
            return False
        for part in parts:
            own = DICOMLoadable()
            own.name, own.files = part.node.GetName(), list(part.files)
            self.addSeriesInSubjectHierarchy(own, part.node)
        self._show(parts)
        return parts[0].node

    def _isMR(self, file):
        return slicer.dicomDatabase.fileValue(file, MODALITY) in ("MR", "")

    def _loadable(self, offer):
        loadable = DICOMLoadable()
        loadable.name = offer.name
        loadable.tooltip = offer.tooltip
        loadable.warning = offer.warning
        loadable.files = list(offer.files)
        loadable.confidence = offer.confidence
        loadable.selected = offer.confidence > 0.5
        # Kept here, not on the loadable: Slicer may hand back a copy with nothing but its own fields.
        self._offers.setdefault(tuple(loadable.files), {})[offer.name] = offer
        return loadable

    def _offer(self, loadable):
        """The offer behind a row. Its name can be edited in the browser: it only decides where files make two scans."""
        files = tuple(loadable.files)
        if files not in self._offers:
            self.examineForImport([loadable.files])
        offers = self._offers.get(files, {})
        return offers.get(loadable.name) or next(iter(offers.values()), None)

    @staticmethod
    def _show(parts):
        """Show the first echo: a sequence alone shows nothing."""
        sequences = [part.node for part in parts if part.node.IsA("vtkMRMLSequenceNode")]
        volume = next((part.node for part in parts if part.node.IsA("vtkMRMLScalarVolumeNode")), None)
        if sequences:
            name = slicer.mrmlScene.GenerateUniqueName(f"{sequences[0].GetName()} browser")
            browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", name)
            browser.SetAndObserveMasterSequenceNodeID(sequences[0].GetID())
            for sequence in sequences[1:]:
                browser.AddSynchronizedSequenceNode(sequence)
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
            volume = browser.GetProxyNode(sequences[0])
        if volume is not None:
            logic = slicer.app.applicationLogic()
            logic.GetSelectionNode().SetActiveVolumeID(volume.GetID())
            logic.PropagateVolumeSelection()


class DICOMMultiEchoPlugin:
    """The hidden module through which Slicer finds the plugin; it has no panel."""

    def __init__(self, parent):
        parent.title = _("DICOM multi-echo plugin")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Developer Tools.DICOM Plugins")]
        parent.contributors = ["The ChiSepExtension contributors"]
        parent.helpText = _("Loads multi-echo gradient-echo and spin-echo scans in the DICOM module, sorted by echo.")
        parent.acknowledgementText = _("Part of the χ-separation extension.")
        parent.hidden = True
        if DICOMLoadable is None:
            return
        # The DICOM module may be started before or after this one: whoever comes first makes the list.
        if not hasattr(slicer.modules, "dicomPlugins"):
            slicer.modules.dicomPlugins = {}
        slicer.modules.dicomPlugins["DICOMMultiEchoPlugin"] = DICOMMultiEchoPluginClass
