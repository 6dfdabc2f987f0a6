"""The maps of a case under review: nodes by name, their arrays in ppm and 1/s, and how they are shown right now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..lesions.canonical import require_same_grid
from ..lesions.map_files import in_ppm, positive
from ..lesions.measure_tables import SHOWN_MAPS
from ..lesions.vessels import MIN_CONTRAST_PPM, vessel_mask
from ..progress import NEVER, CancelToken, Progress, silent
from .display import find_shown_copy
from .maps import BY_KEY, PRESETS
from .outputs import KIND, PROVENANCE, provenance_of
from .verdict import ATTRIBUTE as VERDICT
from .verdict import verdict_of
from .volumes import array_of, grid_of

#: Names of the maps in tables by the keys of the separation's outputs.
NAME_OF_KEY = {"r2star_hz": "r2star", "r2prime_hz": "r2prime"}
KEY_OF_NAME = {name: key for key, name in NAME_OF_KEY.items()}
#: Attributes of any node that tell how maps were made, from what, or what was thought of them.
_TELLING = (PROVENANCE, "ChiSep.source", VERDICT)
_SUSCEPTIBILITY = ("chi_para", "chi_dia", "chi_total", "qsm")


class ReviewMaps:
    """Nodes of one case, remembered by ID: a node that has been removed is missed when it is asked for.

    Parameters
    ----------
    nodes
        Volume nodes by name: ``chi_para``, ``chi_dia``, ``chi_total``, ``qsm``, ``r2star``, ``r2prime``.
    anatomy
        Further volumes by name ("FLAIR", "T1"), shown and drawn but not measured.
    mask
        Where the maps were computed; None takes the voxels that are not zero.
    white_matter, vessels, trust
        Volume nodes on the grid of the maps; without ``vessels`` a mask is found in ``chi_para``.
    chi_unit, dia_sign
        Answers to the questions of unit and sign, see `lesions.map_files.read_maps`.
    """

    def __init__(
        self,
        scene,
        nodes: Mapping[str, Any],
        *,
        anatomy: Mapping[str, Any] | None = None,
        mask=None,
        white_matter=None,
        vessels=None,
        trust=None,
        chi_unit: str | None = None,
        dia_sign: str | None = None,
    ) -> None:
        self._scene = scene
        ordered = [name for name in SHOWN_MAPS if nodes.get(name) is not None]
        self.ids = {name: nodes[name].GetID() for name in ordered}
        if not self.ids:
            raise InputError("There is no susceptibility map to review.", "Compute the maps, or load them, first.")
        self.anatomy_ids = {name: node.GetID() for name, node in (anatomy or {}).items() if node is not None}
        given = {"mask": mask, "white_matter": white_matter, "vessels": vessels, "trust": trust}
        self.given_ids = {role: node.GetID() for role, node in given.items() if node is not None}
        self._unit, self._sign = chi_unit, dia_sign
        self._vessels: tuple[int, np.ndarray] | None = None
        self._arrays: tuple[tuple[int, ...], dict[str, np.ndarray]] | None = None
        #: Attributes by node ID that were taken off the nodes for a blind reading.
        self.concealed: dict[str, dict[str, str]] = {}
        first = self.node(ordered[0])
        self.grid: Grid = grid_of(first)
        for name in ordered:
            require_same_grid(f"map {name}", grid_of(self.node(name)), self.grid)
        for role in self.given_ids:
            require_same_grid(role.replace("_", " "), grid_of(self.given(role)), self.grid)

    def node(self, name: str):
        """The node of a map or an anatomical volume."""
        node = self._scene.GetNodeByID(self.ids.get(name) or self.anatomy_ids.get(name) or "")
        if node is None:
            raise InputError(f"The map {name} has been removed from the scene.", "Load the case again.")
        return node

    def given(self, role: str):
        """The node of a mask by role, None if there is none."""
        return self._scene.GetNodeByID(self.given_ids.get(role, "")) if role in self.given_ids else None

    @property
    def nodes(self) -> dict[str, Any]:
        """Map nodes by name."""
        return {name: self.node(name) for name in self.ids}

    @property
    def every_node(self) -> dict[str, Any]:
        """Maps, anatomical volumes and masks by name."""
        masks = {role: self.given(role) for role in self.given_ids}
        return {**self.nodes, **{name: self.node(name) for name in self.anatomy_ids}, **masks}

    @property
    def stamp(self) -> tuple[int, ...]:
        """Changes when the voxels of a map or mask change."""
        every = [*self.nodes.values(), *(self.given(role) for role in self.given_ids)]
        return tuple(node.GetImageData().GetMTime() if node is not None else 0 for node in every)

    def region(self) -> np.ndarray:
        """bool (z, y, x): where the maps were computed."""
        mask = self.given("mask")
        if mask is not None:
            region = array_of(mask) > 0
        else:
            chosen = [name for name in self.ids if name in _SUSCEPTIBILITY] or list(self.ids)
            region = np.zeros(self.grid.shape, bool)
            for name in chosen:
                values = array_of(self.node(name))
                region |= np.isfinite(values) & (values != 0)
        if not region.any():
            raise InputError("The mask of the maps is empty.", "Give the mask in which the maps were computed.")
        return region

    def arrays(self, region: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Maps in ppm and 1/s, ``chi_dia`` positive.

        Raises
        ------
        InputError
            If values do not look like ppm, or the diamagnetic map is negative, and nobody said so.
        """
        stamp = self.stamp
        if self._arrays is not None and self._arrays[0] == stamp:
            return self._arrays[1]
        region = self.region() if region is None else region
        arrays = {}
        for name in self.ids:
            values = array_of(self.node(name)).astype(np.float32, copy=False)
            arrays[name] = in_ppm(name, values, region, self._unit) if name in _SUSCEPTIBILITY else values
        if "chi_dia" in arrays:
            arrays["chi_dia"] = positive(arrays["chi_dia"], region, self._sign)
        self._arrays = (stamp, arrays)
        return arrays

    def optional(self, role: str) -> np.ndarray | None:
        """Voxels of a mask that was given, else None."""
        node = self.given(role)
        return None if node is None else array_of(node)

    def vessels(
        self, arrays: Mapping[str, np.ndarray], region: np.ndarray, progress: Progress = silent,
        cancel: CancelToken = NEVER,
    ) -> tuple[np.ndarray | None, str]:  # fmt: skip
        """Vessel mask and where it comes from; found once for a map."""
        if "vessels" in self.given_ids:
            return self.optional("vessels"), "given"
        if "chi_para" not in arrays:
            return None, "none excluded: no paramagnetic map"
        stamp = self.node("chi_para").GetImageData().GetMTime()
        if self._vessels is None or self._vessels[0] != stamp:
            found = vessel_mask(arrays["chi_para"], region, self.grid, progress=progress, cancel=cancel)
            self._vessels = (stamp, found)
        return self._vessels[1], f"vesselness of chi_para, contrast of {1000 * MIN_CONTRAST_PPM:g} ppb and more"

    def display_state(self) -> tuple[dict[str, object], bool]:
        """Windows in shown units as ratings store them, and whether they differ from both presets."""
        state: dict[str, object] = {}
        fits = dict.fromkeys(PRESETS, True)
        interpolated = True
        for name in self.ids:
            node = self.node(name)
            shown = find_shown_copy(node) or node
            display = shown.GetScalarVolumeDisplayNode()
            if display is None:
                continue
            kind = BY_KEY.get(KEY_OF_NAME.get(name, "chi_total" if name == "qsm" else name))
            factor = 1.0 if shown is not node or kind is None else kind.shown_scale
            window = tuple(
                float(f"{factor * end:.6g}") for end in (display.GetWindowLevelMin(), display.GetWindowLevelMax())
            )
            state[f"window_{name}_{SHOWN_MAPS[name].suffix}"] = window
            interpolated = interpolated and bool(display.GetInterpolate())
            for preset in PRESETS if kind is not None else ():
                fits[preset] = fits[preset] and np.allclose(window, kind.windows[preset], atol=1e-3)
        state["interpolation"] = "linear" if interpolated else "nearest"
        return state, not any(fits.values())

    def provenance(self) -> dict[str, Any]:
        """What the run that made the maps has written down; empty for maps from elsewhere."""
        told = [attributes.get(PROVENANCE) for attributes in self.concealed.values()]
        found = [json.loads(text) for text in told if text] + [provenance_of(node) for node in self.nodes.values()]
        return next((p for p in found if p), {})

    @property
    def is_judged(self) -> bool:
        """Whether somebody has given a verdict on the maps; a concealed one counts."""
        concealed = (self.concealed.get(node_id, {}) for node_id in self.ids.values())
        return any(VERDICT in each for each in concealed) or any(map(verdict_of, self.nodes.values()))

    def conceal(self) -> None:
        """Take from the nodes what tells the pipeline: a blind reader may look at any node, so masks, trust and the
        scan itself are no exception."""
        own = set(self.ids.values())
        for node in [self._scene.GetNthNode(n) for n in range(self._scene.GetNumberOfNodes())]:
            kept = (KIND,) if node.GetID() in own else ()
            telling = {
                name: node.GetAttribute(name)
                for name in node.GetAttributeNames()
                if name not in kept and (name in _TELLING or (node.GetID() in own and name.startswith("ChiSep.")))
            }
            if telling:
                self.concealed.setdefault(node.GetID(), {}).update(telling)
                for name in telling:
                    node.RemoveAttribute(name)

    def reveal(self) -> None:
        """Give the nodes back what was concealed; what was written meanwhile stays."""
        for node_id, attributes in self.concealed.items():
            node = self._scene.GetNodeByID(node_id)
            for name, value in attributes.items() if node is not None else ():
                if node.GetAttribute(name) is None:
                    node.SetAttribute(name, value)
        self.concealed = {}
