"""A73: every text of the panel goes through translation, and no button is clipped on a small or a dense screen."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]

#: Logical width of the panel: on 1366×768 it leaves more than half of the screen to the views, and at 200 % the screen
#: is 683 wide, of which Slicer gives the panel at most this much.
PANEL_WIDTH = 480

#: Opens every section and reports the buttons, check boxes and labels that are narrower than their text.
MEASURE = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/Testing/host"]
import chisep_testhost
host = chisep_testhost.start(gui=True)
from Testing.Python.widget.panel_case import open_module
from PySide6 import QtWidgets
widget = open_module()
for section in (widget.ui, *widget.review.ui.values()):
    for each in vars(section).values():
        if hasattr(each, "collapsed"):
            each.collapsed = False
panel = widget.parent
panel.resize(int(sys.argv[2]), 8000)
panel.show()
QtWidgets.QApplication.processEvents()
clipped = []
kinds = (QtWidgets.QPushButton, QtWidgets.QToolButton, QtWidgets.QCheckBox, QtWidgets.QLabel)
for child in QtWidgets.QWidget.findChildren(panel, QtWidgets.QWidget):
    if not isinstance(child, kinds) or not QtWidgets.QWidget.isVisible(child):
        continue
    hint = child.minimumSizeHint()
    size = QtWidgets.QWidget.size(child)
    wraps = isinstance(child, QtWidgets.QLabel) and QtWidgets.QLabel.wordWrap(child)
    if not wraps and size.width() < hint.width() or size.height() < hint.height():
        clipped.append(f"{child.objectName} {size.toTuple()} < {hint.toTuple()}")
wide = QtWidgets.QWidget.minimumSizeHint(panel).width()
print("RESULT " + json.dumps({"clipped": clipped, "minimum": wide, "ratio": panel.devicePixelRatioF()}))
widget.panel.abandon()
host.reset()
"""


@pytest.mark.parametrize("scale", ["1", "1.25", "2"])
def test_a73_no_button_is_clipped(scale):
    environment = os.environ | {"QT_SCALE_FACTOR": scale, "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", MEASURE, str(REPOSITORY), str(PANEL_WIDTH)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    lines = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stderr
    measured = json.loads(lines[0])
    assert measured["ratio"] == pytest.approx(float(scale))
    assert measured["clipped"] == []
    assert measured["minimum"] <= PANEL_WIDTH


#: Calls whose text a user reads.
SHOWN_BY = {"showMessage", "setToolTip", "setWindowTitle", "setHorizontalHeaderLabels", "confirmOkCancelDisplay"}
#: Properties whose text a user reads.
SHOWN_AS = {"text", "toolTip", "placeholderText"}


def untranslated(path: Path):
    """Plain texts of more than one word that are shown without `_()`, with their lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))

    def words(node: ast.AST) -> bool:
        return isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip()

    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in SHOWN_BY:
            yield from (f"{path.name}:{arg.lineno}: {arg.value}" for arg in node.args if words(arg))
        if isinstance(node, ast.Assign) and any(getattr(t, "attr", "") in SHOWN_AS for t in node.targets):
            if words(node.value):
                yield f"{path.name}:{node.lineno}: {node.value.value}"


def test_a73_texts_of_the_panel_are_translated():
    files = [*(REPOSITORY / "ChiSepExtension/ui").glob("*.py"), REPOSITORY / "ChiSepModule/ChiSepModule.py"]
    found = [text for path in files for text in untranslated(path)]
    assert found == []
