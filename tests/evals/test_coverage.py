from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from baco_local.errors import UsageError
from baco_local.evals.coverage import Grid, Scale, area, bounds, front, resampled, share_above, standings
from baco_local.metrics.base import Group

GROUPS = (Group.LEXICAL, Group.LEXICAL, Group.SEMANTIC, Group.QUALITY, Group.QUALITY)


def grid(values: np.ndarray, groups: tuple[Group, ...] = GROUPS) -> Grid:
    """Return a grid whose methods and metrics are called by their numbers."""
    return Grid(
        methods=tuple(f"m{i}" for i in range(values.shape[0])),
        metrics=tuple(f"a{i}" for i in range(values.shape[2])),
        groups=groups,
        values=values,
    )


points = arrays.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(2)), elements=st.integers(0, 8).map(float))
grids = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(5), st.integers(1, 3)),
    elements=st.floats(-9, 9),
).map(grid)


def plain_area(cloud: np.ndarray) -> float:
    """Return the area as method.md spells it, point by point."""
    total = best = 0.0
    for x, y in sorted(map(tuple, cloud), reverse=True):
        if y > best:
            total, best = total + x * (y - best), y
    return total


def plain_standings(one: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return Coverage and Dominance, [M, 3], plane by plane and point by point."""
    pooled = one.values.mean(3).reshape(-1, len(one.metrics))
    low, reach = pooled.min(0), np.ptp(pooled, axis=0)
    pooled = np.round((pooled - low) / np.where(reach > 0, reach, 1), 12)
    owners = np.repeat(np.arange(len(one.methods)), one.values.shape[1])
    covered, owned = (np.zeros((len(one.diverse), len(one.methods))) for _ in range(2))
    for row, i in enumerate(one.diverse):
        for j in one.good:
            plane = pooled[:, [i, j]]
            for method in range(len(one.methods)):
                covered[row, method] += plain_area(plane[owners == method]) / len(one.good)
            at_least, above = (plane[None] >= plane[:, None]).all(-1), (plane[None] > plane[:, None]).any(-1)
            best = np.flatnonzero(~(at_least & above).any(1))
            different = {tuple(plane[k]) for k in best}
            for point in different:
                sharing = {int(owners[k]) for k in best if tuple(plane[k]) == point}
                for method in sharing:
                    owned[row, method] += 1 / len(different) / len(sharing) / len(one.good)
    lexical = np.array([one.groups[i] is Group.LEXICAL for i in one.diverse])
    found = [np.stack([each[lexical].mean(0), each[~lexical].mean(0)], -1) for each in (covered, owned)]
    covered, owned = (np.concatenate([each, each.mean(-1, keepdims=True)], -1) for each in found)
    return covered, owned


def test_area_of_three_steps() -> None:
    """The staircase below three points has the area that one can count on paper."""
    assert area(np.array([[1, 0.1], [0.3, 1], [0.5, 0.5]])) == pytest.approx(0.45)


def test_area_agrees_with_random_darts() -> None:
    """The area is the share of darts that land left of and below some point."""
    rng = np.random.default_rng(3)
    darts = rng.random((20_000, 2))
    for _ in range(5):
        cloud = rng.random((9, 2))
        hit = (darts[:, None] <= cloud).all(-1).any(1).mean()
        assert area(cloud) == pytest.approx(hit, abs=0.015)


@given(points, st.randoms())
def test_area_ignores_order_and_dominated_points(cloud: np.ndarray, random: object) -> None:
    """Shuffling points, or leaving out those that others beat, changes no area."""
    shuffled = cloud[random.sample(range(len(cloud)), len(cloud))]  # type: ignore[attr-defined]
    assert area(shuffled) == pytest.approx(area(cloud))
    assert area(cloud[front(cloud)]) == pytest.approx(area(cloud))


@given(points)
def test_front_holds_exactly_what_nothing_beats(cloud: np.ndarray) -> None:
    """A point is on the front unless another is at least as good on both axes and better on one."""
    beaten = {i for i, p in enumerate(cloud) if any((q >= p).all() and (q > p).any() for q in cloud)}
    assert set(front(cloud)) == set(range(len(cloud))) - beaten


@given(grids)
def test_standings_agree_with_plain_loops(one: Grid) -> None:
    """Many planes computed together give what they give one by one."""
    covered, owned = plain_standings(one)
    together = standings([one])
    np.testing.assert_allclose(together.coverage, covered, atol=1e-9)
    np.testing.assert_allclose(together.dominance, owned, atol=1e-9)


@given(grids)
def test_dominance_is_shared_out_completely(one: Grid) -> None:
    """Over all methods the shares of the front add up to one, in every group and in every resample."""
    np.testing.assert_allclose(standings([one]).dominance.sum(0), 1)
    np.testing.assert_allclose(resampled([one], n_resamples=7).dominance.sum(1), 1)


def test_shared_point_is_split() -> None:
    """Two methods with the same points have the same standing, and half of their front each."""
    own = np.random.default_rng(0).random((1, 3, 5, 2))
    both = standings([grid(np.concatenate([own, own]))])
    np.testing.assert_allclose(both.dominance, 0.5)
    np.testing.assert_allclose(both.coverage[0], both.coverage[1])


def test_method_counts_a_point_once() -> None:
    """A method that repeats its best point takes no more of the front than one that has it once."""
    values = np.array([[[1.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]])[..., None]
    both = standings([grid(values, (Group.LEXICAL, Group.QUALITY))])
    np.testing.assert_allclose(both.dominance[:, 0], 0.5)


@given(grids, st.floats(0.1, 10), st.floats(-5, 5))
def test_units_of_a_metric_do_not_matter(one: Grid, factor: float, shift: float) -> None:
    """Another unit or zero of the metrics leaves Coverage as it is, unless it drowns in rounding."""
    pooled = one.values.mean(3).reshape(-1, len(one.metrics))
    gaps = np.diff(np.sort(pooled, axis=0), axis=0)
    if np.any((gaps > 0) & (gaps < 1e-3)):
        return
    other = grid(one.values * factor + shift)
    np.testing.assert_allclose(standings([other]).coverage, standings([one]).coverage, atol=1e-6)


def test_resamples_are_paired_and_repeatable() -> None:
    """A method that beats its twin on every prompt beats it in every resample, and the seed decides which they are."""
    worse = np.random.default_rng(1).random((1, 4, 5, 20))
    one = grid(np.concatenate([worse, worse + 0.01]))
    runs = resampled([one], n_resamples=150, seed=5)
    np.testing.assert_array_equal(runs.coverage, resampled([one], n_resamples=150, seed=5).coverage)
    shares = share_above(runs.coverage[:, :, 2])
    assert shares[1, 0] == 1
    assert shares[0, 1] == 0
    assert shares[0, 0] == 0.5


def test_interval_holds_the_estimate() -> None:
    """Bounds enclose the value of all prompts where prompts agree, and are wider where they do not."""
    rng = np.random.default_rng(2)
    calm = rng.random((3, 4, 5, 1)) + rng.normal(0, 0.001, (3, 4, 5, 30))
    wild = calm + rng.normal(0, 0.5, calm.shape)
    low, high = bounds(resampled([grid(calm)], n_resamples=200).coverage)
    estimate = standings([grid(calm)]).coverage
    assert (low - 1e-3 <= estimate).all()
    assert (estimate <= high + 1e-3).all()
    wide_low, wide_high = bounds(resampled([grid(wild)], n_resamples=200).coverage)
    assert (wide_high - wide_low).mean() > (high - low).mean()


def test_scale_by_the_largest() -> None:
    """Divided by the largest, a metric keeps its zero: the worst point still covers something."""
    values = np.array([[[2.0, 2.0]], [[1.0, 1.0]]])[..., None]
    one = grid(values, (Group.SEMANTIC, Group.QUALITY))
    np.testing.assert_allclose(standings([one]).coverage[:, 1], [1, 0])
    np.testing.assert_allclose(standings([one], Scale.MAX).coverage[:, 1], [1, 0.25])


def test_absent_group_leaves_the_other_alone() -> None:
    """Without a lexical metric, overall is the semantic side."""
    one = grid(np.random.default_rng(0).random((2, 3, 2, 4)), (Group.SEMANTIC, Group.QUALITY))
    found = standings([one]).coverage
    assert np.isnan(found[:, 0]).all()
    np.testing.assert_allclose(found[:, 1], found[:, 2])


def test_tasks_weigh_the_same() -> None:
    """Over several tasks a standing is the mean of the tasks', however many prompts each has."""
    rng = np.random.default_rng(4)
    few, many = grid(rng.random((2, 3, 5, 2))), grid(rng.random((2, 3, 5, 9)))
    both = standings([few, many])
    np.testing.assert_allclose(both.coverage, (standings([few]).coverage + standings([many]).coverage) / 2)


def test_missing_number_is_named() -> None:
    """A number that is none is refused with its metric, method, point and prompt."""
    values = np.zeros((2, 3, 5, 4))
    values[1, 2, 3, 0] = np.nan
    with pytest.raises(UsageError, match="a3 is nan for m1, point 3, prompt 1"):
        grid(values)


def test_one_axis_is_no_plane() -> None:
    """Without a metric of quality there is nothing to cover."""
    with pytest.raises(UsageError, match="metric of quality"):
        grid(np.zeros((1, 1, 1, 1)), (Group.LEXICAL,))
