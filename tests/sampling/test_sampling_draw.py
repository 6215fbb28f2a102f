"""The draw: frequencies follow the softmax, and nothing but the address and the token id moves a number of noise."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from baco_local.errors import BacoError
from baco_local.sampling.draw import BLOCK, WIDE, Address, Candidates, Stream, _bar, coin, draw, key, noise, temper
from baco_local.types import MASKED

N_DRAWS = 20_000
MANY = 4_000

addresses = st.builds(
    Address, st.integers(0, 2**63 - 1), st.integers(0, 10_000), st.integers(0, 100_000), st.sampled_from(Stream)
)
rows = nps.arrays(np.float32, st.integers(1, 50), elements=st.floats(-20, 20, width=32))


def chi_square_limit(freedom: int, z: float = 4.0) -> float:
    """Return Wilson and Hilferty's bound of a chi-square that lies z deviations out."""
    return freedom * (1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3


def everything(row: np.ndarray) -> Candidates:
    """Return the whole row as candidates."""
    return Candidates(np.arange(row.size, dtype=np.int32), row.astype(np.float32))


def walks() -> dict[str, list[Address]]:
    """Return addresses that differ in one number only, and in all."""
    return {
        "position": [Address(1, 0, i, Stream.BASE) for i in range(N_DRAWS)],
        "sequence": [Address(1, i, 0, Stream.ALIGNED) for i in range(N_DRAWS)],
        "seed": [Address(i, 3, 17, Stream.BASE) for i in range(N_DRAWS)],
        "far seeds": [Address(i * (2**63 // N_DRAWS), 0, 1, Stream.REDRAW) for i in range(N_DRAWS)],
        "all": [Address(i % 50, i // 50 % 20, i // 1000, Stream(i % 2)) for i in range(N_DRAWS)],
    }


@pytest.mark.parametrize("walk", list(walks()))
def test_frequencies_follow_the_softmax(walk: str) -> None:
    """Over 20,000 addresses, whichever number moves, a chi-square test cannot tell draws from the softmax."""
    logits = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -2.0, -4.0, 1.9], np.float32)
    left = everything(logits)
    counts = np.bincount([draw(left, at) for at in walks()[walk]], minlength=logits.size)
    expected = np.exp(logits) / np.exp(logits).sum() * N_DRAWS
    assert float(((counts - expected) ** 2 / expected).sum()) < chi_square_limit(logits.size - 1)


@pytest.mark.parametrize("walk", list(walks()))
def test_coins_are_uniform(walk: str) -> None:
    """Coins lie strictly inside (0, 1) and fill 50 bins evenly."""
    coins = np.array([coin(at) for at in walks()[walk]])
    assert 0 < coins.min() < coins.max() < 1
    counts = np.histogram(coins, 50, (0, 1))[0]
    assert float(((counts - N_DRAWS / 50) ** 2 / (N_DRAWS / 50)).sum()) < chi_square_limit(49)


def test_noise_follows_the_gumbel_law() -> None:
    """Noise over the ids of one address has the distribution function exp(-exp(-x))."""
    values = np.sort(noise(Address(7, 0, 0, Stream.BASE), np.arange(N_DRAWS, dtype=np.int32)))
    law = np.exp(-np.exp(-values))
    largest_gap = np.abs(law - (np.arange(N_DRAWS) + 0.5) / N_DRAWS).max()
    assert largest_gap < 2.2 / math.sqrt(N_DRAWS)


@pytest.mark.parametrize("field", ["seed", "sequence", "position", "stream", "two streams, shifted"])
def test_neighbouring_addresses_share_nothing(field: str) -> None:
    """Uniform numbers at addresses that differ by one in one place are uncorrelated."""

    def moved(at: Address) -> Address:
        if field == "two streams, shifted":
            return at._replace(stream=Stream.ALIGNED, position=at.position + 1)
        return at._replace(**{field: type(getattr(at, field))(getattr(at, field) + 1)})

    walk = [Address(i % 40, i // 40 % 10, i // 400, Stream.BASE) for i in range(MANY)]
    here, there = np.array([coin(at) for at in walk]), np.array([coin(moved(at)) for at in walk])
    assert abs(np.corrcoef(here, there)[0, 1]) < 4.5 / math.sqrt(MANY)


def test_noise_of_neighbouring_tokens_and_streams_is_uncorrelated() -> None:
    """Neither neighbouring ids nor the same ids in two streams share noise."""
    ids = np.arange(N_DRAWS, dtype=np.int32)
    base, aligned = (noise(Address(3, 1, 4, stream), ids) for stream in (Stream.BASE, Stream.ALIGNED))
    bound = 4.5 / math.sqrt(N_DRAWS)
    for one, other in ((base, aligned), (base[1:], base[:-1]), (base[1:], aligned[:-1]), (base[64:], base[:-64])):
        assert abs(np.corrcoef(one, other)[0, 1]) < bound


def test_the_two_sides_draw_independently() -> None:
    """What the base stream drew says nothing about what the aligned stream draws at the same place."""
    left = everything(np.log(np.array([0.5, 0.3, 0.2])))
    table = np.zeros((3, 3))
    for position in range(MANY):
        base, aligned = (draw(left, Address(5, 0, position, s)) for s in (Stream.BASE, Stream.ALIGNED))
        table[base, aligned] += 1
    expected = np.outer(table.sum(1), table.sum(0)) / MANY
    assert float(((table - expected) ** 2 / expected).sum()) < chi_square_limit(4)


def test_keys_never_meet() -> None:
    """A hundred thousand different addresses have a hundred thousand different keys, with every bit half set."""
    found = {
        key(Address(*numbers)) for numbers in itertools.product(range(20), range(20), range(50), tuple(Stream)[:5])
    }
    assert len(found) == 20 * 20 * 50 * 5
    shares = np.unpackbits(np.array(sorted(found), np.uint64).view(np.uint8).reshape(-1, 8), axis=1).mean(0)
    assert np.abs(shares - 0.5).max() < 5 * 0.5 / math.sqrt(len(found))


def test_one_changed_bit_changes_half_the_key() -> None:
    """Each single bit of the seed moves about 32 of the 64 bits of the key."""
    flips = [
        (key(Address(seed, 2, 3, Stream.BASE)) ^ key(Address(seed ^ (1 << bit), 2, 3, Stream.BASE))).bit_count()
        for seed in range(0, 2**62, 2**56)
        for bit in range(63)
    ]
    standard_error = 4 / math.sqrt(len(flips))
    assert abs(np.mean(flips) - 32) < NormalDist().inv_cdf(0.99999) * standard_error
    assert min(flips) > 8


def test_keys_are_pinned() -> None:
    """The numbers of an address are a promise: a changed hash would change every seeded text."""
    assert key(Address(0, 0, 0, Stream.BASE)) == 2391539541053276776
    assert coin(Address(2**63 - 1, 15, 511, Stream.ROUTER)) == 0.8099210344966986
    numbers = noise(Address(42, 1, 2, Stream.ALIGNED), np.array([0, 151_935], np.int32))
    assert numbers.tolist() == pytest.approx([1.0029150367289312, 0.14750690256041915], rel=1e-12)


@given(addresses, rows, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(at: Address, row: np.ndarray, shuffler: random.Random) -> None:
    """Shuffled candidates give the same token."""
    left = everything(row)
    order = list(range(row.size))
    shuffler.shuffle(order)
    assert draw(Candidates(left.ids[order], left.logits[order]), at) == draw(left, at)


@given(addresses, rows, st.data())
def test_a_survivor_of_a_cut_is_drawn_again(at: Address, row: np.ndarray, data: st.DataObject) -> None:
    """A token drawn from the full row is also drawn from any part of the row that still holds it."""
    left = everything(row)
    token = draw(left, at)
    kept = data.draw(st.sets(st.integers(0, row.size - 1))) | {token}
    places = np.array(sorted(kept))
    assert draw(Candidates(left.ids[places], left.logits[places]), at) == token


@given(addresses, st.sets(st.integers(0, 300_000), min_size=1, max_size=40))
def test_a_token_always_meets_its_own_number(at: Address, ids: set[int]) -> None:
    """Noise depends on the id alone, not on who else is asked for."""
    together = noise(at, np.array(sorted(ids), np.int32))
    alone = [noise(at, np.array([token], np.int32))[0] for token in sorted(ids)]
    assert together.tolist() == alone


def test_noise_does_not_depend_on_the_width() -> None:
    """The first numbers of a wide row are those of a narrow one, across the blocks it is made in."""
    at = Address(9, 9, 9, Stream.BASE)
    wide = noise(at, np.arange(20_000, dtype=np.int32))
    np.testing.assert_array_equal(wide[:100], noise(at, np.arange(100, dtype=np.int32)))
    np.testing.assert_array_equal(wide[8_150:8_250], noise(at, np.arange(8_150, 8_250, dtype=np.int32)))


@given(
    addresses,
    st.sampled_from([WIDE + 1, WIDE + 1000, BLOCK, WIDE + 2 * BLOCK]),
    st.sampled_from([0.0, 0.1, 0.5, 2.0, 8.0]),
    st.sampled_from(["anywhere", "where noise is least", "where noise is largest"]),
    st.sampled_from([-5.0, 0.0, 4.5, 5.5, 6.0, 6.5, 7.0, 8.0, 30.0]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_a_wide_row_is_drawn_from_as_by_definition(
    at: Address, width: int, spread: float, peak: str, height: float, chance: random.Random
) -> None:
    """Ruling out who cannot win changes no draw, however flat or peaked a row is, and in any order of candidates."""
    rng = np.random.default_rng(chance.getrandbits(64))
    logits = (rng.standard_normal(width) * spread).astype(np.float32)
    ids = rng.permutation(width).astype(np.int32)
    numbers = noise(at, ids)
    top = {"where noise is least": numbers.argmin(), "where noise is largest": numbers.argmax()}.get(peak, 0)
    logits[top] = logits.max() + np.float32(height)
    assert draw(Candidates(ids, logits), at) == ids[(logits + numbers).argmax()]


def test_the_bar_is_never_too_high() -> None:
    """However near to 1 or 0 the number behind the noise of the likeliest lies, who beats it is not ruled out."""
    for u in (2.0**-53, 1e-9, 0.5, 1 - 1e-9, 1 - 2.0**-53):
        needed = Fraction(math.exp(math.log(u) * math.exp(-5.0)))  # of who lies five nats below
        assert 0 <= _bar(u) <= int(needed * 2**64)
        assert u == 1 - 2.0**-53 or needed * 2**64 - _bar(u) < 2**60


@given(addresses, rows.filter(lambda row: row.size > 1), st.data())
def test_masked_tokens_are_never_drawn(at: Address, row: np.ndarray, data: st.DataObject) -> None:
    """A masked token is not drawn while one other is left."""
    masked = data.draw(st.sets(st.integers(0, row.size - 1), max_size=row.size - 1))
    barred = row.copy()
    barred[list(masked)] = MASKED
    assert draw(everything(barred), at) not in masked


@pytest.mark.parametrize(
    "logits",
    [
        [],
        [MASKED],
        [MASKED, MASKED, MASKED],
        [-math.inf, -math.inf],
        [math.nan, 1.0],
        [math.inf, 1.0],
        [1.0] * WIDE + [math.nan],
        [MASKED] * (WIDE + 1),
    ],
    ids=["nobody", "one masked", "all masked", "minus infinity", "not a number", "infinity", "wide", "wide, masked"],
)
def test_a_row_that_cannot_be_drawn_from_is_refused(logits: list[float]) -> None:
    """Nobody left, only masked tokens, or broken numbers raise an error that names the position."""
    with pytest.raises(BacoError, match="position 12"):
        draw(everything(np.array(logits, np.float32)), Address(0, 0, 12, Stream.BASE))


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_a_constant_added_to_all_logits_changes_nothing(shift: float) -> None:
    """Only differences of logits count, also where float32 has few digits left."""
    row = np.array([0.0, 1.0, 2.0, 3.0], np.float32)
    for position in range(200):
        at = Address(11, 0, position, Stream.BASE)
        assert draw(everything(row + np.float32(shift)), at) == draw(everything(row), at)


@given(addresses, rows)
def test_temperature_zero_takes_the_best(at: Address, row: np.ndarray) -> None:
    """Temperature 0 leaves the largest logit, and of equals the lowest id, in any order of candidates."""
    left = everything(row)
    backwards = Candidates(left.ids[::-1], left.logits[::-1])
    assert draw(temper(left, 0.0), at) == draw(temper(backwards, 0.0), at) == int(row.argmax())


def test_temperature_one_is_the_identity() -> None:
    """Temperature 1 hands the same candidates on."""
    left = everything(np.array([1.0, 2.0], np.float32))
    assert temper(left, 1.0) is left
    np.testing.assert_allclose(temper(left, 0.5).logits, [2.0, 4.0])
