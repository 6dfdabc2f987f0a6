"""What becomes of a lesion: edited, split, merged, drawn anew, deleted; and who it was at an earlier visit.

An edited lesion keeps its identifier; the parts of a split and the result of a merge get new ones that name their
parents; identifiers are never used twice. Every change can be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .components import Lesion, LesionSet, describe_lesion

#: Lesions at two visits belong together if they share this part of the smaller one's volume.
MIN_OVERLAP = 0.1
#: A 6 mm sphere whose outline moves by half a voxel at 1 mm changes its volume by 59 %, one of 10 mm by 33 %: below
#: this change of volume the pair is called stable.
CHANGE_FRACTION = 0.5


@dataclass(frozen=True)
class Event:
    """One change and the UIDs before and after.

    ``kind`` is "edit", "split", "merge", "new" or "delete"; "update" and "resegment" stand for several at once.
    """

    kind: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class _Undo:
    event: Event
    index: np.ndarray
    old: np.ndarray
    lesions: tuple[Lesion, ...]


class OutlineHistory:
    """The current outlines of a case and all changes since they were loaded.

    Parameters
    ----------
    lesions
        The outlines at the start; the set is never written into.
    case
        Code of the case, for new identifiers.
    """

    def __init__(self, lesions: LesionSet, *, case: str = "") -> None:
        self.current = lesions
        self._case = case
        self._undo: list[_Undo] = []
        self._next_label = max((lesion.label for lesion in lesions.lesions), default=0) + 1
        self._used = set(lesions.uids)
        self._parents = {lesion.uid: lesion.parents for lesion in lesions.lesions}

    @property
    def events(self) -> tuple[Event, ...]:
        """Changes that are in force, oldest first."""
        return tuple(undo.event for undo in self._undo)

    @property
    def next_label(self) -> int:
        """A label value that no lesion of this case has had yet, and none above it."""
        return self._next_label

    def ancestors(self, uid: str) -> tuple[str, ...]:
        """All lesions that a lesion comes from, nearest first."""
        found: list[str] = []
        waiting = list(self._parents.get(uid, ()))
        while waiting:
            parent = waiting.pop(0)
            if parent not in found:
                found.append(parent)
                waiting.extend(self._parents.get(parent, ()))
        return tuple(found)

    def edit(self, uid: str, mask: np.ndarray) -> Lesion:
        """Give a lesion a new outline (bool (z, y, x)); voxels of other lesions stay theirs. It keeps its UID."""
        lesion, labels = self.current[uid], self.current.labels
        wanted = self._checked(mask) & ((labels == 0) | (labels == lesion.label))
        if not wanted.any():
            raise InputError(f"Nothing is left of lesion {lesion.name}.", "Delete the lesion instead.")
        changed = np.flatnonzero(wanted != (labels == lesion.label))
        if not len(changed):
            return lesion
        values = np.where(wanted.reshape(-1)[changed], lesion.label, 0)
        self._apply("edit", (uid,), changed, values, {lesion.label: (uid, lesion.parents)})
        return self.current[uid]

    def split(self, uid: str, parts: np.ndarray | None = None) -> tuple[Lesion, ...]:
        """Replace a lesion by two or more new ones.

        Parameters
        ----------
        parts
            (z, y, x) whole numbers, one value per part within the lesion; None takes its connected components.
        """
        from scipy import ndimage

        lesion = self.current[uid]
        inside = self.current.mask(uid)
        if parts is None:
            parts = ndimage.label(inside, structure=np.ones((3, 3, 3), bool))[0]
        elif np.shape(parts) != inside.shape:
            raise InputError("The parts do not lie on the grid of the lesions.", "Draw them on the same grid.")
        index = np.flatnonzero(inside)
        distinct, part = np.unique(np.asarray(parts).reshape(-1)[index], return_inverse=True)
        if len(distinct) < 2:
            raise InputError(f"Lesion {lesion.name} is one piece.", "Draw a gap or give the parts.")
        first = self._next_label
        identities = {first + n: ("", (uid,)) for n in range(len(distinct))}
        self._apply("split", (uid,), index, first + part.reshape(-1), identities)
        return tuple(item for item in self.current.lesions if item.label in identities)

    def merge(self, uids: Sequence[str]) -> Lesion:
        """Replace two or more lesions by one new one that names them all as parents."""
        lesions = [self.current[uid] for uid in dict.fromkeys(uids)]
        if len(lesions) < 2:
            raise InputError("A merge needs two lesions.", "Select at least two.")
        index = np.flatnonzero(np.isin(self.current.labels, [lesion.label for lesion in lesions]))
        parents = tuple(lesion.uid for lesion in lesions)
        label = self._next_label
        self._apply("merge", parents, index, np.full(len(index), label), {label: ("", parents)})
        return self.current.lesions[-1]

    def add(self, mask: np.ndarray) -> Lesion:
        """A new lesion from drawn voxels that belong to none."""
        index = np.flatnonzero(self._checked(mask) & (self.current.labels == 0))
        if not len(index):
            raise InputError("The new lesion has no voxel of its own.", "Draw it beside the existing lesions.")
        label = self._next_label
        self._apply("new", (), index, np.full(len(index), label), {label: ("", ())})
        return self.current.lesions[-1]

    def delete(self, uid: str) -> None:
        """Remove a lesion's outline; what was rated of it stays in the rating file."""
        index = np.flatnonzero(self.current.mask(uid))
        self._apply("delete", (uid,), index, np.zeros(len(index), int), {})

    def update(self, labels: np.ndarray) -> tuple[Event, ...]:
        """Take over a label map in which voxels were painted and erased, as one step.

        A value of a current lesion is that lesion (edited if its voxels differ), any other value a new lesion, a value
        that is gone a deleted one. Touching lesions stay apart.
        """
        self._checked(labels)
        new, old = np.asarray(labels).astype(np.int32), self.current.labels
        index = np.flatnonzero(new != old)
        if not len(index):
            return ()
        values = new.reshape(-1)[index]
        by_label = {lesion.label: lesion for lesion in self.current.lesions}
        touched = set(np.unique(values).tolist()) | set(np.unique(old.reshape(-1)[index]).tolist())
        present = set(np.flatnonzero(np.bincount(np.maximum(new, 0).reshape(-1))).tolist()) - {0}
        known = {label: (by_label[label].uid, by_label[label].parents) for label in touched & set(by_label)}
        identities = {label: known.get(label, ("", ())) for label in touched & present}
        self._apply("update", tuple(uid for uid, _ in known.values()), index, values, identities)
        after = {lesion.label: lesion.uid for lesion in self.current.lesions}
        events = [Event("edit", (uid,), (uid,)) for label, (uid, _) in known.items() if label in present]
        events += [Event("delete", (uid,), ()) for label, (uid, _) in known.items() if label not in present]
        return tuple(events + [Event("new", (), (after[label],)) for label in identities if label not in known])

    def resegment(self, mask: np.ndarray) -> tuple[Event, ...]:
        """Take over a new mask and keep the identities by overlap.

        A component that shares voxels with one lesion that itself shares with no other component keeps its UID
        (edited); the components of one lesion are its split, a component of several their merge; others are new.
        Touching lesions that a label map keeps apart would merge: use `update` where labels are known.
        Undo takes it back in one step.
        """
        from scipy import ndimage

        binary = self._checked(mask)
        labels = self.current.labels
        components, _ = ndimage.label(binary, structure=np.ones((3, 3, 3), bool))
        pairs = _shared_voxels(components, labels)
        by_label = {lesion.label: lesion for lesion in self.current.lesions}
        touched: dict[int, list[int]] = {}  # lesion label: components
        owners: dict[int, list[int]] = {}  # component: lesion labels
        for component, label in pairs:
            touched.setdefault(label, []).append(component)
            owners.setdefault(component, []).append(label)
        whole = {label for label, parts in touched.items() if self._keeps_together(by_label[label], parts, owners)}
        target = np.zeros(int(components.max()) + 1, np.int32)
        identities: dict[int, tuple[str, tuple[str, ...]]] = {}
        events, next_label = [], self._next_label
        for component in range(1, len(target)):
            own = owners.get(component, [])
            if len(own) == 1 and own[0] in whole:
                target[component] = own[0]
                identities[own[0]] = (by_label[own[0]].uid, by_label[own[0]].parents)
                continue
            target[component], next_label = next_label, next_label + 1
            parents = tuple(by_label[label].uid for label in own)
            identities[int(target[component])] = ("", parents)
            events.append(("merge" if len(parents) > 1 else "split" if parents else "new", parents, target[component]))
        new = target[components]
        index = np.flatnonzero(new != labels)
        if not len(index):
            return ()
        before = {lesion.uid: lesion for lesion in self.current.lesions}
        self._apply("resegment", tuple(before), index, new.reshape(-1)[index], identities)
        after = {lesion.label: lesion for lesion in self.current.lesions}
        details = [Event(kind, parents, (after[int(label)].uid,)) for kind, parents, label in events]
        for uid, lesion in before.items():
            if uid in self.current.uids and self.current[uid].outline != lesion.outline:
                details.append(Event("edit", (uid,), (uid,)))
            if lesion.label not in touched:
                details.append(Event("delete", (uid,), ()))
        return tuple(details)

    def _keeps_together(self, lesion: Lesion, parts: list[int], owners: dict[int, list[int]]) -> bool:
        """True unless the new mask has split or merged the lesion; one drawn in several pieces may keep them."""
        from scipy import ndimage

        if any(len(owners[part]) > 1 for part in parts):
            return False
        if len(parts) == 1:
            return True
        inside = self.current.labels[lesion.box] == lesion.label
        return ndimage.label(inside, structure=np.ones((3, 3, 3), bool))[1] >= len(parts)

    def undo(self) -> Event | None:
        """Take back the last change; None if there is none."""
        if not self._undo:
            return None
        last = self._undo.pop()
        labels = self.current.labels.copy()
        labels.reshape(-1)[last.index] = last.old
        self.current = LesionSet(labels, self.current.grid, last.lesions)
        return last.event

    def _checked(self, mask: np.ndarray) -> np.ndarray:
        mask = np.asarray(mask)
        if mask.shape != self.current.labels.shape:
            raise InputError(
                f"The outline has {mask.shape} voxels, the lesions lie on {self.current.labels.shape} (z, y, x).",
                "Draw on the grid of the lesions; an outline is never transposed or cut to fit.",
            )
        return mask > 0

    def _apply(self, kind, before, index, values, identities) -> None:
        """Write ``values`` at flat ``index``; ``identities``: label to (UID or "", parents) of what comes out."""
        from scipy import ndimage

        old_set = self.current
        labels = old_set.labels.copy()
        flat = labels.reshape(-1)
        old = flat[index].copy()
        flat[index] = values
        gone = set(before)
        boxes = ndimage.find_objects(labels)
        described = {}
        for label, (uid, parents) in identities.items():
            case = "" if uid else self._fresh_salt()
            lesion = describe_lesion(labels, old_set.grid, label, boxes[label - 1], uid=uid, case=case, parents=parents)
            described[label] = lesion
            self._used.add(lesion.uid)
            self._parents[lesion.uid] = lesion.parents
        kept = [
            described.pop(item.label, None) or item for item in old_set.lesions if self._stays(item, gone, described)
        ]
        self._next_label = max([self._next_label, *(label + 1 for label in identities)])
        lesions = tuple(kept) + tuple(described[label] for label in sorted(described))
        self.current = LesionSet(labels, old_set.grid, lesions)
        after = tuple(lesion.uid for label, lesion in ((item.label, item) for item in lesions) if label in identities)
        self._undo.append(_Undo(Event(kind, tuple(before), after), index, old, old_set.lesions))

    def _fresh_salt(self) -> str:
        # A lesion deleted and drawn again voxel by voxel is a new one: its number enters the identifier.
        return f"{self._case}#{len(self._used)}"

    @staticmethod
    def _stays(item: Lesion, gone: set[str], described: dict[int, Lesion]) -> bool:
        return item.uid not in gone or item.label in described


@dataclass(frozen=True)
class PriorMatch:
    """A lesion and its partner at the earlier visit.

    Parameters
    ----------
    uid, prior_uids
        ``uid`` is empty for a resolved lesion, ``prior_uids`` for a new one.
    change
        Code of the codebook's field ``long``: new, stable, enlarged, smaller, resolved, split or merged. A suggestion
        that a reader must not see before the rating is committed.
    """

    uid: str
    prior_uids: tuple[str, ...]
    change: str
    volume_mm3: float
    prior_volume_mm3: float


def match_prior(
    lesions: LesionSet,
    prior: LesionSet,
    *,
    min_overlap: float = MIN_OVERLAP,
    change_fraction: float = CHANGE_FRACTION,
) -> tuple[PriorMatch, ...]:
    """Match lesions with those of an earlier visit by shared voxels.

    The prior must have been registered and resampled to the same grid. A lesion with several priors is "merged", the
    lesions of one prior are "split" (merged wins where both are true).
    """
    if not lesions.grid.matches(prior.grid):
        raise InputError(
            f"The earlier visit lies on {prior.grid.describe()}, this one on {lesions.grid.describe()}.",
            "Register the earlier visit and resample its lesion mask to this one first.",
        )
    now = {lesion.label: lesion for lesion in lesions.lesions}
    then = {lesion.label: lesion for lesion in prior.lesions}
    forward: dict[int, list[int]] = {label: [] for label in now}
    backward: dict[int, list[int]] = {label: [] for label in then}
    for (label, prior_label), shared in _shared_voxels(lesions.labels, prior.labels).items():
        if shared >= min_overlap * min(now[label].n_voxels, then[prior_label].n_voxels):
            forward[label].append(prior_label)
            backward[prior_label].append(label)
    matches = []
    for label, lesion in now.items():
        priors = [then[p] for p in forward[label]]
        prior_volume = sum(p.volume_mm3 for p in priors)
        if not priors:
            change = "new"
        elif len(priors) > 1:
            change = "merged"
        elif len(backward[priors[0].label]) > 1:
            change = "split"
        elif lesion.volume_mm3 > prior_volume * (1 + change_fraction):
            change = "enlarged"
        elif lesion.volume_mm3 * (1 + change_fraction) < prior_volume:
            change = "smaller"
        else:
            change = "stable"
        matches.append(PriorMatch(lesion.uid, tuple(p.uid for p in priors), change, lesion.volume_mm3, prior_volume))
    for label, lesion in then.items():
        if not backward[label]:
            matches.append(PriorMatch("", (lesion.uid,), "resolved", 0.0, lesion.volume_mm3))
    return tuple(matches)


def _shared_voxels(a: np.ndarray, b: np.ndarray) -> dict[tuple[int, int], int]:
    """Number of voxels that two label maps share, by pair of labels."""
    both = np.flatnonzero((a > 0) & (b > 0))
    pairs, count = np.unique(np.stack([a.reshape(-1)[both], b.reshape(-1)[both]]), axis=1, return_counts=True)
    return {(int(x), int(y)): int(n) for x, y, n in zip(*pairs, count)}
