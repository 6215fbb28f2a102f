"""Numbers from rows of logits: softmax, entropy, likeliest tokens. numpy only, no domain words.

Rows must be finite (a masked token has a very low logit, not minus infinity). Passes over a row are float32, where
numpy's exponential is twenty times as fast as in float64; what is summed is summed in float64 or in pairs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from baco_local.types import Row

__all__ = [
    "Spread",
    "jensen_shannon",
    "likeliest",
    "log_normaliser",
    "log_softmax_at",
    "mean_spread",
    "peak_probability",
    "softmax",
    "spread",
]

TINY = np.float32(1e-38)  # below every probability that counts, above float32's zero


class Spread:
    """How peaked a row is: its likeliest token, that token's probability, entropy in nats, log of the normaliser."""

    __slots__ = ("entropy", "log_z", "max_p", "top")

    def __init__(self, top: int, max_p: float, entropy: float, log_z: float) -> None:
        self.top, self.max_p, self.entropy, self.log_z = top, max_p, entropy, log_z


def spread(row: Row) -> Spread:  # [V]
    """Return how peaked a row is, with one exponential for probability and entropy."""
    top = int(row.argmax())
    peak = row[top]
    shifted = row - peak
    powers = np.exp(shifted)
    z = float(np.add.reduce(powers))
    log_z = math.log(z)
    # einsum, for BLAS would start threads of its own beside the decoder's
    entropy = max(0.0, log_z - float(np.einsum("i,i->", powers, shifted)) / z)
    return Spread(top, 1.0 / z, entropy, float(peak) + log_z)


def peak_probability(row: Row, top: int) -> float:  # [V]
    """Return the probability of the likeliest token, as ``spread`` does, for those who need nothing else."""
    return 1.0 / float(np.add.reduce(np.exp(row - row[top])))


def mean_spread(a: Row, b: Row) -> Spread:  # [V], [V]
    """Return how peaked the average of two rows' distributions is."""
    mean = _probs32(a)
    mean += _probs32(b)
    mean *= np.float32(0.5)
    top = int(mean.argmax())
    return Spread(top, float(mean[top]), _entropy_of(mean), 0.0)


def log_normaliser(row: Row) -> float:  # [V]
    """Return the log of the sum of the exponentials."""
    peak = row[row.argmax()]
    return float(peak) + math.log(float(np.exp(row - peak).sum(dtype=np.float64)))


def log_softmax_at(row: Row, token: int, log_z: float) -> float:
    """Return the log-probability of one token, in nats, given the log of the normaliser."""
    return float(row[token]) - log_z


def softmax(row: Row) -> NDArray[np.float64]:  # [V] -> [V]
    """Return probabilities that sum to 1."""
    powers: NDArray[np.float64] = np.exp(row - row[row.argmax()]).astype(np.float64)
    powers /= powers.sum()
    return powers


def likeliest(row: Row, k: int) -> NDArray[np.int64]:  # [V] -> [k]
    """Return the ids of the k largest logits, best first; equal ones in the order of their ids."""
    k = min(k, row.size)
    if k <= 0:
        return np.empty(0, np.int64)
    least = row.max() - np.float32(12.0)  # 12 nats below the top: most rows hold few such tokens, so no full partition
    if np.count_nonzero(row >= least) < k:
        least = np.partition(row, row.size - k)[row.size - k]
    ids = np.flatnonzero(row >= least)
    if ids.size > 4 * k:
        ids = ids[row[ids] >= np.partition(row[ids], ids.size - k)[ids.size - k]]
    return np.asarray(ids[np.argsort(-row[ids], kind="stable")][:k], np.int64)


def jensen_shannon(a: Row, b: Row) -> float:  # [V], [V]
    """Return the Jensen-Shannon divergence of two rows of equal width, in nats: 0 = equal, ln 2 = disjoint."""
    p, q = _probs32(a), _probs32(b)
    apart = _entropy_of((p + q) * np.float32(0.5)) - (_entropy_of(p) + _entropy_of(q)) / 2
    return min(max(0.0, apart), math.log(2.0))


def _probs32(row: Row) -> NDArray[np.float32]:  # [V] -> [V]
    powers: NDArray[np.float32] = np.exp(row - row[row.argmax()])
    powers /= np.float32(powers.sum(dtype=np.float64))
    return powers


def _entropy_of(probs: NDArray[np.float32]) -> float:  # [V]
    return max(0.0, -float(np.einsum("i,i->", probs, np.log(np.maximum(probs, TINY)))))
