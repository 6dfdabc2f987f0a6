"""Tests on Slicer's real scene: boots the stand-in application once, closes the scene after every test.

Exceptions in observers and VTK errors fail the test that caused them; `@pytest.mark.expects_message("text")` allows a
message. An observer that outlives its test fails it as well.
"""

from __future__ import annotations

import chisep_testhost
import pytest

REASON = chisep_testhost.unavailable_reason()


def pytest_configure(config):
    config.addinivalue_line("markers", "expects_message(*texts): VTK messages containing these texts are expected")


class SkippedModule(pytest.Module):
    """A test file that cannot even be imported here."""

    def collect(self):
        pytest.skip(REASON, allow_module_level=True)


if REASON:

    def pytest_pycollect_makemodule(module_path, parent):
        return SkippedModule.from_parent(parent, path=module_path)

else:
    chisep_testhost.start()  # test files import `slicer.parameterNodeWrapper` and friends at their top


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    allowed = [text for mark in pyfuncitem.iter_markers("expects_message") for text in mark.args]
    with chisep_testhost.strict(allow=allowed):
        return (yield)


@pytest.fixture(scope="session")
def host():
    """The running stand-in application."""
    return chisep_testhost.start()


@pytest.fixture(autouse=True)
def clean_scene(host):
    """Every test starts and ends with an empty scene and leaves no observer behind."""
    from chisep_testhost.observers import observer_counts

    host.reset()
    before = observer_counts()
    yield
    host.reset()
    left = {place: n for place, n in observer_counts().items() if n > before.get(place, 0)}
    assert not left, f"observers left behind: {left}"
