"""Words for the screen: the two-voice stream, the lines around it, errors.

Turns tokens and numbers into text; knows no model, and never writes a token twice.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

from rich.cells import cell_len

from baco_cli.console import Paint, Screen
from baco_cli.records import router_name
from baco_local.engine.answer import Answer, Token
from baco_local.pair import Pair
from baco_local.sampling.steps import SamplingOptions
from baco_local.settings import Settings
from baco_local.types import FinishReason, Role

__all__ = [
    "ROOM",
    "Run",
    "Tally",
    "TokenWriter",
    "Wrapper",
    "banner",
    "by_sentence",
    "figures",
    "finish_words",
    "painted",
    "show_error",
    "show_note",
    "visible",
]

Run: TypeAlias = "tuple[Role | None, str]"
"""Text with its owner; None = nobody's: white space between the two, line breaks."""

MARGIN = " " * 4
ROOM = 20  # columns: a word that starts nearer to the margin waits until all of it is known


class Wrapper:
    """Text of two voices in, runs out: each with its owner, and with line breaks where words do not fit.

    ``feed`` and ``flush`` return what is settled now. However the text is cut into feeds, the total is the same.
    White space belongs to base where base wrote on both sides of it. A measure of None wraps nothing.
    """

    def __init__(self, paints: Mapping[Role, Paint], measure: int | None = None) -> None:
        self._paints = paints
        self.measure = measure
        self.column = 0
        self._out: list[Run] = []
        self._gap: list[str] = []  # white space that waits for the word after it
        self._word: list[Run] | None = None  # a word that waits for its end
        self._in_word = False
        self._last: Role | None = None  # who wrote the last visible character

    def feed(self, text: str, speaker: Role) -> list[Run]:
        """Return what is settled once this text is known."""
        if self.measure is not None:
            text = visible(text)
        for char in text:
            self._take(char, speaker)
        return self._drain()

    def flush(self) -> list[Run]:
        """Return the rest; on a terminal without the white space at the end."""
        self._end_word()
        self._close_mark()
        if self.measure is None:
            self._emit_gap(None)
        self._gap.clear()
        self._last = None
        return self._drain()

    def _take(self, char: str, speaker: Role) -> None:
        if char.isspace():
            self._end_word()
            self._gap.append(char)
            return
        if self._word is not None and cell_len(char) == 2:  # east asian text breaks anywhere
            self._end_word()
        if speaker is not self._last:
            self._close_mark()
        if not self._in_word:
            self._start_word(speaker)
        if speaker is not self._last:
            self._put(self._paints[speaker].opening, speaker)
        self._put(char, speaker)
        self._last = speaker

    def _start_word(self, speaker: Role) -> None:
        """Settle the white space before a word; near the margin, keep both until the word is known."""
        self._in_word = True
        owner = speaker if speaker is self._last else None
        after_break = "\n" in self._gap
        if self.measure is None or after_break:
            self._emit_gap(owner)
        if self.measure is None or self.column + len(self._gap) < self.measure - ROOM:
            self._emit_gap(owner)
        else:
            self._word = [(owner, space) for space in self._gap]
            self._gap.clear()

    def _end_word(self) -> None:
        self._in_word = False
        if self._word is None:
            return
        held, self._word = self._word, None
        assert self.measure is not None
        if self.column + sum(cell_len(char) for _, char in held) > self.measure and self.column:
            self._emit("\n", None)
            while held and held[0][1] == " ":
                held.pop(0)
        for owner, char in held:
            self._emit(char, owner)

    def _close_mark(self) -> None:
        if self._last is not None:
            self._put(self._paints[self._last].closing, self._last)

    def _put(self, char: str, owner: Role) -> None:
        if not char:
            return
        if self._word is not None:
            self._word.append((owner, char))
        else:
            self._emit(char, owner)

    def _emit_gap(self, owner: Role | None) -> None:
        for space in self._gap:
            self._emit(space, owner)
        self._gap.clear()

    def _emit(self, char: str, owner: Role | None) -> None:
        if char == "\n":
            self.column, owner = 0, None
        else:
            width = cell_len(char)
            if self.measure is not None and self.column + width > self.measure and self._paints_mark(char):
                self._out.append((None, "\n"))
                self.column = 0
            self.column += width
        self._out.append((owner, char))

    def _paints_mark(self, char: str) -> bool:
        """Return whether a character may be put on a new line; a closing mark stays with its word."""
        return all(char != paint.closing for paint in self._paints.values())

    def _drain(self) -> list[Run]:
        """Join what was emitted into one run per owner."""
        out, self._out = self._out, []
        return [(owner, "".join(char for _, char in run)) for owner, run in groupby(out, key=itemgetter(0))]


def painted(runs: Iterable[Run], paints: Mapping[Role, Paint]) -> str:
    """Return runs with the codes of their owners around them."""
    return "".join(
        text if owner is None else f"{paints[owner].start}{text}{paints[owner].stop}" for owner, text in runs if text
    )


class TokenWriter:
    """Text of two voices in, terminal text out: appended, wrapped at words, each character in its speaker's paint."""

    def __init__(self, paints: Mapping[Role, Paint], measure: int | None = None) -> None:
        self._paints = paints
        self._wrapper = Wrapper(paints, measure)

    @property
    def measure(self) -> int | None:
        """Return the columns that a line may take; it may be changed at any time, as terminals are resized."""
        return self._wrapper.measure

    @measure.setter
    def measure(self, columns: int | None) -> None:
        self._wrapper.measure = columns

    @property
    def column(self) -> int:
        """Return the columns that the last line takes so far."""
        return self._wrapper.column

    def feed(self, text: str, speaker: Role) -> str:
        """Return what can be written once this text is known."""
        return painted(self._wrapper.feed(text, speaker), self._paints)

    def flush(self) -> str:
        """Return the rest; on a terminal without the white space at the end."""
        return painted(self._wrapper.flush(), self._paints)


def visible(text: str) -> str:
    """Return text that cannot move the cursor or change the terminal: controls become signs, a tab four spaces."""
    if text.isprintable():
        return text
    return "".join(
        char if char == "\n" or unicodedata.category(char) != "Cc" else CONTROLS.get(char, "\ufffd") for char in text
    )


CONTROLS = {"\t": "    ", "\r": ""} | {chr(code): chr(0x2400 + code) for code in range(32) if code not in (9, 10, 13)}


@dataclass(slots=True)
class Tally:
    """Running figures of one answer, for a line that is shown while it is written."""

    n_tokens: int = 0
    n_base: int = 0
    switches: int = 0
    tokens_per_s: float = 0.0
    _first_s: float = field(default=0.0, repr=False)
    _last: Role | None = field(default=None, repr=False)

    @classmethod
    def of(cls, answer: Answer) -> Tally:
        """Return the figures of a finished answer."""
        tally = cls()
        for token in answer.tokens:
            tally.add(token)
        return tally

    def add(self, token: Token) -> None:
        """Count one more token."""
        if not self.n_tokens:
            self._first_s = token.elapsed_s
        self.n_tokens += 1
        self.n_base += token.speaker is Role.BASE
        self.switches += self._last is not None and self._last is not token.speaker
        self._last = token.speaker
        elapsed_s = token.elapsed_s - self._first_s
        self.tokens_per_s = (self.n_tokens - 1) / elapsed_s if elapsed_s > 0 else 0.0

    @property
    def base_share(self) -> float:
        """Return base tokens / all tokens; 0 for an empty answer."""
        return self.n_base / max(1, self.n_tokens)


def figures(tally: Tally, *, dial: str, seed: int | None = None, sample: str = "") -> str:
    """Return ``base 31 % · 14 switches · 27 tok/s · d=5 · seed 123``."""
    speed = tally.tokens_per_s
    parts = [
        f"base {100 * tally.base_share:.0f} %",
        "1 switch" if tally.switches == 1 else f"{tally.switches} switches",
        f"{speed:.{0 if speed >= 10 else 1}f} tok/s" if speed else "",
        dial,
        "" if seed is None else f"seed {seed}",
        sample,
    ]
    return " · ".join(part for part in parts if part)


def banner(screen: Screen, pair: Pair, settings: Settings, *, verbose: int = 0) -> None:
    """Say which models will speak, by which rule, and on what; with verbose, where they lie and what is set."""
    notice = pair.card.notice if pair.card is not None else ""
    devices = dict.fromkeys(info.device for info in pair.infos.values())
    screen.say(" · ".join([f"pair: {pair.name}", router_name(settings), *devices]))
    if notice:
        for line in by_sentence(notice, screen.columns):
            screen.say(line)
    if verbose:
        for role, info in pair.infos.items():
            size = f"{info.size_bytes / 2**20:.0f} MiB"
            layers = f", {info.layers_offloaded} of {info.n_layers} layers on the GPU" if info.layers_offloaded else ""
            screen.say(f"{role}: {info.description or info.name}, {size}, {info.path}{layers}")
        screen.say(f"context: {pair.n_ctx} tokens, {pair.n_parallel} answer{'s' * (pair.n_parallel > 1)} at once")
        screen.say(f"base sampling: {steps(settings.base)}")
        screen.say(f"aligned sampling: {steps(settings.aligned)}")


def by_sentence(text: str, width: int) -> list[str]:
    """Return lines that begin with a sentence each where all do not fit in one: what is to be typed stays whole."""
    lines: list[str] = []
    for sentence in re.split(r"(?<=[.!?]) +(?=[A-Z])", text):
        joined = f"{lines[-1]} {sentence}" if lines else sentence
        if lines and len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(sentence)
    return lines


def steps(options: SamplingOptions) -> str:
    """Return the sampling steps in the order they run."""
    return " ".join(str(step) for step in options.recipe()) or "temperature 1, nothing removed"


def finish_words(answer: Answer) -> str | None:
    """Return why an answer ended, where that is not simply its end."""
    match answer.finish:
        case FinishReason.END:
            return None
        case FinishReason.STOP:
            return f"stopped at {answer.stop!r}"
        case FinishReason.LENGTH:
            return f"cut at {len(answer.tokens)} tokens (-n)"
        case FinishReason.CONTEXT:
            return "the context is full (-c)"
        case FinishReason.CANCELLED:
            return "stopped"


def show_error(screen: Screen, message: str, *, exit_code: int = 1, log: Sequence[str] = ()) -> None:
    """Print what failed in the first line, what to do below it, and the exit code; before that, llama.cpp's log."""
    for line in log:
        screen.tell(f"llama.cpp: {line.rstrip()}", "muted")
    show_signed(screen, "✘", "bad", message)
    screen.tell(f"(exit {exit_code})", "muted", indent=MARGIN)


def show_note(screen: Screen, note: str) -> None:
    """Print something that the user should know and that stops nothing."""
    if not screen.quiet:
        show_signed(screen, "⚠", "warn", note)


def show_signed(screen: Screen, sign: str, hue: str, message: str) -> None:
    """Print a message behind a sign, its other lines below a margin."""
    first, *rest = message.splitlines() or [""]
    screen.tell(first, sign=sign, hue=hue)
    for line in rest:
        screen.tell(line.strip(), indent=MARGIN)
