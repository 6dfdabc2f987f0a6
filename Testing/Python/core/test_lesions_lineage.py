"""Identity of a lesion through edit, split, merge, undo, a new mask, and from one visit to the next."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.lesions.components import LesionSet, find_lesions, lesions_from_labels
from ChiSepExtension.lesions.lineage import Event, OutlineHistory, match_prior
from Testing.Python.core.lesion_phantom import ball

SHAPE = (20, 30, 40)
BIG, SMALL = (10, 10, 10), (10, 20, 30)


def lesion_set(*spheres) -> LesionSet:
    """Spheres as (centre, diameter)."""
    mask = np.zeros(SHAPE, bool)
    for centre, diameter in spheres:
        mask |= ball(SHAPE, centre, diameter)
    return find_lesions(mask, Grid.from_spacing(SHAPE))


@pytest.fixture
def history() -> OutlineHistory:
    return OutlineHistory(lesion_set((BIG, 9), (SMALL, 6)))


def test_edited_lesion_keeps_its_identifier_and_changes_its_outline(history):
    before = history.current.lesions[0]
    after = history.edit(before.uid, ball(SHAPE, BIG, 11))
    assert after.uid == before.uid and after.label == before.label
    assert after.outline != before.outline and after.n_voxels == ball(SHAPE, BIG, 11).sum()


def test_edit_takes_no_voxels_of_other_lesions(history):
    big, small = history.current.lesions
    history.edit(big.uid, np.ones(SHAPE, bool))
    assert history.current[small.uid] == small


def test_a32_split_gives_two_new_identifiers_with_the_parent(history):
    big, small = history.current.lesions
    parts = np.zeros(SHAPE, int)
    parts[:, :, 10:] = 1
    children = history.split(big.uid, parts)
    assert len(children) == 2 and len({c.uid for c in children} | {big.uid, small.uid}) == 4
    assert all(c.parents == (big.uid,) for c in children)
    assert big.uid not in history.current.uids and sum(c.n_voxels for c in children) == big.n_voxels


def test_a32_merge_keeps_both_parents(history):
    big, small = history.current.lesions
    merged = history.merge([big.uid, small.uid])
    assert merged.parents == (big.uid, small.uid) and merged.uid not in merged.parents
    assert history.current.uids == (merged.uid,) and merged.n_voxels == big.n_voxels + small.n_voxels


def test_a32_undo_restores_outlines_and_identifiers_step_by_step(history):
    start = history.current
    big, small = start.lesions
    parts = np.zeros(SHAPE, int)
    parts[:, 10:] = 1
    history.edit(small.uid, ball(SHAPE, SMALL, 8))
    a, b = history.split(big.uid, parts)
    history.merge([a.uid, small.uid])
    history.delete(b.uid)
    assert [history.undo().kind for _ in range(4)] == ["delete", "merge", "split", "edit"]
    assert history.current.lesions == start.lesions
    assert np.array_equal(history.current.labels, start.labels)
    assert history.undo() is None


def test_ancestors_lead_back_through_merge_and_split(history):
    big, small = history.current.lesions
    parts = np.zeros(SHAPE, int)
    parts[:, 10:] = 1
    a, _ = history.split(big.uid, parts)
    merged = history.merge([a.uid, small.uid])
    assert history.ancestors(merged.uid) == (a.uid, small.uid, big.uid)


def test_lesion_drawn_again_is_a_new_one(history):
    small = history.current.lesions[1]
    outline = history.current.mask(small.uid)
    history.delete(small.uid)
    again = history.add(outline)
    assert again.uid != small.uid and again.label != small.label and again.outline == small.outline


def test_split_of_one_piece_is_refused(history):
    with pytest.raises(InputError, match="one piece"):
        history.split(history.current.uids[0])


def test_the_set_that_was_passed_in_is_never_written(history):
    start, labels = history.current, history.current.labels.copy()
    history.edit(start.uids[0], ball(SHAPE, BIG, 5))
    assert np.array_equal(start.labels, labels)


def test_new_mask_keeps_grown_lesions_and_tells_split_merge_new_and_lost():
    history = OutlineHistory(lesion_set(((10, 8, 8), 9), ((10, 22, 8), 7), ((10, 8, 30), 6), ((4, 26, 36), 4)))
    grown, halved, lost, _ = history.current.lesions
    mask = ball(SHAPE, (10, 8, 8), 11) | ball(SHAPE, (10, 22, 8), 7) | ball(SHAPE, (4, 26, 36), 4)
    mask[10, 22] = False
    mask[:, 22] &= False
    mask |= ball(SHAPE, (15, 15, 25), 5)
    events = history.resegment(mask)
    kinds = sorted(event.kind for event in events)
    assert kinds == ["delete", "edit", "new", "split", "split"]
    assert Event("edit", (grown.uid,), (grown.uid,)) in events and Event("delete", (lost.uid,), ()) in events
    assert all(event.before == (halved.uid,) for event in events if event.kind == "split")
    assert np.array_equal(history.current.labels > 0, mask)
    assert history.undo().kind == "resegment" and history.current.uids[0] == grown.uid


def test_new_mask_that_bridges_two_lesions_is_their_merge(history):
    big, small = history.current.lesions
    bridge = history.current.labels > 0
    bridge[10, 10:21, 10:31] = True
    (event,) = [e for e in history.resegment(bridge) if e.kind == "merge"]
    assert set(event.before) == {big.uid, small.uid} and history.current.uids == event.after


def test_the_same_mask_again_changes_nothing(history):
    assert history.resegment(history.current.labels > 0) == ()
    assert history.events == ()


def test_a75_painted_label_map_tells_edited_new_and_deleted_lesions(history):
    big, small = history.current.lesions
    labels = history.current.labels.copy()
    labels[labels == small.label] = 0
    labels[10, 10, 10] = 0
    labels[2:4, 2:4, 2:4] = 9
    events = history.update(labels)
    new = history.current.lesions[-1].uid
    assert set(events) == {
        Event("edit", (big.uid,), (big.uid,)),
        Event("delete", (small.uid,), ()),
        Event("new", (), (new,)),
    }
    assert np.array_equal(history.current.labels, labels) and history.update(labels) == ()
    history.undo()
    assert history.current.lesions == (big, small)


def test_touching_lesions_stay_apart_when_one_is_painted():
    labels = np.zeros(SHAPE, np.int32)
    labels[5:9, 5:9, 5:9], labels[5:9, 5:9, 9:12] = 1, 2
    history = OutlineHistory(lesions_from_labels(labels, Grid.from_spacing(SHAPE)))
    labels = history.current.labels.copy()
    labels[9, 5:9, 5:9] = 1
    assert [event.kind for event in history.update(labels)] == ["edit"] and len(history.current) == 2


def test_lesion_drawn_in_two_pieces_stays_one_under_the_same_and_a_grown_mask():
    labels = np.zeros(SHAPE, np.int32)
    labels[5:8, 5:8, 5:8] = labels[5:8, 5:8, 12:15] = 3
    labels[15:18, 20:23, 20:23] = 5
    history = OutlineHistory(lesions_from_labels(labels, Grid.from_spacing(SHAPE)))
    uids = history.current.uids
    assert history.resegment(labels > 0) == ()
    grown = labels > 0
    grown[8, 5:8, 5:8] = True
    assert [event.kind for event in history.resegment(grown)] == ["edit"] and history.current.uids == uids


@pytest.mark.parametrize(
    "now, then, change",
    [
        ([(BIG, 9)], [(BIG, 9)], "stable"),
        ([(BIG, 9)], [((10, 10, 11), 9)], "stable"),
        ([(BIG, 10)], [(BIG, 7)], "enlarged"),
        ([(BIG, 7)], [(BIG, 10)], "smaller"),
        ([(BIG, 9)], [(SMALL, 9)], "new"),
        ([(BIG, 12)], [((10, 10, 6), 5), ((10, 10, 14), 5)], "merged"),
        ([((10, 10, 6), 5), ((10, 10, 14), 5)], [(BIG, 12)], "split"),
    ],
)
def test_change_against_the_prior_visit(now, then, change):
    lesions, prior = lesion_set(*now), lesion_set(*then)
    matches = [match for match in match_prior(lesions, prior) if match.uid]
    assert {match.change for match in matches} == {change}
    if change != "new":
        assert {uid for match in matches for uid in match.prior_uids} == set(prior.uids)


def test_lesion_of_the_prior_visit_without_partner_is_resolved():
    prior = lesion_set((BIG, 9), (SMALL, 5))
    (resolved,) = [m for m in match_prior(lesion_set((BIG, 9)), prior) if not m.uid]
    assert resolved.change == "resolved" and resolved.prior_uids == (prior.uids[1],)


def test_prior_on_another_grid_is_refused():
    other = find_lesions(np.ones((3, 3, 3), bool), Grid.from_spacing((3, 3, 3)))
    with pytest.raises(InputError, match="Register"):
        match_prior(lesion_set((BIG, 9)), other)
