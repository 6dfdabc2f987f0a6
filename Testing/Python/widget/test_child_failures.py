"""However the child process ends, Slicer stays, the scene stays, and the user is told in plain words."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import slicer
from slicer.util import arrayFromVolume

from ChiSepExtension.mrml.job import PACKAGE_ROOT
from ChiSepExtension.ui import child_job
from Testing.Python.widget.panel_case import choose_scan, make_program, open_module, wait_for_run, wait_until

#: Reports like the worker, passes the input check, and writes its process number where the test finds it.
PRELUDE = """
import json, os, sys, time
from pathlib import Path
here, job = Path(sys.argv[0]).parent, json.loads(Path(sys.argv[2]).read_text())
def tell(**event):
    print(json.dumps(event), flush=True)
os.setsid()
(here / "pid").write_text(str(os.getpid()))
tell(event="started", pid=os.getpid())
if job["task"] == "check":
    tell(event="done", gate={"rows": []})
    sys.exit(0)
tell(event="progress", fraction=0.4, message="Background field")
"""


@pytest.fixture
def widget(host):
    """The panel with a scan, and beside it a volume that somebody is working on."""
    widget = open_module()
    choose_scan(widget)
    work = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "unsaved work")
    slicer.util.updateVolumeFromArray(work, arrayFromVolume(widget.panel.parameters.phase.GetNthDataNode(0)).copy())
    return widget


def run(widget, monkeypatch, folder: Path, body: str) -> None:
    program = make_program(folder, PRELUDE + body)
    monkeypatch.setattr(child_job, "pythonExecutable", lambda: str(program))
    widget.ui.applyButton.click()


def assert_nothing_is_lost(widget) -> None:
    assert [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")] == ["unsaved work"]
    assert widget.ui.applyButton.text == "Apply"
    assert widget.ui.applyButton.enabled
    assert not widget.ui.progressBar.isVisibleTo(widget.parent)


def test_killed_child(widget, monkeypatch, tmp_path):
    """As the system does when the memory is full."""
    run(widget, monkeypatch, tmp_path, "time.sleep(60)")
    wait_until(lambda: widget.ui.stageLabel.text.startswith("Background field"))
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    wait_for_run(widget)
    assert widget.ui.messageLabel.text.startswith("The computation ended unexpectedly.")
    assert "memory was full" in widget.ui.messageLabel.text
    assert_nothing_is_lost(widget)


def test_crashing_child(widget, monkeypatch, tmp_path):
    run(widget, monkeypatch, tmp_path, "import ctypes; ctypes.string_at(0)")
    wait_for_run(widget)
    assert widget.ui.messageLabel.text.startswith("The computation ended unexpectedly.")
    assert_nothing_is_lost(widget)


def test_hanging_child_is_told_and_can_be_cancelled(widget, monkeypatch, tmp_path):
    monkeypatch.setattr(child_job, "SILENCE_S", 1.0)
    run(widget, monkeypatch, tmp_path, "signal = __import__('signal'); signal.pause()")
    wait_until(lambda: widget.ui.stageLabel.text.startswith("No news from the computation"))
    assert widget.panel.run.isRunning  # it may still be at work: nobody ends it but the user
    widget.ui.applyButton.click()
    wait_for_run(widget)
    assert widget.ui.stageLabel.text.startswith("Cancelled")
    assert_nothing_is_lost(widget)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on memory is one of Linux")
def test_memory_exhausted_child(widget, monkeypatch, tmp_path):
    """The real worker, which may have 256 MB more than it needs to start and then asks for 2 GB."""
    body = f"""
import resource, runpy
sys.path.insert(0, {str(PACKAGE_ROOT)!r})
import numpy, ChiSepExtension.pipeline
from ChiSepExtension.acquisition.gradient_echo import GradientEchoSeries
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 28), size + (1 << 28)))
GradientEchoSeries.validate = lambda self: numpy.ones(1 << 28)
sys.argv = sys.argv[1:]
os.setsid = lambda: None
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    run(widget, monkeypatch, tmp_path, body)
    wait_for_run(widget)
    assert "not enough memory" in widget.ui.messageLabel.text
    assert_nothing_is_lost(widget)


def test_library_that_ends_the_child_for_lack_of_memory(widget, monkeypatch, tmp_path):
    """OpenBLAS does not raise: it writes a line and ends the process."""
    body = "print('OpenBLAS error: Memory allocation still failed', file=sys.stderr, flush=True); os._exit(1)"
    run(widget, monkeypatch, tmp_path, body)
    wait_for_run(widget)
    assert widget.ui.messageLabel.text.startswith("There was not enough memory for this run.")
    assert_nothing_is_lost(widget)


def test_child_that_prints_anything_else_is_not_misread(widget, monkeypatch, tmp_path):
    run(widget, monkeypatch, tmp_path, "print('null'); print('[1]'); print('{\"event\": 3}'); sys.exit(5)")
    wait_for_run(widget)
    assert "exit code 5" in widget.ui.messageLabel.text
    assert_nothing_is_lost(widget)


def test_no_message_names_a_flag_of_the_command_line(widget, monkeypatch, tmp_path):
    body = (
        'tell(event="error", message="No brain was found.", remedy="Give a mask (--mask).", exit_code=2); sys.exit(2)'
    )
    run(widget, monkeypatch, tmp_path, body)
    wait_for_run(widget)
    assert widget.ui.messageLabel.text == "No brain was found. Give a mask."
