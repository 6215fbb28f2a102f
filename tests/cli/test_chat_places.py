"""The numbered words of a reply, where the voices parted, and why."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings

from baco_cli.chat.places import disagreement, hinges, options, other_word, places, reason
from baco_local.engine.answer import Token
from baco_local.types import Role
from chat_samples import ENDS, FOX, HEN, OWL, PIECES, THE, fox_reply, side, token, token_lists

NAMES = {Role.ALIGNED: "voice B", Role.BASE: "voice A"}


def test_words_are_numbered_from_one() -> None:
    """A word runs from where the speaker could change up to the next such place."""
    assert [(place.number, place.word) for place in places(fox_reply().tokens)] == [
        (1, "The"),
        (2, " fox"),
        (3, " running"),
        (4, ","),
        (5, " the"),
        (6, " hen"),
        (7, "."),
    ]


@settings(max_examples=30)
@given(token_lists())
def test_words_never_lose_a_token(tokens: list[Token]) -> None:
    """From the first numbered word on, every token belongs to exactly one word."""
    some = places(tokens)
    told = [token.position for place in some for token in place.tokens]
    assert told == list(range(len(tokens)))[len(tokens) - len(told) :]


def test_one_model_alone_writes_words_too() -> None:
    """Where nothing was decided, words are numbered by their text."""
    alone = [
        token(0, FOX, Role.BASE, boundary=False, reason="alone"),
        token(1, HEN, Role.BASE, boundary=False, reason="alone"),
    ]
    assert [place.word for place in places(alone)] == [" fox", " hen"]


def test_switches_are_the_first_places_to_ask_about() -> None:
    """The list prefers switches, then wide partings, and follows the text."""
    some = places(fox_reply().tokens)
    assert [place.number for place in hinges(some, 10)] == [2, 3]
    assert [place.number for place in hinges(some, 1)] == [2]


def test_equal_thoughts_do_not_part() -> None:
    """Two equal records have no disagreement; disjoint ones have one bit."""
    same = token(0, THE, Role.BASE, base=side((THE, 1.0)), aligned=side((THE, 1.0)))
    apart = token(0, THE, Role.BASE, base=side((THE, 1.0)), aligned=side((FOX, 1.0)))
    missing = token(0, THE, Role.BASE, base=side((THE, 1.0)))
    assert disagreement(same) == pytest.approx(0)
    assert disagreement(apart) == pytest.approx(1)
    assert disagreement(missing) == 0


@settings(max_examples=30)
@given(token_lists())
def test_a_disagreement_is_at_most_a_bit_for_true_chances(tokens: list[Token]) -> None:
    """A divergence is never negative, whatever was recorded."""
    assert all(disagreement(token) >= -1e-9 for token in tokens)


def test_the_other_word_is_one_that_was_not_said() -> None:
    """The other voice's likeliest word is offered; not the one that stands there, nor an end, nor a word's rest."""
    place = places(fox_reply().tokens)[1]
    assert [(way.text, round(way.p, 2)) for way in [other_word(place, PIECES, "The")] if way] == [(" owl", 0.7)]
    agreed = dataclasses.replace(
        place, tokens=(token(1, FOX, Role.BASE, aligned=side((FOX, 0.6), (ENDS, 0.2), (7, 0.1), (HEN, 0.1))),)
    )
    other = other_word(agreed, PIECES, "The")
    assert other is not None
    assert other.id == HEN


def test_a_side_that_was_not_asked_has_no_word() -> None:
    """Without a record there is nothing to take."""
    alone = places([token(0, FOX, Role.BASE, base=side((FOX, 0.6)))])[0]
    assert other_word(alone, PIECES, "") is None


def test_options_come_best_first_and_know_the_end() -> None:
    """A side's ways to go on are sorted, and an end of the reply is one of them."""
    ways = options(side((OWL, 0.5), (ENDS, 0.3), (HEN, 0.2)), PIECES, "The")
    assert [(way.id, way.ends) for way in ways] == [(OWL, False), (ENDS, True), (HEN, False)]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            "unsure",
            "Voice A was unsure (its best word had 60 %), and such a place goes to voice A at d=5.",
        ),
        ("locked", "A voice wanted punctuation or a line break here, and such places stay with voice A."),
        ("my rule", "Voice A spoke here by the rule “my rule” at d=5."),
    ],
)
def test_a_reason_is_one_sentence(told: str, expected: str) -> None:
    """Every reason is said in plain words, an unknown rule by its name."""
    place = places([token(0, FOX, Role.BASE, base=side((FOX, 0.6)), reason=told)])[0]
    assert reason(place, NAMES, diversity=5.0) == expected


def test_a_refused_switch_is_told() -> None:
    """Where the dial had named the other voice in vain, the sentence says so."""
    first = token(0, FOX, Role.BASE, base=side((FOX, 0.6)), reason="sure")
    refused = dataclasses.replace(first, spoken=dataclasses.replace(first.spoken, refused=True))
    assert "had named voice B" in reason(places([refused])[0], NAMES)
