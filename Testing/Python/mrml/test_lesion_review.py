"""Reading lesions without a window: order, commits, stale ratings, locks, the copy in the scene, a killed program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import slicer

from ChiSepExtension.errors import InputError
from ChiSepExtension.lesions.exports import BidsCase
from ChiSepExtension.lesions.lock import check_lock
from ChiSepExtension.lesions.rating_tables import read_ratings
from ChiSepExtension.lesions.ratings import RatingFile
from ChiSepExtension.mrml import review_files, review_scene
from ChiSepExtension.mrml.display import show_with_preset
from ChiSepExtension.mrml.lesion_segmentation import segment_ids
from ChiSepExtension.mrml.maps import BY_KEY, LESION
from Testing.Python.mrml.lesion_case import SPHERES, draw, review_of, small_head

REPOSITORY = Path(__file__).resolve().parents[3]
#: What tables, scenes and XML are known to break on.
COMMENTS = ["a|b:c", "tab\there", "two\nlines", 'quote " and \\', "한글", "😀 <b>&amp;", "  ends with blanks  ", "=1+1"]


@pytest.fixture
def review(tmp_path):
    found = review_of(small_head())
    found.start_reading(tmp_path / "ratings.json", rater="AB", seed=None)
    yield found
    found.close()


def rate_all(review, **more) -> None:
    while (place := review.next_unrated()) is not None:
        review.go_to(place.position)
        review.change({"para": "hypo", "dia": "iso"}, **more)
        review.commit()


def plain(ratings) -> list[dict]:
    """As JSON keeps them: a pair becomes a list."""
    return json.loads(json.dumps([asdict(rating) for rating in ratings]))


def scene_texts() -> str:
    """Everything that the nodes of the scene say, attributes and parameters included."""
    scene = slicer.mrmlScene
    scene.SetSaveToXMLString(1)
    scene.Commit()
    scene.SetSaveToXMLString(0)
    return scene.GetSceneXMLString()


def test_a04_next_visits_every_place_once_and_wraps(review):
    seen = []
    for _ in range(len(SPHERES)):
        seen.append(review.current.uid)
        review.go_to(review.current.position + 1)
    assert set(seen) == set(review.lesions.uids) and len(seen) == len(SPHERES)
    assert review.current.position == 0


def test_a04_next_unrated_skips_the_rated_only(review):
    review.go_to(1)
    review.change({"para": "iso", "dia": "iso"})
    review.commit()
    review.go_to(0)
    assert review.next_unrated().position == 2


def test_nothing_is_chosen_before_the_reader_chooses(review):
    draft = review.reading.draft(review.current.uid)
    assert not draft.codes and not draft.comment and not draft.flag


def test_windows_are_stored_and_a_changed_one_is_flagged(review):
    for name, node in review.maps.nodes.items():
        kind = BY_KEY[{"r2star": "r2star_hz", "qsm": "chi_total"}.get(name, name)]
        show_with_preset(node, kind, LESION, scale=1 / kind.shown_scale)
    review.change({"para": "iso", "dia": "iso"})
    first = review.commit()
    assert first.display["window_chi_para_ppb"] == (0.0, 50.0)
    assert first.display["window_r2star_per_s"] == (0.0, 35.0)
    assert not first.display_changed
    review.maps.node("chi_para").GetDisplayNode().SetWindowLevelMinMax(0, 0.08)
    review.go_to(1)
    review.change({"para": "iso", "dia": "iso"})
    assert review.commit().display_changed


def test_a32_edited_outline_makes_the_rating_stale_and_undo_makes_it_valid(review):
    uid = review.current.uid
    review.change({"para": "iso", "dia": "iso"})
    review.commit()
    mask = review.lesions.mask(uid)
    edited = mask.copy()
    edited[20] = False
    draw(review, segment_ids(review.node)[uid], edited)
    assert [r.uid for r in review.reading.stale(review.lesions)] == [uid]
    assert uid in {place.uid for place in review.reading.unrated(review.lesions)}
    draw(review, segment_ids(review.node)[uid], mask)
    assert not review.reading.stale(review.lesions)


def test_a32_split_lesions_are_asked_for_and_the_parent_is_not(review):
    uid = review.current.uid
    cut = review.lesions.mask(uid)
    cut[20] = False
    draw(review, segment_ids(review.node)[uid], cut)
    parts = review.split(uid)
    waiting = {place.uid for place in review.reading.unrated(review.lesions)}
    assert {part.uid for part in parts} <= waiting and uid not in waiting


def test_stale_rating_can_be_given_again(review):
    uid = review.current.uid
    review.change({"para": "iso", "dia": "iso"})
    review.commit()
    mask = review.lesions.mask(uid)
    mask[20] = False
    draw(review, segment_ids(review.node)[uid], mask)
    assert review.commit_rating(uid).codes == {"para": "iso", "dia": "iso"}
    assert not review.reading.stale(review.lesions)


def test_status_of_the_segments_follows_the_open_reading(review):
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = review.node.GetSegmentation().GetSegment(segment_ids(review.node)[review.current.uid])
    assert logic.GetSegmentStatus(segment) == logic.NotStarted
    review.change({"para": "iso", "dia": "iso"})
    review.commit()
    assert logic.GetSegmentStatus(segment) == logic.Completed
    review.reopen()
    review.change(flag=True)
    review.update_status()
    assert logic.GetSegmentStatus(segment) == logic.Flagged


def test_status_says_nothing_in_blind_reading_before_its_end(tmp_path):
    review = review_of(small_head())
    review.start_reading(tmp_path / "blind.json", rater="AB", seed=3)
    logic, segmentation = slicer.vtkSlicerSegmentationsModuleLogic, review.node.GetSegmentation()
    states = lambda: {logic.GetSegmentStatus(segmentation.GetNthSegment(n)) for n in range(len(SPHERES))}  # noqa: E731
    review.change({"para": "iso", "dia": "iso"})
    review.commit()
    assert states() == {logic.NotStarted}
    rate_all(review)
    assert states() == {logic.Completed}
    review.close()


def test_a30_ratings_survive_scene_and_file_byte_for_byte(review, tmp_path):
    review_scene.attach(review)
    for comment in COMMENTS:
        review.change({"para": "rim", "para_core": "iso", "dia": "hypo"}, comment=comment)
        review.commit()
        review.go_to(review.current.position + 1)
        if review.reading.rating(review.current.uid) is not None:
            break
    rate_all(review)
    before = plain(review.reading.ratings)
    assert {r["comment"] for r in before} >= set(COMMENTS[: len(SPHERES)])
    path, again = str(tmp_path / "scene.mrb"), tmp_path / "elsewhere"
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    assert review.is_closed
    slicer.util.loadScene(path)
    restored = review_scene.restore(slicer.mrmlScene, again)
    assert plain(restored.reading.ratings) == before
    assert not restored.reading.stale(restored.lesions)
    restored.close()


@pytest.mark.parametrize("comment", COMMENTS)
def test_a30_any_comment_survives_the_scene(review, tmp_path, comment):
    review_scene.attach(review)
    review.change({"para": "iso", "dia": "iso"}, comment=comment)
    review.commit()
    path = str(tmp_path / "scene.mrml")
    assert slicer.util.saveScene(path)
    node = review_scene.find(slicer.mrmlScene)
    content = review_scene.unpack(node.GetParameter("review"))
    slicer.mrmlScene.Clear(0)
    text = Path(path).read_text(encoding="utf-8")
    stored = text[text.index("chisep-packed:") :].split(";")[0].split('"')[0].split(" ")[0]
    assert review_scene.unpack(stored) == content
    assert json.loads(content["ratings"])["ratings"][0]["comment"] == comment


def test_a30_200_ratings_come_back_from_a_scene(tmp_path):
    """Ratings alone: the packed copy of 200, with the comments of the list, through the XML of a scene."""
    content = {"ratings": json.dumps([{"comment": COMMENTS[n % 8], "uid": str(n)} for n in range(200)])}
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag("ChiSepReview")
    node.SetParameter("review", review_scene.pack(content))
    slicer.mrmlScene.AddNode(node)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    assert review_scene.unpack(review_scene.find(slicer.mrmlScene).GetParameter("review")) == content


def test_file_on_disk_is_gone_on_with_and_another_reading_is_refused(review, tmp_path):
    review_scene.attach(review)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    review.change({"para": "iso", "dia": "iso"})
    review.commit()  # after the scene was saved
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    restored = review_scene.restore(slicer.mrmlScene, tmp_path)
    assert len(restored.reading.ratings) == 1
    restored.close()
    other = json.loads((tmp_path / "ratings.json").read_text())
    other["started"] = "2020-01-01T00:00:00+00:00"
    (tmp_path / "ratings.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="another reading"):
        review_scene.restore(slicer.mrmlScene, tmp_path)


def test_damaged_copy_in_the_scene_is_refused_with_a_way_out(review, tmp_path):
    node = review_scene.store(review)
    node.SetParameter("review", "chisep-packed:AAAA")
    with pytest.raises(InputError, match="damaged"):
        review_scene.restore(slicer.mrmlScene, tmp_path)


def test_a34_a36_blind_scene_holds_no_code_no_hint_and_no_seeded_word(tmp_path):
    """Codes and comments of the reader, and the change against the prior visit, stand in no node."""
    head = small_head()
    review = review_of(head)
    review.match_prior(review.node)
    review.start_reading(tmp_path / "r.json", rater="QQ7", seed=11)
    review_scene.attach(review)
    review.change({"para": "rim", "para_core": "hyper", "dia": "hypo"}, comment="EARLIERWORD", flag=True)
    review.commit()
    texts = scene_texts()
    for word in ("EARLIERWORD", "QQ7", "para_core", "hyporim", "stable", "enlarged", "rim_arc"):
        assert word not in texts
    review.close()


def test_a31_killed_while_reading_loses_at_most_one_lesion(tmp_path):
    """A reader in a process of its own rates in the scene; it is killed without warning; the file opens."""
    path = tmp_path / "ratings.json"
    program = f"""
import sys
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "Testing" / "host")!r}]
import chisep_testhost
chisep_testhost.start()
from Testing.Python.mrml.lesion_case import review_of, small_head
from ChiSepExtension.mrml import review_scene
review = review_of(small_head())
review.start_reading({str(path)!r}, rater="AB", seed=None)
review_scene.attach(review)
number = 0
while True:
    review.change({{"para": "hypo", "dia": "iso"}}, comment=str(number))
    review.commit()
    print(number, flush=True)
    number += 1
    review.go_to(review.current.position + 1)
    if review.reading.rating(review.current.uid) is not None:
        review.reopen()
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    reported = -1
    while reported < 12:
        line = child.stdout.readline()
        assert line, "the reader ended by itself"
        reported = int(line)
    time.sleep(0.013)
    os.kill(child.pid, signal.SIGKILL)
    reported = max([reported, *(int(line) for line in child.stdout.read().split())])
    child.wait()
    comments = {int(r.comment) for r in RatingFile.open(path).ratings}
    # Of the five lesions that go round, at most the one in hand is a draft again.
    assert len(comments) >= len(SPHERES) - 1
    assert max(comments) >= reported


def test_lock_needs_every_lesion_rated_or_excluded(review):
    with pytest.raises(InputError, match="5 of 5 showings are neither rated nor excluded"):
        review_files.lock_review(review)
    review.commit(excluded="motion")
    rate_all(review)
    assert review_files.lock_review(review).version == 1


def test_locked_read_refuses_every_change(review):
    rate_all(review)
    review_files.lock_review(review)
    uid = review.current.uid
    for change in (
        lambda: review.change({"para": "iso"}),
        lambda: review.commit(),
        lambda: review.reopen(),
        lambda: review.delete(uid),
        lambda: review.import_lesions(review.node),
    ):
        with pytest.raises(InputError, match="locked"):
            change()


def test_unlocking_makes_the_next_version(review):
    rate_all(review)
    first = review_files.lock_review(review)
    review_files.unlock_review(review)
    review.go_to(0)
    review.reopen()
    review.change({"para": "hyper"})
    review.commit()
    second = review_files.lock_review(review)
    assert (first.version, second.version) == (1, 2)
    assert first.sha256 != second.sha256


def test_a55_outline_changed_under_the_lock_breaks_it(review, tmp_path):
    rate_all(review)
    review_files.lock_review(review)
    assert review_files.is_intact(review)
    uid = review.lesions.uids[0]
    mask = review.lesions.mask(uid)
    mask[20, 30, 46] = False
    draw(review, segment_ids(review.node)[uid], mask)
    assert not review_files.is_intact(review)
    with pytest.raises(InputError, match="changed since"):
        review_files.export_read(review, tmp_path / "out")


def test_lock_is_found_again_in_the_next_session(review, tmp_path):
    review_scene.attach(review)
    rate_all(review)
    review_files.lock_review(review)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    restored = review_scene.restore(slicer.mrmlScene, tmp_path)
    assert restored.is_locked and review_files.is_intact(restored)
    restored.close()


def test_export_is_locked_complete_and_reads_back(review, tmp_path):
    rate_all(review)
    review_files.save_strip(review)
    review_files.lock_review(review)
    export = review_files.export_read(review, tmp_path / "out", case=BidsCase("01", "02"))
    assert check_lock(export.lock).state == "intact"
    table = next(path for path in export.files if path.name.endswith("_ratings.tsv"))
    assert len(read_ratings(table).rows) == len(SPHERES)
    assert any(path.name.endswith(".seg.nrrd") for path in export.files)
    assert any(path.parent.name == "figures" for path in export.files)


def test_a54_strip_of_the_review_is_a_picture_with_case_code_and_notice(review):
    started = time.perf_counter()
    strip = review_files.strip_of(review, review.lesions.uids[0])
    assert time.perf_counter() - started < 1.0
    text = " ".join(strip.texts)
    for word in ("C001", "[ppb]", "[1/s]", "10 mm", "R", "L", "Research use only"):
        assert word in text
    assert np.asarray(strip.image).std() > 10
