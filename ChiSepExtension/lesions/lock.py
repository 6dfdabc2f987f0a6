"""Locking a research read: the hash of every file, so that a later change of one byte is seen."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ..errors import InputError
from ..notice import RESEARCH_USE
from .tables import write_json

_KIND = "chisep-lock"


@dataclass(frozen=True)
class LockCheck:
    """``state`` is "intact" or "broken"; the names of files that changed or are gone, relative to the lock."""

    state: str
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    version: int


def write_lock(path: str | os.PathLike, files: Iterable[str | os.PathLike], *, version: int, raters: list[str]) -> Path:
    """Write the list of SHA-256 of the files, and the SHA-256 over that list.

    Parameters
    ----------
    path
        Of the lock; never overwritten: an unlocked read is locked again as the next version.
    files
        Below the lock's folder or beside it; stored relative to it.
    """
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists.", "Lock the changed read as a new version.")
    entries = {
        os.path.relpath(file, path.parent).replace(os.sep, "/"): file_sha256(file) for file in sorted(map(Path, files))
    }
    content = {
        "kind": _KIND,
        "notice": RESEARCH_USE,
        "version": version,
        "raters": sorted(raters),
        "locked_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "files": entries,
    }
    return write_json(path, {**content, "sha256": _content_sha256(content)})


def check_lock(path: str | os.PathLike) -> LockCheck:
    """Compute all hashes again."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stored = content.pop("sha256")
        entries, version = content["files"], int(content["version"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return LockCheck("broken", (path.name,), (), 0)
    changed, missing = [], []
    if _content_sha256(content) != stored:
        changed.append(path.name)
    for name, expected in entries.items():
        file = path.parent / name
        if not file.is_file():
            missing.append(name)
        elif file_sha256(file) != expected:
            changed.append(name)
    state = "broken" if changed or missing else "intact"
    return LockCheck(state, tuple(changed), tuple(missing), version)


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _content_sha256(content: dict) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
