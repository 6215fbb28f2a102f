"""The terminal as it is: which stream takes colour, how wide it is, and which hues can be read on it.

Knows no model and no command. What is written to stdout is data; everything else goes to stderr.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from textwrap import wrap
from threading import Lock
from typing import IO, NoReturn

from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console, RenderableType
from rich.style import Style
from rich.text import Text
from rich.theme import Theme as RichTheme

from baco_local.types import Role

__all__ = ["MEASURE", "THEMES", "Paint", "Screen", "StatusLine", "Theme", "ThemeName", "console", "paint", "pick"]

WHOLE_LINE = 1 << 16  # where nobody looks at a terminal, a line is a line
MEASURE = 100  # columns of running text, however wide the terminal: longer lines are hard to read


class ThemeName(StrEnum):
    """Which hues are used."""

    AUTO = "auto"  # as COLORFGBG says, else the terminal's own sixteen colours
    DARK = "dark"
    LIGHT = "light"


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Rich styles by what they mean; base is one hue *and* underlined, so that colour is never alone."""

    base: str
    aligned: str = "none"
    muted: str
    accent: str
    good: str
    warn: str
    bad: str


THEMES: dict[str, Theme] = {
    "neutral": Theme(base="magenta underline", muted="dim", accent="cyan", good="green", warn="yellow", bad="red"),
    "dark": Theme(
        base="underline color(213)",
        muted="color(246)",
        accent="color(117)",
        good="color(114)",
        warn="color(221)",
        bad="color(210)",
    ),
    "light": Theme(
        base="underline color(127)",
        muted="color(242)",
        accent="color(25)",
        good="color(28)",
        warn="color(130)",
        bad="color(124)",
    ),
}


@dataclass(frozen=True, slots=True)
class Paint:
    """What stands before and after the text of one voice: terminal codes, and marks that a reader sees."""

    start: str = ""
    stop: str = ""
    opening: str = ""  # a visible mark, one column
    closing: str = ""


class DataConsole(Console):
    """A console that lets the caller end quietly when the reader of a pipe has gone."""

    def on_broken_pipe(self) -> NoReturn:
        """Hand the closed pipe on instead of leaving with code 1."""
        raise BrokenPipeError


class TalkConsole(Console):
    """A console that falls silent when nobody listens any more: words about the work never end it."""

    def on_broken_pipe(self) -> None:
        """Say nothing from now on."""
        self.quiet = True
        with suppress(OSError, ValueError):  # not every stream has a number
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class StatusLine:
    """One line on stderr that is written over, and wiped before anything else is written; silent where nobody looks.

    Some threads may show at once.
    """

    def __init__(self, err: Console, *, live: bool) -> None:
        self._err, self._live, self._lock = err, live, Lock()
        self._shown = False

    def show(self, words: str) -> None:
        """Replace what the line says."""
        if not self._live:
            return
        with self._lock:
            line = Text(words, style="muted", no_wrap=True)
            line.truncate(self._err.width - 1, overflow="ellipsis")
            with self._err.capture() as painted:
                self._err.print(line, end="")
            self._send(f"\r\x1b[2K{painted.get()}")
            self._shown = True

    def clear(self) -> None:
        """Wipe the line."""
        if self._shown:
            self._send("\r\x1b[2K")
            self._shown = False

    def _send(self, codes: str) -> None:
        self._err.file.write(codes)
        self._err.file.flush()


@dataclass(frozen=True, slots=True)
class Screen:
    """Both streams of one run, and how they are painted."""

    out: Console  # stdout: text and JSON, nothing else
    err: Console  # stderr: banner, progress, speed, warnings
    theme: Theme
    status: StatusLine
    mark: bool = False  # brackets around base text
    quiet: bool = False

    @classmethod
    def open(
        cls,
        *,
        no_color: bool = False,
        mark: bool = False,
        quiet: bool = False,
        theme: ThemeName = ThemeName.AUTO,
        environ: Mapping[str, str] | None = None,
    ) -> Screen:
        """Look at both streams; NO_COLOR, FORCE_COLOR and TERM=dumb are obeyed by rich."""
        chosen = THEMES[pick(theme, os.environ if environ is None else environ)]
        out = console(sys.stdout, chosen, no_color=no_color)
        err = console(sys.stderr, chosen, no_color=no_color, kind=TalkConsole)
        status = StatusLine(err, live=err.is_terminal and not err.is_dumb_terminal and not quiet)
        return cls(out, err, chosen, status, mark=mark, quiet=quiet)

    @property
    def live(self) -> bool:
        """Return whether a reader watches stdout grow."""
        return self.out.file.isatty()

    @property
    def columns(self) -> int:
        """Return the width of the terminal as it is now."""
        return shutil.get_terminal_size().columns

    @property
    def measure(self) -> int | None:
        """Return the width at which text wraps; None on a pipe, where it does not."""
        return min(self.columns - 1, MEASURE) if self.live else None

    @property
    def paints(self) -> dict[Role, Paint]:
        """Return how each voice is written to stdout."""
        base = paint(self.out, self.theme.base)
        return {Role.BASE: Paint(base.start, base.stop, *self.marks), Role.ALIGNED: paint(self.out, self.theme.aligned)}

    @property
    def plain_paints(self) -> dict[Role, Paint]:
        """Return how each voice is written to a file."""
        return {Role.BASE: Paint("", "", *self.marks), Role.ALIGNED: Paint()}

    @property
    def marks(self) -> tuple[str, str]:
        """Return what a reader sees around base text."""
        return ("⟦", "⟧") if self.mark else ("", "")

    def codes(self, style: str) -> Paint:
        """Return the codes of a style, as stdout takes them; the names of the theme are styles too."""
        return paint(self.out, getattr(self.theme, style, style))

    def styled(self, text: str, style: str) -> str:
        """Return text with the codes of a style around it."""
        codes = self.codes(style)
        return f"{codes.start}{text}{codes.stop}"

    def write(self, text: str) -> None:
        """Send text to stdout at once, unchanged."""
        if text:
            self.status.clear()
            self.out.file.write(text)
            self.out.file.flush()

    def show(self, content: RenderableType) -> None:
        """Send a table or painted text to stdout."""
        self.status.clear()
        self.out.print(content, soft_wrap=not self.live)

    def tell(self, words: str, style: str = "none", *, sign: str = "", hue: str = "none", indent: str = "") -> None:
        """Send a paragraph to stderr, whatever was asked for; a terminal gets it wrapped, paths and commands whole.

        Args:
            words: the paragraph.
            style: how it is painted.
            sign: stands before it, and the paragraph hangs from it.
            hue: how the sign is painted.
            indent: stands before every line.

        """
        lead = f"{sign} " if sign else indent
        width = self.err.width - 1 if self.err.is_terminal else WHOLE_LINE
        hang = " " * len(lead)
        lines = wrap(
            words, width, initial_indent=lead, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False
        )
        text = Text("\n".join(lines), style=style)
        text.stylize(hue, 0, len(sign))
        self.status.clear()
        self.err.print(text, soft_wrap=True)

    def gap(self) -> None:
        """Leave a line free where text and words about it meet on one terminal."""
        if self.live and self.err.is_terminal and not self.quiet:
            self.tell("")

    def say(self, words: str, style: str = "muted") -> None:
        """Send a paragraph for people to stderr, unless they asked for quiet."""
        if not self.quiet:
            self.tell(words, style)


def console(file: IO[str], theme: Theme, *, no_color: bool, kind: type[Console] = DataConsole) -> Console:
    """Return a rich console on a stream."""
    styles = {name: getattr(theme, name) for name in ("base", "aligned", "muted", "accent", "good", "warn", "bad")}
    return kind(
        file=file, theme=RichTheme(styles), no_color=True if no_color else None, highlight=False, soft_wrap=False
    )


def paint(target: Console, style: str) -> Paint:
    """Return the codes that a console would put around text of a style; none where it takes none."""
    system: ColorSystem | None = COLOR_SYSTEMS.get(target.color_system or "")
    parsed = Style.parse(style)
    if target.no_color:
        parsed = parsed.without_color
    start, _, stop = parsed.render("\0", color_system=system).partition("\0")
    return Paint(start, stop)


def pick(theme: ThemeName, environ: Mapping[str, str]) -> str:
    """Return the name of the hues to use; COLORFGBG ends in the background: 0-6 and 8 are dark, as rxvt set it."""
    if theme is not ThemeName.AUTO:
        return theme.value
    background = environ.get("COLORFGBG", "").rpartition(";")[2]
    if not background.isdecimal():
        return "neutral"
    return "light" if int(background) in (7, *range(9, 16)) else "dark"
