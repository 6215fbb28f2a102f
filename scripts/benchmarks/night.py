"""Measure a night's work: many prompts with some samples each, one answer at a time and many together.

Answers have their natural lengths and prompts are read, so this is what ``baco batch`` takes, writing apart. It is put
beside what the decodes of both models alone would allow at full company.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import baco_local as baco
from baco_local.backend.machine import cores_each, usable_cores
from baco_local.batch.items import Item, Row, items_of
from baco_local.batch.runner import run
from baco_local.batch.team import Team
from baco_local.batch.worker import Wishes, Worker
from baco_local.calibrate import calibration_prompts
from baco_local.text.chat import Message
from benchmarks.bare import Bare
from benchmarks.clock import spread

__all__ = ["night"]

N_DECODES = 60  # of each model, for the limit
N_READ = 96  # tokens before them, so that attention has as much to do as in the middle of an answer
LONGEST = 350  # tokens of an answer


def night(
    files: tuple[Path, Path],
    bare: baco.LoadOptions,
    options: baco.LoadOptions,
    args: argparse.Namespace,
    knobs: dict[str, Any],
) -> list[dict[str, Any]]:
    """Return one row per company: who writes how many answers at once, the speed, its ratios to one and to the limit.

    Args:
        files: base and aligned.
        bare: with the threads that suit one model alone.
        options: as baco chooses.
        args: how many prompts, samples, answers together, workers and runs.
        knobs: settings of all answers.

    """
    companies = [(1, 1), *((n_workers, n) for n in args.together for n_workers in args.workers)]
    speeds: dict[tuple[int, int], list[float]] = {company: [] for company in companies}
    allowed: dict[int, list[float]] = {n: [] for _, n in companies}
    prompts = (calibration_prompts() * args.prompts)[: args.prompts]
    rows = [Row(line=i, id=str(i), messages=(Message("user", prompt),)) for i, prompt in enumerate(prompts)]
    for seed in range(args.runs):
        for n, limits in allowed.items():
            limits.append(_allowed(files, bare, n))
        items = list(items_of(rows, seed=seed, n_samples=args.each))
        for (n_workers, n), found in speeds.items():
            found.append(_speed(files, options, n_workers, n, items, knobs))
    return [
        {
            "workers": n_workers,
            "together": n,
            "tok/s": spread(found),
            "x one at a time": spread([a / b for a, b in zip(found, speeds[1, 1], strict=True)]),
            "limit, tok/s": spread(allowed[n]),
            "x limit": spread([a / b for a, b in zip(found, allowed[n], strict=True)]),
        }
        for (n_workers, n), found in speeds.items()
    ]


def _speed(
    files: tuple[Path, Path],
    options: baco.LoadOptions,
    n_workers: int,
    n: int,
    items: list[Item],
    knobs: dict[str, Any],
) -> float:
    """Return the tokens per second of some workers with n answers at once each, prompts included."""
    if n_workers > 1:
        options = dataclasses.replace(options, threads=cores_each(n_workers, usable_cores()))
    with ExitStack() as opened:
        pairs = [
            opened.enter_context(baco.load(base=files[0], aligned=files[1], options=options, n_parallel=n))
            for _ in range(n_workers)
        ]
        wishes = Wishes(settings=pairs[0].settings.turn({"max_tokens": LONGEST, **knobs}))
        team = opened.enter_context(Team([Worker(pair, wishes) for pair in pairs]))
        team.prepare()
        started_s = time.perf_counter()
        run(items, team, lambda _outcome: None)
        return team.figures().n_tokens / (time.perf_counter() - started_s)


def _allowed(files: tuple[Path, Path], options: baco.LoadOptions, n: int) -> float:
    """Return the tokens per second that two bare decodes of n sequences allow, in turns or at the same time."""
    turns = [Bare(file, options, n) for file in files]
    in_turns_s: float = sum(one.cost_of_sequences(n, N_DECODES, N_READ) for one in turns)
    for one in turns:
        one.close()
    halves = [Bare(file, baco.LoadOptions(threads=1, ctx_size=options.ctx_size), n) for file in files]
    with ThreadPoolExecutor(len(halves)) as pool:
        at_once_s: float = max(pool.map(lambda one: one.cost_of_sequences(n, N_DECODES, N_READ), halves))
    for one in halves:
        one.close()
    return n / min(in_turns_s, at_once_s)
