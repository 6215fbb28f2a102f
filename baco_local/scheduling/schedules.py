"""Ways to let two models write one text; all of them say the same tokens."""

from __future__ import annotations

from baco_local.scheduling.base import Ask, Round, Schedule, Voice
from baco_local.types import Role

__all__ = ["SCHEDULES", "lockstep"]


def lockstep(voice: Voice) -> Round:
    """Let every model that the voice listens to read every token; the definition of the method."""
    roles = tuple(voice.listens)
    rows = yield tuple(Ask(role) for role in roles)
    said = voice.say({role: found[-1] for role, found in zip(roles, rows, strict=True)})
    assert not isinstance(said, Role), f"the voice listens to {roles}, yet misses {said}"
    return (said,)


SCHEDULES: dict[str, Schedule] = {"lockstep": lockstep}
