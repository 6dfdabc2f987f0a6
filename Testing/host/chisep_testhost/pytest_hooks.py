"""Test code: what the conftest files of the scene and the widget layer share.

Boots the stand-in application once, closes the scene after every test, turns exceptions in observers or slots and VTK
errors into failures of the test that caused them, and fails a test that leaves an observer, a keyboard shortcut or a
child process behind.
"""

from __future__ import annotations

import pytest

from . import errors, runtime
from .leftovers import observer_counts, shortcuts, surviving_children


def pytest_configure(config) -> None:
    config.addinivalue_line("markers", "expects_message(*texts): errors containing these texts are expected")


def skip_hook(reason: str):
    """A `pytest_pycollect_makemodule` that skips test files which could not even be imported here."""

    class SkippedModule(pytest.Module):
        def collect(self):
            pytest.skip(reason, allow_module_level=True)

    def pytest_pycollect_makemodule(module_path, parent):
        return SkippedModule.from_parent(parent, path=module_path)

    return pytest_pycollect_makemodule


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    allowed = [text for mark in pyfuncitem.iter_markers("expects_message") for text in mark.args]
    with errors.strict(allow=allowed):
        return (yield)


@pytest.fixture(scope="session")
def host():
    """The running stand-in application."""
    return runtime.start()


@pytest.fixture(autouse=True)
def clean_scene(host):
    """Every test starts and ends with an empty scene and leaves nothing behind."""
    host.reset()
    before = observer_counts()
    yield
    host.reset()
    left = {place: n for place, n in observer_counts().items() if n > before.get(place, 0)}
    assert not left, f"observers left behind: {left}"
    assert not shortcuts(host), f"keyboard shortcuts left behind: {shortcuts(host)}"
    children = surviving_children()
    assert not children, f"child processes left behind: {children}"
