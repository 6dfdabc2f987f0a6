"""``chisep acquisition`` and ``chisep run`` on a folder of DICOM files."""

from __future__ import annotations

import json

from ChiSepExtension.cli import main
from ChiSepExtension.phantom.dicom_files import write_dicom
from Testing.Python.core.dicom_scan import scan


def test_acquisition_prints_what_a_folder_holds_and_writes_it_as_json(tmp_path, capsys):
    write_dicom(tmp_path / "dicom", scan(), style="philips")
    assert main(["acquisition", str(tmp_path / "dicom"), "--json", str(tmp_path / "list.json")]) == 0
    printed = capsys.readouterr().out
    assert "Multi-echo GRE (magnitude + phase, 4 echoes)" in printed
    assert "Would be used: #1" in printed
    (listed,) = json.loads((tmp_path / "list.json").read_text(encoding="utf-8"))["scans"]
    assert listed["parts"] == {"magnitude": 4, "phase": 4}
    assert listed["echo_times_s"] == [0.005, 0.011, 0.0175, 0.023]


def test_acquisition_tells_scripts_that_nothing_can_be_used(tmp_path, capsys):
    paths = write_dicom(tmp_path, scan(), style="siemens")
    paths[3].unlink()
    assert main(["acquisition", str(tmp_path)]) == 2
    assert "1 slice is missing between scan_00003.dcm and scan_00005.dcm" in capsys.readouterr().out


def test_a_folder_that_does_not_exist_is_named_without_traceback(tmp_path, capsys):
    assert main(["acquisition", str(tmp_path / "nothing")]) == 2
    assert "There is no file or folder" in capsys.readouterr().err


def test_run_says_what_is_wrong_with_a_dicom_folder(tmp_path, capsys):
    paths = write_dicom(tmp_path / "dicom", scan(), style="siemens")
    paths[3].unlink()
    assert main(["run", str(tmp_path / "dicom"), "--output", str(tmp_path / "out")]) == 2
    assert "1 slice is missing" in capsys.readouterr().err
