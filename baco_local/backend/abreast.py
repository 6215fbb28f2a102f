"""Let models read at the same time, each on its share of the cores; where that cannot pay, one after the other.

Two small models wait for memory and for each other's threads most of the time; side by side they fill what one leaves
idle. Knows no sequence and no row: a job is whatever ends when its model has read.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Mapping
from queue import SimpleQueue
from threading import Lock, Thread
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
        self._hands: list[_Hand] = []

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
        while len(self._hands) < len(others):
            self._hands.append(_Hand())
        begun = {key: _Job(job) for key, job in others}
        try:
            for hand, job in zip(self._hands, begun.values(), strict=False):
                hand.take(job)
            found = {own: first()}
        except BaseException:
            for job in begun.values():
                job.call_off()  # one that was not handed over yet would never end
            raise
        finally:
            _await(begun.values())
        return found | {key: job.result() for key, job in begun.items()}

    def close(self) -> None:
        """Let go of the threads, when they have done what they were given."""
        while self._hands:
            self._hands.pop().close()


class _Job(Generic[Result]):
    """Something that one thread does, at most once, and another one waits for."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._claimed, self._running = Lock(), Lock()
        self._running.acquire()
        self._outcome: tuple[Result | None, BaseException | None] | None = None

    def do(self) -> None:
        """Do it, unless it was called off."""
        if not self._claimed.acquire(blocking=False):
            return
        try:
            self._outcome = self._call(), None
        except BaseException as error:  # noqa: BLE001 - for whoever waits
            self._outcome = None, error
        del self._call  # and whatever it holds on to
        self._running.release()

    def call_off(self) -> None:
        """Let it never begin, if it has not begun."""
        if self._claimed.acquire(blocking=False):
            self._outcome = None, None

    def wait(self) -> None:
        """Wait until it has ended; may be interrupted, and called again."""
        while self._outcome is None:
            self._running.acquire()

    def result(self) -> Any:
        """Return what it gave, or raise what it raised."""
        assert self._outcome is not None, "not ended yet"
        result, error = self._outcome
        if error is not None:
            raise error
        return result


class _Hand:
    """A thread that does one job after the other; a future for each would cost more than a tiny model's decode."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._last: _Job[Any] | None = None
        self.close: Callable[[], object] = weakref.finalize(self, self._jobs.put, None)  # also if it is forgotten
        Thread(target=_work, args=(self._jobs,), name="reader", daemon=True).start()

    def take(self, job: _Job[Any]) -> None:
        """Do a job, after the one before."""
        if self._last is not None:
            self._last.wait()
        self._last = job
        self._jobs.put(job)


def _work(jobs: SimpleQueue[_Job[Any] | None]) -> None:
    while (job := jobs.get()) is not None:
        job.do()
        del job  # or what it knows would live until the next one


def _await(jobs: Collection[_Job[Any]]) -> None:
    """Wait for all jobs, whatever the user presses: nobody may touch a model that reads."""
    pressed: KeyboardInterrupt | None = None
    for job in jobs:
        while True:
            try:
                job.wait()
                break
            except KeyboardInterrupt as interrupt:
                pressed = interrupt
    if pressed is not None:
        raise pressed
