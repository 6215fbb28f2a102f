"""What can be removed from a wide row before llama.cpp copies, looks at or sorts it, without changing what it leaves.

Numpy only; a shortcut, never a meaning of its own: each is pinned by an equality with llama.cpp's samplers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from baco_local.errors import BackendError
from baco_local.sampling.draw import BARRED
from baco_local.sampling.steps import Dry, LogitBias, MinP, Penalties, Recipe, TopK, TopNSigma, TopP
from baco_local.types import MASKED, Row

__all__ = ["Cut", "cut_of"]

SLACK: Final = 1e-3  # what stays below a bound, so that llama.cpp's own float32 decides
ROUNDING: Final = 1e-6  # a mass this near to p is p: 0.3 + 0.4 reaches 0.7 in any arithmetic
NEAR: Final = 12.0  # nats below the largest logit where the k largest of a real row are found

MOVE: Final = (LogitBias, Penalties, Dry)  # steps that touch few logits, known beforehand


@dataclass(frozen=True, slots=True)
class Cut:
    """Bounds under which no token survives the first steps of a recipe.

    Min-p and top-k remove no more than the recipe would: they run once more in llama.cpp, over what is left, unless
    min-p comes first and nothing moves a logit: then it is this cut, with llama.cpp's own float32 bound.
    Top-n-sigma and top-p measure the whole row, so they are done here; llama.cpp sorts the row for top-p, which takes
    9 ms where it holds 150,000 logits.
    """

    sigmas: float = 0.0  # 0.0 = off
    top_p: float = 1.0  # 1.0 = off
    min_p: float = 0.0  # 0.0 = off
    top_k: int = 0  # 0 = off
    slack: float = SLACK  # below the bound of min-p; 0.0 = min-p is done here, for nothing was moved before it

    def survivors(self, row: Row, moved: Collection[int] = ()) -> NDArray[np.int64] | None:  # [V] -> [C]
        """Return places in the row, or None for the whole row.

        Tokens that an earlier step may have ``moved`` stay, and do not count: whatever became of their logits, the
        others cannot need a lower bound than among themselves.

        Raises:
            BackendError: the row holds not-a-number.

        """
        top = float(np.maximum.reduce(row))
        if math.isnan(top):
            raise BackendError("a row of logits holds not-a-number; the model file may be damaged")
        if moved and (self.min_p or self.top_k):
            places = np.fromiter(moved, np.int64, len(moved))
            places = places[places < row.size]
            rest = row.copy()
            rest[places] = MASKED
            others = self.survivors(rest)
            live = places[row[places] > BARRED]
            return None if others is None else np.concatenate([others, live])
        if top <= BARRED:
            return np.empty(0, np.int64)
        if self.top_p < 1.0:
            return _nucleus(row, self.top_p)
        bound = BARRED
        if self.sigmas:
            bound = top - self.sigmas * _deviation(row)
        if self.min_p:
            bound = max(bound, float(np.float32(top) + _log32(self.min_p)) - self.slack)
        if self.top_k:
            near = (row >= max(bound, top - NEAR)).nonzero()[0]
            if near.size >= self.top_k:
                return near
        return None if bound == BARRED and row.min() > BARRED else (row >= bound).nonzero()[0]


def cut_of(recipe: Recipe) -> tuple[Cut, Recipe]:
    """Return what the first steps of a recipe allow to remove, and the steps that still have to run."""
    first = recipe[0] if recipe else None
    if isinstance(first, TopP):
        return Cut(top_p=first.p), recipe[1:]
    if isinstance(first, MinP) and not any(isinstance(step, MOVE) for step in recipe):
        return Cut(min_p=first.p, slack=0.0), recipe[1:]
    sigmas, recipe = (first.n, recipe[1:]) if isinstance(first, TopNSigma) else (0.0, recipe)
    rest = recipe if sigmas else itertools.dropwhile(lambda step: isinstance(step, MOVE), recipe)
    cuts = tuple(itertools.takewhile(lambda step: isinstance(step, MinP | TopK), rest))
    min_p = max((step.p for step in cuts if isinstance(step, MinP)), default=0.0)
    top_k = min((step.k for step in cuts if isinstance(step, TopK) and step.k), default=0)
    return Cut(sigmas=sigmas, min_p=min_p, top_k=top_k), recipe


@cache
def _log32(p: float) -> np.float32:
    return np.float32(np.log(np.float32(p)))


def _deviation(row: Row) -> float:  # [V]
    """Return the standard deviation of the logits that are not masked."""
    live = row if row.min() > BARRED else row[row > BARRED]
    apart = live - live.mean(dtype=np.float64).astype(np.float32)
    return math.sqrt(float(np.square(apart, out=apart).mean(dtype=np.float64)))


def _nucleus(row: Row, p: float) -> NDArray[np.int64]:  # [V] -> [C]
    """Return the places of the likeliest tokens up to mass p, at least one; sums in float64."""
    top = row.max()
    powers = np.exp(row - top)
    wanted = p * (1 - ROUNDING) * float(powers.sum(dtype=np.float64))
    for depth in (NEAR / 3, NEAR / 2, NEAR, top - BARRED):  # to sort few is cheap, and few are mostly enough
        places = np.flatnonzero(row >= top - depth)
        if powers[places].sum(dtype=np.float64) >= wanted:
            break
    places = places[np.argsort(-row[places], kind="stable")]
    return np.asarray(places[: np.searchsorted(np.cumsum(powers[places], dtype=np.float64), wanted) + 1])
