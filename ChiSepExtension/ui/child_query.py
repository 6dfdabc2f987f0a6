"""One question to a child process, one answer: devices, weights; never in the application itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from ..errors import ChiSepError, InputError, without_command_line
from ..mrml.job import PACKAGE_ROOT
from . import child_job
from .process_runner import ProcessRunner


class ChildQuery:
    """Asks `ChiSepExtension.query`; exactly one of the callbacks comes, on the GUI thread.

    Parameters
    ----------
    question, arguments
        See `query.QUESTIONS`.
    answered
        Gets what the question's function returned.
    failed
        Gets a `ChiSepError`.
    """

    def __init__(
        self,
        question: str,
        arguments: list[str],
        answered: Callable[[Any], None],
        failed: Callable[[ChiSepError], None],
    ) -> None:
        self._question, self._answered, self._failed = question, answered, failed
        self._reply: dict[str, Any] = {}
        self._lastError = ""
        self._runner = ProcessRunner(self._readLine, self._readErrorLine, self._ended)
        script = PACKAGE_ROOT / "ChiSepExtension" / "query.py"
        self._runner.start(child_job.pythonExecutable(), [str(script), question, *arguments])

    @property
    def isRunning(self) -> bool:
        return self._runner.isRunning

    def abandon(self) -> None:
        """Kill and forget; no callback comes."""
        self._runner.abandon()

    def _readLine(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            logging.info(line)
            return
        if isinstance(event, dict) and "pid" in event:
            self._runner.setGroupLeader(event["pid"])
        elif isinstance(event, dict):
            self._reply = event

    def _readErrorLine(self, line: str) -> None:
        self._lastError = line or self._lastError
        logging.info(line)

    def _ended(self, exitCode: int, problem: str) -> None:
        if "answer" in self._reply:
            self._answered(self._reply["answer"])
        elif "error" in self._reply:
            said = {name: without_command_line(text) for name, text in self._reply["error"].items()}
            self._failed(InputError(said.get("message", ""), said.get("remedy", "")))
        else:
            message = problem or f"The process ended with exit code {exitCode}. {self._lastError}"
            self._failed(InputError(f"“{self._question}” was not answered. {message}", "The log has the details."))
