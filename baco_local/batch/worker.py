"""One pair kept busy with the answers of a batch: whatever finishes makes room, and the next one takes it at once.

Knows no file; a row that cannot be answered becomes a failure, and the others go on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from baco_local.batch.items import Failure, Item, Outcome, Written
from baco_local.engine.answer import Answer
from baco_local.errors import BackendError, PromptTooLongError
from baco_local.pair import Job, Pair, Stream
from baco_local.routing.dial import Calibration
from baco_local.settings import Settings
from baco_local.text.chat import Message
from baco_local.types import FinishReason, Role

__all__ = ["AHEAD", "Crew", "Figures", "Wishes", "Worker"]

AHEAD = 2  # answers that are handed over for each that decodes, so that a free place never waits for the reader
HOPELESS = 3  # decodes that fail in a row, each with one answer alone, before the whole run is given up


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What all answers of a batch have in common."""

    settings: Settings = field(default_factory=Settings)
    system: str | None = None  # before every conversation that has no system text of its own

    def job(self, item: Item) -> Job:
        """Return an answer that is wanted, as the pair takes it; its seed is enough to make it again."""
        messages = item.row.messages
        if self.system and not any(message.role == "system" for message in messages):
            messages = (Message("system", self.system), *messages)
        return Job(prompt=messages, settings=self.settings.turn(item.row.knobs), seed=item.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was written so far, unfinished answers included."""

    n_tokens: int = 0
    n_base: int = 0
    n_decoded: Mapping[Role, int] = field(default_factory=lambda: dict.fromkeys(Role, 0))  # read by each model

    def __add__(self, other: Figures) -> Figures:
        """Return both together."""
        return Figures(
            n_tokens=self.n_tokens + other.n_tokens,
            n_base=self.n_base + other.n_base,
            n_decoded={role: self.n_decoded[role] + other.n_decoded[role] for role in Role},
        )


class Crew(Protocol):
    """Whoever turns items into outcomes: a worker, or several, here or elsewhere."""

    @property
    def room(self) -> int:
        """Return how many more items it can take."""
        ...

    @property
    def idle(self) -> bool:
        """Return whether nothing is left to do."""
        ...

    def work(self, items: Sequence[Item]) -> list[Outcome]:
        """Take items, no more than there is room for, and return what is finished after a moment."""
        ...

    def figures(self) -> Figures:
        """Return what was written so far."""
        ...

    def cancel(self) -> None:
        """End what is being written, as soon as that is possible; any thread may say so, and a signal handler."""
        ...

    def stop(self) -> list[Outcome]:
        """Give up everything that is not finished, and return what is and was not handed in."""
        ...


class Worker:
    """A crew of one pair."""

    def __init__(
        self,
        pair: Pair,
        wishes: Wishes,
        *,
        live: list[Stream] | None = None,
        keep: Callable[[Answer], Written] = Written.of,
    ) -> None:
        """Take a pair.

        Args:
            pair: who writes.
            wishes: what all answers have in common.
            live: is kept up to date, for whoever wants to cancel what is being written.
            keep: what a finished answer leaves behind.

        """
        self._pair, self._wishes, self._keep = pair, wishes, keep
        self._live = [] if live is None else live  # oldest first
        self._items: dict[Stream, Item] = {}
        self._waiting: deque[Item] = deque()
        self._n_alone = 0  # of these, how many at the front run alone, for a decode has failed with them
        self._n_hopeless = 0
        self._finished = Figures()

    def prepare(self, calibration: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Refuse settings that no answer could be written with, and return what the dial means here.

        Args:
            calibration: what it meant before, so that a run goes on as it began; None = as the pair says, which is
                measured if it has to be.

        """
        if calibration is not None:
            self._pair.calibration = Calibration.from_json(calibration)
        with suppress(PromptTooLongError):  # each row is told so
            self._pair.stream("a", settings=self._wishes.settings, seed=0).cancel()
        known = self._pair.calibration
        return None if known is None else known.to_json()

    @property
    def n_parallel(self) -> int:
        """Return how many answers it writes at once."""
        return self._pair.n_parallel

    @property
    def n_held(self) -> int:
        """Return how many answers it has and has not handed in."""
        return len(self._live) + len(self._waiting)

    @property
    def room(self) -> int:
        """Return how many more items it can take."""
        return max(0, AHEAD * self.n_parallel - self.n_held)

    @property
    def idle(self) -> bool:
        """Return whether nothing is left to do."""
        return not self._live and not self._waiting

    def work(self, items: Sequence[Item], *, patience_s: float = 0.25, at_least_s: float = 0.0) -> list[Outcome]:
        """Take items and decode until something is finished, or for a while.

        Args:
            items: what to write next.
            patience_s: how long to go on where nothing is finished.
            at_least_s: how long to go on even so, while every place is taken.

        """
        self._waiting += items
        outcomes: list[Outcome] = []
        started_s = time.perf_counter()
        while True:
            self._fill(outcomes)
            elapsed_s = time.perf_counter() - started_s
            ready = outcomes and (elapsed_s >= at_least_s or len(self._live) <= self.n_parallel)
            if self.idle or ready or elapsed_s >= patience_s:
                return outcomes
            self._step()
            self._collect(outcomes)

    def figures(self) -> Figures:
        """Return what was written so far."""
        return sum((_figures(stream) for stream in self._live), self._finished)

    def cancel(self) -> None:
        """End what is being written at its next token; any thread may say so, and a signal handler."""
        for stream in tuple(self._live):
            stream.cancel()

    def stop(self) -> list[Outcome]:
        """Give up everything that is not finished, and return what is."""
        self.cancel()
        self._waiting.clear()
        outcomes: list[Outcome] = []
        while self._live:
            self._step()
            self._collect(outcomes)
        return outcomes

    def _fill(self, outcomes: list[Outcome]) -> None:
        """Hand over to the pair what waits; after a decode that failed, one after the other."""
        while self._waiting and not (self._n_alone and self._live):
            item = self._waiting.popleft()
            try:
                (stream,) = self._pair.start([self._wishes.job(item)])
            except Exception as error:  # noqa: BLE001 - kept with its row
                outcomes.append((item, _failure(error)))
                self._n_alone = max(0, self._n_alone - 1)
            else:
                self._items[stream] = item
                self._live.append(stream)

    def _step(self) -> None:
        """Decode until the oldest answer goes on; all errors are looked at in ``_collect``."""
        try:
            next(self._live[0], None)
        except Exception:
            if not self._live[0].finished:
                raise

    def _collect(self, outcomes: list[Outcome]) -> None:
        """Take out what is finished."""
        if not any(stream.finished for stream in self._live):
            return
        done = [stream for stream in self._live if stream.finished]
        self._live[:] = [stream for stream in self._live if not stream.finished]
        lost: list[Item] = []
        for stream in done:
            item = self._items.pop(stream)
            self._finished += _figures(stream)
            alone, self._n_alone = bool(self._n_alone), max(0, self._n_alone - 1)
            error = _error(stream)
            if isinstance(error, BackendError):
                self._n_hopeless += alone
                if self._n_hopeless >= HOPELESS:
                    raise error
                if not alone:
                    lost.append(item)
                    continue
            if error is not None:
                outcomes.append((item, _failure(error)))
            elif stream.answer.finish is not FinishReason.CANCELLED:
                self._n_hopeless = 0
                outcomes.append((item, self._keep(stream.answer)))
        self._waiting.extendleft(reversed(lost))
        self._n_alone += len(lost)


def _error(stream: Stream) -> Exception | None:
    """Return what a finished answer was given up for."""
    try:
        deque(stream, maxlen=0)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is kept with its row
        return error
    return None


def _figures(stream: Stream) -> Figures:
    answer = stream.answer
    return Figures(
        n_tokens=len(answer.tokens),
        n_base=sum(token.speaker is Role.BASE for token in answer.tokens),
        n_decoded={role: answer.usage.n_decoded.get(role, 0) for role in Role},
    )


def _failure(error: Exception) -> Failure:
    return Failure(type(error).__name__, str(error))
