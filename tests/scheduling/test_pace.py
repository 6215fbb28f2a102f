"""How far ahead it pays to guess."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.config import DrafterName
from baco_local.scheduling.base import Helper, Reader
from baco_local.scheduling.pace import TYPICAL, Acceptance, Cost, best_length, n_expected, n_said, round_cost
from baco_local.types import Role

FLAT = Cost(((1, 1.0), (16, 1.0)))  # a batch costs what one token costs
STEEP = Cost(((1, 1.0), (16, 16.0)))  # a batch saves nothing


def three(pair: Cost, draft: Cost) -> dict[Reader, Cost]:
    """Return costs of both models and of a small one."""
    return {**dict.fromkeys(Role, pair), Helper.DRAFT: draft}


def test_a_cost_is_a_line_between_its_points() -> None:
    """Measured points stand, between and behind them it goes on straight, and nothing costs nothing."""
    cost = Cost(((1, 2.0), (4, 5.0), (8, 7.0)))
    assert [cost(n) for n in (0, 1, 2, 4, 6, 8, 12)] == [0, 2, 3, 5, 6, 7, 9]
    assert Cost(((1, 2.0),))(3) == 6
    assert [cost.times(2)(n) for n in (1, 6)] == [4, 12]


@pytest.mark.parametrize(("rate", "n"), [(0.0, 4), (0.3, 1), (0.6, 3), (0.9, 6), (1.0, 5)])
def test_the_expected_length_is_the_mean_of_many_rounds(rate: float, n: int) -> None:
    """A round ends at its first wrong guess; how long it gets on average is computed, not guessed."""
    dice, total = random.Random(5), 0
    for _ in range(20_000):
        said = 1
        while said < n and dice.random() < rate:
            said += 1
        total += said
    assert n_expected(rate, n) == pytest.approx(total / 20_000, rel=0.03)


def test_acceptance_follows_what_happens() -> None:
    """It starts at a half, comes near to what is seen, and forgets what is long ago."""
    seen = Acceptance()
    assert seen.rate == 0.5
    for _ in range(100):
        seen.note(5, 5)
    assert seen.rate > 0.98
    for _ in range(100):
        seen.note(1, 0)
    assert seen.rate < 0.3
    before = seen.rate
    seen.note(0, 0)
    assert seen.rate == before


@given(st.sampled_from([name for name in DrafterName if name is not DrafterName.NONE]), st.floats(0, 1))
def test_where_batches_save_nothing_nobody_guesses(drafter: DrafterName, rate: float) -> None:
    """With a cost that rises like the number of tokens the plain round is as good as any."""
    costs = three(STEEP, STEEP)
    _, cost = best_length(drafter, costs, rate, 8)
    assert cost == pytest.approx(2.0, rel=1e-9) or rate == 1


def test_good_guesses_in_cheap_batches_are_made_far_ahead() -> None:
    """The better the guesses and the cheaper the batches, the longer the draft; hopeless ones are not made."""
    costs = three(FLAT, TYPICAL.times(0.05))
    lengths = [best_length(DrafterName.MODEL, costs, rate, 8)[0] for rate in (0.0, 0.5, 0.8, 0.95, 1.0)]
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (0, 8)
    for drafter in (DrafterName.BASE, DrafterName.LOOKUP, DrafterName.MODEL):
        cheap, dear = (best_length(drafter, three(cost, cost.times(0.1)), 0.9, 8)[1] for cost in (FLAT, TYPICAL))
        assert cheap < dear


def test_more_answers_at_once_leave_less_to_gain() -> None:
    """What is decoded together is cheap already, so less is guessed."""
    costs = three(TYPICAL, TYPICAL.times(0.1))
    lengths = [best_length(DrafterName.MODEL, costs, 0.8, 8, n_live)[0] for n_live in (1, 2, 4, 16)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


def test_no_guess_is_lockstep() -> None:
    """A round without guesses costs one token of each model and says one token, whoever would have guessed."""
    costs = three(TYPICAL, TYPICAL)
    for drafter in DrafterName:
        assert round_cost(drafter, costs, 0) == 2.0
        assert n_said(drafter, 0.7, 0) == 1.0


def test_a_model_of_the_pair_says_no_more_than_it_guesses() -> None:
    """One guess of base's is lockstep: base reads a token, then aligned does."""
    costs = three(TYPICAL, TYPICAL)
    assert round_cost(DrafterName.BASE, costs, 1) / n_said(DrafterName.BASE, 0.7, 1) == 2.0
    assert n_said(DrafterName.LOOKUP, 1.0, 3) == 4
