"""Outlines of the case: taken over from a node or a file, listed as segments, split, merged, deleted, undone."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from ..errors import ChiSepError, without_command_line
from ..mrml.lesion_segmentation import segment_ids
from .console_line import callText
from .waiting import busy


class LesionsPart:
    """The section “Lesions”.

    Parameters
    ----------
    ui
        Widgets of ``ReviewLesions.ui`` by name.
    logic
        The module's Logic.
    log
        Takes a line for the log.
    imported
        Called when the review has got its outlines.
    beforeChange
        Called before a button changes outlines, so that the Segment Editor's undo can come back to here.
    isReading
        Tells whether somebody reads: his lesions are not exchanged under him.
    """

    def __init__(
        self,
        ui,
        logic,
        log: Callable[[str], None],
        imported: Callable,
        beforeChange: Callable,
        isReading: Callable[[], bool],
    ) -> None:
        self._ui, self._logic, self._log = ui, logic, log
        self._imported, self._beforeChange, self._isReading = imported, beforeChange, isReading
        self._shownNodeId = ""
        connected = [ui.lesionsButton.connect("contentsCollapsed(bool)", lambda _collapsed: self.refresh())]
        for button, action in (
            (ui.importButton, self.importLesions),
            (ui.splitButton, lambda: self._change("split")),
            (ui.mergeButton, lambda: self._change("merge")),
            (ui.deleteButton, lambda: self._change("delete")),
            (ui.undoButton, self.undo),
        ):
            connected.append(button.connect("clicked(bool)", lambda _on, a=action: a()))
        connected.append(ui.priorSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._priorChosen))
        if not all(connected):
            raise RuntimeError("A control of the lesions has lost its signal.")
        self.refresh()

    def importLesions(self) -> None:
        """Begin the review with the chosen outlines."""
        ui, logic = self._ui, self._logic
        source = ui.lesionsSelector.currentNode() or ui.lesionFilePath.currentPath.strip()
        if not source:
            self.tell(_("Choose a segmentation, a label map or a file."))
            return
        if self._isReading():
            self.tell(_("End the reading before lesions are imported anew."))
            return
        case, resample = ui.caseEdit.text.strip() or "C001", bool(ui.resampleCheckBox.checked)
        deidentified = bool(ui.deidentifyCheckBox.checked)

        def begin() -> None:
            logic.startReview(case=case, deidentified=deidentified)
            self._log(callText("ChiSepModuleLogic().startReview", case=case, deidentified=deidentified))
            logic.importLesions(source, resample=resample)
            self._log(callText("ChiSepModuleLogic().importLesions", node=source, resample=resample or None))

        self.tell("")
        if self._do(begin):
            self._match(ui.priorSelector.currentNode())
            self._imported()

    def undo(self) -> None:
        """Take the last change of outlines back."""
        if self._logic.hasReview and self._do(self._logic.review.undo):
            self._imported()

    def selected(self) -> list[str]:
        """Identifiers of the lesions that are selected in the table."""
        if not self._logic.hasReview:
            return []
        uids = {segment: uid for uid, segment in segment_ids(self._logic.review.node).items()}
        return [uids[segment] for segment in (self._ui.segmentsTable.selectedSegmentIDs() or ()) if segment in uids]

    def refresh(self) -> None:
        """Show the lesions as they are."""
        ui, logic = self._ui, self._logic
        has = logic.hasReview and logic.review.outlines.history is not None
        for widget in (ui.segmentsTable, ui.splitButton, ui.mergeButton, ui.deleteButton, ui.undoButton):
            widget.visible = has
        if not has:
            if self._shownNodeId:
                ui.segmentsTable.setSegmentationNode(None)
                self._shownNodeId = ""
            ui.lesionsSummaryLabel.visible = bool(ui.lesionsSummaryLabel.text)
            return
        review = logic.review
        if review.outlines.node_id != self._shownNodeId:
            ui.segmentsTable.setSegmentationNode(review.node)
            self._shownNodeId = review.outlines.node_id
        lesions = review.outlines.history.current
        small = len(lesions) - len(lesions.counted)
        volume = sum(lesion.volume_mm3 for lesion in lesions.lesions) / 1000
        self.tell(
            _("{count} lesions, {volume:.2f} ml").format(count=len(lesions.counted), volume=volume)
            + (_("; {small} below 3 mm are listed, not counted").format(small=small) if small else "")
            + (
                ""
                if review.maps.given("mask") is not None
                else _("; no mask of the maps: voxels that are zero are left out")
            )
        )

    def tell(self, text: str) -> None:
        self._ui.lesionsSummaryLabel.text = without_command_line(text)
        self._ui.lesionsSummaryLabel.visible = bool(text)

    def _change(self, kind: str) -> None:
        uids = self.selected()
        if len(uids) < (2 if kind == "merge" else 1):
            self.tell(_("Select lesions in the table first."))
            return
        review = self._logic.review
        self._beforeChange()
        done = self._do(lambda: review.merge(uids) if kind == "merge" else [getattr(review, kind)(u) for u in uids])
        if done:
            argument = uids if kind == "merge" else uids[0]
            self._log(
                callText(f"ChiSepModuleLogic().review.{kind}", **{"uids" if kind == "merge" else "uid": argument})
            )
            self._imported()

    def _priorChosen(self, node) -> None:
        if self._logic.hasReview:
            self._match(node)

    def _match(self, node) -> None:
        if node is not None:
            self._do(lambda: self._logic.review.match_prior(node))

    def _do(self, action: Callable[[], object]) -> bool:
        try:
            busy(action)
        except ChiSepError as error:
            self.refresh()
            self.tell(str(error))
            return False
        self.refresh()
        return True
