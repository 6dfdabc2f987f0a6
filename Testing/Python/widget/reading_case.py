"""The review's sections in the main window of the stand-in application, over a phantom with known lesions."""

from __future__ import annotations

from pathlib import Path

import slicer
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from ChiSepExtension.mrml.lesion_jump import visible_slice_nodes
from ChiSepExtension.mrml.review_logic import ReviewLogic
from ChiSepExtension.ui.review_panel import ReviewPanel
from Testing.Python.mrml.lesion_case import add_maps, add_volume, small_head

RESOURCES = Path(__file__).resolve().parents[3] / "ChiSepModule" / "Resources"


class Logic(ReviewLogic):
    """The mixin with the maps of the phantom in place of the module's parameters."""

    def __init__(self) -> None:
        self.given: dict = {}

    def startReview(self, **arguments):
        return super().startReview(**{**self.given, **arguments})


class Screen:
    """Panel, Logic and window of one test."""

    def __init__(self) -> None:
        self.head = small_head()
        self.logic, self.logged = Logic(), []
        self.logic.given = {
            "maps": add_maps(self.head),
            "mask": add_volume("brain", self.head.mask, self.head.grid, "vtkMRMLLabelMapVolumeNode"),
        }
        self.outlines = add_volume("outlines", self.head.lesion_mask, self.head.grid, "vtkMRMLLabelMapVolumeNode")
        self.panel = ReviewPanel(self.logic, lambda path: str(RESOURCES / path), self.logged.append)
        self.lesions, self.read, self.agree, self.export = self.panel.ui.values()
        self.window = slicer.util.mainWindow()
        self.window.show_panel(self.panel.widget)
        self.panel.enter()

    @property
    def review(self):
        return self.logic.review

    def open(self, *, blind: bool = False, folder: Path, rater: str = "AB") -> None:
        """Import the outlines and start the reading, by clicks."""
        if not self.logic.hasReview:
            self.lesions.lesionsSelector.setCurrentNode(self.outlines)
            self.lesions.importButton.click()
        self.read.readButton.collapsed = False
        self.read.readingFolderPath.currentPath = str(folder)
        self.read.raterEdit.text = rater
        self.read.blindCheckBox.checked = blind
        self.read.startButton.click()
        assert self.panel.read.isReading, self.read.readMessageLabel.text

    def press(self, key, shift: bool = False, receiver=None) -> None:
        """A key press and release, as the window system delivers them."""
        modifiers = Qt.ShiftModifier if shift else Qt.NoModifier
        QTest.keyClick(receiver if receiver is not None else self.window, key, modifiers)
        slicer.app.processEvents()

    def draft(self):
        place = self.review.current
        return self.review.reading.draft(place.uid, place.is_repeat)

    def rate_all(self) -> None:
        """Three keys per lesion."""
        while self.review.reading.unrated(self.review.lesions):
            self.press(Qt.Key_2)
            self.press(Qt.Key_1, shift=True)
            self.press(Qt.Key_Return)

    @staticmethod
    def slice_nodes() -> list:
        return visible_slice_nodes(slicer.app.layoutManager().layoutLogic())

    def close(self) -> None:
        self.panel.exit()
        self.panel.cleanup()
        self.window.show_panel(None)
