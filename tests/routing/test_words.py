from __future__ import annotations

from pathlib import Path

import pytest

from baco_local.errors import UsageError
from baco_local.routing.words import ENGLISH, WordLists, is_format, is_function, load_words


@pytest.mark.parametrize("text", [",", " .", "\n", "\n\n", "word\n", " ", "?!", " “", "—", "🚀", "\t"])
def test_format(text: str) -> None:
    """Punctuation, symbols, blanks and whatever breaks the line are format."""
    assert is_format(text)


@pytest.mark.parametrize("text", ["", "s", " sea", "3", " 3.", "'t", "\u0301", "海", " don't"])
def test_not_format(text: str) -> None:
    """A token with a letter, digit or mark is no format, and neither is one without text."""
    assert not is_format(text)


@pytest.mark.parametrize("text", [" the", "The", "AND ", "n't", "'s", "\u2019s", " whether"])
def test_function_words(text: str) -> None:
    """Case, spaces and the shape of the apostrophe do not matter for a function word."""
    assert is_function(text)


@pytest.mark.parametrize("text", ["", " ", ",", " sea", "these days", "thee", "\n"])
def test_no_function_words(text: str) -> None:
    """Content words, parts of words and punctuation are no function words."""
    assert not is_function(text)


def test_the_list_is_lower_case_and_without_comments() -> None:
    """The English list holds plain lower-case words only."""
    assert len(ENGLISH.functions) > 150
    assert all(word == word.lower() and "#" not in word for word in ENGLISH.functions)


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    """A list of one's own replaces the English one, comments left out."""
    path = tmp_path / "deutsch.txt"
    path.write_text("# Artikel: x\nder die\n\n  # mehr\nDAS\n", encoding="utf-8")
    assert load_words(path) == WordLists(frozenset({"der", "die", "das"}))


@pytest.mark.parametrize("content", [None, b"", b"# only a comment", b"\xff\xfe\xfa"])
def test_unusable_lists_are_refused(tmp_path: Path, content: bytes | None) -> None:
    """A list that is missing, empty or not UTF-8 is refused by name."""
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"list\.txt"):
        load_words(path)
