"""The picture that proves a finding on scanner data: as they are on the left, as they would be on the right."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ..preprocessing.vendor_findings import Picture

_SIDE, _GAP, _LINE = 210, 10, 16
_ACCENT, _GREY = (224, 108, 58), (150, 150, 150)


def proof_picture(picture: Picture) -> Image.Image:
    """Two planes in one grey scale, or two curves over the echoes in one frame, with the caption below."""
    before, after = np.asarray(picture.before, np.float32), np.asarray(picture.after, np.float32)
    if before.ndim == 2:
        low, high = np.percentile(np.concatenate([before.ravel(), after.ravel()]), (1, 99))
        parts = [_plane(part, float(low), float(high)) for part in (before, after)]
        width = sum(part.width for part in parts) + _GAP
        page = Image.new("RGB", (max(width, 2 * _SIDE), max(part.height for part in parts) + 2 * _LINE), "black")
        page.paste(parts[0], (0, _LINE))
        page.paste(parts[1], (parts[0].width + _GAP, _LINE))
        draw = ImageDraw.Draw(page)
        draw.text((4, 2), "as it is", fill=_GREY)
        draw.text((parts[0].width + _GAP + 4, 2), "mended", fill=_GREY)
    else:
        page = _curves(before, after)
        draw = ImageDraw.Draw(page)
    draw.text((4, page.height - _LINE + 2), _ascii(f"{picture.caption} [{picture.unit}]"), fill=(255, 255, 255))
    return page


def _plane(values: np.ndarray, low: float, high: float) -> Image.Image:
    grey = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
    image = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    scale = _SIDE / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _curves(before: np.ndarray, after: np.ndarray) -> Image.Image:
    page = Image.new("RGB", (2 * _SIDE + _GAP, _SIDE // 2 + 2 * _LINE), "black")
    draw = ImageDraw.Draw(page)
    low, high = float(min(before.min(), after.min())), float(max(before.max(), after.max()))
    for values, color, label, place in ((before, _GREY, "as it is", 4), (after, _ACCENT, "mended", 80)):
        x = np.linspace(8, page.width - 8, len(values))
        y = _LINE + 4 + (high - values) / max(high - low, 1e-12) * (_SIDE // 2 - 8)
        draw.line(list(zip(x.tolist(), y.tolist())), fill=color, width=2)
        draw.text((place, 2), label, fill=color)
    return page


def _ascii(text: str) -> str:
    """Pillow's built-in font knows little beyond ASCII."""
    return text.replace("π", "pi").replace("−", "-").replace("′", "'").encode("ascii", "replace").decode()
