from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.routing.boundary import ends_sentence, opens_word

TRUTH = [
    ("the sea", " beach", True),
    ("the sea", ",", True),
    ("the sea", "\n\n", True),
    ("the sea", "s", False),
    ("don", "'t", False),
    ("don", "\u2019t", False),
    ("well", "-known", False),
    ("snake", "_case", False),
    ("It is 3", ".", False),
    ("It is 3.", "14", False),
    ("12", ":30", False),
    ("50", "%", False),
    ("sea", ".", True),
    ("sea.", "”", True),
    ("he said “", "word", False),
    ("he said", " “", True),
    ("The end.\n", "It", True),
    ("The end.\n", ".", True),
    ("", "It", True),
    ("", "-", True),
    ("the ", "sea", True),
    ("the\u00a0", "sea", True),
    ("cafe", "\u0301", False),
    ("cafe\u0301", "'s", False),
    ("海", "边", False),
    ("海", "。", True),
    ("sea", "", False),
    ("", "", True),
    ("👍", "🏽", False),
    ("👩\u200d", "🚀", False),
    ("sea", "🚀", True),
]


@pytest.mark.parametrize(("text", "piece", "opens"), TRUTH)
def test_truth_table(text: str, piece: str, opens: bool) -> None:
    """A token opens a word as the table says."""
    assert opens_word(piece.encode(), text) is opens


@pytest.mark.parametrize(("text", "piece"), [("don", "'t"), ("well", "-known"), ("It is 3", "."), ("12", ":30")])
def test_joiners_off(text: str, piece: str) -> None:
    """Without joiners an apostrophe, a hyphen and a decimal point open a word."""
    assert opens_word(piece.encode(), text, joiners=False)


@pytest.mark.parametrize("text", ["", "the ", "the sea"])
def test_the_rest_of_a_character_opens_nothing(text: str) -> None:
    """The tail bytes of a character that another token began never open a word, not even after a space."""
    assert not opens_word("“".encode()[1:], text)


@given(
    st.text(st.sampled_from("ab1 .,'\u2019-_\n“é海👍🏽\u0301\u200d")),
    st.lists(st.integers(0, 80), max_size=12),
    st.booleans(),
)
def test_no_switch_inside_a_word(text: str, cuts: list[int], joiners: bool) -> None:
    """However bytes are cut into tokens, none that opens a word starts inside a word or a character."""
    whole = text.encode()
    places = sorted({cut for cut in cuts if 0 < cut < len(whole)})
    for start, end in pairwise([*places, len(whole)]):
        before = whole[:start].decode("utf-8", "ignore")
        if not opens_word(whole[start:end], before, joiners=joiners):
            continue
        assert whole[:start].decode() == before, "cut inside a character"
        following = whole[start:].decode()[0]
        assert not (before[-1].isalnum() and following.isalnum())
        if joiners:
            assert not (before[-1].isalnum() and following in "'\u2019-_")
            assert not (before[-1].isdigit() and following in ".,")


@given(st.text(max_size=12), st.binary(max_size=4), st.booleans())
def test_a_short_tail_is_enough(text: str, piece: bytes, joiners: bool) -> None:
    """Only the last character of the text matters."""
    assert opens_word(piece, text, joiners=joiners) == opens_word(piece, text[-1:], joiners=joiners)


@pytest.mark.parametrize(
    "text", ["", "  ", "The end.", "The end. ", "Is it?", "No!)", "he said.\u201d ", "milk\n", "*Fin.*", "\u5b8c\u3002"]
)
def test_a_text_may_be_over_behind_a_sentence_or_a_line(text: str) -> None:
    """A full stop, closing marks behind it or not, and a line break end what could be a whole text."""
    assert ends_sentence(text)


@pytest.mark.parametrize("text", ["The end", "3.14", "one,", "a:", "he said \u201cno\u201d", "\u201d", "The end.\nA"])
def test_a_text_is_not_over_within_a_sentence(text: str) -> None:
    """Behind a word, a comma or a closing mark alone no text ends."""
    assert not ends_sentence(text)
