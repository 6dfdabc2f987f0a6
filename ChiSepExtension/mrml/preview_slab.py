"""What other relaxometric constants would do, at once, in a slab of the last run's maps; shown, never saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer

from ..errors import InputError
from ..geometry import Grid
from ..separation.preview import Preview
from .display import DISPLAY_ONLY, OVERLAY, remove_with_display, show_with_preset
from .maps import BY_KEY, PPB, SURVEY
from .volumes import array_of, grid_of, set_array, set_meaning

PREVIEW_OF = "ChiSep.previewOf"
NEEDED = ("chi_para", "chi_dia", "chi_total", "r2prime_hz", "mask")
#: Half a million voxels of 1 mm: an update takes about 30 ms, far below what a hand on a slider notices.
SLAB_MM = 10.0


class SlabPreview:
    """Closed form on a slab across the third axis of the maps.

    Parameters
    ----------
    nodes
        Maps of one run by key, all of `NEEDED`.
    centre_ras
        A point in the middle of the slab; points outside are moved to the nearest slice.
    """

    def __init__(self, nodes: Mapping[str, Any], centre_ras: Sequence[float], slab_mm: float = SLAB_MM) -> None:
        missing = [BY_KEY[key].title for key in NEEDED if nodes.get(key) is None]
        if missing:
            raise InputError(f"A preview needs the maps of a run; {', '.join(missing)} is missing.", "Run once.")
        grid = grid_of(nodes["chi_total"])
        middle = int(round(float(grid.ras_to_index(centre_ras)[0])))
        half = max(1, int(round(slab_mm / 2 / grid.spacing_mm[0])))
        middle = min(max(middle, 0), grid.shape[0] - 1)
        slab = slice(max(0, middle - half), min(grid.shape[0], middle + half + 1))
        matrix = grid.ijk_to_ras.copy()
        matrix[:3, 3] += matrix[:3, 2] * slab.start
        self.grid = Grid((slab.stop - slab.start, *grid.shape[1:]), matrix)
        arrays = {key: np.asarray(array_of(nodes[key])[slab]) for key in NEEDED[2:]}
        inside = arrays["mask"] > 0
        self._preview = Preview(
            arrays["chi_total"], arrays["r2prime_hz"], inside, self.grid, chi_ppm=arrays["chi_total"], factor=1
        )
        self.maps = {key: nodes[key] for key in ("chi_para", "chi_dia")}
        self.nodes: dict[str, Any] = {}

    def update(self, dr_para: float, dr_dia: float, *, preset: str = SURVEY, style: str = OVERLAY) -> dict[str, Any]:
        """Compute and show; returns the preview's volumes by key, in ppb."""
        # χ-total has its reference already: it was subtracted by the run.
        sources = self._preview.maps(dr_para=dr_para, dr_dia=dr_dia, reference="none")
        for key, array in (("chi_para", sources.chi_para), ("chi_dia", sources.chi_dia)):
            kind = BY_KEY[key]
            node = self.nodes.get(key) or self._make(key)
            set_array(node, array * np.float32(kind.shown_scale), self.grid)
            show_with_preset(node, kind, preset, style)
        return self.nodes

    def remove(self) -> None:
        """Take the preview's volumes out of the scene."""
        for node in self.nodes.values():
            if node.GetScene() is not None:
                remove_with_display(node)
        self.nodes = {}

    def _make(self, key: str):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"preview of {BY_KEY[key].label} [ppb]")
        node.SetSaveWithScene(False)
        node.SetAttribute(DISPLAY_ONLY, "preview")
        node.SetNodeReferenceID(PREVIEW_OF, self.maps[key].GetID())
        node.SetDescription("Closed form on a slab, for display only; not a result and not saved.")
        set_meaning(node, BY_KEY[key].quantity, PPB)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetSaveWithScene(False)
        self.nodes[key] = node
        return node
