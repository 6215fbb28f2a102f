"""A reply while it is written: keys that steer it, and what is left on the screen."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from baco_cli.chat.session import Chat, Session
from baco_cli.chat.talk import Heard, Talk
from baco_cli.chat.terminal import TerminalFace
from baco_cli.console import Screen
from baco_local.errors import BackendError
from baco_local.testing import lively, scripted_pair
from baco_local.types import FinishReason, Row, TokenIds
from chat_samples import chat_talk

CTRL_C, CTRL_UP = "\x03", "\x1b[1;5A"


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    """Return a keyboard."""
    with create_pipe_input() as pipe:
        yield pipe


def hear(keys: PipeInput, talk: Talk, *, pressed: str = "", pace: float = 0.0) -> Heard:
    """Listen to a reply with these keys pressed from the start on."""
    if pace:
        talk.turn(pace=str(pace))
    face = TerminalFace(Screen.open(), InMemoryHistory(), keys=keys, output=DummyOutput())
    keys.send_text(pressed)
    return face.hear(talk, talk.start(talk.wish("hello")))


def test_everything_that_was_said_is_heard(keys: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key the whole reply is written, once, and its tokens are those of the answer."""
    with chat_talk() as talk:
        heard = hear(keys, talk)
        assert heard.answer is not None
        assert heard.tokens == list(heard.answer.tokens)
        assert not heard.stopped
        assert "".join(capsys.readouterr().out.split()) == "".join(heard.answer.text.split())


def test_the_dial_moves_while_a_reply_is_written(keys: PipeInput) -> None:
    """Plus and Ctrl-Up turn it up, minus down; it is noted where, and stays there for the next reply."""
    with chat_talk() as talk:
        heard = hear(keys, talk, pressed="++-" + CTRL_UP, pace=200)
        assert [move.diversity for move in heard.moves] == [5, 6, 7, 6, 7]
        assert talk.diversity == 7


def test_the_dial_stops_at_its_end(keys: PipeInput) -> None:
    """No key turns it beyond 10."""
    with chat_talk() as talk:
        heard = hear(keys, talk, pressed="+" * 9, pace=200)
        assert heard.moves[-1].diversity == 10


def test_ctrl_c_stops_and_keeps(keys: PipeInput) -> None:
    """One Ctrl-C ends the reply with what it has."""
    with chat_talk() as talk:
        talk.turn(max_tokens="4000")
        later = threading.Timer(0.3, keys.send_text, [CTRL_C])
        later.start()
        heard = hear(keys, talk, pace=50)
        later.join()
        assert heard.stopped
        assert not heard.leave
        assert heard.answer is not None
        assert heard.answer.finish is FinishReason.CANCELLED
        assert 0 < len(heard.tokens) < 1000


def test_ctrl_c_twice_leaves(keys: PipeInput) -> None:
    """The second Ctrl-C while the first is obeyed means leaving."""
    with chat_talk() as talk:
        talk.turn(max_tokens="4000")
        heard = hear(keys, talk, pressed=CTRL_C * 2, pace=50)
        assert heard.leave


def test_what_is_typed_meanwhile_is_kept_for_the_line(keys: PipeInput) -> None:
    """Letters and pastes wait for the input line and send nothing; plus signs among them are text."""
    with chat_talk() as talk:
        heard = hear(keys, talk, pressed="ab\x7f2+2\r\x1b[200~\nc\x1b[201~", pace=200)
        assert heard.typed == "a2+2\nc"
        assert len(heard.moves) == 1


def test_a_pace_is_kept(keys: PipeInput) -> None:
    """A fast pair is held back, so that somebody can steer it."""
    with chat_talk() as talk:
        begun_s = time.perf_counter()
        heard = hear(keys, talk, pace=100)
        assert time.perf_counter() - begun_s > (len(heard.tokens) - 2) / 100


def test_an_error_of_the_pair_keeps_the_text(keys: PipeInput) -> None:
    """When a model fails in the middle, what was said is kept and the error is handed on."""
    n_read = 0

    def failing(read: TokenIds) -> Row:
        nonlocal n_read
        n_read += 1
        if n_read > 8:
            raise BackendError("the scripted machine is broken")
        return healthy(read)

    healthy = lively(len(scripted_pair().pieces), stop_bias=-5.0)
    pair = scripted_pair(failing, failing)
    talk = Talk(pair, Session(Chat()), pair.settings)
    heard = hear(keys, talk)
    assert isinstance(heard.error, BackendError)
    assert heard.tokens


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return that somebody watches."""
        return True


def test_a_status_is_shown_and_wiped(keys: PipeInput, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the figures run along below the text, pasting is bracketed, and both end with the reply."""
    glass = Tty()
    monkeypatch.setattr(sys, "stdout", glass)
    monkeypatch.setenv("TERM", "xterm-256color")
    with chat_talk() as talk:
        hear(keys, talk, pace=50)
    shown = glass.getvalue()
    assert "Ctrl-C stops" in shown
    assert "d=5" in shown
    assert shown.count("\x1b[?2004h") == shown.count("\x1b[?2004l") == 1
    assert "Ctrl-C" not in shown.rpartition("\x1b[J")[2]
