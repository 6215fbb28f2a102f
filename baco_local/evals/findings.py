"""What a study found: standings with intervals, who beats whom how often, what every point is like and what it cost.

Takes scored answers; draws nothing and writes no file.

Letters: M methods, K points of each, P prompts, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baco_local.evals.coverage import Scale, Side, Standings, bounds, resampled, share_above, standings
from baco_local.evals.methods import FAMILIES
from baco_local.evals.scoring import Answers, Scored, grids
from baco_local.metrics.base import Group
from baco_local.metrics.definitions import METRICS
from baco_local.metrics.survey import View

__all__ = ["INDICES", "Board", "Findings", "Number", "Point", "find"]

INDICES: dict[str, tuple[str, Group]] = {  # axes for an overview; Coverage is not computed on them
    "lexical": ("lexical metrics, mean of all scaled", Group.LEXICAL),
    "semantic": ("semantic metrics, mean of all scaled", Group.SEMANTIC),
    "quality": ("quality, mean of all scaled", Group.QUALITY),
}
ROUTERS = ("switch", "control")  # families
SIDES = tuple(Side)


@dataclass(frozen=True, slots=True)
class Number:
    """A value and the bounds that 95 % of the resamples keep."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Coverage and Dominance of some methods that compete with each other."""

    methods: tuple[str, ...]
    coverage: Mapping[Side, tuple[Number, ...]]  # one per method; a side that has no metric is left out
    dominance: Mapping[Side, tuple[Number, ...]]
    above: Mapping[Side, NDArray[np.float64]]  # [M, M] share of resamples in which the row covers more than the column
    leads: Mapping[Side, NDArray[np.float64]]  # [M] share of resamples in which a method has the largest Dominance

    def share_above(self, one: str, other: str, side: Side = Side.OVERALL) -> float:
        """Return in which share of the resamples one method covers more than another."""
        return float(self.above[side][self.methods.index(one), self.methods.index(other)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One method at one setting."""

    method: str
    place: int  # from 1
    setting: float  # of the swept knob
    numbers: Mapping[str, Number]  # metric or index -> its mean over prompts
    base_share: float
    share_cut: float
    n_answers: int
    n_empty: int
    generated: float  # tokens per answer that is not empty
    read_base: float  # tokens that base has read, per such answer
    read_aligned: float
    seconds: float  # per such answer, many being written at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that a report says."""

    answers: Answers
    diversity: tuple[str, ...]
    quality: tuple[str, ...]
    indices: tuple[str, ...]
    boards: Mapping[View, Board]  # all methods
    best: Board  # the best member of each family, matched lengths
    routers: Board | None  # routers and their control apart from all others, if there are others; matched lengths
    by_largest: Board  # as all methods, scaled by the largest instead of min-max
    points: Mapping[View, tuple[Point, ...]]
    n_filled: Mapping[str, int]
    n_resamples: int
    seed: int
    helpers: Mapping[str, str]  # what the models that measured are


def find(
    scored: Scored, *, n_resamples: int = 1000, seed: int = 0, helpers: Mapping[str, str] | None = None
) -> Findings:
    """Compute standings and points of a run."""
    boards = {view: _board(scored, view, n_resamples, seed) for view in View}
    overall = [number.value for number in boards[View.MATCHED].coverage[Side.OVERALL]]
    routers = [name for name in scored.answers.methods if scored.answers.about["methods"][name]["family"] in ROUTERS]
    apart = 1 < len(routers) < len(scored.answers.methods)
    return Findings(
        answers=scored.answers,
        diversity=scored.diversity,
        quality=scored.quality,
        indices=tuple(name for name, (_, group) in INDICES.items() if _members(scored, group)),
        boards=boards,
        best=_board(scored, View.MATCHED, n_resamples, seed, methods=_winners(scored.answers, overall)),
        routers=_board(scored, View.MATCHED, n_resamples, seed, methods=routers) if apart else None,
        by_largest=_board(scored, View.MATCHED, n_resamples, seed, scale=Scale.MAX),
        points={view: _points(scored, view, n_resamples, seed) for view in View},
        n_filled=scored.n_filled,
        n_resamples=n_resamples,
        seed=seed,
        helpers=dict(helpers or {}),
    )


def _board(
    scored: Scored,
    view: View,
    n_resamples: int,
    seed: int,
    *,
    methods: Sequence[str] | None = None,
    scale: Scale = Scale.MINMAX,
) -> Board:
    competing = tuple(methods or scored.answers.methods)
    fields = [grid.only(competing) for grid in grids(scored, view)]
    estimate = standings(fields, scale)
    samples = resampled(fields, n_resamples=n_resamples, seed=seed, scale=scale)
    sides = [side for i, side in enumerate(SIDES) if not np.isnan(estimate.coverage[0, i])]
    return Board(
        methods=competing,
        coverage={side: _numbers(estimate, samples, "coverage", side) for side in sides},
        dominance={side: _numbers(estimate, samples, "dominance", side) for side in sides},
        above={side: share_above(samples.coverage[:, :, SIDES.index(side)]) for side in sides},
        leads={side: _leads(samples.dominance[:, :, SIDES.index(side)]) for side in sides},
    )


def _leads(samples: NDArray[np.float64]) -> NDArray[np.float64]:  # [R, M] -> [M]
    best = samples == samples.max(1, keepdims=True)
    return np.asarray((best / best.sum(1, keepdims=True)).mean(0))


def _numbers(estimate: Standings, samples: Standings, what: str, side: Side) -> tuple[Number, ...]:
    place = SIDES.index(side)
    low, high = bounds(getattr(samples, what)[:, :, place])
    values = getattr(estimate, what)[:, place]
    return tuple(Number(*map(float, each)) for each in zip(values, low, high, strict=True))


def _winners(answers: Answers, overall: Sequence[float]) -> tuple[str, ...]:
    """Return the member of each family that covers most; chosen on the same answers, so its number is a little high."""
    best: dict[str, tuple[float, str]] = {}
    for name, value in zip(answers.methods, overall, strict=True):
        family = answers.about["methods"][name]["family"]
        best[family] = max(best.get(family, (-1.0, "")), (value, name))
    return tuple(best[family][1] for family in FAMILIES if family in best)


def _points(scored: Scored, view: View, n_resamples: int, seed: int) -> tuple[Point, ...]:
    answers = scored.answers
    names = (*scored.diversity, *(name for name in scored.values[View.RAW] if name not in scored.diversity))
    columns = {name: scored.value(view, name) for name in names}
    columns |= {
        name: _index(scored, view, members)
        for name, (_, group) in INDICES.items()
        if (members := _members(scored, group))
    }
    n = len(answers.questions)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), n_resamples) / n  # [R, P]
    spread = {name: bounds(np.tensordot(weights, values, axes=(1, 2))) for name, values in columns.items()}
    found = []
    for m, method in enumerate(answers.methods):
        settings = _settings(answers, method)
        for k in range(answers.n_points):
            numbers = {
                name: Number(float(values[m, k].mean()), float(spread[name][0][m, k]), float(spread[name][1][m, k]))
                for name, values in columns.items()
            }
            found.append(_point(answers, method, k + 1, settings[k], numbers, float(scored.share_cut[m, k])))
    return tuple(found)


def _point(
    answers: Answers, method: str, place: int, setting: float, numbers: Mapping[str, Number], share_cut: float
) -> Point:
    lines = answers.at(method, place)
    texts = [said.text for line in lines for said in line.answers]
    n_said = max(1, sum(bool(text.strip()) for text in texts))
    return Point(
        method=method,
        place=place,
        setting=setting,
        numbers=numbers,
        base_share=sum(line.n_base for line in lines) / max(1, sum(line.n_tokens for line in lines)),
        share_cut=share_cut,
        n_answers=len(texts),
        n_empty=sum(not text.strip() for text in texts),
        generated=sum(line.cost.generated for line in lines) / n_said,
        read_base=sum(line.cost.read_base for line in lines) / n_said,
        read_aligned=sum(line.cost.read_aligned for line in lines) / n_said,
        seconds=sum(line.elapsed_s for line in lines) / n_said,
    )


def _settings(answers: Answers, method: str) -> list[float]:
    """Return what the swept knob was set to at each point; for a control, what it was matched to."""
    own = answers.about["methods"][method]
    matched = answers.about.get("matched", {}).get(method)
    if own["matched"] is None or matched is None:
        return [float(value) for value in own["points"]]
    return [float(matched[str(place)]["value"]) for place in range(1, answers.n_points + 1)]


def _members(scored: Scored, group: Group) -> list[str]:
    return [name for name in (*scored.diversity, *scored.quality) if METRICS[name].group is group]


def _index(scored: Scored, view: View, members: Sequence[str]) -> NDArray[np.float64]:  # [M, K, P]
    """Average metrics after bringing each to 0 .. 1 over all points of all methods, as Coverage does."""
    scaled = []
    for name in members:
        values = scored.value(view, name)
        means = values.mean(2)
        reach = float(np.ptp(means))
        scaled.append((values - means.min()) / (reach or 1.0))
    return np.asarray(np.mean(scaled, axis=0))
