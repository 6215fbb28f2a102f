"""Plain words shared by every room: roles, rows, what was said at one position, why an answer ended.

Knows no model and no text. Shapes: ``V`` vocabulary, ``T`` answer so far, ``C`` candidates, ``n`` rows of one decode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MASKED",
    "Detail",
    "FinishReason",
    "Rival",
    "Role",
    "Row",
    "Rows",
    "SideRecord",
    "Spoken",
    "TokenIds",
]

Row: TypeAlias = NDArray[np.float32]  # [V] raw logits of one position
Rows: TypeAlias = NDArray[np.float32]  # [n, V]
TokenIds: TypeAlias = Sequence[int]

MASKED = np.float32(-1e30)  # the logit of a token that must not be drawn; finite, so that 0 * MASKED stays a number


class Role(StrEnum):
    """Which of the two models."""

    BASE = "base"
    ALIGNED = "aligned"

    @property
    def other(self) -> Role:
        """Return the other model of the pair."""
        return Role.ALIGNED if self is Role.BASE else Role.BASE


class FinishReason(StrEnum):
    """Why an answer ended."""

    END = "end"  # the model ended its turn
    STOP = "stop"  # a stop string was completed
    LENGTH = "length"  # the asked-for number of tokens was reached
    CONTEXT = "context"  # the context of one of the models is full
    CANCELLED = "cancelled"  # the caller asked to stop


class Detail(StrEnum):
    """How much is recorded about every token, from free to costly."""

    ROUTE = "route"  # who spoke and why; costs nothing
    SIDES = "sides"  # also both models' first choices, probabilities and entropies: two passes over both rows


@dataclass(frozen=True, slots=True)
class Rival:
    """One of a model's likeliest tokens at a position."""

    id: int
    logprob: float  # nats, from raw logits: before truncation, temperature 1


@dataclass(frozen=True, slots=True)
class SideRecord:
    """What one model thought at one position; from raw logits, before truncation, temperature 1."""

    top: int  # its likeliest token
    max_p: float  # the probability of that token
    entropy: float  # nats
    logprob: float  # nats, of the token that was said
    rivals: tuple[Rival, ...] = ()  # its likeliest tokens, best first; empty unless asked for


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was decided at one position of an answer."""

    id: int
    speaker: Role
    reason: str  # the rule that decided: a router's name, "locked", "inside word", "end of turn", a guard ...
    boundary: bool  # the speaker could have changed here
    refused: bool = False  # the router named the other model, but its draw did not open a word
    ends: bool = False  # this token ends the answer and is not part of it
    base: SideRecord | None = None  # None: not recorded, or this model was not asked
    aligned: SideRecord | None = None
