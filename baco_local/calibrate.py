"""Measure what the dial means for a pair: how sure its base model is where words start.

Lets the pair write a little and looks on through a router; keeps no file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.resources import files

from baco_local.config import Guards
from baco_local.pair import Job, Pair
from baco_local.routing.base import Route, StepView
from baco_local.routing.dial import Calibration, Observation, observe, thresholds_from
from baco_local.routing.rules import coin, locked, punctuation_lock

__all__ = ["calibrate", "calibration_prompts"]

ENOUGH = 400  # observed word starts after which a slow pair may stop
PATIENCE_S = 20.0  # and how long such a pair is measured at most


def calibration_prompts() -> tuple[str, ...]:
    """Return the prompts that a pair is measured on unless others are given."""
    lines = files("baco_local").joinpath("calibration_prompts.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line.strip())


def calibrate(pair: Pair, prompts: Sequence[str] | None = None, *, n_tokens: int = 40, seed: int = 0) -> Calibration:
    """Return the thresholds at which d/10 of the decisions that no lock takes go to base.

    Half of the open decisions go to each model by a coin, so that the text is a middling mix. A slow pair is measured
    on fewer prompts.
    """
    seen: list[Observation] = []
    toss = locked(punctuation_lock(), coin(0.5))

    def watch(step: StepView) -> Route:
        seen.append(observe(step))
        route = toss(step)
        assert isinstance(route, Route)
        return route

    asked = tuple(prompts or calibration_prompts())
    settings = pair.settings.turn({"router": watch, "diversity": 5, "max_tokens": n_tokens, "guards": Guards()})
    started_s = time.monotonic()
    for first in range(0, len(asked), pair.n_parallel):
        jobs = [Job(prompt=prompt, settings=settings, seed=seed) for prompt in asked[first : first + pair.n_parallel]]
        for _ in pair.interleave(jobs):
            pass
        if len(seen) >= ENOUGH and time.monotonic() - started_s > PATIENCE_S:
            break
    return thresholds_from(seen)
