"""Layer: widgets. `qt`, `ctk` and the qMRML stand-ins behave as PythonQt does in a launched Slicer."""

from __future__ import annotations

import sys

import chisep_testhost
import ctk
import numpy as np
import pytest
import qt
import slicer
from chisep_testhost.errors import CollectedErrors
from chisep_testhost.gui import wait_until
from chisep_testhost.leftovers import observer_counts, shortcuts, surviving_children
from chisep_testhost.ui_loader import UiError


def volume(name="T2"):
    return slicer.util.addVolumeFromArray(np.ones((3, 4, 5), np.float32), name=name)


# ---- PythonQt's manners


def test_properties_are_attributes():
    label = qt.QLabel("χ-para")
    assert label.text == "χ-para"
    label.text = "χ-dia"
    label.toolTip = "myelin"
    assert (label.text, label.toolTip) == ("χ-dia", "myelin")


def test_calling_a_property_fails():
    with pytest.raises(TypeError, match="not callable"):
        qt.QLabel("x").text()


@pytest.mark.parametrize("name", ["tooltip", "Text", "setText", "myOwn"])
def test_unknown_attribute_cannot_be_set(name):
    with pytest.raises(AttributeError, match=name):
        setattr(qt.QLabel("x"), name, "y")


def test_own_subclass_may_have_attributes():
    class Peek(qt.QObject):
        def __init__(self):
            super().__init__()
            self.seen = []

    assert Peek().seen == []


@pytest.mark.expects_message("no such signal")
def test_connect_by_signature_answers_true_or_false():
    button = qt.QPushButton()
    assert button.connect("clicked(bool)", lambda: None) is True
    assert button.connect("clicked()", lambda: None) is True
    assert button.connect("pushed(bool)", lambda: None) is False
    assert button.connect("clicked(int)", lambda: None) is False


@pytest.mark.expects_message("no such signal")
@pytest.mark.parametrize(
    ("make", "signature", "known"),
    [
        (lambda: ctk.ctkCollapsibleButton(), "contentsCollapsed(bool)", True),
        (lambda: ctk.ctkCollapsibleButton(), "collapsedChanged(bool)", False),
        (lambda: ctk.ctkPathLineEdit(), "currentPathChanged(QString)", True),
        (lambda: ctk.ctkSliderWidget(), "valueChanged(double)", True),
        (lambda: ctk.ctkDoubleSpinBox(), "valueChanged(double)", True),
        (lambda: slicer.qMRMLNodeComboBox(), "currentNodeChanged(vtkMRMLNode*)", True),
        (lambda: slicer.qMRMLNodeComboBox(), "currentNodeChanged(bool)", True),
        (lambda: slicer.qMRMLNodeComboBox(), "nodeChanged(PyObject)", False),
        (lambda: qt.QTableWidget(), "itemSelectionChanged()", True),
        (lambda: qt.QTableWidget(), "currentCellChanged(int,int,int,int)", True),
        (lambda: qt.QTableWidget(), "cellDoubleClicked(int,int)", True),
    ],
)
def test_signals_seen_in_slicer(make, signature, known):
    assert make().connect(signature, lambda *_: None) is known


def test_wrong_signal_name_fails_the_test():
    with pytest.raises(CollectedErrors, match=r"QPushButton::pushed\(\)"), chisep_testhost.strict():
        qt.QPushButton().connect("pushed()", lambda: None)
    with pytest.raises(CollectedErrors, match="startUp"), chisep_testhost.strict():
        slicer.app.connect("startUp()", lambda: None)


def test_slot_gets_as_many_arguments_as_it_takes():
    button, got = qt.QPushButton(), []
    button.checkable = True
    button.connect("toggled(bool)", lambda: got.append("none"))
    button.connect("toggled(bool)", lambda on: got.append(on))
    button.checked = True
    assert got == ["none", True]


def test_click_hands_over_the_checked_state():
    button, got = qt.QPushButton(), []
    button.checkable = True
    button.connect("clicked(bool)", lambda on: got.append(on))
    button.connect("clicked(bool)", lambda on=None: got.append(on))
    button.connect("clicked()", lambda *arguments: got.append(arguments))
    button.click()
    assert got == [True, True, ()]


def test_disconnected_slot_is_silent():
    box, got = qt.QSpinBox(), []
    box.connect("valueChanged(int)", got.append)
    box.value = 3
    assert box.disconnect("valueChanged(int)", got.append)
    assert not box.disconnect("valueChanged(int)", got.append)
    box.value = 4
    assert got == [3]


def test_enums_are_numbers():
    box, got = qt.QCheckBox(), []
    box.connect("stateChanged(int)", got.append)
    box.checked = True
    assert got == [qt.Qt.Checked] == [2]
    label = qt.QLabel()
    label.alignment = 4
    assert label.alignment == qt.Qt.AlignHCenter


def test_classes_of_qt_are_related():
    assert isinstance(qt.QCheckBox(), qt.QWidget)
    assert issubclass(qt.QPushButton, qt.QAbstractButton)
    assert not isinstance(qt.QCheckBox(), qt.QLabel)


def test_parts_that_qt_made_have_the_same_manners():
    table = qt.QTableWidget()
    header = table.horizontalHeader()
    header.stretchLastSection = True
    assert header.stretchLastSection is True
    with pytest.raises(AttributeError, match="stretchLast"):
        header.stretchLast = True


@pytest.mark.parametrize("name", ["QRegExp", "Signal", "Slot", "QNoSuchWidget"])
def test_what_slicer_or_the_host_lacks_is_named(name):
    with pytest.raises(NotImplementedError, match=name):
        getattr(qt, name)


def test_modal_dialog_refuses_to_block():
    with pytest.raises(NotImplementedError, match="waits for a person"):
        qt.QMessageBox().exec_()
    with pytest.raises(NotImplementedError, match="getOpenFileName"):
        qt.QFileDialog.getOpenFileName(None, "Open")


def test_event_filter_in_a_python_subclass():
    class Peek(qt.QObject):
        def __init__(self):
            super().__init__()
            self.keys = []

        def eventFilter(self, watched, event):
            if event.type() == qt.QEvent.KeyPress:
                self.keys.append(event.key())
            return False

    peek, line = Peek(), qt.QLineEdit()
    slicer.app.installEventFilter(peek)
    qt.QApplication.sendEvent(line, qt.QKeyEvent(qt.QEvent.KeyPress, qt.Qt.Key_H, qt.Qt.NoModifier, "h"))
    slicer.app.removeEventFilter(peek)
    assert qt.Qt.Key_H in peek.keys
    assert line.text == "h"


def test_shortcut_on_the_main_window(host):
    shortcut = qt.QShortcut(slicer.util.mainWindow())
    shortcut.setKey(qt.QKeySequence("Shift+1"))
    assert shortcut.connect("activated()", lambda: None)
    shortcut.enabled = False
    assert not shortcut.enabled
    assert shortcuts(host) == ["Shift+1"]
    shortcut.setParent(None)
    shortcut.deleteLater()


def test_table_sorts_numbers_as_numbers():
    table = qt.QTableWidget(3, 1)
    for row, value in enumerate((100.0, 20.0, 3.0)):
        item = qt.QTableWidgetItem()
        item.setData(qt.Qt.EditRole, value)
        item.setData(qt.Qt.UserRole, f"uid{value:g}")
        table.setItem(row, 0, item)
    table.sortItems(0)
    assert [table.item(r, 0).data(qt.Qt.UserRole) for r in range(3)] == ["uid3", "uid20", "uid100"]
    assert table.rowCount == 3


def test_settings_are_not_those_of_a_person(host):
    settings = qt.QSettings()
    settings.setValue("ChiSep/x", 1)
    assert settings.fileName().startswith(str(host.folder)) or settings.fileName() == ""


# ---- processes and timers


def test_process_reports_lines_and_exit_code():
    process, lines, ends = qt.QProcess(), [], []
    process.setProcessChannelMode(qt.QProcess.SeparateChannels)
    assert process.connect("readyReadStandardOutput()", lambda: lines.append(process.readAllStandardOutput().data()))
    assert process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: ends.append((code, status)))
    process.start(sys.executable, ["-c", "print('χ', flush=True); raise SystemExit(3)"])
    assert wait_until(lambda: ends)
    assert b"".join(lines).decode("utf-8").strip() == "χ"
    assert ends == [(3, 0)]
    assert process.exitStatus() == qt.QProcess.NormalExit


def test_killed_process_reports_a_crash():
    process, ends, errors = qt.QProcess(), [], []
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: ends.append((code, status)))
    process.connect("errorOccurred(QProcess::ProcessError)", errors.append)
    process.start(sys.executable, ["-c", "import time; time.sleep(60)"])
    assert process.waitForStarted(10000)
    assert len(surviving_children(patience_s=0)) == 1
    process.kill()
    assert wait_until(lambda: ends)
    assert ends == [(9, 1)]
    assert errors == [1]
    assert process.exitStatus() != qt.QProcess.NormalExit


def test_missing_program_reports_an_error_and_never_finishes():
    process, ends, errors = qt.QProcess(), [], []
    process.connect("finished(int,QProcess::ExitStatus)", lambda *_: ends.append(1))
    process.connect("errorOccurred(QProcess::ProcessError)", errors.append)
    process.start("/no/such/program", [])
    assert wait_until(lambda: errors)
    assert errors == [qt.QProcess.FailedToStart] == [0]
    assert process.errorString()
    assert ends == []


def test_python_slicer_is_there(tmp_path):
    import subprocess
    from pathlib import Path

    program = Path(slicer.app.slicerHome) / "bin" / "PythonSlicer"
    assert subprocess.run([program, "-c", "print(6 * 7)"], capture_output=True, check=True).stdout.strip() == b"42"


def test_timers():
    calls = []
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.interval = 5
    assert timer.connect("timeout()", lambda: calls.append("timer"))
    timer.start()
    qt.QTimer.singleShot(1, lambda: calls.append("shot"))
    assert wait_until(lambda: len(calls) == 2)
    assert not timer.active


# ---- node combo box


@pytest.fixture
def combo():
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.noneEnabled = True
    box.setMRMLScene(slicer.mrmlScene)
    yield box
    box.setMRMLScene(None)


def shown(box):
    return [box._combo.itemText(i) for i in range(box._combo.count)]


def test_combo_follows_add_rename_and_remove(combo):
    combo.addEnabled = False
    node = volume("first")
    assert shown(combo) == ["None", "first"]
    node.SetName("renamed")
    assert shown(combo) == ["None", "renamed"]
    slicer.mrmlScene.RemoveNode(node)
    assert shown(combo) == ["None"]


def test_combo_shows_its_node_types_only(combo):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "text")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    assert combo.nodeCount() == 1  # a label map is a scalar volume
    combo.showChildNodeTypes = False
    assert combo.nodeCount() == 0


def test_combo_hides_hidden_nodes_and_other_attributes(combo):
    hidden, marked = volume("hidden"), volume("marked")
    volume("plain")
    hidden.SetHideFromEditors(True)
    marked.SetAttribute("ChiSep.kind", "para")
    combo.addAttribute("vtkMRMLScalarVolumeNode", "ChiSep.kind", "para")
    assert combo.nodeCount() == 1
    assert combo.nodeFromIndex(0).GetName() == "marked"


def test_combo_without_none_selects_the_first_node(combo):
    combo.noneEnabled = False
    assert combo.currentNode() is None
    volume("first")
    assert combo.currentNode().GetName() == "first"


def test_combo_tells_of_removed_node_and_closed_scene(combo):
    got = []
    assert combo.connect("currentNodeChanged(vtkMRMLNode*)", lambda n: got.append(n and n.GetName()))
    combo.setCurrentNode(volume("a"))
    slicer.mrmlScene.RemoveNode(combo.currentNode())
    combo.setCurrentNode(volume("b"))
    slicer.mrmlScene.Clear(0)
    assert got == ["a", None, "b", None]


def test_create_new_adds_a_named_node(combo):
    combo.baseName = "chi-para"
    assert combo.addNode().GetName() == "chi-para"
    assert combo.currentNode().GetName() == "chi-para"


def test_forgotten_combo_is_taken_off_the_scene_between_tests(host):
    before = observer_counts()["mrmlScene"]
    box = slicer.qMRMLNodeComboBox()
    box.setMRMLScene(slicer.mrmlScene)
    assert observer_counts()["mrmlScene"] > before
    host.reset()
    assert observer_counts()["mrmlScene"] == before
    assert box.mrmlScene() is None


# ---- .ui files


def ui_file(folder, body, connections=""):
    path = folder / "x.ui"
    path.write_text(
        f"""<ui version="4.0"><class>X</class><widget class="qMRMLWidget" name="X">
        <layout class="QVBoxLayout" name="l"><item>{body}</item></layout></widget>
        <connections>{connections}</connections></ui>"""
    )
    return slicer.util.loadUI(path)


def test_misspelt_property_in_ui_is_an_error(tmp_path):
    with pytest.raises(UiError, match="noneEnable"):
        misspelt = '<property name="noneEnable"><bool>true</bool></property>'
        ui_file(tmp_path, f'<widget class="qMRMLNodeComboBox" name="c">{misspelt}</widget>')


def test_unknown_widget_in_ui_is_named(tmp_path):
    with pytest.raises(NotImplementedError, match="qMRMLFancyWidget"):
        ui_file(tmp_path, '<widget class="qMRMLFancyWidget" name="c"/>')


def test_connection_to_a_missing_widget_is_an_error(tmp_path):
    connection = """<connection><sender>X</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
        <receiver>gone</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"""
    with pytest.raises(UiError, match="gone"):
        ui_file(tmp_path, '<widget class="QLabel" name="c"/>', connection)


def test_scene_reaches_only_connected_widgets(tmp_path):
    widget = ui_file(tmp_path, '<widget class="qMRMLNodeComboBox" name="c"/>')
    widget.setMRMLScene(slicer.mrmlScene)
    assert slicer.util.childWidgetVariables(widget).c.mrmlScene() is None


def test_children_are_no_attributes_of_the_loaded_widget(tmp_path):
    widget = ui_file(tmp_path, '<widget class="QLabel" name="hint"/>')
    assert not hasattr(widget, "hint")
    assert slicer.util.childWidgetVariables(widget).hint.name == "hint"


def test_segment_editor_is_a_recorder_that_refuses_what_slicer_lacks():
    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(slicer.mrmlScene)
    editor.unorderedEffectsVisible = False
    assert editor.recorded("setMRMLScene") == [(slicer.mrmlScene,)]
    with pytest.raises(NotImplementedError, match="setMasterVolumeNode"):
        editor.setMasterVolumeNode(None)


def test_host_says_it_is_not_slicer():
    assert "not 3D Slicer" in slicer.util.mainWindow().windowTitle
    assert "testhost" in slicer.app.applicationVersion
    assert chisep_testhost.unavailable_reason(gui=True) is None
