"""Files of a locked read: names, units, hashes, identity, words."""

from __future__ import annotations

import ast
import gzip
import json
import locale
import re
import struct
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ChiSepExtension import lesions as lesions_room
from ChiSepExtension.errors import InputError
from ChiSepExtension.lesions.codebook import load_codebook
from ChiSepExtension.lesions.components import find_lesions
from ChiSepExtension.lesions.deidentify import Identity, IdentityFound, require_anonymous, search
from ChiSepExtension.lesions.exports import BidsCase, export_review
from ChiSepExtension.lesions.lesion_files import read_lesions
from ChiSepExtension.lesions.lock import check_lock, write_lock
from ChiSepExtension.lesions.measure_tables import SHOWN_MAPS, measure_columns, write_measures
from ChiSepExtension.lesions.measures import measure_lesions
from ChiSepExtension.lesions.rating_tables import RatingTable, read_ratings
from ChiSepExtension.lesions.ratings import RatingFile
from ChiSepExtension.lesions.tables import read_table
from ChiSepExtension.notice import RESEARCH_USE
from ChiSepExtension.volume_io import read_volume
from Testing.Python.core.lesion_phantom import Sphere, phantom

SHAPE = (40, 48, 44)
SPHERES = [Sphere((20, 24, 12), 9, "rim"), Sphere((20, 24, 26), 7, "hyper"), Sphere((14, 14, 20), 1, "hypo")]
JANE = Identity(names=["DOE^JANE"], ids=["PAT0815"], birth_dates=["19700131"])


@pytest.fixture(scope="module")
def head():
    return phantom(SHAPE, SPHERES)


@pytest.fixture(scope="module")
def lesions(head):
    return find_lesions(head.lesion_mask, head.grid, case="C001")


@pytest.fixture(scope="module")
def rows(head, lesions):
    return measure_lesions(lesions, head.maps, head.mask, white_matter=head.white_matter)


def ratings_of(folder: Path, lesions, rater="AB", comment="rim | partial") -> RatingTable:
    file = RatingFile.create(folder / f"{rater}.json", load_codebook(), lesions, rater=rater, case="C001", seed=None)
    for lesion in lesions.lesions:
        file.commit(lesion.uid, outline=lesion.outline, codes={"para": "rim", "dia": "hypo"}, comment=comment)
    return RatingTable.of([file])


@pytest.fixture
def export(tmp_path, head, lesions, rows):
    def run(identity=JANE, tables=None, **options):
        (tmp_path / "work").mkdir(exist_ok=True)
        options = {
            "lesions": lesions,
            "measures": rows,
            "measures_about": {"Variant": "R2*"},
            "ratings": tables or [ratings_of(tmp_path / "work", lesions)],
            "provenance": {"WeightsSHA256": "0" * 64},
            "maps": {name: head.maps[name] for name in ("chi_para", "chi_dia", "r2star")},
            **options,
        }
        return export_review(tmp_path / "out", BidsCase("01", "02"), identity=identity, **options)

    return run


def test_a50_every_column_is_described_and_units_are_in_the_names(tmp_path, rows):
    tsv, sidecar = write_measures(tmp_path / "m.tsv", rows, {})
    described = json.loads(sidecar.read_text())
    header = tsv.read_text().split("\n")[0].split("\t")
    assert set(header) == set(described) - {"ChiSep"}
    assert all(described[name]["Description"] for name in header)
    units = {"ppb": "ppb", "per_s": "1/s", "mm": "mm", "mm3": "mm^3"}
    for name in header:
        expected = next((unit for end, unit in units.items() if name.endswith("_" + end)), None)
        assert described[name].get("Units") == expected
    assert "chi_para_median_ppb" in header and "r2star_median_per_s" in header


def test_a50_table_values_are_ppb_with_relative_error_below_1e_6(tmp_path, rows):
    tsv, _ = write_measures(tmp_path / "m.tsv", rows, {})
    table, _ = read_table(tsv)
    for fields, row in zip(table, rows):
        assert float(fields["chi_para_median_ppb"]) == pytest.approx(1000 * row.maps["chi_para"].median, rel=1e-6)
        assert float(fields["r2star_p95_per_s"]) == pytest.approx(row.maps["r2star"].p95, rel=1e-6)


def test_a50_missing_is_n_a_never_nan_or_empty(tmp_path, rows):
    tsv, sidecar = write_measures(tmp_path / "m.tsv", rows, {"Dice": float("nan")})
    table, about = read_table(tsv)
    assert table[2]["chi_para_rim_core_ppb"] == "n/a" and table[0]["rim_reason"] == "n/a"
    assert not [v for row in table for v in row.values() if v in ("", "nan", "None")]
    assert about["Dice"] == "n/a" and "NaN" not in sidecar.read_text()


def test_a50_table_parses_with_pandas(tmp_path, rows):
    pandas = pytest.importorskip("pandas", reason="pandas is the reader of this test")
    tsv, _ = write_measures(tmp_path / "m.tsv", rows, {})
    frame = pandas.read_csv(tsv, sep="\t", na_values="n/a")
    assert len(frame) == 3 and frame["chi_para_median_ppb"].dtype == float


def test_a50_a_german_locale_changes_no_byte(tmp_path, rows):
    before = write_measures(tmp_path / "c.tsv", rows, {})[0].read_bytes()
    old = locale.setlocale(locale.LC_ALL)
    try:
        for name in ("de_DE.UTF-8", "de_DE.utf8", "de_DE", "German"):
            try:
                locale.setlocale(locale.LC_ALL, name)
                break
            except locale.Error:
                continue
        else:
            pytest.skip("no German locale is installed")
        assert write_measures(tmp_path / "d.tsv", rows, {})[0].read_bytes() == before
    finally:
        locale.setlocale(locale.LC_ALL, old)


def test_rim_values_carry_their_size_warning(rows):
    columns = {column.name: column for column in measure_columns(["chi_para"])}
    assert "do not compare lesions of different size" in columns["chi_para_rim_core_ppb"].description


def test_a51_names_are_those_of_bids_derivatives(export):
    names = [path.as_posix().split("/out/")[1] for path in export().files]
    prefix = "sub-01/ses-02/{}/sub-01_ses-02_"
    for folder, rest in [
        ("anat", "desc-paramagnetic_Chimap.nii.gz"),
        ("anat", "desc-diamagnetic_Chimap.json"),
        ("anat", "R2starmap.nii.gz"),
        ("anat", "desc-lesions_dseg.nii.gz"),
        ("anat", "desc-lesions_dseg.tsv"),
        ("review", "desc-lesions_measures.tsv"),
        ("review", "rater-AB_ratings.tsv"),
        ("review", "desc-provenance.json"),
        ("review", "desc-lesions.seg.nrrd"),
    ]:
        assert prefix.format(folder) + rest in names
    entity = r"([a-z]+-[A-Za-z0-9]+_)*"
    assert all(re.fullmatch(f"sub-01/ses-02/(anat|review)/sub-01_ses-02_{entity}[A-Za-z0-9.-]+", n) for n in names)


def test_a51_chimap_is_in_ppm_and_says_so(export, tmp_path, head):
    export()
    anat = tmp_path / "out/sub-01/ses-02/anat"
    values, grid = read_volume(anat / "sub-01_ses-02_desc-diamagnetic_Chimap.nii.gz")
    assert np.abs(values).max() < 2 and np.array_equal(values, head.maps["chi_dia"]) and grid.matches(head.grid)
    sidecar = json.loads((anat / "sub-01_ses-02_desc-diamagnetic_Chimap.json").read_text())
    assert (sidecar["Units"], sidecar["SignConvention"]) == ("ppm", "absolute")


def test_a51_map_in_ppb_is_refused(export, head, tmp_path):
    with pytest.raises(InputError, match="ppb"):
        export(maps={"chi_para": 1000 * head.maps["chi_para"]})
    assert not list((tmp_path / "out").glob("sub-*"))


def test_exported_outlines_and_ratings_read_back(export, lesions, tmp_path):
    export()
    folder = tmp_path / "out/sub-01/ses-02"
    assert read_lesions(folder / "anat/sub-01_ses-02_desc-lesions_dseg.nii.gz").uids == lesions.uids
    assert read_lesions(folder / "review/sub-01_ses-02_desc-lesions.seg.nrrd").uids == lesions.uids
    table = read_ratings(folder / "review/sub-01_ses-02_rater-AB_ratings.tsv")
    assert table.rater == "AB" and table.codebook.sha256 == load_codebook().sha256
    assert [row.rating.comment for row in table.rows] == ["rim | partial"] * 3


def test_second_export_is_the_next_version_and_leaves_the_first_intact(export, tmp_path, lesions):
    first = export()
    tables = [RatingTable.of([RatingFile.open(tmp_path / "work/AB.json")])]
    second = export(tables=tables)
    assert (first.version, second.version) == (1, 2) and not set(first.files) & set(second.files)
    assert check_lock(first.lock).state == check_lock(second.lock).state == "intact"
    assert any("rater-AB_desc-v02_ratings.tsv" in path.name for path in second.files)


def test_stale_ratings_cannot_be_locked(export, tmp_path, lesions):
    (tmp_path / "work").mkdir()
    table = ratings_of(tmp_path / "work", lesions)
    old = replace(table.rows[0], rating=replace(table.rows[0].rating, outline="another"))
    with pytest.raises(InputError, match="older than the outline"):
        export(tables=[replace(table, rows=(old, *table.rows[1:]))])


def test_a55_lock_recomputes_and_one_changed_byte_breaks_it(export):
    result = export()
    assert check_lock(result.lock).state == "intact"
    for victim in result.files:
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
        assert check_lock(result.lock).state == "broken", victim.name
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    assert check_lock(result.lock).state == "intact"


def test_a55_missing_file_breaks_the_lock(export):
    result = export()
    result.files[0].unlink()
    check = check_lock(result.lock)
    assert check.state == "broken" and len(check.missing) == 1


def test_lock_is_never_overwritten(tmp_path):
    (tmp_path / "a.tsv").write_text("x")
    write_lock(tmp_path / "lock.json", [tmp_path / "a.tsv"], version=1, raters=["AB"])
    with pytest.raises(InputError, match="new version"):
        write_lock(tmp_path / "lock.json", [tmp_path / "a.tsv"], version=1, raters=["AB"])


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), *chunks, (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data


def hidden_places() -> dict[str, bytes]:
    """The patient's name, ID or birth date, in the forms in which they slip out."""
    nifti = bytearray(400)
    nifti[:4], nifti[108:112] = struct.pack("<i", 348), struct.pack("<f", 352)
    nifti[148:156], nifti[344:347] = b"Jane Doe", b"n+1"
    return {
        "comment.tsv": b"uid\tcomment\n1\tJane Doe has a rim\n",
        "korean.json": json.dumps({"a": "홍길동"}).encode(),
        "korean.mrml": '<Volume name="홍길동"/>'.encode(),
        "dicom.mrml": b'<Volume attributes="DICOM.PatientName:DOE^JANE"/>',
        "case.txt": b"doe_jane",
        "utf16.txt": "born 31.01.1970".encode("utf-16"),
        "id.tsv": b"x\tPAT0815\n",
        "date.json": b'{"d": "1970-01-31"}',
        "text.png": png((b"tEXt", b"Comment\0Jane Doe")),
        "packed.png": png((b"zTXt", b"Comment\0\0" + zlib.compress(b"PAT0815"))),
        "international.png": png((b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress("홍길동".encode()))),
        "behind.png": png() + b"PAT0815",
        "map.nii": bytes(nifti),
        "map.nii.gz": gzip.compress(bytes(nifti)),
    }


KOREAN_JANE = Identity(names=["DOE^JANE=홍^길동", "홍길동"], ids=["PAT0815"], birth_dates=["19700131"])


@pytest.mark.parametrize("name", sorted(hidden_places()))
def test_a60_identity_is_found_wherever_it_hides(tmp_path, name):
    (tmp_path / name).write_bytes(hidden_places()[name])
    with pytest.raises(IdentityFound) as caught:
        require_anonymous([tmp_path], KOREAN_JANE)
    # The message goes into logs: it names the file and the kind, not the patient.
    assert name in str(caught.value) and not re.search("jane|doe|PAT0815|1970|홍", str(caught.value), re.IGNORECASE)


def test_a60_identity_is_found_in_a_scene_bundle(tmp_path):
    with zipfile.ZipFile(tmp_path / "scene.mrb", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("scene/scene.mrml", '<Volume name="3: Jane Doe"/>')
        bundle.writestr("scene/picture.png", png())
    assert [hit.kind for hit in search([tmp_path], JANE)] == ["name"]


def test_a60_identity_is_found_in_a_file_name_and_not_repeated(tmp_path):
    (tmp_path / "doe_jane_measures.tsv").write_text("x\n")
    with pytest.raises(IdentityFound) as caught:
        require_anonymous([tmp_path], JANE)
    assert "doe" not in str(caught.value).lower()


def test_a60_identity_is_found_in_dicom_attributes(tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="writes the file of this test")
    dataset = pydicom.Dataset()
    dataset.PatientName, dataset.PatientID = "Li^Wu", "7"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "a.dcm", dataset, enforce_file_format=True)
    assert [hit.kind for hit in search([tmp_path], Identity(names=["Li^Wu"]))] == ["name"]


def test_a60_clean_files_pass(export):
    """0 hits in all files of a real export, in spite of thousands of digits of UIDs and hashes."""
    result = export(identity=Identity(names=["DOE^JANE"], ids=["12345", "0815"], birth_dates=["19700131"]))
    assert len(result.files) >= 14


@pytest.mark.parametrize(
    "text, is_found",
    [("id 12345.", True), ("sub-12345_x", True), ("2.25.8123456", False), ("0.12345", False), ("123456", False)],
)
def test_a60_numeric_id_is_found_as_a_number_of_its_own(tmp_path, text, is_found):
    """200 UIDs of 39 digits hold any five digits with 8 % probability: inside other numbers they mean nothing."""
    (tmp_path / "a.tsv").write_text(text)
    assert bool(search([tmp_path], Identity(ids=["12345"]))) == is_found


@pytest.mark.parametrize("name", ["White^Core", "Rim^Mean"])
def test_a60_names_that_are_words_of_our_tables_do_not_block_every_export(export, name, tmp_path):
    assert export(identity=Identity(names=[name])).version == 1
    (tmp_path / "x.txt").write_text("scan of " + " ".join(name.split("^")[::-1]))
    assert search([tmp_path / "x.txt"], Identity(names=[name]))


def test_a60_export_with_the_name_in_a_comment_is_refused_and_leaves_nothing(export, tmp_path, lesions):
    (tmp_path / "work").mkdir()
    with pytest.raises(IdentityFound, match="name in sub-01/ses-02/review/sub-01_ses-02_rater-AB_ratings.tsv"):
        export(tables=[ratings_of(tmp_path / "work", lesions, comment="as in Jane Doe's last scan")])
    assert list((tmp_path / "out").rglob("*")) == []


def test_a60_unknown_identity_is_not_taken_for_a_clean_one(export):
    with pytest.raises(IdentityFound, match="not known"):
        export(identity=Identity())


def test_a60_switching_the_search_off_is_recorded(export, tmp_path):
    export(identity=None)
    provenance = json.loads((tmp_path / "out/sub-01/ses-02/review/sub-01_ses-02_desc-provenance.json").read_text())
    assert provenance["SearchedForIdentity"] is False


FORBIDDEN = re.compile(r"report|diagnos|supports ms|fulfil", re.IGNORECASE)


def strings_of(path: Path) -> list[str]:
    """String constants of a module that can reach a user: all but docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    constants = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [n.value for n in constants if id(n) not in documentation]


def test_a66_no_string_of_the_room_uses_a_forbidden_word():
    folder = Path(lesions_room.__file__).parent
    modules = sorted(folder.glob("*.py"))
    assert len(modules) > 20
    found = [(path.name, text) for path in modules for text in strings_of(path) if FORBIDDEN.search(text)]
    found += [line for line in (folder / "codebook_v1.json").read_text().splitlines() if FORBIDDEN.search(line)]
    assert found == []


def test_a66_no_exported_text_uses_a_forbidden_word_outside_the_notice(export):
    texts = [path for path in export().files if path.suffix in (".tsv", ".json")]
    assert len(texts) >= 9
    for path in texts:
        text = path.read_text(encoding="utf-8")
        for notice in (RESEARCH_USE, json.dumps(RESEARCH_USE)[1:-1]):
            text = text.replace(notice, "")
        assert not FORBIDDEN.search(text), path.name


def test_a67_notice_stands_in_the_description_of_every_table_and_in_every_json(export):
    described = [path for path in export().files if path.suffix == ".json"]
    for path in described:
        content = json.loads(path.read_text())
        notice = content.get("Notice") or content.get("notice") or content["ChiSep"]["Notice"]
        assert notice == RESEARCH_USE == "Research use only — not for diagnosis"


def test_shown_maps_convert_ppm_to_ppb_only():
    assert {name: shown.factor for name, shown in SHOWN_MAPS.items() if shown.unit == "ppb"} == dict.fromkeys(
        ("chi_para", "chi_dia", "chi_total", "qsm"), 1000.0
    )
    assert SHOWN_MAPS["r2star"].factor == 1.0
