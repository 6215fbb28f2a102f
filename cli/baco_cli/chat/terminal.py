"""The chat on a terminal: a line to write in, and a reply that grows above a status line while keys steer it.

The pair decodes in a worker thread, keys and paint stay in this one; knows no command but by name.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.styles import Style
from rich.style import Style as RichStyle

from baco_cli.chat.commands import ALIASES, COMMANDS
from baco_cli.chat.face import Asked, Key
from baco_cli.chat.pipe import is_open, unfenced
from baco_cli.chat.session import DialMove
from baco_cli.chat.talk import Heard, Talk
from baco_cli.console import Screen
from baco_cli.render import Tally, TokenWriter, figures
from baco_cli.stopping import Ending
from baco_local.engine.answer import Token
from baco_local.errors import BacoError
from baco_local.pair import Stream

__all__ = ["Growth", "SlashCompleter", "TerminalFace", "history"]

FRAME_S = 0.02  # between two looks at what was decoded
STATUS_S = 0.1  # between two paintings of the status line
SLOW_READING_S = 0.3  # a prompt that is read faster needs no progress
ESCAPE_S = 0.05  # after which a lone Escape is no beginning of a key
STUCK_S = 5.0  # the longest wait for the pair after the second Ctrl-C
PASTE_ON, PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"


class TerminalFace:
    """A ``Face`` on a terminal."""

    def __init__(
        self,
        screen: Screen,
        history: History,
        *,
        keys: Input | None = None,
        output: Output | None = None,
        ending: Ending | None = None,
    ) -> None:
        self._screen = screen
        self._ending = ending or Ending()
        self._keys = keys or create_input()
        self.stuck = False  # the pair did not stop when it was told to leave: it must not be closed
        self._talk: Talk | None = None  # the one that completion and toolbar speak about
        self._live = screen.live and not screen.out.is_dumb_terminal
        self._prompt: PromptSession[Asked] = PromptSession(
            message=[("class:prompt", "> ")],
            prompt_continuation=[("", "  ")],
            multiline=True,
            history=history,
            key_bindings=_bindings(lambda: self._talk),
            completer=SlashCompleter(lambda: self._talk),
            complete_while_typing=False,
            reserve_space_for_menu=4,
            bottom_toolbar=self._toolbar,
            style=_style(_color(screen.theme.accent), "dim" if screen.out.no_color else _color(screen.theme.muted)),
            color_depth=ColorDepth.DEPTH_1_BIT if screen.out.no_color else None,
            tempfile_suffix=".md",
            input=self._keys,
            output=output,
        )

    def held(self) -> AbstractContextManager[None]:
        """Keep the terminal raw between prompts too: what is typed then arrives as it was typed, Enter as Enter."""
        return self._keys.raw_mode()

    def ask(self, talk: Talk, draft: str = "") -> Asked:
        """Wait for what the user says next."""
        self._talk = talk
        self._prompt.app.erase_when_done = False
        try:
            asked = self._prompt.prompt(default=draft, pre_run=self._watch)
        except KeyboardInterrupt:  # a signal from elsewhere
            return Key.INTERRUPT
        except EOFError:
            return Key.LEAVE
        return unfenced(asked) if isinstance(asked, str) else asked

    def _watch(self) -> None:
        """Leave the line when the program is told to end."""
        app = self._prompt.app

        async def leave() -> None:
            while not self._ending.code:
                await asyncio.sleep(STATUS_S)
            app.erase_when_done = True
            app.exit(result=Key.LEAVE)

        app.create_background_task(leave())

    def hear(self, talk: Talk, stream: Stream, n_begun: int = 0) -> Heard:
        """Write a reply while it grows, and obey the keys that steer it."""
        worker = Worker(stream, talk.pace, n_begun)
        hearing = Hearing(stream, worker, self._screen, live=self._live, ending=self._ending)
        try:
            asyncio.run(hearing.run(self._keys))
        except (KeyboardInterrupt, OSError):  # a signal from elsewhere; a terminal that is gone
            hearing.leave()
        worker.join(STUCK_S if hearing.heard.leave else None)
        self.stuck = worker.running
        heard = hearing.heard
        heard.answer = stream.answer
        if len(heard.moves) > 1:
            talk.move_dial(heard.moves[-1].diversity)
        return heard

    def _toolbar(self) -> StyleAndTextTuples:
        talk = self._talk
        if talk is None:
            return []
        d = talk.diversity
        full = round(d)
        return [("", f"d={d:g} {'●' * full}{'○' * (10 - full)} Ctrl-↑↓ · {talk.pair.name} · {talk.name} · /help")]


class Worker:
    """The thread in which the pair decodes, no faster than wanted."""

    def __init__(self, stream: Stream, pace: float, n_begun: int) -> None:
        self.tokens: deque[Token] = deque()
        self.error: BaseException | None = None
        self._stream, self._n_begun = stream, n_begun
        self._pause_s = 1 / pace if pace > 0 else 0.0
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to decode."""
        self._thread.start()

    def hurry(self) -> None:
        """Keep no pace any longer."""
        self._hurry.set()

    @property
    def running(self) -> bool:
        """Return whether more may come."""
        return self._thread.is_alive()

    def join(self, timeout_s: float | None) -> None:
        """Wait for the end, but not forever; an error that is not the user's goes on from here."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self.error is not None and not isinstance(self.error, BacoError):
            raise self.error

    def _run(self) -> None:
        due_s = time.perf_counter()
        try:
            for n, token in enumerate(self._stream):
                self.tokens.append(token)
                if self._pause_s and n >= self._n_begun:
                    due_s = max(due_s + self._pause_s, time.perf_counter() - self._pause_s)
                    self._hurry.wait(max(0.0, due_s - time.perf_counter()))
        except BaseException as error:  # noqa: BLE001 - it is raised again by join
            self.error = error


class Hearing:
    """One reply while it is written: tokens onto the screen, keys into the stream."""

    def __init__(
        self, stream: Stream, worker: Worker, screen: Screen, *, live: bool, ending: Ending | None = None
    ) -> None:
        self.heard = Heard(moves=[DialMove(0, stream.diversity)])
        self._stream, self._worker, self._screen = stream, worker, screen
        self._ending = ending or Ending()
        self._writer = TokenWriter(screen.paints, screen.measure)
        self._growth = Growth(live=live)
        self._tally = Tally()
        self._begun_s = time.perf_counter()
        self._painted_s = 0.0
        self._pressed_s = 0.0

    async def run(self, keys: Input) -> None:
        """Watch the worker and the keys until the reply is over."""
        with keys.raw_mode(), keys.attach(lambda: self._press(keys.read_keys())):
            self._screen.write(PASTE_ON if self._growth.live else "")
            try:
                self._press(get_typeahead(keys))
                self._worker.start()
                while self._worker.running and not self.heard.leave:
                    self._paint()
                    await asyncio.sleep(FRAME_S)
                    if self._ending.code:
                        self.leave()
                    if self._pressed_s and time.perf_counter() - self._pressed_s > ESCAPE_S:
                        self._press(keys.flush_keys())
                        self._pressed_s = 0.0
            finally:
                self._paint()
                self._screen.write(self._growth.end(self._writer.flush()) + (PASTE_OFF if self._growth.live else ""))
        if isinstance(self._worker.error, BacoError):
            self.heard.error = self._worker.error

    def _paint(self) -> None:
        """Append what is new and bring the status line up to date."""
        text = ""
        self._writer.measure = self._screen.measure
        while self._worker.tokens:
            token = self._worker.tokens.popleft()
            self.heard.tokens.append(token)
            self._tally.add(token)
            text += self._writer.feed(token.text, token.speaker)
        now_s = time.perf_counter()
        if text or now_s - self._painted_s > STATUS_S:
            self._painted_s = now_s
            self._screen.write(self._growth.grow(text, self._status(now_s)))

    def _status(self, now_s: float) -> str:
        if self.heard.stopped:
            words = "stopping …"
        elif not self.heard.tokens:
            if now_s - self._begun_s < SLOW_READING_S:
                return ""
            words = f"reading {100 * self._stream.progress:.0f} % … · Ctrl-C stops"
        else:
            dial = f"d={self._stream.diversity:g}"
            words = f"{figures(self._tally, dial=dial)} · + - turn it · Ctrl-C stops"
        room = self._screen.columns - 1
        while len(words) > room and " · " in words:
            words = words.rpartition(" · ")[0]
        return self._screen.styled(words[:room], self._screen.theme.muted)

    def _press(self, presses: Sequence[KeyPress]) -> None:
        for press in presses:
            self._pressed_s = time.perf_counter()
            turn = DIAL_KEYS.get(str(press.key.value if isinstance(press.key, Keys) else press.key))
            if press.key == Keys.ControlC:
                self._stop()
            elif turn is not None and not (self.heard.typed and press.data in "+-"):
                self._turn(turn)
            elif press.key == Keys.BracketedPaste or (len(press.data) == 1 and press.data.isprintable()):
                self.heard.typed += press.data.replace("\r\n", "\n").replace("\r", "\n")
            elif press.key in (Keys.Backspace, Keys.ControlH):
                self.heard.typed = self.heard.typed[:-1]

    def leave(self) -> None:
        """Stop the reply, and the chat behind it."""
        self._stop()
        self.heard.leave = True

    def _stop(self) -> None:
        if self.heard.stopped:
            self.heard.leave = True
        self.heard.stopped = True
        self._stream.cancel()
        self._worker.hurry()

    def _turn(self, step: int) -> None:
        diversity = min(max(round(self._stream.diversity) + step, 0), 10)
        if diversity != self._stream.diversity:
            self._stream.diversity = diversity
            self.heard.moves.append(DialMove(len(self.heard.tokens), float(diversity)))
            self._painted_s = 0.0


class Growth:
    """Terminal codes for text that only grows, with a status line below it that leaves no trace.

    The line below the text is ours: it is made by scrolling where there is none, wiped before the text moves down,
    and never reaches the scrollback. Without ``live`` there is no status line and there are no codes.
    """

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self._shown = ""

    def grow(self, text: str, status: str) -> str:
        """Return what appends text and shows a status, in one write."""
        if not self.live:
            return text
        wipe = ERASE_BELOW if "\n" in text and self._shown else ""
        if not text and status == self._shown:
            return ""
        self._shown = status
        return f"{wipe}{text}{ROOM_BELOW}{SAVE}{DOWN}\r{ERASE_LINE}{status}{RESTORE}"

    def end(self, text: str) -> str:
        """Return what appends the last text, wipes the status and goes to the next line."""
        wipe = ERASE_BELOW if self._shown else ""
        self._shown = ""
        return f"{wipe}{text}\n"


# Index goes one line down in the same column and scrolls at the bottom, so that a line below always exists.
ROOM_BELOW, SAVE, RESTORE, DOWN = "\x1bD\x1b[A", "\x1b7", "\x1b8", "\x1b[B"
ERASE_BELOW, ERASE_LINE = "\x1b[J", "\x1b[2K"


class SlashCompleter(Completer):
    """Completes commands, their words and their paths."""

    def __init__(self, talk: Callable[[], Talk | None]) -> None:
        self._talk = talk
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Complete the word before the cursor of a line that starts with a slash."""
        text, talk = document.text_before_cursor, self._talk()
        if not text.startswith("/") or "\n" in text or talk is None:
            return
        word, space, rest = text[1:].partition(" ")
        if not space:
            for name, command in COMMANDS.items():
                if name.startswith(word):
                    yield Completion(name, -len(word), display=f"/{name}", display_meta=command.help)
            return
        known = COMMANDS.get(ALIASES.get(word, word))
        if known is None:
            return
        choices = known.choices(talk)
        first, more, path = rest.partition(" ")
        if choices and not more:
            yield from (Completion(choice, -len(first)) for choice in choices if choice.startswith(first))
        elif known.takes_path:
            typed = path if choices else rest
            yield from self._paths.get_completions(Document(typed), complete_event)


def history(path: Path | None) -> History:
    """Return what ↑ walks through; None keeps it in memory alone."""
    if path is None:
        return InMemoryHistory()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return FileHistory(str(path))


def _bindings(talk: Callable[[], Talk | None]) -> KeyBindings:
    """Return the keys of the input line that are not the line editor's own."""
    keys = KeyBindings()
    writing = has_focus(DEFAULT_BUFFER)  # not searching
    empty = writing & Condition(lambda: not get_app().current_buffer.text)

    @keys.add("enter", filter=writing)
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open(buffer.text):
            buffer.insert_text("\n")
        elif buffer.text.strip():
            buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=writing)
    @keys.add("c-j", filter=writing)
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c", filter=writing)
    @keys.add("<sigint>")
    def _interrupt(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            _leave_line(event, Key.INTERRUPT)

    @keys.add("c-d", filter=empty)
    def _leave(event: KeyPressEvent) -> None:
        _leave_line(event, Key.LEAVE)

    @keys.add("left", filter=empty)
    def _older(event: KeyPressEvent) -> None:
        _leave_line(event, Key.OLDER)

    @keys.add("right", filter=empty)
    def _newer(event: KeyPressEvent) -> None:
        _leave_line(event, Key.NEWER)

    @keys.add("c-g", filter=writing)
    @keys.add("c-o", filter=writing)
    def _editor(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor()

    @keys.add("c-up")
    def _up(event: KeyPressEvent) -> None:
        _turn(event, talk(), 1)

    @keys.add("c-down")
    def _down(event: KeyPressEvent) -> None:
        _turn(event, talk(), -1)

    return keys


def _turn(event: KeyPressEvent, talk: Talk | None, step: int) -> None:
    if talk is not None:
        talk.move_dial(round(talk.diversity) + step)
        event.app.invalidate()


def _leave_line(event: KeyPressEvent, key: Key) -> None:
    event.app.erase_when_done = True
    event.app.exit(result=key)


def _style(accent: str, muted: str) -> Style:
    """Return plain colours on the terminal's own background, which may be dark or light."""
    return Style.from_dict(
        {
            "prompt": f"{accent} bold",
            "bottom-toolbar": f"noreverse {muted}",
            "bottom-toolbar.text": f"noreverse {muted}",
            "completion-menu": "bg:default",
            "completion-menu.completion": f"noreverse {accent} bg:default",
            "completion-menu.completion.current": "reverse",
            "completion-menu.meta.completion": f"noreverse {muted} bg:default",
            "completion-menu.meta.completion.current": f"noreverse {muted} bg:default",
            "scrollbar.background": "bg:default",
            "scrollbar.button": "reverse",
        }
    )


def _color(style: str) -> str:
    """Return the colour of a rich style as prompt_toolkit spells it."""
    color = RichStyle.parse(style).color
    if color is None:
        return "dim" if "dim" in style else ""
    return f"ansi{color.name}" if color.is_default or (color.number or 0) < 8 else color.get_truecolor().hex


DIAL_KEYS: dict[str, int] = {"+": 1, "=": 1, "-": -1, "c-up": 1, "c-down": -1}
