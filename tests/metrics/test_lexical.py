"""Variety of words: known values, what sacrebleu says, and laws."""

from __future__ import annotations

import math
import random

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from baco_local.metrics.lexical import (
    compression,
    distinct,
    ead,
    first_sentence_variety,
    ngram_diversity,
    opening_entropy,
    self_bleu_diversity,
)

WORDS = ["a", "fox", "ran", "home", "and", "slept,", "sea", "The"]
SETS = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), min_size=2, max_size=5)


@pytest.mark.parametrize(
    ("n", "value"),
    [(1, 4 / 6), (2, 3 / 4), (3, 2 / 2), (4, 0.0)],
)
def test_distinct(n, value):
    """Different over all n-grams, pooled over both answers, without regard to capitals."""
    assert distinct(["The fox ran", "the fox slept"], n) == pytest.approx(value)


def test_ngram_diversity():
    """The sum of distinct-1 to distinct-4."""
    texts = ["the fox ran home and", "the fox slept"]
    assert ngram_diversity(texts) == pytest.approx(sum(distinct(texts, n) for n in (1, 2, 3, 4)))


def test_ead_is_the_formula_of_its_paper():
    """EAD is N / (V (1 - ((V - 1) / V) ** C)); it is 1 where every draw is expected to be new and is."""
    ids = [[1, 2, 3, 1], [2, 5]]
    assert ead(ids, 100) == pytest.approx(4 / (100 * (1 - (99 / 100) ** 6)))
    assert ead([[7]], 100) == pytest.approx(1.0)
    assert ead([[7, 7]], 1) == pytest.approx(1.0)
    assert ead([[], []], 100) is None


def test_ead_bends_less_with_length_than_distinct():
    """Uniform draws have nearly one EAD at any length, while distinct-1 falls."""
    rng = random.Random(0)
    short, long = ([[rng.randrange(200) for _ in range(n)]] for n in (50, 400))
    assert ead(short, 200) == pytest.approx(ead(long, 200), abs=0.12)
    assert len(set(short[0])) / 50 > len(set(long[0])) / 400 + 0.3


@given(SETS)
def test_self_bleu_is_sacrebleu(texts):
    """One pass over the counts gives what sacrebleu gives when it scores each answer against all others."""
    scores = [
        sacrebleu.sentence_bleu(text, texts[:i] + texts[i + 1 :], use_effective_order=True).score
        for i, text in enumerate(texts)
    ]
    assert self_bleu_diversity(texts) == pytest.approx(1 - sum(scores) / len(scores) / 100, abs=1e-9)


def test_equal_answers_are_not_diverse():
    """Of n equal answers the self-BLEU diversity and the entropy of openings are 0."""
    texts = ["once there was a fox who ran home"] * 5
    assert self_bleu_diversity(texts) == pytest.approx(0.0, abs=1e-9)
    assert opening_entropy(texts) == 0.0
    assert first_sentence_variety(texts) == pytest.approx(1 / 5)


def test_compression_falls_with_repetition():
    """Answers that repeat each other deflate to less than answers that do not."""
    rng = random.Random(0)
    many = ["".join(rng.choices("abcdefghij ", k=300)) for _ in range(6)]
    assert compression(many[:1] * 6) < 0.3 < compression(many)
    assert compression([""]) is None


@pytest.mark.parametrize(
    ("texts", "k", "value"),
    [
        (["a x", "b x", "c x", "d x"], 1, 1.0),
        (["a x", "a y", "b x", "b y"], 1, math.log(2) / math.log(4)),
        (["a x", "a y", "b x", "b y"], 2, 1.0),
        (["A x", "a x"], 1, 0.0),
        (["", ""], 1, 0.0),
    ],
)
def test_opening_entropy(texts, k, value):
    """0 where all answers open alike, 1 where all differ; capitals do not count."""
    assert opening_entropy(texts, k) == pytest.approx(value)


def test_one_answer_has_no_variety():
    """Of one answer it cannot be said how it differs from others."""
    assert [measure(["a fox"]) for measure in (opening_entropy, first_sentence_variety, self_bleu_diversity)] == [
        None
    ] * 3


@given(SETS, st.randoms())
def test_order_does_not_matter(texts, rng):
    """Answers may come in any order."""
    other = rng.sample(texts, len(texts))
    for n in (1, 2, 3):
        assert distinct(texts, n) == distinct(other, n)
    for measure in (opening_entropy, first_sentence_variety, self_bleu_diversity):
        assert measure(texts) == pytest.approx(measure(other), abs=1e-9)


@given(SETS)
def test_ranges(texts):
    """Whatever the answers are, shares stay between 0 and 1."""
    values = [distinct(texts, 2), opening_entropy(texts), first_sentence_variety(texts), self_bleu_diversity(texts)]
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in values)
