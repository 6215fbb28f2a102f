"""Steps mean what llama.cpp says they mean; numpy's shortcuts equal llama.cpp; chains remember, fork and forget."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from baco_local.errors import BackendError, UsageError
from baco_local.sampling.chain import build_chain
from baco_local.sampling.cut import cut_of
from baco_local.sampling.draw import Candidates
from baco_local.sampling.steps import (
    Dry,
    DynamicTemperature,
    LogitBias,
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
from baco_local.types import MASKED

ROW = np.log(np.array([0.1, 0.2, 0.3, 0.4])).astype(np.float32)
ALL = {0, 1, 2, 3}
HEAD_IS_LLAMA = Typical(1.0)  # off; but a recipe that opens with it leaves nothing for numpy to shorten


def left_by(recipe: Recipe, row: np.ndarray, coin: float = 0.0) -> Candidates:
    """Run a recipe on one row."""
    return build_chain(recipe, None, row.size).apply(row, coin)


def as_dict(left: Candidates) -> dict[int, float]:
    """Return id -> logit."""
    found = dict(zip(left.ids.tolist(), left.logits.tolist(), strict=True))
    assert len(found) == left.ids.size, "an id appears twice"
    return found


def truncate(logits: np.ndarray, *, min_p: float = 0.0, n_sigma: float = 0.0) -> set[int]:
    """Return the ids that min-p and top-n-sigma leave, as the method defines them."""
    z = logits.astype(float)
    if n_sigma:
        z[z < z.max() - n_sigma * z.std()] = -np.inf
    if min_p:
        z[z < z.max() + np.log(min_p)] = -np.inf
    return set(np.flatnonzero(np.isfinite(z)).tolist())


TRUTH: list[tuple[Step, set[int]]] = [
    (TopK(1), {3}),
    (TopK(2), {2, 3}),
    (TopK(9), ALL),
    (TopP(0.0), {3}),
    (TopP(0.3), {3}),
    (TopP(0.7), {2, 3}),
    (TopP(0.75), {1, 2, 3}),
    (TopP(0.95), ALL),
    (MinP(0.2), ALL),
    (MinP(0.3), {1, 2, 3}),
    (MinP(0.6), {2, 3}),
    (MinP(1.0), {3}),
    (TopNSigma(0.5), {3}),
    (TopNSigma(1.0), {2, 3}),
    (TopNSigma(2.0), {1, 2, 3}),
    (TopNSigma(3.0), ALL),
    (Typical(0.2), {2}),
    (Typical(0.4), {1, 2}),
    (Typical(0.8), {1, 2, 3}),
    (Xtc(1.0, 0.15), {0, 1}),
    (Xtc(1.0, 0.25), {0, 1, 2}),
    (Xtc(1.0, 0.35), ALL),
    (Xtc(1.0, 0.05), {0}),
    (Temperature(0.0), {3}),
    (LogitBias(((3, -math.inf), (2, 5.0))), {0, 1, 2}),
]


@pytest.mark.parametrize(("step", "ids"), TRUTH, ids=[repr(step) for step, _ in TRUTH])
@pytest.mark.parametrize("head", [(), (HEAD_IS_LLAMA,)], ids=["alone", "by llama.cpp"])
def test_truth_table(step: Step, ids: set[int], head: Recipe) -> None:
    """On the logits log [.1 .2 .3 .4] a step leaves these ids, whether it opens the recipe or not."""
    assert set(as_dict(left_by((*head, step), ROW))) == ids


@pytest.mark.parametrize(
    ("step", "change"),
    [
        (Temperature(0.5), lambda z: z * 2),
        (Temperature(2.0), lambda z: z / 2),
        (DynamicTemperature(0.5, 0.0), lambda z: z * 2),
        (LogitBias(((1, 2.5), (3, -1.0))), lambda z: z + np.array([0, 2.5, 0, -1.0])),
    ],
)
@pytest.mark.parametrize("tail", [(), (Typical(1.0),)], ids=["last", "followed"])
def test_steps_that_move_logits(step: Step, change: object, tail: Recipe) -> None:
    """Temperatures divide and a bias adds, whether or not another step follows."""
    found = as_dict(left_by((step, *tail), ROW))
    assert callable(change)
    assert found == pytest.approx(dict(enumerate(change(ROW.astype(float)).tolist())), abs=1e-5)


def test_a_dynamic_temperature_follows_the_entropy() -> None:
    """A sure row is divided by the low end of the range, a flat row by the high end."""
    sure, flat = np.array([30.0, 0.0, 0.0, 0.0], np.float32), np.array([1.0, 1.0, 1.0, 1.0], np.float32)
    step = DynamicTemperature(1.0, 0.5)
    assert as_dict(left_by((step,), sure))[0] == pytest.approx(60.0, rel=1e-3)
    assert as_dict(left_by((step,), flat))[0] == pytest.approx(1 / 1.5, rel=1e-3)


OFF: list[Step] = [
    LogitBias(()),
    Penalties(last_n=0, repeat=2.0),
    Penalties(last_n=64),
    TopNSigma(0.0),
    TopK(0),
    Typical(1.0),
    TopP(1.0),
    MinP(0.0),
    Xtc(0.0, 0.1),
    Xtc(1.0, 0.6),
    Temperature(1.0),
    DynamicTemperature(1.0, 0.0),
]


@pytest.mark.parametrize("off", OFF, ids=repr)
@pytest.mark.parametrize("rest", [(), (HEAD_IS_LLAMA,)], ids=["alone", "by llama.cpp"])
def test_every_off_value_is_the_identity(off: Step, rest: Recipe) -> None:
    """A step that is off changes neither ids nor logits, also when the answer holds the tokens already."""
    chain = build_chain((*rest, off), None, ROW.size)
    for token in (3, 3, 2):
        chain.accept(token)
    assert as_dict(chain.apply(ROW)) == dict(enumerate(ROW.tolist()))


def test_an_empty_recipe_is_the_identity() -> None:
    """Nothing to do leaves the row as it is."""
    assert as_dict(left_by((), ROW)) == dict(enumerate(ROW.tolist()))


@pytest.mark.parametrize(
    ("first", "ids", "second", "other_ids"),
    [
        ((Temperature(0.5), MinP(0.3)), {2, 3}, (MinP(0.3), Temperature(0.5)), {1, 2, 3}),
        ((TopK(2), Xtc(1.0, 0.15)), {2}, (Xtc(1.0, 0.15), TopK(2)), {0, 1}),
        ((TopK(2), TopP(0.5)), {3}, (TopP(0.5), TopK(2)), {2, 3}),
        ((TopNSigma(1.0), TopP(0.5)), {3}, (TopP(0.5), TopNSigma(1.0)), {3}),
        ((LogitBias(((0, 9.0),)), TopK(1)), {0}, (TopK(1), LogitBias(((0, 9.0),))), {3}),
    ],
)
def test_order_matters(first: Recipe, ids: set[int], second: Recipe, other_ids: set[int]) -> None:
    """Steps run in the order of the recipe."""
    assert set(as_dict(left_by(first, ROW))) == ids
    assert set(as_dict(left_by(second, ROW))) == other_ids


@pytest.mark.parametrize(("coin", "ids"), [(0.0, {0, 1}), (0.29, {0, 1}), (0.31, ALL), (0.99, ALL)])
def test_xtc_acts_where_the_coin_lies_below_its_probability(coin: float, ids: set[int]) -> None:
    """The coin alone decides, and the same chain decides anew each time."""
    chain = build_chain((Xtc(0.3, 0.15),), None, ROW.size)
    for _ in range(3):
        assert set(as_dict(chain.apply(ROW, coin))) == ids


def test_a_step_after_a_mask_does_not_see_what_was_masked() -> None:
    """Typical-p and top-n-sigma after a forbidding bias work on the rest alone, instead of on minus infinity."""
    forbid = LogitBias(((0, -math.inf),))
    rest = ROW[1:]
    for step in (Typical(0.5), TopNSigma(1.0), TopP(0.6), Xtc(1.0, 0.3)):
        expected = {token + 1 for token in as_dict(left_by((HEAD_IS_LLAMA, step), rest))}
        assert set(as_dict(left_by((forbid, step), ROW))) == expected


wide = st.integers(1, 400)
spiky_rows = st.builds(
    lambda seed, width, scale: np.random.default_rng(seed).normal(0, scale, width).astype(np.float32),
    st.integers(0, 10_000),
    wide,
    st.sampled_from([0.01, 1.0, 3.0, 10.0]),
)
tied_rows = nps.arrays(np.float32, st.integers(1, 30), elements=st.integers(-6, 6).map(np.float32))
fractions = st.floats(0.001, 1.0)


@given(st.one_of(spiky_rows, tied_rows), fractions)
def test_min_p_agrees_with_the_reference(row: np.ndarray, p: float) -> None:
    """Min-p leaves what the definition leaves, but for logits on the bound itself."""
    assume(np.abs(row - (row.max() + math.log(p))).min() > 1e-5)
    assert set(as_dict(left_by((MinP(p),), row))) == truncate(row, min_p=p)


@given(st.one_of(spiky_rows, tied_rows), st.floats(0.01, 4.0))
def test_top_n_sigma_agrees_with_the_reference(row: np.ndarray, n: float) -> None:
    """Top-n-sigma leaves what the definition leaves, but for logits on the bound itself."""
    assume(np.abs(row - (row.max() - n * row.astype(float).std())).min() > 1e-4 * (1 + np.abs(row).max()))
    for recipe in ((TopNSigma(n),), (HEAD_IS_LLAMA, TopNSigma(n))):
        assert set(as_dict(left_by(recipe, row))) == truncate(row, n_sigma=n)


@given(spiky_rows, fractions, st.floats(0.1, 4.0))
def test_sigma_then_min_p_agrees_with_the_reference(row: np.ndarray, p: float, n: float) -> None:
    """The two cuts of the method in a row leave what the reference leaves."""
    z = row.astype(float)
    bounds = z.max() + math.log(p), z.max() - n * z.std()
    assume(min(np.abs(z - bound).min() for bound in bounds) > 1e-4 * (1 + np.abs(z).max()))
    assert set(as_dict(left_by((TopNSigma(n), MinP(p)), row))) == truncate(row, min_p=p, n_sigma=n)


tails = st.sampled_from(
    [(), (Temperature(0.7),), (Typical(0.9),), (Xtc(1.0, 0.1), Temperature(1.5)), (TopP(0.9), Temperature(0.8))]
)


@settings(max_examples=200)
@given(
    spiky_rows,
    st.lists(st.one_of(st.builds(MinP, fractions), st.builds(TopK, st.integers(0, 50))), min_size=1, max_size=3),
    tails,
)
def test_shortening_in_numpy_equals_llama_cpp_alone(row: np.ndarray, head: list[Step], tail: Recipe) -> None:
    """Where min-p and top-k open a recipe, cutting the row first changes neither ids nor logits."""
    assume(np.unique(row).size == row.size)
    shortened = left_by((*head, *tail), row)
    assert as_dict(shortened) == as_dict(left_by((HEAD_IS_LLAMA, *head, *tail), row))


@settings(max_examples=200)
@given(spiky_rows, st.floats(0.0, 0.999), tails)
def test_top_p_in_numpy_equals_llama_cpp(row: np.ndarray, p: float, tail: Recipe) -> None:
    """Where top-p opens a recipe numpy sums instead of llama.cpp; they agree but where the mass ends on the bound."""
    mass = np.cumsum(np.sort(np.exp(row.astype(float) - row.max()))[::-1])
    assume(np.abs(mass / mass[-1] - p).min() > 1e-5)
    assume(np.unique(row).size == row.size)
    assert as_dict(left_by((TopP(p), *tail), row)) == as_dict(left_by((HEAD_IS_LLAMA, TopP(p), *tail), row))


@settings(max_examples=200)
@given(
    spiky_rows,
    st.sampled_from([(Penalties(repeat=1.5),), (Penalties(last_n=2, presence=-8.0),), ()]),
    st.dictionaries(st.integers(0, 400), st.sampled_from([-math.inf, -5.0, 0.5, 20.0]), max_size=3),
    st.lists(st.one_of(st.builds(MinP, fractions), st.builds(TopK, st.integers(0, 50))), min_size=1, max_size=2),
    st.lists(st.integers(0, 400), max_size=8),
    tails,
)
def test_shortening_behind_penalties_equals_llama_cpp_alone(
    row: np.ndarray, penalties: Recipe, bias: dict[int, float], cuts: list[Step], answer: list[int], tail: Recipe
) -> None:
    """Where penalties and a bias come before the cuts, whichever way they move logits, the result is the same."""
    biases = LogitBias(tuple({token % row.size: added for token, added in bias.items()}.items()))
    recipe = (biases, *penalties, *cuts, *tail)
    shortened, plain = (build_chain((*head, *recipe), None, row.size) for head in ((), (HEAD_IS_LLAMA,)))
    for token in answer:
        shortened.accept(token % row.size)
        plain.accept(token % row.size)
    twin = shortened.fork()
    expected = as_dict(plain.apply(row))
    assume(len(set(expected.values())) == len(expected))
    assert as_dict(shortened.apply(row)) == as_dict(twin.apply(row)) == expected


def test_a_cut_shortens() -> None:
    """The shortcut is one: of a wide row few places are left, also behind penalties."""
    row = np.random.default_rng(0).normal(0, 3, 60_000).astype(np.float32)
    for recipe in ((MinP(0.05),), (TopNSigma(1.0), TopK(40)), (TopP(0.3),), (Penalties(), MinP(0.05))):
        places = cut_of(recipe)[0].survivors(row, {1, 2, 3} if len(recipe) == 2 else ())
        assert places is not None
        assert places.size < 2_000
    assert cut_of((Typical(0.9), MinP(0.5)))[0].survivors(row) is None


@pytest.mark.parametrize("step", [MinP(0.05), TopK(40), TopK(20_000), TopNSigma(1.5)], ids=repr)
def test_shortening_equals_llama_cpp_on_a_wide_row(step: Step) -> None:
    """The same equality on a row as wide as those of large models."""
    row = np.random.default_rng(0).normal(0, 3, 60_000).astype(np.float32)
    assert as_dict(left_by((step,), row)) == as_dict(left_by((HEAD_IS_LLAMA, step), row))


@pytest.mark.parametrize("p", [0.5, 0.9, 0.999])
def test_top_p_on_a_wide_row_differs_by_rounding_alone(p: float) -> None:
    """llama.cpp adds tens of thousands of probabilities in float32; what differs weighs less than 1e-4."""
    row = np.random.default_rng(0).normal(0, 3, 60_000).astype(np.float32)
    ours, theirs = (set(as_dict(left_by((*head, TopP(p)), row))) for head in ((), (HEAD_IS_LLAMA,)))
    powers = np.exp(row.astype(float))
    assert powers[list(ours ^ theirs)].sum() / powers.sum() < 1e-4


@given(
    spiky_rows,
    st.sampled_from([step for step, _ in TRUTH if not isinstance(step, LogitBias)]),
    st.integers(1, 5),
    st.booleans(),
)
def test_masked_tokens_count_as_absent(row: np.ndarray, step: Step, n_masked: int, by_llama: bool) -> None:
    """A row with masked tokens gives the candidates of the row without them."""
    recipe = (HEAD_IS_LLAMA, step) if by_llama else (step,)
    masked = np.concatenate([row, np.full(n_masked, MASKED)])
    assert as_dict(left_by(recipe, masked)) == pytest.approx(as_dict(left_by(recipe, row)))


@pytest.mark.parametrize("step", [step for step, _ in TRUTH], ids=repr)
def test_a_row_of_masked_tokens_leaves_nobody_to_draw(step: Step) -> None:
    """If every token is masked no candidate is left, however the recipe starts."""
    for recipe in ((step,), (HEAD_IS_LLAMA, step), (step, Temperature(0.5))):
        assert as_dict(left_by(recipe, np.full(6, MASKED))) == {}


@pytest.mark.parametrize("step", [MinP(0.1), TopP(0.9), Penalties(repeat=1.1), Xtc(1.0, 0.1), TopNSigma(1.0)], ids=repr)
def test_broken_rows_are_refused(step: Step) -> None:
    """A logit that is not a number is an error of the model, never an answer."""
    with pytest.raises(BackendError, match="not-a-number"):
        left_by((step,), np.array([1.0, math.nan, 2.0], np.float32))


def test_penalties_follow_the_answer() -> None:
    """Repeat divides positive and multiplies negative logits, presence counts once, frequency each time."""
    row = np.array([2.0, -2.0, 1.0, 0.5], np.float32)
    chain = build_chain((Penalties(repeat=2.0, frequency=0.25, presence=0.125),), None, row.size)
    for token in (0, 1, 1):
        chain.accept(token)
    assert as_dict(chain.apply(row)) == pytest.approx(
        {0: 2.0 / 2 - 0.25 - 0.125, 1: -2.0 * 2 - 2 * 0.25 - 0.125, 2: 1.0, 3: 0.5}
    )


def test_penalties_look_back_as_far_as_asked() -> None:
    """Only the last n tokens count; -1 looks over the whole answer."""
    row = np.zeros(4, np.float32)
    short, whole = (build_chain((Penalties(last_n=n, presence=1.0),), None, 4) for n in (2, -1))
    for chain in (short, whole):
        for token in (0, 1, 2, 2, 1):
            chain.accept(token)
    assert as_dict(short.apply(row)) == {0: 0.0, 1: -1.0, 2: -1.0, 3: 0.0}
    assert as_dict(whole.apply(row)) == {0: -1.0, 1: -1.0, 2: -1.0, 3: 0.0}


@given(st.lists(st.integers(0, 5), max_size=12), st.lists(st.integers(0, 5), max_size=6), st.data())
def test_forks_never_notice_each_other(shared: list[int], own: list[int], data: st.DataObject) -> None:
    """A fork equals a fresh chain that was told the same tokens, whatever its siblings are told."""
    row = np.linspace(-1, 1, 6).astype(np.float32)
    recipe: Recipe = (Penalties(repeat=1.3, frequency=0.2), MinP(0.01), Temperature(0.9))

    def told(tokens: list[int]) -> dict[int, float]:
        fresh = build_chain(recipe, None, 6)
        for token in tokens:
            fresh.accept(token)
        return as_dict(fresh.apply(row))

    trunk = build_chain(recipe, None, 6)
    for token in shared:
        trunk.accept(token)
    branch = trunk.fork()
    others = data.draw(st.lists(st.integers(0, 5), max_size=6))
    for token in others:
        trunk.accept(token)
    for token in own:
        branch.accept(token)
    assert as_dict(branch.apply(row)) == told(shared + own)
    assert as_dict(trunk.apply(row)) == told(shared + others)
    trunk.close()
    assert as_dict(branch.apply(row)) == told(shared + own)
    branch.reset()
    assert as_dict(branch.apply(row)) == told([])


def test_applying_remembers_nothing() -> None:
    """Looking at a row twice gives the same candidates, and leaves the row as it was."""
    chain = build_chain((Penalties(repeat=1.5), TopK(3), Temperature(0.5)), None, ROW.size)
    chain.accept(2)
    before = ROW.copy()
    first, second = as_dict(chain.apply(ROW)), as_dict(chain.apply(ROW))
    assert first == second
    np.testing.assert_array_equal(ROW, before)


def test_candidates_outlive_the_next_row() -> None:
    """What apply returned does not change when the chain is used again."""
    chain = build_chain((TopP(0.9), Typical(0.9)), None, 4)
    first = chain.apply(ROW)
    kept = as_dict(first)
    chain.apply(ROW[::-1].copy())
    assert as_dict(first) == kept


def test_a_closed_chain_refuses() -> None:
    """After close a chain does not pass for one that does nothing."""
    chain = build_chain((TopK(1),), None, 4)
    chain.close()
    chain.close()
    for use in (lambda: chain.apply(ROW), lambda: chain.accept(1), chain.fork):
        with pytest.raises(AssertionError, match="closed"):
            use()


def test_wider_rows_are_refused() -> None:
    """A row that is wider than the vocabulary is a mistake of ours."""
    with pytest.raises(AssertionError, match="4 logits"):
        build_chain((TopK(1),), None, 3).apply(ROW)


@pytest.mark.parametrize("recipe", [(TopK(2),), (TopP(0.9),), (Penalties(repeat=2.0), MinP(0.1)), (TopNSigma(1.0),)])
def test_a_narrower_row_means_what_it_means_alone(recipe: Recipe) -> None:
    """A model that lacks the last ids of the pair's vocabulary is sampled as by a chain of its own width."""
    wide, own = (
        build_chain((LogitBias(((3, 1.0), (1, 0.5))), *recipe), None, 4),
        build_chain((LogitBias(((1, 0.5),)), *recipe), None, 3),
    )
    for chain in (wide, own):
        chain.accept(1)
    assert as_dict(wide.apply(ROW[:3])) == as_dict(own.apply(ROW[:3]))


def test_a_bias_outside_of_the_vocabulary_is_named() -> None:
    """A bias of a token that does not exist is refused with the token."""
    with pytest.raises(UsageError, match="token 9; the vocabulary ends at 3"):
        build_chain((LogitBias(((9, 1.0),)),), None, 4)


def test_dry_without_a_vocabulary_is_refused() -> None:
    """DRY looks up its sequence breakers, so it wants a vocabulary."""
    with pytest.raises(UsageError, match="DRY needs the vocabulary"):
        build_chain((Dry(1.0),), None, 4)
