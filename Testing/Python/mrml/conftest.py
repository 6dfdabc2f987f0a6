"""Tests on Slicer's real scene, without Qt and without OpenGL; skipped with the reason where slicer-core is absent."""

from __future__ import annotations

import chisep_testhost
from chisep_testhost.pytest_hooks import (  # noqa: F401 - pytest finds hooks and fixtures by name
    clean_scene,
    host,
    pytest_configure,
    pytest_pyfunc_call,
    skip_hook,
)

if reason := chisep_testhost.unavailable_reason():
    pytest_pycollect_makemodule = skip_hook(reason)
else:
    chisep_testhost.start()  # test files import `slicer.parameterNodeWrapper` and friends at their top
