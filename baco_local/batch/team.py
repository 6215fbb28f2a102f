"""Several pairs on one machine, side by side: a crew of workers with a thread each.

Where models are tiny, what is done between two decodes takes a good part of the time. A worker per core is never kept
waiting by it, for while one chooses tokens the others decode.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from baco_local.batch.items import Item, Outcome
from baco_local.batch.worker import AHEAD, Figures, Worker

__all__ = ["Place", "Team", "deal"]

MOMENT_S = 0.25  # how long it is waited for news
LINGER_S = 0.2  # how long a worker collects what is finished while all its places are taken


class Place(Protocol):
    """Where items can be put down for a worker."""

    waiting: deque[Item]

    @property
    def room(self) -> int:
        """Return how many more items it can take."""
        ...


def deal(items: Sequence[Item], places: Sequence[Place]) -> None:
    """Give each item to whoever has most room.

    Those of one row stay together, for they share their prompt, until another place has twice as much room.
    """
    row, place = "", places[0]
    for item in items:
        roomiest = max(places, key=lambda place: place.room)
        if item.row.id != row or 2 * place.room <= roomiest.room:
            row, place = item.row.id, roomiest
        place.waiting.append(item)


class Report(NamedTuple):
    """What a worker says after a while."""

    outcomes: list[Outcome]
    n_held: int
    figures: Figures


@dataclass(slots=True, eq=False)
class Desk:
    """A worker as its team sees it; only one thread at a time touches the worker itself."""

    worker: Worker
    waiting: deque[Item] = field(default_factory=deque)
    n_held: int = 0  # answers that the worker has and has not handed in
    figures: Figures = field(default_factory=Figures)
    call: Future[Report] | None = None  # the work that is under way

    @property
    def room(self) -> int:
        """Return how many more items it can take."""
        return max(0, AHEAD * self.worker.n_parallel - self.n_held - len(self.waiting))

    def work(self, items: Sequence[Item]) -> Report:
        """Do what a worker does for a while."""
        outcomes = self.worker.work(items, patience_s=MOMENT_S, at_least_s=LINGER_S)
        return Report(outcomes, self.worker.n_held, self.worker.figures())


class Team:
    """A crew of workers on this machine, to be closed before their pairs are."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._desks = [Desk(worker) for worker in workers]
        self._threads = ThreadPoolExecutor(len(workers), thread_name_prefix="worker")
        self._cancelled = False
        self._error: BaseException | None = None  # what a worker has failed with, raised when all is handed in

    def prepare(self, calibration: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Refuse settings that no answer could be written with, and return what the dial means to all of them."""
        first, *others = (desk.worker for desk in self._desks)
        known = first.prepare(calibration)
        for worker in others:
            worker.prepare(known)
        return known

    @property
    def room(self) -> int:
        """Return how many more items it can take."""
        return sum(desk.room for desk in self._desks)

    @property
    def idle(self) -> bool:
        """Return whether nothing is left to do."""
        return self._error is None and not any(desk.n_held or desk.waiting or desk.call for desk in self._desks)

    def work(self, items: Sequence[Item]) -> list[Outcome]:
        """Deal items out to the workers and return what they have finished.

        Raises:
            BackendError: a worker has given up; what others had finished was returned before.

        """
        if self._error is not None:
            raise self._error
        deal(items, self._desks)
        for desk in self._desks:
            self._send(desk)
        outcomes: list[Outcome] = []
        calls = {desk.call: desk for desk in self._desks if desk.call is not None}
        ready, late = wait(calls, timeout=MOMENT_S, return_when=FIRST_COMPLETED)
        for call in ready:
            self._receive(calls[call], outcomes)
        if self._cancelled or self._error is not None:  # what is finished all the same is handed in
            for call in late:
                self._receive(calls[call], outcomes)
        return outcomes

    def figures(self) -> Figures:
        """Return what was written so far."""
        return sum((desk.figures for desk in self._desks), Figures())

    def cancel(self) -> None:
        """End what is being written at its next token; any thread may say so, and a signal handler."""
        self._cancelled = True
        for desk in self._desks:
            desk.worker.cancel()

    def stop(self) -> list[Outcome]:
        """Give up everything that is not finished, and return what is."""
        self.cancel()
        outcomes: list[Outcome] = []
        for desk in self._desks:
            if desk.call is not None:
                self._receive(desk, outcomes)
            outcomes += desk.worker.stop()
            desk.waiting.clear()
            desk.n_held, desk.figures = 0, desk.worker.figures()
        self._cancelled = False
        return outcomes

    def __enter__(self) -> Team:
        """Return the team, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait, whatever the user presses, until nobody touches a pair any more."""
        pressed: KeyboardInterrupt | None = None
        while True:
            try:
                self.cancel()
                self._threads.shutdown(wait=True)
                break
            except KeyboardInterrupt as interrupt:
                pressed = interrupt
        if pressed is not None:
            raise pressed

    def _send(self, desk: Desk) -> None:
        """Let a worker go on, if it has anything to do and is not at work."""
        if desk.call is None and (desk.waiting or desk.n_held):
            items = list(desk.waiting)
            desk.waiting.clear()
            desk.n_held += len(items)
            desk.call = self._threads.submit(desk.work, items)

    def _receive(self, desk: Desk, outcomes: list[Outcome]) -> None:
        """Take what a worker has finished, when it has, and let it go on before anybody looks at that."""
        assert desk.call is not None
        wait([desk.call])
        call, desk.call = desk.call, None
        error = call.exception()
        if error is not None:
            self._error = self._error or error
            return
        finished, desk.n_held, desk.figures = call.result()
        outcomes += finished
        if not self._cancelled and self._error is None:
            self._send(desk)
