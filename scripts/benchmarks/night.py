"""Measure a night's work: many prompts with some samples each, one sequence at a time and many together.

Answers have their natural lengths and prompts are read, so this is what ``baco batch`` takes, writing apart. It is put
beside what the decodes of both models alone would allow at full company.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import baco_local as baco
from baco_local.calibrate import calibration_prompts
from benchmarks.bare import Bare
from benchmarks.clock import spread

__all__ = ["night"]

N_DECODES = 60  # of each model, for the limit
N_READ = 96  # tokens before them, so that attention has as much to do as in the middle of an answer


def night(
    files: tuple[Path, Path],
    bare: baco.LoadOptions,
    options: baco.LoadOptions,
    args: argparse.Namespace,
    knobs: dict[str, Any],
) -> list[dict[str, Any]]:
    """Return one row per company: how many answers decode together, their speed, its ratios to one and to the limit.

    Args:
        files: base and aligned.
        bare: with the threads that suit one model alone.
        options: as baco chooses.
        args: how many prompts, samples, answers together and runs.
        knobs: settings of all answers.

    """
    speeds: dict[int, list[float]] = {n: [] for n in (1, *args.together)}
    allowed: dict[int, list[float]] = {n: [] for n in speeds}
    prompts = (calibration_prompts() * args.prompts)[: args.prompts]
    for run in range(args.runs):
        for n in speeds:
            allowed[n].append(_allowed(files, bare, n))
            with baco.load(base=files[0], aligned=files[1], options=options, n_parallel=n) as pair:
                speeds[n].append(_speed(pair, prompts, args.each, knobs, run))
    return [
        {
            "together": n,
            "tok/s": spread(found),
            "x one at a time": spread([a / b for a, b in zip(found, speeds[1], strict=True)]),
            "limit, tok/s": spread(allowed[n]),
            "x limit": spread([a / b for a, b in zip(found, allowed[n], strict=True)]),
        }
        for n, found in speeds.items()
    ]


def _speed(pair: baco.Pair, prompts: tuple[str, ...], n_each: int, knobs: dict[str, Any], seed: int) -> float:
    """Return the tokens per second of all answers together, prompts included."""
    settings = pair.settings.turn({"max_tokens": 350, **knobs})
    jobs = [
        baco.Job(prompt=prompt, settings=settings, seed=seed, sample=k) for prompt in prompts for k in range(n_each)
    ]
    started_s = time.perf_counter()
    n_tokens = sum(1 for _ in pair.interleave(jobs))
    return n_tokens / (time.perf_counter() - started_s)


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
