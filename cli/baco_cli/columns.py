"""Several texts that grow side by side, appended row by row; what begins as one of them does is muted.

A row is written for good when every column has left it; only the row that still grows is written over. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from baco_cli.console import Paint
from baco_cli.render import Run, Wrapper
from baco_local.types import Role

__all__ = ["BORDER", "NARROWEST", "SideBySide", "column_width"]

BORDER = " │ "
NARROWEST = 24  # columns of text; narrower ones are set below each other
WIDEST = 60


def column_width(terminal: int, n: int) -> int | None:
    """Return how wide each of n columns can be; None where they would be too narrow."""
    width = (terminal - 1 - len(BORDER) * (n - 1)) // n
    return min(width, WIDEST) if width >= NARROWEST else None


class Lines:
    """The text of one column, as lines of runs."""

    def __init__(self, width: int, paints: Mapping[Role, Paint]) -> None:
        self._wrapper = Wrapper(paints, width)
        self.lines: list[list[Run]] = [[]]
        self.finished = False

    def add(self, runs: Sequence[Run]) -> None:
        """Append runs, breaking lines where they do."""
        for owner, text in runs:
            first, *rest = text.split("\n")
            self.lines[-1].append((owner, first))
            for line in rest:
                self.lines.append([(owner, line)])

    def feed(self, text: str, speaker: Role) -> None:
        """Append text."""
        self.add(self._wrapper.feed(text, speaker))

    def finish(self) -> None:
        """Settle the last word; nothing more will come."""
        self.add(self._wrapper.flush())
        self.finished = True

    def row(self, number: int) -> list[Run]:
        """Return one line; empty below the end."""
        return self.lines[number] if number < len(self.lines) else []

    def has_left(self, number: int) -> bool:
        """Return whether a line will not change any more."""
        return self.finished or number + 1 < len(self.lines)


class SideBySide:
    """Columns on a terminal; ``update`` returns what is to be written to bring it up to date.

    Args:
        width: of each column, without the border.
        paints: how each voice is painted, per column.
        muted: how a beginning is painted that is the same as in another column.
        reference: the index of that column.

    """

    def __init__(self, width: int, paints: Sequence[Mapping[Role, Paint]], muted: Paint, reference: int = 0) -> None:
        self._columns = [Lines(width, each) for each in paints]
        self._paints = paints
        self._width, self._muted = width, muted
        self._reference = reference
        self._same = [index != reference for index in range(len(paints))]  # has been like the reference so far
        self._row = 0  # the one that still grows
        self._growing = ""  # as it stands on the terminal

    def feed(self, column: int, text: str, speaker: Role) -> None:
        """Append text to a column."""
        self._columns[column].feed(text, speaker)

    def finish(self, column: int) -> None:
        """Say that a column has ended."""
        self._columns[column].finish()

    def update(self) -> str:
        """Return the rows that are final now, and the one that grows over itself."""
        written = []
        while all(column.has_left(self._row) for column in self._columns) and self._rows_remain():
            written.append(f"\r{self._painted_row(final=True)}\x1b[K\n")
            self._row += 1
            self._growing = ""
        if self._rows_remain() and (growing := self._painted_row(final=False)) != self._growing:
            written.append(f"\r{growing}\x1b[K")
            self._growing = growing
        return "".join(written)

    def _rows_remain(self) -> bool:
        return any(self._row < len(column.lines) for column in self._columns)

    def _painted_row(self, *, final: bool) -> str:
        expected = "".join(text for _, text in self._columns[self._reference].row(self._row))
        cells = []
        for index, column in enumerate(self._columns):
            runs = column.row(self._row)
            text = "".join(part for _, part in runs)
            n_same = common_words(expected, text) if self._same[index] else 0
            if final and n_same < max(len(text), len(expected)):
                self._same[index] = False
            cells.append(self._cell(runs, text, n_same, self._paints[index]))
        return f"{self._muted.start}{BORDER}{self._muted.stop}".join(cells).rstrip(" ")

    def _cell(self, runs: Sequence[Run], text: str, n_same: int, paints: Mapping[Role, Paint]) -> str:
        """Paint one line of one column, its first characters muted, and fill it up to the width."""
        parts: list[str] = []
        place = 0
        for owner, part in runs:
            cut = min(max(n_same - place, 0), len(part))
            paint = Paint() if owner is None else paints[owner]
            own = paint if paint.start else self._muted
            parts += (wrapped(part[:cut], own), wrapped(part[cut:], paint))
            place += len(part)
        return "".join(parts) + " " * (self._width - cell_len(text))


def wrapped(text: str, paint: Paint) -> str:
    """Return text between the codes of a paint; nothing around nothing."""
    return f"{paint.start}{text}{paint.stop}" if text else ""


def common_words(a: str, b: str) -> int:
    """Return how many characters of b are whole words that a begins with too."""
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if not (a[n:] + " ")[0].strip() and not (b[n:] + " ")[0].strip():
        return n
    return b.rfind(" ", 0, n) + 1
