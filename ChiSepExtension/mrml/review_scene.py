"""The review in a saved scene: a node that carries the ratings, packed, and refers to maps and outlines.

The rating file on disk is saved after every key press; the scene carries a copy, so that a bundle that is passed on is
complete. It is packed because a blind reader may look at any node of the scene, and must not find earlier codes there.
"""

from __future__ import annotations

import base64
import json
import weakref
import zlib
from pathlib import Path
from typing import Any

import slicer

from ..errors import InputError
from ..lesions.deidentify import PACKED_MARK
from ..volume_io import write_text
from .lesion_review import LesionReview
from .review_files import resume_lock
from .review_maps import ReviewMaps

NODE_TAG = "ChiSepReview"
_CONTENT, _OUTLINES = "review", "outlines"
_MAP, _ANATOMY, _GIVEN = "map.", "anatomy.", "given."


def attach(review: LesionReview) -> None:
    """Keep the scene's node up to date from now on."""
    reference = weakref.ref(review)

    def stored() -> None:
        alive = reference()
        if alive is not None and not alive.is_closed:
            store(alive)

    review.stored = stored
    store(review)


def store(review: LesionReview):
    """Bring the scene's node up to the review's state; made if there is none. Returns the node."""
    scene = review.scene
    node = find(scene)
    if node is None:
        node = slicer.vtkMRMLScriptedModuleNode()
        node.SetSingletonTag(NODE_TAG)
        node.SetName(NODE_TAG)
        node.SetAttribute("ModuleName", NODE_TAG)
        node.SetHideFromEditors(True)
        node = scene.AddNode(node)
    content: dict[str, Any] = {
        "case": review.case, "patient": review.patient, "concealed": review.maps.concealed,
    }  # fmt: skip
    if review.ratings is not None:
        content["ratings"] = review.ratings.path.read_text(encoding="utf-8")
        content["file"] = review.ratings.path.name
    references = {_OUTLINES: review.outlines.node_id or None}
    references.update({_MAP + name: node_id for name, node_id in review.maps.ids.items()})
    references.update({_ANATOMY + name: node_id for name, node_id in review.maps.anatomy_ids.items()})
    references.update({_GIVEN + role: node_id for role, node_id in review.maps.given_ids.items()})
    with slicer.util.NodeModify(node):
        node.SetParameter(_CONTENT, pack(content))
        for role, node_id in references.items():
            if node.GetNodeReferenceID(role) != node_id:
                node.SetNodeReferenceID(role, node_id)
    return node


def find(scene):
    """The node that a review has left in the scene, None if there is none."""
    return scene.GetSingletonNode(NODE_TAG, "vtkMRMLScriptedModuleNode")


def forget(scene) -> None:
    """Take the review out of the scene; its files stay."""
    node = find(scene)
    if node is not None:
        scene.RemoveNode(node)


def restore(scene, folder: str | Path) -> LesionReview | None:
    """Go on with the review of a loaded scene; None if the scene has none.

    Parameters
    ----------
    folder
        Where the rating file lies, or is put if it is not there. A file that is there is not older than the scene:
        it is the one that is gone on with.

    Raises
    ------
    InputError
        If maps or outlines are missing, or the file in the folder is of another reading.
    """
    node = find(scene)
    if node is None:
        return None
    content = unpack(node.GetParameter(_CONTENT))
    roles = [node.GetNthNodeReferenceRole(n) for n in range(node.GetNumberOfNodeReferenceRoles())]

    def referred(prefix: str) -> dict[str, Any]:
        return {role[len(prefix) :]: node.GetNodeReference(role) for role in roles if role.startswith(prefix)}

    given = referred(_GIVEN)
    maps = ReviewMaps(
        scene,
        {name: n for name, n in referred(_MAP).items() if n is not None},
        anatomy={name: n for name, n in referred(_ANATOMY).items() if n is not None},
        **{role: given.get(role) for role in ("mask", "white_matter", "vessels", "trust")},
    )
    maps.concealed = content.get("concealed", {})
    review = LesionReview(scene, maps, case=content["case"], patient=content["patient"])
    try:
        outlines = node.GetNodeReference(_OUTLINES)
        if outlines is not None:
            review.import_lesions(outlines)
        if "ratings" in content:
            _restore_ratings(review, content, Path(folder))
        if review.ratings is not None:
            resume_lock(review)
        attach(review)
    except Exception:
        review.close()
        raise
    return review


def _restore_ratings(review: LesionReview, content: dict[str, Any], folder: Path) -> None:
    path = folder / Path(content["file"]).name
    stored = json.loads(content["ratings"])
    if not path.exists():
        write_text(path, content["ratings"])
    else:
        there = json.loads(path.read_text(encoding="utf-8"))
        if any(there.get(key) != stored[key] for key in ("rater", "case", "started")):
            raise InputError(f"{path.name} in {folder} is of another reading.", "Choose an empty folder.")
    review.start_reading(path, rater=stored["rater"])


def pack(content: dict[str, Any]) -> str:
    """JSON, compressed, in characters that every scene file keeps; the mark lets a search for identities unpack it."""
    packed = base64.b64encode(zlib.compress(json.dumps(content).encode("ascii"), 6)).decode("ascii")
    return f"{PACKED_MARK}{packed}"


def unpack(text: str) -> dict[str, Any]:
    """What `pack` was given."""
    try:
        if not text.startswith(PACKED_MARK):
            raise ValueError("the mark is missing")
        return json.loads(zlib.decompress(base64.b64decode(text[len(PACKED_MARK) :], validate=True)))
    except (ValueError, zlib.error) as error:
        raise InputError(
            f"The scene's copy of the review is damaged: {error}.", "Open the rating file of its folder."
        ) from error
