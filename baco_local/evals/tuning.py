"""Turn a knob until a measured number is as wished: bisection for numbers that rise with the knob, but for their noise.

Takes the measuring as a callable; knows no model and no metric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Measure", "Tuned", "bisect"]

Measure: TypeAlias = Callable[[float], float]
"""Return what the knob does at this place; the same place gives the same number."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """Where the knob came to stand."""

    value: float
    reached: float  # what was measured there
    target: float
    tried: tuple[tuple[float, float], ...]  # (place, number), in order

    @property
    def miss(self) -> float:
        """Return how far off the number is."""
        return abs(self.reached - self.target)


def bisect(measure: Measure, target: float, low: float, high: float, *, tolerance: float, n_most: int = 10) -> Tuned:
    """Halve the range until the number is near enough; of all places that were tried, the nearest is taken.

    Args:
        measure: rises from low to high, noise apart.
        target: the number that is wished for.
        low: the lower end of the range; the ends themselves are not tried.
        high: the upper end.
        tolerance: a miss that is good enough.
        n_most: measurements, at most.

    """
    tried: list[tuple[float, float]] = []
    while len(tried) < n_most and not any(abs(number - target) <= tolerance for _, number in tried):
        place = (low + high) / 2
        number = measure(place)
        tried.append((place, number))
        low, high = (place, high) if number < target else (low, place)
    value, reached = min(tried, key=lambda one: abs(one[1] - target))
    return Tuned(value, reached, target, tuple(tried))
