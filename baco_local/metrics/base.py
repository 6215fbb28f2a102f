"""What is known about the answers to one prompt, and what a metric is.

Pure data; computes nothing, reads no file and knows no model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["AnswerSet", "Group", "Measure", "Metric", "Vectors", "Wanted"]

Vectors: TypeAlias = NDArray[np.float64]
"""[n, width] one vector of meaning per answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSet:
    """The n answers to one prompt, with what models said about them; None = nobody was asked."""

    texts: tuple[str, ...]  # [n]
    prompt: str = ""
    n_words_known: int | None = None  # the vocabulary that EAD expects words to come from
    vectors: Vectors | None = None  # [n, width]
    classes: tuple[int, ...] | None = None  # [n] the number of the class that each answer belongs to
    surprise: float | None = None  # Decan: what the last answer adds to all others
    constraints_met: tuple[float, ...] | None = None  # [n] shares
    bits_per_byte: tuple[float | None, ...] | None = None  # [n] under a judge; None for an empty answer
    rewards: tuple[float | None, ...] | None = None  # [n] None for an empty answer
    scores: tuple[float, ...] | None = None  # [n] 1 to 10, for utility
    aligned_logprobs: tuple[float | None, ...] | None = None  # [n] per token, nats; None for an empty answer
    odd: tuple[bool, ...] | None = None  # [n] the aligned model finds this answer odd
    ended: tuple[bool | None, ...] | None = None  # [n] the answer ended by itself; None = the file does not say

    def __len__(self) -> int:
        """Return how many answers there are."""
        return len(self.texts)


Measure: TypeAlias = Callable[[AnswerSet], float | None]
"""One number for the answers to one prompt; None = it cannot be said of these."""


class Group(StrEnum):
    """What a metric speaks of."""

    LEXICAL = "lexical"  # different words
    SEMANTIC = "semantic"  # different meanings
    QUALITY = "quality"
    BOTH = "both"  # diversity and quality in one number
    ALARM = "alarm"  # neither: signs of drift
    SHAPE = "shape"  # neither: what the other numbers depend on


class Wanted(StrEnum):
    """Which way a metric is better."""

    MORE = "more"
    LESS = "less"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number with its meaning: everything that a table, a file or a page says about it."""

    measure: Measure
    title: str
    group: Group
    definition: str  # one line
    source: str  # where it is from; "ours" where nobody published it
    wanted: Wanted = Wanted.MORE
    in_planes: bool = False  # one of the 11 x 2 that Coverage and Dominance average over
    digits: int = 3
