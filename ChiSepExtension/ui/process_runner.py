"""A child process read line by line, whose whole tree can be ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import qt
import slicer

#: The child has this long to end by itself after it was asked to; then it is killed. Cancel is promised in 2 s.
KILL_AFTER_MS = 1000


def pythonExecutable() -> str:
    """The Python that can import what Slicer's own can: PythonSlicer, which `sys.executable` is inside Slicer."""
    if Path(sys.executable or "").name.lower().startswith("python"):
        return sys.executable
    found = shutil.which("PythonSlicer")
    return found or str(Path(slicer.app.slicerHome) / "bin" / "PythonSlicer")


class ProcessRunner:
    """Runs one program; all callbacks come on the GUI thread.

    Parameters
    ----------
    onLine
        One line of the program's standard output, without its end.
    onErrorLine
        One line of its standard error.
    onEnd
        ``onEnd(exitCode, problem)``, exactly once: ``problem`` is empty after a normal exit, else it says in plain
        words that the program was not found or crashed.
    """

    def __init__(
        self,
        onLine: Callable[[str], None],
        onErrorLine: Callable[[str], None],
        onEnd: Callable[[int, str], None],
    ) -> None:
        self._onLine, self._onErrorLine, self._onEnd = onLine, onErrorLine, onEnd
        self._process = None
        self._pending = {"out": b"", "err": b""}
        self._groupLeader = 0
        self._killTimer = None
        self._hasStarted = self._ended = False

    @property
    def isRunning(self) -> bool:
        return self._process is not None and not self._ended

    def start(self, program: str, arguments: Sequence[str]) -> None:
        """Start the program; whether it could be started comes through `onEnd`."""
        process = qt.QProcess()
        process.setProcessChannelMode(qt.QProcess.SeparateChannels)
        process.connect("started()", self._started)
        process.connect("readyReadStandardOutput()", self._readOutput)
        process.connect("readyReadStandardError()", self._readError)
        process.connect("finished(int,QProcess::ExitStatus)", self._finished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._failed)
        self._process = process
        process.start(str(program), [str(argument) for argument in arguments])

    def setGroupLeader(self, pid: int) -> None:
        """The process that leads the child's own group. Slicer's launcher stands between us and the real Python."""
        self._groupLeader = int(pid)

    def stop(self) -> None:
        """Ask the whole tree to end, and kill what is left after a second. `onEnd` still comes."""
        if not self.isRunning:
            return
        self._signalTree(terminate=True)
        if self._killTimer is None:
            self._killTimer = qt.QTimer()
            self._killTimer.setSingleShot(True)
            self._killTimer.connect("timeout()", self.kill)
        self._killTimer.start(KILL_AFTER_MS)

    def kill(self) -> None:
        """End the whole tree at once."""
        if not self.isRunning:
            return
        self._signalTree(terminate=False)
        self._process.kill()

    def abandon(self) -> None:
        """Kill and forget: no callback comes any more. For closing scenes, reloads and Slicer's exit."""
        self._onLine = self._onErrorLine = lambda line: None
        self._onEnd = lambda code, problem: None
        if self.isRunning:
            self.kill()
            self._process.waitForFinished(1000)
            self._ended = True
        self._stopTimer()

    def _signalTree(self, terminate: bool) -> None:
        leader = self._groupLeader
        if os.name == "nt":
            pid = leader or int(self._process.processId())
            if pid:
                subprocess.run(
                    ["taskkill", "/T", "/F", "/PID", str(pid)],
                    capture_output=True,
                    check=False,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
            return
        if not leader:  # not yet reported: it has no children either
            if terminate:
                self._process.terminate()
            return
        try:
            # Only a group of its own: a pid that leads none would mean ours.
            if os.getpgid(leader) == leader and leader != os.getpgrp():
                os.killpg(leader, signal.SIGTERM if terminate else signal.SIGKILL)
            else:
                os.kill(leader, signal.SIGTERM if terminate else signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # it has ended in the meantime

    def _readOutput(self) -> None:
        self._split("out", self._process.readAllStandardOutput().data(), self._onLine)

    def _readError(self) -> None:
        self._split("err", self._process.readAllStandardError().data(), self._onErrorLine)

    def _split(self, channel: str, data: bytes, receive: Callable[[str], None]) -> None:
        *lines, self._pending[channel] = (self._pending[channel] + bytes(data)).split(b"\n")
        for line in lines:
            receive(line.decode("utf-8", errors="replace").rstrip("\r"))

    def _started(self) -> None:
        self._hasStarted = True

    def _failed(self, *_error) -> None:
        # A program that could not be started never comes to `finished`; after every other error `finished` follows.
        if not self._hasStarted:
            self._end(
                -1, f"The program could not be started: {self._process.program()} ({self._process.errorString()})."
            )

    def _finished(self, exitCode, *_status) -> None:
        self._readOutput()
        self._readError()
        for channel, receive in (("out", self._onLine), ("err", self._onErrorLine)):
            if self._pending[channel]:
                self._split(channel, b"\n", receive)
        crashed = self._process.exitStatus() != qt.QProcess.NormalExit
        self._end(int(exitCode), f"The program ended unexpectedly (signal or code {exitCode})." if crashed else "")

    def _end(self, exitCode: int, problem: str) -> None:
        if self._ended:
            return
        self._ended = True
        self._stopTimer()
        self._onEnd(exitCode, problem)

    def _stopTimer(self) -> None:
        if self._killTimer is not None:
            self._killTimer.stop()
