"""The one sentence that every window, picture, table and file of the extension carries."""

from __future__ import annotations

#: Shown in the module, printed on every picture, stored in every table and file.
RESEARCH_USE = "Research use only — not for diagnosis"
