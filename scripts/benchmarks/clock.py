"""Time what llama.cpp itself takes, and sum up runs; knows no model and no table."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp as lc

__all__ = ["DecodeClock", "Spread", "spread"]


class DecodeClock:
    """Counts the time in which llama.cpp decodes at all, by standing between the binding and its caller."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._n_inside, self._since_s, self._lock = 0, 0.0, threading.Lock()
        self._decode: Callable[[Any, Any], int] = lc.llama_decode

    def __call__(self, context: Any, batch: Any) -> int:
        """Decode, and add up how long it took; two decodes at once count once."""
        with self._lock:
            self._since_s = self._since_s if self._n_inside else time.perf_counter()
            self._n_inside += 1
        code = self._decode(context, batch)
        with self._lock:
            self._n_inside -= 1
            self.spent_s += 0.0 if self._n_inside else time.perf_counter() - self._since_s
        return code

    def __enter__(self) -> DecodeClock:
        """Start to listen."""
        lc.llama_decode = self
        return self

    def __exit__(self, *_: object) -> None:
        """Give the binding back."""
        lc.llama_decode = self._decode


@dataclass(frozen=True, slots=True)
class Spread:
    """The median, the least and the most of some runs."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        """Write it with three digits."""
        return f"{self.median:.3g} ({self.least:.3g} .. {self.most:.3g})"


def spread(values: Sequence[float]) -> Spread:
    """Sum up some runs."""
    return Spread(statistics.median(values), min(values), max(values))
