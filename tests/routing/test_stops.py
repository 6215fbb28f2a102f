from __future__ import annotations

import numpy as np
import pytest

from baco_local.config import StopRule
from baco_local.routing.stops import Endings, without_stops
from baco_local.types import MASKED, Role

STOPS = {Role.BASE: frozenset({1}), Role.ALIGNED: frozenset({1, 2})}
PLAIN = Endings(STOPS)
EITHER = Endings(STOPS, StopRule.EITHER)
BASE_ALONE = Endings(STOPS, alone=Role.BASE)
ALIGNED_ALONE = Endings(STOPS, alone=Role.ALIGNED)


@pytest.mark.parametrize(
    ("endings", "token", "speaker", "ends", "hands_over"),
    [
        (PLAIN, 2, Role.ALIGNED, True, False),
        (PLAIN, 1, Role.ALIGNED, True, False),
        (PLAIN, 1, Role.BASE, False, True),
        (PLAIN, 2, Role.BASE, False, False),
        (PLAIN, 5, Role.BASE, False, False),
        (PLAIN, 5, Role.ALIGNED, False, False),
        (EITHER, 1, Role.BASE, True, False),
        (EITHER, 2, Role.ALIGNED, True, False),
        (BASE_ALONE, 1, Role.BASE, True, False),
        (ALIGNED_ALONE, 2, Role.ALIGNED, True, False),
    ],
)
def test_whose_end_ends_the_answer(endings: Endings, token: int, speaker: Role, ends: bool, hands_over: bool) -> None:
    """By default only aligned ends an answer, and a base stop hands over; base alone ends its own."""
    assert endings.ends(token, speaker) is ends
    assert endings.hands_over(token, speaker) is hands_over
    assert endings.is_stop(token, speaker) is (ends or hands_over)


@pytest.mark.parametrize(
    ("endings", "token", "newcomer", "opens", "taken"),
    [
        (PLAIN, 5, Role.ALIGNED, True, True),
        (PLAIN, 5, Role.ALIGNED, False, False),
        (PLAIN, 5, Role.BASE, True, True),
        (PLAIN, 5, Role.BASE, False, False),
        (PLAIN, 2, Role.ALIGNED, False, True),
        (PLAIN, 1, Role.BASE, True, False),
        (EITHER, 1, Role.BASE, False, True),
    ],
)
def test_what_a_newcomer_may_take_over_with(
    endings: Endings, token: int, newcomer: Role, opens: bool, taken: bool
) -> None:
    """The other model takes over with a word, or with an end that it may speak; never with a base stop."""
    assert endings.accepts(token, newcomer, opens=opens) is taken


def test_aligned_claims_the_place_where_it_would_end() -> None:
    """Where aligned most likely ends, it speaks, unless one model speaks alone."""
    assert PLAIN.claimed(2)
    assert EITHER.claimed(2)
    assert not PLAIN.claimed(5)
    assert not BASE_ALONE.claimed(2)


@pytest.mark.parametrize("stops", [frozenset({1, 3}), (1, 3), []])
def test_a_second_draw_cannot_stop(stops: frozenset[int]) -> None:
    """The stops are masked in a copy, and everything else stays."""
    row = np.arange(5, dtype=np.float32)
    masked = without_stops(row, stops)
    assert masked.tolist() == [float(MASKED) if i in stops else i for i in range(5)]
    assert row.tolist() == [0, 1, 2, 3, 4]
