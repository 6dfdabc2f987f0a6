"""Test code: stand-ins of the CTK widgets that the project's `.ui` files use."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from .pythonqt import pythonic

HEADER_HEIGHT = 24
NO_LIMIT = (1 << 24) - 1  # QWIDGETSIZE_MAX


def stored(kind, name: str, default) -> QtCore.Property:
    """A Qt property that only keeps its value, reached both by the `.ui` loader and as an attribute."""
    key = "_stored_" + name
    return QtCore.Property(kind, lambda s: s.__dict__.get(key, default), lambda s, v: s.__dict__.__setitem__(key, v))


def forwarded(kind, part: str, name: str) -> QtCore.Property:
    """The Qt property `name` of the inner widget `part`."""
    return QtCore.Property(
        kind, lambda s: getattr(getattr(s, part), name), lambda s, v: setattr(getattr(s, part), name, v)
    )


# The inner widgets have PythonQt's manners as well: `childWidgetVariables` hands them out, as in Slicer.
_Line, _Box, _Slider = (pythonic(c) for c in (QtWidgets.QLineEdit, QtWidgets.QDoubleSpinBox, QtWidgets.QSlider))


class ctkCollapsibleButton(pythonic(QtWidgets.QAbstractButton)):
    """A header that shows and hides the widgets inside."""

    _stand_in = True
    contentsCollapsed = QtCore.Signal(bool)
    flat = stored(bool, "flat", False)
    collapsedHeight = stored(int, "collapsedHeight", 14)
    contentsFrameShape = stored("QString", "contentsFrameShape", "")

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._hidden_here: list[QtWidgets.QWidget] = []
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(6, HEADER_HEIGHT + 2, 6, 6)
        self.toggled.connect(self._toggled)

    def _toggled(self, checked: bool) -> None:
        self.fold()
        self.contentsCollapsed.emit(not checked)

    def fold(self) -> None:
        """Bring the widgets inside in line with the header; the loader calls it when they are there."""
        if self._collapsed():
            inside = [c for c in QtCore.QObject.children(self) if isinstance(c, QtWidgets.QWidget) and not c.isHidden()]
            self._hidden_here += inside
            for child in inside:
                child.hide()
        else:
            for child in self._hidden_here:
                child.show()
            self._hidden_here.clear()
        self.setMaximumHeight(HEADER_HEIGHT + 2 if self._collapsed() else NO_LIMIT)
        self.updateGeometry()

    def _collapsed(self) -> bool:
        return not QtWidgets.QAbstractButton.isChecked(self)

    collapsed = QtCore.Property(bool, _collapsed, lambda s, v: s.setChecked(not v))

    def setCollapsed(self, value: bool) -> None:
        self.setChecked(not value)

    def hitButton(self, position) -> bool:
        return position.y() < HEADER_HEIGHT

    def sizeHint(self):
        layout = QtWidgets.QWidget.layout(self)
        inside = layout.totalSizeHint() if layout else QtCore.QSize(120, HEADER_HEIGHT)
        return QtCore.QSize(inside.width(), HEADER_HEIGHT) if self._collapsed() else inside

    def minimumSizeHint(self):
        layout = QtWidgets.QWidget.layout(self)
        folded = layout is None or self._collapsed()
        return QtCore.QSize(80, HEADER_HEIGHT) if folded else layout.totalMinimumSize()

    def paintEvent(self, _event) -> None:
        painter = QtGui.QPainter(self)
        painter.fillRect(0, 0, QtWidgets.QWidget.width(self), HEADER_HEIGHT - 2, QtGui.QColor(216, 220, 228))
        arrow = "\u25b8 " if self._collapsed() else "\u25be "
        painter.drawText(8, HEADER_HEIGHT - 8, arrow + QtWidgets.QAbstractButton.text(self))
        painter.end()


class ctkSliderWidget(pythonic(QtWidgets.QWidget)):
    """A slider beside a spin box."""

    _stand_in = True
    valueChanged = QtCore.Signal(float)
    valueChanging = QtCore.Signal(float)
    tracking = stored(bool, "tracking", True)
    pageStep = stored(float, "pageStep", 1.0)
    tickInterval = stored(float, "tickInterval", 0.1)
    spinBoxVisible = stored(bool, "spinBoxVisible", True)
    value = forwarded(float, "_box", "value")
    minimum = forwarded(float, "_box", "minimum")
    maximum = forwarded(float, "_box", "maximum")
    singleStep = forwarded(float, "_box", "singleStep")
    decimals = forwarded(int, "_box", "decimals")
    suffix = forwarded(str, "_box", "suffix")
    prefix = forwarded(str, "_box", "prefix")

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._box, self._slider = _Box(), _Slider(QtCore.Qt.Horizontal)
        self._slider.setRange(0, 1000)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._box)
        self._box.valueChanged.connect(self._box_changed)
        self._slider.sliderMoved.connect(self._slider_moved)

    def _box_changed(self, value: float) -> None:
        low, high = self._box.minimum, self._box.maximum
        self._slider.setValue(round(1000 * (value - low) / (high - low)) if high > low else 0)
        self.valueChanged.emit(value)

    def _slider_moved(self, position: int) -> None:
        low, high = self._box.minimum, self._box.maximum
        self._box.setValue(low + position / 1000 * (high - low))

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def setRange(self, low: float, high: float) -> None:
        self._box.setRange(low, high)


class ctkRangeWidget(pythonic(QtWidgets.QWidget)):
    """Two spin boxes for a lower and an upper value."""

    _stand_in = True
    valuesChanged = QtCore.Signal(float, float)
    SIGNALS = {"valuesChanged(double,double)": "valuesChanged"}
    minimumValue = forwarded(float, "_low", "value")
    maximumValue = forwarded(float, "_high", "value")
    minimum = forwarded(float, "_low", "minimum")
    maximum = forwarded(float, "_high", "maximum")
    singleStep = stored(float, "singleStep", 1.0)
    decimals = stored(int, "decimals", 2)
    suffix = stored(str, "suffix", "")

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._low, self._high = _Box(), _Box()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for box in (self._low, self._high):
            row.addWidget(box)
            box.setDecimals(4)
            box.valueChanged.connect(lambda _v: self.valuesChanged.emit(self._low.value, self._high.value))

    def setRange(self, low: float, high: float) -> None:
        for box in (self._low, self._high):
            box.setRange(low, high)

    def setValues(self, low: float, high: float) -> None:
        self._low.setValue(low)
        self._high.setValue(high)


class ctkPathLineEdit(pythonic(QtWidgets.QWidget)):
    """A line with a path in it, and a button that opens nothing here."""

    _stand_in = True
    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)
    settingKey = stored(str, "settingKey", "")
    label = stored(str, "label", "")
    showHistoryButton = stored(bool, "showHistoryButton", True)
    showBrowseButton = stored(bool, "showBrowseButton", True)
    nameFilters = stored("QStringList", "nameFilters", [])
    sizeAdjustPolicy = stored("QString", "sizeAdjustPolicy", "")
    currentPath = forwarded(str, "_line", "text")
    toolTipText = stored(str, "toolTipText", "")
    filters = stored("QString", "filters", "")  # names of ctkPathLineEdit::Filter, as a .ui file writes them
    Files, Dirs, Readable, Writable, NoDot, NoDotDot = 0x002, 0x001, 0x010, 0x020, 0x2000, 0x4000

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._line = _Line()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._line)
        row.addWidget(QtWidgets.QToolButton(text="..."))
        self._line.textChanged.connect(self.currentPathChanged)

    def setCurrentPath(self, path: str) -> None:
        self._line.setText(path)

    def addCurrentPathToHistory(self) -> None:
        pass


class ctkDirectoryButton(pythonic(QtWidgets.QPushButton)):
    """Shows a folder."""

    _stand_in = True
    directoryChanged = QtCore.Signal(str)
    caption = stored(str, "caption", "")

    def _set_directory(self, path: str) -> None:
        if path != QtWidgets.QPushButton.text(self):
            self.setText(path)
            self.directoryChanged.emit(path)

    directory = QtCore.Property(str, lambda s: QtWidgets.QPushButton.text(s), _set_directory)


class _Combo(pythonic(QtWidgets.QComboBox)):
    _stand_in = True
    defaultText = stored(str, "defaultText", "")
    elideMode = stored("QString", "elideMode", "")
    scrollWheelEffect = stored("QString", "scrollWheelEffect", "")


def _renamed(name: str, base: type) -> type:
    return type(base)(name, (base,), {"_stand_in": True})


ctkComboBox = _renamed("ctkComboBox", _Combo)
ctkDoubleSpinBox = _renamed("ctkDoubleSpinBox", pythonic(QtWidgets.QDoubleSpinBox))
ctkCheckBox = _renamed("ctkCheckBox", pythonic(QtWidgets.QCheckBox))
ctkFittedTextBrowser = _renamed("ctkFittedTextBrowser", pythonic(QtWidgets.QTextBrowser))
ctkSearchBox = _renamed("ctkSearchBox", pythonic(QtWidgets.QLineEdit))


class ctkCollapsibleGroupBox(pythonic(QtWidgets.QGroupBox)):
    """A group box that hides its contents when unchecked."""

    _stand_in = True
    collapsedHeight = stored(int, "collapsedHeight", 14)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.toggled.connect(self.fold)

    def fold(self, *_args) -> None:
        for child in QtCore.QObject.children(self):
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(QtWidgets.QGroupBox.isChecked(self))

    collapsed = QtCore.Property(
        bool, lambda s: not QtWidgets.QGroupBox.isChecked(s), lambda s, v: QtWidgets.QGroupBox.setChecked(s, not v)
    )


CTK_CLASSES = {
    cls.__name__: cls
    for cls in (
        ctkCheckBox,
        ctkCollapsibleButton,
        ctkCollapsibleGroupBox,
        ctkComboBox,
        ctkDirectoryButton,
        ctkDoubleSpinBox,
        ctkFittedTextBrowser,
        ctkPathLineEdit,
        ctkRangeWidget,
        ctkSearchBox,
        ctkSliderWidget,
    )
}
