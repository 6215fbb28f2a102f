"""Saved chats: what is written can be read, and what cannot be read is left alone."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings

from baco_cli.chat.session import Chat, Turn
from baco_cli.chat.store import ChatFileError, ChatStore, Slot, from_json, to_json
from baco_local.errors import UsageError
from chat_samples import chats, fox_chat


@settings(max_examples=20)
@given(chats)
def test_a_chat_survives_json(chat: Chat) -> None:
    """A chat that went through JSON is the same chat."""
    assert from_json(json.loads(json.dumps(to_json(chat)))) == chat


@settings(max_examples=20)
@given(chat=chats)
def test_a_saved_chat_is_read_back(tmp_path_factory: pytest.TempPathFactory, chat: Chat) -> None:
    """A chat that went through a file is the same chat."""
    store = ChatStore(tmp_path_factory.mktemp("chats"))
    store.save(store.slot("fox"), chat, "tales")
    assert store.load("fox")[1] == chat


def test_a_file_can_be_read_by_people(tmp_path: Path) -> None:
    """The file holds the texts as they are and one line per token."""
    store = ChatStore(tmp_path)
    path = store.save(store.slot("fox"), fox_chat(), "tales").path
    text = path.read_text("utf-8")
    assert '"user": "A fox?"' in text
    assert '"text": "The fox running, the hen."' in text
    assert re.search(r'^ +\[" fox","base","unsure","word",2,', text, re.MULTILINE)


def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Nobody else on the machine may read a chat."""
    store = ChatStore(tmp_path / "chats")
    path = store.save(store.slot("fox"), fox_chat(), "tales").path
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in path.parent.iterdir()] == ["fox.json"]


def test_names_start_with_the_last_one_written(tmp_path: Path) -> None:
    """The chat that was written last comes first."""
    store = ChatStore(tmp_path)
    for stamp, name in enumerate(("old", "new", "middle")):
        path = store.save(store.slot(name), fox_chat(), "tales").path
        os.utime(path, (10 + stamp % 2, 10 + stamp % 2))
    assert store.names()[0] == "new"


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": "baco chat", "version": 99}',
        '{"format": "something else", "version": 1}',
        '{"format": "baco chat", "version": 1, "system": 3, "settings": {}, "turns": []}',
        '{"format": "baco chat", "version": 1, "system": "", "settings": {}, "turns": [{"user": "a"}]}',
        json.dumps(to_json(Chat(turns=(Turn("a", current=1),)))),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, damage: str) -> None:
    """A file that cannot be read gives one error with its path, and keeps its bytes."""
    path = tmp_path / "fox.json"
    path.write_text(damage)
    with pytest.raises(ChatFileError, match=re.escape(str(path))):
        ChatStore(tmp_path).load("fox")
    assert path.read_text() == damage


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    """A file that is not UTF-8 is damaged too."""
    (tmp_path / "fox.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ChatFileError, match=r"fox\.json"):
        ChatStore(tmp_path).load("fox")


def test_a_damaged_file_is_not_written_over(tmp_path: Path) -> None:
    """A chat that starts on the name of an existing file goes to another file."""
    (tmp_path / "fox.json").write_text("{")
    slot = ChatStore(tmp_path).save(Slot(tmp_path / "fox.json"), fox_chat(), "tales")
    assert slot.name == "fox-2"
    assert (tmp_path / "fox.json").read_text() == "{"


def test_two_programs_on_one_chat_both_keep_their_turns(tmp_path: Path) -> None:
    """A chat whose file somebody else has written meanwhile goes to a file of its own."""
    store = ChatStore(tmp_path)
    store.save(store.slot("fox"), fox_chat(), "tales")
    (mine, chat), (theirs, _) = store.load("fox"), store.load("fox")
    saved = store.save(theirs, fox_chat().ask("Theirs"), "tales")
    os.utime(saved.path, ns=(1, (saved.stamp_ns or 0) + 10**9))
    other = store.save(mine, chat.ask("Mine"), "tales")
    assert (saved.name, other.name) == ("fox", "fox-2")


@pytest.mark.parametrize("name", ["", "../fox", "a/b", ".fox", "fox\n", "x" * 101])
def test_a_name_is_a_plain_file_name(tmp_path: Path, name: str) -> None:
    """A name that could lead out of the folder is refused."""
    with pytest.raises(UsageError, match="cannot name a chat"):
        ChatStore(tmp_path).slot(name)


def test_an_unknown_chat_is_said_with_the_known_ones(tmp_path: Path) -> None:
    """Asking for a chat that is not there lists those that are."""
    store = ChatStore(tmp_path)
    store.save(store.slot("fox"), fox_chat(), "tales")
    with pytest.raises(UsageError, match=r"no chat 'hen'.*fox"):
        store.load("hen")
