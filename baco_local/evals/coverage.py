"""Coverage and Dominance: how far into the plane of diversity and quality a method reaches, and how much of the front.

Takes numbers per method, point, metric and prompt; knows no text and no model. The definition is OURS, for that of
arXiv 2511.05650 is not known to us: every metric is scaled over all points of all methods; Coverage is the staircase
area of a method's points seen from the origin, Dominance its share of the pooled front.

Letters: M methods, K points of each, A metrics, P prompts, R resamples, D diversity metrics, Q quality metrics,
N = M * K pooled points, S planes side by side, F front points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from baco_local.errors import UsageError
from baco_local.metrics.base import Group

__all__ = ["Grid", "Scale", "Side", "Standings", "area", "bounds", "front", "resampled", "share_above", "standings"]

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

DIGITS = 12  # points that differ by less after scaling are one point
AT_ONCE = 100  # resamples computed together


class Scale(StrEnum):
    """How a metric is brought to 0 .. 1 over all points of all methods."""

    MINMAX = "minmax"
    MAX = "max"  # divided by the largest; a metric that falls below 0 is scaled as MINMAX does


class Side(StrEnum):
    """Which planes a number is averaged over."""

    LEXICAL = "lexical"
    SEMANTIC = "semantic"
    OVERALL = "overall"  # mean of both, or the one that there is


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Every metric of every prompt at every point of every method, of one task."""

    methods: tuple[str, ...]  # [M]
    metrics: tuple[str, ...]  # [A]
    groups: tuple[Group, ...]  # [A] lexical, semantic or quality
    values: Numbers  # [M, K, A, P] larger is better

    def __post_init__(self) -> None:
        """Refuse numbers that no plane can be made of."""
        if self.values.ndim != 4 or self.values.shape[::2] != (len(self.methods), len(self.metrics)):
            raise ValueError(f"the numbers have the shape {self.values.shape}, not [methods, points, metrics, prompts]")
        if len(self.groups) != len(self.metrics):
            raise ValueError(f"{len(self.metrics)} metrics have {len(self.groups)} groups")
        if not np.isfinite(self.values).all():
            m, k, a, p = np.argwhere(~np.isfinite(self.values))[0]
            raise UsageError(
                f"{self.metrics[a]} is {self.values[m, k, a, p]} for {self.methods[m]}, point {k + 1}, prompt {p + 1}; "
                "leave out the metric or the prompt"
            )
        if not (self.diverse.size and self.good.size):
            raise UsageError("Coverage needs a metric of diversity and a metric of quality; give both")

    @property
    def diverse(self) -> Places:  # [D]
        """Return where the metrics of diversity stand."""
        return np.flatnonzero([group in {Group.LEXICAL, Group.SEMANTIC} for group in self.groups])

    @property
    def good(self) -> Places:  # [Q]
        """Return where the metrics of quality stand."""
        return np.flatnonzero([group is Group.QUALITY for group in self.groups])

    def only(self, methods: Sequence[str]) -> Grid:
        """Return the numbers of some methods, in this order."""
        places = [self.methods.index(name) for name in methods]
        return replace(self, methods=tuple(methods), values=self.values[places])


@dataclass(frozen=True, slots=True)
class Standings:
    """Coverage and Dominance; the last axis is in the order of ``Side``, NaN where there is no such plane."""

    coverage: Numbers  # [M, 3], or [R, M, 3]
    dominance: Numbers  # the same; sums to 1 over M


def standings(grids: Sequence[Grid], scale: Scale = Scale.MINMAX) -> Standings:
    """Return Coverage and Dominance, [M, 3], averaged over the tasks."""
    weights = [np.full((1, grid.values.shape[3]), 1 / grid.values.shape[3]) for grid in grids]
    one = _over_tasks(grids, weights, scale)
    return Standings(one.coverage[0], one.dominance[0])


def resampled(
    grids: Sequence[Grid], *, n_resamples: int = 1000, seed: int = 0, scale: Scale = Scale.MINMAX
) -> Standings:
    """Return Coverage and Dominance of bootstrap resamples of the prompts, [R, M, 3], paired over the methods."""
    rng = np.random.default_rng(seed)
    weights = []
    for grid in grids:
        n = grid.values.shape[3]
        weights.append(rng.multinomial(n, np.full(n, 1 / n), n_resamples) / n)
    parts = [
        _over_tasks(grids, [one[first : first + AT_ONCE] for one in weights], scale)
        for first in range(0, n_resamples, AT_ONCE)
    ]
    return Standings(
        np.concatenate([part.coverage for part in parts]), np.concatenate([part.dominance for part in parts])
    )


def bounds(samples: Numbers) -> tuple[Numbers, Numbers]:  # [R, ...] -> [...], [...]
    """Return the bounds that 95 % of the resamples keep."""
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    return low, high


def share_above(samples: Numbers) -> Numbers:  # [R, M] -> [M, M]
    """Return in which share of the resamples each row is above each column; equal ones count half."""
    ours, theirs = samples[:, :, None], samples[:, None, :]
    return np.asarray((ours > theirs).mean(0) + (ours == theirs).mean(0) / 2)


def area(points: Numbers) -> float:  # [K, 2]
    """Return the area of the staircase below the points, seen from the origin; nothing counts below 0."""
    return float(_areas(points[:, 0], points[:, 1]))


def front(points: Numbers) -> Places:  # [N, 2] -> [F]
    """Return which points no other point is better than; equal points are all on the front, or none."""
    order, on, _ = _fronts(points[None, :, 0], points[None, :, 1])
    return np.sort(order[on])


# --- many planes at once ------------------------------------------------------------------------------------------


def _over_tasks(grids: Sequence[Grid], weights: Sequence[Numbers], scale: Scale) -> Standings:
    """Average the standings of every task; weights are [R, P], one row per resample."""
    each = [_standings(grid, own, scale) for grid, own in zip(grids, weights, strict=True)]
    return Standings(np.mean([one.coverage for one in each], axis=0), np.mean([one.dominance for one in each], axis=0))


def _standings(grid: Grid, weights: Numbers, scale: Scale) -> Standings:  # [R, P] -> [R, M, 3]
    n_methods, n_points, n_metrics, _ = grid.values.shape
    means = np.tensordot(weights, grid.values, axes=(1, 3)).reshape(len(weights), -1, n_metrics)  # [R, N, A]
    scaled = _scaled(means, scale)
    diverse, good = scaled[:, :, grid.diverse], scaled[:, :, grid.good]
    shape = (len(weights), grid.diverse.size, grid.good.size, means.shape[1])  # [R, D, Q, N]
    x = np.broadcast_to(diverse.transpose(0, 2, 1)[:, :, None], shape)
    y = np.broadcast_to(good.transpose(0, 2, 1)[:, None], shape)
    by_method = (*shape[:3], n_methods, n_points)
    covered = _areas(x.reshape(by_method), y.reshape(by_method)).mean(2)  # [R, D, M]
    owners = np.repeat(np.arange(n_methods), n_points)
    owned = _owned(x.reshape(-1, shape[3]), y.reshape(-1, shape[3]), owners)
    dominated = owned.reshape(*shape[:3], n_methods).mean(2)
    groups = [grid.groups[place] for place in grid.diverse]
    return Standings(_by_side(covered, groups), _by_side(dominated, groups))


def _scaled(means: Numbers, scale: Scale) -> Numbers:  # [R, N, A] -> [R, N, A]
    low = means.min(1, keepdims=True)
    if scale is Scale.MAX:
        low = np.minimum(low, 0)
    reach = means.max(1, keepdims=True) - low
    return np.asarray(np.round((means - low) / np.where(reach > 0, reach, 1), DIGITS))


def _by_side(values: Numbers, groups: Sequence[Group]) -> Numbers:  # [R, D, M] -> [R, M, 3]
    """Average over the planes of each group, and over the groups that there are."""
    sides = []
    for group in (Group.LEXICAL, Group.SEMANTIC):
        own = [place for place, each in enumerate(groups) if each is group]
        sides.append(values[:, own].mean(1) if own else np.full_like(values[:, 0], np.nan))
    return np.stack([*sides, np.nanmean(sides, axis=0)], axis=-1)


def _areas(x: Numbers, y: Numbers) -> Numbers:  # [..., K], [..., K] -> [...]
    order = np.argsort(-x, axis=-1, kind="stable")
    x, y = np.take_along_axis(x, order, -1), np.take_along_axis(y, order, -1)
    reached = np.maximum.accumulate(np.maximum(y, 0), axis=-1)
    return np.asarray((np.maximum(x, 0) * np.diff(reached, axis=-1, prepend=0)).sum(-1))


def _fronts(x: Numbers, y: Numbers) -> tuple[Places, NDArray[np.bool_], Places]:  # [S, N], [S, N]
    """Return the points from right to left, which of them are on the front, and the first point equal to each."""
    order = np.lexsort((-y, -x))
    x, y = np.take_along_axis(x, order, -1), np.take_along_axis(y, order, -1)
    before = np.maximum.accumulate(y, axis=-1)
    leads = np.concatenate([np.ones((len(y), 1), bool), y[:, 1:] > before[:, :-1]], axis=-1)
    leader = np.maximum.accumulate(np.where(leads, np.arange(y.shape[1]), 0), axis=-1)
    on = (x == np.take_along_axis(x, leader, -1)) & (y == np.take_along_axis(y, leader, -1))
    return order, on, leader


def _owned(x: Numbers, y: Numbers, owners: Places) -> Numbers:  # [S, N], [S, N], [N] -> [S, M]
    """Return each method's share of the front of every plane; a point that several methods reach is split."""
    n_planes, n_points = x.shape
    n_methods = int(owners.max()) + 1
    order, on, leader = _fronts(x, y)
    plane = np.nonzero(on)[0]
    claims = np.unique((plane * n_points + leader[on]) * n_methods + owners[order[on]])  # (plane, point, method), once
    point, method = np.divmod(claims, n_methods)
    points, place, n_owners = np.unique(point, return_inverse=True, return_counts=True)
    n_on_front = np.bincount(points // n_points, minlength=n_planes)
    plane = point // n_points
    share = 1 / (n_on_front[plane] * n_owners[place])
    owned = np.bincount(plane * n_methods + method, share, n_planes * n_methods)
    return np.asarray(owned, np.float64).reshape(n_planes, n_methods)
