"""How long a user waits and how long the application stands still: Apply to maps shown, and the longest stall.

The stall is the longest time between two ticks of a 10 ms timer, on the stand-in application (`host`) without OpenGL:
what Slicer's own drawing adds is not in it. For the full-size head a program that answers at once stands in for the
computation, so that only the application's own work is measured.

    python Testing/benchmarks/module.py [--shape 160 256 256] [--echoes 5] [--spacing 2.0]
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "host")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import chisep_testhost  # noqa: E402
import numpy as np  # noqa: E402

from ChiSepExtension.geometry import Grid  # noqa: E402
from ChiSepExtension.terminal import show  # noqa: E402

TICK_MS = 10
LIMIT_S = 900


class Heartbeat:
    """Ticks while events pass; the gaps between two ticks are what a user feels, in time and in work of this process.

    On a computer that is busy with something else the gaps grow; the work in them does not.
    """

    def __init__(self) -> None:
        import qt

        self._times: list[tuple[float, float]] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", lambda: self._times.append((time.perf_counter(), time.process_time())))

    def __enter__(self) -> Heartbeat:
        self._timer.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._timer.stop()

    @property
    def gaps_ms(self) -> np.ndarray:
        return 1e3 * np.diff([tick for tick, _work in self._times])

    @property
    def work_ms(self) -> np.ndarray:
        return 1e3 * np.diff([work for _tick, work in self._times])


#: Answers the check, and a run with maps of the right size.
ANSWERS = """
import json, sys, time
from pathlib import Path
import numpy as np
folder = Path(sys.argv[2]).parent
job = json.loads(Path(sys.argv[2]).read_text())
if job["task"] == "check":
    print(json.dumps({"event": "done", "gate": {"rows": []}}), flush=True)
    sys.exit(0)
shape = np.load(folder / "magnitude.npy", mmap_mode="r").shape[1:]
names = ["chi_para", "chi_dia", "chi_total", "r2star_hz", "r2prime_hz", "local_field_ppm", "trust", "magnitude"]
(folder / "maps").mkdir()
for name in names:
    np.save(folder / "maps" / f"{name}.npy", np.full(shape, 0.03, "f4"))
np.save(folder / "maps" / "mask.npy", np.ones(shape, bool))
(folder / "maps" / "provenance.json").write_text("{}")
for n in range(20):
    print(json.dumps({"event": "progress", "fraction": n / 20, "message": "Working"}), flush=True)
    time.sleep(0.05)
done = {"event": "done", "maps": {n: f"{n}.npy" for n in [*names, "mask"]}, "provenance": "provenance.json"}
print(json.dumps(done), flush=True)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs=3, type=int, default=[160, 256, 256], metavar=("Z", "Y", "X"))
    parser.add_argument("--echoes", type=int, default=5)
    parser.add_argument("--spacing", type=float, default=2.0, help="of the simulated head, mm")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    host = chisep_testhost.start(gui=True)
    chisep_testhost.load_module(REPOSITORY / "ChiSepModule" / "ChiSepModule.py")
    figures = {
        "simulated head": _simulated_head(arguments.spacing),
        "full size": _full_size(tuple(arguments.shape), arguments.echoes),
    }
    host.reset()
    for name, values in figures.items():
        show(f"{name}: " + ", ".join(f"{key} {value}" for key, value in values.items()))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _simulated_head(spacing_mm: float) -> dict[str, float]:
    """The real computation: from the click on Apply to the maps in the views."""
    import slicer

    from ChiSepExtension.mrml.sample import add_simulated_head

    widget = _open()
    scan = add_simulated_head(slicer.mrmlScene, spacing_mm=spacing_mm)
    widget.ui.magnitudeSelector.setCurrentNode(scan.magnitude)
    slicer.app.processEvents()
    seconds, beat = _apply(widget)
    return {
        "voxels": int(np.prod(scan.magnitude.GetNthDataNode(0).GetImageData().GetDimensions())),
        **_told(seconds, beat),
    }


def _full_size(shape: tuple[int, int, int], echoes: int) -> dict[str, float]:
    """The application's own part with a head of full size."""
    import slicer

    from ChiSepExtension.mrml.echoes import echo_sequence
    from ChiSepExtension.ui import child_job

    slicer.mrmlScene.Clear(0)
    widget = _open()
    grid, times = Grid.from_spacing(shape), [0.004 * (n + 1) for n in range(echoes)]
    echo = np.random.default_rng(0).uniform(1, 9, shape).astype(np.float32)
    nodes = {
        role: echo_sequence(slicer.mrmlScene, f"full {role}", [echo] * echoes, grid, times, field_strength_t=3.0)
        for role in ("magnitude", "phase")
    }
    widget.ui.magnitudeSelector.setCurrentNode(nodes["magnitude"])
    widget.ui.phaseSelector.setCurrentNode(nodes["phase"])
    slicer.app.processEvents()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "python-stand-in"
        program.write_text(f"#!{sys.executable}\n{ANSWERS}")
        program.chmod(program.stat().st_mode | stat.S_IEXEC)
        own, child_job.pythonExecutable = child_job.pythonExecutable, lambda: str(program)
        try:
            first = _apply(widget)
            again = _apply(widget)
        finally:
            child_job.pythonExecutable = own
    return {
        "voxels": int(np.prod(shape)),
        **_told(*first),
        "again": _told(*again),
    }


def _open():
    import slicer

    slicer.util.selectModule("ChiSepModule")
    return slicer.modules.ChiSepModuleWidget


def _apply(widget) -> tuple[float, Heartbeat]:
    import slicer

    with Heartbeat() as beat:
        began = time.perf_counter()
        widget.ui.applyButton.click()
        if not widget.panel.run.isRunning:
            raise RuntimeError(widget.ui.messageLabel.text)
        while widget.panel.run.isRunning:
            if time.perf_counter() - began > LIMIT_S:
                raise RuntimeError(f"The run did not end within {LIMIT_S} s.")
            slicer.app.processEvents()
            time.sleep(0.001)
        seconds = time.perf_counter() - began
        slicer.app.processEvents()
    if widget.ui.stageLabel.text != "Done":
        raise RuntimeError(widget.ui.messageLabel.text)
    return seconds, beat


def _told(seconds: float, beat: Heartbeat) -> dict[str, str]:
    gaps = beat.gaps_ms
    return {
        "Apply to maps": f"{seconds:.1f} s",
        "longest stall": f"{gaps.max():.0f} ms",
        "stalls over 200 ms": int((gaps > 200).sum()),
        "most work in a stall": f"{beat.work_ms.max():.0f} ms",
    }


if __name__ == "__main__":
    sys.exit(main())
