"""The rules of arXiv 2511.05650 as small routers: who speaks where a word starts, for one raw threshold.

Pure functions of a step view; they know neither the dial nor a calibration (see ``dial.py``). A reason says what was
seen, in plain words: "sure" and "unsure" are about the distribution, whoever then speaks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from baco_local.config import ContentFrom, Uncertainty
from baco_local.numerics import mean_spread
from baco_local.routing.base import Route, Router, StepView
from baco_local.routing.words import ENGLISH, WordLists
from baco_local.types import Role, Row

__all__ = [
    "DEFAULT_SIGNALS",
    "Lock",
    "Signals",
    "always",
    "coin",
    "content",
    "entropy",
    "function_word_lock",
    "function_words",
    "locked",
    "measured_entropy",
    "measured_max_p",
    "nudge",
    "probability",
    "punctuation",
    "punctuation_lock",
]

Lock: TypeAlias = Callable[[StepView], bool]
"""Says whether a position is kept for the aligned model, whatever the distributions."""

BASE_SURE, ALIGNED_SURE = Route(Role.BASE, "sure"), Route(Role.ALIGNED, "sure")
BASE_UNSURE, ALIGNED_UNSURE = Route(Role.BASE, "unsure"), Route(Role.ALIGNED, "unsure")
BASE_COIN, ALIGNED_COIN = Route(Role.BASE, "coin"), Route(Role.ALIGNED, "coin")
BASE_OPEN, ALIGNED_LOCKED = Route(Role.BASE, "open"), Route(Role.ALIGNED, "locked", locked=True)


@dataclass(frozen=True, slots=True)
class Signals:
    """What the rules look at; OURS, open in the paper."""

    content_from: ContentFrom | None = None  # None: either for punctuation, base for function words
    uncertainty: Uncertainty = Uncertainty.BASE
    words: WordLists = ENGLISH


DEFAULT_SIGNALS = Signals()


def measured_max_p(step: StepView, uncertainty: Uncertainty = Uncertainty.BASE) -> float:
    """Return the largest probability of the distribution that the rules read."""
    if uncertainty is Uncertainty.BASE:
        return step.base.max_p
    if uncertainty is Uncertainty.ALIGNED:
        return step.aligned.max_p
    return mean_spread(*_shared_rows(step)).max_p


def measured_entropy(step: StepView, uncertainty: Uncertainty = Uncertainty.BASE) -> float:
    """Return the entropy, in nats, of the distribution that the rules read."""
    if uncertainty is Uncertainty.BASE:
        return step.base.entropy
    if uncertainty is Uncertainty.ALIGNED:
        return step.aligned.entropy
    return mean_spread(*_shared_rows(step)).entropy


def _shared_rows(step: StepView) -> tuple[Row, Row]:
    """Return both rows without the ids that only one model has."""
    width = min(step.base.row.size, step.aligned.row.size)
    return step.base.row[:width], step.aligned.row[:width]


def always(speaker: Role) -> Router:
    """Let one model speak everywhere: an end of the dial."""
    route = Route(speaker, f"{speaker} alone")
    return lambda step: route  # noqa: ARG005 - a router takes the step


def probability(gamma: float, uncertainty: Uncertainty = Uncertainty.BASE) -> Router:
    """Let base speak where the largest probability lies below gamma (P)."""
    return lambda step: BASE_UNSURE if measured_max_p(step, uncertainty) < gamma else ALIGNED_SURE


def entropy(gamma: float, uncertainty: Uncertainty = Uncertainty.BASE) -> Router:
    """Let base speak where the entropy lies above gamma, in nats (H)."""
    return lambda step: BASE_UNSURE if measured_entropy(step, uncertainty) > gamma else ALIGNED_SURE


def nudge(gamma: float, uncertainty: Uncertainty = Uncertainty.BASE) -> Router:
    """Let base lead and aligned speak where the largest probability lies below gamma (arXiv 2410.09300)."""
    return lambda step: ALIGNED_UNSURE if measured_max_p(step, uncertainty) < gamma else BASE_SURE


def coin(q: float) -> Router:
    """Let base speak with chance q (RAND)."""
    return lambda step: BASE_COIN if step.coin < q else ALIGNED_COIN


def locked(lock: Lock, rule: Router) -> Router:
    """Keep locked positions for the aligned model, and leave the others to a rule."""
    return lambda step: ALIGNED_LOCKED if lock(step) else rule(step)


def punctuation_lock(signals: Signals = DEFAULT_SIGNALS) -> Lock:
    """Lock where a watched token is punctuation or layout; by default either side's."""
    return _watch(signals.words.is_format, signals.content_from or ContentFrom.EITHER)


def function_word_lock(signals: Signals = DEFAULT_SIGNALS) -> Lock:
    """Lock where a watched token is a function word; by default the base side's."""
    return _watch(signals.words.is_function, signals.content_from or ContentFrom.BASE)


def content(lock: Lock, diversity: float = 5.0) -> Router:
    """Let base speak where nothing is locked.

    Below diversity 5 a coin keeps a part of the open positions for aligned, above 5 it gives base a part of the locked
    ones; 5 is the plain rule.
    """
    open_chance, locked_chance = min(1.0, diversity / 5), max(0.0, diversity / 5 - 1)
    base_open = BASE_OPEN if open_chance == 1 else BASE_COIN
    aligned_locked = ALIGNED_LOCKED if locked_chance == 0 else ALIGNED_COIN

    def router(step: StepView) -> Route:
        if lock(step):
            return BASE_COIN if step.coin < locked_chance else aligned_locked
        return base_open if step.coin < open_chance else ALIGNED_COIN

    return router


def punctuation(diversity: float = 5.0, signals: Signals = DEFAULT_SIGNALS) -> Router:
    """Let base speak where no watched token is punctuation or layout (PUNC)."""
    return content(punctuation_lock(signals), diversity)


def function_words(diversity: float = 5.0, signals: Signals = DEFAULT_SIGNALS) -> Router:
    """Let base speak where the watched token is no function word (FC)."""
    return content(function_word_lock(signals), diversity)


def _watch(test: Callable[[str], bool], content_from: ContentFrom) -> Lock:
    match content_from:
        case ContentFrom.BASE:
            return lambda step: test(step.watched(Role.BASE))
        case ContentFrom.ALIGNED:
            return lambda step: test(step.watched(Role.ALIGNED))
        case ContentFrom.EITHER:  # the drawn token first: if it locks, a lazy schedule need not ask the other model
            return lambda step: test(step.watched(step.speaker)) or test(step.watched(step.speaker.other))
        case ContentFrom.BOTH:
            return lambda step: test(step.watched(step.speaker)) and test(step.watched(step.speaker.other))
