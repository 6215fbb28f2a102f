"""How far a long run is, in a line for people: how often it is shown, and what it says.

Knows no file and no model.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from baco_cli.console import Screen
from baco_local.batch.worker import Figures
from baco_local.types import Role

__all__ = ["Ticker", "clock", "count", "progress_words"]

BEAT_S = 0.2  # between two pictures of the progress on a terminal
MINUTE_S = 60.0  # and elsewhere


class Ticker:
    """One line that is written over on a terminal, a line a minute elsewhere."""

    def __init__(self, screen: Screen, *, calm: bool) -> None:
        """Take where it is shown; ``calm`` = as if nobody watched."""
        self._screen = screen
        self._live = screen.err.is_terminal and not screen.err.is_dumb_terminal and not calm
        self._started_s = self._said_s = time.perf_counter()
        self._gone = False  # nobody reads stderr any more

    def __call__(self, words: Callable[[float], str]) -> None:
        """Show what ``words`` makes of the seconds since the start, if it is time to."""
        now_s = time.perf_counter()
        if now_s - self._said_s < (BEAT_S if self._live else MINUTE_S) or self._gone:
            return
        self._said_s = now_s
        try:
            if self._live:
                self._screen.status.show(words(now_s - self._started_s))
            else:
                self._screen.say(words(now_s - self._started_s))
        except OSError:  # a closed pipe
            self._gone = True


def progress_words(n_done: int, n_total: int, figures: Figures, *, n_now: int, n_failed: int, elapsed_s: float) -> str:
    """Return ``37/400 · base 210 tok/s, aligned 210 tok/s · base 31 % · 2:10 left · 1 error``.

    Args:
        n_done: answers that are there, those of earlier runs included.
        n_total: answers that are wanted.
        figures: what was written by this run.
        n_now: answers of this run.
        n_failed: of these, how many have failed.
        elapsed_s: the time of this run.

    """
    speeds = [f"{role} {figures.n_decoded[role] / max(elapsed_s, 1e-9):.0f} tok/s" for role in Role]
    left = f"{clock(elapsed_s / n_now * (n_total - n_done))} left" if n_now else ""
    parts = [
        f"{n_done}/{n_total}",
        ", ".join(speeds),
        f"base {100 * figures.n_base / max(1, figures.n_tokens):.0f} %",
        left,
        count(n_failed, "error") if n_failed else "",
    ]
    return " · ".join(part for part in parts if part)


def count(n: int, noun: str) -> str:
    """Return ``1 answer`` or ``2 answers``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def clock(seconds: float) -> str:
    """Return ``0:09``, ``12:40`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
