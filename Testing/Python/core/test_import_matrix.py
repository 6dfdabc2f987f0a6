"""The package is found wherever it is used from: checkout, command line, child process, pip and Slicer's flat folder.

Each way is tried in a process of its own that knows no other: without the packages that pip installed as editable,
without PYTHONPATH, and from a folder that holds nothing. How the module file finds the package is tested on the scene
(mrml/test_module_installation.py).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import ChiSepExtension

REPOSITORY = Path(__file__).resolve().parents[3]

specification = importlib.util.spec_from_file_location(
    "update_cmake_lists", REPOSITORY / "Testing/update_cmake_lists.py"
)
update_cmake_lists = importlib.util.module_from_spec(specification)
specification.loader.exec_module(update_cmake_lists)


@pytest.fixture(scope="module")
def flat_folder(tmp_path_factory) -> Path:
    """`qt-scripted-modules` of an installed Slicer: module files flat, the package a folder beside them (WITH_SUBDIR).

    Copied from what the CMakeLists.txt files list, nothing else; the folder's name has a space and is not ASCII.
    """
    folder = tmp_path_factory.mktemp("Slicer ünïcode") / "qt-scripted-modules"
    for name, subfolder in (("ChiSepExtension", "ChiSepExtension"), ("ChiSepModule", "")):
        lists = update_cmake_lists.read_lists((REPOSITORY / name / "CMakeLists.txt").read_text(encoding="utf-8"))
        for file in (file for files in lists.values() for file in files):
            target = folder / subfolder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name / file, target)
    return folder


def run_python(arguments: list[str], path: Path, folder: Path) -> subprocess.CompletedProcess:
    """A Python that finds third-party packages and `path`, and ChiSepExtension nowhere else.

    `-S` leaves out site-packages with its editable installs; the folder itself is put back by PYTHONPATH.
    """
    search = os.pathsep.join([str(path), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    environment = os.environ | {"PYTHONPATH": search, "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


WHERE = "import ChiSepExtension.pipeline as module; print(module.__file__)"


def test_interpreter_of_these_tests_finds_no_package_by_itself(tmp_path):
    """Otherwise every test below would pass for the wrong reason."""
    result = run_python(["-c", "import ChiSepExtension"], tmp_path, tmp_path)
    assert "No module named 'ChiSepExtension'" in result.stderr


def test_pytest_uses_the_checkout():
    assert Path(ChiSepExtension.__file__) == REPOSITORY / "ChiSepExtension/__init__.py"


def test_checkout_on_the_path(tmp_path):
    result = run_python(["-c", WHERE], REPOSITORY, tmp_path)
    assert result.stdout.strip() == str(REPOSITORY / "ChiSepExtension/pipeline.py"), result.stderr


def test_flat_slicer_folder_on_the_path(flat_folder, tmp_path):
    result = run_python(["-c", WHERE], flat_folder, tmp_path)
    assert result.stdout.strip() == str(flat_folder / "ChiSepExtension/pipeline.py"), result.stderr


@pytest.mark.parametrize("installed", [False, True], ids=["checkout", "flat"])
def test_python_dash_m(installed, flat_folder, tmp_path):
    result = run_python(["-m", "ChiSepExtension", "--version"], flat_folder if installed else REPOSITORY, tmp_path)
    assert result.returncode == 0, result.stderr
    assert ChiSepExtension.__version__ in result.stdout


@pytest.mark.parametrize("installed", [False, True], ids=["checkout", "flat"])
def test_worker_started_by_its_path_finds_the_package_from_the_job(installed, flat_folder, tmp_path):
    """As Slicer starts it: the package is on no path, the job names the folder that holds it.

    The job has two echoes and one echo time: refusing it as an input error takes the package and no computing.
    """
    root = flat_folder if installed else REPOSITORY
    for name in ("magnitude", "phase"):
        np.save(tmp_path / f"{name}.npy", np.ones((2, 4, 4, 4), np.float32))
    job = {
        "package_root": str(root),
        "magnitude": "magnitude.npy",
        "phase": "phase.npy",
        "phase_scaling": "radians",
        "echo_times_s": [0.005],
        "field_strength_t": 3.0,
        "ijk_to_ras": np.eye(4).tolist(),
    }
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    worker = str(root / "ChiSepExtension/worker.py")
    result = run_python([worker, str(tmp_path / "job.json")], tmp_path, tmp_path)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 2, result.stderr
    assert events[-1]["event"] == "error"
    assert "echo time" in events[-1]["message"]


def test_installed_command_is_there():
    """`chisep`, as pip installs it."""
    command = Path(sysconfig.get_path("scripts")) / "chisep"
    if not command.exists():
        pytest.skip("the package is not installed in this environment (pip install -e .); `make test` installs it")
    result = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60)
    assert ChiSepExtension.__version__ in result.stdout
