"""Ways to let two models write one text; all of them say the same tokens.

A schedule asks for rows and lets a voice judge them; it knows no model, no router and no clock.
"""

from __future__ import annotations

from baco_local.config import ScheduleName
from baco_local.scheduling.base import Ask, Round, Schedule, Voice
from baco_local.types import Role, Row

__all__ = ["SCHEDULES", "lazy", "lockstep"]


def lockstep(voice: Voice) -> Round:
    """Let every model that the voice listens to read every token; the definition of the method."""
    roles = tuple(voice.listens)
    rows = yield tuple(Ask(role) for role in roles)
    said = voice.say({role: found[-1] for role, found in zip(roles, rows, strict=True)})
    assert not isinstance(said, Role), f"the voice listens to {roles}, yet misses {said}"
    return (said,)


def lazy(voice: Voice) -> Round:
    """Let a model read only when its row is missed; it then catches up in one batch."""
    rows: dict[Role, Row] = {}
    missed = tuple(voice.needs)
    while True:
        found = yield tuple(Ask(role) for role in missed)
        rows |= {role: each[-1].copy() for role, each in zip(missed, found, strict=True)}  # to outlive another ask
        said = voice.say(rows)
        if not isinstance(said, Role):
            return (said,)
        missed = (said,)


SCHEDULES: dict[ScheduleName, Schedule] = {ScheduleName.LOCKSTEP: lockstep, ScheduleName.LAZY: lazy}
