"""Who reads what, and when: the words between a schedule and the engine that answers it.

A schedule makes rounds; a round is a generator that asks for rows and ends in what was said. It never sees a model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from baco_local.types import Role, Row, Rows, Spoken

__all__ = ["Ask", "Round", "Schedule", "Voice"]


@dataclass(frozen=True, slots=True)
class Ask:
    """A wish for the last ``n_rows`` rows of one model after the answer so far and some guessed tokens."""

    role: Role
    guess: tuple[int, ...] = ()
    n_rows: int = 1


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


Round: TypeAlias = Generator[tuple[Ask, ...], tuple[Rows, ...], tuple[Spoken, ...]]
"""Yields asks, is sent one ``[n_rows, V]`` per ask, and returns what was said; nothing is accepted before that."""

Schedule: TypeAlias = Callable[[Voice], Round]
"""Starts one round for one sequence."""
