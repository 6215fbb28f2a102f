"""Schedules alone, with a voice that says by rote: what they ask for, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pytest

from baco_local.scheduling.base import Ask, Reader, Round, Schedule, Voice
from baco_local.scheduling.schedules import lazy, lockstep, watchfully
from baco_local.types import Role, Row, Rows, Spoken

A, B = Role.ALIGNED, Role.BASE


class Rote:
    """A voice that wants these rows, one after the other, before it says the sum of their first logits."""

    listens: Collection[Role] = (B, A)

    def __init__(self, *wanted: Role, needs: Collection[Role] = ()) -> None:
        self.wanted, self.needs = wanted, needs or wanted[:1]

    def say(self, rows: Mapping[Role, Row]) -> Spoken | Role:
        """Return what is missed, or a token."""
        for role in self.wanted:
            if role not in rows:
                return role
        return Spoken(int(sum(rows[role][0] for role in self.wanted)), A, "by rote", boundary=False)


def rows_of(ask: Ask, value: float) -> Rows:
    """Return what a model answers to an ask."""
    return np.full((ask.n_rows, 1), value, np.float32)


def played(schedule: Schedule, voice: Voice) -> tuple[list[tuple[Reader, ...]], int]:
    """Answer a round with 1 for base and 10 for aligned; return what it asked for and what it said."""
    waiting: Round = schedule(voice)
    asks, asked = next(waiting), []
    lent: list[Rows] = []
    while True:
        assert isinstance(asks, tuple)
        asked.append(tuple(ask.reader for ask in asks))
        for rows in lent:
            rows.fill(np.nan)  # the memory of the models is used again
        lent = [rows_of(ask, {B: 1.0, A: 10.0}[ask.reader]) for ask in asks]
        try:
            asks = waiting.send(tuple(lent))
        except StopIteration as done:
            return asked, done.value.id


@pytest.mark.parametrize("wanted", [(A,), (B,), (A, B), (B, A)])
def test_lockstep_asks_for_both_at_once(wanted: tuple[Role, ...]) -> None:
    """Both rows are asked for together, whether they are looked at or not; whoever watches learns which were."""
    said = sum({B: 1, A: 10}[role] for role in wanted)
    assert played(lockstep, Rote(*wanted)) == ([(B, A)], said)
    noted: list[set[Role]] = []
    assert played(watchfully(lambda roles: noted.append(set(roles))), Rote(*wanted)) == ([(B, A)], said)
    assert noted == [set(wanted)]


def test_lazy_asks_for_what_is_missed() -> None:
    """One row is asked for first, and the other one only after the voice has missed it."""
    assert played(lazy, Rote(A)) == ([(A,)], 10)
    assert played(lazy, Rote(B)) == ([(B,)], 1)
    assert played(lazy, Rote(A, B)) == ([(A,), (B,)], 11)
    assert played(lazy, Rote(B, A)) == ([(B,), (A,)], 11)


def test_lazy_asks_together_for_what_is_surely_needed() -> None:
    """A voice that always looks at both rows makes lazy lockstep."""
    assert played(lazy, Rote(A, B, needs=(B, A))) == ([(B, A)], 11)
