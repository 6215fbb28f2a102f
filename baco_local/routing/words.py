"""Which tokens are format and which are function words: the content that routers lock; OURS.

Knows texts of tokens only; which side's token is looked at is a matter of the rules.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from baco_local.errors import UsageError

__all__ = ["ENGLISH", "WordLists", "is_format", "is_function", "load_words"]


@lru_cache(maxsize=2**16)  # asked of the same few tokens over and over
def is_format(text: str) -> bool:
    """Say whether a token is punctuation or layout: it breaks the line, or has no letter, digit or mark."""
    if "\n" in text:
        return True
    return bool(text) and not any(char.isalnum() or unicodedata.category(char)[0] in "LNM" for char in text)


@dataclass(frozen=True, slots=True)
class WordLists:
    """The tests behind the punctuation lock and the function-word lock."""

    functions: frozenset[str]  # lower case
    is_format: Callable[[str], bool] = is_format

    def is_function(self, text: str) -> bool:
        """Say whether a token is a whole function word."""
        return text.strip().lower().replace("\u2019", "'") in self.functions


def load_words(path: Path) -> WordLists:
    """Read a list of function words: words between spaces, lines that start with ``#`` are comments."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the word list {path} cannot be read: {error}; give a UTF-8 text file") from error
    words = frozenset(word.lower() for line in lines if not line.lstrip().startswith("#") for word in line.split())
    if not words:
        raise UsageError(f"the word list {path} holds no words; write them between spaces, comments behind #")
    return WordLists(words)


ENGLISH = load_words(Path(__file__).with_name("function_words.txt"))


def is_function(text: str) -> bool:
    """Say whether a token is a whole English function word."""
    return ENGLISH.is_function(text)
