"""What models say about answers, put where metrics find it: vectors, classes, surprise, bits, rewards.

Takes the models as plain callables, which some threads may ask at once; opens none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baco_local.metrics.base import AnswerSet, Vectors
from baco_local.metrics.semantic import Bits, Same, by_meaning, decan, partition

__all__ = [
    "Annotate",
    "Embed",
    "Map",
    "Reward",
    "classified",
    "classified_by_meaning",
    "completed",
    "expected",
    "judged",
    "rewarded",
    "surprised",
    "vectorised",
]

MOST_KNOWN = 10_000  # texts whose vectors are kept

Annotate: TypeAlias = Callable[[AnswerSet], AnswerSet]
"""Return an answer set with something more known about it."""

Embed: TypeAlias = Callable[[Sequence[str]], NDArray[np.floating[Any]]]
"""Return one vector per text: [n] -> [n, width]."""

Map: TypeAlias = Callable[..., Iterable[Any]]
"""Do something to every set, in order: ``map``, or the ``map`` of a pool of threads, which does some at a time."""

Reward: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""Return one reward per answer: reward(prompt, answers)."""


def completed(answers: AnswerSet, annotators: Sequence[Annotate]) -> AnswerSet:
    """Return an answer set with all that some annotators know of it."""
    for annotate in annotators:
        answers = annotate(answers)
    return answers


def vectorised(embed: Embed) -> Annotate:
    """Give every answer its vector; texts that come again soon are not read again."""
    known: dict[str, Vectors] = {}

    def annotate(answers: AnswerSet) -> AnswerSet:
        own = {text: vector for text in answers.texts if (vector := known.get(text)) is not None}
        new = [text for text in dict.fromkeys(answers.texts) if text not in own]
        if new:
            own.update(zip(new, np.asarray(embed(new), np.float64), strict=True))
        if len(known) > MOST_KNOWN:
            known.clear()
        known.update(own)
        vectors = np.stack([own[text] for text in answers.texts]) if answers.texts else None
        return dataclasses.replace(answers, vectors=vectors)

    return annotate


def classified(same: Same) -> Annotate:
    """Sort answers into classes by a test of two texts."""
    return lambda answers: dataclasses.replace(answers, classes=partition(answers.texts, same))


def classified_by_meaning(cut: float) -> Annotate:
    """Sort answers into classes by the cosines of their vectors, which must be known."""

    def annotate(answers: AnswerSet) -> AnswerSet:
        if answers.vectors is None:
            return answers
        same = by_meaning(answers.texts, answers.vectors, cut)
        return dataclasses.replace(answers, classes=partition(answers.texts, same))

    return annotate


def surprised(bits: Bits, seed: int) -> Annotate:
    """Say how much the last answer surprises a model that has read the others, over a few orders (Decan)."""

    def annotate(answers: AnswerSet) -> AnswerSet:
        rng = np.random.default_rng(seed)
        return dataclasses.replace(answers, surprise=decan(bits, answers.prompt, answers.texts, rng=rng))

    return annotate


def expected(logprob: Callable[[str, str], float]) -> Annotate:
    """Give every answer its mean log-probability per token under the aligned model; None to empty ones."""
    return lambda answers: dataclasses.replace(
        answers,
        aligned_logprobs=tuple(logprob(answers.prompt, text) if text.strip() else None for text in answers.texts),
    )


def judged(bits: Bits) -> Annotate:
    """Give every answer its bits per byte under a judge that has read the prompt; None to empty ones."""

    def rate(prompt: str, text: str) -> float | None:
        return bits(prompt, text) / len(text.encode("utf-8", "replace")) if text.strip() else None

    return lambda answers: dataclasses.replace(
        answers, bits_per_byte=tuple(rate(answers.prompt, text) for text in answers.texts)
    )


def rewarded(reward: Reward) -> Annotate:
    """Give every answer its reward; None to empty ones, which no reward model was trained on."""

    def annotate(answers: AnswerSet) -> AnswerSet:
        told = [text for text in answers.texts if text.strip()]
        given = iter(reward(answers.prompt, told) if told else ())
        rewards = tuple(float(next(given)) if text.strip() else None for text in answers.texts)
        return dataclasses.replace(answers, rewards=rewards)

    return annotate
