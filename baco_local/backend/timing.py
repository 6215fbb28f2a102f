"""Measure what decodes take: by the number of their tokens, and of two models at once; leaves models empty.

Knows no file and no schedule; the numbers are as good as the machine is quiet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from baco_local.backend.abreast import Abreast
from baco_local.backend.base import Feed, Model

__all__ = ["measure_decodes", "measure_overlap"]

SIZES = (1, 2, 4, 8, 16)  # tokens of a decode
PATIENCE_S = 0.05  # a decode that takes longer is measured once, after one to warm up
MOST_RUNS = 8
Key = TypeVar("Key")


def measure_decodes(model: Model, clock: Callable[[], float] = time.perf_counter) -> tuple[tuple[int, float], ...]:
    """Return (tokens, seconds) for some sizes of a decode with one row per token; sequence 0 must be empty."""
    sizes = [n for n in SIZES if n <= min(model.n_batch, model.n_ctx // 4)]
    found: list[tuple[int, float]] = []
    try:
        for n in sizes or [1]:
            least = min(_runs(model, n, clock))
            if found:  # whatever else this machine is doing: more tokens cost no less, and no more than one by one
                least = min(max(least, found[-1][1]), n * found[0][1])
            found.append((n, least))
    finally:
        model.rewind(0, 0)
    return tuple(found)


def _runs(model: Model, n_tokens: int, clock: Callable[[], float]) -> Iterator[float]:
    """Yield the seconds of several decodes of equal size, each after the same beginning where that can be had."""
    model.rewind(0, 0)
    spent_s, position = 0.0, 0
    for run in range(MOST_RUNS):
        if position + n_tokens > model.n_ctx or (run > 1 and spent_s > PATIENCE_S):
            return
        feed = Feed(0, position, [(7 * i) % len(model.vocab) for i in range(n_tokens)], n_tokens)
        started_s = clock()
        model.feed([feed])
        took_s = clock() - started_s
        spent_s, position = spent_s + took_s, position + n_tokens
        if run or n_tokens > 1:  # the very first decode warms up
            yield took_s


def measure_overlap(models: Mapping[Key, Model], n_cores: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return what a token of all models takes when they read as they will, in parts of what it takes one by one.

    1.0 = they take turns; 0.5 = two models in the time of one. Sequence 0 of each must be empty.
    """
    abreast = Abreast(models, n_cores)
    if not abreast.pays(models):
        return 1.0
    jobs = {key: partial(model.feed, [Feed(0, 0, (0,))]) for key, model in models.items()}
    runs = {True: [jobs], False: [{key: job} for key, job in jobs.items()]}  # at once, and one by one
    took_s: dict[bool, list[float]] = {True: [], False: []}
    try:
        for _ in range(MOST_RUNS):
            for at_once, parts in runs.items():
                for model in models.values():
                    model.rewind(0, 0)
                started_s = clock()
                for part in parts:
                    abreast.run(part)
                took_s[at_once].append(clock() - started_s)
            if len(took_s[True]) > 2 and sum(took_s[True]) > PATIENCE_S:
                break
    finally:
        abreast.close()
        for model in models.values():
            model.rewind(0, 0)
    return min(took_s[True]) / min(took_s[False])
