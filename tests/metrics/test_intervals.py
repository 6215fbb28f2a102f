"""Intervals and paired comparison: what they cover, and what they leave out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.metrics.intervals import mean_interval, paired_difference

VALUES = st.lists(st.one_of(st.none(), st.floats(-5, 5, width=16)), min_size=2, max_size=12)
OPTIONS = {"n_resamples": 200, "seed": 3}


@settings(max_examples=30, deadline=None)
@given(VALUES)
def test_a_mean_lies_in_its_interval(values):
    """The mean lies between its bounds, both lie among the values, and what is missing is counted."""
    known = [value for value in values if value is not None]
    found = mean_interval(values, **OPTIONS)
    assert (found.n_used, found.n_skipped) == (len(known), len(values) - len(known))
    if len(known) > 1:
        assert min(known) - 1e-9 <= found.low <= found.high <= max(known) + 1e-9
        assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    else:
        assert found.low is found.high is None


def test_nothing_known():
    """Without any value there is no mean."""
    assert mean_interval([None, None], **OPTIONS).mean is None


def test_intervals_are_repeatable():
    """The same seed gives the same interval, another one nearly the same."""
    values = list(np.random.default_rng(0).normal(size=60))
    first, again, other = (mean_interval(values, n_resamples=2000, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.low == pytest.approx(other.low, abs=0.05)


def test_an_interval_covers_the_truth():
    """Of a hundred samples, the intervals of about ninety-five hold the true mean."""
    rng = np.random.default_rng(0)
    found = [mean_interval(rng.normal(2.0, 1.0, 40), n_resamples=300, seed=n) for n in range(100)]
    assert 85 <= sum(each.low <= 2.0 <= each.high for each in found) <= 100


def test_pairs_see_what_samples_do_not():
    """A small gain on every prompt is certain, although the prompts differ by far more."""
    prompts = np.random.default_rng(0).normal(0, 10, 30)
    found = paired_difference(prompts, prompts + 0.5 + 0.01 * np.arange(30), **OPTIONS)
    assert 0.5 < found.change.low < found.change.high < 1.0
    assert found.share_above == 1.0
    assert found.p < 0.001


def test_no_difference_is_no_finding():
    """A rival that is itself is above itself in half the resamples."""
    values = [1.0, 4.0, 2.0]
    found = paired_difference(values, values, **OPTIONS)
    assert (found.change.mean, found.share_above, found.p) == (0.0, 0.5, 1.0)


@settings(max_examples=20, deadline=None)
@given(VALUES, st.randoms())
def test_a_swap_turns_the_sign(first, rng):
    """Whoever is compared first: the difference changes its sign and nothing else."""
    second = rng.sample(first, len(first))
    there, back = paired_difference(first, second, **OPTIONS), paired_difference(second, first, **OPTIONS)
    assert there.change.n_skipped == back.change.n_skipped
    if there.change.mean is not None:
        assert there.change.mean == pytest.approx(-back.change.mean)
    if there.p is not None:
        assert there.p == pytest.approx(back.p, abs=0.05)


def test_a_prompt_that_one_rival_lacks_is_left_out():
    """Only prompts on which both were measured are compared."""
    found = paired_difference([1.0, None, 3.0], [2.0, 2.0, 4.0], **OPTIONS)
    assert (found.change.mean, found.change.n_used, found.change.n_skipped) == (1.0, 2, 1)


def test_unequal_lengths_are_our_mistake():
    """Values that cannot belong to the same prompts are refused."""
    with pytest.raises(ValueError, match="paired"):
        paired_difference([1.0], [1.0, 2.0], **OPTIONS)
