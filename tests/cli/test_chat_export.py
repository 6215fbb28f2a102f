"""Chats as files for others."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings

from baco_cli.chat.export import FORMATS, as_html, as_markdown, runs, write_export
from baco_cli.chat.session import Chat
from baco_cli.chat.store import from_json
from baco_local.errors import UsageError
from chat_samples import chats, fox_chat


class Visible(HTMLParser):
    """Collects the text of a page that a reader sees, and what voice A is said to have written."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.base, self._inside = "", "", [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Enter an element."""
        if tag not in ("meta",):
            self._inside.append(dict(attrs).get("class") or tag)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - every element of ours is closed
        """Leave an element."""
        self._inside.pop()

    def handle_data(self, data: str) -> None:
        """Take text."""
        if self._inside[-1] not in ("style", "title"):
            self.text += data
        if self._inside[-1] == "base":
            self.base += data


@settings(max_examples=20)
@given(chats)
def test_a_page_holds_every_text_and_no_markup_of_the_models(chat: Chat) -> None:
    """What was said appears on the page as text, whatever characters it holds."""
    page = Visible()
    page.feed(as_html(chat, "tales", "fox"))
    seen = page.text.replace("\r\n", "\n").replace("\r", "\n")
    for message in chat.messages():
        told = message.content.replace("\r\n", "\n").replace("\r", "\n")
        assert told in seen or "\0" in told


def test_a_page_shows_who_wrote_what() -> None:
    """Voice A's words carry its class, and the page needs nothing from elsewhere."""
    page = Visible()
    page.feed(text := as_html(fox_chat(), "tales", "fox"))
    assert page.base == "voice A, the base model" + "fox" * 2
    assert "http" not in text


def test_markdown_underlines_voice_a_and_keeps_stars_plain() -> None:
    """Voice A's words are underlined, markup in texts is escaped."""
    text = as_markdown(fox_chat().ask("*why?*"), "tales", "fox")
    assert "The <u>fox</u> running, the hen." in text
    assert r"**You:** \*why?\*" in text


@settings(max_examples=20)
@given(chats)
def test_exported_json_is_a_chat(chat: Chat) -> None:
    """The JSON export can be read like a saved chat."""
    assert from_json(json.loads(FORMATS["json"](chat, "tales", "fox"))) == chat


@settings(max_examples=20)
@given(chats)
def test_runs_join_to_the_reply(chat: Chat) -> None:
    """Stretches of one speaker are all of the reply, and no two neighbours share one."""
    for turn in chat.turns:
        for reply in turn.replies:
            told = runs(reply.tokens)
            assert "".join(text for _, text in told) == reply.text
            assert all(a[0] is not b[0] for a, b in pairwise(told))


def test_an_export_never_writes_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second export goes beside the first, and a file that was named and exists is refused."""
    monkeypatch.chdir(tmp_path)
    first, second = (write_export(fox_chat(), "tales", "md", None, "fox") for _ in range(2))
    assert (first.name, second.name) == ("fox.md", "fox-2.md")
    with pytest.raises(UsageError, match="exists"):
        write_export(fox_chat(), "tales", "md", tmp_path / "fox.md", "fox")


def test_an_empty_chat_is_not_exported(tmp_path: Path) -> None:
    """Nothing to say, nothing to write."""
    with pytest.raises(UsageError, match="nothing to export"):
        write_export(Chat(), "tales", "md", tmp_path / "fox.md", "fox")
