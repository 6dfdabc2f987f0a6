"""Tests of the module's panel on the offscreen platform of Qt; skipped with the reason where a library is missing."""

from __future__ import annotations

import chisep_testhost
from chisep_testhost.pytest_hooks import (  # noqa: F401 - pytest finds hooks and fixtures by name
    clean_scene,
    host,
    pytest_configure,
    pytest_pyfunc_call,
    skip_hook,
)

if reason := chisep_testhost.unavailable_reason(gui=True):
    pytest_pycollect_makemodule = skip_hook(reason)
else:
    chisep_testhost.start(gui=True)
