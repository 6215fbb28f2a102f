"""Check one answer: whether it names the topic, and which of its sentences are well formed.

Knows texts; knows no model. Both the training and the measuring ask here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tales.compose import with_article

__all__ = ["is_well_formed", "mentions", "n_mentions", "well_formed_sentences"]

FIRST = re.compile(r"[\"'(]*[A-Z0-9]")
LAST = re.compile(r"[.!?…][\"')]*$")
ARTICLE = re.compile(r"\b([Aa]n?) ([a-z]+)")
SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"'])\s+(?![a-z])|\s*\n\s*")
TWICE = re.compile(r"\b([a-z]+) \1\b", re.IGNORECASE)
MAY_COME_TWICE = {"had", "that", "very", "so", "far", "no", "long", "up", "again", "round", "on", "yes", "ha"}
N_LONGEST = 60


def n_mentions(topic: str, text: str) -> int:
    """Count how often the last word of a topic, or its plural, stands in a text."""
    word = topic.split()[-1].lower()
    plural = rf"{re.escape(word[:-1])}ies" if word.endswith("y") else rf"{re.escape(word)}(?:s|es)"
    return len(re.findall(rf"\b(?:{re.escape(word)}|{plural})\b", text.lower()))


def mentions(topic: str, text: str) -> bool:
    """Tell whether a text names the last word of a topic, or its plural."""
    return n_mentions(topic, text) > 0


def is_well_formed(sentence: str) -> bool:
    """Tell whether a sentence has a capital, an end, 1 to 60 words, none twice in a row, and fitting articles.

    It also wants no stray signs: letters, digits, spaces and common punctuation only. It knows nothing of grammar.
    """
    words = sentence.split()
    fits = all(found[1].lower() == with_article(found[2]).split()[0] for found in ARTICLE.finditer(sentence))
    twice = [found[1].lower() for found in TWICE.finditer(sentence)]
    return (
        FIRST.match(sentence) is not None
        and LAST.search(sentence) is not None
        and 1 <= len(words) <= N_LONGEST
        and fits
        and all(word in MAY_COME_TWICE for word in twice)
        and re.fullmatch(r"[\w\s.,;:!?'\"()…—-]+", sentence) is not None
    )


def well_formed_sentences(text: str) -> Iterator[bool]:
    """Yield of each sentence whether it is well formed.

    '"Who is there?" asked the fox.' is one sentence: what follows a speech in small letters belongs to it.
    """
    yield from (is_well_formed(part) for part in SENTENCE_END.split(text.strip()) if part)
