"""Damaged headers: 500 random deletions and corruptions give the right scan or a typed error, never anything else."""

from __future__ import annotations

import collections
import random
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement

from ChiSepExtension.acquisition.dicom import read_dicom
from ChiSepExtension.errors import ChiSepError
from ChiSepExtension.phantom.dicom_files import write_dicom
from Testing.Python.core.dicom_scan import difference, scan

_PIXELS = 0x7FE00010
_JUNK = [b"", b"\0", b"abc", b"-1", b"0", b"1e999", b"nan", b"\xff\xfe\xfd", b"1\\2", b"999999", b"M", b"P", b"7.5"]
#: Corruptions of each style; 500 in all, more where there is more to damage.
_TRIALS = {"siemens": 140, "philips": 90, "ge": 70, "siemens-xa": 100, "philips-enhanced": 100}


@pytest.fixture(scope="module")
def truth():
    return scan((0.005, 0.011), (4, 10, 12), seed=1)


@pytest.mark.parametrize("style", sorted(_TRIALS))
@pytest.mark.filterwarnings("ignore")  # pydicom warns while the damage is written
def test_damaged_headers_give_the_scan_or_a_typed_error(tmp_path, truth, style):
    whole = tmp_path / "whole"
    write_dicom(whole, truth, style=style)
    outcomes = collections.Counter()
    for seed in range(_TRIALS[style]):
        folder = tmp_path / f"trial{seed}"
        shutil.copytree(whole, folder)
        damage = _damage(sorted(folder.glob("*.dcm")), random.Random(f"{style} {seed}"))
        try:
            read = read_dicom(folder)
        except ChiSepError as error:
            assert error.remedy, damage
            outcomes["refused"] += 1
        else:
            assert read.magnitude.shape == truth.magnitude.shape, damage
            assert read.grid.matches(truth.grid, 0.1), damage  # mm; a digit of a position far behind the point may go
            np.testing.assert_allclose(read.echo_times_s, truth.echo_times_s, atol=2e-5, err_msg=str(damage))
            assert abs(read.field_strength_t / truth.field_strength_t - 1) < 2e-3, damage
            magnitude, phase = difference(read, truth)
            assert (magnitude < 0.51 / 4095, phase < 4e-3) == (True, True), damage
            outcomes["read"] += 1
        shutil.rmtree(folder)
    # Both happen often: the damage neither always matters nor never.
    assert min(outcomes["read"], outcomes["refused"]) > 0.2 * _TRIALS[style]


def _damage(files: list[Path], rng: random.Random) -> tuple:
    """Damage one file (or take one element out of all) in one of nine ways. Returns what was done."""
    way = rng.choice(["delete", "junk", "digit", "delete everywhere", "bytes", "cut", "double", "remove", "swap"])
    path = rng.choice(files)
    if way == "remove":
        path.unlink()
    elif way == "cut":
        content = path.read_bytes()
        path.write_bytes(content[: rng.randrange(len(content))])
    elif way == "bytes":
        content = bytearray(path.read_bytes())
        end = content.rfind(b"\xe0\x7f\x10\x00")  # pixels have no check sum: damage there cannot be seen
        for _ in range(rng.choice([1, 1, 3, 20])):
            content[rng.randrange(128, end)] = rng.randrange(256)
        path.write_bytes(bytes(content))
    elif way == "double":
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = "1.2.3.4"
        dataset.save_as(path.with_name("double.dcm"))
    elif way == "delete everywhere":
        tag = rng.choice([element.tag for element in pydicom.dcmread(path) if element.tag != _PIXELS])
        for one in files:
            dataset = pydicom.dcmread(one)
            dataset.pop(tag, None)
            dataset.save_as(one)
        return way, str(tag)
    elif way == "swap":
        return way, path.name, _swap(path, rng.choice(files), rng)
    else:
        return way, path.name, _edit(path, way, rng)
    return way, path.name


def _swap(path: Path, other: Path, rng: random.Random) -> str:
    dataset, source = pydicom.dcmread(path), pydicom.dcmread(other)
    tags = [e.tag for e in dataset if e.tag in source and e.tag != _PIXELS and e.VR != "SQ"]
    tag = rng.choice(tags)
    dataset[tag].value = source[tag].value
    dataset.save_as(path)
    return str(tag)


def _edit(path: Path, way: str, rng: random.Random) -> str:
    dataset = pydicom.dcmread(path)
    place, tag = rng.choice([(p, t) for p, t in _elements(dataset) if t != _PIXELS])
    kind, value = place[tag].VR, b""
    if way == "delete":
        del place[tag]
    else:
        if way == "junk":
            value, kind = rng.choice(_JUNK), "UN" if kind == "SQ" else kind
        else:
            if kind in ("SQ", "US", "SS", "UL", "FD"):
                return "no digits"
            stored = place[tag].value
            text = "\\".join(map(str, stored)) if place[tag].VM > 1 else str(stored)
            digits = [n for n, letter in enumerate(text) if letter.isdigit()]
            if not digits:
                return "no digits"
            n = rng.choice(digits)
            value = (text[:n] + rng.choice("0123456789") + text[n + 1 :]).encode()
        place._dict[tag] = RawDataElement(tag, kind, len(value), value, 0, False, True)
    try:
        dataset.save_as(path)
    except (AttributeError, TypeError, ValueError):
        return "cannot be written"
    return f"{tag} {value!r}"


def _elements(dataset):
    for element in dataset:
        yield dataset, element.tag
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)
