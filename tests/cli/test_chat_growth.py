"""The status line below a growing reply leaves no trace."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from baco_cli.chat.terminal import Growth
from baco_cli.console import Paint
from baco_cli.render import TokenWriter
from baco_local.types import Role


class Glass:
    """A terminal that understands what a growing reply sends, and keeps what scrolls out of sight."""

    def __init__(self, height: int) -> None:
        self.gone: list[str] = []
        self.lines = [""] * height
        self.row = self.column = 0
        self._saved = (0, 0)

    def write(self, data: str) -> None:
        """Obey codes and show text."""
        for code, char in re.findall(r"(\x1b(?:\[\??\d*[A-Za-z]|[D78]))|([\s\S])", data):
            if code:
                self._obey(code)
            elif char == "\n":
                self._down(scrolls=True)
                self.column = 0
            elif char == "\r":
                self.column = 0
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
                self.column += 1

    @property
    def everything(self) -> str:
        """Return all lines, those out of sight included."""
        return "\n".join(line.rstrip() for line in [*self.gone, *self.lines]).rstrip("\n")

    def _obey(self, code: str) -> None:
        if code == "\x1bD":
            self._down(scrolls=True)
        elif code == "\x1b[B":
            self._down(scrolls=False)
        elif code == "\x1b[A":
            self.row = max(0, self.row - 1)
        elif code == "\x1b7":
            self._saved = (self.row, self.column)
        elif code == "\x1b8":
            self.row, self.column = self._saved
        elif code == "\x1b[2K":
            self.lines[self.row] = ""
        elif code == "\x1b[J":
            self.lines[self.row] = self.lines[self.row][: self.column]
            self.lines[self.row + 1 :] = [""] * (len(self.lines) - self.row - 1)
        else:
            raise AssertionError(f"{code!r} is no code of a growing reply")

    def _down(self, *, scrolls: bool) -> None:
        if self.row < len(self.lines) - 1:
            self.row += 1
        elif scrolls:
            self.gone.append(self.lines.pop(0))
            self.lines.append("")


words = st.text("ab \n", max_size=6)
statuses = st.sampled_from(["", "d=5", "a much longer status"])


@given(st.integers(2, 5), st.integers(0, 6), st.lists(st.tuples(words, statuses), max_size=8))
def test_a_status_line_leaves_no_trace(height: int, start: int, steps: list[tuple[str, str]]) -> None:
    """Wherever a reply starts and however it is cut, the terminal finally holds its text and nothing else."""
    plain, glass, growth = Glass(height), Glass(height), Growth(live=True)
    for one in (plain, glass):
        one.write("before\n" * start)
    for text, status in steps:
        plain.write(text)
        glass.write(growth.grow(text, status))
    plain.write("\n")
    glass.write(growth.end(""))
    assert glass.everything == plain.everything
    assert glass.column == plain.column


@given(st.integers(2, 5), st.lists(st.tuples(words, statuses), max_size=8))
def test_a_status_line_stands_below_the_text(height: int, steps: list[tuple[str, str]]) -> None:
    """After every step the line below the cursor holds the status, and nothing stands below that."""
    glass, growth = Glass(height), Growth(live=True)
    shown = ""
    for text, status in steps:
        glass.write(growth.grow(text, status))
        shown = status
        assert glass.lines[glass.row + 1 :] == [] or glass.lines[glass.row + 1] == shown
        assert not "".join(glass.lines[glass.row + 2 :])


@given(st.lists(words, max_size=6))
def test_without_a_live_terminal_there_are_no_codes(texts: list[str]) -> None:
    """On a dumb terminal the text goes out as it is."""
    growth = Growth(live=False)
    assert "".join(growth.grow(text, "status") for text in texts) + growth.end("") == "".join(texts) + "\n"


def test_wrapped_text_never_fills_a_line() -> None:
    """Lines stay shorter than the terminal, so that the cursor never hangs at its edge."""
    writer = TokenWriter({role: Paint() for role in Role}, measure=9)
    said = "".join(writer.feed(word, Role.BASE) for word in [" once", " upon", " a", " time"]) + writer.flush()
    assert max(map(len, said.split("\n"))) <= 9
    assert all(a or b for a, b in pairwise(said.split("\n")))
