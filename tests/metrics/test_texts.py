"""Plain facts about texts, and cutting them to comparable lengths."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.metrics.texts import cut, cut_alike, ends, first_sentence, loops, sentences

TEXTS = st.text(st.sampled_from("ab .\n"), max_size=80)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("He said “hi.” Then he left", ["He said “hi.", "Then he left"]),
        ("3.14 is a number.", ["3.14 is a number."]),
        ("A line\nanother line", ["A line", "another line"]),
    ],
)
def test_sentences(text, parts):
    """A sentence ends at its mark before white space, or at a line break; a decimal point ends nothing."""
    assert sentences(text) == parts


def test_first_sentence():
    """The first sentence is compared without regard to capitals; an empty text has an empty one."""
    assert first_sentence("ONCE upon a time. There was") == "once upon a time."
    assert not first_sentence("  ")


@pytest.mark.parametrize("text", ["The end.", "Is it?\n", "“The end!”", "(so it was.)", "*The end.*", "おわり。"])
def test_closed_ends(text):
    """A text that closes with a full stop, whatever closes after it, has ended."""
    assert ends(text)


@pytest.mark.parametrize("text", ["", "and then she", "First:", "a, b,"])
def test_open_ends(text):
    """A text that stops in the middle of a sentence has not ended."""
    assert not ends(text)


@pytest.mark.parametrize(("times", "found"), [(1, False), (2, False), (3, True), (9, True)])
def test_loops(times, found):
    """Eight words in a row make a loop when they come the third time."""
    assert loops("the fox ran and ran over the hill " * times) is found


def test_seven_words_are_no_loop():
    """A refrain of seven words may come as often as it likes, with other words between."""
    assert not loops(" ".join(f"the fox ran and ran and ran {n}" for n in range(9)))


@given(TEXTS, st.integers(1, 12))
def test_cut_keeps_the_first_words(text, n):
    """A cut text begins as the text does, and holds its first n words."""
    short = cut(text, n)
    assert text.startswith(short)
    assert short.split() == text.split()[:n]


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=4), min_size=1, max_size=3), st.integers(1, 6))
def test_all_rivals_are_cut_to_one_length(rivals, least):
    """After the cut no answer is longer than the pooled lower quartile, and shorter ones are as they were."""
    short, shares = cut_alike(rivals, least)
    counts = sorted(len(text.split()) for texts in rivals for text in texts)
    longest = max((len(text.split()) for texts in short for text in texts), default=0)
    assert longest <= max(least, counts[math.ceil((len(counts) - 1) / 4)])
    for texts, own, share in zip(rivals, short, shares, strict=True):
        lost = [a.split() != b.split() for a, b in zip(texts, own, strict=True)]
        assert share == sum(lost) / len(texts)


def test_nothing_is_cut_below_twenty_words():
    """Where a quarter of the answers are tiny, the others keep twenty words."""
    ((_, long),), _ = cut_alike([["yes", "word " * 50]])
    assert len(long.split()) == 20
