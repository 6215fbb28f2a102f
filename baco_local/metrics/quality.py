"""How good answers are by what others said of them: shares, bits, rewards; and scores of 1 to 10 from rewards.

Reads numbers that constraints, a judge or a reward model gave; asks nobody itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["deciles", "mean_of", "scores_of"]


def mean_of(values: Sequence[float | None] | None) -> float | None:  # [n]
    """Return the mean of what was measured; None where nothing was."""
    known = [value for value in values or () if value is not None]
    return float(np.mean(known)) if known else None


def deciles(rewards: Sequence[float]) -> tuple[float, ...]:
    """Return the nine cut points between ten equally frequent scores."""
    return tuple(float(cut) for cut in np.quantile(rewards, np.arange(1, 10) / 10))


def scores_of(rewards: Sequence[float], cuts: Sequence[float]) -> tuple[float, ...]:
    """Return 1 to 10 for each reward: 1 + how many of the nine cut points it exceeds."""
    return tuple(1.0 + float(place) for place in np.searchsorted(cuts, rewards, side="left"))
