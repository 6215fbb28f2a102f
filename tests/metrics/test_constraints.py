"""What a prompt asks for, and whether an answer does it."""

from __future__ import annotations

import pytest

from baco_local.errors import UsageError
from baco_local.metrics.constraints import Constraints, Span, asked, check, read_constraints, share_met


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("Tell me a story about a fox.", {"topic": ("fox",)}),
        ("Write a short poem about the old sea and a lighthouse!", {"topic": ("sea", "lighthouse")}),
        (
            "Tell me a story in five sentences about a girl and her dog.",
            {"topic": ("girl", "dog"), "sentences": (5, 5)},
        ),
        ("Write a story about a dragon who is afraid of fire.", {"topic": ("dragon",)}),
        ("Explain it in at most 50 words.", {"words": (None, 50)}),
        ("Write at least three paragraphs.", {"paragraphs": (3, None)}),
        ("Write a 100-word note.", {"words": (80, 120)}),
        ("Give me ten short lines.", {"lines": (10, 10)}),
        ("Write about 2 sentences.", {"sentences": (2, 2)}),
        ("What is the capital of France?", {}),
    ],
)
def test_what_a_prompt_asks(prompt, wanted):
    """Numbers of words, sentences, lines and paragraphs are read out of plain English, and the topic of a story."""
    spans = {name: Span(*value) if name != "topic" else value for name, value in wanted.items()}
    assert asked(prompt) == Constraints(**spans)


@pytest.mark.parametrize(
    ("wanted", "text", "name", "met"),
    [
        ({"topic": ["fox"]}, "Two foxes ran.", "topic", True),
        ({"topic": ["fox"]}, "A foxglove grew.", "topic", False),
        ({"topic": ["ponies"]}, "The pony ran.", "topic", True),
        ({"topic": ["girl", "dog"]}, "The girl ran.", "topic", False),
        ({"words": [2, 4]}, "one two three", "words", True),
        ({"words": [None, 2]}, "one two three", "words", False),
        ({"sentences": 2}, "One. Two.", "sentences", True),
        ({"lines": 2}, "a\n\nb\n", "lines", True),
        ({"paragraphs": 2}, "a\nb\n\nc", "paragraphs", True),
        ({"contains": "Red"}, "a red fox", "contains", True),
        ({"excludes": ["red"]}, "a red fox", "excludes", False),
        ({"json": True}, '{"a": 1}', "json", True),
        ({"json": True}, "a: 1", "json", False),
    ],
)
def test_checks(wanted, text, name, met):
    """Each constraint is met or not, and says so by its name."""
    assert check(read_constraints(wanted), text)[name] is met


def test_what_is_always_asked():
    """An answer must not be empty, must end, and must not go in circles."""
    nothing = Constraints()
    assert check(nothing, "The end.") == {"not empty": True, "ends": True, "no loop": True}
    assert check(nothing, "and then")["ends"] is False
    assert check(nothing, "and then", ended=True)["ends"] is True
    assert check(nothing, "the fox ran and ran over the hill " * 3)["no loop"] is False


def test_shares():
    """The share counts what was met; an empty answer meets nothing, whatever it does not do."""
    wanted = read_constraints({"contains": ["fox"]})
    assert share_met(wanted, "A cat slept.") == pytest.approx(3 / 4)
    assert share_met(wanted, "A fox slept.") == 1.0
    assert share_met(wanted, " ") == 0.0


@pytest.mark.parametrize(
    ("record", "part"),
    [({"word": 3}, "'word'"), ({"words": "3"}, "'3'"), ({"words": [1]}, r"\[1\]"), ({"topic": 3}, "3")],
)
def test_wrong_constraints_are_named(record, part):
    """The error says which constraint cannot be read."""
    with pytest.raises(UsageError, match=part):
        read_constraints(record)
