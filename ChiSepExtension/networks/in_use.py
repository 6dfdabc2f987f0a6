"""Which network weights a run would take, with the SHA-256 of each file, told without torch and at once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from .checksum import sha256
from .weight_store import PUBLISHED, RECORD, SHIPPED, find_weights, kind_of, published_files


@dataclass(frozen=True)
class WeightsInUse:
    """What `find_weights` would choose.

    Parameters
    ----------
    title
        In words: what it is and where it comes from.
    hashes
        SHA-256 by file name, as the cards or the record of the import state them; empty where nobody has stated any.
    roles
        Networks in the set.
    problem
        Why there are none; then everything else is empty.
    """

    title: str = ""
    folder: Path | None = None
    roles: tuple[str, ...] = ()
    hashes: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def weights_in_use(choice: str | None = None, method: str = "") -> WeightsInUse:
    """What a run with this choice (`Options.weights`) and method would take; says what is wrong, does not raise it."""
    try:
        folder = find_weights(choice or None, method=method)
        kind = kind_of(folder)
    except WeightsError as error:
        return WeightsInUse(problem=str(error))
    if kind == PUBLISHED:
        roles = tuple(role for role in published_files(folder) if role != "statistics")
        takes_r2prime = True
    else:
        roles = tuple(path.name.removesuffix(".card.json") for path in sorted(folder.glob("*.card.json")))
        takes_r2prime = _takes_r2prime(folder)
    if folder.parent == SHIPPED:
        title = f"{folder.name} (comes with the extension)"
    elif (folder / RECORD).is_file():
        title = "published checkpoints (imported)" if kind == PUBLISHED else f"{folder.name} (imported)"
    else:
        title = f"{folder.name} (a folder of your own)"
    if method == "sepnet-r2star" and takes_r2prime and "r2prime" not in roles:
        problem = f"The weights “{title}” lack the network that predicts R2′ from R2*. Choose others, or measure R2."
        return WeightsInUse(problem=problem)
    return WeightsInUse(title, folder, roles, stated_hashes(folder))


def _takes_r2prime(folder: Path) -> bool:
    """Whether the separation network of a bundle is fed with R2′ rather than with R2* itself."""
    try:
        card = json.loads((folder / "separation.card.json").read_text(encoding="utf-8"))
        quantities = {channel["quantity"] for channel in card["inputs"]}
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return "r2prime" in quantities or card.get("base") is not None


def stated_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by file name as the record of the import, or the cards of a bundle, state them."""
    record = folder / RECORD
    try:
        if record.is_file():
            return dict(json.loads(record.read_text(encoding="utf-8"))["files"])
        cards = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.card.json"))}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    stated = {path.name.replace(".card.json", ".safetensors"): card.get("sha256", "") for path, card in cards.items()}
    return {name: digest for name, digest in stated.items() if digest}


def verify(folder: str | Path) -> dict[str, Any]:
    """Hash every weight file of a folder and compare it with what is stated.

    Returns
    -------
    dict
        ``hashes`` by file name and ``problems``, an empty list if all is well.
    """
    folder = Path(folder)
    stated = stated_hashes(folder)
    names = list(stated) or [path.name for path in published_files(folder).values()]
    hashes, problems = {}, []
    for name in names:
        if not (folder / name).is_file():
            problems.append(f"{name} is missing")
            continue
        hashes[name] = sha256(folder / name)
        if name in stated and stated[name] != hashes[name]:
            problems.append(f"{name} is not the file that was imported or shipped")
    return {"hashes": hashes, "problems": problems}
