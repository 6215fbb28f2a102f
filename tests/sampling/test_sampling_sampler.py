"""The sampler: which recipe and coin a stream uses, who shares a chain, and what a pick depends on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.errors import BacoError
from baco_local.sampling.chain import build_chain
from baco_local.sampling.draw import Address, Candidates, Stream, draw
from baco_local.sampling.sampler import Chain, Sampler, TemperatureChain
from baco_local.sampling.steps import (
    Dry,
    DynamicTemperature,
    MinP,
    Penalties,
    Recipe,
    Step,
    Temperature,
    TopK,
    TopNSigma,
    TopP,
    Typical,
    Xtc,
)
from baco_local.types import MASKED, Role

V = 40
ROW = np.random.default_rng(1).normal(0, 2, V).astype(np.float32)


def build(recipe: Recipe) -> Chain:
    """Build a chain for rows of the tests."""
    return build_chain(recipe, None, V)


def never(recipe: Recipe) -> Chain:
    """Fail if asked for a chain."""
    raise AssertionError(f"a chain was asked for {recipe}")


class Counted:
    """A builder that counts what it builds."""

    def __init__(self) -> None:
        self.recipes: list[Recipe] = []

    def __call__(self, recipe: Recipe) -> Chain:
        """Build, and remember the recipe."""
        self.recipes.append(recipe)
        return build(recipe)


def at(position: int, stream: Stream = Stream.BASE, seed: int = 0) -> Address:
    """Return an address."""
    return Address(seed, 0, position, stream)


def test_without_steps_the_row_is_drawn_as_it_is() -> None:
    """An empty recipe asks for no chain and draws from the whole row."""
    sampler = Sampler((), never)
    whole = Candidates(np.arange(V, dtype=np.int32), ROW)
    assert [sampler.pick(ROW, at(i)) for i in range(200)] == [draw(whole, at(i)) for i in range(200)]


@pytest.mark.parametrize("recipe", [(Temperature(0.7),), (Temperature(0.5), Temperature(3.0)), (Temperature(0.0),)])
def test_temperatures_alone_equal_llama_cpp(recipe: Recipe) -> None:
    """A recipe of temperatures is done in numpy, and says what llama.cpp's chain would."""
    plain, chained = Sampler(recipe, never), build((Typical(1.0), *recipe))
    for position in range(100):
        assert plain.pick(ROW, at(position)) == draw(chained.apply(ROW), at(position))


def test_greedy_takes_the_best_at_every_address() -> None:
    """Temperature 0 ignores the seed; a cut before it changes nothing."""
    for recipe in ((Temperature(0.0),), (TopK(5), Temperature(0.0)), (MinP(0.1), TopP(0.9), Temperature(0.0))):
        sampler = Sampler(recipe, build)
        assert {sampler.pick(ROW, at(i, seed=i)) for i in range(20)} == {int(ROW.argmax())}


CUTS: list[Step] = [TopK(5), TopP(0.8), MinP(0.1), Typical(0.8), TopNSigma(1.0), Xtc(1.0, 0.05)]


@settings(max_examples=150)
@given(st.integers(0, 1000), st.lists(st.sampled_from(CUTS), min_size=1, max_size=3), st.integers(0, 10_000))
def test_a_token_that_survives_the_cuts_is_drawn_again(seed: int, cuts: list[Step], position: int) -> None:
    """What the whole row would have said is said after any cuts that leave it."""
    row = np.random.default_rng(seed).normal(0, 2, V).astype(np.float32)
    token = Sampler((), never).pick(row, at(position))
    survivors = build(tuple(cuts)).apply(row).ids
    if token in survivors:
        assert Sampler(tuple(cuts), build).pick(row, at(position)) == token
    else:
        assert Sampler(tuple(cuts), build).pick(row, at(position)) in survivors


ANY: Recipe = (Penalties(repeat=1.2, presence=0.3), TopP(0.9), Xtc(0.5, 0.1), Temperature(0.9))


@given(st.permutations(list(range(12))))
def test_a_pick_depends_on_its_address_alone(order: list[int]) -> None:
    """Picks made in any order, and twice, are the same picks."""
    rows = np.random.default_rng(5).normal(0, 2, (12, V)).astype(np.float32)
    sampler, again = Sampler(ANY, build), Sampler(ANY, build)
    for token in (3, 4, 3):
        sampler.accept(token)
        again.accept(token)
    straight = [sampler.pick(rows[i], at(i)) for i in range(12)]
    shuffled = {i: again.pick(rows[i], at(i)) for i in order for _ in range(2)}
    assert [shuffled[i] for i in range(12)] == straight


def test_banned_tokens_are_gone_before_the_first_step() -> None:
    """A banned token is not drawn, does not count for a cut, and the row itself stays as it was."""
    best = int(ROW.argmax())
    before = ROW.copy()
    for recipe in ((), (Temperature(0.0),), (TopK(1),), (Temperature(0.3), MinP(1.0))):
        sampler = Sampler(recipe, build)
        assert best not in {sampler.pick(ROW, at(i), {best}) for i in range(100)}
    np.testing.assert_array_equal(ROW, before)
    second = int(np.argsort(ROW)[-2])
    assert Sampler((TopK(1),), build).pick(ROW, at(0), [best]) == second


@pytest.mark.parametrize("recipe", [(), (Temperature(0.0),), (TopK(3),), (TopP(0.9),), (Typical(0.9),), ANY], ids=repr)
def test_if_everything_is_banned_an_error_says_where(recipe: Recipe) -> None:
    """No recipe draws from a row without usable tokens."""
    with pytest.raises(BacoError, match="position 7"):
        Sampler(recipe, build).pick(ROW, at(7), range(V))
    with pytest.raises(BacoError, match="position 8"):
        Sampler(recipe, build).pick(np.full(V, MASKED), at(8))


def test_each_side_has_its_own_recipe_and_stream() -> None:
    """A side given a recipe of its own uses it; the redraw stream is the base model's."""
    sampler = Sampler((Temperature(2.0),), build, {Role.BASE: (TopK(1),)})
    best = int(ROW.argmax())
    assert {sampler.pick(ROW, at(i, Stream.BASE)) for i in range(50)} == {best}
    assert {sampler.pick(ROW, at(i, Stream.REDRAW)) for i in range(50)} == {best}
    aligned = [sampler.pick(ROW, at(i, Stream.ALIGNED)) for i in range(50)]
    assert len(set(aligned)) > 5
    assert aligned == [Sampler((Temperature(2.0),), never).pick(ROW, at(i, Stream.ALIGNED)) for i in range(50)]


def test_the_sides_draw_apart() -> None:
    """The same row at the same position is drawn with other noise on the other side."""
    sampler = Sampler((), never)
    base, aligned, redraw = (
        [sampler.pick(ROW, at(i, stream)) for i in range(300)]
        for stream in (Stream.BASE, Stream.ALIGNED, Stream.REDRAW)
    )
    assert base != aligned
    assert base != redraw


def test_a_router_does_not_draw() -> None:
    """Streams that are no side's have no recipe."""
    with pytest.raises(KeyError):
        Sampler((), never).pick(ROW, at(0, Stream.ROUTER))


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_xtc_acts_as_often_as_asked(probability: float) -> None:
    """Over many positions XTC removes the top token with its probability, and never otherwise."""
    row = np.full(V, -20.0, np.float32)
    row[:2] = 1.0, 0.0
    sampler = Sampler((Xtc(probability, 0.2), Temperature(0.0)), build)
    removed = np.mean([sampler.pick(row, at(i)) == 1 for i in range(2000)])
    assert abs(removed - probability) <= 4 * np.sqrt(probability * (1 - probability) / 2000)


def test_the_coins_of_the_sides_are_their_own() -> None:
    """XTC is tossed apart for the two sides, and a redraw keeps the toss of the draw it replaces."""
    row = np.full(V, -20.0, np.float32)
    row[:2] = 1.0, 0.0
    sampler = Sampler((Xtc(0.5, 0.2), Temperature(0.0)), build)
    base, aligned, redraw = (
        [sampler.pick(row, at(i, stream)) for i in range(400)]
        for stream in (Stream.BASE, Stream.ALIGNED, Stream.REDRAW)
    )
    assert base == redraw
    assert abs(np.corrcoef(base, aligned)[0, 1]) < 4.5 / np.sqrt(400)


def test_chains_without_memory_are_built_once() -> None:
    """Sixteen samples of a stateless recipe share one chain, and both sides too."""
    built = Counted()
    first = Sampler((TopK(3), Temperature(0.8)), built)
    samples = [first.fork() for _ in range(16)]
    assert len(built.recipes) == 1
    picks = [first.pick(ROW, at(i)) for i in range(20)]
    first.close()
    for sample in samples:
        assert [sample.pick(ROW, at(i)) for i in range(20)] == picks
        sample.close()


def test_equal_recipes_of_both_sides_share_a_chain() -> None:
    """Two sides of equal recipe build one chain; sides that differ build two, and both are told the answer."""
    same, apart = Counted(), Counted()
    penalty = Penalties(presence=50.0)
    Sampler((penalty,), same, {Role.BASE: (penalty,), Role.ALIGNED: (penalty,)})
    assert len(same.recipes) == 1
    sampler = Sampler((penalty,), apart, {Role.BASE: (penalty, Temperature(0.0))})
    assert len(apart.recipes) == 2
    best = int(ROW.argmax())
    sampler.accept(best)
    for stream in (Stream.BASE, Stream.ALIGNED):
        assert best not in {sampler.pick(ROW, at(i, stream)) for i in range(200)}


@given(st.lists(st.integers(0, V - 1), max_size=8), st.lists(st.integers(0, V - 1), max_size=8))
def test_forks_remember_and_part(shared: list[int], own: list[int]) -> None:
    """A fork says what a fresh sampler told the same answer says; the trunk does not notice."""
    recipe: Recipe = (Penalties(repeat=1.5, presence=1.0), Temperature(0.8))

    def told(tokens: list[int]) -> list[int]:
        fresh = Sampler(recipe, build)
        for token in tokens:
            fresh.accept(token)
        return [fresh.pick(ROW, at(i)) for i in range(10)]

    trunk = Sampler(recipe, build)
    for token in shared:
        trunk.accept(token)
    branch = trunk.fork()
    for token in own:
        branch.accept(token)
    assert [trunk.pick(ROW, at(i)) for i in range(10)] == told(shared)
    trunk.close()
    assert [branch.pick(ROW, at(i)) for i in range(10)] == told(shared + own)
    branch.reset()
    assert [branch.pick(ROW, at(i)) for i in range(10)] == told([])


def test_penalties_reach_the_draw() -> None:
    """A strong presence penalty keeps a greedy answer from repeating itself."""
    sampler = Sampler((Penalties(last_n=-1, presence=50.0), Temperature(0.0)), build)
    answer = []
    for position in range(V):
        answer.append(sampler.pick(ROW, at(position)))
        sampler.accept(answer[-1])
    assert sorted(answer) == list(range(V))
    assert answer == np.argsort(-ROW, kind="stable").tolist()


def test_a_chain_of_temperatures_has_no_memory() -> None:
    """Its fork is itself, and accepting, resetting and closing change nothing."""
    chain = TemperatureChain(0.5)
    before = chain.apply(ROW).logits.tolist()
    chain.accept(3)
    chain.reset()
    chain.close()
    assert chain.fork() is chain
    assert chain.apply(ROW).logits.tolist() == before
    assert chain.apply(ROW[:7]).ids.tolist() == list(range(7))


def test_dynamic_temperature_goes_through_a_chain() -> None:
    """Only plain temperatures are done without a chain."""
    with pytest.raises(AssertionError, match="a chain was asked for"):
        Sampler((DynamicTemperature(1.0, 0.5),), never)


def test_dry_asks_for_its_vocabulary_when_built() -> None:
    """Errors of the builder reach the caller at once, not at the first token."""
    with pytest.raises(BacoError, match="vocabulary"):
        Sampler((Dry(1.0),), build)
