"""The side of a chat that a person meets, as two verbs: what do you say, and hear this.

Says what a loop needs of a terminal or a pipe; is neither.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol, TypeAlias

from baco_cli.chat.talk import Heard, Talk
from baco_local.pair import Stream

__all__ = ["Asked", "Face", "Key"]


class Key(Enum):
    """What was pressed instead of saying something."""

    LEAVE = "leave"
    INTERRUPT = "interrupt"  # Ctrl-C on an empty line
    OLDER = "older"  # versions of the last reply
    NEWER = "newer"


Asked: TypeAlias = "str | Key"
"""A message, a line that starts with a slash, or a key."""


class Face(Protocol):
    """A terminal, or a pipe."""

    def ask(self, talk: Talk, draft: str = "") -> Asked:
        """Wait for what the user says next; the draft stands in the input line already."""
        ...

    def hear(self, talk: Talk, stream: Stream, n_begun: int = 0) -> Heard:
        """Write a reply while it grows; the first tokens are only repeated, so they need no time."""
        ...
