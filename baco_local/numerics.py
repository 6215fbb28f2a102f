"""Numbers from rows of logits: softmax, entropy, likeliest tokens. numpy only, no domain words.

Rows must be finite (a masked token has a very low logit, not minus infinity).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from baco_local.types import Row

__all__ = ["Spread", "jensen_shannon", "likeliest", "log_softmax_at", "softmax", "spread"]


class Spread:
    """How peaked a row is: its likeliest token, that token's probability, entropy in nats, log of the normaliser."""

    __slots__ = ("entropy", "log_z", "max_p", "top")

    def __init__(self, top: int, max_p: float, entropy: float, log_z: float) -> None:
        self.top, self.max_p, self.entropy, self.log_z = top, max_p, entropy, log_z


def spread(row: Row) -> Spread:  # [V]
    """Return how peaked a row is, with one exponential and one dot product."""
    top = int(row.argmax())
    peak = row[top]
    shifted = row - peak
    powers = np.exp(shifted)
    z = float(powers.sum(dtype=np.float64))
    log_z = math.log(z)
    return Spread(top, 1.0 / z, max(0.0, log_z - float(powers @ shifted) / z), float(peak) + log_z)


def log_softmax_at(row: Row, token: int, log_z: float) -> float:
    """Return the log-probability of one token, in nats, given the log of the normaliser."""
    return float(row[token]) - log_z


def softmax(row: Row) -> NDArray[np.float64]:  # [V] -> [V]
    """Return probabilities that sum to 1."""
    powers = np.exp(row.astype(np.float64) - float(row.max()))
    return np.asarray(powers / powers.sum())


def likeliest(row: Row, k: int) -> NDArray[np.int64]:  # [V] -> [k]
    """Return the ids of the k largest logits, best first."""
    k = min(k, row.size)
    if k <= 0:
        return np.empty(0, np.int64)
    near = np.flatnonzero(row > row.max() - 12.0)  # what lies 12 nats below the top weighs less than 1e-5 of it
    ids = near if near.size >= k else np.arange(row.size)
    if ids.size > k:
        ids = ids[np.argpartition(row[ids], ids.size - k)[-k:]]
    return np.asarray(ids[np.argsort(-row[ids], kind="stable")])


def jensen_shannon(a: Row, b: Row) -> float:  # [V], [V]
    """Return the Jensen-Shannon divergence of two rows of equal width, in nats: 0 = equal, ln 2 = disjoint."""
    p, q = softmax(a), softmax(b)
    m = (p + q) / 2
    both = np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / m), 0) + np.where(q > 0, q * np.log(np.where(q > 0, q, 1) / m), 0)
    return float(both.sum() / 2)
