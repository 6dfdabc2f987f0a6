"""What the rest of the module's panel does while somebody reads: layout, window, keys, and what is hidden."""

from __future__ import annotations

from slicer.i18n import tr as _

from ..mrml.layout import READ
from ..mrml.lesion_review import LesionReview
from ..mrml.maps import BY_KEY, LESION
from ..mrml.review_maps import KEY_OF_NAME

#: Sections that tell the pipeline, the folder or the patient: away in blind reading.
_TELLING = (
    "inputsButton", "gateButton", "methodButton", "qualityButton", "previewButton", "outputsButton", "advancedButton",
    "weightsButton", "logButton", "applyButton", "resetButton", "readoutLabel",
)  # fmt: skip
_ANATOMY = {"FLAIR": "flair", "T1": "t1", "T1w": "t1", "SWI": "swi", "T2starw": "swi"}


class NoSurroundings:
    """A reading screen on its own."""

    def whyNot(self, review: LesionReview) -> str:
        """Why nobody may rate yet; empty if he may."""
        return ""

    def begin(self, review: LesionReview) -> None:
        """A reading begins."""

    def setEditing(self, editing: bool) -> None:
        """Outlines are edited, or read again."""

    def end(self, isSceneOpen: bool = True) -> None:
        """The reading has ended, or the scene that it was in is about to."""


class Surroundings(NoSurroundings):
    """The module's own panel around the reading screen.

    Parameters
    ----------
    panel
        `ModulePanel`.
    ui
        Its widgets by name.
    """

    def __init__(self, panel, ui) -> None:
        self._panel, self._ui = panel, ui
        self._before: dict[str, object] = {}

    def whyNot(self, review: LesionReview) -> str:
        """Maps of a run are judged before lesions on them are rated."""
        if review.ratings is None and review.maps.provenance() and not review.maps.is_judged:
            return _("Judge the maps first: section Quality, pass, pass with remark, or fail.")
        return ""

    def begin(self, review: LesionReview) -> None:
        """Show the maps of the review in the reading layout and the window “Lesion”."""
        parameters = self._panel.parameters
        if parameters is None:
            return
        # What is shown must be what is rated, whatever the panel has chosen by now.
        shown: dict[str, object] = {"preset": LESION}
        for name, node in review.maps.nodes.items():
            kind = BY_KEY.get(KEY_OF_NAME.get(name, name))
            if kind is not None:
                shown[kind.parameter] = node
        for name in review.maps.anatomy_ids:
            if name in _ANATOMY:
                shown[_ANATOMY[name]] = review.maps.node(name)
        if not self._before:
            self._before = {name: getattr(parameters, name) for name in (*shown, "viewLayout")}
        for name, value in shown.items():
            self._panel.choose(name, value)
        self._panel.display.setLayout(READ)
        self._show(not review.reading.is_blind)
        if review.reading.is_blind:
            self._ui.messageLabel.text = self._ui.stageLabel.text = ""

    def setEditing(self, editing: bool) -> None:
        """The Segment Editor owns all keys."""
        self._panel.keys.setEnabled(not editing)

    def end(self, isSceneOpen: bool = True) -> None:
        """Maps, window, layout and sections as they were."""
        before, self._before = self._before, {}
        self._panel.keys.setEnabled(True)
        self._show(True)
        for name, value in before.items() if isSceneOpen else ():
            isRemoved = hasattr(value, "GetScene") and value.GetScene() is None
            self._panel.choose(name, None if isRemoved else value)
        self._panel.update()

    def _show(self, visible: bool) -> None:
        for name in _TELLING:
            getattr(self._ui, name).visible = visible
