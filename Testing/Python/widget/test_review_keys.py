"""The keys of the reading screen: each fires once in Read mode, by place on the keyboard, and never while one types."""

from __future__ import annotations

import pytest
import slicer
from chisep_testhost.gui import wait_until
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from ChiSepExtension.ui.key_positions import digitOf
from ChiSepExtension.ui.review_keys import ReadKeys, _Filter
from Testing.Python.widget.reading_case import Screen

#: Qt key and modifiers that letters of Read mode are pressed with.
LETTERS = {
    "W": Qt.Key_W, ".": Qt.Key_Period, "Q": Qt.Key_Q, ",": Qt.Key_Comma, "N": Qt.Key_N, "J": Qt.Key_J, "P": Qt.Key_P,
    "C": Qt.Key_C, "U": Qt.Key_U, "M": Qt.Key_M, "E": Qt.Key_E, "S": Qt.Key_S, "Return": Qt.Key_Return,
    "Enter": Qt.Key_Enter, "Backspace": Qt.Key_Backspace, "?": Qt.Key_Question, "Shift+N": Qt.Key_N,
    "Shift+P": Qt.Key_P, "Shift+E": Qt.Key_E,
}  # fmt: skip
#: What the keys of the digit row 1, 2, 3, 4, 0 send as (plain, with Shift) in four layouts.
DIGIT_ROWS = {
    "US": [("1", "!"), ("2", "@"), ("3", "#"), ("4", "$"), ("0", ")")],
    "DE": [("1", "!"), ("2", '"'), ("3", "§"), ("4", "$"), ("0", "=")],
    "FR": [("&", "1"), ("é", "2"), ('"', "3"), ("'", "4"), ("à", "0")],
    "KR": [("1", "!"), ("2", "@"), ("3", "#"), ("4", "$"), ("0", ")")],
}
PLACES = [1, 2, 3, 4, 0]
#: Physical key of 1 … 0 by platform: scan code, or virtual key on macOS.
PHYSICAL = {
    "linux": ({1: 10, 2: 11, 3: 12, 4: 13, 0: 19}, False),
    "win32": ({1: 2, 2: 3, 3: 4, 4: 5, 0: 11}, False),
    "darwin": ({1: 18, 2: 19, 3: 20, 4: 21, 0: 29}, True),
}


@pytest.fixture
def screen(host):
    found = Screen()
    yield found
    found.close()


@pytest.fixture
def reading(screen, tmp_path):
    screen.open(folder=tmp_path)
    return screen


def key_event(kind, character: str, shift: bool, place: int, platform: str = "linux") -> QKeyEvent:
    codes, is_virtual = PHYSICAL[platform]
    modifiers = Qt.ShiftModifier if shift else Qt.NoModifier
    scan, virtual = (0, codes[place]) if is_virtual else (codes[place], 0)
    return QKeyEvent(kind, ord(character.upper()), modifiers, scan, virtual, 0, character)


@pytest.mark.parametrize("name", LETTERS)
def test_a05_every_letter_fires_once_in_read_mode_and_never_otherwise(screen, name):
    fired = []
    names = set(screen.panel.read.actions())
    assert set(LETTERS) == names
    keys = ReadKeys({n: (lambda n=n: fired.append(n)) for n in names}, lambda *_: True, lambda _hidden: None)
    press = lambda: screen.press(LETTERS[name], shift=name.startswith("Shift+"))  # noqa: E731
    press()
    assert fired == []
    keys.install()
    press()
    assert fired == [name]
    keys.setEnabled(False)  # Edit mode
    press()
    assert fired == [name]
    keys.setEnabled(True)
    keys.remove()
    press()
    assert fired == [name]


@pytest.mark.parametrize("platform", PHYSICAL)
@pytest.mark.parametrize("layout", DIGIT_ROWS)
def test_a05_digits_go_by_place_not_by_character(layout, platform):
    for place, characters in zip(PLACES, DIGIT_ROWS[layout]):
        for shift in (False, True):
            event = key_event(QEvent.KeyPress, characters[shift], shift, place, platform)
            assert digitOf(event, platform) == (place, shift)


def test_a05_keypad_is_unshifted_and_control_is_no_rating():
    pad = QKeyEvent(QEvent.KeyPress, Qt.Key_3, Qt.KeypadModifier, 89, 0, 0, "3")
    assert digitOf(pad, "linux") == (3, False)
    control = QKeyEvent(QEvent.KeyPress, Qt.Key_1, Qt.ControlModifier, 10, 0, 0, "1")
    assert digitOf(control, "linux") is None
    letter = QKeyEvent(QEvent.KeyPress, Qt.Key_W, Qt.NoModifier, 25, 0, 0, "w")
    assert digitOf(letter, "linux") is None


@pytest.mark.parametrize("layout", DIGIT_ROWS)
def test_a05_each_digit_rates_exactly_once_in_every_layout(screen, layout):
    fired = []
    keys = ReadKeys({}, lambda digit, shift: fired.append((digit, shift)) or True, lambda _hidden: None)
    keys.install()
    expected = []
    for place, characters in zip(PLACES, DIGIT_ROWS[layout]):
        for shift in (False, True):
            for kind in (QEvent.KeyPress, QEvent.KeyRelease):
                QApplication.sendEvent(screen.window, key_event(kind, characters[shift], shift, place))
            expected.append((place, shift))
    assert fired == expected
    keys.setEnabled(False)
    QApplication.sendEvent(screen.window, key_event(QEvent.KeyPress, "1", False, 1))
    keys.remove()
    QApplication.sendEvent(screen.window, key_event(QEvent.KeyPress, "1", False, 1))
    assert fired == expected


def test_no_event_enters_python_while_outlines_are_edited(screen, monkeypatch):
    """An event filter of the application sees every paint and mouse event: a brush stroke would stutter."""
    seen = []
    seen_by = _Filter.eventFilter
    monkeypatch.setattr(_Filter, "eventFilter", lambda *a: seen.append(a[2].type()) or seen_by(*a))
    keys = ReadKeys({}, lambda *_: False, lambda _hidden: None)

    def sees_events() -> bool:
        seen.clear()
        QApplication.sendEvent(screen.window, QEvent(QEvent.User))
        return bool(seen)

    keys.install()
    assert sees_events()
    keys.setEnabled(False)  # Edit mode
    assert not sees_events()
    keys.setEnabled(True)
    assert sees_events()
    keys.setEnabled(False)
    keys.remove()
    keys.install()
    assert sees_events()
    keys.remove()
    assert not sees_events()


def test_a05_no_key_is_left_after_the_module_was_left(reading):
    reading.panel.exit()
    reading.press(Qt.Key_2)
    reading.press(Qt.Key_W)
    assert reading.review.current.position == 0 and not reading.draft().codes
    reading.panel.enter()
    reading.press(Qt.Key_2)
    assert reading.draft().codes == {"para": "iso"}


def test_a06_keys_in_the_comment_rate_nothing(reading):
    field = reading.read.commentEdit
    field.setFocus()
    assert wait_until(lambda: field.hasFocus())
    QTest.keyClicks(field, "12 3wnqpcu?! Q.")
    slicer.app.processEvents()
    assert field.text == "12 3wnqpcu?! Q."
    assert not reading.draft().codes and reading.review.current.position == 0
    reading.press(Qt.Key_Return, receiver=field)
    assert reading.draft().comment == "12 3wnqpcu?! Q."
    assert reading.review.reading.ratings == ()


def test_keys_rate_at_once_after_the_start_also_if_a_text_field_had_the_focus(screen, tmp_path):
    screen.read.readButton.collapsed = False
    screen.read.raterEdit.setFocus()
    assert wait_until(lambda: screen.read.raterEdit.hasFocus())
    screen.open(folder=tmp_path)
    screen.press(Qt.Key_2)
    assert screen.draft().codes == {"para": "iso"}


def test_m_leads_into_the_comment_and_enter_out_of_it(reading):
    reading.press(Qt.Key_M)
    assert reading.read.commentEdit.hasFocus()
    QTest.keyClicks(reading.read.commentEdit, "thin")
    reading.press(Qt.Key_Return, receiver=reading.read.commentEdit)
    reading.press(Qt.Key_1)
    assert reading.draft().comment == "thin" and reading.draft().codes == {"para": "hypo"}


def test_a07_outlines_are_hidden_while_h_is_held(reading):
    display = reading.review.node.GetDisplayNode()
    QTest.keyPress(reading.window, Qt.Key_H)
    assert not display.GetVisibility()
    QTest.keyRelease(reading.window, Qt.Key_H)
    assert wait_until(lambda: bool(display.GetVisibility()), 2.0)


def test_a07_a_repeating_key_does_not_flicker(reading):
    display, seen = reading.review.node.GetDisplayNode(), []
    tag = display.AddObserver("ModifiedEvent", lambda *_: seen.append(bool(display.GetVisibility())))
    for _ in range(6):
        QTest.keyPress(reading.window, Qt.Key_H)
        QTest.keyRelease(reading.window, Qt.Key_H)
        slicer.app.processEvents()
    assert wait_until(lambda: bool(display.GetVisibility()), 2.0)
    display.RemoveObserver(tag)
    assert seen.count(False) <= 2 and seen[-1]
