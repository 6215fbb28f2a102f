"""What models say about answers reaches the answer sets, and nobody is asked twice."""

from __future__ import annotations

import numpy as np
import pytest

from baco_local.metrics.annotators import (
    classified,
    classified_by_meaning,
    expected,
    judged,
    rewarded,
    surprised,
    vectorised,
)
from baco_local.metrics.base import AnswerSet

ANSWERS = AnswerSet(prompt="ask", texts=("a fox", "", "a fox", "the sea and the rain"))


def lengths(texts):
    """Return a vector per text: its letters, and one."""
    return np.array([[len(text), 1.0] for text in texts], np.float32)


def test_vectors():
    """Every answer has the vector of its text, and each text is embedded once."""
    asked: list[str] = []

    def embed(texts):
        asked.extend(texts)
        return lengths(texts)

    annotate = vectorised(embed)
    for answers in (ANSWERS, AnswerSet(texts=("a fox", "new"))):
        np.testing.assert_array_equal(annotate(answers).vectors, lengths(answers.texts))
    assert asked == ["a fox", "", "the sea and the rain", "new"]
    assert annotate(AnswerSet(texts=())).vectors is None


def test_classes_by_a_test_of_texts():
    """Any function of two texts can say which answers are one."""
    assert classified(lambda a, b: a[:1] == b[:1])(ANSWERS).classes == (0, 1, 0, 2)


def test_classes_by_meaning():
    """Answers with near vectors are one; without vectors nothing is said."""
    answers = vectorised(lengths)(ANSWERS)
    assert classified_by_meaning(0.999)(answers).classes == (0, 1, 0, 2)
    assert classified_by_meaning(0.9)(answers).classes == (0, 1, 0, 0)
    assert classified_by_meaning(0.9)(ANSWERS).classes is None


def test_bits_per_byte():
    """A judge is shown prompt and answer; its bits are divided by bytes, and empty answers are not shown."""
    annotated = judged(lambda prompt, text: 8.0 * len((prompt + text).encode()))(
        AnswerSet(prompt="é", texts=("é", " ", "abcd"))
    )
    assert annotated.bits_per_byte == (16.0, None, 12.0)


def test_log_probabilities():
    """The aligned model is shown prompt and answer, and no empty answer."""
    annotated = expected(lambda prompt, text: -float(len(prompt + text)))(ANSWERS)
    assert annotated.aligned_logprobs == (-8.0, None, -8.0, -23.0)


def test_rewards():
    """A reward model is shown the answers of a prompt together, without the empty ones."""
    seen = []

    def reward(prompt, answers):
        seen.append((prompt, list(answers)))
        return [float(len(answer)) for answer in answers]

    assert rewarded(reward)(ANSWERS).rewards == (5.0, None, 5.0, 20.0)
    assert rewarded(reward)(AnswerSet(prompt="ask", texts=("", " "))).rewards == (None, None)
    assert seen == [("ask", ["a fox", "a fox", "the sea and the rain"])]


def test_surprise_is_repeatable():
    """The orders that are tried depend on the seed alone."""
    bits = lambda prefix, text: len(text) * (1.0 + len(prefix) % 7)  # noqa: E731
    texts = AnswerSet(prompt="ask", texts=("one", "three", "fourteen", "two hundred"))
    first, again = (surprised(bits, 5)(texts).surprise for _ in range(2))
    assert first == again
    assert first != pytest.approx(surprised(bits, 6)(texts).surprise, abs=1e-12)
