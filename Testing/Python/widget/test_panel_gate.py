"""The table of the input check: red stops a run, a click mends, and words that pass red are recorded."""

from __future__ import annotations

import json

import pytest
import qt
import slicer

from ChiSepExtension.mrml.outputs import provenance_of
from ChiSepExtension.networks import weight_store
from ChiSepExtension.ui import child_job
from Testing.Python.widget.panel_case import (
    ANSWERS,
    apply_and_wait,
    choose_scan,
    make_program,
    open_module,
    wait_for_run,
)


@pytest.fixture
def widget(host, tmp_path, monkeypatch):
    """The panel with a scan, whose inputs are red until the phase is inverted."""
    monkeypatch.setenv(weight_store.ENVIRONMENT_VARIABLE, str(tmp_path / "no weights"))
    monkeypatch.setattr(weight_store, "SHIPPED", tmp_path / "none shipped")
    program = make_program(tmp_path, ANSWERS)
    (tmp_path / "color").write_text("red")
    monkeypatch.setattr(child_job, "pythonExecutable", lambda: str(program))
    widget = open_module()
    choose_scan(widget)
    return widget


def jobs(tmp_path) -> list[dict]:
    """What the stand-in was asked to do."""
    return [json.loads(line) for line in (tmp_path / "jobs").read_text().splitlines()]


def cell(widget, row: int, column: int) -> str:
    return widget.ui.gateTable.item(row, column).text()


def test_nothing_is_said_before_a_check(widget):
    assert widget.ui.gateLabel.text.startswith("Not checked yet")
    assert not widget.ui.gateTable.isVisibleTo(widget.parent)
    assert not widget.ui.overrideWidget.isVisibleTo(widget.parent)
    assert widget.ui.applyButton.enabled


def test_row_shows_its_sign_number_and_reason(widget):
    widget.ui.checkButton.click()
    wait_for_run(widget)
    assert widget.ui.gateLabel.text == "1 red, 0 amber, 0 green"
    assert cell(widget, 0, 0) == "✖ Sign of the phase"
    assert cell(widget, 0, 1) == "contrast -1.5 SD\nIron comes out diamagnetic."
    assert widget.ui.gateTable.item(0, 0).background().color().name() == "#f6c1bd"


def test_a62_red_blocks_the_run(widget, tmp_path):
    widget.ui.applyButton.click()
    wait_for_run(widget)
    assert [job["task"] for job in jobs(tmp_path)] == ["check"]
    assert not widget.ui.applyButton.enabled
    assert "Sign of the phase" in widget.ui.applyButton.toolTip
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def test_a62_words_name_and_time_are_in_the_provenance(widget):
    widget.ui.checkButton.click()
    wait_for_run(widget)
    assert widget.ui.overrideWidget.isVisibleTo(widget.parent)
    widget.ui.overrideEdit.text = "ok"
    widget.ui.overrideUserEdit.text = "AB"
    assert "not a reason" in widget.ui.applyButton.toolTip  # one word is a reflex
    widget.ui.overrideEdit.text = "the vendor is known to invert | ‘φ’ 한글"
    assert widget.ui.applyButton.enabled
    apply_and_wait(widget)
    gate = provenance_of(widget.ui.chiParaSelector.currentNode())["gate"]
    assert gate["override"]["text"] == "the vendor is known to invert | ‘φ’ 한글"
    assert gate["override"]["user"] == "AB"
    assert gate["override"]["time"].endswith("Z")
    assert gate["rows"][0]["color"] == "red"


def test_one_click_mends_and_checks_again(widget, tmp_path):
    widget.ui.checkButton.click()
    wait_for_run(widget)
    widget.ui.gateTable.cellWidget(0, 2).click()
    wait_for_run(widget)
    assert widget.panel.parameters.invertPhase
    assert [(job["task"], job["invert_phase"]) for job in jobs(tmp_path)] == [("check", False), ("check", True)]
    assert widget.ui.gateLabel.text == "0 red, 0 amber, 1 green"
    assert widget.ui.applyButton.enabled


def test_check_is_made_once_for_the_same_inputs(widget, tmp_path):
    widget.panel.parameters.invertPhase = True
    apply_and_wait(widget)
    apply_and_wait(widget)
    assert [job["task"] for job in jobs(tmp_path)] == ["check", "run", "run"]


def test_words_do_not_carry_over_to_another_scan(widget):
    widget.ui.checkButton.click()
    wait_for_run(widget)
    widget.ui.overrideEdit.text = "the vendor is known to invert"
    choose_scan(widget, "sub-02")
    assert widget.ui.overrideEdit.text == ""
    assert widget.ui.gateLabel.text.startswith("Not checked yet")


def test_changed_voxels_are_checked_again(widget, tmp_path):
    widget.panel.parameters.invertPhase = True
    apply_and_wait(widget)
    slicer.util.arrayFromVolume(widget.panel.parameters.phase.GetNthDataNode(0))[:] = 0
    slicer.util.arrayFromVolumeModified(widget.panel.parameters.phase.GetNthDataNode(0))
    apply_and_wait(widget)
    assert [job["task"] for job in jobs(tmp_path)] == ["check", "run", "check", "run"]


@pytest.mark.parametrize(
    ("mend", "parameter", "value"),
    [("choose-r2star-method", "method", "r2star-qsm"), ("choose-model-method", "method", "closed-form")],
)
def test_mends_that_change_the_method(widget, mend, parameter, value):
    widget.panel.parameters.method = "iterative"
    widget.panel.mend(mend)
    assert getattr(widget.panel.parameters, parameter) == value
    wait_for_run(widget)


def test_mend_that_needs_a_person_opens_the_control(widget):
    widget.ui.inputsButton.collapsed = True
    widget.panel.mend("give-mask")
    assert not widget.ui.inputsButton.collapsed
    assert not widget.ui.moreInputsGroup.collapsed
    assert not widget.panel.run.isRunning


def test_repair_of_the_images_is_agreed_to_by_a_click(widget, tmp_path):
    widget.panel.mend("repair-slices")
    wait_for_run(widget)
    widget.panel.mend("reorder-echoes")
    wait_for_run(widget)
    assert [job["repair"] for job in jobs(tmp_path)] == [["repair-slices"], ["repair-slices", "reorder-echoes"]]


def test_picture_that_proves_a_mend_is_shown_and_goes(widget):
    widget.ui.checkButton.click()
    wait_for_run(widget)
    pictures = [label for label in widget.ui.gateButton.findChildren(qt.QLabel) if not label.pixmap.isNull()]
    assert [(label.pixmap.width(), label.toolTip) for label in pictures] == [(40, "Negate the phase of all echoes.")]
    choose_scan(widget, "sub-02")
    slicer.app.processEvents()
    assert not [label for label in widget.ui.gateButton.findChildren(qt.QLabel) if not label.pixmap.isNull()]


def test_manufacturer_that_is_typed_goes_with_the_scan(widget, tmp_path):
    widget.panel.mend("name-vendor")
    assert not widget.ui.moreInputsGroup.collapsed
    widget.ui.manufacturerEdit.text = "Siemens"
    widget.ui.checkButton.click()
    wait_for_run(widget)
    assert jobs(tmp_path)[-1]["manufacturer"] == "Siemens"
