"""Messages can be read by someone who clicks and by someone who types."""

from __future__ import annotations

import ast
from pathlib import Path

from ChiSepExtension.errors import without_command_line

PACKAGE = Path(__file__).resolve().parents[3] / "ChiSepExtension"

#: Code that only the command line runs.
COMMAND_LINE = {"cli.py", "cli_tools.py", "commands.py", "terminal.py", "demo.py", "__main__.py", "benchmark.py"}


def test_what_only_the_command_line_offers_is_left_out_for_the_panel():
    assert without_command_line("Give a mask (--mask).") == "Give a mask."
    assert without_command_line("Import them once (chisep weights import FOLDER).") == "Import them once."


def test_other_brackets_stay():
    text = "R2′ was not measured (constant R2): χ_para (iron) is biased."
    assert without_command_line(text) == text


def _shown_strings(path: Path):
    """Strings that are not docstrings, with the line where each begins."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def test_no_flag_of_the_command_line_stands_outside_brackets():
    """Else the panel tells a clinician to type `--mask`."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name not in COMMAND_LINE and path.name != "errors.py"
        for line, text in _shown_strings(path)
        if " --" in without_command_line(text) or "chisep " in without_command_line(text)
    ]
    assert not found, "\n".join(found)
