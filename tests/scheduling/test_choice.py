"""What is chosen: the cheapest by the numbers, and lockstep where they promise little."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from baco_local.config import DecodeOptions, DrafterName, ScheduleName
from baco_local.errors import UsageError
from baco_local.scheduling.base import Ask, Foresight, Helper, Reader, Schedule
from baco_local.scheduling.choice import DRAFTERS, Adaptive, Pace, Plan, Seen, choose, guess, numbers, schedule_for
from baco_local.scheduling.pace import TYPICAL, Acceptance, Cost, Costs
from baco_local.scheduling.schedules import lazy, lockstep
from baco_local.types import Role, Row, Rows, Spoken, TokenIds

A, B = Role.ALIGNED, Role.BASE
FLAT = Cost(((1, 1.0), (16, 1.0)))
STEEP = Cost(((1, 1.0), (16, 16.0)))
EVERYBODY = tuple(DRAFTERS)


def costs(pair: Cost, draft: float = 0.1, **more: Any) -> Costs:
    """Return costs of three models."""
    return Costs({A: pair, B: pair, Helper.DRAFT: pair.times(draft)}, **more)


def seen(woken: float = 1.0, **rates: float) -> Seen:
    """Return what was seen: how often base is woken, and how often the guesses of each drafter stand."""
    acceptance = {name: Acceptance(1000.0, 1000 * rates.get(name.value, 0.0)) for name in DRAFTERS}
    return Seen(acceptance, {B: woken, A: 1.0})


@pytest.mark.parametrize("cost", [FLAT, TYPICAL, STEEP])
@pytest.mark.parametrize("n_live", [1, 4])
def test_where_nothing_is_gained_it_is_lockstep(cost: Cost, n_live: int) -> None:
    """With models that are always woken and guesses that never stand nothing is better than lockstep."""
    assert choose(numbers(costs(cost), EVERYBODY, 8, n_live), seen()) == Plan(ScheduleName.LOCKSTEP)


def test_a_gain_of_little_is_left() -> None:
    """What promises less than five percent stays lockstep."""
    assert choose(numbers(costs(STEEP), (), 8), seen(0.98)).schedule is ScheduleName.LOCKSTEP
    assert choose(numbers(costs(FLAT), (), 8), seen(0.95)).schedule is ScheduleName.LOCKSTEP
    assert choose(numbers(costs(FLAT), (), 8), seen(0.85)).schedule is ScheduleName.LAZY


def test_the_better_drafter_guesses() -> None:
    """Who guesses well and cheaply guesses far; who guesses badly is not asked."""
    plan = choose(numbers(costs(TYPICAL), EVERYBODY, 8), seen(model=0.8))
    assert (plan.schedule, plan.drafter) == (ScheduleName.SPECULATIVE, DrafterName.MODEL)
    assert plan.n_draft >= 2
    plan = choose(numbers(costs(FLAT, draft=2.0), EVERYBODY, 8), seen(model=0.8, aligned=0.9))
    assert plan.drafter is DrafterName.ALIGNED


def test_what_can_be_looked_up_is_tried_first() -> None:
    """Guesses from the text go before any other schedule where they stand often enough."""
    plan = choose(numbers(costs(TYPICAL), EVERYBODY, 8), seen(0.3, lookup=0.7))
    assert plan.schedule is ScheduleName.LAZY
    assert plan.n_looked_up >= 2
    assert choose(numbers(costs(TYPICAL), EVERYBODY, 8), seen(0.3, lookup=0.2)).n_looked_up == 0


def test_many_answers_together_choose_lockstep() -> None:
    """What sixteen answers read together is cheap enough."""
    for n_live, name in ((1, ScheduleName.SPECULATIVE), (16, ScheduleName.LOCKSTEP)):
        assert choose(numbers(costs(TYPICAL), EVERYBODY, 8, n_live), seen(model=0.6)).schedule is name


def test_one_model_alone_neither_sleeps_nor_guesses_for_itself() -> None:
    """At an end of the dial there is nobody to wake, and what a model would guess it knows."""
    alone = costs(FLAT, roles=(A,))
    assert choose(numbers(alone, (DrafterName.ALIGNED,), 8), seen(aligned=1.0)) == Plan(ScheduleName.LOCKSTEP)
    assert choose(numbers(alone, (DrafterName.BASE,), 8), seen(base=1.0)) == Plan(ScheduleName.LOCKSTEP)
    assert choose(numbers(alone, EVERYBODY, 8), seen(model=0.9)).drafter is DrafterName.MODEL


def test_a_drafter_that_was_named_always_guesses() -> None:
    """Asked to guess, it guesses one token at least, so that it can prove itself again."""
    assert guess(numbers(costs(STEEP), EVERYBODY, 8), seen(), DrafterName.BASE) == Plan(
        ScheduleName.SPECULATIVE, DrafterName.BASE, 1
    )
    assert guess(numbers(costs(STEEP), EVERYBODY, 8), seen(), DrafterName.LOOKUP).n_looked_up == 1


def test_guesses_that_must_be_made_are_as_many_as_cost_least() -> None:
    """Where lockstep is cheaper than any guess, a drafter that was asked for still guesses as well as it can."""
    stairs = Cost(((1, 1.0), (2, 1.9), (3, 2.5), (4, 2.6), (5, 5.0), (8, 9.0)))  # the fourth token is nearly free
    by, known = numbers(costs(stairs, draft=0.2), EVERYBODY, 8), seen(model=0.7)
    assert choose(by, known).schedule is ScheduleName.LOCKSTEP
    assert guess(by, known, DrafterName.MODEL).n_draft == 3


def pace(*helpers: Reader, can_rewind: bool = True) -> Pace:
    """Return a pace of two models and some helpers."""
    return Pace((*Role, *helpers), costs(TYPICAL), lambda: 1, can_rewind=can_rewind)


def wish(**knobs: Any) -> DecodeOptions:
    """Return what a caller asks for."""
    return DecodeOptions(**knobs)


def test_models_that_cannot_be_rewound_are_lazy() -> None:
    """Where nothing can be taken back nobody guesses, whatever was asked for."""
    stiff = pace(Helper.DRAFT, can_rewind=False)
    assert schedule_for(wish(schedule=ScheduleName.SPECULATIVE), stiff) is lazy
    assert stiff.drafters(wish(schedule=ScheduleName.AUTO)) == ()
    assert schedule_for(wish(schedule=ScheduleName.LOCKSTEP), stiff) is lockstep


def test_a_drafter_that_is_not_there_is_refused() -> None:
    """Whoever names the small model without one is told how to give it; nobody else misses it."""
    with pytest.raises(UsageError, match="--draft FILE"):
        schedule_for(wish(schedule=ScheduleName.SPECULATIVE, drafter=DrafterName.MODEL), pace())
    assert pace().drafters(wish())[0] is DrafterName.LOOKUP
    assert pace(Helper.DRAFT).drafters(wish())[0] is DrafterName.MODEL
    for none in ({"drafter": DrafterName.NONE}, {"draft_max": 0}):
        assert schedule_for(wish(schedule=ScheduleName.SPECULATIVE, **none), pace(Helper.DRAFT)) is lazy


def test_answers_of_one_kind_learn_together() -> None:
    """What one answer has seen serves the next of its kind, and no other."""
    shared = pace()
    shared.seen("a").acceptance[DrafterName.BASE].note(60, 0)
    assert shared.seen("a").acceptance[DrafterName.BASE].rate < 0.2
    assert shared.seen("b").acceptance[DrafterName.BASE].rate == 0.8
    assert isinstance(schedule_for(wish(schedule=ScheduleName.AUTO), shared, "a"), Adaptive)


class Needy:
    """A voice that looks at these rows, and says what stands in a text, behind which nothing is known."""

    def __init__(self, needs: Collection[Role], listens: Collection[Role] = (B, A), text: Sequence[int] = ()) -> None:
        self.needs, self.listens, self.text, self.n_said = needs, listens, text, 0

    def say(self, rows: Mapping[Role, Row]) -> Spoken | Role:
        """Return what is missed, or the next token."""
        missed = [role for role in self.needs if role not in rows]
        if missed:
            return missed[0]
        assert all(rows[role].size for role in self.needs)
        return Spoken(self.text[self.n_said % len(self.text)] if self.text else 0, A, "by rote", boundary=False)

    def foresee(self) -> Foresight:
        """Return what was said so far."""
        return Remembered([self.text[i % len(self.text)] for i in range(self.n_said)])


class Remembered:
    """A text that can be looked up, and nothing else."""

    def __init__(self, known: TokenIds) -> None:
        self.known = known

    def room(self, _readers: Collection[Reader]) -> int:
        """Return enough."""
        return 100

    def guess(self, _row: Row) -> int | None:
        """Guess nothing."""
        return None

    def readable(self, _token: int) -> bool:
        """Read everything."""
        return True

    def close(self) -> None:
        """Hold nothing."""


def first_asks(schedule: Schedule, voice: Needy, n_rounds: int) -> list[tuple[Ask, ...]]:
    """Play rounds, and return what each has asked at first."""
    found = []
    for _ in range(n_rounds):
        waiting = schedule(voice)
        asks = next(waiting)
        assert isinstance(asks, tuple)
        found.append(asks)
        rows: tuple[Rows, ...] = tuple(np.zeros((ask.n_rows, 1), np.float32) for ask in asks)
        with suppress(StopIteration):  # the last token
            waiting.send(rows)
            while True:
                voice.n_said += 1
                next(waiting)
        voice.n_said += 1
    return found


def n_asks(schedule: Schedule, voice: Needy, n_rounds: int) -> list[int]:
    """Play rounds, and return how many models each has asked at first."""
    return [len(asks) for asks in first_asks(schedule, voice, n_rounds)]


@pytest.mark.parametrize("repeats", [True, False])
def test_guesses_from_the_text_are_judged_before_anybody_reads_them(*, repeats: bool) -> None:
    """A text that repeats itself is guessed ahead after a while; of one that only seems to, no guess is ever read."""
    verse = [5, 6, 7, 8, 9, 10, 11, 12]
    text = verse * 20 if repeats else [token for i in range(80) for token in (5, 6, 20 + i)]
    schedule = schedule_for(wish(schedule=ScheduleName.AUTO, drafter=DrafterName.LOOKUP), pace())
    asked = first_asks(schedule, Needy((B, A), text=text), 60)
    guesses = [len(asks[0].guess) for asks in asked]
    assert not any(guesses[:10])
    assert (sum(guesses) > 20) is repeats
    assert any(guesses) is repeats


@pytest.mark.parametrize(("needs", "sleeps"), [((A,), True), ((B, A), False)])
def test_lockstep_itself_shows_whether_a_model_could_sleep(*, needs: Collection[Role], sleeps: bool) -> None:
    """Nothing is tried in hope: an answer begins in lockstep, and is lazy as soon as that has shown a row unread."""
    schedule = schedule_for(wish(schedule=ScheduleName.AUTO, drafter=DrafterName.NONE), pace())
    asked = n_asks(schedule, Needy(needs), 60)
    assert set(asked[:8]) == {2}
    assert set(asked[40:]) == {1 if sleeps else 2}


def test_an_end_of_the_dial_teaches_nothing() -> None:
    """While one model writes alone nobody learns how often the other would be woken."""
    known = pace()
    schedule = schedule_for(wish(schedule=ScheduleName.AUTO, drafter=DrafterName.NONE), known)
    assert n_asks(schedule, Needy((A,), (A,)), 60) == [1] * 60
    assert known.seen(None) == Seen()
    assert set(n_asks(schedule, Needy((B, A)), 60)) == {2}
