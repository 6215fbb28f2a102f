"""What a router sees, and what it answers.

A router is any callable from a ``StepView`` to a speaker. It reads rows; it never samples and keeps no state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from baco_local.errors import RouterError
from baco_local.numerics import Spread, peak_probability, softmax, spread
from baco_local.types import Role, Row

__all__ = ["Route", "Router", "RowMissingError", "SideView", "StepView", "as_route"]


class RowMissingError(Exception):
    """A policy looked at the row of a model that has not read this far; a lazy schedule then asks for it."""

    def __init__(self, role: Role) -> None:
        super().__init__(f"the row of the {role} model was not read")
        self.role = role


class SideView:
    """One model's raw row at this position, with its numbers computed once and only when looked at."""

    __slots__ = ("_spread", "_top", "row")

    def __init__(self, row: Row) -> None:
        self.row = row  # [V] logits before temperature and truncation
        self._top: int | None = None
        self._spread: Spread | None = None

    @property
    def spread(self) -> Spread:
        """Return likeliest token, its probability, entropy and log-normaliser."""
        if self._spread is None:
            self._spread = spread(self.row)
        return self._spread

    @property
    def top(self) -> int:
        """Return the id of the likeliest token."""
        if self._top is None:
            self._top = int(self.row.argmax())
        return self._top

    @property
    def max_p(self) -> float:
        """Return the largest probability."""
        return peak_probability(self.row, self.top) if self._spread is None else self._spread.max_p

    @property
    def entropy(self) -> float:
        """Return the Shannon entropy in nats."""
        return self.spread.entropy

    @property
    def probs(self) -> NDArray[np.float64]:  # [V]
        """Return the whole distribution, temperature 1."""
        return softmax(self.row)


class StepView:
    """All that a router may see where a word starts.

    Attributes:
        position: number of answer tokens so far.
        text: the answer so far.
        speaker: the side that spoke last, and drew ``proposed``.
        proposed: the token that side has drawn for this position.

    """

    __slots__ = ("_coin", "_pieces", "_sides", "position", "proposed", "speaker", "text")

    def __init__(
        self,
        sides: Mapping[Role, SideView],
        pieces: tuple[bytes, ...],
        *,
        position: int,
        text: str,
        speaker: Role,
        proposed: int,
        coin: Callable[[], float],
    ) -> None:
        self._sides, self._pieces = sides, pieces
        self.position, self.text, self.speaker, self.proposed, self._coin = position, text, speaker, proposed, coin

    def side(self, role: Role) -> SideView:
        """Return one model's view, or raise RowMissingError."""
        try:
            return self._sides[role]
        except KeyError:
            raise RowMissingError(role) from None

    @property
    def coin(self) -> float:
        """Return a uniform number in (0, 1) of the router's own, the same in every schedule."""
        return self._coin()

    @property
    def base(self) -> SideView:
        """Return the base model's view."""
        return self.side(Role.BASE)

    @property
    def aligned(self) -> SideView:
        """Return the aligned model's view."""
        return self.side(Role.ALIGNED)

    def watched(self, role: Role) -> str:
        """Return the token that a content rule watches on one side: its own draw if it spoke last, else its top-1."""
        token = self.proposed if role is self.speaker else self.side(role).top
        return self._pieces[token].decode("utf-8", "ignore")


@dataclass(frozen=True, slots=True)
class Route:
    """Who shall speak, and by which rule."""

    speaker: Role
    reason: str
    locked: bool = False  # a content lock decided, so the dial had no say


Router: TypeAlias = Callable[[StepView], Route | Role | str]
"""Maps a step to a speaker: a ``Route``, a ``Role``, or the words "base" and "aligned"."""


def as_route(answer: object, position: int) -> Route:
    """Read what a router returned, or name the place of a wrong answer."""
    if isinstance(answer, Route) and isinstance(answer.speaker, Role):
        return answer
    if isinstance(answer, str) and answer in (Role.BASE, Role.ALIGNED):
        return Route(Role(answer), "router")
    raise RouterError(f"the router returned {answer!r} at position {position}; expected 'base', 'aligned' or a Route")
