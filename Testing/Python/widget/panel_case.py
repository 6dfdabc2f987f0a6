"""What the tests of the panel share: the module's widget, small inputs, and stand-ins for Slicer's Python."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import chisep_testhost
import numpy as np
import pytest
import slicer

from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.echoes import echo_sequence

MODULE_FILE = Path(__file__).resolve().parents[3] / "ChiSepModule" / "ChiSepModule.py"
GRID = Grid.from_spacing((6, 8, 10), (4, 2, 2))
TIMES = [0.005, 0.011, 0.017]

#: Answers the input check with one row of the colour that the file "color" beside the script names, and a run with maps
#: that rise along x: chi_para to 0.1 ppm, chi_dia to half of it.
ANSWERS = """
import json, sys
from pathlib import Path
import numpy as np
folder, here = Path(sys.argv[2]).parent, Path(sys.argv[0]).parent
job = json.loads(Path(sys.argv[2]).read_text())
(here / "jobs").open("a").write(json.dumps({"task": job["task"], **job["options"], **job["provenance"]}) + "\\n")
if job["task"] == "check":
    wanted = here / "color"
    color = "red" if job["options"]["invert_phase"] is False and wanted.exists() else "green"
    row = {"key": "phase-sign", "title": "Sign of the phase", "color": color, "value": "contrast -1.5 SD",
           "reason": "Iron comes out diamagnetic.", "mend": "invert-phase" if color == "red" else None}
    pictures = {}
    if color == "red":
        from PIL import Image
        Image.new("RGB", (40, 20)).save(folder / "proof.png")
        pictures["invert-phase"] = "proof.png"
    print(json.dumps({"event": "done", "gate": {"rows": [row]}, "pictures": pictures}), flush=True)
    sys.exit(0)
shape = np.load(folder / "magnitude.npy", mmap_mode="r").shape[1:]
para = np.broadcast_to(np.linspace(0, 0.1, shape[2], dtype="f4"), shape)
maps = {"chi_para": para, "chi_dia": para / 2, "chi_total": para / 2, "r2star_hz": 300 * para, "r2prime_hz": 200 * para,
        "local_field_ppm": para / 3, "mask": np.ones(shape, bool), "magnitude": para + 1}
(folder / "maps").mkdir()
for name, array in maps.items():
    np.save(folder / "maps" / f"{name}.npy", array)
provenance = {"warnings": ["A stand-in computed this."], "gate": job["gate"], "stage_times_s": {"field": 2.0}}
(folder / "maps" / "provenance.json").write_text(json.dumps(provenance))
print(json.dumps({"event": "done", "maps": {n: f"{n}.npy" for n in maps}, "provenance": "provenance.json"}), flush=True)
"""


def make_program(folder: Path, body: str) -> Path:
    """An executable out of Python lines."""
    if os.name == "nt":
        pytest.skip("the stand-in for Slicer's Python is a script with a shebang line")
    path = folder / "python-stand-in"
    path.write_text(f"#!{sys.executable}\n{body}", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


def open_module():
    """The module's widget, entered. Afterwards the host leaves and unloads it as when Slicer exits."""
    chisep_testhost.load_module(MODULE_FILE)
    slicer.util.selectModule("ChiSepModule")
    return slicer.modules.ChiSepModuleWidget


def choose_scan(widget, name: str = "sub-01"):
    """Three echoes of noise: enough for everything that is not about numbers."""
    rng, scene, shape = np.random.default_rng(0), slicer.mrmlScene, (len(TIMES), *GRID.shape)
    magnitude = echo_sequence(scene, f"{name} magnitude", rng.uniform(1, 9, shape), GRID, TIMES, field_strength_t=7)
    phase = echo_sequence(scene, f"{name} phase", rng.uniform(-np.pi, np.pi, shape), GRID, TIMES)
    widget.ui.magnitudeSelector.setCurrentNode(magnitude)
    widget.ui.phaseSelector.setCurrentNode(phase)
    return magnitude, phase


def wait_until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        slicer.app.processEvents()
        time.sleep(0.005)


def wait_for_run(widget) -> None:
    wait_until(lambda: not widget.panel.run.isRunning)


def apply_and_wait(widget) -> None:
    widget.ui.applyButton.click()
    wait_for_run(widget)
    assert widget.ui.stageLabel.text == "Done", widget.ui.messageLabel.text
