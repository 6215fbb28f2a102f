"""Who reads what, and when: the words between a schedule and the engine that answers it.

A schedule makes rounds; a round is a generator that asks for rows and says tokens. It never sees a model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from baco_local.types import Role, Row, Rows, Spoken, TokenIds

__all__ = ["Ask", "Foresight", "Helper", "Loop", "Reader", "Round", "Schedule", "Voice"]


class Helper(StrEnum):
    """A model that reads what the aligned model reads, and never speaks."""

    DRAFT = "draft"  # a small one that guesses


Reader: TypeAlias = Role | Helper
"""Whoever reads an answer."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A wish for the last ``n_rows`` rows of one model after the answer so far and some guessed tokens."""

    reader: Reader
    guess: tuple[int, ...] = ()
    n_rows: int = 1


class Foresight(Protocol):
    """How an answer may go on: guesses, each made as if those before it had been said."""

    @property
    def known(self) -> TokenIds:
        """Return what the aligned model has to read: its prompt and the answer so far."""
        ...

    def room(self, readers: Collection[Reader]) -> int:
        """Return how many tokens may still be said, and read by these models."""
        ...

    def guess(self, row: Row) -> int | None:  # [V] -> id
        """Return what would be said next if this row were both models'; None = nothing can be guessed."""
        ...

    def readable(self, token: int) -> bool:
        """Return whether a token may be part of an answer, so that every model can read it."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Voice(Protocol):
    """The policy of one sequence, bound to its answer so far: it says the next token, and changes nothing."""

    @property
    def listens(self) -> Collection[Role]:
        """Return the models whose rows it may look at."""
        ...

    @property
    def needs(self) -> Collection[Role]:
        """Return the models without whose rows it says nothing at this position."""
        ...

    def say(self, rows: Mapping[Role, Row]) -> Spoken | Role:
        """Return the next token, or the model whose row it misses."""
        ...

    def foresee(self) -> Foresight:
        """Return a foresight from here on, to be closed."""
        ...


Round: TypeAlias = Generator[tuple[Ask, ...] | Spoken, tuple[Rows, ...], Spoken]
"""Yields asks, and is sent one ``[n_rows, V]`` per ask, which the next decode overwrites; returns what is said last.

What is said before that is yielded too: it is accepted at once, and the round goes on only if the answer does.
"""

Schedule: TypeAlias = Callable[[Voice], Round]
"""Starts one round for one sequence."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A way to write of one's own, in which who reads and who speaks are one matter: it takes the place of a router.

    Attributes:
        name: what it is called.
        rounds: (the sequence, its sampler, the threshold) -> a round, which may go on to the end of the answer.

    """

    name: str
    rounds: Callable[..., Round]
