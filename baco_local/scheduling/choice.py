"""Which schedule an answer is decoded by, and what is learnt on the way: costs, and how often guesses stand.

Chooses and counts; what it chooses changes no token. Knows no model and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from baco_local.config import DrafterName, ScheduleName
from baco_local.errors import UsageError
from baco_local.scheduling.base import Helper, Reader, Schedule
from baco_local.scheduling.drafting import Drafter, by_lookup, by_model
from baco_local.scheduling.pace import TYPICAL, Acceptance, Cost, best_length
from baco_local.scheduling.schedules import lazy, lockstep, speculative
from baco_local.types import Role

__all__ = ["DRAFTERS", "Pace", "Wish", "schedule_for"]


class Wish(Protocol):
    """What a caller asks for; ``config.DecodeOptions`` fulfils it."""

    @property
    def schedule(self) -> ScheduleName:
        """Return the schedule."""
        ...

    @property
    def drafter(self) -> DrafterName:
        """Return who guesses."""
        ...

    @property
    def draft_max(self) -> int:
        """Return how many guesses a round makes at most."""
        ...


class Pace:
    """What a pair has shown of its speed; all its answers share it."""

    def __init__(self, costs: Mapping[Reader, Cost] | None = None, *, can_rewind: bool = True) -> None:
        self.costs: Mapping[Reader, Cost] = costs or dict.fromkeys(Role, TYPICAL)
        self.can_rewind = can_rewind  # False: what was read cannot be taken back, so nothing can be guessed
        self.acceptance = {drafter: Acceptance() for drafter in DRAFTERS}

    def drafter(self, wanted: DrafterName) -> DrafterName:
        """Return who guesses where this one is wanted, or raise UsageError."""
        if wanted is DrafterName.MODEL and Helper.DRAFT not in self.costs:
            raise UsageError("no small model is loaded that could guess; name one (--draft FILE), or another drafter")
        if wanted is not DrafterName.AUTO:
            return wanted
        return DrafterName.MODEL if Helper.DRAFT in self.costs else DrafterName.LOOKUP

    def n_draft(self, drafter: DrafterName, n_most: int) -> int:
        """Return how many guesses pay now."""
        return best_length(drafter, self.costs, self.acceptance[drafter].rate, n_most)[0]


def schedule_for(wish: Wish, pace: Pace) -> Schedule:
    """Return the schedule that was asked for, or what comes nearest to it with models that cannot be rewound."""
    drafter = pace.drafter(wish.drafter)
    if wish.schedule is ScheduleName.LOCKSTEP:
        return lockstep
    if wish.schedule is ScheduleName.LAZY or not pace.can_rewind or drafter is DrafterName.NONE:
        return lazy
    n_most = wish.draft_max
    return speculative(DRAFTERS[drafter], lambda: max(1, pace.n_draft(drafter, n_most)), pace.acceptance[drafter].note)


DRAFTERS: dict[DrafterName, Drafter] = {
    DrafterName.MODEL: by_model(Helper.DRAFT),
    DrafterName.BASE: by_model(Role.BASE),
    DrafterName.ALIGNED: by_model(Role.ALIGNED),
    DrafterName.LOOKUP: by_lookup,
}
