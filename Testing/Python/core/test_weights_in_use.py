"""Which network weights a run would take, told without torch: the set, its hashes, and what it lacks."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ChiSepExtension.networks import in_use, weight_store

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def empty_store(tmp_path, monkeypatch):
    """Nothing imported, nothing shipped."""
    monkeypatch.setenv(weight_store.ENVIRONMENT_VARIABLE, str(tmp_path / "store"))
    for module in (weight_store, in_use):
        monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")


def bundle(folder: Path, quantity: str = "r2star") -> Path:
    """A separation network that is fed with one map; its weights are three bytes."""
    folder.mkdir(parents=True)
    (folder / "separation.safetensors").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    card = {"role": "separation", "inputs": [{"quantity": quantity}], "base": None, "sha256": digest}
    (folder / "separation.card.json").write_text(json.dumps(card))
    return folder


def test_no_weights_is_a_problem_in_words():
    found = in_use.weights_in_use()
    assert found.problem.startswith("No weights are installed.")
    assert found.folder is None


def test_shipped_set_of_the_method_is_taken(tmp_path):
    for name in ("sepnet-r2prime", "sepnet-r2star"):
        bundle(tmp_path / "shipped" / name)
    found = in_use.weights_in_use(None, "sepnet-r2prime")
    assert found.title == "sepnet-r2prime (comes with the extension)"
    assert found.hashes == {"separation.safetensors": hashlib.sha256(b"abc").hexdigest()}


def test_set_fed_with_r2prime_cannot_do_without_it(tmp_path):
    """From R2* alone it needs a second network that predicts R2′."""
    folder = str(bundle(tmp_path / "mine", quantity="r2prime"))
    assert "predicts R2′ from R2*" in in_use.weights_in_use(folder, "sepnet-r2star").problem
    assert not in_use.weights_in_use(folder, "sepnet-r2prime").problem


def test_set_fed_with_r2star_needs_no_second_network(tmp_path):
    folder = str(bundle(tmp_path / "mine", quantity="r2star"))
    assert not in_use.weights_in_use(folder, "sepnet-r2star").problem


def test_one_changed_byte_is_found(tmp_path):
    folder = bundle(tmp_path / "mine")
    assert in_use.verify(folder)["problems"] == []
    (folder / "separation.safetensors").write_bytes(b"abd")
    assert in_use.verify(folder)["problems"] == ["separation.safetensors is not the file that was imported or shipped"]


def test_question_is_answered_by_a_child_process(tmp_path):
    """As the panel asks it: the last line on stdout is the answer, whatever the folder is called."""
    folder = bundle(tmp_path / "mine χ")
    command = [sys.executable, str(REPOSITORY / "ChiSepExtension/query.py"), "weights-verify", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["answer"]["problems"] == []


def test_error_of_a_question_comes_with_its_remedy(tmp_path):
    command = [
        sys.executable,
        str(REPOSITORY / "ChiSepExtension/query.py"),
        "weights-import",
        str(tmp_path / "nowhere"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert "no folder of weights" in error["message"]
    assert error["remedy"]
    assert done.returncode == 5
