"""How sure a number is: bootstrap intervals over prompts, and paired comparison of two rivals on the same prompts.

Takes one value per prompt and knows no text. scipy (extra "analysis") draws the resamples; intervals are percentiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baco_local.errors import UsageError

__all__ = ["Difference", "Interval", "mean_interval", "paired_difference"]

NO_SCIPY = "intervals need scipy\n    install it:  pip install 'baco-local[analysis]'"
LEVEL = 0.95
N_PERMUTATIONS = 9999  # the smallest p is 2 / (this + 1)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over prompts, with the bounds that 95 % of the resamples keep; no bounds for fewer than two prompts."""

    mean: float | None  # None = of no prompt could it be said
    low: float | None
    high: float | None
    n_used: int
    n_skipped: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What the second rival has more than the first, prompt by prompt."""

    change: Interval
    share_above: float | None  # of resamples in which the second is above the first; equal ones count half
    p: float | None  # two-sided, of the sign-flip permutation test


def mean_interval(values: Sequence[float | None], *, n_resamples: int, seed: int) -> Interval:
    """Return the mean over prompts and its bootstrap interval; None values are left out and counted."""
    known = _known(values)
    low, high, _ = _bounds(known, n_resamples, seed)
    return Interval(float(known.mean()) if len(known) else None, low, high, len(known), len(values) - len(known))


def paired_difference(
    first: Sequence[float | None], second: Sequence[float | None], *, n_resamples: int, seed: int
) -> Difference:
    """Compare two rivals prompt by prompt; a prompt without a value of both is left out and counted."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values cannot be paired")
    changes = [None if a is None or b is None else b - a for a, b in zip(first, second, strict=True)]
    known = _known(changes)
    low, high, means = _bounds(known, n_resamples, seed)
    mean = float(known.mean()) if len(known) else None
    change = Interval(mean, low, high, len(known), len(changes) - len(known))
    if means is None:
        return Difference(change, None, None)
    share = float((means > 0).mean() + (means == 0).mean() / 2)
    return Difference(change, share, _sign_flip_p(known, seed))


def _known(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([value for value in values if value is not None], np.float64)


def _bounds(
    known: NDArray[np.float64], n_resamples: int, seed: int
) -> tuple[float | None, float | None, NDArray[np.float64] | None]:
    """Return both bounds and the means of all resamples."""
    if len(known) < 2:
        return None, None, None
    if np.ptp(known) == 0:  # scipy warns of a degenerate distribution
        same = float(known[0])
        return same, same, np.full(n_resamples, same)
    drawn: Any = _stats().bootstrap(
        (known,),
        np.mean,
        n_resamples=n_resamples,
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    bounds = drawn.confidence_interval
    return float(bounds.low), float(bounds.high), np.asarray(drawn.bootstrap_distribution)


def _sign_flip_p(known: NDArray[np.float64], seed: int) -> float:
    if not known.any():
        return 1.0
    test: Any = _stats().permutation_test(
        (known,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=N_PERMUTATIONS,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def _stats() -> Any:  # scipy.stats
    try:
        import scipy.stats
    except ImportError as error:
        raise UsageError(NO_SCIPY) from error
    return scipy.stats
