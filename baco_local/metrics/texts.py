"""Plain facts about texts: words, sentences, loops, ends; and cutting texts to comparable lengths.

Knows no metric and no model; words are what white space separates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

__all__ = ["cut", "cut_alike", "ends", "first_sentence", "loops", "sentences", "words"]

LEAST_WORDS = 20  # texts are never cut below this
LOOP_WORDS, LOOP_TIMES = 8, 3  # as the loop guard of a decode
WORD = re.compile(r"\S+")
SENTENCE_END = re.compile("(?<=[.!?…])[\"'”\u2019)\\]*]*(?:\\s+|$)|\n+")
CLOSED = re.compile("[.!?…\u3002\uff01\uff1f][\"'”\u2019)\\]*_`]*\\s*$|```\\s*$")  # \u: full stops of other scripts


def words(text: str) -> list[str]:
    """Return the words in lower case, punctuation attached."""
    return text.lower().split()


def sentences(text: str) -> list[str]:
    """Split after a full stop, question or exclamation mark, and at line breaks."""
    return [part for part in (piece.strip() for piece in SENTENCE_END.split(text)) if part]


def first_sentence(text: str) -> str:
    """Return the first sentence in lower case; the text itself when it is only one, empty for an empty text."""
    return next(iter(sentences(text)), "").lower()


def ends(text: str) -> bool:
    """Tell whether a text closes with a sentence's end, and not in the middle of one."""
    return CLOSED.search(text) is not None


def loops(text: str) -> bool:
    """Tell whether eight words in a row stand in a text three times."""
    run = words(text)
    eights = Counter(tuple(run[i : i + LOOP_WORDS]) for i in range(len(run) - LOOP_WORDS + 1))
    return any(count >= LOOP_TIMES for count in eights.values())


def cut(text: str, n_words: int) -> str:
    """Return the text up to the end of its n-th word; a shorter one as it is."""
    end = 0
    for number, word in enumerate(WORD.finditer(text), start=1):
        end = word.end()
        if number == n_words:
            return text[:end]
    return text


def cut_alike(rivals: Sequence[Sequence[str]], least: int = LEAST_WORDS) -> tuple[list[list[str]], list[float]]:
    """Cut all rivals' answers to one prompt to the lower quartile of their pooled word counts.

    Returns the cut answers of each rival, and the share of each rival's answers that lost something.
    """
    counts = [len(text.split()) for texts in rivals for text in texts]
    n_words = max(least, int(np.percentile(counts, 25))) if counts else least
    short = [[cut(text, n_words) for text in texts] for texts in rivals]
    shares = [
        sum(a.rstrip() != b.rstrip() for a, b in zip(texts, own, strict=True)) / max(1, len(texts))
        for texts, own in zip(rivals, short, strict=True)
    ]
    return short, shares
