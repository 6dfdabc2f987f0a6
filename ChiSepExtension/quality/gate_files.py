"""The gate's rows about what comes with the scan: other images on their grids, and the network weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..errors import WeightsError
from ..geometry import Grid, to_closest_ras
from ..networks import weight_store
from ..networks.checksum import sha256
from .gate_rows import AMBER, GREEN, RED, GateRow


def context_rows(grid: Grid, context: Mapping[str, Grid]) -> list[GateRow]:
    """One row per image that is to be read voxel by voxel beside the maps (FLAIR, T1, lesion mask).

    Another grid is refused: nothing is transposed, flipped or resampled in silence, whatever the shapes suggest.
    """
    rows = []
    for name, other in context.items():
        key, title = f"context-{name}", f"Geometry of {name}"
        if other.matches(grid):
            rows.append(GateRow(key, title, GREEN, other.describe(), "It lies on the grid of the scan."))
        elif to_closest_ras(other).target.matches(to_closest_ras(grid).target):
            reason = f"The same voxels in another axis order than the scan's ({grid.orientation}): refused as it is."
            rows.append(GateRow(key, title, RED, other.describe(), reason, "reorder-axes"))
        else:
            reason = f"It lies on another grid than the scan ({grid.describe()}): refused as it is."
            rows.append(GateRow(key, title, RED, other.describe(), reason, "resample-context"))
    return rows


def weights_row(choice: str | None, method: str = "") -> tuple[GateRow, float | None]:
    """Whether the network weights are what was imported or shipped; and the Dr they were trained with, if they say.

    Every file is hashed. Checkpoints in a folder of the user's own have nothing to be compared with: amber.
    """
    key, title = "weights", "Network weights"
    try:
        folder = weight_store.find_weights(choice, method=method)
        digests = {path.name: sha256(path) for path in _weight_files(folder)}
        expected, trained = _recorded(folder)
    except (WeightsError, OSError) as error:
        return GateRow(key, title, RED, "none usable", str(error), "verify-weights"), None
    shown = ", ".join(f"{name} {digest[:12]}" for name, digest in digests.items())
    missing = sorted(set(expected) - set(digests))
    if missing:
        return GateRow(key, title, RED, shown, f"{', '.join(missing)} is missing.", "verify-weights"), trained
    changed = sorted(name for name, digest in digests.items() if expected.get(name, digest) != digest)
    if changed:
        reason = f"{', '.join(changed)} is not what was imported: its SHA-256 differs."
        return GateRow(key, title, RED, shown, reason, "verify-weights"), trained
    unknown = sorted(set(digests) - set(expected))
    if unknown:
        reason = f"There is no record of what {', '.join(unknown)} should be; the hash is written into the provenance."
        return GateRow(key, title, AMBER, shown, reason), trained
    return GateRow(key, title, GREEN, shown, "Every file has the SHA-256 that was recorded."), trained


def weight_digests(folder: str | Path) -> dict[str, str]:
    """SHA-256 of every weight file in a folder, by name, for the provenance."""
    return {path.name: sha256(path) for path in _weight_files(Path(folder))}


def _weight_files(folder: Path) -> list[Path]:
    if weight_store.kind_of(folder) == weight_store.PUBLISHED:
        return sorted(weight_store.published_files(folder).values())
    return sorted(path for pattern in ("*.safetensors", "*.onnx") for path in folder.glob(pattern))


def _recorded(folder: Path) -> tuple[dict[str, str], float | None]:
    """File name → SHA-256 from the record of the import and from the cards, and Dr of the separation network."""
    expected: dict[str, str] = {}
    trained = None
    record = folder / weight_store.RECORD
    try:
        if record.is_file():
            # A card is checked through the hash it carries; it is the weights that the record vouches for.
            files = json.loads(record.read_text(encoding="utf-8"))["files"]
            expected.update({name: digest for name, digest in files.items() if not name.endswith(".json")})
        for path in sorted(folder.glob("*.card.json")):
            card = json.loads(path.read_text(encoding="utf-8"))
            name = path.name.replace(".card.json", ".safetensors")
            if card.get("sha256"):
                expected.setdefault(name, card["sha256"])
            if card.get("role") == "separation" and card.get("dr_hz_per_ppm"):
                trained = float(card["dr_hz_per_ppm"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"The record of the weights in {folder} cannot be read: {error}.", "Import them again."
        ) from error
    return expected, trained
