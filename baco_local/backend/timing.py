"""Measure what decodes take by the number of their tokens, of single models and of several at once; leaves all empty.

Knows no file and no schedule; the numbers are as good as the machine is quiet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TypeAlias, TypeVar

from baco_local.backend.abreast import Abreast
from baco_local.backend.base import Feed, Model

__all__ = ["SIZES", "measure_decodes"]

SIZES = (16, 8, 6, 4, 3, 2, 1)  # tokens of a decode; the first may have to wake threads, the last matters most
LEAST_PASSES, MOST_PASSES = 3, 12
PATIENCE_S = 0.3  # after that, no more passes than the least

Key = TypeVar("Key")
Name = TypeVar("Name")
Points: TypeAlias = "tuple[tuple[int, float], ...]"


def measure_decodes(
    groups: Mapping[Name, Mapping[Key, Model]], n_cores: int, clock: Callable[[], float] = time.perf_counter
) -> dict[Name, Points]:
    """Return (tokens, seconds) for some sizes of a decode, with one row per token, of each group of models.

    Of a group of several: until all of them have read so many tokens each, at the same time or in turns, as they would
    for the engine. What is to be compared is measured in turns, again and again, and the shortest time counts: a slow
    moment of the machine makes no group look worse than another. Sequence 0 of each model must be empty.
    """
    found: dict[Name, dict[int, float]] = {name: {} for name in groups}
    spent_s = 0.0
    for n_passes in range(MOST_PASSES):
        if n_passes >= LEAST_PASSES and spent_s > PATIENCE_S:
            break
        for name, models in groups.items():
            least = found[name]
            for n, took_s in _one_pass(models, n_cores, clock):
                least[n] = min(took_s, least.get(n, took_s))
                spent_s += took_s
    return {name: _sensible(least) for name, least in found.items()}


def _one_pass(models: Mapping[Key, Model], n_cores: int, clock: Callable[[], float]) -> Iterator[tuple[int, float]]:
    """Yield (tokens, seconds) of a decode of each size, from an empty context on.

    No two of one size follow each other, so llama.cpp plans each anew, as it must for a model that reads now one token
    and now three: for `tales` alone that is 0.4 ms more than the same decode again and again.
    """
    sizes = [n for n in SIZES if all(n <= min(model.n_batch, model.n_ctx // 4) for model in models.values())]
    abreast = Abreast(models, n_cores)
    try:
        for n in sizes or [1]:
            _empty(models.values())
            jobs = {
                key: partial(model.feed, [Feed(0, 0, [(7 * i) % len(model.vocab) for i in range(n)], n)])
                for key, model in models.items()
            }
            started_s = clock()
            abreast.run(jobs)
            yield n, clock() - started_s
    finally:
        abreast.close()
        _empty(models.values())


def _sensible(least: Mapping[int, float]) -> Points:
    """Put sizes in order; none costs more than its tokens one by one.

    Three may cost more than four, for kernels differ; but the last two are what larger ones are judged by.
    """
    points = [(n, min(took_s, n * least[1])) for n, took_s in sorted(least.items())]
    points[-1] = points[-1][0], max(took_s for _, took_s in points[-2:])
    return tuple(points)


def _empty(models: Iterable[Model]) -> None:
    for model in models:
        model.rewind(0, 0)
