"""Many machines: Ray actors with a pair each, and a crew that keeps all of them busy.

The only file that speaks Ray, which it imports when it is needed; writes no file and draws no number.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from baco_local.batch.items import Failure, Item, Key, Outcome
from baco_local.batch.team import deal
from baco_local.batch.worker import AHEAD, Figures, Wishes, Worker
from baco_local.errors import BackendError, BacoError, UsageError
from baco_local.pair import Pair

__all__ = ["Cluster", "ClusterError", "ClusterOptions", "Facts", "Opener", "RayCrew"]

TRIES = 3  # how often a row is begun before it is given up with its actor
KNOCK_S = 10.0  # how long a head node may take to answer
START_S = 600.0  # how long a node may take to check and load its models
MOMENT_S = 0.5  # how long the driver waits for news
OWN_STORE = 128 << 20  # bytes of Ray's object store in a cluster of our own: only texts travel
LINGER_S = 0.2  # how long an actor collects what is finished while all its places are taken

Opener: TypeAlias = Callable[[], Pair]
"""Loads the pair of an actor, on its node; it travels there by pickle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Which cluster, and how much of it."""

    address: str | None = None  # None = RAY_ADDRESS, or a cluster of our own on this machine
    n_workers: int | None = None  # None = one per node, or as many as the GPUs suffice for
    gpus_per_worker: float | None = None  # None = 1 where the cluster has GPUs; with 0, Ray hides them from an actor


class Cluster:
    """A connection to Ray, for the time of one run."""

    def __init__(self, options: ClusterOptions) -> None:
        """Connect, or start a cluster on this machine; usage statistics are off in those that we start.

        Raises:
            UsageError: Ray is not installed, or there is no such cluster.

        """
        address = options.address or os.environ.get("RAY_ADDRESS") or None
        if address is None:
            os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if address is not None:
            _knock(address)
        try:
            import ray
        except ImportError as error:
            raise UsageError("--ray needs Ray, which is not installed\n    pip install 'baco-local[ray]'") from error
        self.ray = ray
        own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OWN_STORE}
        if options.n_workers is not None:  # Ray would wait for processors that there are not
            own["num_cpus"] = max(options.n_workers, os.cpu_count() or 1)
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else own),
            )
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            where = f"at {address!r}" if address else "here"
            raise UsageError(f"no Ray cluster could be reached or started {where}: {error}") from error
        resources: Mapping[str, float] = ray.cluster_resources()
        nodes: Sequence[Mapping[str, Any]] = ray.nodes()
        self._gpus_each = options.gpus_per_worker
        if self._gpus_each is None:
            self._gpus_each = 1.0 if resources.get("GPU", 0) else 0.0
        self.n_workers = options.n_workers or (
            int(resources.get("GPU", 0) // self._gpus_each)
            if self._gpus_each
            else sum(bool(node["Alive"]) for node in nodes)
        )
        if not self.n_workers:
            self.close()
            raise UsageError(
                f"the cluster has {resources.get('GPU', 0):g} GPUs, and a worker wants {self._gpus_each:g}; "
                "give a smaller --gpus-per-worker"
            )

    def actor(self) -> Any:
        """Start an actor that has nothing to do yet, where there is most room."""
        remote = self.ray.remote(Station).options(
            num_cpus=1, num_gpus=self._gpus_each, scheduling_strategy="SPREAD", max_restarts=0
        )
        return remote.remote()

    def close(self) -> None:
        """Leave the cluster; one that we started ends."""
        self.ray.shutdown()

    def __enter__(self) -> Cluster:
        """Return the connection, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster."""
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an actor says of itself."""

    pid: int
    node: str
    n_parallel: int
    infos: dict[str, Any]  # what each file says of itself
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of ours, as it travels."""

    message: str
    exit_code: int


class Station:
    """What lives in an actor: one loaded pair and its worker."""

    def __init__(self) -> None:
        self._pair: Pair | None = None
        self._worker: Worker | None = None

    def open(self, opener: Opener) -> Facts | Refusal:
        """Load the pair; errors come back as values, because they are to be read, not traced."""
        try:
            self._pair = opener()
        except BacoError as error:
            return Refusal(f"{platform.node()}: {error}", error.exit_code)
        return Facts(
            pid=os.getpid(),
            node=platform.node(),
            n_parallel=self._pair.n_parallel,
            infos={role.value: info for role, info in self._pair.infos.items()},
            notes=self._pair.notes,
        )

    def prepare(self, wishes: Wishes, calibration: Mapping[str, Any] | None) -> dict[str, Any] | Refusal | None:
        """Take the settings, and return what the dial means here."""
        assert self._pair is not None
        self._worker = Worker(self._pair, wishes)
        try:
            return self._worker.prepare(calibration)
        except BacoError as error:
            return Refusal(str(error), error.exit_code)

    def work(self, items: Sequence[Item]) -> tuple[list[Outcome], Figures] | Refusal:
        """Do what a worker does, and say what was written so far."""
        assert self._worker is not None
        try:
            outcomes = self._worker.work(items, patience_s=MOMENT_S, at_least_s=LINGER_S)
        except BackendError as error:
            return Refusal(str(error), error.exit_code)
        return outcomes, self._worker.figures()


def _knock(address: str) -> None:
    """Refuse an address where nobody answers at once; Ray tries it for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host or not port.isdecimal():
        return  # "auto", or a form that Ray alone understands
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
    except OSError as error:
        raise UsageError(
            f"no Ray cluster answers at {address!r}: {error.strerror or error}\n"
            "    on its head node `ray status` says whether it runs; the port is 6379 unless another one was given"
        ) from error


class ClusterError(BacoError):
    """A cluster that has lost all its actors."""


@dataclass(slots=True, kw_only=True, eq=False)
class Post:
    """An actor as the driver sees it."""

    actor: Any
    facts: Facts
    at_work: dict[Key, Item] = field(default_factory=dict)
    waiting: deque[Item] = field(default_factory=deque)
    call: Any = None  # the work that is under way
    figures: Figures = field(default_factory=Figures)

    @property
    def room(self) -> int:
        """Return how many more items it can take."""
        return max(0, AHEAD * self.facts.n_parallel - len(self.at_work) - len(self.waiting))


class RayCrew:
    """A crew of actors; what one of them loses is done by another."""

    def __init__(
        self,
        cluster: Cluster,
        opener: Opener,
        wishes: Wishes,
        *,
        calibration: Mapping[str, Any] | None = None,
        on_event: Callable[[str], None] = lambda _words: None,
    ) -> None:
        """Start all actors, let them load, and make sure that the dial means the same to all of them.

        Raises:
            BacoError: an actor could not load its pair, or the settings cannot be used.

        """
        self._cluster, self._opener, self._wishes, self._on_event = cluster, opener, wishes, on_event
        self._again: deque[Item] = deque()
        self._tries: Counter[Key] = Counter()
        self._gone = Figures()  # what lost actors had written
        self.calibration = None if calibration is None else dict(calibration)
        self._posts = self._opened(cluster.n_workers)
        for post in self._posts:
            self._prepare(post)

    @property
    def facts(self) -> list[Facts]:
        """Return what the actors that are left say of themselves."""
        return [post.facts for post in self._posts]

    @property
    def room(self) -> int:
        """Return how many more items it can take."""
        return max(0, sum(post.room for post in self._posts) - len(self._again))

    @property
    def idle(self) -> bool:
        """Return whether nothing is left to do."""
        return not self._again and not any(post.at_work or post.waiting for post in self._posts)

    def work(self, items: Sequence[Item]) -> list[Outcome]:
        """Deal items out to the actors and return what they have finished."""
        items = [*self._again, *items]
        self._again.clear()
        deal(items, self._posts)
        for post in self._posts:
            if post.call is None and (post.waiting or post.at_work):
                self._send(post)
        calls = {post.call: post for post in self._posts if post.call is not None}
        outcomes: list[Outcome] = []
        ready, _ = self._cluster.ray.wait(list(calls), num_returns=1, timeout=MOMENT_S) if calls else ([], [])
        for call in ready:
            self._receive(calls[call], outcomes)
        return outcomes

    def figures(self) -> Figures:
        """Return what was written so far."""
        return sum((post.figures for post in self._posts), self._gone)

    def cancel(self) -> None:
        """Leave it to ``stop``, which ends the actors in the middle of whatever they do."""

    def stop(self) -> list[Outcome]:
        """Give up everything that is not handed in."""
        for post in self._posts:
            self._gone += post.figures
            self._cluster.ray.kill(post.actor)
        self._posts.clear()
        self._again.clear()
        return []

    def _send(self, post: Post) -> None:
        items = list(post.waiting)
        post.waiting.clear()
        post.at_work |= {item.key: item for item in items}
        self._tries.update(item.key for item in items)
        post.call = post.actor.work.remote(items)

    def _receive(self, post: Post, outcomes: list[Outcome]) -> None:
        call, post.call = post.call, None
        try:
            reply = self._cluster.ray.get(call)
        except self._cluster.ray.exceptions.RayActorError:
            self._replace(post, "it died", outcomes)
            return
        except self._cluster.ray.exceptions.RayError as error:
            self._replace(post, _last_line(error), outcomes)
            return
        if isinstance(reply, Refusal):
            self._replace(post, reply.message, outcomes)
            return
        finished, post.figures = reply
        for item, result in finished:
            del post.at_work[item.key]
            del self._tries[item.key]
            outcomes.append((item, result))

    def _replace(self, post: Post, why: str, outcomes: list[Outcome]) -> None:
        """Put a new actor in the place of a lost one; its rows are tried again, or marked after too many tries."""
        self._posts.remove(post)
        self._cluster.ray.kill(post.actor)
        self._gone += post.figures
        lost = [*post.at_work.values(), *post.waiting]
        for item in lost:
            if self._tries[item.key] < TRIES:
                self._again.append(item)
            else:
                words = f"given up after {TRIES} tries, each of which lost its actor: {why}"
                outcomes.append((item, Failure("ActorLost", words)))
        self._on_event(f"an actor on {post.facts.node} was lost ({why}); {len(lost)} answers are tried again")
        try:
            (fresh,) = self._opened(1)
            self._prepare(fresh)
            self._posts.append(fresh)
        except BacoError as error:
            if not self._posts:
                raise ClusterError(f"no actor is left: {error}") from error
            self._on_event(f"no other actor could be started: {str(error).splitlines()[0]}")

    def _opened(self, count: int) -> list[Post]:
        """Start actors and wait until all of them have loaded.

        Raises:
            BacoError: one of them could not.

        """
        ray = self._cluster.ray
        actors = [self._cluster.actor() for _ in range(count)]
        calls = [actor.open.remote(self._opener) for actor in actors]
        replies: list[Facts | Refusal] = []
        for call in calls:
            try:
                replies.append(ray.get(call, timeout=START_S))
            except ray.exceptions.GetTimeoutError:
                replies.append(
                    Refusal(
                        f"an actor did not start within {START_S:.0f} s; does the cluster have room for {count}?", 1
                    )
                )
            except ray.exceptions.RayError as error:
                replies.append(Refusal(_last_line(error), 1))
        refusals = [reply for reply in replies if isinstance(reply, Refusal)]
        if refusals:
            for actor in actors:
                ray.kill(actor)
            raise _as_error(refusals)
        return [
            Post(actor=actor, facts=reply)
            for actor, reply in zip(actors, replies, strict=True)
            if isinstance(reply, Facts)
        ]

    def _prepare(self, post: Post) -> None:
        """Tell an actor what is wanted; what the first one says of the dial holds for all."""
        try:
            reply = self._cluster.ray.get(post.actor.prepare.remote(self._wishes, self.calibration), timeout=START_S)
        except self._cluster.ray.exceptions.RayError as error:
            raise _as_error([Refusal(_last_line(error), 1)]) from error
        if isinstance(reply, Refusal):
            raise _as_error([reply])
        self.calibration = self.calibration or reply


def _last_line(error: Exception) -> str:
    """Return what an error of Ray comes down to."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _as_error(refusals: Sequence[Refusal]) -> BacoError:
    """Return one error for what several actors said."""
    error = ClusterError("\n    ".join(dict.fromkeys(refusal.message for refusal in refusals)))
    error.exit_code = refusals[0].exit_code
    return error
