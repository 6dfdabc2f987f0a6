"""What ``chisep weights`` does, as functions that return JSON-able data; the command line prints it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import weight_store


def weights_list() -> dict[str, Any]:
    """The store's folder, the sets installed in it, and the names of those that come with the package."""
    entries = [entry.to_dict() for entry in weight_store.list_weights()]
    shipped = [folder.name for folder in weight_store.shipped_weights()]
    return {"folder": str(weight_store.weights_folder()), "weights": entries, "shipped": shipped}


def weights_import(
    source: str | Path, *, name: str | None = None, accept_licence: bool = False, probe: bool = True
) -> dict[str, Any]:
    """Check and install a folder of published checkpoints or a bundle; see `weight_store.import_weights`."""
    return weight_store.import_weights(source, name=name, accept_licence=accept_licence, probe=probe).to_dict()


def weights_verify(name: str | None = None) -> list[dict[str, Any]]:
    """For one installed set, or for all: its name and what is wrong with it (nothing, if all is well)."""
    names = [name] if name is not None else [entry.name for entry in weight_store.list_weights()]
    return [{"name": each, "problems": weight_store.verify_weights(each)} for each in names]


def weights_remove(name: str) -> dict[str, Any]:
    """Delete an installed set; returns what was there."""
    return weight_store.remove_weights(name).to_dict()


def weights_licence() -> dict[str, Any]:
    """Terms of the published checkpoints, and whether they were accepted on this account."""
    return {"terms": weight_store.PUBLISHED_LICENCE, "accepted": weight_store.licence_accepted()}


def weights_accept_licence() -> dict[str, Any]:
    """Store that the user accepts the terms, for published checkpoints that stay in a folder of the user's own."""
    weight_store.accept_published_licence()
    return weights_licence()
