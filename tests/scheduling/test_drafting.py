"""Where guesses come from."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.scheduling.base import Ask, Helper, Reader
from baco_local.scheduling.drafting import Draft, by_lookup, by_model, continuation
from baco_local.types import Role, Row


@pytest.mark.parametrize(
    ("known", "n", "found"),
    [
        ([1, 2, 3, 9, 8, 1, 2, 3], 2, [9, 8]),
        ([1, 2, 3, 9, 8, 1, 2, 3], 9, [9, 8, 1, 2, 3]),
        ([5, 1, 2, 7, 7, 6, 1, 2, 8, 8, 5, 1, 2], 1, [7]),  # the longer match, not the later one
        ([1, 2, 7, 1, 2, 8, 1, 2], 1, [8]),  # of equally long ones the later
        ([4, 4, 4, 4, 4, 4], 3, [4]),
        ([1, 2, 3, 9, 3], 2, []),  # one token alone is no match
        ([1, 2, 3], 4, []),
        ([], 4, []),
        ([1, 2, 1, 2], 0, []),
    ],
)
def test_a_text_goes_on_as_it_went_on_before(known: list[int], n: int, found: list[int]) -> None:
    """The longest suffix that stood before gives what followed it, the latest place first."""
    assert list(continuation(known, n)) == found


@given(st.lists(st.sampled_from((1, 256, 65536, 257, 2)), max_size=40), st.integers(0, 5))
def test_a_continuation_is_one(known: list[int], n: int) -> None:
    """What is found stands in the text behind the last two tokens, whatever the bytes of the ids."""
    found = list(continuation(known, n))
    places = [i + 2 for i in range(len(known) - 2) if known[i : i + 2] == known[-2:]]
    assert len(found) <= n
    assert bool(found) == bool(places and n)
    assert not found or any(known[i : i + len(found)] == found for i in places)


class Ladder:
    """A foresight that guesses the row's first logit, and sees an end above 9."""

    def __init__(self, known: Sequence[int] = (), room: int = 99) -> None:
        self.known, self._room, self.closed = known, room, False

    def room(self, readers: Collection[Reader]) -> int:
        """Return the given room."""
        assert readers
        return self._room

    def guess(self, row: Row) -> int | None:
        """Return what the row says."""
        return int(row[0]) if row[0] <= 9 else None

    def readable(self, token: int) -> bool:
        """Return whether a token is no end."""
        return token <= 9

    def close(self) -> None:
        """Close."""


def drafted(drafting: Generator[tuple[Ask, ...], Any, Draft], first: int) -> tuple[Draft, list[Ask]]:
    """Answer every ask with a row that counts on from ``first``, in memory that is used again."""
    memory, asked = np.zeros((1, 1), np.float32), []
    try:
        asks = next(drafting)
        while True:
            (ask,) = asks
            asked.append(ask)
            memory[0, 0] = first + len(ask.guess)
            asks = drafting.send((memory,))
    except StopIteration as done:
        return done.value, asked


def test_a_model_writes_ahead() -> None:
    """It reads its own guesses one by one; a model of the pair hands over the rows that it has seen."""
    draft, asked = drafted(by_model(Role.BASE)(Ladder(), 3), 4)
    assert draft.ids == (4, 5, 6)
    assert [ask.guess for ask in asked] == [(), (4,), (4, 5)]
    assert [float(row[0]) for row in draft.rows[Role.BASE]] == [4, 5, 6]
    draft, asked = drafted(by_model(Helper.DRAFT)(Ladder(), 3), 4)
    assert (draft.ids, draft.rows) == ((4, 5, 6), {})


def test_a_draft_stops_at_an_end_and_where_there_is_no_room() -> None:
    """No guess is an end of turn, and none goes beyond a context."""
    draft, _ = drafted(by_model(Role.ALIGNED)(Ladder(), 9), 8)
    assert draft.ids == (8, 9)
    assert len(draft.rows[Role.ALIGNED]) == 3  # the row at the end is known, too
    assert drafted(by_model(Role.ALIGNED)(Ladder(room=1), 9), 4)[0].ids == (4,)
    assert drafted(by_model(Role.ALIGNED)(Ladder(room=-1), 9), 4) == (Draft(), [])


def test_a_lookup_asks_nobody() -> None:
    """It guesses what followed before, up to what no answer may hold."""
    assert drafted(by_lookup(Ladder([1, 2, 7, 8, 11, 3, 1, 2]), 9), 0) == (Draft((7, 8)), [])
    assert drafted(by_lookup(Ladder([1, 2, 7, 8, 11, 3, 1, 2]), 1), 0) == (Draft((7,)), [])
