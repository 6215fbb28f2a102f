"""Answers as they are read: bytes to characters, stop strings.

Streams of ``feed`` and ``flush`` that give the same text however the input is cut; knows no tokens and no model.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable

__all__ = ["StopMatcher", "StreamDecoder"]


class StreamDecoder:
    """Token bytes in, printable text out; never half a character."""

    __slots__ = ("_utf8",)

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, piece: bytes) -> str:
        """Return the characters that these bytes complete."""
        return self._utf8.decode(piece)

    def flush(self) -> str:
        """Return what an unfinished character at the end becomes."""
        return self._utf8.decode(b"", final=True)


class StopMatcher:
    """Text in, text out, up to the stop string that is completed first; holds back only what may become a stop.

    Of two stops completed by the same character the longer one wins. Without stops it hands through what it gets.
    """

    __slots__ = ("_held", "_longest_first", "_openings", "stopped")

    def __init__(self, stops: Iterable[str] = ()) -> None:
        self._longest_first = tuple(sorted(set(stops), key=lambda stop: (-len(stop), stop)))
        assert "" not in self._longest_first, "an empty stop string would end every answer"
        openings = {stop[:n] for stop in self._longest_first for n in range(1, len(stop))}
        self._openings = tuple(sorted(openings, key=len, reverse=True))
        self._held = ""
        self.stopped: str | None = None  # the stop string that ended the text

    def feed(self, text: str) -> str:
        """Return the text that no stop can take back any more; nothing after a stop."""
        if not self._longest_first:
            return text
        if self.stopped is not None:
            return ""
        text = self._held + text
        ends = {stop: at + len(stop) for stop in self._longest_first if (at := text.find(stop)) >= 0}
        if ends:
            self._held, self.stopped = "", min(ends, key=ends.__getitem__)  # the first of equals: the longest
            return text[: ends[self.stopped] - len(self.stopped)]
        self._held = self._opening_at_the_end(text)
        return text[: len(text) - len(self._held)]

    def flush(self) -> str:
        """Return what was held back and did not become a stop."""
        held, self._held = self._held, ""
        return held

    def _opening_at_the_end(self, text: str) -> str:
        if not text.endswith(self._openings):
            return ""
        return next(opening for opening in self._openings if text.endswith(opening))
