"""Two readers side by side, and the joint session on what differs; the files of the readers stay as they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import qt
from slicer.i18n import tr as _

from ..errors import ChiSepError, InputError, without_command_line
from ..lesions.agreement import FieldAgreement, agreement_text
from ..lesions.consensus import UNRESOLVED, Consensus
from ..lesions.rating_tables import read_ratings
from .console_line import callText
from .waiting import busy


class AgreePart:
    """The section “Agree”.

    Parameters
    ----------
    ui
        Widgets of ``ReviewAgree.ui`` by name.
    logic
        The module's Logic.
    log
        Takes a line for the log.
    jumpTo
        ``jumpTo(uid)`` shows a lesion.
    """

    def __init__(self, ui, logic, log: Callable[[str], None], jumpTo: Callable[[str], None]) -> None:
        self._ui, self._logic, self._log, self._jumpTo = ui, logic, log, jumpTo
        self._agreement = None
        self.consensus: Consensus | None = None
        connected = [
            ui.compareButton.connect("clicked(bool)", lambda _on: self.compare()),
            ui.fieldComboBox.connect("activated(int)", lambda _index: self._showField()),
            ui.discordantTable.connect("cellClicked(int,int)", lambda row, _column: self._showDecision(row)),
            ui.resolveButton.connect("clicked(bool)", lambda _on: self.resolve()),
            ui.agreeButton.connect("contentsCollapsed(bool)", lambda _collapsed: self._showWhatThereIs()),
        ]
        if not all(connected):
            raise RuntimeError("A control of the agreement has lost its signal.")
        self._showWhatThereIs()

    def compare(self) -> None:
        """Compare the two files; in blind reading only when the own reading is complete."""
        first, second = (p.currentPath.strip() for p in (self._ui.firstRatingsPath, self._ui.secondRatingsPath))
        if not first and self._logic.hasReview and self._logic.review.ratings is not None:
            first = str(self._logic.review.reading.path)
            self._ui.firstRatingsPath.currentPath = first
        if not first or not second:
            self.tell(_("Choose the rating files of both readers."))
            return
        try:
            self._requireFinished()
            self._agreement = busy(lambda: self._logic.agreement(first, second))
            a, b = read_ratings(first), read_ratings(second)
            name = f"consensus_{a.rater}_{b.rater}.tsv"
            self.consensus = Consensus(Path(first).with_name(name), a, b)
        except ChiSepError as error:
            self.tell(str(error))
            return
        self._log(callText("ChiSepModuleLogic().agreement", a=first, b=second))
        self._ui.fieldComboBox.clear()
        for field in self._agreement.fields:
            self._ui.fieldComboBox.addItem(field.field + (_(" (with cannot tell)") if field.with_na else ""))
        self.tell("\n".join(self._agreement.remarks))
        self._showWhatThereIs()

    def resolve(self) -> None:
        """Store the joint code of the selected line."""
        row = self._ui.discordantTable.currentRow()
        if self.consensus is None or row < 0:
            self.tell(_("Click a line of the list first."))
            return
        decision = self.consensus.decisions[row]
        final, by, reason = self._ui.finalComboBox.currentText, self._ui.byEdit.text.strip(), self._ui.reasonEdit.text
        try:
            self._logic.requireAnonymous(f"{by} {reason}")
            self.consensus.resolve(decision.uid, decision.field, final, by=by, reason=reason)
        except ChiSepError as error:
            self.tell(str(error))
            return
        self._ui.reasonEdit.text = ""
        self.tell("")
        self._fillDecisions()
        following = next((n for n, d in enumerate(self.consensus.decisions) if not d.final), None)
        if following is not None:
            self._ui.discordantTable.setCurrentCell(following, 0)
            self._showDecision(following)

    def text(self) -> str:
        """The panel as text, with every field."""
        return "" if self._agreement is None else agreement_text(self._agreement)

    def tell(self, text: str) -> None:
        self._ui.agreeMessageLabel.text = without_command_line(text)
        self._ui.agreeMessageLabel.visible = bool(text)

    def reset(self) -> None:
        """Forget the comparison: another case, or the scene is closed."""
        self._agreement = self.consensus = None
        self._showWhatThereIs()

    def _requireFinished(self) -> None:
        logic = self._logic
        if not logic.hasReview or logic.review.ratings is None or not logic.review.reading.is_blind:
            return
        if logic.review.reading.unrated(logic.review.lesions):
            raise InputError(_("The blind reading is not complete."), _("Finish it before looking at another reader."))

    def _showWhatThereIs(self) -> None:
        ui, has = self._ui, self._agreement is not None
        for widget in (
            ui.fieldLabel, ui.fieldComboBox, ui.kappaLabel, ui.confusionTable, ui.discordantLabel, ui.discordantTable,
            ui.finalLabel, ui.finalComboBox, ui.byEdit, ui.reasonLabel, ui.reasonEdit, ui.resolveButton,
        ):  # fmt: skip
            widget.visible = has
        ui.agreeMessageLabel.visible = bool(ui.agreeMessageLabel.text)
        if has:
            self._showField()
            self._fillDecisions()

    def _showField(self) -> None:
        index = self._ui.fieldComboBox.currentIndex
        if self._agreement is None or not 0 <= index < len(self._agreement.fields):
            return
        field = self._agreement.fields[index]
        self._ui.kappaLabel.text = fieldText(field)
        table = self._ui.confusionTable
        table.setRowCount(len(field.labels))
        table.setColumnCount(len(field.labels) + 1)
        table.setHorizontalHeaderLabels([self._agreement.rater_a + " \\ " + self._agreement.rater_b, *field.labels])
        for row, label in enumerate(field.labels):
            for column, value in enumerate([label, *(str(n) for n in field.matrix[row])]):
                table.setItem(row, column, qt.QTableWidgetItem(value))
        table.resizeColumnsToContents()

    def _fillDecisions(self) -> None:
        decisions, table = self.consensus.decisions, self._ui.discordantTable
        names = self._names()
        table.setColumnCount(6)
        table.setHorizontalHeaderLabels([_("Lesion"), _("Field"), _("First"), _("Second"), _("Why"), _("Joint code")])
        table.setRowCount(len(decisions))
        for row, d in enumerate(decisions):
            for column, text in enumerate((names.get(d.uid, d.case), d.field, d.a, d.b, d.cause, d.final)):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
        self._ui.discordantLabel.text = _("{open} of {count} lines wait for a joint code.").format(
            open=len(self.consensus.open), count=len(decisions)
        )

    def _names(self) -> dict[str, str]:
        if not self._logic.hasReview or self._logic.review.outlines.history is None:
            return {}
        return {lesion.uid: lesion.name for lesion in self._logic.review.outlines.history.current.lesions}

    def _showDecision(self, row: int) -> None:
        if self.consensus is None or not 0 <= row < len(self.consensus.decisions):
            return
        decision = self.consensus.decisions[row]
        codes = ("yes", "no") if decision.field == "excluded" else self._codebookOrder(decision.field)
        self._ui.finalComboBox.clear()
        # Nothing is chosen for the session: the first line is empty.
        for code in ("", *codes, UNRESOLVED):
            self._ui.finalComboBox.addItem(code)
        if decision.final:
            self._ui.finalComboBox.setCurrentText(decision.final)
        self._jumpTo(decision.uid)

    def _codebookOrder(self, name: str) -> tuple[str, ...]:
        return self.consensus.codebook[name].order


def fieldText(field: FieldAgreement) -> str:
    """Agreement of one field in words; what is undefined is called so."""
    lines = [_("{agreed} of {n} identical").format(agreed=field.agreed, n=field.n)]
    if field.n:
        low, high = field.raw_interval
        lines[0] += f": {100 * field.raw:.1f} % [{100 * low:.1f}–{100 * high:.1f}]"
    lines.append("κ " + _value(field.kappa))
    if field.linear is not None:
        lines.append(_("κ, linear weights, {n} pairs on the scale: ").format(n=field.linear_n) + _value(field.linear))
    lines.append(f"PABAK {_number(field.pabak)}   AC1 {_number(field.ac1)}")
    if field.positive_code:
        lines.append(
            _("on {code}: positive {positive}, negative {negative}").format(
                code=field.positive_code, positive=_number(field.positive), negative=_number(field.negative)
            )
        )
    return "\n".join(lines)


def _value(coefficient) -> str:
    if math.isnan(coefficient.value):
        return _("undefined: both raters used one category, or no pair")
    interval = coefficient.interval
    if interval is None or math.isnan(interval.low):
        return f"{coefficient.value:.3f} " + _("[no interval: one patient]")
    return f"{coefficient.value:.3f} [{interval.low:.3f}–{interval.high:.3f}]"


def _number(value: float) -> str:
    return _("undefined") if math.isnan(value) else f"{value:.3f}"
