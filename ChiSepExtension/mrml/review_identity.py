"""Who the patient of a scene is, and a scene that does not say so: names, hierarchy, attributes, file names.

Reading is de-identified by default. What is looked for comes from the DICOM attributes that Slicer keeps in the
subject hierarchy; what the user types is added to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import vtk

from ..lesions.deidentify import Identity

#: DICOM attributes of hierarchy items by kind of identity. Dates of the study are no name, but a blind reader must not
#: see them: they are removed with the rest.
_NAMES, _IDS, _BIRTH = ("DICOM.PatientName",), ("DICOM.PatientID",), ("DICOM.PatientBirthDate",)
_DICOM = re.compile(r"^(DICOM\.|Dicom|MultiVolume\.DICOM)")


def identity_of(
    scene, *, names: Iterable[str] = (), ids: Iterable[str] = (), birth_dates: Iterable[str] = ()
) -> Identity:
    """Identity found in the scene, with what the caller knows besides."""
    found: dict[str, list[str]] = {"names": list(names), "ids": list(ids), "birth": list(birth_dates)}
    hierarchy = scene.GetSubjectHierarchyNode()
    for item in _items(hierarchy):
        for key, attributes in (("names", _NAMES), ("ids", _IDS), ("birth", _BIRTH)):
            for attribute in attributes:
                value = hierarchy.GetItemAttribute(item, attribute)
                if value:
                    found[key].append(value)
    return Identity(found["names"], found["ids"], found["birth"])


def deidentify(scene, named: Mapping[str, Any], case: str, identity: Identity | None = None) -> list[str]:
    """Remove the patient from a scene; returns what was changed, for the log.

    Parameters
    ----------
    named
        Nodes by role ("chi_para", "FLAIR"): they are called "<case> <role>".
    identity
        Searched in every other node's name, description, attributes and file name.
    """
    changed = []
    identity = identity or Identity()
    for role, node in named.items():
        if node is not None and node.GetName() != f"{case} {role}":
            node.SetName(f"{case} {role}")
            changed.append(f"name of {role}")
    kept = {node.GetID() for node in named.values() if node is not None}
    number = 0
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        changed += [f"{attribute} of {node.GetName()}" for attribute in _strip(node, identity)]
        if node.GetID() not in kept and node.GetName() and _tells(node.GetName(), identity):
            number += 1
            node.SetName(f"{case} image {number}")
            changed.append(node.GetName())
        if node.GetDescription() and _tells(node.GetDescription(), identity):
            node.SetDescription("")
            changed.append(f"description of {node.GetName()}")
        if node.IsA("vtkMRMLStorageNode") and _tells(node.GetFileName() or "", identity):
            node.ResetFileNameList()
            node.SetFileName(None)  # written anew at the next save, named after the node
            changed.append("a file name")
    hierarchy = scene.GetSubjectHierarchyNode()
    for item in _items(hierarchy):
        attributes = [name for name in hierarchy.GetItemAttributeNames(item) if _DICOM.match(name)]
        uids = [name for name in ("DICOM", "DICOM_INSTANCE") if hierarchy.GetItemUID(item, name)]
        for name in attributes:
            hierarchy.RemoveItemAttribute(item, name)
        for name in uids:
            hierarchy.RemoveItemUID(item, name)
        is_folder = hierarchy.GetItemDataNode(item) is None
        if is_folder and (attributes or uids or _tells(hierarchy.GetItemName(item), identity)):
            hierarchy.SetItemName(item, case)
        if attributes or uids:
            changed.append("an item of the subject hierarchy")
    return changed


def _strip(node, identity: Identity) -> list[str]:
    """Remove attributes that come from DICOM or tell the identity."""
    removed = []
    for name in list(node.GetAttributeNames()):
        if _DICOM.match(name) or _tells(node.GetAttribute(name) or "", identity):
            node.RemoveAttribute(name)
            removed.append(name)
    return removed


def _tells(text: str, identity: Identity) -> bool:
    return bool(text) and bool(identity.kinds_in(text.encode("utf-8", "surrogatepass")))


def _items(hierarchy) -> list[int]:
    if hierarchy is None:
        return []
    ids = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), ids, True)
    return [ids.GetId(n) for n in range(ids.GetNumberOfIds())]
