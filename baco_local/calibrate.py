"""Measure what the dial means for a pair: how sure its base model is where words start.

Lets the pair write a little and looks on through a router; keeps no file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.resources import files

from baco_local.config import ScheduleName
from baco_local.pair import Job, Pair
from baco_local.routing.base import Route, Router, StepView, as_route
from baco_local.routing.dial import ROUTERS, Calibration, LockName, Observation, joined, observe, thresholds_from
from baco_local.routing.rules import coin, locked, punctuation_lock

__all__ = ["calibrate", "calibration_prompts"]

ENOUGH = 400  # observed word starts after which a slow pair may stop
PATIENCE_S = 20.0  # and how long such a pair is measured at most
REFINED_AT = (2.0, 4.0, 6.0, 8.0)  # what is written at these dials is measured on its own
N_ROUNDS = 2  # each starts from the thresholds of the one before
WATCHED = {LockName.NONE: "P", LockName.PUNC: "P-PUNC", LockName.FC: "P-FC"}  # who writes while a lock is measured


def calibration_prompts() -> tuple[str, ...]:
    """Return the prompts that a pair is measured on unless others are given."""
    lines = files("baco_local").joinpath("calibration_prompts.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line.strip())


def calibrate(
    pair: Pair,
    prompts: Sequence[str] | None = None,
    *,
    n_tokens: int = 60,
    seed: int = 0,
    patience_s: float = PATIENCE_S,
) -> Calibration:
    """Return the thresholds at which d/10 of the decisions that no lock takes go to base.

    First a coin gives half of the open decisions to each model. But how sure base is depends on who wrote the text so
    far; so, if that is likely to fit into twice the patience, every lock is then measured on what its router writes
    at several dials.
    """
    asked = tuple(prompts or calibration_prompts())
    started_s = time.monotonic()
    first = thresholds_from(_watch(pair, locked(punctuation_lock(), coin(0.5)), asked, n_tokens, seed, patience_s))
    if (time.monotonic() - started_s) * len(REFINED_AT) * len(WATCHED) * N_ROUNDS > 2 * patience_s:
        return first
    calibration = first
    for _ in range(N_ROUNDS):
        calibration = joined(
            {
                lock: {
                    d: thresholds_from(
                        _watch(pair, ROUTERS[name].at(d, calibration), asked, n_tokens, seed, patience_s)
                    )
                    for d in REFINED_AT
                }
                for lock, name in WATCHED.items()
            }
        )
    return calibration


def _watch(
    pair: Pair, router: Router, prompts: Sequence[str], n_tokens: int, seed: int, patience_s: float
) -> list[Observation]:
    """Let a router write the beginning of some answers, and return what was seen wherever it was asked."""
    seen: list[Observation] = []

    def watch(step: StepView) -> Route:
        seen.append(observe(step))
        return as_route(router(step), step.position)

    turned = {"router": watch, "diversity": 5, "threshold": None, "max_tokens": n_tokens}
    settings = pair.settings.turn(turned | {"schedule": ScheduleName.LOCKSTEP})  # both rows are looked at anyway
    started_s = time.monotonic()
    for first in range(0, len(prompts), pair.n_parallel):
        places = range(first, min(first + pair.n_parallel, len(prompts)))
        # every prompt is a sample of its own: with the same noise, a pair with few ideas would tell one story only
        for _ in pair.interleave([Job(prompt=prompts[i], settings=settings, seed=seed, sample=i) for i in places]):
            pass
        if len(seen) >= ENOUGH and time.monotonic() - started_s > patience_s:
            break
    return seen
