"""Test code: `slicer.i18n` of an application that runs in English."""

from __future__ import annotations


def translate(context: str, text: str) -> str:
    return text


def tr(text: str) -> str:
    return text


def getContext(sourceFile: str) -> str:
    from pathlib import Path

    return Path(sourceFile).stem
