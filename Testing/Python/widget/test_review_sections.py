"""Lesions, agreement, lock and export in the panel: clicks on the real `.ui` files."""

from __future__ import annotations

import ast
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import slicer

from ChiSepExtension.lesions.lock import check_lock
from ChiSepExtension.mrml.lesion_segmentation import segment_ids
from ChiSepExtension.volume_io import write_volume
from Testing.Python.mrml.lesion_case import SPHERES, draw
from Testing.Python.widget.reading_case import RESOURCES, Screen

REPOSITORY = Path(__file__).resolve().parents[3]
#: Words that no text of the extension may use outside the notice.
FORBIDDEN = re.compile(r"report|diagnos|supports MS|fulfil", re.IGNORECASE)


@pytest.fixture
def screen(host):
    found = Screen()
    yield found
    found.close()


@pytest.fixture
def two_readers(screen, tmp_path):
    """A has rated, B differs in one lesion; A's reading is open. Returns the screen and both files."""
    screen.open(folder=tmp_path)
    screen.rate_all()
    a = screen.review.reading.path
    screen.read.endButton.click()
    screen.review.ratings = None
    screen.open(folder=tmp_path, rater="CD")
    screen.rate_all()
    uid = screen.review.lesions.uids[2]
    screen.logic.rate(uid, para="rim", para_core="hyper")
    return screen, a, screen.review.reading.path


def cells(table) -> list[list[str]]:
    return [[table.item(r, c).text() for c in range(table.columnCount)] for r in range(table.rowCount)]


def select(screen, uids) -> None:
    """As if these lines of the segments table were selected: the stand-in's table has none."""
    screen.panel.lesions.selected = lambda: list(uids)


def test_import_lists_the_lesions_and_names_the_small_ones(screen):
    screen.lesions.lesionsSelector.setCurrentNode(screen.outlines)
    screen.lesions.importButton.click()
    assert screen.lesions.lesionsSummaryLabel.text.startswith("5 lesions") or "below 3 mm" in (
        screen.lesions.lesionsSummaryLabel.text
    )
    assert screen.lesions.segmentsTable.recorded("setSegmentationNode")[-1] == (screen.review.node,)
    assert any("importLesions" in line for line in screen.logged)


def test_import_from_a_file(screen, tmp_path):
    path = tmp_path / "mask.nii.gz"
    write_volume(path, screen.head.lesion_mask.astype(np.uint8), screen.head.grid)
    screen.lesions.lesionFilePath.currentPath = str(path)
    screen.lesions.importButton.click()
    assert len(screen.review.lesions) == len(SPHERES)


def test_import_of_nothing_and_of_another_grid_say_what_to_do(screen, tmp_path):
    screen.lesions.importButton.click()
    assert "Choose" in screen.lesions.lesionsSummaryLabel.text
    path = tmp_path / "mask.nii.gz"
    write_volume(path, np.ones((5, 6, 7), np.uint8), type(screen.head.grid).from_spacing((5, 6, 7)))
    screen.lesions.lesionFilePath.currentPath = str(path)
    screen.lesions.importButton.click()
    assert "does not lie on the grid" in screen.lesions.lesionsSummaryLabel.text


def test_merge_delete_and_undo_by_buttons(screen):
    screen.lesions.lesionsSelector.setCurrentNode(screen.outlines)
    screen.lesions.importButton.click()
    uids = screen.review.lesions.uids
    select(screen, uids[:2])
    screen.lesions.mergeButton.click()
    assert screen.review.lesions.lesions[-1].parents == uids[:2]
    screen.lesions.undoButton.click()
    assert screen.review.lesions.uids == uids
    select(screen, uids[3:4])
    screen.lesions.deleteButton.click()
    assert uids[3] not in screen.review.lesions.uids


def test_split_by_button_makes_lesions_that_the_reader_is_asked_for(screen, tmp_path):
    screen.open(folder=tmp_path)
    uid = screen.review.lesions.uids[0]
    mask = screen.review.lesions.mask(uid)
    mask[20] = False
    draw(screen.review, segment_ids(screen.review.node)[uid], mask)
    select(screen, [uid])
    screen.lesions.splitButton.click()
    assert screen.read.progressLabel.text == f"0/{len(SPHERES) + 1} · 0 flagged"


def test_button_without_a_selection_says_so(screen):
    screen.lesions.lesionsSelector.setCurrentNode(screen.outlines)
    screen.lesions.importButton.click()
    select(screen, [])
    screen.lesions.deleteButton.click()
    assert "Select" in screen.lesions.lesionsSummaryLabel.text


def test_agreement_shows_kappa_matrix_and_what_differs(two_readers):
    screen, a, b = two_readers
    screen.agree.firstRatingsPath.currentPath, screen.agree.secondRatingsPath.currentPath = str(a), str(b)
    screen.agree.compareButton.click()
    assert "4 of 5 identical: 80.0 %" in screen.agree.kappaLabel.text
    matrix = np.array([[int(n) for n in row[1:]] for row in cells(screen.agree.confusionTable)])
    assert matrix.sum() == len(SPHERES) and np.trace(matrix) == 4
    differing = cells(screen.agree.discordantTable)
    assert [(row[1], row[2], row[3]) for row in differing] == [("para", "iso", "rim"), ("para_core", "", "hyper")]
    assert any("agreement(" in line for line in screen.logged)


def test_a42_constant_field_is_called_undefined(two_readers):
    screen, a, b = two_readers
    screen.agree.firstRatingsPath.currentPath, screen.agree.secondRatingsPath.currentPath = str(a), str(b)
    screen.agree.compareButton.click()
    names = [screen.agree.fieldComboBox.itemText(n) for n in range(screen.agree.fieldComboBox.count)]
    screen.agree.fieldComboBox.setCurrentIndex(names.index("dia"))
    screen.agree.fieldComboBox.activated.emit(names.index("dia"))
    assert "κ undefined" in screen.agree.kappaLabel.text


def test_joint_code_is_stored_with_note_and_the_files_of_the_readers_stay(two_readers):
    screen, a, b = two_readers
    before = a.read_bytes(), b.read_bytes()
    screen.agree.firstRatingsPath.currentPath, screen.agree.secondRatingsPath.currentPath = str(a), str(b)
    screen.agree.compareButton.click()
    screen.agree.discordantTable.setCurrentCell(0, 0)
    screen.agree.discordantTable.cellClicked.emit(0, 0)
    assert screen.agree.finalComboBox.currentText == ""  # nothing is chosen for the session
    screen.agree.resolveButton.click()
    assert "is no code" in screen.agree.agreeMessageLabel.text
    screen.agree.finalComboBox.setCurrentText("rim")
    screen.agree.byEdit.text, screen.agree.reasonEdit.text = "AB+CD", "ring | in two planes"
    screen.agree.resolveButton.click()
    decision = screen.panel.agree.consensus.decisions[0]
    assert (decision.final, decision.by, decision.reason) == ("rim", "AB+CD", "ring | in two planes")
    assert screen.agree.discordantLabel.text.startswith("1 of 2")
    assert (a.read_bytes(), b.read_bytes()) == before


def test_a34_blind_reader_sees_no_other_reader_before_the_end(two_readers, tmp_path):
    screen, a, b = two_readers
    screen.read.endButton.click()
    screen.review.ratings = None
    screen.open(folder=tmp_path / "blind", blind=True, rater="EF")
    screen.agree.firstRatingsPath.currentPath, screen.agree.secondRatingsPath.currentPath = str(a), str(b)
    screen.agree.compareButton.click()
    assert "not complete" in screen.agree.agreeMessageLabel.text
    assert screen.panel.agree.consensus is None


def test_a44_files_of_other_lesions_are_refused_in_the_panel(two_readers, tmp_path):
    screen, a, b = two_readers
    other = tmp_path / "other.json"
    text = b.read_text().replace(screen.review.lesions.uids[0], "2.25.1")
    shutil.copyfile(b, other)
    other.write_text(text)
    screen.agree.firstRatingsPath.currentPath, screen.agree.secondRatingsPath.currentPath = str(a), str(other)
    screen.agree.compareButton.click()
    assert "different lesions" in screen.agree.agreeMessageLabel.text


def test_preview_holds_numbers_and_codes(screen, tmp_path):
    screen.open(folder=tmp_path)
    screen.rate_all()
    screen.export.previewButton.click()
    table = screen.export.previewTable
    header = [table.horizontalHeaderItem(c).text() for c in range(table.columnCount)]
    rows = cells(table)
    assert len(rows) == len(SPHERES)
    assert {"chi_para_median_ppb", "chi_dia_contrast_ppb", "para", "dia"} <= set(header)
    assert {row[header.index("para")] for row in rows} == {"iso"}


def test_preview_tells_a_blind_reader_nothing_before_the_end(screen, tmp_path):
    screen.open(folder=tmp_path, blind=True)
    screen.export.previewButton.click()
    assert screen.export.previewTable.rowCount == 0
    assert "hidden" in screen.export.exportMessageLabel.text


def test_lock_unlock_and_export_by_buttons(screen, tmp_path):
    screen.open(folder=tmp_path / "reading")
    screen.export.lockButton.click()
    assert "neither rated nor excluded" in screen.export.exportMessageLabel.text
    screen.rate_all()
    screen.export.lockButton.click()
    assert screen.export.lockLabel.text.startswith("Version 1, locked")
    screen.panel.read.goTo(0)
    assert not screen.read.reopenButton.enabled
    screen.export.exportFolderPath.currentPath = str(tmp_path / "out")
    screen.export.subjectEdit.text = "01"
    screen.export.searchCheckBox.checked = False
    screen.export.dicomCheckBox.checked = True
    screen.export.writeButton.click()
    assert len(list((tmp_path / "out" / "dicom").rglob("*_sr.dcm"))) == 1
    assert "version 1, read back and locked" in screen.export.exportMessageLabel.text
    lock = next((tmp_path / "out").rglob("*desc-lock.json"))
    assert check_lock(lock).state == "intact"
    screen.export.unlockButton.click()
    assert screen.export.lockLabel.text.startswith("Version 1, unlocked")
    assert [line.split(".", 1)[1] for line in screen.logged if "ock()" in line] == ["lock()", "unlock()"]


def test_a60_export_with_an_unknown_identity_is_refused_with_the_reason(screen, tmp_path):
    screen.open(folder=tmp_path / "reading")
    screen.rate_all()
    screen.export.lockButton.click()
    screen.export.exportFolderPath.currentPath = str(tmp_path / "out")
    screen.export.subjectEdit.text = "01"
    screen.export.writeButton.click()
    assert "not known" in screen.export.exportMessageLabel.text
    assert not any((tmp_path / "out").rglob("*"))


def test_counts_name_codes_and_draw_no_conclusion(screen, tmp_path):
    screen.open(folder=tmp_path)
    screen.rate_all()
    assert "Iron side: similar 5" in screen.export.countsLabel.text


def test_scene_close_ends_the_review_and_leaves_an_empty_panel(screen, tmp_path):
    screen.open(folder=tmp_path)
    screen.panel.sceneCloses()
    slicer.mrmlScene.Clear(0)
    screen.panel.sceneChanged()
    assert not screen.logic.hasReview
    assert screen.read.startWidget.isVisibleTo(screen.panel.widget) and not screen.read.cardWidget.visible


def test_a70_panel_can_be_entered_and_left_many_times(screen, tmp_path):
    screen.open(folder=tmp_path)
    screen.panel.exit()
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    for _ in range(20):
        screen.panel.enter()
        screen.panel.exit()
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes


def test_a73_sections_fit_a_panel_of_500_pixels(screen, tmp_path):
    """1366 pixels leave about 500 to the panel beside six views; checked at the card, the widest section."""
    from PySide6.QtWidgets import QWidget

    screen.open(folder=tmp_path)
    for ui, button in (
        (screen.lesions, "lesionsButton"), (screen.read, "readButton"), (screen.agree, "agreeButton"),
        (screen.export, "exportButton"),
    ):  # fmt: skip
        getattr(ui, button).collapsed = False
        slicer.app.processEvents()
        assert QWidget.minimumSizeHint(getattr(ui, button)).width() <= 500, button


@pytest.mark.parametrize("name", ["ReviewLesions", "ReviewRead", "ReviewAgree", "ReviewExport"])
def test_a66_no_text_of_the_screen_uses_a_forbidden_word(name):
    root = ET.parse(RESOURCES / "UI" / f"{name}.ui").getroot()
    for element in root.iter("string"):
        text = (element.text or "").replace("Research use only — not for diagnosis", "")
        assert not FORBIDDEN.search(text), text


@pytest.mark.parametrize(
    "room, pattern", [("ui", "re*.py"), ("ui", "order_table.py"), ("mrml", "lesion_*.py"), ("mrml", "review_*.py")]
)
def test_a66_no_string_of_the_review_uses_a_forbidden_word(room, pattern):
    files = sorted((REPOSITORY / "ChiSepExtension" / room).glob(pattern))
    assert files
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                assert not FORBIDDEN.search(node.value), f"{path.name}: {node.value!r}"
