"""Keys in the input line: what is sent, what is not, and what they mean on an empty line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from baco_cli.chat.face import Asked, Key
from baco_cli.chat.talk import Talk
from baco_cli.chat.terminal import SlashCompleter, TerminalFace, history
from baco_cli.console import Screen
from chat_samples import chat_talk

ENTER, ALT_ENTER, CTRL_C, CTRL_D, CTRL_J, CTRL_R = "\r", "\x1b\r", "\x03", "\x04", "\n", "\x12"
LEFT, RIGHT, UP = "\x1b[D", "\x1b[C", "\x1b[A"
CTRL_UP, CTRL_DOWN = "\x1b[1;5A", "\x1b[1;5B"


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    """Return a keyboard."""
    with create_pipe_input() as pipe:
        yield pipe


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Return a chat that has not begun."""
    with chat_talk() as talk:
        yield talk


def ask(keys: PipeInput, talk: Talk, pressed: str, said: tuple[str, ...] = (), draft: str = "") -> Asked:
    """Return what a terminal makes of pressed keys."""
    face = TerminalFace(Screen.open(), InMemoryHistory(said), keys=keys, output=DummyOutput())
    keys.send_text(pressed)
    return face.ask(talk, draft)


@pytest.mark.parametrize(
    ("pressed", "asked"),
    [
        ("hello" + ENTER, "hello"),
        (ENTER + "hello" + ENTER, "hello"),
        ("one" + ALT_ENTER + "two" + ENTER, "one\ntwo"),
        ("one" + CTRL_J + "two" + ENTER, "one\ntwo"),
        ('"""one' + ENTER + 'two"""' + ENTER, "one\ntwo"),
        ('"""' + ENTER + "one" + ENTER + '"""' + ENTER, "one"),
        ("\x1b[200~one\ntwo\n\x1b[201~three" + ENTER, "one\ntwo\nthree"),
        ("wrong" + CTRL_C + "right" + ENTER, "right"),
        ("a" + LEFT + "b" + ENTER, "ba"),
        (CTRL_C, Key.INTERRUPT),
        (CTRL_D, Key.LEAVE),
        (LEFT, Key.OLDER),
        (RIGHT, Key.NEWER),
    ],
)
def test_keys_mean_what_help_says(keys: PipeInput, talk: Talk, pressed: str, asked: Asked) -> None:
    """Enter sends; new lines, blocks and pastes do not; keys on an empty line leave it."""
    assert ask(keys, talk, pressed) == asked


def test_the_dial_turns_at_the_prompt(keys: PipeInput, talk: Talk) -> None:
    """Ctrl-Up and Ctrl-Down move the dial by one, and not beyond its end."""
    talk.move_dial(9)
    ask(keys, talk, CTRL_UP * 3 + "x" + ENTER)
    assert talk.diversity == 10
    ask(keys, talk, CTRL_DOWN * 2 + "x" + ENTER)
    assert talk.diversity == 8


def test_a_draft_can_be_changed_before_it_is_sent(keys: PipeInput, talk: Talk) -> None:
    """The last message stands in the line, ready to be edited."""
    assert ask(keys, talk, "!" + ENTER, draft="A fox") == "A fox!"


def test_history_comes_back_with_the_up_key(keys: PipeInput, talk: Talk) -> None:
    """Earlier messages can be sent again."""
    assert ask(keys, talk, UP + ENTER, said=("first", "second")) == "second"


def test_history_can_be_searched(keys: PipeInput, talk: Talk) -> None:
    """Ctrl-R finds an earlier message by a part of it."""
    assert ask(keys, talk, CTRL_R + "irs" + ENTER + ENTER, said=("first", "second")) == "first"


def test_history_is_kept_in_a_file(keys: PipeInput, talk: Talk, tmp_path: Path) -> None:
    """What was sent once is there in the next program."""
    for pressed in ("first" + ENTER, UP + ENTER):
        face = TerminalFace(Screen.open(), history(tmp_path / "new" / "history"), keys=keys, output=DummyOutput())
        keys.send_text(pressed)
        assert face.ask(talk) == "first"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("/re", {"regen", "redo", "read"}),
        ("/solo ", {"base", "aligned", "both"}),
        ("/set tem", {"temperature"}),
        ("/export ", {"md", "json", "html"}),
        ("hello", set()),
        ("/unknown x", set()),
        ("/help ", set()),
    ],
)
def test_tab_completes_commands_and_their_words(talk: Talk, typed: str, offered: set[str]) -> None:
    """After a slash come commands, after a command its own words; messages complete to nothing."""
    completer = SlashCompleter(lambda: talk)
    assert {one.text for one in completer.get_completions(Document(typed), CompleteEvent())} == offered


def test_tab_completes_paths(talk: Talk, tmp_path: Path) -> None:
    """Commands that take a file complete its path."""
    (tmp_path / "voice.md").write_text("x")
    completer = SlashCompleter(lambda: talk)
    for typed in (f"/read {tmp_path}/vo", f"/export md {tmp_path}/vo"):
        assert [one.text for one in completer.get_completions(Document(typed), CompleteEvent())] == ["ice.md"]
