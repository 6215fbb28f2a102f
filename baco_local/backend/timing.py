"""Measure what decodes take by the number of their tokens, of one model or of several at once; leaves models empty.

Knows no file and no schedule; the numbers are as good as the machine is quiet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from baco_local.backend.abreast import Abreast
from baco_local.backend.base import Feed, Model

__all__ = ["measure_decodes"]

SIZES = (1, 2, 4, 8, 16)  # tokens of a decode
PATIENCE_S = 0.05  # decodes that take longer in all are measured three times only; the shortest counts
MOST_RUNS = 8
Key = TypeVar("Key")


def measure_decodes(
    models: Mapping[Key, Model], n_cores: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[tuple[int, float], ...]:
    """Return (tokens, seconds) for some sizes of a decode, with one row per token.

    Of several models: until all of them have read so many tokens each, at the same time or in turns, as they would for
    the engine. Sequence 0 of each must be empty.
    """
    sizes = [n for n in SIZES if all(n <= min(model.n_batch, model.n_ctx // 4) for model in models.values())]
    found: list[tuple[int, float]] = []
    abreast = Abreast(models, n_cores)
    try:
        for n in sizes or [1]:
            least = min(_runs(models, abreast, n, clock))
            if found:  # whatever else this machine is doing: more tokens cost no less, and no more than one by one
                least = min(max(least, found[-1][1]), n * found[0][1])
            found.append((n, least))
    finally:
        abreast.close()
        _empty(models)
    return tuple(found)


def _runs(
    models: Mapping[Key, Model], abreast: Abreast[Key], n_tokens: int, clock: Callable[[], float]
) -> Iterator[float]:
    """Yield the seconds of several decodes of equal size, each after the same beginning where that can be had."""
    _empty(models)
    spent_s, position = 0.0, 0
    for run in range(MOST_RUNS):
        if any(position + n_tokens > model.n_ctx for model in models.values()) or (run > 2 and spent_s > PATIENCE_S):
            return
        jobs = {
            key: partial(
                model.feed, [Feed(0, position, [(7 * i) % len(model.vocab) for i in range(n_tokens)], n_tokens)]
            )
            for key, model in models.items()
        }
        started_s = clock()
        abreast.run(jobs)
        took_s = clock() - started_s
        spent_s, position = spent_s + took_s, position + n_tokens
        if run or n_tokens > 1:  # the very first decode warms up
            yield took_s


def _empty(models: Mapping[Key, Model]) -> None:
    for model in models.values():
        model.rewind(0, 0)
