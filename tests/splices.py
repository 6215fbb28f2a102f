"""Where two models meet inside a word; the method promises that they never do."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from baco_local.engine.answer import Token

__all__ = ["is_spliced"]


def is_spliced(before: Token, after: Token, pieces: Sequence[bytes]) -> bool:
    """Say whether two tokens of two models meet inside a word: a letter, digit or mark on both sides."""
    left = pieces[before.id].decode("utf-8", "ignore")
    right = pieces[after.id].decode("utf-8", "ignore")
    inside = [bool(end) and unicodedata.category(end)[0] in "LNM" for end in (left[-1:], right[:1])]
    return before.speaker is not after.speaker and all(inside)
