"""Write the picture of the reading screen: panel and six views on an iron rim lesion of the simulated head.

The maps are the head's truth with the blur and noise of a scan, not the result of a run. The panel comes from the
stand-in application (`host`) and wears Qt's own style; the views are drawn by Slicer's own displayable managers, with
outlines, crosshair, scale bar and axes, by software OpenGL; in Slicer each map has its colour bar as well.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "host")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import chisep_testhost  # noqa: E402
import numpy as np  # noqa: E402
import vtk  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402
from scipy import ndimage  # noqa: E402
from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from ChiSepExtension.phantom import Label, LesionType, make_head  # noqa: E402
from ChiSepExtension.terminal import show  # noqa: E402

#: The smallest screen that Slicer is used on, and the panel's share of it.
SCREEN, PANEL_WIDTH = (1366, 768), 500
PSF_FWHM_MM, NOISE_PPM = 1.3, 0.003
MANAGERS = ("Segmentations", "Crosshair", "Ruler", "OrientationMarker")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "Resources" / "Screenshots")
    parser.add_argument("--spacing", type=float, default=1.0, metavar="MM", help="voxel size of the head")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    head = make_head(spacing_mm=arguments.spacing, seed=1)
    path = _photograph(head, arguments.output.resolve() / "ChiSepModule-reading.png")
    show(f"Picture in {path}")
    return 0


def _photograph(head, path: Path) -> Path:
    host = chisep_testhost.start(gui=True)
    chisep_testhost.load_module(REPOSITORY / "ChiSepModule" / "ChiSepModule.py")
    import slicer
    from chisep_testhost.gui import screenshot
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QWidget

    from ChiSepExtension.mrml.layout import LAYOUTS, READ
    from ChiSepExtension.mrml.outputs import write_maps
    from ChiSepExtension.mrml.parameters import select_outputs

    slicer.util.selectModule("ChiSepModule")
    widget = slicer.modules.ChiSepModuleWidget
    maps, flair, t1 = _scan(head)
    nodes = write_maps(slicer.mrmlScene, maps, head.grid, name="case", provenance={})
    select_outputs(widget.panel.parameters, nodes)
    widget.panel.parameters.flair = _volume("FLAIR", flair, head.grid, window=_window(flair, head.brain_mask))
    widget.panel.parameters.t1 = _volume("T1", t1, head.grid, window=_window(t1, head.brain_mask))
    widget.panel.parameters.style = "grey"
    outlines = _volume("outlines", head.lesion_labels.astype(np.int16), head.grid, "vtkMRMLLabelMapVolumeNode")
    review = widget.review
    lesions, read = review.ui["ReviewLesions"], review.ui["ReviewRead"]
    lesions.caseEdit.text = "C007"
    lesions.lesionsSelector.setCurrentNode(outlines)
    lesions.importButton.click()
    slicer.mrmlScene.RemoveNode(outlines)
    with tempfile.TemporaryDirectory() as folder:
        read.readButton.collapsed = False
        read.readingFolderPath.currentPath = folder
        read.raterEdit.text = "AB"
        read.startButton.click()
        if not review.read.isReading:
            raise RuntimeError(read.readMessageLabel.text or lesions.lesionsSummaryLabel.text)
        slicer.app.processEvents()  # the window becomes the active one
        for _ in range(6):
            QTest.keyClick(slicer.util.mainWindow(), Qt.Key_2)
            QTest.keyClick(slicer.util.mainWindow(), Qt.Key_1, Qt.ShiftModifier)
            QTest.keyClick(slicer.util.mainWindow(), Qt.Key_Return)
        review.read.goTo(_place_of_a_rim(head, widget.logic.review))
        QTest.keyClick(slicer.util.mainWindow(), Qt.Key_4)
        size = ((SCREEN[0] - PANEL_WIDTH) // 3, SCREEN[1] // 2)
        rows = []
        for row in LAYOUTS[READ].rows:
            rows.append(np.concatenate([_drawn(view, size) for view in row], axis=1))
        views = np.concatenate(rows, axis=0)
        widget.ui.displayButton.collapsed = True
        slicer.app.processEvents()
        slicer.util.mainWindow().resize(PANEL_WIDTH, QWidget.sizeHint(widget.parent).height())
        slicer.app.processEvents()
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            screenshot(widget.parent, file.name, PANEL_WIDTH)
            panel = np.asarray(Image.open(file.name).convert("RGB"))
        widget.review.read.end()
    sheet = np.full((max(SCREEN[1], panel.shape[0]), panel.shape[1] + views.shape[1], 3), 239, np.uint8)
    sheet[: panel.shape[0], : panel.shape[1]] = panel
    sheet[: views.shape[0], panel.shape[1] :] = views
    Image.fromarray(sheet).save(path, optimize=True)
    host.reset()
    return path


def _scan(head) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Maps by key as a scan of 1.3 mm resolution would give them, and pictures like FLAIR and T1."""
    generator = np.random.default_rng(0)
    sigma = [PSF_FWHM_MM / 2.355 / s for s in head.grid.spacing_mm]

    def blurred(array, noise):
        values = ndimage.gaussian_filter(array.astype(np.float32), sigma)
        return values + noise * generator.standard_normal(array.shape, dtype=np.float32)

    brain = head.brain_mask
    para = np.where(brain, np.maximum(blurred(head.chi_para, NOISE_PPM), 0), 0)
    dia = np.where(brain, np.maximum(blurred(head.chi_dia, NOISE_PPM), 0), 0)
    r2star = np.where(brain, blurred(head.r2star_hz, 0.8), 0)
    fluid = np.isin(head.labels, [int(label) for label in Label if "CSF" in label.name or "VENTRIC" in label.name])
    flair = head.proton_density * np.exp(-0.11 * head.r2_hz) * np.where(fluid, 0.05, 1)
    t1 = head.proton_density * (1 - np.exp(-0.9 / np.maximum(head.t1_s, 0.2)))
    maps = {"chi_para": para, "chi_dia": dia, "chi_total": para - dia, "r2star_hz": r2star, "mask": brain}
    return maps, blurred(flair, 0.004), blurred(t1, 0.006)


def _volume(name: str, array: np.ndarray, grid, node_class: str = "vtkMRMLScalarVolumeNode", window=(0.0, 1.0)):
    import slicer

    from ChiSepExtension.mrml.volumes import set_array

    node = slicer.mrmlScene.AddNewNodeByClass(node_class, name)
    set_array(node, array, grid)
    node.CreateDefaultDisplayNodes()
    if node_class == "vtkMRMLScalarVolumeNode":
        low, high = window
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevelMinMax(low, high)
    return node


def _window(array: np.ndarray, brain: np.ndarray) -> tuple[float, float]:
    """From black to what only lesions reach."""
    return 0.0, float(1.1 * np.percentile(array[brain], 99.8))


def _place_of_a_rim(head, review) -> int:
    """Place in the reading order of the largest lesion with an iron rim."""
    for lesion in review.lesions.lesions:
        if head.lesion_types[lesion.jump_voxel] == int(LesionType.IRON_RIM):
            return next(place.position for place in review.reading.order if place.uid == lesion.uid)
    raise RuntimeError("The head has no rim lesion.")


def _drawn(view, size: tuple[int, int]) -> np.ndarray:
    """A view as Slicer's displayable managers draw it, under a bar with its label; uint8 (rows, columns, 3)."""
    import slicer

    bar = 20
    width, height = size[0], size[1] - bar
    logic = slicer.app.layoutManager().sliceWidget(view.tag).sliceLogic()
    node = logic.GetSliceNode()
    field, shape = node.GetFieldOfView(), node.GetDimensions()
    logic.ResizeSliceNode(width, height)
    scale = min(field[0], field[1]) / min(width, height)
    node.SetFieldOfView(width * scale, height * scale, field[2])
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(width, height)
    window.SetMultiSamples(0)
    renderer, overlay = vtk.vtkRenderer(), vtk.vtkRenderer()
    renderer.GetActiveCamera().ParallelProjectionOn()
    overlay.SetLayer(1)
    window.SetNumberOfLayers(2)
    window.AddRenderer(renderer)
    window.AddRenderer(overlay)
    interactor = vtk.vtkRenderWindowInteractor()  # displayable managers listen to one
    interactor.SetRenderWindow(window)
    interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
    interactor.Initialize()
    mapper, actor = vtk.vtkImageMapper(), vtk.vtkActor2D()
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    mapper.SetInputConnection(logic.GetImageDataConnection())
    actor.SetMapper(mapper)
    actor.GetProperty().SetDisplayLocationToBackground()
    renderer.AddViewProp(actor)
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    for name in MANAGERS:
        name = f"vtkMRML{name}DisplayableManager{'2D' if name == 'Segmentations' else ''}"
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)
    factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.SetRenderer(renderer)
    group.Initialize(factory, renderer)
    group.SetMRMLDisplayableNode(node)
    node.SetMappedInLayout(1)
    node.Modified()
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    image = grab.GetOutput()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3]
    head = Image.new("RGB", (width, bar), view.color)
    ImageDraw.Draw(head).text((6, 4), view.label.replace("χ", "chi").replace("−", "-"), fill="white")
    group.SetMRMLDisplayableNode(None)
    node.SetDimensions(*shape)
    return np.concatenate([np.asarray(head), pixels], axis=0)


if __name__ == "__main__":
    sys.exit(main())
