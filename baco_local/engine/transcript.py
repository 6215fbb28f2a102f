"""The text of one answer while it grows, and what of it may be printed already.

Bytes go in with every token, settled text comes out. Held back are halves of characters, lines that could still turn
out to be a role marker, and tails that could become a stop string. Knows no model and no router.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from enum import Enum

from baco_local.routing.guards import may_open_role_marker, opens_role_marker
from baco_local.text.stream import StopMatcher, StreamDecoder

__all__ = ["Line", "Transcript"]


class Line(Enum):
    """What is known of the line that is being written."""

    OPEN = "open"  # nothing but spaces yet
    DOUBTFUL = "doubtful"  # it could still become a role marker
    MARKER = "marker"  # it opens with a role marker: nobody may see it
    PLAIN = "plain"


class Transcript:
    """An answer's text; every token owns a span of it."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.text = ""  # everything, leading spaces included
        self.ends: list[int] = []  # where each token's span ends
        self.line, self.line_start = Line.OPEN, 0
        self._decoder = StreamDecoder()
        self._matcher = StopMatcher(stops)
        self._watched = 0  # up to here the stop matcher has read
        self._released = 0  # up to here the text may be printed
        self._n_printed = 0  # tokens handed out
        self._begun = False  # something but leading spaces was handed out

    @property
    def stopped(self) -> str | None:
        """Return the stop string that was completed, if any."""
        return self._matcher.stopped

    def add(self, piece: bytes, *, suspect: bool) -> None:
        """Append a token; a line that a suspect token opens is held until it is clear that it is no role marker."""
        added = self._decoder.feed(piece)
        end = len(self.text)
        self.text += added
        self.ends.append(len(self.text))
        for i, part in enumerate(added.split("\n")):  # a token may end one line and open the next
            if i:
                end += 1
                self.line, self.line_start = Line.OPEN, end
            end += len(part)
            if self.line is not Line.PLAIN:
                self._judge(self.text[self.line_start : end], suspect)
            if self.line is Line.MARKER:
                return

    def _judge(self, line: str, suspect: bool) -> None:
        """Say what is known of a line by now."""
        if self.line is Line.OPEN and line.strip():
            self.line = Line.DOUBTFUL if suspect else Line.PLAIN
        if self.line is Line.DOUBTFUL:
            if opens_role_marker(line):
                self.line = Line.MARKER
            elif not may_open_role_marker(line):
                self.line = Line.PLAIN

    def before_line(self) -> int:
        """Return how many tokens lie wholly before the line that is being written."""
        return bisect_right(self.ends, self.line_start)

    def cut(self, pieces: Sequence[bytes]) -> None:
        """Forget every token but these first ones; none of the others was printed."""
        assert len(pieces) >= self._n_printed, "printed text cannot be taken back"
        self._decoder = StreamDecoder()
        self.text, self.ends = "", []
        for piece in pieces:
            self.text += self._decoder.feed(piece)
            self.ends.append(len(self.text))
        self.line_start = self.text.rfind("\n") + 1
        self.line = Line.PLAIN if self.text[self.line_start :].strip() else Line.OPEN

    def take(self) -> list[tuple[int, str]]:
        """Return what may be printed by now: (index of the token, its text)."""
        n = len(self.ends) if self.line is Line.PLAIN else self.before_line()
        self._release(self.ends[n - 1] if n else 0)  # whole tokens, for a cut takes whole tokens back
        return self._hand_out(last=self.stopped is not None)

    def finish(self) -> list[tuple[int, str]]:
        """Return everything that was still held back, half a character apart; there will be no more tokens."""
        if self.stopped is None:
            self._release(len(self.text))
            self._released += len(self._matcher.flush())
        return self._hand_out(last=True)

    def _release(self, settled: int) -> None:
        if settled > self._watched and self.stopped is None:
            self._released += len(self._matcher.feed(self.text[self._watched : settled]))
            self._watched = settled

    def _hand_out(self, *, last: bool) -> list[tuple[int, str]]:
        """Return the tokens whose span is released, the one that a stop string cuts in two included if it is last."""
        found = []
        while self._n_printed < len(self.ends):
            start = self.ends[self._n_printed - 1] if self._n_printed else 0
            end = self.ends[self._n_printed]
            if end > self._released and not (last and start < self._released):
                break
            text = self.text[start : min(end, self._released)]
            if not self._begun:
                text = text.lstrip()
                self._begun = bool(text)
            found.append((self._n_printed, text))
            self._n_printed += 1
        return found
