"""Codebook, reading order and rating files: what a reader says is kept, whatever happens."""

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

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.lesions.blinding import case_codes, reading_order
from ChiSepExtension.lesions.codebook import codebook_from_json, load_codebook
from ChiSepExtension.lesions.components import LesionSet, find_lesions
from ChiSepExtension.lesions.lineage import OutlineHistory
from ChiSepExtension.lesions.rating_tables import RatingTable, read_ratings, write_ratings
from ChiSepExtension.lesions.ratings import RatingFile, summary_counts
from ChiSepExtension.lesions.tables import escape, unescape

REPOSITORY = Path(__file__).resolve().parents[3]
TYPICAL = {"para": "iso", "dia": "hypo"}
COMMENTS = [
    "rim | partial, see FLAIR: vein?",
    'tab\there, newline\nthere, CR\r, "quoted", back\\slash',
    "한글 코멘트 🧠 é ß",
    "n/a",
    "NA",
    '"starts with a quote',
    "=1+1",
    "  spaces around  ",
    " ",
    "\x00\x07\x1f\x7f\x85\u2028\u2029\ufeff",
    "\ud800 lone surrogate",
    "\\u0041 \\n not escapes",
]


def lesions_of(count: int) -> LesionSet:
    """Separate cubes of different sizes along x."""
    mask = np.zeros((12, 12, 12 * count), bool)
    for n in range(count):
        size = 3 + n % 7
        mask[1 : 1 + size, 1 : 1 + size, 12 * n + 1 : 12 * n + 1 + size] = True
    return find_lesions(mask, Grid.from_spacing(mask.shape))


def new_file(folder: Path, lesions: LesionSet, seed: int | None = None, rater: str = "AB") -> RatingFile:
    return RatingFile.create(
        folder / f"{rater}.json", load_codebook(), lesions, rater=rater, case="C001", patient="P01", seed=seed
    )


def test_codebook_v1_has_the_fields_and_codes_in_their_order():
    book = load_codebook()
    assert book["para"].order == ("hypo", "iso", "hyper", "rim", "na")
    assert book["dia"].order == ("hypo", "iso", "hyper", "na")
    assert book["para"].ordered == book["dia"].ordered == ("hypo", "iso", "hyper")
    assert book["prl_conf"].order == ("definite", "probable", "possible")
    assert book["cvs"].order == ("pos", "neg", "excl", "na")
    assert book["long"].order == ("new", "stable", "enlarged", "smaller", "resolved", "split", "merged", "na")
    assert all(code.definition for field in book.fields for code in field.codes)


def test_no_label_of_the_source_fields_speaks_of_dark_or_bright():
    """Codes are sign-proof: the same for a diamagnetic map stored positive or negative."""
    book = load_codebook()
    texts = [book[f].description + c.label + c.definition for f in ("para", "dia") for c in book[f].codes]
    assert not [t for t in texts if "dark" in t.lower() or "bright" in t.lower()]


@pytest.mark.parametrize(
    "codes, reason",
    [
        ({"para": "red", "dia": "iso"}, "no code"),
        ({"iron": "iso"}, "no field"),
        ({"para": "hyper", "dia": "iso", "para_core": "hypo"}, "only if"),
        ({"para": "iso"}, "Not rated yet: dia"),
    ],
)
def test_codes_that_do_not_fit_the_codebook_are_refused(codes, reason):
    with pytest.raises(InputError, match=reason):
        load_codebook().check(codes)


def test_codebook_that_contradicts_itself_is_refused():
    content = json.loads(json.dumps(load_codebook().content))
    content["fields"][0]["positive"] = "maybe"
    with pytest.raises(InputError, match="contradicts"):
        codebook_from_json(content)


def test_changed_definition_is_another_codebook():
    content = json.loads(json.dumps(load_codebook().content))
    content["fields"][0]["codes"][0]["definition"] += " Really."
    assert codebook_from_json(content).sha256 != load_codebook().sha256


def test_a35_same_seed_same_order_other_seed_other_order():
    uids = [f"2.25.{n}" for n in range(200)]
    assert reading_order(uids, 7) == reading_order(reversed(uids), 7)
    assert reading_order(uids, 7) != reading_order(uids, 8)


def test_a35_a_tenth_is_shown_again_a_quarter_of_the_list_later():
    order = reading_order([f"2.25.{n}" for n in range(200)], 3)
    first = {p.uid: p.position for p in order if not p.is_repeat}
    again = {p.uid: p.position for p in order if p.is_repeat}
    assert (len(first), len(again), len(order)) == (200, 20, 220)
    assert min(again[uid] - first[uid] for uid in again) >= 50


def test_a35_short_lists_have_no_repeats():
    assert not any(p.is_repeat for p in reading_order([str(n) for n in range(19)], 3))


def test_case_codes_do_not_follow_the_order_of_names():
    names = [f"patient{n:02d}" for n in range(30)]
    codes = case_codes(names, 1)
    assert sorted(codes.values()) == [f"C{n:03d}" for n in range(1, 31)]
    assert [codes[n] for n in names] != sorted(codes.values()) and codes == case_codes(names[::-1], 1)


@pytest.mark.parametrize("comment", COMMENTS)
def test_a30_any_comment_survives_file_and_table(tmp_path, comment):
    lesions = lesions_of(1)
    file = new_file(tmp_path, lesions)
    file.commit(lesions.uids[0], outline=lesions.lesions[0].outline, codes=TYPICAL, comment=comment)
    assert RatingFile.open(file.path).rating(lesions.uids[0]).comment == comment
    table, _ = write_ratings(tmp_path / "a_ratings.tsv", RatingTable.of([file]))
    assert read_ratings(table).rows[0].rating.comment == comment
    assert len(table.read_bytes().split(b"\n")) == 3  # header, one row, end


@pytest.mark.parametrize("comment", COMMENTS)
def test_escaped_text_is_safe_for_every_reader(comment):
    """No separator, quote or invisible character; not a word that pandas reads as missing; no formula."""
    field = escape(comment)
    assert unescape(field) == comment
    assert not set(field) & set('\t\n\r"\x00\u2028') and len(field.splitlines()) == 1
    assert field not in ("n/a", "NA", "") and field[0] not in "=+-@ " and field[-1] != " "
    field.encode("utf-8")


def test_a30_200_ratings_are_identical_after_closing_and_opening(tmp_path):
    lesions = lesions_of(200)
    file = new_file(tmp_path, lesions)
    for n, lesion in enumerate(lesions.lesions):
        comment = COMMENTS[n % len(COMMENTS)]
        file.commit(lesion.uid, outline=lesion.outline, codes=TYPICAL, comment=comment, flag=n % 3 == 0)
    again = RatingFile.open(file.path)
    assert again.ratings == file.ratings and len(again.ratings) == 200


def test_every_change_is_on_disk_at_once(tmp_path):
    lesions = lesions_of(2)
    file = new_file(tmp_path, lesions)
    file.change(lesions.uids[0], codes={"para": "rim"}, flag=True)
    assert RatingFile.open(file.path).draft(lesions.uids[0]).codes == {"para": "rim"}


def test_nothing_is_selected_before_the_reader_chooses(tmp_path):
    lesions = lesions_of(3)
    file = new_file(tmp_path, lesions)
    assert all(not file.draft(uid).codes and not file.draft(uid).flag for uid in lesions.uids)


def test_code_whose_condition_is_gone_is_dropped(tmp_path):
    lesions = lesions_of(1)
    file = new_file(tmp_path, lesions)
    file.change(lesions.uids[0], codes={"para": "rim", "para_core": "hyper"})
    assert file.change(lesions.uids[0], codes={"para": "hyper"}).codes == {"para": "hyper"}


def test_committed_rating_must_be_reopened_to_change_it(tmp_path):
    lesions = lesions_of(1)
    file = new_file(tmp_path, lesions)
    uid, outline = lesions.uids[0], lesions.lesions[0].outline
    file.commit(uid, outline=outline, codes=TYPICAL)
    with pytest.raises(InputError, match="Re-open"):
        file.change(uid, codes={"para": "hyper"})
    assert file.reopen(uid).codes == TYPICAL and file.rating(uid) is None


def test_excluded_lesion_needs_a_reason_but_no_codes(tmp_path):
    lesions = lesions_of(1)
    file = new_file(tmp_path, lesions)
    rating = file.commit(lesions.uids[0], outline=lesions.lesions[0].outline, excluded="motion")
    assert rating.excluded == "motion" and not file.unrated()


def test_a13_changed_window_is_stored_and_flagged(tmp_path):
    lesions = lesions_of(1)
    file = new_file(tmp_path, lesions)
    shown = {"window_chi_para_ppb": (0.0, 35.0), "interpolation": "linear"}
    file.commit(lesions.uids[0], outline="x", codes=TYPICAL, display=shown, display_changed=True)
    table, _ = write_ratings(tmp_path / "a.tsv", RatingTable.of([file]))
    header, row = (line.split("\t") for line in table.read_text().splitlines())
    fields = dict(zip(header, row))
    assert (fields["window_chi_para_ppb_min"], fields["window_chi_para_ppb_max"]) == ("0", "35")
    assert fields["display_changed"] == "1" and fields["interpolation"] == "linear"


def test_a32_edited_outline_makes_its_rating_stale_and_undo_makes_it_valid(tmp_path):
    lesions = lesions_of(2)
    history, file = OutlineHistory(lesions), new_file(tmp_path, lesions)
    for lesion in lesions.lesions:
        file.commit(lesion.uid, outline=lesion.outline, codes=TYPICAL)
    assert file.stale(history.current) == ()
    uid = lesions.uids[0]
    smaller = history.current.mask(uid)
    smaller[:2] = False
    history.edit(uid, smaller)
    assert [r.uid for r in file.stale(history.current)] == [uid]
    assert [p.uid for p in file.unrated(history.current)] == [uid]
    history.undo()
    assert file.stale(history.current) == ()


def test_a32_split_lesions_join_the_order_and_undo_brings_the_rating_back(tmp_path):
    lesions = lesions_of(1)
    history, file = OutlineHistory(lesions), new_file(tmp_path, lesions)
    uid = lesions.uids[0]
    file.commit(uid, outline=lesions.lesions[0].outline, codes=TYPICAL)
    parts = np.zeros(lesions.grid.shape, int)
    parts[2:] = 1
    children = history.split(uid, parts)
    file.follow(history.current)
    assert [p.uid for p in file.unrated()] == [child.uid for child in children]
    history.undo()
    file.follow(history.current)
    assert file.unrated(history.current) == () and file.rating(uid).codes == TYPICAL


def test_a04_next_unrated_visits_every_lesion_and_wraps(tmp_path):
    lesions = lesions_of(12)
    file = new_file(tmp_path, lesions, seed=4)
    outline = {lesion.uid: lesion.outline for lesion in lesions.lesions}
    seen, position = [], 6
    while (place := file.next_unrated(position)) is not None:
        seen.append(place.uid)
        file.commit(place.uid, place.is_repeat, outline=outline[place.uid], codes=TYPICAL)
        position = place.position
    assert sorted(seen) == sorted(lesions.uids) and file.progress_text() == "12/12 · 0 flagged"


def test_repeats_are_rated_apart_from_the_first_showing(tmp_path):
    lesions = lesions_of(40)
    file = new_file(tmp_path, lesions, seed=4)
    repeat = next(p for p in file.order if p.is_repeat)
    file.commit(repeat.uid, True, outline="x", codes=TYPICAL)
    assert file.rating(repeat.uid) is None and file.rating(repeat.uid, True).codes == TYPICAL
    assert summary_counts(file.ratings, file.codebook)["dia"]["hypo"] == 0


def test_a36_hints_are_hidden_before_the_commit_and_numbers_in_blind_reading(tmp_path):
    lesions = lesions_of(2)
    uid = lesions.uids[0]
    blind, seen = new_file(tmp_path, lesions, seed=1), new_file(tmp_path, lesions, seed=None, rater="CD")
    assert [blind.may_show(what, uid) for what in ("hint", "numbers", "rating")] == [False, False, False]
    assert [seen.may_show(what, uid) for what in ("hint", "numbers")] == [False, True]
    blind.commit(uid, outline="x", codes=TYPICAL)
    assert blind.may_show("hint", uid) and blind.may_show("numbers", uid)
    assert not blind.may_show("rating", uid, repeat=True)


def test_a34_progress_in_blind_reading_tells_neither_rater_case_nor_repeats(tmp_path):
    lesions = lesions_of(40)
    file = new_file(tmp_path, lesions, seed=4)
    assert file.progress_text() == "0/44 · 0 flagged"


def test_existing_file_is_not_overwritten(tmp_path):
    lesions = lesions_of(1)
    new_file(tmp_path, lesions)
    with pytest.raises(InputError, match="exists"):
        new_file(tmp_path, lesions)


def test_file_changed_by_another_window_is_not_overwritten(tmp_path):
    lesions = lesions_of(2)
    first = new_file(tmp_path, lesions)
    second = RatingFile.open(first.path)
    second.change(lesions.uids[0], codes={"para": "rim"})
    with pytest.raises(InputError, match="another program"):
        first.change(lesions.uids[1], codes={"para": "iso"})
    assert RatingFile.open(first.path).draft(lesions.uids[0]).codes == {"para": "rim"}


@pytest.mark.parametrize("code", ["Jane Doe", "", "A/B", "Müller"])
def test_rater_is_a_code_not_a_name(tmp_path, code):
    with pytest.raises(InputError, match="code"):
        new_file(tmp_path, lesions_of(1), rater=code)


def test_broken_file_is_refused_with_its_name(tmp_path):
    path = tmp_path / "AB.json"
    path.write_text('{"kind": "chisep-ratings", "sch')
    with pytest.raises(InputError, match="AB.json"):
        RatingFile.open(path)


RATER = """
import sys
from pathlib import Path
from ChiSepExtension.lesions.ratings import RatingFile
file = RatingFile.open(sys.argv[1])
for n, place in enumerate(file.order):
    file.change(place.uid, codes={"para": "iso"})
    file.change(place.uid, codes={"dia": "hypo"})
    file.commit(place.uid, outline="x", comment=str(n))
    sys.stdout.write(f"{n}\\n")
    sys.stdout.flush()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("delay_ms", [1, 7, 23])
def test_a31_killed_while_rating_loses_at_most_one_lesion(tmp_path, delay_ms):
    lesions = lesions_of(200)
    file = new_file(tmp_path, lesions)
    process = subprocess.Popen(
        [sys.executable, "-c", RATER, str(file.path)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    for _ in range(5):
        process.stdout.readline()
    time.sleep(delay_ms / 1000)
    os.kill(process.pid, signal.SIGKILL)
    told = 5 + len(process.stdout.read().split())
    process.wait()
    process.stdout.close()
    again = RatingFile.open(file.path)
    # What was told as committed is there; one more may have been written before the kill.
    assert told <= len(again.ratings) <= told + 1 < 200
    assert all(r.codes == TYPICAL for r in again.ratings)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["AB.json"]
    again.change(again.next_unrated().uid, codes={"para": "rim"})
