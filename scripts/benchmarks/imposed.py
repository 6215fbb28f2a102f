"""Speculative decoding at an acceptance that is imposed: the decodes of the drafter are real, its guesses are not.

Random weights agree on nothing, so what a trained drafter would guess is taken from the answer that lockstep has
written; a guess is spoilt with a set chance. The text stays lockstep's, which is checked.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import baco_local as baco
from baco_local.config import DrafterName, ScheduleName
from baco_local.engine.answer import Answer
from baco_local.scheduling.base import Ask, Foresight, Helper
from baco_local.scheduling.choice import DRAFTERS
from baco_local.scheduling.drafting import Draft, Drafting
from benchmarks.bare import PROMPT, Bare
from benchmarks.clock import spread

__all__ = ["Imposed", "imposed"]


@dataclass(slots=True)
class Imposed:
    """A drafter that knows the answer, and is wrong as often as it is told to be."""

    told: Sequence[int]  # the answer
    n_prompt: int
    acceptance: float
    dice: random.Random
    n_guessed: int = 0
    n_right: int = 0

    def __call__(self, foresight: Foresight, n_most: int) -> Drafting:
        """Read as a drafter does, and guess what was told."""
        ids: tuple[int, ...] = ()
        start = len(foresight.known) - self.n_prompt
        for place in range(start, min(start + n_most, len(self.told))):
            ((row,),) = yield (Ask(Helper.DRAFT, ids),)
            foresight.guess(row)  # for what it costs
            right = self.dice.random() < self.acceptance
            self.n_guessed, self.n_right = self.n_guessed + 1, self.n_right + right
            ids = (*ids, self.told[place] if right else self.told[place] + 1)
        return Draft(ids)


def imposed(
    pair: baco.Pair, bare: Bare, acceptances: Sequence[float], lengths: Sequence[int], n_tokens: int, n_runs: int
) -> list[dict[str, Any]]:
    """Measure drafts of some lengths at some acceptances, each run beside lockstep and S, P-PUNC at d = 5."""
    shared = {"max_tokens": n_tokens, "ignore_end": True, "guards": baco.Guards(loops=False), "diversity": 5.0}
    rows = []
    for acceptance in acceptances:
        for length in lengths:
            gains, shares = [], []
            drafter: Imposed | None = None
            for run in range(n_runs):
                limit = bare.tokens_per_s(n_tokens)
                plain, plain_s = timed(pair, {**shared, "schedule": ScheduleName.LOCKSTEP}, run)
                n_prompt = len(pair.prompt_ids(PROMPT)[baco.Role.ALIGNED])
                drafter = Imposed([t.id for t in plain.tokens], n_prompt, acceptance, random.Random(run))
                own, DRAFTERS[DrafterName.MODEL] = DRAFTERS[DrafterName.MODEL], drafter
                knobs = {"schedule": ScheduleName.SPECULATIVE, "drafter": DrafterName.MODEL, "draft_max": length}
                guessed, guessed_s = timed(pair, {**shared, **knobs}, run)
                DRAFTERS[DrafterName.MODEL] = own
                if [t.id for t in guessed.tokens] != [t.id for t in plain.tokens]:
                    print("the drafted answer is not lockstep's; rows of batches differ in their last digits")
                gains.append(plain_s / guessed_s)
                shares.append((n_tokens - 1) / guessed_s / limit)
            assert drafter is not None
            rows.append(
                {
                    "acceptance": f"{acceptance:g} ({drafter.n_right / max(1, drafter.n_guessed):.2f} drawn)",
                    "guesses at most": length,
                    "x lockstep": spread(gains),
                    "x S": spread(shares),
                    "guesses/token": f"{statistics.mean([drafter.n_guessed / n_tokens]):.2f}",
                }
            )
    return rows


def timed(pair: baco.Pair, knobs: dict[str, Any], seed: int) -> tuple[Answer, float]:
    """Return an answer, and the seconds from its first token to its last."""
    stream = pair.stream(PROMPT, settings=pair.settings.turn(knobs), seed=seed)
    next(stream)
    started_s = time.perf_counter()
    for _ in stream:
        pass
    return stream.answer, time.perf_counter() - started_s
