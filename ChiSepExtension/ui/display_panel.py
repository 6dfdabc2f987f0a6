"""The section “Display”: layouts, windows, colours, opacity, each by a click and by a key."""

from __future__ import annotations

from typing import Any

from ..errors import ChiSepError
from ..mrml.layout import LAYOUTS, MAPS, ONE_UP, ORTHO, PAIR, READ
from ..mrml.maps import LESION, SURVEY
from ..mrml.parameters import alive, context_nodes
from .choice_box import ChoiceBox
from .names import presetTitles, styleTitles
from .views import MapViews, ViewChoice

#: Opacities that the key O goes through: maps off, see-through, full.
_OPACITIES = (0.0, 0.4, 1.0)


class DisplayPanel:
    """Shows maps as the parameters say, and follows them.

    Parameters
    ----------
    ui
        Widgets of the .ui by name.
    views
        The module's views.
    choose
        ``choose(name, value)`` sets a parameter.
    outputs
        Callable that returns the chosen maps by key.
    tell
        Takes a message for the user.
    logShown
        Logs the line of Python that shows the same.
    """

    def __init__(self, ui, views: MapViews, choose, outputs, tell, logShown) -> None:
        self._ui, self.views, self._choose, self._outputs = ui, views, choose, outputs
        self._tell, self._logShown = tell, logShown
        self._parameters = None
        self._shown: tuple | None = None
        self.preset = ChoiceBox(ui.presetComboBox, presetTitles(), lambda value: choose("preset", value))
        self.style = ChoiceBox(ui.styleComboBox, styleTitles(), lambda value: choose("style", value))
        self._buttons = {
            MAPS: ui.layoutMapsButton,
            READ: ui.layoutReadButton,
            ORTHO: ui.layoutOrthoButton,
            PAIR: ui.layoutPairButton,
            ONE_UP: ui.layoutOneUpButton,
        }
        for name, button in self._buttons.items():
            if not button.connect("clicked(bool)", lambda _checked=False, name=name: self.setLayout(name)):
                raise RuntimeError("A layout's button has lost its signal.")

    def setParameters(self, parameters) -> None:
        """Follow a wrapper of the parameter node, or none."""
        self._parameters = parameters
        self._shown = None if parameters is None else self._state()

    def update(self) -> None:
        """Follow the parameters: what is shown changes at once if the views are open."""
        parameters = self._parameters
        self.preset.select(parameters.preset)
        self.style.select(parameters.style)
        for name, button in self._buttons.items():
            button.checked = name == parameters.viewLayout
        self._ui.opacitySlider.enabled = parameters.overlayVisible
        self._ui.showButton.enabled = any(node is not None for node in self._outputs().values())
        state, before = self._state(), self._shown
        if state == before:
            return
        self._shown = state
        if not self.views.areShown:
            return
        if before is not None and state[1:] == before[1:]:
            self.views.setOpacity(state[0])
        else:
            self.show()

    def show(self, nodes: dict | None = None) -> None:
        """Show maps (nodes by key; None: the chosen ones)."""
        try:
            self.views.show(self._outputs() if nodes is None else nodes, self.choice())
        except ChiSepError as error:
            self._tell(str(error))

    def choice(self) -> ViewChoice:
        """What the parameters say about the views."""
        parameters = self._parameters
        return ViewChoice(
            parameters.preset,
            parameters.style,
            parameters.viewLayout,
            self._opacity(),
            context_nodes(parameters),
            alive(parameters.earlierMap),
        )

    def setLayout(self, name: str) -> None:
        """Choose a layout, and open it where there are maps."""
        self._choose("viewLayout", name)
        self.update()
        if not self.views.areShown:
            self.show()
        self._logShown()

    def cycleLayout(self) -> None:
        """The next layout (key K)."""
        names = list(LAYOUTS)
        self.setLayout(names[(names.index(self._parameters.viewLayout) + 1) % len(names)])

    def togglePreset(self) -> None:
        """Survey to Lesion and back (key L)."""
        self._choose("preset", LESION if self._parameters.preset == SURVEY else SURVEY)

    def cycleOverlay(self) -> None:
        """Opacity 0, 40, 100 % (key O)."""
        now = self._opacity()
        following = next((value for value in _OPACITIES if value > now + 1e-6), _OPACITIES[0])
        self._choose("overlayVisible", True)
        self._choose("opacity", following)

    def _opacity(self) -> float:
        return self._parameters.opacity if self._parameters.overlayVisible else 0.0

    def _state(self) -> tuple[Any, ...]:
        parameters = self._parameters
        nodes = [*context_nodes(parameters).items(), ("earlier", alive(parameters.earlierMap))]
        shown = tuple((name, node.GetID() if node is not None else "") for name, node in nodes)
        return self._opacity(), parameters.preset, parameters.style, parameters.viewLayout, shown
