"""Measure what a decode of a model takes by the number of its tokens; leaves the model as empty as it was.

Knows no file and no schedule; the numbers are as good as the machine is quiet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from baco_local.backend.base import Feed, Model

__all__ = ["measure_decodes"]

SIZES = (1, 2, 4, 8, 16)  # tokens of a decode
PATIENCE_S = 0.05  # a decode that takes longer is measured once, after one to warm up
MOST_RUNS = 8


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
