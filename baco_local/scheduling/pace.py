"""What a token costs under each schedule: pure arithmetic on measured numbers.

Knows no model and no clock; every cost is in one unit, seconds where decodes were measured.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from baco_local.config import DrafterName
from baco_local.scheduling.base import Helper, Reader
from baco_local.types import Role

__all__ = [
    "PAIRED",
    "TYPICAL",
    "Acceptance",
    "Cost",
    "Costs",
    "best_length",
    "lazy_cost",
    "n_expected",
    "round_costs",
]

PAIRED = frozenset((DrafterName.BASE, DrafterName.ALIGNED))  # drafters that are models of the pair
MEMORY = 64.0  # guesses; older ones fade


@dataclass(frozen=True, slots=True)
class Cost:
    """What one decode of a model takes by the number of its tokens; between the measured points it is a line."""

    points: tuple[tuple[int, float], ...]  # (tokens, cost), from 1 token on

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


@dataclass(frozen=True, slots=True)
class Costs:
    """What everything takes that a schedule can ask for."""

    of: Mapping[Reader, Cost]
    roles: tuple[Role, ...] = tuple(Role)  # the models that are listened to; one at an end of the dial
    at_once: Cost | None = None  # of both models asked at once, so many tokens each; None = they take turns
    say: float = 0.0  # our own work for one decided position, with its share of a step
    guess: float = 0.0  # our own work for one guess

    def one(self, reader: Reader, n_tokens: float, n_live: int = 1) -> float:
        """Return an answer's part of a decode in which ``n_live`` answers read so many tokens each."""
        return self.of[reader](n_tokens * n_live) / n_live

    def both(self, n_tokens: float, n_live: int = 1) -> float:
        """Return the same for all models that are listened to, asked at once."""
        if self.at_once is not None and len(self.roles) > 1:
            return self.at_once(n_tokens * n_live) / n_live
        return sum(self.one(role, n_tokens, n_live) for role in self.roles)


@dataclass(slots=True)
class Acceptance:
    """How often guesses stand, of late; begins hopeful, for what is never tried is never learnt."""

    n_judged: float = 8.0
    n_stood: float = 6.4

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


def round_costs(drafter: DrafterName, costs: Costs, n_most: int, n_live: int = 1) -> tuple[float, ...]:
    """Return what a round with 0, 1, ... guesses costs one of ``n_live`` answers; no guess is lockstep."""
    return tuple(_round_cost(drafter, costs, n, n_live) for n in range(n_most + 1))


def best_length(drafter: DrafterName, rounds: Sequence[float], rate: float, least: int = 0) -> tuple[int, float]:
    """Return how many guesses, ``least`` or more, make a token cheapest, and what a token then costs.

    A model of the pair guesses what it would say itself, so behind its last guess nothing more can be said.
    """
    last = drafter not in PAIRED
    found = [cost / n_expected(rate, n + last if n else 1) for n, cost in enumerate(rounds)]
    cost = min(found[least:])
    return found.index(cost, least), cost


def _round_cost(drafter: DrafterName, costs: Costs, n_draft: int, n_live: int) -> float:
    match drafter:
        case DrafterName.BASE | DrafterName.ALIGNED if n_draft:
            role = Role(drafter.value)
            guessing = n_draft * (costs.one(role, 1, n_live) + costs.guess)
            return guessing + costs.one(role.other, n_draft, n_live)
        case DrafterName.MODEL if n_draft:  # its first decode reads what was said since its last guess
            guessing = costs.one(Helper.DRAFT, 2, n_live) + (n_draft - 1) * costs.one(Helper.DRAFT, 1, n_live)
            return guessing + n_draft * costs.guess + costs.both(n_draft + 1, n_live)
        case _:
            return costs.both(n_draft + 1, n_live)


def lazy_cost(costs: Costs, shares: Mapping[Role, float], n_live: int = 1) -> float:
    """Return what a token costs where each model is woken for such a share of the tokens, and reads what it missed.

    Many answers wake a model more often; then it reads in every step, only a little less in each.
    """
    n_steps = sum(shares.values())  # per token: its first ask, and one more where that was not enough
    total = costs.say * (n_steps - 1)
    for role, share in shares.items():
        if n_live * share <= 1:
            total += share * costs.of[role](1 / share) if share else 0.0
        else:
            n_steps = max(1.0, n_steps)
            total += n_steps * costs.of[role](max(1.0, n_live / n_steps)) / n_live
    return total
