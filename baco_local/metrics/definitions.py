"""Every metric once: its name, what it is in one line, where it is from, and the function behind it.

Tables, JSON, CSV and docs/measuring.md repeat what stands here. Reads answer sets; opens no file and no model.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from baco_local.metrics.base import AnswerSet, Group, Metric, Wanted
from baco_local.metrics.lexical import (
    compression,
    distinct,
    ead,
    first_sentence_variety,
    ngram_diversity,
    opening_entropy,
    self_bleu_diversity,
)
from baco_local.metrics.quality import mean_of
from baco_local.metrics.semantic import cosine_distance, n_classes, utility, vendi
from baco_local.metrics.texts import ends, loops, words

__all__ = ["DIVERSITY", "METRICS", "measure"]

DIVERSITY = (Group.LEXICAL, Group.SEMANTIC)


def measure(answers: AnswerSet, groups: Collection[Group] = tuple(Group)) -> dict[str, float | None]:
    """Return every metric of these groups; None where it cannot be said of these answers."""
    return {name: metric.measure(answers) for name, metric in METRICS.items() if metric.group in groups}


def _several(answers: AnswerSet) -> bool:
    return len(answers) > 1


def _distinct(n: int) -> Metric:
    return Metric(
        measure=lambda answers: distinct(answers.texts, n) if _several(answers) else None,
        title=f"distinct-{n}",
        group=Group.LEXICAL,
        definition=f"different / all {('words', 'pairs of words', 'runs of three words')[n - 1]} of all answers.",
        source="Li et al., arXiv 1510.03055",
        in_planes=True,
    )


def _ead(answers: AnswerSet) -> float | None:
    if not _several(answers) or answers.n_words_known is None:
        return None
    return ead([words(text) for text in answers.texts], answers.n_words_known)


def _utility(answers: AnswerSet) -> float | None:
    if answers.classes is None or answers.scores is None:
        return None
    return utility(answers.classes, answers.scores)


def _ended(answers: AnswerSet) -> float | None:
    said = answers.ended or (None,) * len(answers)
    own = [ends(text) if how is None else how for text, how in zip(answers.texts, said, strict=True)]
    return float(np.mean(own)) if own else None


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


METRICS: dict[str, Metric] = {
    "distinct_1": _distinct(1),
    "distinct_2": _distinct(2),
    "distinct_3": _distinct(3),
    "ead": Metric(
        measure=_ead,
        title="EAD",
        group=Group.LEXICAL,
        definition="different words / those expected of as many draws from all words that were measured.",
        source="Liu et al., arXiv 2202.13587; on words, not on a model's ids",
        in_planes=True,
    ),
    "self_bleu_diversity": Metric(
        measure=lambda answers: self_bleu_diversity(answers.texts),
        title="1 - self-BLEU",
        group=Group.LEXICAL,
        definition="1 - mean BLEU of each answer against all others (sacrebleu, effective order).",
        source="Zhu et al., arXiv 1802.01886",
        in_planes=True,
    ),
    "compression": Metric(
        measure=lambda answers: compression(answers.texts) if _several(answers) else None,
        title="compression",
        group=Group.LEXICAL,
        definition="deflated / raw bytes of the joined answers: the more they repeat, the smaller.",
        source="Shaib et al., arXiv 2403.00553, who print the inverse",
        in_planes=True,
    ),
    "opening_entropy_1": Metric(
        measure=lambda answers: opening_entropy(answers.texts, 1),
        title="opening, 1 word",
        group=Group.LEXICAL,
        definition="entropy of the first word, 0 = all alike to 1 = all differ.",
        source="ours",
        in_planes=True,
    ),
    "opening_entropy_3": Metric(
        measure=lambda answers: opening_entropy(answers.texts, 3),
        title="opening, 3 words",
        group=Group.LEXICAL,
        definition="entropy of the first three words, 0 = all alike to 1 = all differ.",
        source="ours",
    ),
    "first_sentence_variety": Metric(
        measure=lambda answers: first_sentence_variety(answers.texts),
        title="first sentences",
        group=Group.LEXICAL,
        definition="different first sentences / answers.",
        source="ours",
    ),
    "ngram_diversity": Metric(
        measure=lambda answers: ngram_diversity(answers.texts) if _several(answers) else None,
        title="n-gram diversity",
        group=Group.LEXICAL,
        definition="distinct-1 + distinct-2 + distinct-3 + distinct-4.",
        source="Shaib et al., arXiv 2403.00553",
    ),
    "distinct_k": Metric(
        measure=lambda answers: None if answers.classes is None else n_classes(answers.classes),
        title="distinct answers",
        group=Group.SEMANTIC,
        definition="classes of answers that an equivalence test tells apart, each answer compared with class founders.",
        source="NoveltyBench, arXiv 2504.05228; the test is named in the output",
        in_planes=True,
        digits=2,
    ),
    "cosine_distance": Metric(
        measure=lambda answers: None if answers.vectors is None else cosine_distance(answers.vectors),
        title="cosine distance",
        group=Group.SEMANTIC,
        definition="1 - mean cosine of all pairs of answers' vectors.",
        source="Tevet and Berant, arXiv 2004.02990",
        in_planes=True,
    ),
    "vendi": Metric(
        measure=lambda answers: None if answers.vectors is None or not _several(answers) else vendi(answers.vectors),
        title="Vendi score",
        group=Group.SEMANTIC,
        definition="effective number of answers: exp of the entropy of the eigenvalues of their cosines / n.",
        source="Friedman and Dieng, arXiv 2210.02410",
        in_planes=True,
        digits=2,
    ),
    "decan": Metric(
        measure=lambda answers: answers.surprise,
        title="Decan",
        group=Group.SEMANTIC,
        definition="bits per byte of the last answer given all others, times 2 ** -(mean bits per byte of one alone).",
        source="after arXiv 2606.01811; scored by the pair's base model",
        in_planes=True,
    ),
    "constraints": Metric(
        measure=lambda answers: mean_of(answers.constraints_met),
        title="constraints met",
        group=Group.QUALITY,
        definition="share of what was asked and can be checked: topic, lengths, an end, no loop, not empty.",
        source="after IFEval, arXiv 2311.07911; the patterns are ours",
    ),
    "judge_bits": Metric(
        measure=lambda answers: _minus(mean_of(answers.bits_per_byte)),
        title="- bits per byte",
        group=Group.QUALITY,
        definition="minus the judge's bits per byte of an answer after its prompt; blandness pays, emptiness does not.",
        source="ours",
    ),
    "reward": Metric(
        measure=lambda answers: mean_of(answers.rewards),
        title="reward",
        group=Group.QUALITY,
        definition="mean score of a reward model; an empty answer gets the worst score that was seen.",
        source="the reward model's makers",
    ),
    "utility": Metric(
        measure=_utility,
        title="utility*",
        group=Group.BOTH,
        definition="sum of 0.8 ** k x score of answer k if its class is new, over the sum of 0.8 ** k; scores 1 to 10 "
        "by the deciles of the first file's rewards.",
        source="NoveltyBench, arXiv 2504.05228; other cut points, so not comparable with their leaderboard",
        digits=2,
    ),
    "aligned_logprob": Metric(
        measure=lambda answers: mean_of(answers.aligned_logprobs),
        title="log p, aligned",
        group=Group.ALARM,
        definition="mean log-probability per token under the pair's aligned model, nats; it favours aligned text.",
        source="ours; an alarm, never a quality",
        wanted=Wanted.NEITHER,
    ),
    "odd": Metric(
        measure=lambda answers: None if answers.odd is None else mean_of(answers.odd),
        title="odd",
        group=Group.ALARM,
        definition="share of answers that the aligned model expects less than 99 % of the first file's.",
        source="ours; an alarm, never a quality",
        wanted=Wanted.LESS,
    ),
    "mean_words": Metric(
        measure=lambda answers: float(np.mean([len(text.split()) for text in answers.texts])) if len(answers) else None,
        title="words",
        group=Group.SHAPE,
        definition="mean words of an answer.",
        source="ours",
        wanted=Wanted.NEITHER,
        digits=1,
    ),
    "loops": Metric(
        measure=lambda answers: float(np.mean([loops(text) for text in answers.texts])) if len(answers) else None,
        title="loops",
        group=Group.SHAPE,
        definition="share of answers in which eight words in a row stand three times.",
        source="ours",
        wanted=Wanted.LESS,
    ),
    "ended": Metric(
        measure=_ended,
        title="ended",
        group=Group.SHAPE,
        definition="share of answers that ended by themselves; by their last sign where the file does not say.",
        source="ours",
    ),
    "empty": Metric(
        measure=lambda answers: float(np.mean([not text.strip() for text in answers.texts])) if len(answers) else None,
        title="empty",
        group=Group.SHAPE,
        definition="share of answers without a word; they stay in every metric.",
        source="ours",
        wanted=Wanted.LESS,
    ),
}
