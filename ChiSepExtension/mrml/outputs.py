"""Result maps as nodes: named after the input, beside it in the hierarchy, with units, references and provenance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from .display import show_magnitude
from .echoes import combined_magnitude
from .maps import OUTPUT_MAPS, OutputMap
from .volumes import set_array, set_meaning

KIND = "ChiSep.map"
MAGNITUDE = "magnitude"
PROVENANCE = "ChiSep.provenance"
INPUT_ROLES = ("magnitude", "phase", "mask", "r2", "r2prime", "spin_echo")


def write_maps(
    scene,
    maps: Mapping[str, np.ndarray],
    grid: Grid,
    *,
    name: str,
    provenance: Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put the maps of one run into volume nodes.

    Parameters
    ----------
    maps
        By `OutputMap.key`, (z, y, x); missing ones are left out.
    name
        Of the input; the outputs are called "<name> chi-para" and so on.
    inputs
        Nodes by role (`INPUT_ROLES`), to which the outputs refer; the first one also says where in the
        subject hierarchy the outputs belong.
    outputs
        Nodes to fill, by key. Where there is none, the node that an earlier run on the same input has made is used
        again, so that a second run adds nothing to the scene.

    Returns
    -------
    dict
        Volume nodes by key.
    """
    return dict(
        map_steps(scene, maps, grid, name=name, provenance=provenance, inputs=inputs or {}, outputs=outputs or {})
    )


def map_steps(
    scene,
    maps: Mapping[str, np.ndarray],
    grid: Grid,
    *,
    name: str,
    provenance: Mapping[str, Any],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
) -> Iterator[tuple[str, Any]]:
    """What `write_maps` does, map by map: (key, node)."""
    inputs = {role: node for role, node in inputs.items() if node is not None and node.GetID()}
    text = json.dumps(provenance, ensure_ascii=True, sort_keys=True, default=_plain)
    for kind in OUTPUT_MAPS:
        array = maps.get(kind.key)
        if array is None:
            continue
        node = outputs.get(kind.key) or _earlier(scene, kind.key, inputs.get("magnitude")) or _new(scene, kind, name)
        set_array(node, np.asarray(array), grid)
        set_meaning(node, kind.quantity, kind.unit)
        node.SetAttribute(KIND, kind.key)
        node.SetAttribute(PROVENANCE, text)
        for role in INPUT_ROLES:
            node.SetNodeReferenceID(f"ChiSep.{role}", inputs[role].GetID() if role in inputs else None)
        if inputs:
            place_beside(scene, next(iter(inputs.values())), [node])
        yield kind.key, node


def require_own_outputs(outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    """`InputError` if a node is chosen for two maps, or for a map and as an input: one would overwrite the other."""
    taken = {node.GetID(): f"the input {role}" for role, node in inputs.items() if node is not None and node.GetID()}
    for kind in OUTPUT_MAPS:
        node = outputs.get(kind.key)
        if node is None:
            continue
        if node.GetID() in taken:
            raise InputError(
                f"“{node.GetName()}” is chosen for {kind.title} and as {taken[node.GetID()]}.",
                "Choose another node for the map, or none to have one made.",
            )
        taken[node.GetID()] = f"the map {kind.title}"


def write_magnitude(
    scene, echoes: Sequence, grid: Grid, *, name: str, inputs: Mapping[str, Any], array: np.ndarray | None = None
):
    """The mean magnitude as a volume of its own, to lie behind the overlays: a sequence cannot. Returns the node.

    ``array`` is the mean of the echoes where somebody has computed it already.
    """
    magnitude = inputs.get("magnitude")
    node = _earlier(scene, MAGNITUDE, magnitude)
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(f"{name} mean magnitude"))
        node.CreateDefaultDisplayNodes()
    set_array(node, combined_magnitude(echoes) if array is None else array, grid)
    show_magnitude(node)
    node.SetAttribute(KIND, MAGNITUDE)
    if magnitude is not None:
        node.SetNodeReferenceID("ChiSep.magnitude", magnitude.GetID())
        place_beside(scene, magnitude, [node])
    return node


def magnitude_behind(map_node):
    """The volume to show behind a map: the run's mean magnitude, or the input itself if it is a volume; else None."""
    magnitude = map_node.GetNodeReference("ChiSep.magnitude")
    made = _earlier(map_node.GetScene(), MAGNITUDE, magnitude)
    if made is None and magnitude is not None and magnitude.IsA("vtkMRMLScalarVolumeNode"):
        return magnitude
    return made


def maps_of_same_run(map_node) -> dict[str, Any]:
    """All maps that were made from the same magnitude as this one, by key, its mean magnitude among them."""
    magnitude = map_node.GetNodeReference("ChiSep.magnitude")
    keys = [kind.key for kind in OUTPUT_MAPS]
    found = {key: _earlier(map_node.GetScene(), key, magnitude) for key in keys}
    found = {key: node for key, node in found.items() if node is not None}
    behind = magnitude_behind(map_node)
    return found | ({MAGNITUDE: behind} if behind is not None else {})


def provenance_of(node) -> dict[str, Any]:
    """What `write_maps` has stored with a map; empty for any other node."""
    return json.loads(node.GetAttribute(PROVENANCE) or "{}")


def base_name(node) -> str:
    """The input's name without the words that say magnitude: what the outputs are called after."""
    name = node.GetName() or "chi-separation"
    for ending in (" magnitude", "_magnitude", "_part-mag", " mag", "_mag"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def place_beside(scene, reference, nodes: list) -> None:
    """Move nodes to the reference's folder in the subject hierarchy, unless the user has put them elsewhere."""
    hierarchy = scene.GetSubjectHierarchyNode()
    if hierarchy is None:
        return
    root = hierarchy.GetSceneItemID()
    item = hierarchy.GetItemByDataNode(reference)
    parent = hierarchy.GetItemParent(item) if item else root
    for node in nodes:
        own = hierarchy.GetItemByDataNode(node)
        if not own:  # in the application items appear by themselves; without it they do not
            hierarchy.CreateItem(parent or root, node)
        elif hierarchy.GetItemParent(own) == root and parent:
            hierarchy.SetItemParent(own, parent)


def _new(scene, kind: OutputMap, name: str):
    node_class = "vtkMRMLLabelMapVolumeNode" if kind.is_mask else "vtkMRMLScalarVolumeNode"
    node = scene.AddNewNodeByClass(node_class, scene.GenerateUniqueName(f"{name} {kind.label}"))
    node.CreateDefaultDisplayNodes()
    return node


def _earlier(scene, key: str, magnitude):
    """The node that an earlier run on the same magnitude has made for this map."""
    if magnitude is None:
        return None
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
        node = scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeNode")
        if node.GetNodeReferenceID("ChiSep.magnitude") == magnitude.GetID() and node.GetAttribute(KIND) == key:
            return node
    return None


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)
