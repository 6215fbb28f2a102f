from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from baco_local.numerics import (
    jensen_shannon,
    likeliest,
    log_normaliser,
    log_softmax_at,
    mean_spread,
    peak_probability,
    softmax,
    spread,
)
from baco_local.types import MASKED, Row

logits = st.floats(-60, 60, width=32) | st.just(float(MASKED))


def some_row(size: int) -> st.SearchStrategy[Row]:  # [size]
    """Return rows that leave at least one token unmasked."""
    return arrays(np.float32, size, elements=logits).filter(lambda row: bool(row.max() > -100))


rows = st.integers(1, 40).flatmap(some_row)
pairs = st.integers(1, 40).flatmap(lambda size: st.tuples(some_row(size), some_row(size)))


def exact(row: Row) -> NDArray[np.float64]:  # [V] -> [V]
    """Return the softmax in float64 throughout."""
    powers = np.exp(row.astype(np.float64) - float(row.max()))
    return np.asarray(powers / powers.sum())


def surprise(probs: NDArray[np.float64]) -> float:  # [V]
    """Return the entropy in nats."""
    some = probs[probs > 0]
    return float(-(some * np.log(some)).sum())


@given(rows)
def test_spread_equals_float64(row: Row) -> None:
    """Probability, entropy and normaliser agree with float64, masked tokens included."""
    probs, seen = exact(row), spread(row)
    assert seen.top == int(row.argmax())
    assert seen.max_p == pytest.approx(probs.max(), rel=1e-5)
    assert seen.entropy == pytest.approx(surprise(probs), abs=2e-5)
    assert math.exp(log_softmax_at(row, seen.top, seen.log_z)) == pytest.approx(seen.max_p, rel=1e-4)
    assert log_normaliser(row) == pytest.approx(seen.log_z, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0, 9.0])
def test_spread_of_a_wide_row(scale: float) -> None:
    """Rows as wide as a large vocabulary lose no more than a hundred-thousandth to float32."""
    row = np.random.default_rng(3).normal(0, scale, 151_936).astype(np.float32)
    probs, seen = exact(row), spread(row)
    assert seen.max_p == pytest.approx(probs.max(), rel=1e-5)
    assert seen.entropy == pytest.approx(surprise(probs), abs=1e-4)


@given(rows)
def test_softmax(row: Row) -> None:
    """Probabilities sum to 1, and a masked token beside a plain one has none."""
    probs = softmax(row)
    assert probs.dtype == np.float64
    assert probs.sum() == pytest.approx(1, abs=1e-12)
    assert probs == pytest.approx(exact(row), abs=1e-5)


@given(pairs)
def test_mean_spread(pair: tuple[Row, Row]) -> None:
    """The average of two distributions has the numbers that float64 finds, and no matter which comes first."""
    a, b = pair
    mean, seen = (exact(a) + exact(b)) / 2, mean_spread(a, b)
    assert mean[seen.top] == pytest.approx(mean.max(), abs=1e-5)
    assert seen.max_p == pytest.approx(mean.max(), abs=1e-5)
    assert seen.entropy == pytest.approx(surprise(mean), abs=5e-5)
    assert mean_spread(b, a).max_p == pytest.approx(seen.max_p, abs=1e-6)


@given(arrays(np.float32, st.integers(1, 60), elements=st.integers(-30, 30).map(float)), st.integers(0, 70))
def test_likeliest_is_a_stable_sort(row: Row, k: int) -> None:
    """The k largest come best first, equal ones by id, and never more than there are."""
    expected = sorted(range(row.size), key=lambda i: (-row[i], i))[:k]
    assert likeliest(row, k).tolist() == expected


@pytest.mark.parametrize("k", [1, 5, 40])
def test_likeliest_of_a_wide_row(k: int) -> None:
    """In a flat wide row, where thousands lie near the top, the same tokens are found."""
    row = np.random.default_rng(5).normal(0, 1, 40_000).astype(np.float32)
    assert likeliest(row, k).tolist() == np.argsort(-row, kind="stable")[:k].tolist()


@given(pairs)
def test_jensen_shannon(pair: tuple[Row, Row]) -> None:
    """The divergence agrees with float64, is symmetric, and 0 of a row and itself."""
    a, b = pair
    p, q = exact(a), exact(b)
    expected = surprise((p + q) / 2) - (surprise(p) + surprise(q)) / 2
    assert jensen_shannon(a, b) == pytest.approx(expected, abs=5e-5)
    assert jensen_shannon(a, b) == pytest.approx(jensen_shannon(b, a), abs=1e-6)
    assert jensen_shannon(a, a) == pytest.approx(0, abs=1e-6)


def test_jensen_shannon_of_strangers() -> None:
    """Two distributions without a common token lie ln 2 apart."""
    row = np.array([5, float(MASKED)], np.float32)
    assert jensen_shannon(row, row[::-1].copy()) == pytest.approx(math.log(2))


@given(pairs)
def test_rows_are_left_alone(pair: tuple[Row, Row]) -> None:
    """No function writes into a row that it was given."""
    a, b = pair
    before = a.copy(), b.copy()
    spread(a), softmax(a), likeliest(a, 3), mean_spread(a, b), jensen_shannon(a, b), log_normaliser(a)
    assert (a == before[0]).all()
    assert (b == before[1]).all()


@given(rows)
def test_peak_probability_is_that_of_the_spread(row: Row) -> None:
    """Whoever asks for the largest probability alone gets the very number of the whole measurement."""
    whole = spread(row)
    assert peak_probability(row, whole.top) == whole.max_p
