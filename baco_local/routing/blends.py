"""Soft mixes of two rows, the relatives of a hard switch: per token, without a boundary rule.

Each returns one row of logits whose softmax is the mixture; it knows neither text nor sampling. A base model gives
the end of a turn almost no probability, so a plain mix would never end: the stops keep aligned's probability.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from baco_local.errors import UsageError
from baco_local.numerics import log_normaliser
from baco_local.types import MASKED, Row

__all__ = ["BLENDS", "Blend", "Mix", "contrast", "mix_logit", "mix_prob"]

Mix: TypeAlias = Callable[[Row, Row, float, Collection[int]], Row]
"""(aligned [V], base [V], lambda, ids that end a turn on either side) -> logits [V] of the mixture."""


@dataclass(frozen=True, slots=True)
class Blend:
    """A soft mix and its dial: lambda is diversity / 10, and the two ends are one model alone."""

    name: str
    does: str  # one sentence
    source: str
    mix: Mix
    least: float = 0.0  # the smallest lambda with a meaning

    def __call__(self, aligned: Row, base: Row, lam: float, stops: Collection[int]) -> Row:
        """Return the mixture; 0 is the aligned row and 1 the base row, stops included."""
        if not self.least <= lam <= 1:
            raise UsageError(f"lambda is {lam}; {self.name} takes numbers from {self.least:g} to 1")
        if lam == 0:
            return aligned.copy()
        if lam == 1:
            return base.copy()
        return self.mix(aligned, base, lam, stops)


def mix_prob(aligned: Row, base: Row, lam: float, stops: Collection[int]) -> Row:  # [V], [V] -> [V]
    """Average the probabilities."""
    ids = _ids(stops)
    mixed, log_z = _probs(aligned, ids)
    mixed *= np.float32(1 - lam)
    other, _ = _probs(base, ids)
    other *= np.float32(lam)
    mixed += other
    with np.errstate(divide="ignore"):  # what underflowed on both sides is masked
        np.log(mixed, out=mixed)
    np.maximum(mixed, MASKED, out=mixed)
    mixed[ids] = np.maximum(aligned[ids] - np.float32(log_z), MASKED)
    return mixed


def mix_logit(aligned: Row, base: Row, lam: float, stops: Collection[int]) -> Row:  # [V], [V] -> [V]
    """Average the logits: the geometric mean (DeRa, arXiv 2402.02992, with their weight 1 - lambda)."""
    return _with_stops_of_inplace(_line(aligned, base, lam), aligned, _ids(stops))


def contrast(  # [V], [V] -> [V]
    aligned: Row, base: Row, lam: float, stops: Collection[int], *, beta: float = 0.1
) -> Row:
    """Average the logits of what aligned finds plausible, or with lambda below 0 push away from base.

    Plausible is what has at least beta times aligned's largest probability among what both may say and is no stop
    (arXiv 2210.15097, with one pair of models): measured by a token that base may not say, nothing might be left.
    """
    ids = _ids(stops)
    common = aligned.copy()
    common[ids] = MASKED
    common[base <= MASKED / 2] = MASKED  # with lambda below 0 they would soar, too
    mixed = _line(aligned, base, lam)
    mixed[common < common.max() + np.float32(math.log(beta))] = MASKED
    return _with_stops_of_inplace(mixed, aligned, ids)


def _ids(stops: Collection[int]) -> NDArray[np.intp]:
    return np.fromiter(stops, np.intp, len(stops))


def _line(aligned: Row, base: Row, lam: float) -> Row:
    mixed = aligned * np.float32(1 - lam)
    mixed += base * np.float32(lam)
    return mixed


def _probs(row: Row, without: NDArray[np.intp]) -> tuple[Row, float]:
    """Return the distribution over the other tokens, and the log of its normaliser."""
    rest = row.copy()
    rest[without] = MASKED
    peak = rest[rest.argmax()]
    rest -= peak
    np.exp(rest, out=rest)
    z = float(rest.sum(dtype=np.float64))
    rest /= np.float32(z)
    return rest, float(peak) + math.log(z)


def _with_stops_of_inplace(mixed: Row, aligned: Row, ids: NDArray[np.intp]) -> Row:
    """Give the stops the probability that they have in the aligned row: the same distance to all that is no stop."""
    rest = aligned.copy()
    rest[ids] = mixed[ids] = MASKED
    shift = np.float32(log_normaliser(mixed) - log_normaliser(rest))
    mixed[ids] = np.maximum(aligned[ids] + shift, MASKED)
    return mixed


BLENDS: dict[str, Blend] = {
    "mix-prob": Blend("mix-prob", "Averages the two distributions.", "a plain ensemble", mix_prob),
    "mix-logit": Blend(
        "mix-logit", "Averages the two rows of logits: the geometric mean.", "DeRa, arXiv 2402.02992", mix_logit
    ),
    "contrast": Blend(
        "contrast",
        "As mix-logit, over what the aligned model finds plausible; below 0 it pushes away from base.",
        "contrastive decoding, arXiv 2210.15097",
        contrast,
        -1.0,
    ),
}
