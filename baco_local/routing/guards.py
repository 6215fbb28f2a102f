"""Signs that a base model drifts: it opens a new turn, or goes round in circles; OURS, not in arXiv 2511.05650.

Reads text and says what it sees; what is then cut, and how long base is barred, is the caller's matter.
"""

from __future__ import annotations

import re
from collections import deque

__all__ = ["LoopWatch", "may_open_role_marker", "opens_role_marker"]

NAMES = ("question", "q", "user", "human", "instruction", "assistant", "answer")
# Spaces and digits are limited, so that what waits for a decision stays short.
MARKER = re.compile(rf"[ \t]*(?:###|(?:{'|'.join(NAMES)})[ \t]{{0,2}}\d{{0,4}}[ \t]{{0,2}}:)", re.IGNORECASE | re.ASCII)
STARTS = "|".join(sorted({name[:size] for name in NAMES for size in range(1, len(name))}))
UNDECIDED = re.compile(
    rf"[ \t]*(?:\#{{0,2}}|{STARTS}|(?:{'|'.join(NAMES)})[ \t]{{0,2}}\d{{0,4}}[ \t]{{0,2}})", re.IGNORECASE | re.ASCII
)


def opens_role_marker(line: str) -> bool:
    """Say whether a line opens a new turn: ``Question 2:``, ``User:``, ``###`` ..."""
    return MARKER.match(line) is not None


def may_open_role_marker(line: str) -> bool:
    """Say whether the beginning of a line could still become a role marker, so that it is held back until decided."""
    return UNDECIDED.fullmatch(line) is not None


class LoopWatch:
    """Notices when the last words were said before, again and again; words are compared without case."""

    __slots__ = ("_last", "_seen", "n_times", "n_words")

    def __init__(self, n_words: int = 8, n_times: int = 3) -> None:
        self.n_words, self.n_times = n_words, n_times
        self._last: deque[str] = deque(maxlen=n_words)
        self._seen: dict[tuple[str, ...], int] = {}

    def feed(self, text: str) -> bool:
        """Take finished words, and say whether a run of ``n_words`` has now been seen ``n_times`` times or more."""
        looped = False
        for word in text.casefold().split():
            self._last.append(word)
            if len(self._last) == self.n_words:
                run = tuple(self._last)
                times = self._seen[run] = self._seen.get(run, 0) + 1
                looped = looped or times >= self.n_times
        return looped

    def fork(self) -> LoopWatch:
        """Return an independent copy, for a guess or a place to come back to."""
        twin = LoopWatch(self.n_words, self.n_times)
        twin._last, twin._seen = self._last.copy(), self._seen.copy()
        return twin
