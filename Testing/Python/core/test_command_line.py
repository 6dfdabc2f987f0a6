"""`chisep run` and the worker process: the files they leave, their exit status, and that nothing is half written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ChiSepExtension.cli import main
from ChiSepExtension.dipole import dipole_field, field_hz_per_ppm
from ChiSepExtension.geometry import Grid
from ChiSepExtension.notice import RESEARCH_USE
from ChiSepExtension.outputs import planned_files
from ChiSepExtension.volume_io import read_volume, write_volume

REPOSITORY = Path(__file__).resolve().parents[3]
TIMES = np.array([0.005, 0.011, 0.017, 0.023])
GRID = Grid.from_spacing((28, 34, 32), (1.5, 1.5, 1.5))
#: The check of the inputs is right to stop a ball of 30 ml from a scanner without a name.
REASON = "a ball of the tests, not a head"
OVERRIDE = ["--override", REASON, "--user", "tester"]


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    """A ball with one iron blob, as a BIDS folder, with a mask and an R2 map beside it."""
    folder = tmp_path_factory.mktemp("scan with spaces é")
    index = np.stack(np.meshgrid(*[np.arange(n) for n in GRID.shape], indexing="ij"), axis=-1)
    ras = GRID.index_to_ras(index)
    mask = np.linalg.norm(ras, axis=-1) < 19
    iron = 0.1 * np.exp(-0.5 * (np.linalg.norm(ras - np.array((6.0, 3.0, 2.0)), axis=-1) / 3) ** 2)
    field = dipole_field((iron * mask).astype(np.float32), GRID) * field_hz_per_ppm(3)
    times = TIMES.reshape(-1, 1, 1, 1)
    signal = np.where(mask, 1000, 0) * np.exp(-times * (18 + 137 * iron - 2j * np.pi * (field + 30)))
    noise = np.random.default_rng(0).normal(0, 5, (2, *signal.shape))
    signal = signal + noise[0] + 1j * noise[1]
    for n, echo_time in enumerate(TIMES):
        for part, data in (("mag", np.abs(signal[n])), ("phase", np.angle(signal[n]))):
            stem = f"sub-01_echo-{n + 1}_part-{part}_MEGRE"
            write_volume(folder / f"{stem}.nii.gz", data.astype(np.float32), GRID)
            (folder / f"{stem}.json").write_text(json.dumps({"EchoTime": echo_time, "MagneticFieldStrength": 3}))
    write_volume(folder / "given_mask.nii.gz", mask, GRID)
    write_volume(folder / "given_r2.nii.gz", np.full(GRID.shape, 14, np.float32), GRID)
    return folder


def run(scan: Path, output: Path, *more: str) -> int:
    given = ["--mask", str(scan / "given_mask.nii.gz"), "--r2", str(scan / "given_r2.nii.gz")]
    return main(["run", str(scan), "--output", str(output), "--no-scene", *given, *OVERRIDE, *more])


@pytest.fixture(scope="module")
def output(scan, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("maps") / "deep" / "folder"
    assert run(scan, folder, "--prefix", "sub-01_") == 0
    return folder


def test_every_planned_file_is_there_and_nothing_else(output):
    # No scene was asked for, and no spin echo was given from which R2 is measured.
    left_out = {f"sub-01_{name}" for name in ("scene.mrb", "R2map.nii.gz", "R2map.json")}
    assert {path.name for path in output.iterdir()} == {p.name for p in planned_files(output, "sub-01_")} - left_out


def test_maps_lie_on_the_grid_of_the_input_with_units_beside_them(output):
    chi, grid = read_volume(output / "sub-01_desc-paramagnetic_Chimap.nii.gz")
    assert grid.matches(GRID, 1e-3) and chi.dtype == np.float32
    sidecar = json.loads((output / "sub-01_desc-paramagnetic_Chimap.json").read_text())
    assert sidecar["Units"] == "ppm" and sidecar["Separation"]["dr_para"] == 137
    assert json.loads((output / "sub-01_R2starmap.json").read_text())["Units"] == "1/s"
    assert json.loads((output / "sub-01_desc-diamagnetic_Chimap.json").read_text())["SignConvention"] == "absolute"


def test_the_iron_is_where_it_was_put(output):
    chi, grid = read_volume(output / "sub-01_desc-paramagnetic_Chimap.nii.gz")
    peak = grid.index_to_ras(np.array(np.unravel_index(chi.argmax(), chi.shape)))
    assert np.linalg.norm(peak - (6.0, 3.0, 2.0)) < 2.5  # within about one voxel diagonal: not mirrored


def test_pictures_are_pictures(output):
    for name in ("desc-overlay.png", "desc-qc.png"):
        picture = np.asarray(Image.open(output / f"sub-01_{name}"))
        assert picture.shape[0] > 300 and picture.std() > 10


def test_provenance_names_every_input_file_by_hash(output, scan):
    record = json.loads((output / "sub-01_provenance.json").read_text())
    assert record["notice"] == RESEARCH_USE
    named = {entry["name"]: entry["sha256"] for entry in record["input"]["files"]}
    assert len(named) == 8
    import hashlib

    some = scan / "sub-01_echo-2_part-phase_MEGRE.nii.gz"
    assert named[some.name] == hashlib.sha256(some.read_bytes()).hexdigest()


def test_a_second_run_does_not_overwrite_unless_asked(scan, output, capsys):
    assert run(scan, output, "--prefix", "sub-01_") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(scan, output, "--prefix", "sub-01_", "--overwrite") == 0


def test_a_red_check_ends_the_run_before_it_begins(scan, tmp_path, capsys):
    assert main(["run", str(scan), "--output", str(tmp_path / "maps"), "--no-scene"]) == 2
    message = capsys.readouterr().err
    assert "Manufacturer" in message and "--override" in message
    assert not (tmp_path / "maps").exists()


def test_an_override_is_on_record_with_its_reason_and_name(output):
    override = json.loads((output / "sub-01_provenance.json").read_text())["gate"]["override"]
    assert (override["text"], override["user"]) == (REASON, "tester")


def test_one_word_is_no_reason(scan, tmp_path, capsys):
    assert main(["run", str(scan), "--output", str(tmp_path / "maps"), "--override", "ok"]) == 2
    assert "not a reason" in capsys.readouterr().err


def test_check_lists_every_row_and_writes_nothing(scan, capsys):
    before = sorted(scan.iterdir())
    assert main(["check", str(scan), "--mask", str(scan / "given_mask.nii.gz")]) == 2
    lines = capsys.readouterr().out.splitlines()
    colors = [line.split()[0] for line in lines if line.split()[0] in ("green", "amber", "red")]
    assert set(colors) == {"green", "amber", "red"} and lines[-1] == "The inputs are red."
    assert sorted(scan.iterdir()) == before


def test_the_named_manufacturer_is_checked_and_recorded(scan, capsys):
    main(["check", str(scan), "--mask", str(scan / "given_mask.nii.gz"), "--manufacturer", "Siemens"])
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "Manufacturer" in line)
    assert row.startswith("green") and "Siemens" in row


def test_wrong_input_says_what_and_how_to_mend_it_and_writes_nothing(scan, tmp_path, capsys):
    status = main(["run", str(scan), "--echo-times", "0.005", "0.011", "--output", str(tmp_path / "maps")])
    assert status == 2
    message = capsys.readouterr().err
    assert "4 echoes but 2 echo times" in message and "one echo time per echo" in message
    assert not (tmp_path / "maps").exists()


def test_an_output_that_is_a_file_is_refused_before_any_work(scan, tmp_path, capsys):
    (tmp_path / "maps").write_text("not a folder")
    assert run(scan, tmp_path / "maps") == 2
    assert "not a folder" in capsys.readouterr().err


def test_an_overwrite_that_fails_costs_nothing_of_the_earlier_run(scan, tmp_path, monkeypatch):
    from ChiSepExtension import outputs

    assert run(scan, tmp_path) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write, count = outputs.write_volume, iter(range(9))

    def disk_that_fills(*arguments):
        if next(count) == 3:
            raise OSError("No space left on device")
        return write(*arguments)

    monkeypatch.setattr(outputs, "write_volume", disk_that_fills)
    assert run(scan, tmp_path, "--overwrite") == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_account_without_a_name_is_asked_for_one(scan, tmp_path, monkeypatch, capsys):
    from ChiSepExtension import run_command

    def nameless():
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(run_command.getpass, "getuser", nameless)
    assert main(["run", str(scan), "--output", str(tmp_path / "maps"), "--override", "a ball of the tests"]) == 2
    assert "--user" in capsys.readouterr().err


def test_a_scene_that_cannot_be_written_costs_no_map(scan, tmp_path, monkeypatch):
    from ChiSepExtension.mrml import scene

    def broken(*_, **__):
        raise RuntimeError("no scene today")

    monkeypatch.setattr(scene, "write_scene", broken)
    given = ["--mask", str(scan / "given_mask.nii.gz")]
    assert main(["run", str(scan), "--output", str(tmp_path / "maps"), *given, *OVERRIDE]) == 0
    assert (tmp_path / "maps" / "provenance.json").exists()
    assert not (tmp_path / "maps" / "scene.mrb").exists()


def test_a_map_on_another_grid_is_refused_not_transposed(scan, tmp_path, capsys):
    wrong = write_volume(tmp_path / "r2.nii.gz", np.full((32, 34, 28), 14, np.float32), Grid.from_spacing((32, 34, 28)))
    assert main(["run", str(scan), "--r2", str(wrong), "--output", str(tmp_path / "maps")]) == 2
    assert "another grid" in capsys.readouterr().err


def test_a_map_of_the_same_voxels_in_another_order_is_turned(scan, output, tmp_path):
    mask, grid = read_volume(scan / "given_mask.nii.gz")
    flipped = Grid(grid.shape, grid.ijk_to_ras @ np.array([[-1, 0, 0, grid.shape[2] - 1], *np.eye(4)[1:]]))
    path = write_volume(tmp_path / "mask.nii.gz", mask[:, :, ::-1], flipped)
    given = ["--mask", str(path), "--r2", str(scan / "given_r2.nii.gz")]
    arguments = ["run", str(scan), *given, "--no-scene", *OVERRIDE]
    assert main([*arguments, "--output", str(tmp_path / "maps")]) == 0
    chi, _ = read_volume(tmp_path / "maps" / "desc-paramagnetic_Chimap.nii.gz")
    expected, _ = read_volume(output / "sub-01_desc-paramagnetic_Chimap.nii.gz")
    np.testing.assert_array_equal(chi, expected)


def test_python_dash_m_is_the_same_program():
    shown = subprocess.run(
        [sys.executable, "-m", "ChiSepExtension", "run", "--help"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert shown.returncode == 0 and "--echo-times" in shown.stdout


@pytest.mark.skipif(os.name != "posix", reason="sends an interrupt signal")
def test_ctrl_c_ends_the_run_with_status_3_and_leaves_no_file(scan, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "ChiSepExtension", "run", str(scan), "--output", str(tmp_path / "maps"), *OVERRIDE],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "Phase offset" in line:
            process.send_signal(signal.SIGINT)
            break
    process.stderr.read()
    assert process.wait(timeout=30) == 3
    assert not (tmp_path / "maps").exists()


# --- the worker of the Slicer module


def write_job(scan: Path, folder: Path, **changes) -> Path:
    from ChiSepExtension.acquisition import read_gradient_echo

    series = read_gradient_echo(scan)
    np.save(folder / "magnitude.npy", series.magnitude)
    np.save(folder / "phase.npy", series.phase)
    np.save(folder / "mask.npy", read_volume(scan / "given_mask.nii.gz")[0])
    job = {
        "package_root": str(REPOSITORY),
        "output_folder": "maps",
        "magnitude": "magnitude.npy",
        "phase": "phase.npy",
        "echo_times_s": list(TIMES),
        "field_strength_t": 3.0,
        "ijk_to_ras": GRID.ijk_to_ras.tolist(),
        "mask": "mask.npy",
        "r2_hz": None,
        "options": {"method": "closed-form"},
        **changes,
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def run_worker(job: Path) -> tuple[int, list[dict]]:
    worker = REPOSITORY / "ChiSepExtension" / "worker.py"
    done = subprocess.run([sys.executable, str(worker), str(job)], capture_output=True, text=True, cwd="/")
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_worker_reports_progress_and_leaves_maps(scan, tmp_path):
    status, events = run_worker(write_job(scan, tmp_path))
    assert status == 0
    assert events[0]["event"] == "started" and events[-1]["event"] == "done"
    fractions = [e["fraction"] for e in events if e["event"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    chi = np.load(tmp_path / "maps" / events[-1]["maps"]["chi_para"])
    assert chi.shape == GRID.shape and chi.max() > 0.02


def test_the_worker_says_what_is_wrong_in_words(scan, tmp_path):
    status, events = run_worker(write_job(scan, tmp_path, echo_times_s=[0.005]))
    assert status == 2
    assert events[-1]["event"] == "error" and "4 echoes but 1 echo times" in events[-1]["message"]
    assert events[-1]["remedy"]


@pytest.mark.skipif(os.name != "posix", reason="ends a process group")
def test_killing_the_workers_group_ends_it_at_once(scan, tmp_path):
    worker = REPOSITORY / "ChiSepExtension" / "worker.py"
    process = subprocess.Popen(
        [sys.executable, str(worker), str(write_job(scan, tmp_path))], stdout=subprocess.PIPE, text=True
    )
    started = json.loads(process.stdout.readline())
    assert started["pid"] == process.pid
    os.killpg(started["pid"], signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(timeout=10) == -signal.SIGTERM
    assert time.monotonic() - began < 2
    assert not (tmp_path / "maps" / "provenance.json").exists()
