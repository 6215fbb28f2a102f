"""Let models read at the same time, each on its share of the cores; where that cannot pay, one after the other.

Two small models wait for memory and for each other's threads most of the time; side by side they fill what one leaves
idle. Knows no sequence and no row: a job is whatever ends when its model has read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

from baco_local.backend.base import Model

__all__ = ["Abreast"]

Key = TypeVar("Key")
Result = TypeVar("Result")


class Abreast(Generic[Key]):
    """Does one job on each of some models; each job runs in one thread, and no model is in two jobs at once."""

    def __init__(self, models: Mapping[Key, Model], n_cores: int) -> None:
        """Take the models, and how many cores they may keep busy together; with 1 they take turns."""
        self._models, self._n_cores = models, n_cores
        self._pool: ThreadPoolExecutor | None = None

    def pays(self, keys: Collection[Key]) -> bool:
        """Return whether these models read at the same time: each has a core, and none computes elsewhere."""
        return 1 < len(keys) <= self._n_cores and all(self._models[key].n_threads for key in keys)

    def run(self, jobs: Mapping[Key, Callable[[], Result]]) -> dict[Key, Result]:
        """Return what the jobs give; an error is raised when all of them have ended."""
        together = self.pays(jobs)
        for key in jobs:
            self._models[key].use_threads(self._n_cores // len(jobs) if together else self._n_cores)
        if not together:
            return {key: job() for key, job in jobs.items()}
        (own, first), *others = jobs.items()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._n_cores - 1, "reader")
        begun = {key: self._pool.submit(job) for key, job in others}
        try:
            found = {own: first()}
        finally:
            _end(begun.values())
        found |= {key: future.result() for key, future in begun.items()}
        return {key: found[key] for key in jobs}

    def close(self) -> None:
        """Let go of the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def _end(begun: Collection[Future[Any]]) -> None:
    """Wait for all jobs, whatever the user presses: nobody may touch a model that reads."""
    pressed: KeyboardInterrupt | None = None
    while any(not future.done() for future in begun):
        try:
            wait(begun)
        except KeyboardInterrupt as interrupt:
            pressed = interrupt
    if pressed is not None:
        raise pressed
