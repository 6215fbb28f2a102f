"""Rows become answers: the engine lets many sequences ask for rows, feeds both models in batches, and answers.

One step is at most one decode of each model, for all live sequences together; both may decode at the same time, and
nothing else does. Prompts that begin alike are read once. Knows neither text nor routers: what is said next is the
voice's matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, cast

from baco_local.backend.abreast import Abreast
from baco_local.backend.base import CacheFull, Feed, Interrupted, Model
from baco_local.engine.answer import Token
from baco_local.engine.lanes import Lane, Lanes, common_prefix
from baco_local.engine.sequence import Reach, Sequence
from baco_local.errors import PromptTooLongError
from baco_local.sampling.sampler import Sampler
from baco_local.scheduling.base import Ask, Reader, Round, Schedule, Voice
from baco_local.types import FinishReason, Role, Rows, Spoken

__all__ = ["Engine", "Task"]

SHARED_PROMPT = 16  # a prompt that has this many first ids in common with one being read waits, and forks it


@dataclass(slots=True, eq=False)
class Task:
    """One answer to be decoded: its state, and the parts that decide it; schedule and voice may be replaced."""

    sequence: Sequence
    sampler: Sampler
    voice: Voice
    schedule: Schedule
    reader: Callable[[], Any] = lambda: None  # who reads its tokens; for the owner of the task, not for the engine
    error: Exception | None = None  # why it was given up, of its router or grammar, say; other tasks go on


@dataclass(slots=True, eq=False)
class _Turn:
    """A task while it is decoded: its lanes, and the round that waits for rows."""

    task: Task
    lanes: dict[Reader, Lane] = field(default_factory=dict)
    voice: Voice | None = None  # the one that the round was started with
    round: Round | None = None
    asks: tuple[Ask, ...] = ()
    found: list[Rows | None] = field(default_factory=list)  # the answer to each ask, as far as it is there
    n_missing: int = 0  # of these

    @property
    def reading(self) -> bool:
        """Return whether a prompt is still being read."""
        return not self.lanes or any(lane.agreed < len(lane.prompt) - 1 for lane in self.lanes.values())

    @property
    def complete(self) -> bool:
        """Return whether every ask of the round is answered."""
        return not self.n_missing


class _Reading(NamedTuple):
    """What one lane reads in this step, for one ask of a turn."""

    turn: _Turn
    ask: int  # its index
    lane: Lane
    feed: Feed
    whole: bool  # the ask is answered by it


class Engine:
    """Decodes tasks on a pair of models; at most as many at once as the models have sequences."""

    def __init__(self, models: Mapping[Reader, Model], *, n_parallel: int | None = None, n_cores: int = 1) -> None:
        self.models = models
        self._abreast = Abreast(models, n_cores)
        self._lanes = {reader: Lanes(model) for reader, model in models.items()}
        self._room = n_parallel or min(model.n_sequences for model in models.values())
        self._waiting: deque[Task] = deque()
        self._turns: list[_Turn] = []
        for model in models.values():
            model.cancelled = self._all_cancelled

    @property
    def can_cut(self) -> bool:
        """Return whether both models can forget what they read last."""
        return all(self.models[role].can_rewind for role in Role)

    @property
    def reaches(self) -> dict[Reader, Reach]:
        """Return how much each model can read."""
        return {reader: Reach(model.n_ctx, len(model.vocab)) for reader, model in self.models.items()}

    @property
    def n_live(self) -> int:
        """Return how many answers decode together now."""
        return len(self._turns)

    @property
    def idle(self) -> bool:
        """Return whether there is nothing to decode."""
        return not (self._waiting or self._turns)

    def submit(self, task: Task) -> None:
        """Queue a task.

        Raises:
            PromptTooLongError: a prompt leaves no room for an answer.

        """
        for role, prompt in task.sequence.prompts.items():
            n_ctx = self.models[role].n_ctx
            if len(prompt) >= n_ctx:
                raise PromptTooLongError(
                    f"the prompt of the {role} model has {len(prompt)} tokens, and its context holds {n_ctx}; "
                    "shorten the prompt, or load the pair with a larger context (--ctx-size)"
                )
        self._waiting.append(task)

    def progress(self, task: Task) -> float:
        """Return the share of a task's prompts that has been read, 0 to 1."""
        turn = next((turn for turn in self._turns if turn.task is task), None)
        if turn is None:
            return 0.0 if task in self._waiting else 1.0
        total = sum(len(lane.prompt) for lane in turn.lanes.values())
        return sum(min(lane.agreed, len(lane.prompt)) for lane in turn.lanes.values()) / max(1, total)

    def step(self) -> list[tuple[Task, Token]]:
        """Decode once for every live task, and return the tokens whose text is settled."""
        said: list[tuple[Task, Token]] = []
        self._drop_cancelled(said)
        self._admit(said)
        self._start_rounds(said)
        self._read(said)
        for turn in tuple(self._turns):
            if turn.complete:
                self._answer(turn, said)
        self._keep_found()
        return said

    def run(self) -> Iterator[tuple[Task, Token]]:
        """Step until everything queued is finished."""
        while not self.idle:
            yield from self.step()

    def abandon(self, error: Exception | None = None) -> None:
        """Give up everything that is being decoded, and forget what was read; the engine can be used again.

        Args:
            error: what every reader of an answer that is given up shall learn; None = it was only cancelled.

        """
        for task in (*self._waiting, *(turn.task for turn in self._turns)):
            if task.sequence.finish is None:
                task.sequence.close(FinishReason.CANCELLED)
                task.error = error
        self._waiting.clear()
        self._turns.clear()
        for lanes in self._lanes.values():
            lanes.forget()

    def close(self) -> None:
        """Free both models."""
        self.abandon()
        self._abreast.close()
        for model in self.models.values():
            model.close()

    # --- the parts of a step, in order ----------------------------------------------------------------------------

    def _all_cancelled(self) -> bool:
        return bool(self._turns) and all(turn.task.sequence.cancelled for turn in self._turns)

    def _drop_cancelled(self, said: list[tuple[Task, Token]]) -> None:
        for turn in tuple(self._turns):
            if turn.task.sequence.cancelled:
                self._finish(turn, FinishReason.CANCELLED, said)
        for task in tuple(self._waiting):
            if task.sequence.cancelled:
                self._waiting.remove(task)
                said += ((task, token) for token in task.sequence.close(FinishReason.CANCELLED))
                task.sampler.close()

    def _admit(self, said: list[tuple[Task, Token]]) -> None:
        """Start waiting tasks while there is room; one that begins like a prompt being read waits to fork it."""
        for task in tuple(self._waiting):
            if len(self._turns) >= self._room:
                return
            if any(turn.reading and _alike(turn.task, task) for turn in self._turns):
                continue
            self._waiting.remove(task)
            said += ((task, token) for token in task.sequence.take())  # what it begins with
            if task.sequence.finish is not None:
                task.sampler.close()
                continue
            self._turns.append(turn := _Turn(task))
            for role in task.voice.listens:
                self._open(turn, role)

    def _start_rounds(self, said: list[tuple[Task, Token]]) -> None:
        for turn in tuple(self._turns):
            if not turn.asks and turn.voice is not turn.task.voice:
                turn.round = None  # what it has yet to say was foreseen before the dial was turned
            if turn.round is None:
                if self._is_full(turn):
                    self._finish(turn, FinishReason.CONTEXT, said)
                    continue
                turn.voice = turn.task.voice
                turn.round = turn.task.schedule(turn.voice)
                asks = next(turn.round)
                assert not isinstance(asks, Spoken), "a round asks before it says"
                self._ask(turn, asks)

    def _is_full(self, turn: _Turn) -> bool:
        """Return whether a model that is listened to cannot hold the answer so far."""
        sequence = turn.task.sequence
        roles = turn.task.voice.listens
        return any(len(sequence.prompts[role]) + len(sequence.ids) > self.models[role].n_ctx for role in roles)

    def _ask(self, turn: _Turn, asks: tuple[Ask, ...]) -> None:
        turn.asks, turn.found, turn.n_missing = asks, [None] * len(asks), len(asks)

    def _read(self, said: list[tuple[Task, Token]]) -> None:
        """Let each model read what the open asks want of it: first planned, then decoded.

        Where a cache is full the longest answer in it ends, and what the others ask is read in the next step.
        """
        awaited = tuple(turn for turn in self._turns if self._is_awaited(turn)) if self._waiting else ()
        plans = {reader: self._plan(reader, awaited) for reader in self.models}
        jobs = {
            reader: partial(self._feed, reader, [reading.feed for reading in plan])
            for reader, plan in plans.items()
            if plan
        }
        full = []
        for reader, all_rows in self._abreast.run(jobs).items():
            if not isinstance(all_rows, list):
                full += [reader] if isinstance(all_rows, CacheFull) else []
                continue
            for (turn, i, lane, feed, whole), rows in zip(plans[reader], all_rows, strict=True):
                sequence = turn.task.sequence
                n_read = self._lanes[reader].has_read(lane, feed, len(sequence.ids))
                sequence.n_decoded[reader] += n_read
                sequence.n_decodes[reader] += n_read > 0
                if whole:
                    turn.found[i] = rows
                    turn.n_missing -= 1
        for reader in full:
            longest = max(
                (turn for turn in self._turns if reader in turn.lanes),
                key=lambda turn: len(turn.task.sequence.prompt(reader)) + len(turn.task.sequence.ids),
                default=None,
            )
            if longest is not None:
                self._finish(longest, FinishReason.CONTEXT, said)

    def _plan(self, reader: Reader, awaited: Collection[_Turn]) -> list[_Reading]:
        """Return what one model shall read: short backlogs first, long prompts in the room that is left.

        A turn that others are waiting for reads its prompt even where no ask wants that yet; all but the last token,
        for a state that cannot be cut back has to be forked before that.
        """
        lanes, room = self._lanes[reader], self.models[reader].n_batch
        plan, n_ids = list[_Reading](), 0
        for turn in self._turns:
            for i, ask in enumerate(turn.asks):
                if ask.reader is reader and turn.found[i] is None:
                    lane = turn.lanes.get(reader) or self._open(turn, reader)
                    feed = lanes.backlog(lane, turn.task.sequence.ids, ask.guess, ask.n_rows)
                    plan.append(_Reading(turn, i, lane, feed, whole=True))
                    n_ids += len(feed.ids)
        if not awaited and n_ids <= room:
            return plan
        plan += (reading for turn in awaited for reading in self._unasked(turn, reader))
        fitting = []
        for reading in sorted(plan, key=lambda reading: len(reading.feed.ids)):
            ids = reading.feed.ids
            n, n_silent = min(len(ids), max(0, room)), len(ids) - reading.feed.n_rows
            if n < len(ids):
                n = min(n, n_silent) if n_silent else len(ids)  # ids that want rows are read together
            n_unread = len(reading.lane.prompt) - reading.feed.position
            if n_unread > 0 and reading.turn in awaited and not self.models[reader].can_rewind:
                n = min(n, n_unread - 1)
            if n == len(ids):
                fitting.append(reading)
            elif n:
                part = Feed(reading.feed.sequence, reading.feed.position, ids[:n], n_rows=0)
                fitting.append(reading._replace(feed=part, whole=False))
            room -= n
        return fitting

    def _unasked(self, turn: _Turn, reader: Reader) -> Iterator[_Reading]:
        """Yield what is left of a prompt but its last token, where no ask of the turn wants it."""
        lane = turn.lanes.get(reader)
        asked = any(ask.reader is reader for ask in turn.asks)
        if lane is not None and not asked and lane.agreed < len(lane.prompt) - 1:
            feed = self._lanes[reader].backlog(lane, (), (), 1)
            yield _Reading(turn, -1, lane, feed._replace(ids=feed.ids[:-1], n_rows=0), whole=False)

    def _open(self, turn: _Turn, reader: Reader) -> Lane:
        prompt = turn.task.sequence.prompt(reader)
        lane = turn.lanes[reader] = self._lanes[reader].open(prompt)
        turn.task.sequence.n_cached[reader] = lane.agreed
        return lane

    def _is_awaited(self, turn: _Turn) -> bool:
        return turn.reading and any(_alike(turn.task, task) for task in self._waiting)

    def _feed(self, reader: Reader, feeds: list[Feed]) -> list[Rows] | Interrupted | CacheFull:
        """Feed, and make room by dropping parked lanes where the cache is full; or return why nothing was read."""
        while True:
            try:
                return self.models[reader].feed(feeds)
            except Interrupted as every_answer_was_cancelled:
                return every_answer_was_cancelled
            except CacheFull as full:
                if not self._lanes[reader].drop_parked():
                    return full

    def _keep_found(self) -> None:
        """Copy rows that must outlive the next decode: a round that still waits for its other model."""
        for turn in self._turns:
            if not turn.complete:
                turn.found = [rows if rows is None or rows.flags.owndata else rows.copy() for rows in turn.found]

    def _answer(self, turn: _Turn, said: list[tuple[Task, Token]]) -> None:
        """Send a round its rows, and accept what it says.

        Decoded alone, an answer grows by one token a step, even where more are known: its reader may turn the dial
        between two tokens.
        """
        sequence = turn.task.sequence
        try:
            while (spoken := self._resume(turn)) is not None:
                n_before = len(sequence.ids)
                said += [(turn.task, token) for token in sequence.accept(spoken)]
                self._follow(turn, n_before)
                if sequence.finish is not None or len(sequence.ids) <= n_before:
                    turn.round = None  # what was foreseen behind an end or a cut belongs to no answer
                if turn.round is None or len(self._turns) == 1:
                    break
        except Exception as error:  # noqa: BLE001 - kept with its task, and raised to whoever reads that answer
            turn.task.error = error
            self._finish(turn, FinishReason.CANCELLED, said)
        else:
            if sequence.finish is not None:
                self._park(turn)

    def _resume(self, turn: _Turn) -> Spoken | None:
        """Let a round go on with the rows that it asked for, and return what it says; None = it asks again."""
        assert turn.round is not None
        try:
            step = turn.round.send(cast("tuple[Rows, ...]", tuple(turn.found)))  # none is missing
        except StopIteration as done:
            turn.round, step = None, done.value
        if isinstance(step, Spoken):
            self._ask(turn, ())
            return step
        self._ask(turn, step)
        return None

    def _follow(self, turn: _Turn, n_before: int) -> None:
        """Tell the sampler, and after a cut the lanes, what became of the answer."""
        sampler, ids = turn.task.sampler, turn.task.sequence.ids
        if len(ids) == n_before + 1:
            sampler.accept(ids[-1])
        elif len(ids) < n_before:
            sampler.reset()
            for token in ids:
                sampler.accept(token)
            for reader, lane in turn.lanes.items():
                self._lanes[reader].disagree_after(lane, len(ids))

    def _finish(self, turn: _Turn, reason: FinishReason, said: list[tuple[Task, Token]]) -> None:
        said += [(turn.task, token) for token in turn.task.sequence.close(reason)]
        self._park(turn)

    def _park(self, turn: _Turn) -> None:
        """Let go of a finished task; what its lanes have read may serve the next prompt."""
        self._turns.remove(turn)
        for reader, lane in turn.lanes.items():
            self._lanes[reader].park(lane)
        turn.task.sampler.close()


def _alike(one: Task, other: Task) -> bool:
    """Return whether two prompts begin alike for long enough to read that beginning only once."""
    for role, prompt in one.sequence.prompts.items():
        twin = other.sequence.prompts[role]
        if common_prefix(prompt, twin) >= min(SHARED_PROMPT, len(prompt), len(twin)):
            return True
    return False
