"""The review in the module's panel: lesions, reading, agreement, lock and export, each a section of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable

import qt
import slicer

from ..notice import RESEARCH_USE
from .review_agree import AgreePart
from .review_export import ExportPart
from .review_lesions import LesionsPart
from .review_read import ReadPart
from .review_surroundings import Surroundings

_SECTIONS = ("ReviewLesions", "ReviewRead", "ReviewAgree", "ReviewExport")


class ReviewPanel:
    """Builds the sections and passes the life of the module on to them.

    Parameters
    ----------
    logic
        The module's Logic.
    resourcePath
        The module widget's ``resourcePath``.
    log
        Takes a line of Python for the log.
    surroundings
        The rest of the module's panel, see `Surroundings`.
    """

    def __init__(
        self,
        logic,
        resourcePath: Callable[[str], str],
        log: Callable[[str], None] = logging.info,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._logic = logic
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.sections = []
        self.ui = {}
        for name in _SECTIONS:
            section = slicer.util.loadUI(resourcePath(f"UI/{name}.ui"))
            section.layout().setContentsMargins(0, 0, 0, 0)
            section.setMRMLScene(slicer.mrmlScene)
            column.addWidget(section)
            self.sections.append(section)
            self.ui[name] = slicer.util.childWidgetVariables(section)
        self.ui["ReviewRead"].readNoticeLabel.text = RESEARCH_USE
        self.read = ReadPart(self.ui["ReviewRead"], logic, log, self.refresh, surroundings)
        self.lesions = LesionsPart(
            self.ui["ReviewLesions"],
            logic,
            log,
            self._imported,
            self.read.editor.saveState,
            lambda: self.read.isReading,
        )
        self.agree = AgreePart(self.ui["ReviewAgree"], logic, log, self.jumpTo)
        self.export = ExportPart(self.ui["ReviewExport"], logic, log, self.read.refresh)

    def enter(self) -> None:
        """The module is shown."""
        self.read.enter()
        self.refresh()

    def exit(self) -> None:
        """The module is left: keys, colours and crosshair go."""
        self.read.exit()

    def cleanup(self) -> None:
        """The module is unloaded."""
        self.read.cleanup()
        self._logic.endReview()

    def sceneCloses(self) -> None:
        """The scene is about to be closed; the review ends with it."""
        self.read.sceneCloses()
        self.agree.reset()

    def sceneChanged(self) -> None:
        """A scene was closed or loaded: it may hold a review."""
        self.refresh()
        self.export.reset()

    def refresh(self) -> None:
        """Show the state of everything."""
        self.lesions.refresh()
        self.read.refresh()
        self.export.refresh()

    def jumpTo(self, uid: str) -> None:
        """Show a lesion in the views."""
        if self._logic.hasReview and uid in self._logic.review.lesions.uids:
            self.read.views.show(self._logic.review, uid)

    def _imported(self) -> None:
        if self.read.isReading and self._logic.hasReview and self._logic.review.ratings is None:
            self.read.end()  # another review has begun
        self.agree.reset()
        self.refresh()
