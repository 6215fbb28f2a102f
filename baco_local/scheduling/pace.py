"""How far ahead it pays to guess: the cost of a batch, the chance that a guess stands, and the best length.

Pure arithmetic on numbers that others have measured; knows no model and no clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from baco_local.config import DrafterName
from baco_local.scheduling.base import Helper, Reader
from baco_local.types import Role

__all__ = ["TYPICAL", "Acceptance", "Cost", "best_length", "n_expected", "n_said", "round_cost"]

MEMORY = 64.0  # guesses; older ones fade


@dataclass(frozen=True, slots=True)
class Cost:
    """What one decode takes by the number of its tokens, in any unit; between the measured points it is a line."""

    points: tuple[tuple[int, float], ...]  # (tokens, cost), from 1 token on, rising

    def __call__(self, n_tokens: float) -> float:
        """Return the cost of a decode of so many tokens; 0 = none."""
        if n_tokens <= 0:
            return 0.0
        if len(self.points) == 1:
            return self.points[0][1] * n_tokens
        i = min(max(1, bisect_left(self.points, (n_tokens, 0.0))), len(self.points) - 1)
        (low_n, low), (high_n, high) = self.points[i - 1], self.points[i]
        return low + (high - low) * (n_tokens - low_n) / (high_n - low_n)

    def times(self, factor: float) -> Cost:
        """Return the cost of a model that is so many times as slow."""
        return Cost(tuple((n, cost * factor) for n, cost in self.points))


TYPICAL = Cost(((1, 1.0), (4, 1.8), (8, 3.0), (16, 4.6)))  # of a small CPU, where nothing was measured


@dataclass(slots=True)
class Acceptance:
    """How often guesses stand, of late; begins with a doubtful half."""

    n_judged: float = 4.0
    n_stood: float = 2.0

    @property
    def rate(self) -> float:
        """Return the chance that a guess stands."""
        return self.n_stood / self.n_judged

    def note(self, n_judged: int, n_stood: int) -> None:
        """Take in what became of some guesses."""
        kept = max(0.0, 1 - n_judged / MEMORY)
        self.n_judged = self.n_judged * kept + n_judged
        self.n_stood = self.n_stood * kept + n_stood


def n_expected(rate: float, n_positions: int) -> float:
    """Return how many tokens a round says that goes on as long as its guesses stand."""
    return float(n_positions) if rate >= 1 else (1 - rate**n_positions) / (1 - rate)


def round_cost(drafter: DrafterName, costs: Mapping[Reader, Cost], n_draft: int, n_live: int = 1) -> float:
    """Return what a round with so many guesses costs one of ``n_live`` answers; 0 guesses = lockstep."""

    def each(reader: Reader, n_tokens: int) -> float:
        return costs[reader](n_tokens * n_live) / n_live

    match drafter:
        case DrafterName.BASE | DrafterName.ALIGNED if n_draft:
            role = Role(drafter.value)
            return n_draft * each(role, 1) + each(role.other, n_draft)
        case DrafterName.MODEL if n_draft:  # its first decode reads what was said since its last guess
            guessing = each(Helper.DRAFT, 2) + (n_draft - 1) * each(Helper.DRAFT, 1)
            return guessing + sum(each(role, n_draft + 1) for role in Role)
        case _:
            return sum(each(role, n_draft + 1) for role in Role)


def n_said(drafter: DrafterName, rate: float, n_draft: int) -> float:
    """Return how many tokens a round with so many guesses says on average.

    A model of the pair guesses what it would say itself, so behind its last guess nothing more can be said.
    """
    last = drafter not in {DrafterName.BASE, DrafterName.ALIGNED} or not n_draft
    return n_expected(rate, n_draft + last)


def best_length(
    drafter: DrafterName, costs: Mapping[Reader, Cost], rate: float, n_most: int, n_live: int = 1
) -> tuple[int, float]:
    """Return how many guesses make a token cheapest, and what a token then costs."""
    found = [round_cost(drafter, costs, n, n_live) / n_said(drafter, rate, n) for n in range(n_most + 1)]
    best = min(range(n_most + 1), key=found.__getitem__)
    return best, found[best]
