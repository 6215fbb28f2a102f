"""How different the words of several answers are: distinct n-grams, self-BLEU, compression, openings.

Reads texts and nothing else; every function takes the answers to one prompt. sacrebleu (extra "analysis") counts
n-grams and scores BLEU.

Letters: N distinct ids, C ids in all, V vocabulary size.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

from baco_local.errors import UsageError
from baco_local.metrics.texts import first_sentence, words

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

__all__ = [
    "compression",
    "distinct",
    "ead",
    "first_sentence_variety",
    "ngram_diversity",
    "opening_entropy",
    "self_bleu_diversity",
]

NO_SACREBLEU = "self-BLEU needs sacrebleu\n    install it:  pip install 'baco-local[analysis]'"


def distinct(texts: Sequence[str], n: int) -> float:
    """Return unique / all n-grams of words, pooled over the answers; 0 when there are none."""
    grams = [gram for text in texts for gram in ngrams(words(text), n)]
    return len(set(grams)) / max(1, len(grams))


def ngram_diversity(texts: Sequence[str], longest: int = 4) -> float:
    """Return the sum of distinct-1 to distinct-``longest``."""
    return sum(distinct(texts, n) for n in range(1, longest + 1))


def ngrams(run: Sequence[str], n: int) -> Iterable[tuple[str, ...]]:
    """Return every n words in a row."""
    return zip(*(run[i:] for i in range(n)), strict=False)


def ead(ids: Sequence[Sequence[Hashable]], n_vocab: int) -> float | None:
    """Return distinct ids over the number expected of as many uniform draws from a vocabulary; None without ids.

    arXiv 2202.13587: N / (V (1 - ((V - 1) / V) ** C)).
    """
    n_ids = sum(map(len, ids))
    if not n_ids:
        return None
    expected = -n_vocab * math.expm1(n_ids * math.log1p(-1 / n_vocab)) if n_vocab > 1 else 1.0
    return len(set().union(*ids)) / expected


def self_bleu_diversity(texts: Sequence[str]) -> float | None:
    """Return 1 - the mean sentence BLEU of each answer against all others; None for fewer than two.

    Equal to sacrebleu's ``sentence_bleu(..., use_effective_order=True)``, but every answer is split and counted once:
    an n-gram's best count among the others is its best count of all, or its second best for who holds the best.
    """
    if len(texts) < 2:
        return None
    bleu = _bleu()
    counts, lengths = _counted(bleu, texts)
    best: dict[tuple[str, ...], int] = {}
    second: dict[tuple[str, ...], int] = {}
    for own in counts:
        for gram, n in own.items():
            first = best.get(gram, 0)
            if n > first:
                best[gram], second[gram] = n, first
            elif n > second.get(gram, 0):
                second[gram] = n
    total_score = 0.0
    for index, (own, length) in enumerate(zip(counts, lengths, strict=True)):
        others = lengths[:index] + lengths[index + 1 :]
        closest = min(others, key=lambda other: (abs(other - length), other))
        correct, total = [0] * bleu.max_ngram_order, [0] * bleu.max_ngram_order
        for gram, n in own.items():
            total[len(gram) - 1] += n
            correct[len(gram) - 1] += min(n, second.get(gram, 0) if n == best[gram] else best[gram])
        total_score += bleu.compute_bleu(
            correct, total, length, closest, smooth_method=bleu.smooth_method, effective_order=True
        ).score
    return 1 - total_score / len(texts) / 100


def compression(texts: Sequence[str]) -> float | None:
    """Return deflated / raw bytes of the joined answers; None where there is no byte."""
    raw = "\n".join(texts).encode("utf-8", "replace")
    return len(zlib.compress(raw, 9)) / len(raw) if raw else None


def opening_entropy(texts: Sequence[str], n_words: int = 1) -> float | None:
    """Return the entropy of the first words, divided by its largest value: 1 = all differ; None for fewer than two."""
    if len(texts) < 2:
        return None
    openings = Counter(tuple(words(text)[:n_words]) for text in texts)
    n = len(texts)
    return abs(-sum(v / n * math.log(v / n) for v in openings.values()) / math.log(n))


def first_sentence_variety(texts: Sequence[str]) -> float | None:
    """Return different first sentences / answers; None for fewer than two."""
    return len({first_sentence(text) for text in texts}) / len(texts) if len(texts) > 1 else None


@functools.cache
def _bleu() -> BLEU:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise UsageError(NO_SACREBLEU) from error
    return BLEU(effective_order=True)


def _counted(bleu: BLEU, texts: Sequence[str]) -> tuple[list[Counter[tuple[str, ...]]], list[int]]:
    """Return the n-gram counts of every answer, and its length in sacrebleu's tokens."""
    from sacrebleu.metrics.helpers import extract_all_word_ngrams

    pairs = [extract_all_word_ngrams(bleu.tokenizer(text.rstrip()), 1, bleu.max_ngram_order) for text in texts]
    return [counts for counts, _ in pairs], [length for _, length in pairs]
