"""Load chooses the R2 map of the folder, and never keeps that of another head."""

from __future__ import annotations

import json
from pathlib import Path

import chisep_testhost
import numpy as np
import slicer

from ChiSepExtension.geometry import Grid
from ChiSepExtension.volume_io import write_volume

MODULE_FILE = Path(__file__).resolve().parents[3] / "ChiSepModule" / "ChiSepModule.py"
GRID = Grid.from_spacing((6, 8, 8), (2, 1, 1))


def write_scan(folder: Path, subject: str, with_r2: bool) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n, echo_time in enumerate((0.005, 0.01, 0.015), start=1):
        for part, low, high in (("mag", 10, 100), ("phase", -np.pi, np.pi)):
            stem = folder / f"{subject}_echo-{n}_part-{part}_MEGRE"
            write_volume(f"{stem}.nii.gz", rng.uniform(low, high, GRID.shape).astype(np.float32), GRID)
            Path(f"{stem}.json").write_text(json.dumps({"EchoTime": echo_time, "MagneticFieldStrength": 3}))
    if with_r2:
        write_volume(folder / f"{subject}_R2map.nii.gz", np.full(GRID.shape, 13, np.float32), GRID)
    return folder


def test_load_chooses_the_r2_map_of_the_folder_or_none(host, tmp_path):
    chisep_testhost.load_module(MODULE_FILE)
    slicer.util.selectModule("ChiSepModule")
    ui = slicer.modules.ChiSepModuleWidget.ui
    ui.folderPath.currentPath = str(write_scan(tmp_path / "first", "sub-01", with_r2=True))
    ui.loadButton.click()
    assert ui.r2Selector.currentNode().GetName() == "sub-01_R2map"
    assert "sub-01_R2map.nii.gz was loaded" in ui.messageLabel.text
    ui.folderPath.currentPath = str(write_scan(tmp_path / "second", "sub-02", with_r2=False))
    ui.loadButton.click()
    assert ui.magnitudeSelector.currentNode().GetName() == "sub-02_MEGRE magnitude"
    assert ui.r2Selector.currentNode() is None
