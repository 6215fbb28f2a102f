"""Let models read at the same time, each on its share of the cores; where that cannot pay, one after the other.

Two small models wait for memory and for each other's threads most of the time; side by side they fill what one leaves
idle. Knows no sequence and no row: a job is whatever ends when its model has read, and what is shared may be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from baco_local.backend.base import Model

__all__ = ["Abreast", "Shared"]

Key = TypeVar("Key")
Result = TypeVar("Result")
Thing = TypeVar("Thing")


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
        self._hands += [_Hand() for _ in range(len(others) - len(self._hands))]
        busy = self._hands[: len(others)]
        for hand, (_, job) in zip(busy, others, strict=True):
            hand.begin(job)
        try:
            found = {own: first()}
        finally:
            ended = _ended(busy)
        for (key, _), (result, error) in zip(others, ended, strict=True):
            if error is not None:
                raise error
            found[key] = result
        return found

    def close(self) -> None:
        """Let go of the threads."""
        for hand in self._hands:
            hand.begin(None)
        self._hands.clear()


class _Hand:
    """A thread that does one job after the other; a future per job would cost more than a tiny model's decode."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._ended: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        Thread(target=self._work, name="reader", daemon=True).start()

    def begin(self, job: Callable[[], Any] | None) -> None:
        """Do a job; None = no more."""
        self._jobs.put(job)

    def end(self) -> tuple[Any, BaseException | None]:
        """Wait for the job, and return what it gave or raised."""
        return self._ended.get()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._ended.put((job(), None))
            except BaseException as error:  # noqa: BLE001 - for whoever waits
                self._ended.put((None, error))


def _ended(hands: Sequence[_Hand]) -> list[tuple[Any, BaseException | None]]:
    """Wait for all jobs, whatever the user presses: nobody may touch a model that reads."""
    pressed: KeyboardInterrupt | None = None
    found = []
    for hand in hands:
        while True:
            try:
                found.append(hand.end())
                break
            except KeyboardInterrupt as interrupt:
                pressed = interrupt
    if pressed is not None:
        raise pressed
    return found


class Shared(Generic[Thing]):
    """Equal things for many threads, each used by one at a time; who finds all taken waits."""

    def __init__(self, things: Collection[Thing]) -> None:
        self.all = tuple(things)
        self._free: SimpleQueue[Thing] = SimpleQueue()
        for thing in things:
            self._free.put(thing)

    @contextmanager
    def one(self) -> Iterator[Thing]:
        """Lend one of them until the end of the block."""
        thing = self._free.get()
        try:
            yield thing
        finally:
            self._free.put(thing)
