"""Speculative decoding at an acceptance that is imposed: the decodes of the drafter are real, its guesses are not.

Random weights agree on nothing, so what a trained drafter would guess is taken from the answer that lockstep has
written; a guess is spoilt with a set chance. The text stays lockstep's, which is checked.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    pair: baco.Pair,
    bare: Bare,
    acceptances: Sequence[float],
    lengths: Sequence[int],
    n_tokens: int,
    knobs: dict[str, Any],
    n_runs: int,
) -> list[dict[str, Any]]:
    """Measure drafts of some lengths at some acceptances, each run beside lockstep and S, P-PUNC at d = 5."""
    shared = {"max_tokens": n_tokens, "ignore_end": True, "guards": baco.Guards(loops=False), "diversity": 5.0, **knobs}
    n_prompt = len(pair.prompt_ids(PROMPT)[baco.Role.ALIGNED])
    rows = []
    for acceptance, length in itertools.product(acceptances, lengths):
        drafted = {"schedule": ScheduleName.SPECULATIVE, "drafter": DrafterName.MODEL, "draft_max": length}
        gains, shares, drafters = [], [], []
        for run in range(n_runs):
            limit = bare.tokens_per_s(n_tokens)
            plain, plain_s = timed(pair, {**shared, "schedule": ScheduleName.LOCKSTEP}, run)
            told = [token.id for token in plain.tokens]
            drafters.append(Imposed(told, n_prompt, acceptance, random.Random(run)))
            with in_place_of_the_draft_model(drafters[-1]):
                guessed, guessed_s = timed(pair, {**shared, **drafted}, run)
            if [token.id for token in guessed.tokens] != told:
                print("the drafted answer is not lockstep's; rows of batches differ in their last digits")
            gains.append(plain_s / guessed_s)
            shares.append((n_tokens - 1) / guessed_s / limit)
        n_guessed, n_right = (sum(each) for each in zip(*((d.n_guessed, d.n_right) for d in drafters), strict=True))
        rows.append(
            {
                "acceptance": f"{acceptance:g} ({n_right / max(1, n_guessed):.2f} drawn)",
                "guesses at most": length,
                "x lockstep": spread(gains),
                "x S": spread(shares),
                "guesses/token": f"{n_guessed / (n_runs * n_tokens):.2f}",
            }
        )
    return rows


@contextmanager
def in_place_of_the_draft_model(drafter: Imposed) -> Iterator[None]:
    """Let a drafter guess wherever the draft model would."""
    own, DRAFTERS[DrafterName.MODEL] = DRAFTERS[DrafterName.MODEL], drafter
    try:
        yield
    finally:
        DRAFTERS[DrafterName.MODEL] = own


def timed(pair: baco.Pair, knobs: dict[str, Any], seed: int) -> tuple[Answer, float]:
    """Return an answer, and the seconds from its first token to its last."""
    stream = pair.stream(PROMPT, settings=pair.settings.turn(knobs), seed=seed)
    next(stream)
    started_s = time.perf_counter()
    for _ in stream:
        pass
    return stream.answer, time.perf_counter() - started_s
