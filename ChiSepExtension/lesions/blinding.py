"""Reading order: shuffled by a stored seed, with hidden repeats for the agreement of a reader with himself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

#: Share of lesions that are shown twice.
REPEAT_FRACTION = 0.10
#: In a shorter list a reader recognises the lesion that comes back.
REPEATS_FROM_LESIONS = 20


@dataclass(frozen=True)
class Presentation:
    """One place in the reading order. The reader sees the position only, never ``is_repeat``."""

    position: int
    uid: str
    is_repeat: bool


def reading_order(
    uids: Iterable[str], seed: int, *, repeat_fraction: float = REPEAT_FRACTION
) -> tuple[Presentation, ...]:
    """Order in which a reader meets the lesions.

    The same seed and lesions give the same order, whatever order they are passed in. A tenth of the lesions (rounded
    up, from 20 lesions on) comes back once, at least a quarter of the list later.
    """
    lesions = sorted(set(uids))
    generator = np.random.Generator(np.random.PCG64(seed))
    n = len(lesions)
    shuffled = [lesions[i] for i in generator.permutation(n)]
    place = [(float(i), uid, False) for i, uid in enumerate(shuffled)]
    if n >= REPEATS_FROM_LESIONS:
        # Rounding to 1e-9: 0.1 * 30 is 3.0000000000000004 and must not give four repeats.
        count = math.ceil(round(repeat_fraction * n, 9))
        gap = n // 4
        # A repeat needs room for the gap behind its first showing.
        for i in sorted(generator.permutation(n - gap)[:count]):
            place.append((float(generator.uniform(i + gap, n)), shuffled[i], True))
    place.sort()
    return tuple(Presentation(position, uid, repeat) for position, (_, uid, repeat) in enumerate(place))


def case_codes(cases: Sequence[str], seed: int) -> dict[str, str]:
    """Code "C001", "C002", … of each case, handed out in an order shuffled by the seed: the codes tell nothing."""
    names = sorted(set(cases))
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(names))
    width = max(3, len(str(len(names))))
    return {names[i]: f"C{number:0{width}d}" for number, i in enumerate(order, start=1)}
