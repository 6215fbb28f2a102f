"""Measure the program itself: every schedule, router, dial and number of answers, each run beside S."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

import baco_local as baco
from baco_local.config import ScheduleName
from benchmarks.bare import PROMPT, Bare
from benchmarks.clock import DecodeClock, spread

__all__ = ["Measure", "Setting", "compared", "decode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one row of the table was measured with."""

    samples: int
    router: str
    diversity: float
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What one run of one setting took."""

    tokens_per_s: float
    outside: float  # share of the wall time outside llama_decode
    first_token_s: float
    decodes_per_token: float  # decodes that an answer took part in, of both models, per token: 2 in lockstep
    base_share: float


def decode(pair: baco.Pair, setting: Setting, n_tokens: int, knobs: dict[str, Any], seed: int) -> Measure:
    """Write some answers together, and measure from the first token on."""
    chosen = {"router": setting.router, "diversity": setting.diversity, "schedule": ScheduleName(setting.schedule)}
    settings = pair.settings.turn(
        {"max_tokens": n_tokens, "ignore_end": True, "guards": baco.Guards(loops=False), **knobs, **chosen}
    )
    jobs = [baco.Job(prompt=PROMPT, settings=settings, seed=seed, sample=k) for k in range(setting.samples)]
    with DecodeClock() as clock:
        stream = pair.interleave(jobs)
        began_s = time.perf_counter()
        answers = {id(first): first for first, _ in (next(stream),)}
        first_s = time.perf_counter()
        clock.spent_s, n = 0.0, 0
        for each, _ in stream:
            answers.setdefault(id(each), each)
            n += 1
        wall_s = time.perf_counter() - first_s
    told = [stream.answer for stream in answers.values()]
    n_decodes = sum(n for answer in told for n in answer.usage.n_decodes.values())
    n_said = sum(len(answer.tokens) for answer in told)
    return Measure(
        tokens_per_s=n / wall_s,
        outside=1 - clock.spent_s / wall_s,
        first_token_s=first_s - began_s,
        decodes_per_token=n_decodes / max(1, n_said),
        base_share=statistics.mean(answer.base_share for answer in told),
    )


def compared(
    pair: baco.Pair, bare: Bare, settings: list[Setting], n_tokens: int, knobs: dict[str, Any], n_runs: int
) -> list[dict[str, Any]]:
    """Measure settings of one batch size in turns, each run beside S."""
    found: dict[Setting, list[tuple[Measure, float]]] = {setting: [] for setting in settings}
    decode(pair, settings[0], 8, knobs, 0)  # warm
    for run in range(n_runs):
        for setting in settings:
            limit = bare.tokens_per_s(n_tokens)
            found[setting].append((decode(pair, setting, n_tokens, knobs, run), limit))
    lockstep = {
        (s.router, s.diversity): statistics.median(m.tokens_per_s for m, _ in runs)
        for s, runs in found.items()
        if s.schedule == ScheduleName.LOCKSTEP
    }
    rows = []
    for s, runs in found.items():
        rows.append(
            {
                "N": s.samples,
                "router": s.router,
                "d": f"{s.diversity:g}",
                "schedule": s.schedule,
                "tok/s": spread([m.tokens_per_s for m, _ in runs]),
                "x S": spread([m.tokens_per_s / limit for m, limit in runs]),
                "x lockstep": spread(
                    [m.tokens_per_s / lockstep.get((s.router, s.diversity), math.nan) for m, _ in runs]
                ),
                "outside": spread([m.outside for m, _ in runs]),
                "decodes/token": spread([m.decodes_per_token for m, _ in runs]),
                "base share": spread([m.base_share for m, _ in runs]),
                "first token s": spread([m.first_token_s for m, _ in runs]),
            }
        )
    return rows
