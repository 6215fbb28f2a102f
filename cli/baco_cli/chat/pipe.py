"""A chat without a terminal: one message per line in, plain text out, no question ever.

Knows no key; a pair of lines of three quotes holds a message of several lines.
"""

from __future__ import annotations

import time
from typing import TextIO

from baco_cli.chat.face import Asked, Key
from baco_cli.chat.session import DialMove
from baco_cli.chat.talk import Heard, Talk
from baco_cli.console import Screen
from baco_cli.render import TokenWriter
from baco_cli.stopping import stoppable
from baco_local.errors import BacoError
from baco_local.pair import Stream

__all__ = ["PipeFace", "is_open", "unfenced"]

FENCE = '"""'


class PipeFace:
    """A ``Face`` on streams; also for terminals that can do no more than print."""

    def __init__(self, screen: Screen, lines: TextIO) -> None:
        self._screen, self._lines = screen, lines

    def ask(self, talk: Talk, draft: str = "") -> Asked:  # noqa: ARG002 - nobody can edit a draft here
        """Read the next message."""
        said = self._lines.readline()
        if not said:
            return Key.LEAVE
        while is_open(said) and (more := self._lines.readline()):
            said += more
        return unfenced(said.rstrip("\n"))

    def hear(self, talk: Talk, stream: Stream, n_begun: int = 0) -> Heard:
        """Write a reply as it comes."""
        heard = Heard(moves=[DialMove(0, stream.diversity)])
        writer = TokenWriter(self._screen.paints, self._screen.measure)
        with stoppable([stream]) as interrupt:
            try:
                for token in stream:
                    heard.tokens.append(token)
                    self._screen.write(writer.feed(token.text, token.speaker))
                    if talk.pace and len(heard.tokens) > n_begun:
                        time.sleep(1 / talk.pace)
            except BacoError as error:
                heard.error = error
        heard.leave = heard.stopped = interrupt.yes
        self._screen.write(writer.flush() + "\n")
        heard.answer = stream.answer
        return heard


def is_open(text: str) -> bool:
    """Return whether a block of several lines has begun and not ended."""
    text = text.strip()
    return text.startswith(FENCE) and (len(text) < 2 * len(FENCE) or not text.endswith(FENCE))


def unfenced(text: str) -> str:
    """Return a message without the quotes around its block."""
    if not text.strip().startswith(FENCE):
        return text
    return text.strip().removeprefix(FENCE).removesuffix(FENCE).strip("\n")
