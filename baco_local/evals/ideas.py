"""Ideas beyond arXiv 2511.05650, to be measured by the same protocol: none of them is shipped before it has won.

Routers and mixes as plain callables, each with a dial from 1 to 9; reads a pair's calibration and knows no model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np

from baco_local.errors import UsageError
from baco_local.numerics import jensen_shannon, log_softmax_at, peak_probability
from baco_local.routing.base import Route, Router, StepView
from baco_local.routing.blends import Blend, mix_prob
from baco_local.routing.dial import ROUTERS, Calibration, LockName
from baco_local.routing.rules import coin, locked, punctuation_lock
from baco_local.types import MASKED, Role, Row

__all__ = ["IDEAS", "Idea", "Ruler", "apart", "ruler_from", "watching"]

VETO = 0.001  # base may say nothing that aligned finds less likely than this
PLAUSIBLE = 0.1  # times aligned's largest probability
HALF = 0.5  # base's weight where both are mixed
BASE_APART, ALIGNED_CLOSE = Route(Role.BASE, "apart"), Route(Role.ALIGNED, "close")
ALIGNED_VETO = Route(Role.ALIGNED, "veto")
DIAL_POINTS = range(1, 10)


@dataclass(frozen=True, slots=True)
class Ruler:
    """What the dial of an idea means for one pair."""

    calibration: Calibration | None  # None = fixed formulas
    divergence: tuple[float, ...]  # nats, at the dial points 1 to 9: never rising

    def max_p(self, diversity: float) -> float:
        """Return the probability below which base is unsure enough, by the positions that no lock takes."""
        points = None if self.calibration is None else self.calibration.max_p[LockName.NONE]
        return diversity / 10 if points is None else float(np.interp(diversity, DIAL_POINTS, points))


Build: TypeAlias = Callable[[float, Ruler], Router | Blend]
"""(diversity, what it means for this pair) -> what decides."""


@dataclass(frozen=True, slots=True)
class Idea:
    """An idea with its dial."""

    name: str
    does: str  # one sentence
    source: str
    at: Build


def watching(seen: list[float]) -> Router:
    """Return a router that tosses a coin where no lock decides, and notes how far apart the two models are there."""

    def router(step: StepView) -> Route | Role | str:
        seen.append(apart(step))
        return HEADS_OR_TAILS(step)

    return locked(punctuation_lock(), router)


def ruler_from(calibration: Calibration | None, seen: Iterable[float]) -> Ruler:
    """Return the ruler of a pair whose divergences were seen; d means that about d/10 of them lie above."""
    values = np.fromiter(seen, np.float64)
    if not values.size:
        raise UsageError("no position was measured, so the dial of an idea has no meaning; give other prompts")
    return Ruler(calibration, tuple(float(np.quantile(values, 1 - d / 10)) for d in DIAL_POINTS))


def apart(step: StepView) -> float:
    """Return the Jensen-Shannon divergence of both models at a position, in nats."""
    base, aligned = step.base.row, step.aligned.row
    width = min(base.size, aligned.size)
    return jensen_shannon(base[:width], aligned[:width])


def disagreement(diversity: float, ruler: Ruler) -> Router:
    """Let base speak where the models are far apart, unless aligned finds base's word next to impossible."""
    least = float(np.interp(diversity, DIAL_POINTS, ruler.divergence))

    def router(step: StepView) -> Route:
        if apart(step) < least:
            return ALIGNED_CLOSE
        token = step.proposed if step.speaker is Role.BASE else step.base.top
        row = step.aligned.row
        known = token < row.size
        likely = known and log_softmax_at(row, token, step.aligned.spread.log_z) >= math.log(VETO)
        return BASE_APART if likely else ALIGNED_VETO

    return locked(punctuation_lock(), router)


def front_loaded(diversity: float, ruler: Ruler) -> Router:
    """Turn the dial of P-PUNC to twice its number in the first sentence, and halve it with every sentence to a half."""
    stages = [ROUTERS["P-PUNC"].at(min(9.9, diversity * factor), ruler.calibration) for factor in (2.0, 1.0, 0.5)]

    def router(step: StepView) -> Route | Role | str:
        n_sentences = sum(1 for _ in islice(SENTENCE_END.finditer(step.text), len(stages) - 1))
        return stages[n_sentences](step)

    return router


def masked_base(diversity: float, ruler: Ruler) -> Blend:
    """Let base draw where it is unsure, but only among what aligned finds plausible."""
    gamma = ruler.max_p(diversity)

    def mix(aligned: Row, base: Row, _lam: float, stops: Collection[int]) -> Row:
        if peak_probability(base, int(base.argmax())) >= gamma:
            return aligned.copy()
        fitting = np.where(aligned >= aligned.max() + np.float32(math.log(PLAUSIBLE)), base, MASKED)
        fitting[list(stops)] = MASKED  # the end stays aligned's own matter
        if (fitting <= MASKED / 2).all():
            return aligned.copy()
        return mix_prob(aligned, np.asarray(fitting, np.float32), 1.0, stops)

    return Blend("masked-base", "Base among aligned's plausible tokens.", OURS, mix)


def soft_unsure(diversity: float, ruler: Ruler) -> Blend:
    """Average both models where base is unsure, and leave aligned alone elsewhere."""
    gamma = ruler.max_p(diversity)

    def mix(aligned: Row, base: Row, _lam: float, stops: Collection[int]) -> Row:
        unsure = peak_probability(base, int(base.argmax())) < gamma
        return mix_prob(aligned, base, HALF, stops) if unsure else aligned.copy()

    return Blend("soft-unsure", "Both where base is unsure.", OURS, mix)


OURS = "an idea of ours"
SENTENCE_END = re.compile("[.!?\u2026\u3002\uff01\uff1f]+[\"'\u2019\u201d)]*\\s|\n+")
HEADS_OR_TAILS = coin(0.5)

IDEAS: dict[str, Idea] = {
    idea.name: idea
    for idea in (
        Idea(
            "jsd-punc",
            "Aligned writes punctuation; elsewhere base speaks where the models disagree most (JSD), with a veto.",
            OURS,
            disagreement,
        ),
        Idea(
            "front-loaded",
            "P-PUNC with the dial doubled in the first sentence, as set in the second, halved after it.",
            OURS,
            front_loaded,
        ),
        Idea(
            "masked-base",
            "Per token: where base is unsure, it draws, but only what aligned finds a tenth as likely as its best.",
            OURS,
            masked_base,
        ),
        Idea(
            "soft-unsure",
            "Per token: where base is unsure, both distributions are averaged; elsewhere aligned alone.",
            "ours; after BlendIn, arXiv 2606.11201",
            soft_unsure,
        ),
    )
}
