"""Where installed network weights are kept, what is there, and whether their licence was accepted.

A folder in the user's cache, or the one that the environment variable ``CHISEP_WEIGHTS`` names; nothing is ever
downloaded. Each set is a folder of its own with the original files and ``installed.json``. This module needs no
torch, so that a window can list weights.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from ..volume_io import write_text
from .checksum import sha256

ENVIRONMENT_VARIABLE = "CHISEP_WEIGHTS"
PUBLISHED = "published"
BUNDLE = "bundle"

RECORD = "installed.json"
ACCEPTANCE = "licence-accepted.json"
PARTIAL = ".partial-"

#: Bundles that come with the package, each in a folder of its own; they need no import.
SHIPPED = Path(__file__).with_name("shipped")

#: File names of the published set by role, lower case; ``.pth`` alone is accepted too.
PUBLISHED_STEMS = {"qsm": "qsmnet", "r2prime": "r2primenet", "separation": "xsepnet"}
PUBLISHED_STATISTICS = "xsepnet_norm_factor.mat"

#: The terms in our words; the release's own text is what binds.
PUBLISHED_LICENCE = """\
The published χ-sepnet checkpoints (Kim et al., Hum Brain Mapp 2025;46:e70136) belong to their authors. Their licence,
which came with the files, allows academic, non-commercial research only. In short:
- no clinical or diagnostic use;
- no redistribution of the files or of anything derived from them outside your laboratory;
- changes for your own research are allowed, but changed versions must not be distributed;
- they come as they are, without warranty.
Read the full text where you got the files. By accepting you confirm that you obtained them under that licence."""


@dataclass(frozen=True)
class InstalledWeights:
    """One set of weights in the store."""

    name: str
    kind: str
    folder: Path
    roles: tuple[str, ...]
    #: SHA-256 by file name, as recorded on import.
    files: dict[str, str]
    size_bytes: int
    licence: str
    licence_accepted: bool
    installed: str

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder), "roles": list(self.roles)}


def weights_folder() -> Path:
    """Folder of the store: ``CHISEP_WEIGHTS``, or ``chisep/weights`` in the user's cache folder."""
    if named := os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(named).expanduser()
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "chisep" / "weights"


def find_weights(folder: str | Path | None = None, *, method: str = "") -> Path:
    """The folder of weights to run with.

    Parameters
    ----------
    folder
        The user's choice: a folder of checkpoints or a bundle, or the name of an installed or shipped set. None takes
        the only installed set, the published one among several, or what is shipped if nothing is installed.
    method
        For which the weights are: of the shipped sets the one of that name is taken.

    Raises
    ------
    WeightsError
        If there is none, the choice is not clear, or the licence of published weights has not been accepted.
    """
    shipped = shipped_weights()
    if folder is not None:
        path = Path(folder).expanduser()
        if not path.is_dir() and _is_name(str(folder)):
            named = [root / str(folder) for root in (weights_folder(), SHIPPED)]
            path = next((each for each in named if each.is_dir()), path)
    elif shipped and not list_weights():
        path = next((each for each in shipped if each.name == method), shipped[-1])
    else:
        installed = list_weights()
        chosen = installed if len(installed) == 1 else [entry for entry in installed if entry.kind == PUBLISHED]
        if not chosen:
            there = ", ".join(entry.name for entry in installed)
            raise WeightsError(
                f"Several sets of network weights are installed: {there}." if there else "No weights are installed.",
                "Choose one (--weights)." if there else "Import them once (chisep weights import FOLDER).",
            )
        path = chosen[0].folder
    if kind_of(path) == PUBLISHED and not licence_accepted():
        raise WeightsError(
            "The licence of the published checkpoints has not been accepted on this account.",
            "Read it and accept it once (chisep weights import FOLDER --accept-licence).",
        )
    return path


def shipped_weights() -> list[Path]:
    """Folders of the bundles that come with the package, by name."""
    return sorted(path.parent for path in SHIPPED.glob("*/separation.card.json"))


def kind_of(folder: Path) -> str:
    """`PUBLISHED` or `BUNDLE`, by the files in a folder; `WeightsError` if it is neither."""
    if not folder.is_dir():
        raise WeightsError(
            f"There is no folder of weights {folder}.",
            "Check the path, or list what is installed (chisep weights list).",
        )
    if any(folder.glob("*.card.json")):
        return BUNDLE
    if published_files(folder).keys() & PUBLISHED_STEMS.keys():
        return PUBLISHED
    raise WeightsError(
        f"There are no network weights in {folder}.",
        "Give a folder with QSMnet.pth.tar, R2PRIMEnet.pth.tar, xsepnet.pth.tar and xsepnet_norm_factor.mat, "
        "or a bundle with *.card.json and *.safetensors.",
    )


def published_files(folder: Path) -> dict[str, Path]:
    """Files of a published set by role, and the normalisation file as "statistics"; by name, case ignored."""
    files = {}
    for path in sorted(folder.iterdir()):
        lower = path.name.lower()
        for role, stem in PUBLISHED_STEMS.items():
            if lower in (f"{stem}.pth.tar", f"{stem}.pth"):
                files[role] = path
        if lower == PUBLISHED_STATISTICS:
            files["statistics"] = path
    return files


def list_weights() -> list[InstalledWeights]:
    """All installed sets, by name."""
    store = weights_folder()
    if not store.is_dir():
        return []
    return [_read(path.parent) for path in sorted(store.glob(f"*/{RECORD}"))]


def get_weights(name: str) -> InstalledWeights:
    """An installed set by name; `WeightsError` if there is none."""
    for entry in list_weights():
        if entry.name == name:
            return entry
    raise WeightsError(f"No weights called {name!r} are installed.", "List what is installed (chisep weights list).")


def import_weights(
    source: str | Path, *, name: str | None = None, accept_licence: bool = False, probe: bool = True
) -> InstalledWeights:
    """Check a folder of weights, all of it, and copy it into the store.

    Parameters
    ----------
    source
        Folder of published checkpoints or of a bundle.
    name
        Under which it is installed; by default "published", or the bundle's folder name.
    accept_licence
        The user has read `PUBLISHED_LICENCE` and accepts it; stored once. Needed for published checkpoints only.
    probe
        See `published.load_published`.

    Raises
    ------
    WeightsError
        If the files are not what they should be, the licence is not accepted, or the name is taken.
    """
    from .loading import load_weights

    source = Path(source).expanduser()
    kind = kind_of(source)
    if kind == PUBLISHED and not (accept_licence or licence_accepted()):
        raise WeightsError(
            "Published checkpoints are imported only after their licence was accepted.",
            "Read it (chisep weights import --show-licence), accept it (--accept-licence), and import again.",
        )
    name = name or (PUBLISHED if kind == PUBLISHED else source.resolve().name)
    target = weights_folder() / name
    if not _is_name(name):
        raise WeightsError(f"{name!r} cannot be the name of a set.", "Use letters, digits, dot, dash and underscore.")
    if target.exists():
        raise WeightsError(f"Weights called {name!r} are installed already.", "Remove them first, or choose a name.")
    networks = load_weights(source, probe=probe)
    files = {}
    for network in networks.networks.values():
        files.update(network.files)
    if kind == PUBLISHED:
        accept_published_licence()
    licences = {network.card.licence for network in networks.networks.values()}
    record = {
        "kind": kind,
        "roles": list(networks.networks),
        "files": files,
        "licence": "; ".join(sorted(licences)),
        "installed": _now(),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=PARTIAL) as temporary:
        folder = Path(temporary) / name
        folder.mkdir()
        for file, digest in files.items():
            shutil.copyfile(source / file, folder / file)
            if sha256(folder / file) != digest:
                raise WeightsError(f"{file} changed while it was copied.", "Repeat the import.")
        write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
        folder.rename(target)
    return _read(target)


def verify_weights(name: str) -> list[str]:
    """What is wrong with an installed set: an empty list if every file is what was imported."""
    entry, problems = get_weights(name), []
    for file, digest in entry.files.items():
        path = entry.folder / file
        if not path.is_file():
            problems.append(f"{file} is missing")
        elif sha256(path) != digest:
            problems.append(f"{file} has changed since it was imported")
    return problems


def remove_weights(name: str) -> InstalledWeights:
    """Delete an installed set; returns what was there."""
    entry = get_weights(name)
    shutil.rmtree(entry.folder)
    return entry


def licence_accepted() -> bool:
    """True if the terms of the published checkpoints, as they read now, were accepted on this account."""
    path = weights_folder() / ACCEPTANCE
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("terms") == PUBLISHED_LICENCE
    except (OSError, ValueError, AttributeError):
        return False


def accept_published_licence() -> None:
    """Store that the user accepts `PUBLISHED_LICENCE`; once is enough."""
    if not licence_accepted():
        record = {"terms": PUBLISHED_LICENCE, "accepted": _now()}
        write_text(weights_folder() / ACCEPTANCE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _read(folder: Path) -> InstalledWeights:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        kind, files = record["kind"], dict(record["files"])
        return InstalledWeights(
            folder.name,
            kind,
            folder,
            tuple(record["roles"]),
            files,
            sum((folder / file).stat().st_size for file in files if (folder / file).is_file()),
            record["licence"],
            kind != PUBLISHED or licence_accepted(),
            record["installed"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"The record {folder / RECORD} cannot be read: {error}.", "Delete that folder.") from error


def _remove_leftovers(store: Path) -> None:
    """Delete what killed imports left behind: partial folders that nobody has touched for an hour."""
    for folder in store.glob(f"{PARTIAL}*"):
        if time.time() - folder.stat().st_mtime > 3600:
            shutil.rmtree(folder, ignore_errors=True)


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text) is not None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
