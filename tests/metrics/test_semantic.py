"""Variety of meaning: known values of every metric, and NoveltyBench's way of counting classes."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.metrics.semantic import (
    by_meaning,
    cosine_distance,
    decan,
    n_classes,
    partition,
    unigram_same,
    utility,
    vendi,
)

CLASSES = st.lists(st.integers(0, 4), min_size=2, max_size=8)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_vendi_counts_different_answers(n):
    """Equal vectors count as 1, n orthogonal ones as n, whatever their lengths."""
    assert vendi(np.ones((n, 3))) == pytest.approx(1.0)
    assert vendi(np.diag(np.arange(1.0, n + 1))) == pytest.approx(n)


def test_vendi_of_two_pairs():
    """Two pairs of equal vectors count as two."""
    assert vendi(np.eye(2)[[0, 0, 1, 1]]) == pytest.approx(2.0)


@pytest.mark.parametrize(("angle", "distance"), [(0, 0.0), (90, 1.0), (180, 2.0)])
def test_cosine_distance(angle, distance):
    """Parallel vectors are at 0, orthogonal ones at 1, opposite ones at 2; length does not count."""
    turn = np.radians(angle)
    assert cosine_distance(np.array([[2.0, 0.0], [np.cos(turn), np.sin(turn)]])) == pytest.approx(distance)


def test_cosine_distance_is_over_all_pairs():
    """Of three vectors of which two are equal, two pairs in three differ."""
    assert cosine_distance(np.eye(2)[[0, 0, 1]]) == pytest.approx(2 / 3)


def test_empty_answers_are_alike():
    """Answers without a token have no direction: they are equal to each other and to nothing else."""
    vectors = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    assert vendi(vectors[:2]) == pytest.approx(1.0)
    assert cosine_distance(vectors) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Paris", "paris", True),
        ("Maui,", "Maui", False),  # NoveltyBench splits short answers at spaces alone
        ("the red fox", "the red dog", True),
        ("the red fox", "a blue dog", False),
        ("The fox ran over the hill today.", "the fox ran over, the hill: today", True),
        ("The fox ran over the hill today.", "A cat slept in that old barn yesterday.", False),
        ("", "", True),
    ],
)
def test_unigram_test(a, b, same):
    """Short answers are the same when half their words agree, longer ones by unigram F1."""
    assert unigram_same(a, b) is same
    assert unigram_same(b, a) is same


def test_partition_compares_with_founders():
    """An answer joins the first class whose founder it equals, although it equals a later founder, too."""
    near = lambda a, b: abs(int(a) - int(b)) <= 1  # noqa: E731
    assert partition(["1", "3", "2", "4", "9"], near) == (0, 1, 0, 1, 2)


def test_classes_are_counted_from_one():
    """Three classes are three; NoveltyBench's own partition file writes one less."""
    assert n_classes(partition(["Paris", "Rome", "Paris", "Oslo"])) == 3
    assert n_classes([0]) is None


def test_equal_by_meaning():
    """Vectors tell apart what words do not, and bring together what they do not."""
    texts = ["one", "two", "three"]
    same = by_meaning(texts, np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), cut=0.8)
    assert partition(texts, same) == (0, 0, 1)


def test_utility_of_one_class():
    """A reader of ten equal answers of score 10 gains 10 from the first alone."""
    assert utility([0] * 10, [10.0] * 10) == pytest.approx(10 / 4.463, abs=1e-3)
    assert utility(range(10), [10.0] * 10) == pytest.approx(10.0)


@given(CLASSES)
def test_utility_grows_with_new_classes(classes):
    """With equal scores, an answer that opens a class gains more than one that repeats."""
    scores = [5.0] * len(classes)
    assert utility([0] * len(classes), scores) <= utility(classes, scores) <= utility(range(len(classes)), scores)


def letters(prefix, text):
    """Return bits of a scorer that expects letters it has seen: a stand-in for a base model, exact and quick."""
    seen, bits = prefix + " ", 0.0
    for char in text:
        bits -= np.log2((seen.count(char) + 0.1) / (len(seen) + 0.1 * len(string.printable)))
        seen += char
    return bits


def copies(prefix, text):
    """Return bits of a scorer that knows every text it has read, and words of a dictionary."""
    return 0.0 if text in prefix else sum(8.0 * (word.isalpha() or 8) for word in text.split())


def test_decan_of_equal_answers_is_nothing():
    """The last of equal answers is no surprise after the others."""
    assert decan(copies, "ask", ["the fox ran"] * 5, rng=np.random.default_rng(0)) == pytest.approx(0.0)


def test_decan_prefers_sense_to_noise():
    """Random characters surprise, but have no coherence: varied sentences score higher."""
    rng = np.random.default_rng(0)
    sense = ["the fox ran over the hill", "a cat slept in a barn", "rain fell on the sea all day"]
    noise = ["".join(rng.choice(list(string.punctuation + string.digits), 25)) for _ in range(3)]
    ask = "tell me a story of one fox or a cat or the sea and the rain"
    assert decan(letters, ask, noise, rng=rng) < decan(letters, ask, sense, rng=rng)
