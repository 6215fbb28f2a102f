"""From answers to findings: both views of length, every metric per prompt, intervals, and one file against another.

What models say comes in through callables that complete an answer set; opens no file and no model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np

from baco_local.metrics.annotators import Annotate, Map, completed
from baco_local.metrics.answer_files import Answered, AnswerFile, dealt
from baco_local.metrics.base import AnswerSet, Group
from baco_local.metrics.constraints import share_met
from baco_local.metrics.definitions import DIVERSITY, METRICS, measure
from baco_local.metrics.intervals import Difference, Interval, mean_interval, paired_difference
from baco_local.metrics.quality import deciles, scores_of
from baco_local.metrics.texts import cut_alike, words

__all__ = ["WHOLE", "Finding", "Survey", "View", "survey"]

WHOLE = (Group.QUALITY, Group.BOTH, Group.ALARM, Group.SHAPE)  # measured on uncut answers
ODD_PERCENT = 1


class View(StrEnum):
    """How much of each answer a metric sees."""

    MATCHED = "matched"  # cut to comparable lengths: the headline
    RAW = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One metric in one view, for every file."""

    metric: str
    view: View
    values: tuple[tuple[float | None, ...], ...]  # per file, per set of answers
    intervals: tuple[Interval, ...]  # per file
    difference: Difference | None  # second file - first; None for one file


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Everything that was found."""

    findings: tuple[Finding, ...]
    keys: tuple[str, ...]  # of the sets that diversity was measured in: prompts, or deals
    prompt_keys: tuple[str, ...]  # of the prompts that quality was measured on
    share_cut: tuple[float, ...]  # per file: answers that lost words in the matched view
    n_words_known: int


def survey(
    files: Sequence[AnswerFile],
    *,
    across: int | None = None,
    meaning: Sequence[Annotate] = (),
    quality: Sequence[Annotate] = (),
    n_resamples: int = 1000,
    seed: int = 0,
    do_all: Map = map,
) -> Survey:
    """Measure one file, or two with the same prompts in the same order.

    Args:
        files: the answers; a second file is compared with the first.
        across: None = sets are the answers to one prompt; a number = sets of so many answers to different prompts.
        meaning: completes sets for semantic metrics, in both views.
        quality: completes the uncut sets for metrics of quality.
        n_resamples: of the bootstrap.
        seed: of the bootstrap and of the deal.
        do_all: how annotators get through many sets.

    """
    units = [each.prompts if across is None else dealt(each.prompts, across, seed) for each in files]
    n_known = len(
        {word for each in files for answered in each.prompts for text in answered.texts for word in words(text)}
    )
    findings: list[Finding] = []

    def add(view: View, sets: Sequence[Sequence[AnswerSet]], groups: Sequence[Group]) -> None:
        measured = [[measure(each, groups) for each in own] for own in sets]
        for name, metric in METRICS.items():
            if metric.group in groups:
                values = tuple(tuple(row[name] for row in own) for own in measured)
                findings.append(_finding(name, view, values, n_resamples, seed))

    cut = [cut_alike([own[place].texts for own in units]) for place in range(len(units[0]))]
    raw = [[_set(answered, answered.texts, n_known) for answered in own] for own in units]
    matched = [
        [_set(answered, short[number], n_known) for answered, (short, _) in zip(own, cut, strict=True)]
        for number, own in enumerate(units)
    ]
    add(View.MATCHED, _completed(matched, meaning, do_all), DIVERSITY)
    add(View.RAW, _completed(raw, meaning, do_all), DIVERSITY)
    whole = [[_held_to_account(answered, n_known) for answered in each.prompts] for each in files]
    whole = _scored(_completed(whole, [*quality, *(() if across else meaning)], do_all))
    add(View.RAW, whole, WHOLE)
    return Survey(
        findings=tuple(finding for finding in findings if any(each.n_used for each in finding.intervals)),
        keys=tuple(each.key for each in units[0]),
        prompt_keys=tuple(each.key for each in files[0].prompts),
        share_cut=tuple(float(np.mean([shares[number] for _, shares in cut])) for number in range(len(files))),
        n_words_known=n_known,
    )


def _set(answered: Answered, texts: Sequence[str], n_known: int) -> AnswerSet:
    return AnswerSet(texts=tuple(texts), prompt=answered.prompt, n_words_known=n_known, ended=answered.ended)


def _held_to_account(answered: Answered, n_known: int) -> AnswerSet:
    wanted = answered.asked
    met = [share_met(wanted, text, ended=ended) for text, ended in zip(answered.texts, answered.ended, strict=True)]
    return dataclasses.replace(_set(answered, answered.texts, n_known), constraints_met=tuple(met))


def _completed(
    sets: Sequence[Sequence[AnswerSet]], annotators: Sequence[Annotate], do_all: Map
) -> list[list[AnswerSet]]:
    return [list(do_all(partial(completed, annotators=annotators), own)) for own in sets]


def _scored(sets: list[list[AnswerSet]]) -> list[list[AnswerSet]]:
    """Give empty answers the worst that was seen, and hold every answer against those of the first file.

    Rewards become scores of 1 to 10 by the first file's deciles, and odd is what the aligned model expects less than
    99 % of the first file's answers.
    """
    rewards = [_seen(each.rewards for each in own) for own in sets]
    worst = min((reward for own in rewards for reward in own), default=0.0)
    most_bits = max((bits for own in sets for bits in _seen(each.bits_per_byte for each in own)), default=0.0)
    cuts = deciles(rewards[0]) if rewards[0] else None
    usual = _seen(each.aligned_logprobs for each in sets[0])
    least = float(np.percentile(usual, ODD_PERCENT)) if usual else 0.0

    def scored(answers: AnswerSet) -> AnswerSet:
        if answers.bits_per_byte is not None:
            answers = dataclasses.replace(answers, bits_per_byte=_filled(answers.bits_per_byte, most_bits))
        if answers.aligned_logprobs is not None and usual:
            odd = tuple(logprob is None or logprob < least for logprob in answers.aligned_logprobs)
            answers = dataclasses.replace(answers, odd=odd)
        if answers.rewards is None or cuts is None:
            return answers
        filled = _filled(answers.rewards, worst)
        return dataclasses.replace(answers, rewards=filled, scores=scores_of(filled, cuts))

    return [[scored(each) for each in own] for own in sets]


def _seen(rows: Iterable[tuple[float | None, ...] | None]) -> list[float]:
    return [value for row in rows for value in row or () if value is not None]


def _filled(row: tuple[float | None, ...], value: float) -> tuple[float, ...]:
    return tuple(value if each is None else each for each in row)


def _finding(
    name: str, view: View, values: tuple[tuple[float | None, ...], ...], n_resamples: int, seed: int
) -> Finding:
    return Finding(
        metric=name,
        view=view,
        values=values,
        intervals=tuple(mean_interval(own, n_resamples=n_resamples, seed=seed) for own in values),
        difference=paired_difference(*values, n_resamples=n_resamples, seed=seed) if len(values) == 2 else None,
    )
