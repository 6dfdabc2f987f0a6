"""``chisep lesions`` from files: units, signs, geometry, identifiers, and the text on the terminal."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.lesions.commands import measure_command
from ChiSepExtension.lesions.components import find_lesions
from ChiSepExtension.lesions.lesion_files import write_lesions
from ChiSepExtension.lesions.map_files import read_maps
from ChiSepExtension.lesions.tables import read_table
from ChiSepExtension.notice import RESEARCH_USE
from ChiSepExtension.volume_io import write_volume
from Testing.Python.core.lesion_phantom import Sphere, phantom, stored_as

SHAPE = (40, 48, 44)
NAMES = {
    "chi_para": "desc-paramagnetic_Chimap",
    "chi_dia": "desc-diamagnetic_Chimap",
    "chi_total": "Chimap",
    "r2star": "R2starmap",
    "r2prime": "R2primemap",
}


@pytest.fixture(scope="module")
def head():
    spheres = [Sphere((20, 24, 12), 9, "rim"), Sphere((20, 24, 26), 7, "hyper"), Sphere((14, 14, 20), 1, "hypo")]
    return phantom(SHAPE, spheres)


@pytest.fixture
def case(tmp_path, head):
    """Folder as the pipeline writes it, with the lesion mask beside it; ``write`` replaces one map."""

    def write(turn=lambda a: (a, head.grid), prefix="", **changed):
        folder = tmp_path / "maps"
        for name, file in NAMES.items():
            array, grid = turn(changed.get(name, head.maps[name]))
            write_volume(folder / f"{prefix}{file}.nii.gz", array.astype(np.float32), grid)
        write_volume(folder / f"{prefix}desc-brain_mask.nii.gz", *turn(head.mask))
        write_volume(tmp_path / "lesions.nii.gz", *turn(head.lesion_mask))
        write_volume(tmp_path / "wm.nii.gz", *turn(head.white_matter))
        return folder, tmp_path / "lesions.nii.gz"

    return write


def test_folder_and_mask_become_a_table_with_its_description(case, tmp_path):
    result = measure_command(*case(prefix="sub-01_"), tmp_path / "t.tsv", white_matter=tmp_path / "wm.nii.gz")
    rows, about = read_table(tmp_path / "t.tsv")
    assert result.exit_code == 0 and [p.name for p in result.files] == ["t.tsv", "t.json"]
    assert len(rows) == 3 and {"chi_para_median_ppb", "chi_total_z", "r2prime_mean_per_s"} <= set(rows[0])
    assert result.text.startswith(RESEARCH_USE) and "2 lesions" in result.text and "1 below 3 mm" in result.text
    assert about["Vessels"].startswith("vesselness") and about["WhiteMatter"] == "given"
    assert set(about["Maps"]) == {*NAMES, "mask"} and len(about["LesionMask"]) == 64


def test_columns_follow_the_maps_not_the_alphabet(case, tmp_path):
    measure_command(*case(), tmp_path / "t.tsv")
    header = (tmp_path / "t.tsv").read_text().split("\n")[0].split("\t")
    means = [name for name in header if "_mean_" in name]
    assert means == [
        "chi_para_mean_ppb",
        "chi_dia_mean_ppb",
        "chi_total_mean_ppb",
        "r2star_mean_per_s",
        "r2prime_mean_per_s",
    ]


def test_missing_white_matter_is_said_on_the_terminal_and_in_the_table(case, tmp_path):
    result = measure_command(*case(), tmp_path / "t.tsv")
    assert "No white matter mask" in result.text
    assert "grey matter" in read_table(tmp_path / "t.tsv")[1]["WhiteMatter"]


def test_a14_negative_diamagnetic_map_asks_and_then_gives_the_same_table(case, tmp_path, head):
    measure_command(*case(), tmp_path / "positive.tsv")
    negative = case(chi_dia=-head.maps["chi_dia"])
    with pytest.raises(InputError, match="sign"):
        measure_command(*negative, tmp_path / "negative.tsv")
    measure_command(*negative, tmp_path / "negative.tsv", dia_sign="negative")
    assert (tmp_path / "negative.tsv").read_bytes() == (tmp_path / "positive.tsv").read_bytes()


def test_map_in_ppb_asks_and_then_gives_the_same_numbers(case, tmp_path, head):
    measure_command(*case(), tmp_path / "ppm.tsv")
    ppb = case(**{name: 1000 * head.maps[name] for name in ("chi_para", "chi_dia", "chi_total")})
    with pytest.raises(InputError, match="looks like ppb"):
        measure_command(*ppb, tmp_path / "ppb.tsv")
    measure_command(*ppb, tmp_path / "ppb.tsv", chi_unit="ppb")
    # float32 rounding of the factor 1000: 1e-6 of the values, of 20 ppb.
    for a, b in zip(read_table(tmp_path / "ppm.tsv")[0], read_table(tmp_path / "ppb.tsv")[0]):
        assert float(a["chi_para_median_ppb"]) == pytest.approx(float(b["chi_para_median_ppb"]), rel=1e-6)


def test_wrong_answer_to_the_question_of_sign_is_refused(case, tmp_path):
    with pytest.raises(InputError, match="not negative"):
        measure_command(*case(), tmp_path / "t.tsv", dia_sign="negative")


def test_a27_files_in_another_storage_order_give_the_same_table(case, tmp_path, head):
    measure_command(*case(), tmp_path / "a.tsv")
    turned = case(turn=lambda a: stored_as(a, head.grid, (2, 0, 1), (0, 2)))
    measure_command(*turned, tmp_path / "b.tsv")
    first, second = read_table(tmp_path / "a.tsv")[0], read_table(tmp_path / "b.tsv")[0]
    assert [r["lesion_uid"] for r in first] == [r["lesion_uid"] for r in second]
    for a, b in zip(first, second):
        for name in a:
            if name.startswith("chi_") and a[name] != "n/a":
                assert float(a[name]) == pytest.approx(float(b[name]), rel=1e-6)


def test_a64_mask_on_another_grid_is_refused_and_resampled_on_demand_only(case, tmp_path, head):
    folder, mask = case()
    shifted = head.grid.ijk_to_ras.copy()
    shifted[0, 3] += 0.4
    write_volume(mask, head.lesion_mask, Grid(SHAPE, shifted))
    with pytest.raises(InputError, match="does not lie on the grid"):
        measure_command(folder, mask, tmp_path / "t.tsv")
    result = measure_command(folder, mask, tmp_path / "t.tsv", resample=True)
    rows, about = read_table(tmp_path / "t.tsv")
    assert about["Resampled"] is True and 0.9 < about["RoundTripDice"] <= 1 and "round-trip Dice" in result.text
    assert all("resampled" in row["flags"] for row in rows)


def test_identifiers_of_the_label_maps_table_are_kept(case, tmp_path, head):
    folder, _ = case()
    lesions = find_lesions(head.lesion_mask, head.grid, case="C123")
    write_lesions(tmp_path / "kept_dseg.nii.gz", lesions)
    measure_command(folder, tmp_path / "kept_dseg.nii.gz", tmp_path / "t.tsv")
    assert [row["lesion_uid"] for row in read_table(tmp_path / "t.tsv")[0]] == list(lesions.uids)


def test_outlines_written_with_the_table_measure_again_to_the_same_identifiers(case, tmp_path):
    folder, mask = case()
    measure_command(folder, mask, tmp_path / "a.tsv", outlines=tmp_path / "o_dseg.nii.gz", case="C001")
    measure_command(folder, tmp_path / "o_dseg.nii.gz", tmp_path / "b.tsv")
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()


def test_output_is_not_overwritten_unless_allowed(case, tmp_path):
    files = case()
    measure_command(*files, tmp_path / "t.tsv")
    with pytest.raises(InputError, match="exists"):
        measure_command(*files, tmp_path / "t.tsv")
    assert measure_command(*files, tmp_path / "t.tsv", overwrite=True).exit_code == 0


def test_empty_lesion_mask_is_an_error_not_an_empty_table(case, tmp_path, head):
    folder, mask = case()
    write_volume(mask, np.zeros(SHAPE, np.uint8), head.grid)
    with pytest.raises(InputError, match="no lesion"):
        measure_command(folder, mask, tmp_path / "t.tsv")
    assert not (tmp_path / "t.tsv").exists()


def test_two_files_of_one_map_are_ambiguous(case):
    folder, _ = case(prefix="sub-01_")
    case(prefix="sub-02_")
    with pytest.raises(InputError, match="two files"):
        read_maps(folder)


def test_maps_can_be_named_one_by_one(case, head):
    folder, _ = case()
    maps = read_maps([f"qsm={folder / 'Chimap.nii.gz'}", f"r2star={folder / 'R2starmap.nii.gz'}"])
    assert set(maps.maps) == {"qsm", "r2star"} and maps.mask_is_derived
    assert np.array_equal(maps.mask, head.maps["chi_total"] != 0)


def test_table_holds_no_path_and_no_file_name(case, tmp_path):
    """File names may hold a patient's name; the description names files by hash."""
    measure_command(*case(prefix="DOE-JANE_"), tmp_path / "t.tsv")
    text = (tmp_path / "t.json").read_text() + (tmp_path / "t.tsv").read_text()
    assert "DOE" not in text and str(tmp_path) not in text
    assert json.loads((tmp_path / "t.json").read_text())["ChiSep"]["Notice"] == RESEARCH_USE
