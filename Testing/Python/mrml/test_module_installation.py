"""The module file finds its package: in Slicer's flat folder, in a checkout, and not at all when it was copied alone.

Each case is a process of its own with the stand-in application and slicer-core, in which ChiSepExtension is on no path
(`-S` leaves out what pip installed as editable).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]

LOAD = """
import sys
import chisep_testhost
chisep_testhost.start()
chisep_testhost.load_module(sys.argv[1])
import ChiSepExtension
sys.stdout.write("FOUND " + ChiSepExtension.__file__ + "\\n")
"""


def load_module(module_file: Path, folder: Path, *search: Path, code: str = LOAD) -> subprocess.CompletedProcess:
    """Load a module file as Slicer does, which puts its folder on the path, and say where its package came from."""
    paths = [REPOSITORY / "Testing/host", *search, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONUTF8": "1"}
    command = [sys.executable, "-S", "-c", code, str(module_file)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def package_file(result: subprocess.CompletedProcess) -> Path:
    found = [line.removeprefix("FOUND ") for line in result.stdout.splitlines() if line.startswith("FOUND ")]
    assert found, result.stderr
    return Path(found[0])


def copy_folder(name: str, target: Path) -> Path:
    return shutil.copytree(REPOSITORY / name, target, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def empty(tmp_path) -> Path:
    """Working directory that holds nothing."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_module_path_of_a_checkout(empty):
    """Developers add `<repository>/ChiSepModule` in Slicer's settings; the package lies one folder up."""
    result = load_module(REPOSITORY / "ChiSepModule/ChiSepModule.py", empty)
    assert package_file(result) == REPOSITORY / "ChiSepExtension/__init__.py"


@pytest.mark.parametrize("library", ["PIL", "scipy", "torch", "SimpleITK", "pydicom"])
def test_module_loads_without_the_libraries_of_single_functions(empty, library):
    """Slicer loads the module at its start: what only a run or a picture needs must neither delay nor prevent that."""
    code = LOAD.replace("chisep_testhost.load", f"sys.modules[{library!r}] = None\nchisep_testhost.load")
    result = load_module(REPOSITORY / "ChiSepModule/ChiSepModule.py", empty, code=code)
    assert package_file(result) == REPOSITORY / "ChiSepExtension/__init__.py"


def test_flat_folder_of_an_installed_extension(tmp_path, empty):
    flat = copy_folder("ChiSepModule", tmp_path / "qt-scripted-modules")
    copy_folder("ChiSepExtension", flat / "ChiSepExtension")
    assert package_file(load_module(flat / "ChiSepModule.py", empty)) == flat / "ChiSepExtension/__init__.py"


def test_checkout_folder_of_the_same_name_on_the_path(tmp_path, empty):
    """A folder `ChiSepExtension` without __init__.py looks like a namespace package and must not be taken for ours."""
    checkout = tmp_path / "ChiSepExtension"
    module = copy_folder("ChiSepModule", checkout / "ChiSepModule")
    copy_folder("ChiSepExtension", checkout / "ChiSepExtension")
    result = load_module(module / "ChiSepModule.py", empty, tmp_path)
    assert package_file(result) == checkout / "ChiSepExtension/__init__.py"


def test_module_folder_copied_alone_says_what_is_missing(tmp_path, empty):
    module = copy_folder("ChiSepModule", tmp_path / "alone/ChiSepModule")
    result = load_module(module / "ChiSepModule.py", empty)
    last_line = result.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ImportError: The folder ChiSepExtension is missing")
    assert "copy the whole extension" in last_line


def test_mrml_ring_imports_on_slicer_core_without_qt(empty):
    """Ring 1 needs the wheel alone: no stand-in application, no Qt, no torch."""
    modules = sorted(
        path.stem for path in (REPOSITORY / "ChiSepExtension/mrml").glob("*.py") if path.stem != "__init__"
    )
    assert modules
    code = "import sys, importlib, slicer\n"
    code += "sys.modules.update(dict.fromkeys(['qt', 'ctk', 'PySide6', 'torch']))\n"  # None: importing raises
    code += f"for name in {modules}: importlib.import_module('ChiSepExtension.mrml.' + name)\n"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
