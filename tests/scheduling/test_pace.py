"""How far ahead it pays to guess."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.config import DrafterName
from baco_local.scheduling.base import Helper
from baco_local.scheduling.pace import (
    TYPICAL,
    Acceptance,
    Cost,
    Costs,
    best_length,
    lazy_cost,
    n_expected,
    round_costs,
)
from baco_local.types import Role

FLAT = Cost(((1, 1.0), (16, 1.0)))  # a batch costs what one token costs
STEEP = Cost(((1, 1.0), (16, 16.0)))  # a batch saves nothing


def best(drafter: DrafterName, costs: Costs, rate: float, n_most: int, n_live: int = 1) -> tuple[int, float]:
    """Return the best length and its cost."""
    return best_length(drafter, round_costs(drafter, costs, n_most, n_live), rate)


def three(pair: Cost, draft: Cost, **own: float) -> Costs:
    """Return costs of both models and of a small one."""
    return Costs({**dict.fromkeys(Role, pair), Helper.DRAFT: draft}, **own)  # type: ignore[arg-type]


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
    """It starts hopeful, comes near to what is seen, and forgets what is long ago."""
    seen = Acceptance()
    assert seen.rate == 0.8
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
    _, cost = best(drafter, costs, rate, 8)
    assert cost == pytest.approx(2.0, rel=1e-9) or rate == 1


def test_good_guesses_in_cheap_batches_are_made_far_ahead() -> None:
    """The better the guesses and the cheaper the batches, the longer the draft; hopeless ones are not made."""
    costs = three(FLAT, TYPICAL.times(0.05))
    lengths = [best(DrafterName.MODEL, costs, rate, 8)[0] for rate in (0.0, 0.5, 0.8, 0.95, 1.0)]
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (0, 8)
    for drafter in (DrafterName.BASE, DrafterName.LOOKUP, DrafterName.MODEL):
        cheap, dear = (best(drafter, three(cost, cost.times(0.1)), 0.9, 8)[1] for cost in (FLAT, TYPICAL))
        assert cheap < dear


def test_more_answers_at_once_leave_less_to_gain() -> None:
    """What is decoded together is cheap already, so less is guessed."""
    costs = three(TYPICAL, TYPICAL.times(0.1))
    lengths = [best(DrafterName.MODEL, costs, 0.8, 8, n_live)[0] for n_live in (1, 2, 4, 16)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


def test_no_guess_is_lockstep() -> None:
    """A round without guesses costs one token of each model and says one token, whoever would have guessed."""
    for drafter in DrafterName:
        assert best(drafter, three(TYPICAL, TYPICAL), 0.7, 0) == (0, 2.0)


def test_a_model_of_the_pair_says_no_more_than_it_guesses() -> None:
    """One guess of base's is lockstep: base reads a token, then aligned does, and one token is said."""
    costs = three(TYPICAL, TYPICAL)
    assert round_costs(DrafterName.BASE, costs, 1) == (2.0, 2.0)
    assert best(DrafterName.BASE, costs, 1.0, 1) == (0, 2.0)
    assert best(DrafterName.LOOKUP, costs, 1.0, 1)[0] == 1


def test_our_own_work_shortens_drafts() -> None:
    """Where a guess costs us as much as a decode costs the model, fewer are made, but looked-up ones are free."""
    plain, busy = (three(TYPICAL, TYPICAL.times(0.1), guess=own) for own in (0.0, 1.0))
    for drafter, fewer in ((DrafterName.MODEL, True), (DrafterName.LOOKUP, False)):
        lengths = [best(drafter, costs, 0.85, 8)[0] for costs in (plain, busy)]
        assert (lengths[0] > lengths[1]) is fewer


def test_models_that_read_at_once_cost_less() -> None:
    """What both cost at once counts where they are asked together, not where one model speaks alone."""
    costs = Costs(dict.fromkeys(Role, TYPICAL), at_once=TYPICAL.times(1.2))
    assert costs.both(1) == pytest.approx(1.2)
    assert costs.both(1, n_live=4) == pytest.approx(1.2 * TYPICAL(4) / 4)
    assert Costs(dict.fromkeys(Role, TYPICAL), at_once=TYPICAL, roles=(Role.BASE,)).both(1) == 1.0


def test_a_sleeping_model_saves_its_decodes() -> None:
    """A model that is never woken costs nothing; one that always is makes lazy as dear as lockstep."""
    costs = Costs(dict.fromkeys(Role, TYPICAL))
    shares = [lazy_cost(costs, {Role.ALIGNED: 1.0, Role.BASE: share}) for share in (0.0, 0.1, 0.5, 1.0)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (1.0, 2.0)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(2, 16))
def test_among_many_answers_nobody_sleeps(base: float, aligned: float, n_live: int) -> None:
    """Decoded together, waking costs at least nearly what lockstep does, unless hardly anybody is woken."""
    costs = Costs(dict.fromkeys(Role, TYPICAL))
    shares = {Role.BASE: max(base, 1 - aligned), Role.ALIGNED: aligned}
    if min(shares.values()) * n_live > 1:
        assert lazy_cost(costs, shares, n_live) >= costs.both(1, n_live) - 1e-9
