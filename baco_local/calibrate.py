"""Measure what the dial means for a pair: how sure its base model is where words start.

Lets the pair write a little and looks on through a router; keeps no file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.resources import files

from baco_local.pair import Job, Pair
from baco_local.routing.base import Route, Router, StepView, as_route
from baco_local.routing.dial import (
    ROUTERS,
    Calibration,
    LockName,
    Observation,
    joined,
    midway,
    observe,
    thresholds_from,
)
from baco_local.routing.rules import coin, locked, punctuation_lock

__all__ = ["calibrate", "calibration_prompts"]

ENOUGH = 400  # observed word starts after which a slow pair may stop
PATIENCE_S = 20.0  # and how long such a pair is measured at most
REFINED_AT = (2.0, 4.0, 6.0, 8.0)  # what is written at these dials is measured on its own
N_ROUNDS = 3  # each goes half the way from the thresholds of the one before, for those change what is written
WATCHED = {LockName.NONE: "P", LockName.PUNC: "P-PUNC", LockName.FC: "P-FC"}  # who writes while a lock is measured


def calibration_prompts() -> tuple[str, ...]:
    """Return the prompts that a pair is measured on unless others are given."""
    lines = files("baco_local").joinpath("calibration_prompts.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line.strip())


def calibrate(
    pair: Pair,
    prompts: Sequence[str] | None = None,
    *,
    n_tokens: int = 70,
    n_samples: int = 1,
    seed: int = 0,
    patience_s: float = PATIENCE_S,
) -> Calibration:
    """Return the thresholds at which d/10 of the decisions that no lock takes go to base.

    First a coin gives half of the open decisions to each model. But how sure base is depends on who wrote the text so
    far; so, if that is likely to fit into twice the patience, every lock is then measured on what its router writes
    at several dials.

    Args:
        pair: what is measured.
        prompts: what it is asked; None = a list of our own.
        n_tokens: how much of every answer is looked at.
        n_samples: answers to each prompt; more of them tell more of a pair that has many ideas.
        seed: of the answers.
        patience_s: a pair that takes longer is measured on less.

    """
    asked = n_samples * tuple(prompts or calibration_prompts())

    def watch(router: Router) -> Calibration:
        return thresholds_from(_watch(pair, router, asked, n_tokens, seed, patience_s))

    started_s = time.monotonic()
    calibration = watch(locked(punctuation_lock(), coin(0.5)))
    if (time.monotonic() - started_s) * len(REFINED_AT) * len(WATCHED) * N_ROUNDS > 2 * patience_s:
        return calibration
    for number in range(N_ROUNDS):
        fresh = joined(
            {lock: {d: watch(ROUTERS[name].at(d, calibration)) for d in REFINED_AT} for lock, name in WATCHED.items()}
        )
        calibration = midway(calibration, fresh) if number else fresh
    return calibration


def _watch(
    pair: Pair, router: Router, prompts: Sequence[str], n_tokens: int, seed: int, patience_s: float
) -> list[Observation]:
    """Let a router write the beginning of some answers, and return what was seen wherever it was asked."""
    seen: list[Observation] = []

    def watch(step: StepView) -> Route:
        seen.append(observe(step))
        return as_route(router(step), step.position)

    settings = pair.settings.turn({"router": watch, "diversity": 5, "threshold": None, "max_tokens": n_tokens})
    started_s = time.monotonic()
    for first in range(0, len(prompts), pair.n_parallel):
        places = range(first, min(first + pair.n_parallel, len(prompts)))
        # every answer is a sample of its own: with the same noise, a pair with few ideas would tell one story only
        for _ in pair.interleave([Job(prompt=prompts[i], settings=settings, seed=seed, sample=i) for i in places]):
            pass
        if len(seen) >= ENOUGH and time.monotonic() - started_s > patience_s:
            break
    return seen
