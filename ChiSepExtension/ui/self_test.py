"""What the module's own test checks, in Slicer by its button and in the suites without Slicer."""

from __future__ import annotations

import slicer

from ..errors import InputError
from ..mrml import sample


class SelfTest:
    """Test methods for a `unittest.TestCase`; ``makeLogic`` is the class of the module's Logic."""

    NAMES = ("test_maps_and_second_run", "test_errors")

    def test_maps_and_second_run(self):
        """Maps lie on the input grid, carry their unit and belong together; a second run fills the same nodes."""
        scan = sample.add_simulated_head(slicer.mrmlScene, spacing_mm=4.0)
        logic = self.makeLogic()
        maps = logic.process(scan.magnitude, scan.phase)
        echo = scan.magnitude.GetNthDataNode(0)
        for key in ("chi_para", "chi_dia", "chi_total"):
            self.assertEqual(maps.nodes[key].GetImageData().GetDimensions(), echo.GetImageData().GetDimensions())
            self.assertEqual(maps.nodes[key].GetOrigin(), echo.GetOrigin())
            self.assertEqual(maps.nodes[key].GetVoxelValueUnits().GetCodeValue(), "[ppm]")
        para, dia, total = (slicer.util.arrayFromVolume(maps.nodes[k]) for k in ("chi_para", "chi_dia", "chi_total"))
        self.assertGreaterEqual(min(para.min(), dia.min()), 0)
        self.assertLess(abs(total - (para - dia)).max(), 1e-6)
        self.assertGreater(para.max(), 0.02)
        before = slicer.mrmlScene.GetNumberOfNodes()
        again = logic.process(scan.magnitude, scan.phase)
        self.assertEqual([n.GetID() for n in maps.nodes.values()], [n.GetID() for n in again.nodes.values()])
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)

    def test_errors(self):
        """A wrong number of echo times is told, with what to do."""
        scan = sample.add_simulated_head(slicer.mrmlScene, spacing_mm=4.0)
        with self.assertRaises(InputError) as caught:
            self.makeLogic().process(scan.magnitude, scan.phase, echoTimes=[0.004, 0.008])
        self.assertIn("echo times", caught.exception.message)
        self.assertTrue(caught.exception.remedy)
