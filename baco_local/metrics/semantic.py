"""How different the meanings of several answers are: distances, the Vendi score, classes of equal answers, Decan.

Reads vectors, texts and bits that others computed; knows no model. Whether two answers say the same is a callable.

Letters: n answers, K their similarity matrix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from baco_local.metrics.base import Vectors

__all__ = [
    "UNIGRAM_CUT",
    "Bits",
    "Same",
    "by_meaning",
    "cosine_distance",
    "decan",
    "n_classes",
    "partition",
    "unigram_same",
    "utility",
    "vendi",
]

Same: TypeAlias = Callable[[str, str], bool]
"""Tell whether two answers say the same."""

Bits: TypeAlias = Callable[[str, str], float]
"""Return -log2 p(text | prefix) under a model: called as bits(prefix, text)."""

SHORT_WORDS = 5  # answers up to this length are compared by shared words, as NoveltyBench does
UNIGRAM_CUT = 0.458  # unigram F1 above which two longer answers count as the same; NoveltyBench's value


def cosine_distance(vectors: Vectors) -> float | None:  # [n, width]
    """Return 1 - the mean cosine of all pairs; None for fewer than two."""
    n = len(vectors)
    if n < 2:
        return None
    cosines = _cosines(vectors)
    return float(1 - (cosines.sum() - np.trace(cosines)) / (n * (n - 1)))


def vendi(vectors: Vectors) -> float | None:  # [n, width]
    """Return the effective number of different answers, 1 to n: exp of the entropy of the eigenvalues of K / n."""
    if not len(vectors):
        return None
    weights = np.linalg.eigvalsh(_cosines(vectors) / len(vectors))
    weights = weights[weights > 1e-12]
    return float(np.exp(-(weights * np.log(weights)).sum()))


def _cosines(vectors: Vectors) -> Vectors:  # [n, width] -> [n, n]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    empty = lengths[:, 0] == 0  # an answer without a token has no direction, and is like another such answer
    unit = vectors / np.where(lengths > 0, lengths, 1)
    cosines = np.asarray(unit @ unit.T, np.float64)
    cosines[np.ix_(empty, empty)] = 1.0
    np.fill_diagonal(cosines, 1.0)
    return cosines


# --- classes ------------------------------------------------------------------------------------------------------


def unigram_same(a: str, b: str, cut: float = UNIGRAM_CUT) -> bool:
    """Compare words: short answers share at least half of theirs, longer ones have a unigram F1 above ``cut``."""
    x, y = a.lower().split(), b.lower().split()
    longest = max(len(x), len(y))
    if longest <= SHORT_WORDS:
        return 2 * len(set(x) & set(y)) >= longest
    left, right = (Counter(re.findall(r"\w+", text.lower())) for text in (a, b))
    n_both = (left & right).total()
    return 2 * n_both / max(1, left.total() + right.total()) > cut


def by_meaning(texts: Sequence[str], vectors: Vectors, cut: float) -> Same:  # [n], [n, width]
    """Return a test that calls two of these texts the same when the cosine of their vectors is above ``cut``."""
    places = {text: place for place, text in enumerate(texts)}
    cosines = _cosines(vectors)
    return lambda a, b: a == b or bool(cosines[places[a], places[b]] > cut)


def partition(texts: Sequence[str], same: Same = unigram_same) -> tuple[int, ...]:  # [n] -> [n]
    """Return the class of every answer; each is compared with the first answers of earlier classes, in order."""
    founders: list[str] = []
    classes = []
    for text in texts:
        own = next((number for number, founder in enumerate(founders) if same(founder, text)), len(founders))
        if own == len(founders):
            founders.append(text)
        classes.append(own)
    return tuple(classes)


def n_classes(classes: Sequence[int]) -> float | None:  # [n]
    """Return how many classes there are; None for fewer than two answers."""
    return float(len(set(classes))) if len(classes) > 1 else None


def utility(classes: Sequence[int], scores: Sequence[float], patience: float = 0.8) -> float | None:  # [n], [n]
    """Return what a reader gains who reads on with this chance after each answer, and is pleased by new ones alone."""
    if len(classes) < 2:
        return None
    weights = patience ** np.arange(len(classes))
    new = np.array([own not in classes[:place] for place, own in enumerate(classes)])
    return float((weights * new * np.asarray(scores, float)).sum() / weights.sum())


# --- surprise -----------------------------------------------------------------------------------------------------


def decan(
    bits: Bits, prompt: str, answers: Sequence[str], *, rng: np.random.Generator, n_orders: int = 4
) -> float | None:
    """Return coherence x surprise of the last answer, mean over orders (Decan-style; arXiv 2606.01811).

    Surprise: bits per byte of the last answer given prompt and all others. Coherence: 2 ** -(mean bits per byte of an
    answer given the prompt alone).
    """
    if len(answers) < 2:
        return None

    def rate(prefix: str, answer: str) -> float:
        return bits(prefix, answer) / max(1, len(answer.encode("utf-8", "replace")))

    alone = prompt + ANSWER
    coherence = float(2.0 ** -np.mean([rate(alone, answer) for answer in answers]))
    last = []
    for _ in range(n_orders):
        *before, own = (answers[place] for place in rng.permutation(len(answers)))
        last.append(rate(prompt + "".join(ANSWER + answer for answer in before) + ANSWER, own))
    return float(coherence * np.mean(last))


ANSWER = "\n\nAnswer: "
