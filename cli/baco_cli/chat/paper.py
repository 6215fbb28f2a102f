"""The chat on a screen: lines of its own on stderr, what the voices said on stdout.

Writes and never reads; knows no key and no model.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from rich.padding import Padding
from rich.text import Text

from baco_cli.chat.session import Chat, Reply
from baco_cli.console import Screen
from baco_cli.render import TokenWriter, show_note
from baco_local.types import FinishReason

__all__ = ["ScreenPaper", "dial_path", "reply_figures", "version_words"]

CLIPBOARD_LIMIT = 74_994  # bytes; terminals drop longer ones


class ScreenPaper:
    """A ``commands.Paper`` on a terminal or a pipe."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._after_gap = False

    def say(self, text: str | Text, indent: int = 0) -> None:
        """Print a line for the reader."""
        self._after_gap = False
        if isinstance(text, str):
            text = Text(text, style="muted")
        if self.screen.err.is_terminal:
            self.screen.err.print(Padding(text, (0, 0, 0, indent)), highlight=False)
        else:
            self.screen.err.print(Text(" " * indent) + text, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print something that went otherwise than wished."""
        self._after_gap = False
        show_note(self.screen, text)

    def message(self, text: str) -> None:
        """Print what the user said, as it stood behind the prompt."""
        self._after_gap = False
        lines = text.splitlines() or [""]
        for i, line in enumerate(lines):
            self.screen.err.print(Text.assemble(("> " if i == 0 else "  ", f"bold {self.screen.theme.accent}"), line))

    def reply(self, reply: Reply, heading: str = "") -> None:
        """Print a whole reply in its two voices, and its figures."""
        writer = TokenWriter(self.screen.paints, self.screen.measure)
        said = "".join(writer.feed(token.text, token.speaker) for token in reply.tokens)
        self.screen.write(said + writer.flush() + "\n")
        self._after_gap = False
        self.figures(reply, heading)

    def figures(self, reply: Reply, heading: str = "") -> None:
        """Print one line about a reply, and leave room after it."""
        if not self.screen.quiet:
            parts = [reply_figures(reply), *([heading] if heading else [])]
            self.say(" · ".join(parts))
            self.gap()

    def gap(self) -> None:
        """Leave a line free where a person reads."""
        if self.screen.err.is_terminal and not self._after_gap:
            self.screen.err.print()
        self._after_gap = True

    def turns(self, chat: Chat, n: int) -> None:
        """Print the last turns of a chat."""
        for turn in chat.turns[max(0, len(chat.turns) - n) :]:
            self.message(turn.user)
            if turn.reply is not None:
                many = len(turn.replies) > 1
                self.reply(turn.reply, version_words(turn.current + 1, len(turn.replies)) if many else "")

    def copy(self, text: str) -> bool:
        """Hand a text to the clipboard of the terminal (OSC 52); False if it has none."""
        data = base64.b64encode(text.encode())
        if not self.screen.live or self.screen.out.is_dumb_terminal or len(data) > CLIPBOARD_LIMIT:
            return False
        self.screen.write(f"\x1b]52;c;{data.decode()}\x07")
        return True


def reply_figures(reply: Reply) -> str:
    """Return ``base 31 % · 14 switches · 27 tok/s · d=5→8 · seed 123``, and why it ended where it was stopped."""
    n_switches = reply.switches
    parts = [f"base {100 * reply.base_share:.0f} %", f"{n_switches} switch{'es' * (n_switches != 1)}"]
    if reply.tokens_per_s:
        parts.append(f"{reply.tokens_per_s:.{0 if reply.tokens_per_s >= 10 else 1}f} tok/s")
    if reply.dial:
        parts.append(f"d={dial_path([move.diversity for move in reply.dial])}")
    parts.append(f"seed {reply.seed}" + (f" sample {reply.sample}" if reply.sample else ""))
    why = ENDS.get(reply.finish)
    return " · ".join([*parts, *([why] if why else [])])


def version_words(number: int, n: int) -> str:
    """Return which of several versions of a reply this is."""
    return f"{number}/{n} ← →"


def dial_path(stops: Sequence[float]) -> str:
    """Return where the dial went: its ends and where it turned round; of many turns the last alone."""
    path: list[float] = []
    for stop in stops:
        if len(path) > 1 and (path[-1] - path[-2]) * (stop - path[-1]) > 0:
            path.pop()
        path.append(stop)
    few = [f"{stop:g}" for stop in path]
    return "→".join(few if len(few) < 4 else [few[0], "…", *few[-2:]])


ENDS = {
    FinishReason.CANCELLED: "stopped",
    FinishReason.LENGTH: "cut at its length; /set max_tokens N allows more",
    FinishReason.CONTEXT: "the context is full",
}
