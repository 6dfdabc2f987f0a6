"""The module in a launched 3D Slicer: real PythonQt, real widgets, real views, real child process.

Run it with ``ctest -R ChiSepModuleDesktopTest`` in a build tree, or in a Slicer that was started with ``--testing
--additional-module-paths REPOSITORY/ChiSepModule`` (an absolute path) by

    slicer.testing.runUnitTest(["REPOSITORY/Testing/Python/desktop"], "ChiSepModuleDesktopTest")

The file is called like its test class and must not lie on a module path of Slicer.
"""

import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
import slicer
import vtk


class ChiSepModuleDesktopTest(unittest.TestCase):
    """One fact each; every test starts with an empty scene and the module selected."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule("ChiSepModule")
        self.widget = slicer.modules.chisepmodule.widgetRepresentation().self()
        self.ui = self.widget.ui

    def tearDown(self):
        self.widget = slicer.modules.chisepmodule.widgetRepresentation().self()
        self.widget.panel.run.abandon()
        slicer.util.selectModule("Data")
        slicer.mrmlScene.Clear(0)

    def chooseSimulatedHead(self):
        from ChiSepExtension.mrml.sample import add_simulated_head

        scan = add_simulated_head(slicer.mrmlScene, spacing_mm=4.0)
        self.ui.magnitudeSelector.setCurrentNode(scan.magnitude)  # phase and R2 map come with it
        slicer.app.processEvents()
        return scan

    def waitUntil(self, condition, seconds=120.0):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "it did not happen in time")
            slicer.app.processEvents()
            time.sleep(0.005)

    def passCheck(self):
        """Voxels of 4 mm are red in the check of the inputs: they are passed in words."""
        self.ui.checkButton.click()
        self.waitUntil(lambda: not self.widget.panel.run.isRunning)
        self.ui.overrideEdit.text = "a test on a coarse grid"
        self.ui.overrideUserEdit.text = "tester"
        slicer.app.processEvents()

    def applyAndWait(self):
        if not self.ui.gateTable.rowCount:
            self.passCheck()
        self.ui.applyButton.click()
        self.assertTrue(self.widget.panel.run.isRunning, self.ui.messageLabel.text)
        self.waitUntil(lambda: not self.widget.panel.run.isRunning)

    def test_check_colours_its_rows_and_red_stops_the_run(self):
        self.chooseSimulatedHead()
        self.ui.applyButton.click()
        self.waitUntil(lambda: not self.widget.panel.run.isRunning)
        self.assertEqual(self.ui.stageLabel.text, "Not started.")
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertTrue(self.ui.gateTable.item(0, 0).text().startswith("✖"))
        self.assertEqual(self.ui.gateTable.item(0, 0).background().color().name(), "#f6c1bd")
        self.assertTrue(self.ui.overrideWidget.isVisibleTo(self.ui.gateButton))

    def test_method_that_cannot_be_chosen_is_grey(self):
        import qt

        scan = self.chooseSimulatedHead()
        self.ui.r2Selector.setCurrentNode(None)
        slicer.app.processEvents()
        box = self.ui.methodComboBox
        self.assertTrue(box.itemText(0).startswith("χ-sepnet-R2′"))
        self.assertIn("measured R2", box.itemData(0, qt.Qt.ToolTipRole))
        self.assertEqual(box.itemData(0, 255), 0)  # Qt keeps the flags of an item under this role
        self.assertIsNotNone(scan.r2_map)

    def test_every_layout_opens_and_the_first_one_comes_back(self):
        manager = slicer.app.layoutManager()
        if manager is None:
            self.skipTest("Slicer runs without a main window")
        before = manager.layout
        self.chooseSimulatedHead()
        self.applyAndWait()
        for name, number in (("Read", 7302), ("Ortho", 7303), ("Pair", 7304), ("OneUp", 7305), ("Maps", 7301)):
            getattr(self.ui, f"layout{name}Button").click()
            self.assertEqual(manager.layout, number)
        slicer.util.selectModule("Data")
        self.assertEqual(manager.layout, before)

    def test_preview_replaces_the_map_and_goes(self):
        manager = slicer.app.layoutManager()
        if manager is None:
            self.skipTest("Slicer runs without a main window")
        self.chooseSimulatedHead()
        self.applyAndWait()
        composite = manager.sliceWidget("ChiSepPara").mrmlSliceCompositeNode()
        shown = composite.GetForegroundVolumeID()
        self.ui.previewCheckBox.checked = True
        self.ui.previewParaSlider.value = 200
        preview = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
        self.assertEqual(preview.GetName(), "preview of chi-para [ppb]")
        self.ui.previewCheckBox.checked = False
        self.assertEqual(composite.GetForegroundVolumeID(), shown)

    def test_apply_is_disabled_with_a_reason(self):
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("magnitude", self.ui.applyButton.toolTip)
        self.chooseSimulatedHead()
        self.assertTrue(self.ui.applyButton.enabled, self.ui.applyButton.toolTip)
        self.assertEqual(self.ui.echoTimesEdit.text, "5, 11, 17, 23, 29")

    def test_controls_follow_the_parameters_and_back(self):
        from ChiSepExtension.ui.module_panel import BOUND_BY_HAND

        parameters = self.widget.panel.parameters
        for name in parameters.allParameters:
            if name in BOUND_BY_HAND:
                continue
            bound = [w for w in vars(self.ui).values() if w.property("SlicerParameterName") == name]
            self.assertEqual(len(bound), 1, name)
        self.ui.drAutomaticCheckBox.checked = False
        self.assertFalse(parameters.drAutomatic)
        self.assertTrue(self.ui.drParaSpinBox.enabled)
        parameters.fieldStrength = 7.0
        self.assertEqual(self.ui.fieldStrengthSpinBox.value, 7.0)
        self.ui.presetComboBox.currentIndex = 1
        self.assertEqual(parameters.preset, "Lesion")

    def test_click_on_apply_computes_and_shows(self):
        scan = self.chooseSimulatedHead()
        self.applyAndWait()
        self.assertEqual(self.ui.stageLabel.text, "Done", self.ui.logText.toPlainText())
        para = self.ui.chiParaSelector.currentNode()
        self.assertEqual(para.GetName(), "simulated-head chi-para")
        self.assertGreater(slicer.util.arrayFromVolume(para).max(), 0.02)
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        parents = [hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in (scan.magnitude, para)]
        self.assertEqual(parents[0], parents[1])
        manager = slicer.app.layoutManager()
        if manager is not None:
            self.assertEqual(manager.layout, 7301)
            composite = manager.sliceWidget("ChiSepPara").mrmlSliceCompositeNode()
            shown = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
            self.assertEqual(shown.GetName(), "simulated-head chi-para [ppb]")
            legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(shown)
            self.assertEqual(legend.GetTitleText(), "chi-para [ppb]")
            self.assertEqual(shown.GetDisplayNode().GetColorNode().GetName(), "Inferno")
        before = slicer.mrmlScene.GetNumberOfNodes()
        self.applyAndWait()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)

    def test_cancel_within_two_seconds(self):
        self.chooseSimulatedHead()
        self.passCheck()
        before = len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
        self.ui.applyButton.click()
        self.assertEqual(self.ui.applyButton.text, "Cancel")
        self.waitUntil(lambda: self.ui.progressBar.value >= 5)
        began = time.monotonic()
        self.ui.applyButton.click()
        self.waitUntil(lambda: not self.widget.panel.run.isRunning, 10)
        self.assertLess(time.monotonic() - began, 2)
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")), before)

    def test_closing_the_scene_ends_the_run(self):
        self.chooseSimulatedHead()
        self.ui.applyButton.click()
        slicer.mrmlScene.Clear(0)
        self.assertFalse(self.widget.logic.isRunning)
        self.assertEqual(self.ui.applyButton.text, "Apply")

    def test_scene_bundle_brings_selection_and_views_back(self):
        self.chooseSimulatedHead()
        self.applyAndWait()
        before = slicer.util.arrayFromVolume(self.ui.chiDiaSelector.currentNode()).copy()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(path)
        self.assertEqual(self.ui.magnitudeSelector.currentNode().GetName(), "simulated-head magnitude")
        node = self.ui.chiDiaSelector.currentNode()
        self.assertTrue(np.array_equal(slicer.util.arrayFromVolume(node), before))
        self.assertEqual(node.GetVoxelValueUnits().GetCodeValue(), "[ppm]")
        self.assertTrue(self.ui.applyButton.enabled, self.ui.applyButton.toolTip)

    def test_leaving_brings_the_layout_back(self):
        manager = slicer.app.layoutManager()
        if manager is None:
            self.skipTest("Slicer runs without a main window")
        before = manager.layout
        self.chooseSimulatedHead()
        self.applyAndWait()
        slicer.util.selectModule("Data")
        self.assertEqual(manager.layout, before)
        slicer.util.selectModule("ChiSepModule")
        self.assertEqual(manager.layout, 7301)

    def test_readout_names_the_unit(self):
        self.chooseSimulatedHead()
        self.applyAndWait()
        para = self.ui.chiParaSelector.currentNode()
        array = slicer.util.arrayFromVolume(para)
        k, j, i = (int(n) for n in np.unravel_index(array.argmax(), array.shape))
        matrix = vtk.vtkMatrix4x4()
        para.GetIJKToRASMatrix(matrix)
        crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        crosshair.SetCursorPositionRAS(matrix.MultiplyPoint((i, j, k, 1))[:3])
        self.assertIn(f"{1e3 * array.max():.0f} ppb", self.ui.readoutLabel.text)

    def test_reload_keeps_the_selection(self):
        self.chooseSimulatedHead()
        self.widget.onReload()
        widget = slicer.modules.chisepmodule.widgetRepresentation().self()
        self.assertEqual(widget.ui.magnitudeSelector.currentNode().GetName(), "simulated-head magnitude")
        self.assertTrue(widget.ui.applyButton.enabled, widget.ui.applyButton.toolTip)

    def test_sample_data_are_offered(self):
        import SampleData

        sources = slicer.modules.sampleDataSources
        names = [source.sampleName for category in sources.values() for source in category]
        self.assertIn("Simulated head with MS lesions", names)
        self.assertTrue(hasattr(SampleData, "SampleDataLogic"))

    def test_torch_stays_out_of_this_process(self):
        import sys

        self.chooseSimulatedHead()
        self.applyAndWait()
        self.assertNotIn("torch", sys.modules)
