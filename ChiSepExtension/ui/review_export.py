"""Lock and export: the table that will be written, the lock over it, and the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ctk
import qt
from slicer.i18n import tr as _

from ..errors import ChiSepError, without_command_line
from ..lesions.measure_tables import measure_columns, measure_rows
from ..lesions.ratings import summary_counts
from ..lesions.tables import format_value
from ..mrml.review_files import is_intact, read_lock
from .compat import hasPackage
from .console_line import callText
from .waiting import busy

#: Columns of the preview: the rest of the table is in the file.
_STATISTICS = ("median", "contrast", "z", "rim_core")


class ExportPart:
    """The section “Lock and export”.

    Parameters
    ----------
    ui
        Widgets of ``ReviewExport.ui`` by name.
    logic
        The module's Logic.
    log
        Takes a line for the log.
    changed
        Called after the read was locked or unlocked.
    """

    def __init__(self, ui, logic, log: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._ui, self._logic, self._log, self._changed = ui, logic, log, changed
        ui.exportFolderPath.filters = ctk.ctkPathLineEdit.Dirs
        connected = [
            ui.previewButton.connect("clicked(bool)", lambda _on: self.preview()),
            ui.lockButton.connect("clicked(bool)", lambda _on: self._call("lock")),
            ui.unlockButton.connect("clicked(bool)", lambda _on: self._call("unlock")),
            ui.writeButton.connect("clicked(bool)", lambda _on: self.export()),
            ui.exportButton.connect("contentsCollapsed(bool)", lambda _collapsed: self.refresh()),
        ]
        if not all(connected):
            raise RuntimeError("A control of the export has lost its signal.")
        self.refresh()

    @property
    def _reading(self):
        logic = self._logic
        return logic.review.ratings if logic.hasReview else None

    def preview(self) -> None:
        """Measure, and show numbers beside codes; in blind reading only when every lesion is rated."""
        reading = self._reading
        if reading is None:
            self.tell(_("Start a reading first."))
            return
        try:
            review = self._logic.review
            waiting = len(reading.unrated(review.lesions))
            if reading.is_blind and waiting:
                self.tell(_("Numbers stay hidden until the last of {n} lesions is rated.").format(n=waiting))
                return
            rows = busy(self._logic.measure)
        except ChiSepError as error:
            self.tell(str(error))
            return
        self._log("ChiSepModuleLogic().measure()")
        self.tell("")
        maps = list(rows[0].maps) if rows else []
        names = ["name", "volume_mm3", "max_diam_mm"]
        names += [c.name for c in measure_columns(maps) if any(f"_{s}" in c.name for s in _STATISTICS)]
        names = [name for name in names if "shell_median" not in name]
        codes = [field.name for field in reading.codebook.fields]
        table = self._ui.previewTable
        table.setColumnCount(len(names) + len(codes))
        table.setHorizontalHeaderLabels([*names, *codes])
        table.setRowCount(len(rows))
        for row, values in enumerate(measure_rows(rows)):
            rating = reading.rating(values["lesion_uid"])
            given = rating.codes if rating is not None else {}
            texts = [_short(values.get(name)) for name in names] + [given.get(code, "") for code in codes]
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
        table.visible = True

    def export(self) -> None:
        """Write the locked read."""
        ui = self._ui
        folder = ui.exportFolderPath.currentPath.strip()
        arguments = {
            "path": folder,
            "subject": ui.subjectEdit.text.strip(),
            "session": ui.sessionEdit.text.strip(),
            "deidentified": bool(ui.searchCheckBox.checked),
            "withMaps": bool(ui.withMapsCheckBox.checked),
        }
        if not folder or self._reading is None:
            self.tell(_("Lock a reading, and choose a folder."))
            return
        try:
            found = busy(lambda: self._logic.export(**arguments))
            self._log(callText("ChiSepModuleLogic().export", **arguments))
            if ui.dicomCheckBox.checked:
                place = str(Path(folder) / "dicom" / found.lock.stem)
                dicom = {"path": place, "deidentified": arguments["deidentified"]}
                busy(lambda: self._logic.exportDicom(**dicom))
                self._log(callText("ChiSepModuleLogic().exportDicom", **dicom))
        except (ChiSepError, OSError) as error:
            self.tell(str(error))
            return
        self.tell(
            _("{count} files, version {version}, read back and locked: {lock}").format(
                count=len(found.files), version=found.version, lock=found.lock
            )
        )

    def refresh(self) -> None:
        """Show counts and lock of the reading."""
        ui, reading = self._ui, self._reading
        ui.previewTable.visible = bool(ui.previewTable.rowCount)
        ui.exportMessageLabel.visible = bool(ui.exportMessageLabel.text)
        locked = reading is not None and self._logic.review.is_locked
        ui.dicomCheckBox.enabled = hasPackage("highdicom")
        for button in (ui.previewButton, ui.lockButton):
            button.enabled = reading is not None
        ui.lockButton.enabled = reading is not None and not locked
        ui.unlockButton.enabled = ui.writeButton.enabled = locked
        ui.countsLabel.text = "" if reading is None else countsText(reading, self._logic.review)
        ui.countsLabel.visible = bool(ui.countsLabel.text)
        lock = read_lock(self._logic.review) if reading is not None else None
        ui.lockLabel.text = "" if lock is None else self._lockText(lock, locked)
        ui.lockLabel.visible = bool(ui.lockLabel.text)

    def tell(self, text: str) -> None:
        self._ui.exportMessageLabel.text = without_command_line(text)
        self._ui.exportMessageLabel.visible = bool(text)

    def reset(self) -> None:
        """The scene is closed, or another review begins."""
        self._ui.previewTable.setRowCount(0)
        self.tell("")
        self.refresh()

    def _call(self, name: str) -> None:
        try:
            busy(getattr(self._logic, name))
        except ChiSepError as error:
            self.tell(str(error))
            return
        self._log(f"ChiSepModuleLogic().{name}()")
        self.tell("")
        self._changed()
        self.refresh()

    def _lockText(self, lock, locked: bool) -> str:
        state = _("locked") if locked else _("unlocked since")
        return _("Version {version}, {state}: SHA-256 {start}…, {time}").format(
            version=lock.version, state=state, start=lock.sha256[:16], time=lock.locked_utc
        )

    def isIntact(self) -> bool:
        """True if nothing under the lock has changed."""
        return self._reading is not None and is_intact(self._logic.review)


def countsText(reading, review) -> str:
    """How often each code was given: counts, never a conclusion; blind readings show them at their end."""
    lines = [reading.progress_text(review.outlines.history.current)]
    if reading.is_blind and reading.unrated(review.outlines.history.current):
        return lines[0]
    for name, counts in summary_counts(reading.ratings, reading.codebook).items():
        used = {code: n for code, n in counts.items() if n}
        if used:
            labels = {code.code: code.label for code in reading.codebook[name].codes}
            given = ", ".join(f"{labels[code]} {n}" for code, n in used.items())
            lines.append(f"{reading.codebook[name].label}: {given}")
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) and value == value else format_value(value)
