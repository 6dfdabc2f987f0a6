"""The examples of README.md run as they stand there, on a coarse simulated head."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from ChiSepExtension.cli import main
from ChiSepExtension.volume_io import read_volume, write_volume

README = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
#: Voxels of 3 mm instead of 1.5 mm: eight times fewer, a run takes about 2 s.
COARSE_MM = 3


#: 3 mm is too coarse for the check of the inputs.
COARSE = ["--override", "coarse voxels for the speed of a test"]


def block(section: str, language: str) -> str:
    """The code blocks of one language below a heading of README.md, one after the other."""
    text = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL).group(1)
    return "".join(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))


def commands() -> list[list[str]]:
    """Every `chisep …` line of the console blocks as arguments; continued lines joined, comments left out."""
    lines = block("Command line", "console").replace("\\\n", " ").splitlines()
    return [shlex.split(line.removeprefix("$ chisep "), comments=True) for line in lines if line.startswith("$ chisep")]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """Folder in which the example's `chisep simulate` has run."""
    folder = tmp_path_factory.mktemp("simulated")
    (simulate,) = (arguments for arguments in commands() if arguments[0] == "simulate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([word if word != "1.5" else str(COARSE_MM) for word in simulate]) == 0
    return folder


@pytest.fixture
def folder(simulated, tmp_path, monkeypatch) -> Path:
    """Working directory of one example, with the simulated head in it."""
    shutil.copytree(simulated, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def documented_files() -> set[str]:
    """File names in the first column of the table of outputs."""
    rows = re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w.-]+\.\w+)`", row)}


def test_run_writes_what_the_table_lists(folder):
    (separate,) = (arguments for arguments in commands() if arguments[:2] == ["run", "phantom"])
    assert main([*separate, *COARSE]) == 0
    written = {path.name for path in (folder / "maps").iterdir()}
    # The scene needs slicer-core, which this layer does without.
    assert documented_files() - {"scene.mrb"} <= written


def test_separate_files_with_a_mask(folder):
    """mag.nii.gz and phase.nii.gz are 4-D; the simulation's echo times are those of the example."""
    for name in ("mag", "phase"):
        paths = sorted((folder / "phantom/sub-01/anat").glob(f"*_part-{name}_MEGRE.nii.gz"))
        echoes, grids = zip(*(read_volume(path) for path in paths))
        write_volume(folder / f"{name}.nii.gz", np.stack(echoes), grids[0])
    (truth,) = (folder / "phantom/derivatives").rglob("brain_mask.nii.gz")
    write_volume(folder / "brain.nii.gz", *read_volume(truth))
    write_volume(folder / "r2.nii.gz", *read_volume(folder / "phantom/sub-01/anat/sub-01_R2map.nii.gz"))
    (separate,) = (arguments for arguments in commands() if "--magnitude" in arguments)
    assert main([*separate, *COARSE]) == 0
    assert (folder / "maps" / "desc-paramagnetic_Chimap.nii.gz").is_file()


def test_python_library(folder):
    """In ppm: the simulation has 0.05 to 0.15 in deep nuclei, more in veins; voxels of 3 mm leave 0.04 at least."""
    names = {}
    exec(block("Python library", "python"), names)
    result = names["result"]
    assert result.chi_para.shape == result.grid.shape
    assert 0.04 < result.chi_para.max() < 1
    assert any("R2" in warning for warning in result.warnings)


def test_every_command_is_known_here():
    """A new line of the README needs a test of its own; demo is the second and the third in one, at full resolution."""
    assert [arguments[0] for arguments in commands()] == ["demo", "simulate", "run", "run"]
