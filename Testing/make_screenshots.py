"""Write the pictures of the documentation: the module's panel and views after a run, and the demo's two sheets.

The panel and the views come from the stand-in application (`host`), so they show Qt's own style and no OpenGL: in
Slicer the same controls wear Slicer's style, and the views have corner texts and colour legends as well.
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
from PIL import Image  # noqa: E402

from ChiSepExtension.demo import run_demo  # noqa: E402
from ChiSepExtension.phantom import simulate_case  # noqa: E402
from ChiSepExtension.terminal import show  # noqa: E402

#: A run on the 2 mm head takes about 10 s on one core.
RUN_LIMIT_S = 300
PANEL_WIDTH, VIEW_SIZE = 520, (320, 380)
#: Axial cut through the basal ganglia of the simulated head.
SLICE_RAS_MM = 6.0
#: Grey levels are rounded to multiples of this: an error of one level is not seen and saves a third of the file.
#: A palette of 256 colours would save more, but breaks the colour bars into steps.
LEVEL_STEP = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "Resources" / "Screenshots")
    parser.add_argument("--demo", type=Path, metavar="DIR", help="an earlier chisep demo; default: run one now")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.demo is not None:
        _copy_demo(arguments.demo, arguments.output)
    else:
        with tempfile.TemporaryDirectory() as folder:
            if status := run_demo(Path(folder), scene=False):
                return status
            _copy_demo(Path(folder), arguments.output)
    _photograph_module(arguments.output)
    show(f"Pictures in {arguments.output}")
    return 0


def _copy_demo(demo: Path, output: Path) -> None:
    for name in ("overlay", "qc"):
        with Image.open(demo / "maps" / f"desc-{name}.png") as picture:
            rounded = (np.asarray(picture.convert("RGB"), np.uint16) + LEVEL_STEP // 2) // LEVEL_STEP * LEVEL_STEP
        Image.fromarray(rounded.astype(np.uint8)).save(output / f"demo-{name}.png", optimize=True)


def _photograph_module(output: Path) -> None:
    """The tutorial on a head of 2 mm: load its folder, check, click Apply, wait for the child, take the pictures."""
    host = chisep_testhost.start(gui=True)
    chisep_testhost.load_module(REPOSITORY / "ChiSepModule" / "ChiSepModule.py")
    import slicer
    from chisep_testhost.gui import wait_until

    output = output.resolve()
    slicer.util.selectModule("ChiSepModule")
    widget = slicer.modules.ChiSepModuleWidget
    ui = widget.ui
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the panel shows the path as it was typed
        simulate_case("phantom", spacing_mm=2.0, seed=1)
        ui.folderPath.currentPath = "phantom/sub-01/anat"
        _click(ui.loadButton)
        os.chdir(REPOSITORY)
    _click(ui.checkButton)
    if not wait_until(lambda: not widget.panel.run.isRunning, RUN_LIMIT_S) or not ui.applyButton.enabled:
        raise RuntimeError(f"The inputs cannot be run: {ui.applyButton.toolTip}")
    _photograph(widget, output / "ChiSepModule-check.png", "inputsButton", "gateButton", "methodButton")
    _click(ui.applyButton)
    if not widget.panel.run.isRunning:
        raise RuntimeError(f"Apply started no run: {ui.messageLabel.text}")
    if not wait_until(lambda: not widget.panel.run.isRunning, RUN_LIMIT_S):
        raise RuntimeError(f"The run did not end within {RUN_LIMIT_S} s.")
    if ui.chiParaSelector.currentNode() is None:
        raise RuntimeError(f"The run made no map: {ui.messageLabel.text}")
    _photograph(widget, output / "ChiSepModule.png", "inputsButton", "methodButton", "displayButton")
    _photograph(widget, output / "ChiSepModule-quality.png", "qualityButton", "previewButton", "advancedButton")
    ui.importGroup.collapsed = False
    _photograph(widget, output / "ChiSepModule-weights.png", "weightsButton")
    for name in ("maps", "read", "ortho"):
        widget.panel.display.setLayout(name)
        file = "ChiSepModule-views.png" if name == "maps" else f"ChiSepModule-views-{name}.png"
        _photograph_views(name, output / file)
    widget.panel.abandon()
    host.reset()


def _click(button) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    QTest.mouseClick(button, Qt.LeftButton)


def _photograph(widget, path: Path, *sections: str) -> None:
    """The panel with these sections open and the others closed; the review's sections are left out."""
    import slicer
    from chisep_testhost.gui import screenshot
    from PySide6.QtWidgets import QWidget

    for name, each in vars(widget.ui).items():
        if each.className() == "ctkCollapsibleButton":
            each.collapsed = name not in sections
    widget.review.widget.visible = False
    slicer.app.processEvents()
    # The window holds the panel at its own height at least: as high as the panel, no grey below it.
    slicer.util.mainWindow().resize(PANEL_WIDTH, QWidget.sizeHint(widget.parent).height())
    screenshot(widget.parent, path, PANEL_WIDTH)
    widget.review.widget.visible = True


def _photograph_views(name: str, path: Path) -> None:
    """All views of a layout, in its rows."""
    import slicer
    from chisep_testhost.picture import slice_picture, write_png

    from ChiSepExtension.mrml.layout import LAYOUTS

    size = VIEW_SIZE if name == "maps" else (VIEW_SIZE[0] * 3 // 4, VIEW_SIZE[1] * 3 // 4)
    rows = []
    for row in LAYOUTS[name].rows:
        pictures = []
        for view in row:
            logic = slicer.app.layoutManager().sliceWidget(view.tag).sliceLogic()
            logic.ResizeSliceNode(*size)
            logic.FitSliceToBackground()
            if view.orientation == "Axial":
                logic.SetSliceOffset(SLICE_RAS_MM)
            pictures.append(slice_picture(view.tag, size))
        rows.append(np.concatenate(pictures, axis=1))
    # The four views of the first layout stand side by side: lower than two rows on a page.
    write_png(path, np.concatenate(rows, axis=1 if name == "maps" else 0))


if __name__ == "__main__":
    sys.exit(main())
