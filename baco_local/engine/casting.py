"""Which voice answers under which settings: the one place where names and dials become policies.

Builds voices; decodes nothing and knows no model.
"""

from __future__ import annotations

from collections.abc import Callable

from baco_local.engine.sequence import Sequence
from baco_local.engine.voice import BlendVoice, LoopVoice, SoloVoice, SwitchVoice
from baco_local.errors import UsageError
from baco_local.routing.blends import Blend
from baco_local.routing.dial import ROUTERS, Calibration, Dial, dial_of, find_router
from baco_local.routing.rules import Signals
from baco_local.sampling.sampler import Sampler
from baco_local.scheduling.base import Loop, Voice
from baco_local.settings import Settings
from baco_local.types import Role

__all__ = ["cast"]


def cast(
    sequence: Sequence, sampler: Sampler, settings: Settings, calibration: Callable[[], Calibration | None]
) -> Voice:
    """Return the voice for one answer.

    Args:
        sequence: the answer it speaks in.
        sampler: how both sides draw.
        settings: router, dial or threshold.
        calibration: what the dial means for this pair; called only if the router reads it.

    Raises:
        UsageError: there is no such router, or it has no such threshold.

    """
    decode = settings.decode
    if decode.threshold is None and decode.diversity in (0, 10):
        return SoloVoice(sequence, sampler, Role.BASE if decode.diversity else Role.ALIGNED)
    if settings.loop is not None:
        threshold = 1 - decode.diversity / 10 if decode.threshold is None else decode.threshold
        return LoopVoice(sequence, sampler, settings.loop, threshold)
    blend = settings.blend
    if blend is not None:
        weight = decode.diversity / 10 if decode.threshold is None else decode.threshold
        if not blend.least <= weight <= 1:
            raise UsageError(f"the threshold is {weight}; {blend.name} takes a weight from {blend.least:g} to 1")
        return BlendVoice(sequence, sampler, blend, weight)
    dial = find_dial(settings)
    signals = Signals(decode.content_from, decode.uncertainty)
    if decode.threshold is not None:
        router = dial.at_threshold(decode.threshold, signals)
    else:
        router = dial.at(decode.diversity, calibration() if dial.calibrated else None, signals)
    return SwitchVoice(sequence, sampler, router, in_steps=ROUTERS.get(dial.name) is dial)


def find_dial(settings: Settings) -> Dial:
    """Return the dial of a named router, or of the user's own callable."""
    own = settings.router
    assert not isinstance(own, Blend | Loop), "a soft mix and a loop have no dial of a router"
    return find_router(settings.decode.router) if own is None else dial_of(own, "own")
