"""Method, device, weights, preview and quality: what can be chosen, why not, and what a click does."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import qt
import slicer
from slicer.util import arrayFromVolume

from ChiSepExtension.mrml.layout import composite_of
from ChiSepExtension.mrml.verdict import verdict_of
from ChiSepExtension.mrml.volumes import set_array
from ChiSepExtension.networks import weight_store
from ChiSepExtension.separation.closed_form import closed_form
from ChiSepExtension.ui import child_job, method_panel, torch_install
from Testing.Python.widget.panel_case import (
    ANSWERS,
    GRID,
    apply_and_wait,
    choose_scan,
    make_program,
    open_module,
    wait_until,
)

#: Answers questions about devices and weights, and does what it is told with a bundle.
REPLIES = """
import json, sys
question = sys.argv[2]
answers = {
    "devices": {"devices": [
        {"name": "cuda:0", "description": "NVIDIA RTX A4000", "free_bytes": 14200000000, "total_bytes": 16000000000},
        {"name": "cpu", "description": "Some CPU, 8 cores", "free_bytes": 9000000000, "total_bytes": 16000000000},
    ], "torch_version": "2.4", "problem": ""},
    "weights-verify": {"hashes": {"a.safetensors": "ab"}, "problems": ["a.safetensors is not the file"]},
}
print(json.dumps({"answer": answers[question]}))
"""


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store of weights, and no shipped ones."""
    monkeypatch.setenv(weight_store.ENVIRONMENT_VARIABLE, str(tmp_path / "store"))
    monkeypatch.setattr(weight_store, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "store"


@pytest.fixture
def widget(host, store):
    return open_module()


def stand_in(monkeypatch, folder, body) -> None:
    program = make_program(folder, body)
    monkeypatch.setattr(child_job, "pythonExecutable", lambda: str(program))


def r2_map():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "R2map")
    set_array(node, np.full(GRID.shape, 13, np.float32), GRID)
    return node


def bundle(folder, roles=("qsm", "separation"), quantity="r2star"):
    """Cards of a bundle without its weights: enough to be listed."""
    folder.mkdir(parents=True)
    for role in roles:
        card = {"role": role, "inputs": [{"quantity": quantity}], "base": None, "sha256": f"{role}-0123456789abcdef"}
        (folder / f"{role}.card.json").write_text(json.dumps(card))
    return folder


def item_texts(box) -> list[str]:
    return [box.itemText(n) for n in range(box.count)]


def is_enabled(box, text: str) -> bool:
    """Whether a user can choose the item that begins with a text."""
    index = next(n for n, each in enumerate(item_texts(box)) if each.startswith(text))
    return bool(box.model().flags(box.model().index(index, 0)) & qt.Qt.ItemIsEnabled)


def tool_tip(box, text: str) -> str:
    index = next(n for n, each in enumerate(item_texts(box)) if each.startswith(text))
    return box.itemData(index, qt.Qt.ToolTipRole)


def test_no_raw_name_is_shown(widget):
    raw = {"sepnet-r2prime", "closed-form", "constant-r2", "auto", "overlay", "r2star-qsm"}
    ui = widget.ui
    for box in (ui.methodComboBox, ui.deviceComboBox, ui.r2primeFallbackComboBox, ui.styleComboBox, ui.verdictComboBox):
        assert not raw & set(item_texts(box))


def test_method_whose_input_is_missing_is_grey_with_the_reason(widget, tmp_path, monkeypatch):
    monkeypatch.setattr(weight_store, "SHIPPED", tmp_path / "ships")
    bundle(tmp_path / "ships" / "own")
    choose_scan(widget)
    widget.panel.weightsChanged()
    box = widget.ui.methodComboBox
    assert not is_enabled(box, "χ-sepnet-R2′")
    assert "measured R2" in tool_tip(box, "χ-sepnet-R2′")
    assert is_enabled(box, "χ-sepnet-R2*")
    widget.ui.r2Selector.setCurrentNode(r2_map())
    assert is_enabled(box, "χ-sepnet-R2′")


def test_networks_are_grey_without_weights(widget, tmp_path, monkeypatch):
    monkeypatch.setattr(weight_store, "SHIPPED", tmp_path / "nothing")
    choose_scan(widget)
    widget.panel.weightsChanged()
    assert not is_enabled(widget.ui.methodComboBox, "χ-sepnet-R2*")
    assert tool_tip(widget.ui.methodComboBox, "χ-sepnet-R2*") == "No weights are installed. Import them once."
    assert is_enabled(widget.ui.methodComboBox, "Closed form")


def test_missing_weights_are_told_without_the_command_line(widget, tmp_path, monkeypatch):
    monkeypatch.setattr(weight_store, "SHIPPED", tmp_path / "nothing")
    choose_scan(widget)
    widget.panel.weightsChanged()
    widget.ui.weightsVerifyButton.click()
    assert widget.ui.weightsMessage.text == "No weights are installed. Import them once."


def test_missing_torch_is_told_without_flags_of_a_program(monkeypatch):
    monkeypatch.setattr(torch_install, "hasPackage", lambda name: False)
    told = torch_install.missingForNetworks()
    assert "PyTorch extension" in told and "README" in told
    assert "--" not in told and "pip" not in told


def test_weights_that_lack_a_network_are_told(widget, tmp_path):
    folder = bundle(tmp_path / "mine", roles=("qsm", "separation"), quantity="r2prime")
    choose_scan(widget)
    widget.ui.weightsPath.currentPath = str(folder)
    assert "lack the network that predicts R2′" in tool_tip(widget.ui.methodComboBox, "χ-sepnet-R2*")


def test_hash_of_the_weights_in_use_is_shown(widget, tmp_path, monkeypatch):
    monkeypatch.setattr(method_panel, "missingForNetworks", lambda: "no torch here")
    choose_scan(widget)
    widget.ui.weightsPath.currentPath = str(bundle(tmp_path / "mine"))
    widget.panel.parameters.method = "sepnet-r2star"
    assert "mine (a folder of your own)" in widget.ui.weightsLabel.text
    assert "separation.safetensors separation-0…" in widget.ui.weightsLabel.text
    assert "no torch here" in widget.ui.methodLabel.text


def test_devices_come_from_a_child_with_name_and_free_memory(widget, tmp_path, monkeypatch):
    stand_in(monkeypatch, tmp_path, REPLIES)
    widget.panel.method.askDevices()
    wait_until(lambda: widget.ui.deviceComboBox.count == 3)
    assert "NVIDIA RTX A4000 · 14.2 GB free (cuda:0)" in item_texts(widget.ui.deviceComboBox)
    widget.ui.deviceComboBox.setCurrentIndex(1)
    assert widget.panel.parameters.device == "cuda:0"


def test_device_of_another_computer_stays_chosen(widget):
    widget.panel.parameters.device = "cuda:3"
    assert widget.ui.deviceComboBox.currentText == "cuda:3"


def test_torch_is_never_imported_here(widget, tmp_path, monkeypatch):
    import sys

    stand_in(monkeypatch, tmp_path, REPLIES)
    widget.panel.method.askDevices()
    wait_until(lambda: widget.ui.deviceComboBox.count == 3)
    assert "torch" not in sys.modules


def test_estimated_time_follows_method_and_last_run(widget, tmp_path, monkeypatch):
    stand_in(monkeypatch, tmp_path, ANSWERS)
    choose_scan(widget)
    assert widget.ui.timeLabel.text == "about 1 s"
    apply_and_wait(widget)  # the stand-in says that its field took 2 s
    assert widget.ui.timeLabel.text == "about 2 s: field 2 s"


def test_verifying_says_what_is_wrong(widget, tmp_path, monkeypatch):
    stand_in(monkeypatch, tmp_path, REPLIES)
    widget.ui.weightsPath.currentPath = str(bundle(tmp_path / "mine"))
    widget.ui.weightsVerifyButton.click()
    wait_until(lambda: "is not the file" in widget.ui.weightsMessage.text)


def test_import_waits_for_the_licence_of_published_checkpoints(widget, tmp_path):
    source = tmp_path / "published"
    source.mkdir()
    (source / "xsepnet.pth.tar").write_bytes(b"")
    widget.ui.weightsButton.collapsed = False
    widget.ui.importGroup.collapsed = False
    widget.ui.importPath.currentPath = str(source)
    assert not widget.ui.importButton.enabled
    assert widget.ui.licenceText.isVisibleTo(widget.parent)
    widget.ui.licenceCheckBox.checked = True
    assert widget.ui.importButton.enabled
    weight_store.accept_published_licence()  # once is enough
    widget.ui.licenceCheckBox.checked = False
    widget.panel.weights.refresh()
    assert widget.ui.importButton.enabled
    assert not widget.ui.licenceText.isVisibleTo(widget.parent)


def test_broken_weights_are_refused_by_the_real_child(widget, tmp_path):
    source = bundle(tmp_path / "broken")
    widget.ui.importPath.currentPath = str(source)
    widget.ui.importButton.click()
    wait_until(lambda: not widget.ui.weightsMessage.text.startswith("Checking"))
    assert "separation.card.json" in widget.ui.weightsMessage.text or "qsm.card.json" in widget.ui.weightsMessage.text
    assert not list((tmp_path / "store").glob("*/installed.json"))


def test_missing_torch_is_told_and_nothing_hangs(widget, tmp_path, monkeypatch):
    """No PyTorch, no PyTorch extension: a run with networks ends with what to do."""
    monkeypatch.setattr(torch_install, "hasPackage", lambda name: False)
    stand_in(monkeypatch, tmp_path, ANSWERS)
    choose_scan(widget)
    widget.ui.weightsPath.currentPath = str(bundle(tmp_path / "mine"))
    widget.panel.parameters.method = "sepnet-r2star"
    widget.ui.applyButton.click()
    wait_until(lambda: not widget.panel.run.isRunning)
    assert "Extensions Manager" in widget.ui.messageLabel.text
    assert "Without network: the README" in widget.ui.messageLabel.text


def test_torch_is_installed_only_with_consent(monkeypatch):
    """The PyTorch extension asks; a no leaves everything as it is and says so."""
    import sys
    import types

    asked = []

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation, torchVersionRequirement):
            asked.append((askConfirmation, torchVersionRequirement))

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    monkeypatch.setattr(torch_install, "hasPackage", lambda name: name == "PyTorchUtils")
    with pytest.raises(torch_install.InputError, match="was not installed"):
        torch_install.ensureTorch()
    assert asked == [(True, ">=2.1")]


@pytest.fixture
def finished(widget, tmp_path, monkeypatch):
    """The panel after a run."""
    stand_in(monkeypatch, tmp_path, ANSWERS)
    choose_scan(widget)
    apply_and_wait(widget)
    return widget


def test_preview_is_the_closed_form_in_a_slab(finished):
    ui = finished.ui
    ui.previewCheckBox.checked = True
    shown = composite_of(slicer.mrmlScene, "ChiSepPara").GetForegroundVolumeID()
    preview = slicer.mrmlScene.GetNodeByID(shown)
    assert preview.GetName() == "preview of chi-para [ppb]"
    ui.previewParaSlider.value = 200
    ui.previewDiaSlider.value = 100
    nodes = finished.panel._outputs()
    slab = finished.panel.preview._preview
    start = round(float(GRID.ras_to_index(slab.grid.index_to_ras((0, 0, 0)))[0]))
    part = slice(start, start + slab.grid.shape[0])
    total, rate = (arrayFromVolume(nodes[key])[part] for key in ("chi_total", "r2prime_hz"))
    expected = closed_form(total, rate, np.ones(total.shape, bool), dr_para=200.0, dr_dia=100.0)
    assert np.allclose(arrayFromVolume(preview), 1e3 * expected.chi_para, atol=1e-3)


def test_preview_follows_the_slider_at_once(finished):
    finished.ui.previewCheckBox.checked = True
    began = time.perf_counter()
    finished.ui.previewParaSlider.value = 90
    assert time.perf_counter() - began < 1.0


def test_preview_goes_without_a_trace(finished):
    before = {slicer.mrmlScene.GetNthNode(n).GetID() for n in range(slicer.mrmlScene.GetNumberOfNodes())}
    shown = composite_of(slicer.mrmlScene, "ChiSepPara").GetForegroundVolumeID()
    finished.ui.previewCheckBox.checked = True
    assert finished.ui.previewCheckBox.checked
    finished.ui.previewCheckBox.checked = False
    assert {slicer.mrmlScene.GetNthNode(n).GetID() for n in range(slicer.mrmlScene.GetNumberOfNodes())} == before
    assert composite_of(slicer.mrmlScene, "ChiSepPara").GetForegroundVolumeID() == shown


def test_preview_is_not_saved(finished, tmp_path):
    finished.ui.previewCheckBox.checked = True
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert not [name for name in names if name.startswith("preview")]


def test_constants_of_the_preview_are_taken_for_the_next_run(finished):
    finished.ui.previewParaSlider.value = 150
    finished.ui.previewTakeButton.click()
    parameters = finished.panel.parameters
    assert (parameters.drAutomatic, parameters.drPara, parameters.drDia) == (False, 150, 137)


def test_preview_without_maps_says_what_is_missing(widget):
    choose_scan(widget)
    widget.ui.previewCheckBox.checked = True
    assert "Run once" in widget.ui.messageLabel.text
    assert not widget.ui.previewCheckBox.checked


def test_verdict_is_stored_with_every_map(finished, tmp_path):
    ui = finished.ui
    assert not ui.verdictButton.enabled
    ui.verdictComboBox.setCurrentIndex(item_texts(ui.verdictComboBox).index("Pass with remark"))
    ui.verdictUserEdit.text = "AB"
    ui.verdictButton.click()
    assert "Write a remark" in ui.messageLabel.text
    ui.verdictRemarkEdit.text = "motion | left: 한글\tχ"
    ui.verdictButton.click()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    stored = verdict_of(finished.ui.chiDiaSelector.currentNode())
    assert (stored.verdict, stored.remark, stored.by) == ("remark", "motion | left: 한글\tχ", "AB")
    assert finished.ui.verdictComboBox.currentText == "Pass with remark"


def test_new_maps_are_not_judged_yet(finished):
    finished.logic.recordVerdict([finished.ui.chiParaSelector.currentNode()], "pass", by="AB")
    apply_and_wait(finished)
    assert verdict_of(finished.ui.chiParaSelector.currentNode()) is None
    assert finished.ui.verdictComboBox.currentText == "Not judged yet"
