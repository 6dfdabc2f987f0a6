"""The multi-echo plugin in the DICOM browser of a launched 3D Slicer: real database, real plugins beside it.

Run it with ``ctest -R DICOMMultiEchoPluginDesktopTest`` in a build tree, or in a Slicer that was started with
``--testing --additional-module-paths REPOSITORY/ChiSepModule`` (an absolute path) by

    slicer.testing.runUnitTest(["REPOSITORY/Testing/Python/desktop"], "DICOMMultiEchoPluginDesktopTest")

The file is called like its test class and must not lie on a module path of Slicer.
"""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import slicer


@unittest.skipUnless(hasattr(slicer.modules, "dicom"), "Slicer was built without DICOM")
class DICOMMultiEchoPluginDesktopTest(unittest.TestCase):
    """Simulated scans of each vendor go through import, examination and loading as a click in the browser does."""

    TIMES = np.array([0.004, 0.010, 0.016])

    def setUp(self):
        from DICOMLib import DICOMUtils

        slicer.mrmlScene.Clear(0)
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._previous = DICOMUtils.openTemporaryDatabase(str(self.folder / "database"))

    def tearDown(self):
        from DICOMLib import DICOMUtils

        DICOMUtils.closeTemporaryDatabase(self._previous)
        slicer.mrmlScene.Clear(0)
        self._folder.cleanup()

    def write(self, style):
        from ChiSepExtension.acquisition.gradient_echo import GradientEchoSeries
        from ChiSepExtension.geometry import Grid
        from ChiSepExtension.phantom.dicom_files import write_dicom

        grid = Grid.from_spacing((6, 10, 8), (2.0, 1.0, 0.9))
        z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.shape], indexing="ij")
        phase = np.angle(np.exp(1j * self.TIMES[:, None, None, None] * 150 * (x + 0.7 * y - 0.2 * z)))
        phase[:, 0, 0, :2] = -np.pi + 1e-4, np.pi - 1e-4
        magnitude = np.random.default_rng(0).uniform(0.1, 1, phase.shape)
        series = GradientEchoSeries(magnitude.astype(np.float32), phase.astype(np.float32), self.TIMES, 3.0, grid)
        write_dicom(self.folder / "scan", series, style=style)
        return series

    def browse(self):
        """Import, examine with all plugins, check the most confident ones, load. Returns the checked loadables."""
        from DICOMLib import DICOMUtils

        DICOMUtils.importDicom(str(self.folder / "scan"))
        database = slicer.dicomDatabase
        studies = [study for patient in database.patients() for study in database.studiesForPatient(patient)]
        series = [uid for study in studies for uid in database.seriesForStudy(study)]
        lists = [list(database.filesForSeries(uid)) for uid in series]
        loadables, _ = DICOMUtils.getLoadablesFromFileLists(lists)
        DICOMUtils.selectHighestConfidenceLoadables(loadables)
        messages = []
        DICOMUtils.loadLoadables(loadables, messages)
        self.assertEqual(messages, [])
        return [loadable for of_plugin in loadables.values() for loadable in of_plugin if loadable.selected]

    def test_module_is_hidden_and_registered(self):
        self.assertIn("DICOMMultiEchoPlugin", slicer.modules.dicomPlugins)
        self.assertTrue(slicer.modules.dicommultiechoplugin.hidden)

    def test_scans_of_all_vendors_load_as_two_sequences_and_nothing_else(self):
        from ChiSepExtension.mrml.echoes import echo_input
        from ChiSepExtension.phantom.dicom_files import DICOM_STYLES

        for style in DICOM_STYLES:
            with self.subTest(style=style):
                self.tearDown()
                self.setUp()
                truth = self.write(style)
                checked = self.browse()
                self.assertTrue(all("Multi-echo GRE" in loadable.name for loadable in checked), checked)
                nodes = slicer.util.getNodesByClass("vtkMRMLSequenceNode")
                self.assertEqual(sorted(node.GetName().split()[-1] for node in nodes), ["magnitude", "phase"])
                magnitude, phase = sorted(nodes, key=lambda node: node.GetName().split()[-1])
                start = echo_input(magnitude, phase)
                self.assertTrue(np.allclose(start.echo_times_s, self.TIMES))
                error = np.angle(np.exp(1j * (start.series().phase - truth.phase)))
                self.assertLess(np.abs(error).max(), 2 * np.pi / 4096)

    def test_module_takes_what_was_loaded(self):
        self.write("siemens")
        self.browse()
        slicer.util.selectModule("ChiSepModule")
        widget = slicer.modules.chisepmodule.widgetRepresentation().self()
        nodes = {node.GetName().split()[-1]: node for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode")}
        widget.ui.magnitudeSelector.setCurrentNode(nodes["magnitude"])
        widget.ui.phaseSelector.setCurrentNode(nodes["phase"])
        slicer.app.processEvents()
        self.assertEqual(widget.ui.echoTimesEdit.text, "4, 10, 16")
        self.assertTrue(widget.ui.applyButton.enabled, widget.ui.applyButton.toolTip)
        slicer.util.selectModule("Data")

    def test_series_lie_under_their_study(self):
        self.write("siemens")
        self.browse()
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        nodes = slicer.util.getNodesByClass("vtkMRMLSequenceNode")
        parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in nodes}
        self.assertEqual(len(parents), 1)
        self.assertEqual(hierarchy.GetItemLevel(parents.pop()), "Study")
