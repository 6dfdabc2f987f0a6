"""Shared fixtures of the core tests."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder with reference data that may not be committed; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("CHISEP_REFERENCE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("reference data not found: set CHISEP_REFERENCE_DATA to its folder")
    return folder
