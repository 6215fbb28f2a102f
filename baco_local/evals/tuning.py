"""Turn the dial until a number is as wished: bisection, for what rises with the dial, noise apart.

Reads targets such as ``base-share=0.3`` and has a pair write a few answers; keeps no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from baco_local.engine.answer import Answer
from baco_local.errors import UsageError
from baco_local.metrics.lexical import distinct
from baco_local.metrics.texts import cut_alike
from baco_local.pair import Job, Pair
from baco_local.settings import Settings
from baco_local.types import Role

__all__ = ["Goal", "Measure", "Target", "Tuned", "answers_apart", "base_share", "bisect", "dial_for"]

Measure: TypeAlias = Callable[[float], float]
"""Return what the knob does at this place; the same place gives the same number."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """Where the knob came to stand."""

    value: float
    reached: float  # what was measured there
    target: float
    tried: tuple[tuple[float, float], ...]  # (place, number), in order

    @property
    def miss(self) -> float:
        """Return how far off the number is."""
        return abs(self.reached - self.target)


def bisect(measure: Measure, target: float, low: float, high: float, *, tolerance: float, n_most: int = 10) -> Tuned:
    """Halve the range until the number is near enough; of all places that were tried, the nearest is taken.

    Args:
        measure: rises from low to high, noise apart.
        target: the number that is wished for.
        low: the lower end of the range; the ends themselves are not tried.
        high: the upper end.
        tolerance: a miss that is good enough.
        n_most: measurements, at most.

    """
    tried: list[tuple[float, float]] = []
    while len(tried) < n_most and not any(abs(number - target) <= tolerance for _, number in tried):
        place = (low + high) / 2
        number = measure(place)
        tried.append((place, number))
        low, high = (place, high) if number < target else (low, place)
    value, reached = min(tried, key=lambda one: abs(one[1] - target))
    return Tuned(value, reached, target, tuple(tried))


class Goal(StrEnum):
    """What can be wished for."""

    BASE_SHARE = "base-share"  # base tokens / all tokens
    DISTINCT = "distinct"  # different / all pairs of words in the answers to one prompt


@dataclass(frozen=True, slots=True)
class Target:
    """A wish."""

    goal: Goal
    value: float
    relative: bool = False  # the value is a gain over the aligned model alone: 0.2 = a fifth more

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``base-share=0.3``, ``base-share=30%`` or ``distinct=+20%``."""
        found = re.fullmatch(r"\s*([a-z-]+)\s*=\s*(\+?)(\d+\.?\d*|\.\d+)\s*(%?)\s*", text.lower())
        if found is None or found[1] not in tuple(Goal):
            raise UsageError(f"--target {text!r} is none; give base-share=0.3 or distinct=+20%")
        goal, value = Goal(found[1]), float(found[3]) / (100 if found[4] else 1)
        relative = bool(found[2])
        if relative and goal is Goal.BASE_SHARE:
            raise UsageError(
                f"--target {text!r}: aligned alone has a base share of 0, so none is so much more; drop the +"
            )
        if not relative and not 0 < value < 1:
            raise UsageError(f"--target {text!r}: {goal} lies between 0 and 1")
        return cls(goal, value, relative)

    @property
    def tolerance(self) -> float:
        """Return a miss that is good enough."""
        return 0.03 if self.relative else 0.015

    def __str__(self) -> str:
        """Return it as it is typed."""
        return f"{self.goal}=+{100 * self.value:g}%" if self.relative else f"{self.goal}={self.value:g}"


def dial_for(
    pair: Pair,
    target: Target,
    prompts: Sequence[str],
    settings: Settings,
    *,
    seed: int = 0,
    n_samples: int = 4,
    watch: Callable[[float], None] = lambda _diversity: None,
) -> Tuned:
    """Return the diversity at which a pair does what is wished for.

    Args:
        pair: who writes.
        target: the wish.
        prompts: a dozen, of the kind that the pair is for.
        settings: everything but the dial.
        seed: of the answers, the same at every diversity.
        n_samples: answers per prompt, where variety is wished for.
        watch: called with every diversity that is tried.

    """
    alone = _texts(pair, settings.turn({"diversity": 0.0}), prompts, seed, n_samples) if target.relative else []

    def measure(diversity: float) -> float:
        watch(diversity)
        turned = settings.turn({"diversity": diversity, "threshold": None})
        if target.goal is Goal.BASE_SHARE:
            return base_share(pair, turned, prompts, seed)
        own = _texts(pair, turned, prompts, seed, n_samples)
        if not target.relative:
            return float(np.mean([distinct(texts, 2) for texts in own]))
        pairs = [cut_alike([mine, theirs])[0] for mine, theirs in zip(own, alone, strict=True)]
        ours, before = (float(np.mean([distinct(one[side], 2) for one in pairs])) for side in (0, 1))
        return ours / max(before, 1e-9) - 1

    return bisect(measure, target.value, 0.0, 10.0, tolerance=target.tolerance)


def base_share(pair: Pair, settings: Settings, prompts: Sequence[str], seed: int) -> float:
    """Return base tokens / all tokens of one answer to each prompt."""
    answers = answers_apart(pair, settings, prompts, seed)
    speakers = [token.speaker for (answer,) in answers for token in answer.tokens]
    return sum(speaker is Role.BASE for speaker in speakers) / max(1, len(speakers))


def answers_apart(
    pair: Pair, settings: Settings, prompts: Sequence[str], seed: int, n_samples: int = 1
) -> list[list[Answer]]:
    """Return some answers to each prompt, every one a sample of its own.

    With the same noise for all prompts, a pair with few ideas would tell one story only.
    """
    jobs = [
        Job(prompt=prompts[number // n_samples], settings=settings, seed=seed, sample=number)
        for number in range(n_samples * len(prompts))
    ]
    answers = pair.answers(jobs)
    return [answers[first : first + n_samples] for first in range(0, len(answers), n_samples)]


def _texts(pair: Pair, settings: Settings, prompts: Sequence[str], seed: int, n_samples: int) -> list[list[str]]:
    """Return the answers to each prompt."""
    return [[answer.text for answer in each] for each in answers_apart(pair, settings, prompts, seed, n_samples)]
