"""The section “Preview of Dr”: sliders that show at once what other relaxometric constants would do."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from ..errors import ChiSepError
from ..mrml.display import find_shown_copy
from ..mrml.layout import LAYOUTS, slice_node_of
from ..mrml.parameters import alive
from ..mrml.preview_slab import SlabPreview


class PreviewPanel:
    """Shows a preview in place of the maps while it is checked.

    Parameters
    ----------
    ui
        Widgets of the .ui by name.
    display
        The section that shows maps.
    outputs
        Callable that returns the chosen maps by key.
    choose
        ``choose(name, value)`` sets a parameter.
    runPanel
        Shows errors and the log.
    """

    def __init__(self, ui, display, outputs: Callable[[], dict], choose: Callable, runPanel) -> None:
        self._ui, self._display, self._outputs, self._choose, self._run = ui, display, outputs, choose, runPanel
        self._preview: SlabPreview | None = None
        self._replaced: dict = {}
        connected = [
            ui.previewCheckBox.connect("toggled(bool)", self._toggled),
            ui.previewParaSlider.connect("valueChanged(double)", lambda _value: self.update()),
            ui.previewDiaSlider.connect("valueChanged(double)", lambda _value: self.update()),
            ui.previewTakeButton.connect("clicked(bool)", lambda _checked=False: self.take()),
        ]
        if not all(connected):
            raise RuntimeError("A control of the preview has lost its signal.")

    @property
    def isOn(self) -> bool:
        return self._preview is not None

    def start(self) -> None:
        """Show the preview in the slab of the slice that is shown."""
        self._remove()
        nodes = {key: alive(node) for key, node in self._outputs().items()}
        if not self._display.views.areShown:
            self._display.show()
        try:
            self._preview = SlabPreview(nodes, self._centre())
        except ChiSepError as error:
            self._ui.previewCheckBox.checked = False
            self._run.showError(error)
            return
        self.update()
        shown = {key: find_shown_copy(node) for key, node in self._preview.maps.items()}
        pairs = [(shown[key], node) for key, node in self._preview.nodes.items() if shown[key] is not None]
        self._display.views.replaceInViews({before.GetID(): after for before, after in pairs})
        self._replaced = {after.GetID(): before for before, after in pairs}

    def update(self) -> None:
        """Follow the sliders."""
        if self._preview is None:
            return
        choice = self._display.choice()
        self._preview.update(
            self._ui.previewParaSlider.value,
            self._ui.previewDiaSlider.value,
            preset=choice.preset,
            style=choice.style,
        )

    def stop(self) -> None:
        """Show the maps again and remove the preview; twice is harmless."""
        self._remove()
        if self._ui.previewCheckBox.checked:
            self._ui.previewCheckBox.checked = False

    def _remove(self) -> None:
        preview, self._preview = self._preview, None
        if preview is not None:
            alive_maps = {new: old for new, old in self._replaced.items() if old.GetScene() is not None}
            self._display.views.replaceInViews(alive_maps)
            preview.remove()
        self._replaced = {}

    def take(self) -> None:
        """Write the constants of the sliders into the parameters of the next run."""
        self._choose("drAutomatic", False)
        self._choose("drPara", float(self._ui.previewParaSlider.value))
        self._choose("drDia", float(self._ui.previewDiaSlider.value))
        self._run.showMessage(_("The next run takes these constants."))

    def _toggled(self, checked: bool) -> None:
        if checked and self._preview is None:
            self.start()
        elif not checked:
            self.stop()

    def _centre(self) -> list[float]:
        """Middle of the first view of the layout that is shown."""
        node = slice_node_of(slicer.mrmlScene, LAYOUTS[self._display.choice().layout].views[0].tag)
        if node is None:
            return [0.0, 0.0, 0.0]
        return [node.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
