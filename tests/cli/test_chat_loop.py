"""The loop: what follows what was asked, and what is kept."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from baco_cli.chat.face import Asked, Key
from baco_cli.chat.loop import converse
from baco_cli.chat.paper import ScreenPaper, dial_path
from baco_cli.chat.pipe import PipeFace, is_open, unfenced
from baco_cli.chat.talk import Heard, Talk, n_to_drop
from baco_cli.console import Screen
from baco_local.pair import Stream
from baco_local.types import FinishReason
from chat_samples import chat_talk


class Visitor:
    """A face that says given things, remembers the drafts it was shown, and may press Ctrl-C after some tokens."""

    def __init__(self, said: Sequence[Asked], stop_after: int | None = None, *, twice: bool = False) -> None:
        self._said, self._stop_after, self._twice = list(said), stop_after, twice
        self.drafts: list[str] = []

    def ask(self, talk: Talk, draft: str = "") -> Asked:  # noqa: ARG002
        """Say the next thing."""
        self.drafts.append(draft)
        return self._said.pop(0) if self._said else Key.LEAVE

    def hear(self, talk: Talk, stream: Stream, n_begun: int = 0) -> Heard:  # noqa: ARG002
        """Listen, and stop it perhaps."""
        heard = Heard()
        for token in stream:
            heard.tokens.append(token)
            if len(heard.tokens) == self._stop_after:
                heard.stopped, heard.leave = True, self._twice
                stream.cancel()
        heard.answer = stream.answer
        return heard


def visit(talk: Talk, *said: Asked, stop_after: int | None = None, twice: bool = False) -> tuple[Visitor, int]:
    """Chat and leave."""
    visitor = Visitor(said, stop_after, twice=twice)
    return visitor, converse(talk, visitor, ScreenPaper(Screen.open()))


def test_every_turn_is_in_the_file(tmp_path: Path) -> None:
    """After every turn the file holds the whole chat."""
    with chat_talk(folder=tmp_path) as talk:
        visit(talk, "one", "two")
        assert talk.store is not None
        assert talk.store.load("fox")[1] == talk.chat
        assert [turn.user for turn in talk.chat.turns] == ["one", "two"]


def test_ctrl_c_keeps_the_text_so_far(tmp_path: Path) -> None:
    """A reply that was stopped is part of the chat, in the file too, and the chat goes on."""
    with chat_talk(folder=tmp_path) as talk:
        _, code = visit(talk, "one", stop_after=5)
        assert code == 0
        assert talk.store is not None
        saved = talk.store.load("fox")[1].turns[0].reply
        assert saved is not None
        assert len(saved.tokens) >= 5
        assert saved.finish is FinishReason.CANCELLED


def test_ctrl_c_twice_leaves_and_keeps_the_text(tmp_path: Path) -> None:
    """Leaving in the middle of a reply has the exit code of an interrupt and loses nothing."""
    with chat_talk(folder=tmp_path) as talk:
        _, code = visit(talk, "one", "never asked", stop_after=5, twice=True)
        assert code == 130
        assert len(talk.chat.turns) == 1


def test_an_error_in_a_command_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command is answered with one line, and the chat goes on."""
    with chat_talk() as talk:
        visit(talk, "/set temperature hot", "/nonsense", "hello")
        assert len(talk.chat.turns) == 1
    told = capsys.readouterr().err
    assert "temperature is 'hot'" in told
    assert "Traceback" not in told


def test_an_empty_line_says_nothing() -> None:
    """Nothing is asked of the models for white space."""
    with chat_talk() as talk:
        visit(talk, "", "  ", "\n")
        assert talk.chat.turns == ()


def test_two_slashes_open_a_message() -> None:
    """A message may start with a slash."""
    with chat_talk() as talk:
        visit(talk, "//etc is a folder")
        assert talk.chat.turns[0].user == "/etc is a folder"


def test_an_edit_goes_through_the_input_line() -> None:
    """The message stands in the line, what is sent takes its place, and the turn after is new again."""
    with chat_talk() as talk:
        visitor, _ = visit(talk, "one", "/edit", "two", "three")
        assert visitor.drafts == ["", "", "one", "", ""]
        assert [turn.user for turn in talk.chat.turns] == ["two", "three"]


def test_an_edit_is_given_up_with_an_empty_line() -> None:
    """Ctrl-C in the middle of an edit leaves the last turn alone."""
    with chat_talk() as talk:
        visit(talk, "one", "/edit", Key.INTERRUPT, "two")
        assert [turn.user for turn in talk.chat.turns] == ["one", "two"]


def test_arrows_walk_the_versions() -> None:
    """The arrows choose which version the chat goes on from."""
    with chat_talk() as talk:
        visit(talk, "one", "/regen", "/regen", Key.OLDER, Key.OLDER, Key.NEWER)
        assert talk.chat.turns[0].current == 1


def test_a_long_chat_leaves_out_its_oldest_turns(capsys: pytest.CaptureFixture[str]) -> None:
    """When the conversation no longer fits, it goes on without its beginning, says so, and saves everything."""
    with chat_talk(n_ctx=160) as talk:
        visit(talk, *(f"message number {i}" for i in range(8)))
        assert len(talk.chat.turns) == 8
        assert 0 < talk.n_dropped < 8
    assert "no longer fit" in capsys.readouterr().err


def test_a_message_that_never_fits_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    """A message longer than the context is refused in words and stands in the line again."""
    with chat_talk(n_ctx=160) as talk:
        visitor, _ = visit(talk, "x" * 500)
        assert talk.chat.turns == ()
        assert visitor.drafts[-1] == "x" * 500
    assert "context" in capsys.readouterr().err


def test_a_file_that_never_fits_waits_until_it_is_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what was typed comes back; what was read waits on, and can be forgotten."""
    (tmp_path / "long.txt").write_text("x" * 500)
    with chat_talk(n_ctx=160) as talk:
        visitor, _ = visit(talk, f"/read {tmp_path}/long.txt", "hm", "/read -", "hello")
        assert visitor.drafts[2] == "hm"
        assert [turn.user for turn in talk.chat.turns] == ["hello"]
    assert "/read - forgets it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sizes", "room", "before", "dropped"),
    [
        ([10, 10], 20, 0, 0),
        ([10, 10, 10, 10], 30, 0, 2),  # a quarter of the room is freed at once
        ([10, 10, 10], 20, 1, 1),  # what is out stays out
        ([10, 10], 20, 1, 0),  # unless everything fits again
        ([10, 99], 20, 0, 1),  # the last turn is never left out
        ([99], 20, 0, 0),
    ],
)
def test_how_many_turns_are_left_out(sizes: list[int], room: int, before: int, dropped: int) -> None:
    """Old turns go first, several at once, and no more than needed."""
    assert n_to_drop(sizes, room, before) == dropped


@pytest.mark.parametrize(
    ("stops", "path"),
    [([5], "5"), ([5, 6, 7], "5→7"), ([5, 6, 4], "5→6→4"), ([5, 6, 4, 5, 3], "5→…→5→3")],
)
def test_the_way_of_the_dial_is_short(stops: list[float], path: str) -> None:
    """Only ends and turns of the way are told."""
    assert dial_path(stops) == path


def test_a_pipe_reads_one_message_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal every line is a message, a block is one message, and stdout holds the replies alone."""
    with chat_talk() as talk:
        screen = Screen.open()
        lines = io.StringIO('one\n"""two\nthree"""\n/d 0\n')
        assert converse(talk, PipeFace(screen, lines), ScreenPaper(screen)) == 0
        assert [turn.user for turn in talk.chat.turns] == ["one", "two\nthree"]
        replies = [turn.reply.text for turn in talk.chat.turns if turn.reply]
        captured = capsys.readouterr()
        assert captured.out == "".join(f"{text}\n" for text in replies)
        assert "d=0" in captured.err


def test_a_block_is_open_until_it_is_closed() -> None:
    """Three quotes open a block, three more close it, and neither is part of the message."""
    assert is_open('"""a')
    assert not is_open('"""a"""')
    assert not is_open('a"""')
    assert is_open('"""')
    assert unfenced('"""\na\n"""') == "a"
    assert unfenced("plain") == "plain"
