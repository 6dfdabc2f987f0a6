"""The child process: what it reports, how it fails, and that cancelling ends the whole tree within two seconds.

Where the numerics do not matter a small script stands in for Slicer's Python: it gets the same arguments.
"""

from __future__ import annotations

import gc
import os
import stat
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import slicer

from ChiSepExtension.errors import InputError, MemoryLimitError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.echoes import echo_sequence
from ChiSepExtension.mrml.job import write_job
from ChiSepExtension.mrml.sample import add_simulated_head
from ChiSepExtension.mrml.separation import SeparationJob
from ChiSepExtension.ui import child_job, process_runner
from ChiSepExtension.ui.separation_run import RunCallbacks, SeparationRun

GRID = Grid.from_spacing((6, 8, 10), (2.0, 1.0, 1.0))
TIMES = [0.004, 0.008]

#: What every stand-in begins with: report like the worker, answer with maps of ones.
PRELUDE = """
import json, os, subprocess, sys, time
from pathlib import Path
import numpy as np
folder = Path(sys.argv[2]).parent
job = json.loads(Path(sys.argv[2]).read_text())
def tell(**event):
    print(json.dumps(event), flush=True)
if hasattr(os, "setsid"):
    os.setsid()
tell(event="started", pid=os.getpid())
"""


class Watched(RunCallbacks):
    """Callbacks that remember."""

    def __init__(self):
        self.ended, self.lines, self.shares = [], [], []
        super().__init__(
            progress=lambda fraction, message: self.shares.append((fraction, message)),
            log=self.lines.append,
            finished=lambda result: self.ended.append(("finished", result)),
            failed=lambda error: self.ended.append(("failed", error)),
            cancelled=lambda: self.ended.append(("cancelled", None)),
        )


@pytest.fixture
def program(tmp_path):
    """Makes an executable out of Python lines."""
    if os.name == "nt":
        pytest.skip("the stand-in for Slicer's Python is a script with a shebang line")

    def make(body: str) -> str:
        path = tmp_path / "python-stand-in"
        path.write_text(f"#!{sys.executable}\n{PRELUDE}\n{body}", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
        return str(path)

    return make


def small_job() -> SeparationJob:
    rng = np.random.default_rng(0)
    scene = slicer.mrmlScene
    magnitude = echo_sequence(
        scene, "s magnitude", rng.uniform(1, 9, (2, *GRID.shape)), GRID, TIMES, field_strength_t=3
    )
    phase = echo_sequence(scene, "s phase", rng.uniform(-np.pi, np.pi, (2, *GRID.shape)), GRID, TIMES)
    return SeparationJob.prepare(scene, magnitude, phase)


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        slicer.app.processEvents()
        time.sleep(0.002)


def run_to_end(job, program=""):
    watched = Watched()
    run = SeparationRun(job, watched, program)
    wait_for(lambda: watched.ended)
    assert not run.isRunning
    assert len(watched.ended) == 1
    return watched


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_child_and_this_process_give_the_same_numbers():
    """One pipeline, two ways to it: the maps agree to the last bit."""
    scan = add_simulated_head(slicer.mrmlScene, spacing_mm=4.0)
    here = SeparationJob.prepare(slicer.mrmlScene, scan.magnitude, scan.phase).run()
    expected = {key: slicer.util.arrayFromVolume(node).copy() for key, node in here.nodes.items()}
    kind, result = run_to_end(SeparationJob.prepare(slicer.mrmlScene, scan.magnitude, scan.phase)).ended[0]
    assert kind == "finished", result
    for key, node in result.nodes.items():
        assert np.array_equal(slicer.util.arrayFromVolume(node), expected[key]), key
    assert result.provenance["input"]["simulated"] == {"spacing_mm": 4.0, "seed": 1}


def test_job_holds_the_voxels_as_stored(program, tmp_path):
    job = small_job()
    body = f"np.save({str(tmp_path / 'seen.npy')!r}, np.load(folder / job['phase'])); sys.exit(9)"
    run_to_end(job, program(body))
    assert np.array_equal(np.load(tmp_path / "seen.npy"), np.stack(list(job.echoes.arrays("phase"))))


def test_progress_rises_and_lines_reach_the_log(program):
    body = """
tell(event="progress", fraction=0.5, message="Field")
print("not JSON")
print("to stderr", file=sys.stderr, flush=True)
tell(event="log", message="χ is fine")
sys.exit(9)
"""
    watched = run_to_end(small_job(), program(body))
    shares = [share for share, _ in watched.shares]
    assert shares == sorted(shares)
    assert watched.shares[-1][1] == "Field"
    assert {"not JSON", "to stderr", "χ is fine"} <= set(watched.lines)


def test_error_of_the_worker_comes_with_its_remedy(program):
    body = 'tell(event="error", message="It is too big.", remedy="Crop it.", exit_code=4); sys.exit(4)'
    kind, error = run_to_end(small_job(), program(body)).ended[0]
    assert kind == "failed"
    assert isinstance(error, MemoryLimitError)
    assert (error.message, error.remedy) == ("It is too big.", "Crop it.")


def test_crash_is_told_in_plain_words(program):
    kind, error = run_to_end(small_job(), program("os.abort()")).ended[0]
    assert kind == "failed"
    assert "ended unexpectedly" in error.message
    assert "memory" in error.remedy


def test_exit_without_a_word_is_a_failure(program):
    kind, error = run_to_end(small_job(), program("print('boo', file=sys.stderr); sys.exit(7)")).ended[0]
    assert kind == "failed"
    assert "exit code 7" in error.message
    assert "boo" in error.message


def test_end_without_maps_is_a_failure(program):
    assert run_to_end(small_job(), program("sys.exit(0)")).ended[0][0] == "failed"


def test_run_that_has_ended_keeps_nothing_of_its_inputs_and_callbacks(program):
    """PythonQt keeps slots alive, and with them the run: what it still holds would stay for the whole session."""
    job, watched = small_job(), Watched()
    run = SeparationRun(job, watched, program("sys.exit(3)"))
    wait_for(lambda: not run.isRunning)
    assert [how for how, _ in watched.ended] == ["failed"]
    kept = [weakref.ref(job), weakref.ref(watched)]
    del job, watched
    gc.collect()
    assert [each() for each in kept] == [None, None]


def test_missing_program_is_told(tmp_path):
    kind, error = run_to_end(small_job(), str(tmp_path / "no-such-python")).ended[0]
    assert kind == "failed"
    assert "could not be started" in error.message
    assert "no-such-python" in error.message


def test_cancel_ends_the_whole_tree_within_two_seconds(program, tmp_path):
    """The child starts a child of its own, and both refuse to end when they are asked to."""
    body = f"""
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import signal as s, time; s.signal(15, s.SIG_IGN); time.sleep(60)"])
Path({str(tmp_path / "pids")!r}).write_text(f"{{os.getpid()}} {{other.pid}}")
tell(event="progress", fraction=0.1, message="Working")
time.sleep(60)
"""
    watched = Watched()
    run = SeparationRun(small_job(), watched, program(body))
    wait_for(lambda: watched.shares and watched.shares[-1][1] == "Working")
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    began = time.monotonic()
    run.cancel()
    wait_for(lambda: watched.ended)
    wait_for(lambda: not any(is_alive(pid) for pid in pids))
    assert time.monotonic() - began < 2
    assert watched.ended == [("cancelled", None)]


@pytest.mark.parametrize(
    ("problem", "kind"),
    [(MemoryError(), MemoryLimitError), (RuntimeError("odd"), InputError), (OSError(28, ""), InputError)],
)
def test_whatever_stops_the_preparation_ends_the_run(monkeypatch, problem, kind):
    def fail(self, role):
        raise problem
        yield

    job = small_job()
    monkeypatch.setattr(type(job.echoes), "arrays", fail)
    ended, error = run_to_end(job).ended[0]
    assert ended == "failed"
    assert isinstance(error, kind)


@pytest.mark.parametrize(("problem", "kind"), [(MemoryError(), MemoryLimitError), (RuntimeError("odd"), InputError)])
def test_whatever_stops_the_delivery_ends_the_run(program, monkeypatch, problem, kind):
    def fail(*arguments):
        raise problem
        yield

    monkeypatch.setattr(SeparationJob, "deliver_steps", fail)
    body = """
(folder / "maps").mkdir()
(folder / "maps" / "provenance.json").write_text("{}")
tell(event="done", maps={}, provenance="provenance.json")
"""
    ended, error = run_to_end(small_job(), program(body)).ended[0]
    assert ended == "failed"
    assert isinstance(error, kind)


def test_images_are_written_echo_by_echo(tmp_path):
    """A memory map makes a file of the full size with nothing behind it, and a full disk then ends the application."""
    job = small_job()
    steps = write_job(tmp_path, job.echoes, {})
    next(steps)
    both_echoes = 2 * 4 * np.prod(GRID.shape)
    assert (tmp_path / "magnitude.npy").stat().st_size < both_echoes
    list(steps)
    assert np.array_equal(np.load(tmp_path / "magnitude.npy"), np.stack(list(job.echoes.arrays("magnitude"))))


def test_cancel_before_the_child_has_started():
    watched = Watched()
    run = SeparationRun(small_job(), watched)
    run.cancel()
    assert watched.ended == [("cancelled", None)]
    assert not run.isRunning


def test_closing_the_scene_ends_the_run(program, tmp_path):
    pid = tmp_path / "pid"
    body = f"Path({str(pid)!r}).write_text(str(os.getpid())); tell(event='log', message='up'); time.sleep(60)"
    watched = Watched()
    run = SeparationRun(small_job(), watched, program(body))
    wait_for(lambda: "up" in watched.lines)
    slicer.mrmlScene.Clear(0)
    assert not run.isRunning
    wait_for(lambda: not is_alive(int(pid.read_text())), seconds=2)
    assert watched.ended == [("cancelled", None)]
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def test_maps_of_removed_images_are_dropped(program):
    body = """
(folder / "maps").mkdir()
tell(event="log", message="up")
time.sleep(0.5)
np.save(folder / "maps" / "chi_para.npy", np.ones(np.load(folder / job["magnitude"]).shape[1:], "f4"))
(folder / "maps" / "provenance.json").write_text("{}")
tell(event="done", maps={"chi_para": "chi_para.npy"}, provenance="provenance.json")
"""
    job, watched = small_job(), Watched()
    SeparationRun(job, watched, program(body))
    wait_for(lambda: "up" in watched.lines)
    for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode"):
        slicer.mrmlScene.RemoveNode(node)
    wait_for(lambda: watched.ended)
    kind, error = watched.ended[0]
    assert kind == "failed"
    assert "removed" in error.message
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def test_temporary_folder_is_gone_afterwards(program, monkeypatch, tmp_path):
    monkeypatch.setattr(child_job.tempfile, "mkdtemp", lambda prefix: str(_made(tmp_path / "job χ")))
    run_to_end(small_job(), program("sys.exit(9)"))
    assert not (tmp_path / "job χ").exists()


def test_a72_events_pass_while_a_run_is_prepared_and_under_way(program):
    """A timer of 10 ms keeps ticking: the longest pause stays far below what a user notices as frozen."""
    import qt

    ticks = []
    timer = qt.QTimer()
    timer.setInterval(10)
    timer.connect("timeout()", lambda: ticks.append(time.monotonic()))
    timer.start()
    run_to_end(small_job(), program("time.sleep(0.5); sys.exit(9)"))
    timer.stop()
    assert len(ticks) > 10
    assert max(np.diff(ticks)) < 0.25


def test_only_one_error_names_the_phase_of_a_single_echo():
    magnitude = echo_sequence(slicer.mrmlScene, "m", np.ones((2, *GRID.shape)), GRID, TIMES, field_strength_t=3)
    with pytest.raises(InputError, match="No phase"):
        SeparationJob.prepare(slicer.mrmlScene, magnitude, None)


def test_python_of_this_process_is_used():
    assert process_runner.pythonExecutable() == sys.executable


def _made(path: Path) -> Path:
    path.mkdir()
    return path
