"""Test code: the terminology files that the wheel leaves out, reduced to the entry Slicer uses by default."""

from __future__ import annotations

import json
from pathlib import Path

TISSUE = {
    "CodingSchemeDesignator": "SCT",
    "CodeValue": "85756007",
    "CodeMeaning": "Tissue",
    "showAnatomy": "true",
    "Type": [
        {
            "CodingSchemeDesignator": "SCT",
            "CodeValue": "85756007",
            "CodeMeaning": "Tissue",
            "recommendedDisplayRGBValue": [128, 174, 128],
        }
    ],
}
CATEGORY_FILES = {
    "SegmentationCategoryTypeModifier-SlicerGeneralAnatomy": "3D Slicer General Anatomy list",
    "SegmentationCategoryTypeModifier-DICOM-Master": "DICOM master list",
}
SCHEMA = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/"


def write_terminologies(folder: Path) -> None:
    """Write the default contexts into the share folder, where the terminology logic looks for them."""
    for stem, context in CATEGORY_FILES.items():
        _write(
            folder / f"{stem}.term.json",
            {
                "SegmentationCategoryTypeContextName": f"Segmentation category and type - {context}",
                "@schema": SCHEMA + "segment-context-schema.json#",
                "SegmentationCodes": {"Category": [TISSUE]},
            },
        )
    _write(
        folder / "AnatomicRegionAndModifier-DICOM-Master.term.json",
        {
            "AnatomicContextName": "Anatomic codes - DICOM master list",
            "@schema": SCHEMA + "anatomic-context-schema.json#",
            "AnatomicCodes": {"AnatomicRegion": []},
        },
    )


def _write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
