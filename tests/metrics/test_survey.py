"""From answers to findings: views, sets, comparison."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from baco_local.metrics.answer_files import Answered, AnswerFile
from baco_local.metrics.base import AnswerSet
from baco_local.metrics.survey import View, survey

STORY = "the fox ran over the hill and met a cat who sang of the sea all day long until the moon came up"


def answers(name, *texts_of):
    """Return a file with these answers per prompt."""
    prompts = tuple(
        Answered(key=f"p{n}", prompt=f"p{n}", texts=tuple(texts), ended=(None,) * len(texts))
        for n, texts in enumerate(texts_of)
    )
    return AnswerFile(name=name, prompts=prompts)


SAME = answers("same", *([STORY] * 3 for _ in range(4)))
VARIED = answers("varied", *([f"{n} {k} {STORY[k * 9 :]}" for k in range(3)] for n in range(4)))


def finding(found, metric, view=View.MATCHED):
    """Return one finding."""
    (only,) = [each for each in found.findings if (each.metric, each.view) == (metric, view)]
    return only


def test_one_file():
    """A metric has a value per prompt, a mean and an interval; there is nothing to compare."""
    found = finding(survey([VARIED], n_resamples=100), "distinct_2")
    assert len(found.values[0]) == 4
    assert found.intervals[0].low <= found.intervals[0].mean <= found.intervals[0].high
    assert found.difference is None


def test_two_files():
    """The second file is compared with the first, prompt by prompt."""
    found = finding(survey([SAME, VARIED], n_resamples=100), "self_bleu_diversity")
    assert found.difference.change.mean == pytest.approx(found.intervals[1].mean - found.intervals[0].mean)
    assert found.difference.change.low > 0


def test_length_is_taken_away():
    """A file that says everything twice is as diverse as the other once both are cut alike, and less before."""
    short = answers("short", *([f"{n} {k} {STORY}" for k in range(3)] for n in range(4)))
    long = answers("long", *([f"{text} {text}" for text in each.texts] for each in short.prompts))
    found = survey([short, long], n_resamples=100)
    assert finding(found, "distinct_2").difference.change.mean == 0
    assert finding(found, "distinct_2", View.RAW).difference.change.mean < 0
    assert found.share_cut == (0.0, 1.0)


def test_quality_sees_whole_answers():
    """An answer that ends after the cut has ended."""
    ended = answers("ended", *([f"{STORY} {STORY} {STORY}.", "short one."] for _ in range(2)))
    assert finding(survey([ended], n_resamples=100), "ended", View.RAW).intervals[0].mean == 1.0


def test_across_prompts():
    """Single answers are compared with those to other prompts, in sets of the size that was asked for."""
    single = answers("single", *([f"{n} {STORY}"] for n in range(7)))
    found = survey([single], across=3, n_resamples=100)
    assert (len(found.keys), len(found.prompt_keys)) == (2, 7)
    assert len(finding(found, "distinct_1").values[0]) == 2
    assert len(finding(found, "mean_words", View.RAW).values[0]) == 7
    assert not [each for each in survey([single], n_resamples=100).findings if each.metric == "self_bleu_diversity"]


def test_annotators_complete_both_views():
    """What a model says of answers is asked for each view and each file, and reaches the metrics."""
    seen: list[tuple[str, ...]] = []

    def classified(own: AnswerSet) -> AnswerSet:
        seen.append(own.texts)
        return dataclasses.replace(own, classes=tuple(range(len(own))))

    found = survey([SAME, VARIED], meaning=[classified], n_resamples=100)
    assert (
        finding(found, "distinct_k").intervals[0].mean == finding(found, "distinct_k", View.RAW).intervals[1].mean == 3
    )
    assert len(seen) == 2 * 4 * 3


def test_sets_may_be_completed_at_the_same_time():
    """Threads that are at work together find what one finds, in the same order."""
    together = threading.Barrier(2, timeout=10)

    def rated(own: AnswerSet) -> AnswerSet:
        together.wait()  # an even number of sets: each waits for another one
        return dataclasses.replace(own, bits_per_byte=tuple(float(len(text)) for text in own.texts))

    def plainly(own: AnswerSet) -> AnswerSet:
        return dataclasses.replace(own, bits_per_byte=tuple(float(len(text)) for text in own.texts))

    alone = survey([SAME, VARIED], quality=[plainly], n_resamples=100)
    with ThreadPoolExecutor(2) as pool:
        assert survey([SAME, VARIED], quality=[rated], n_resamples=100, do_all=pool.map) == alone


def test_odd_is_what_the_first_file_hardly_has():
    """Odd is what the aligned model expects less than nearly all of the first file; an empty answer always is."""

    def annotated(own: AnswerSet) -> AnswerSet:
        logprobs = tuple(-float(len(text)) if text else None for text in own.texts)
        return dataclasses.replace(own, aligned_logprobs=logprobs)

    first = answers("first", *(["x" * n] * 2 for n in range(1, 51)))
    second = answers("second", *([["x"], ["x" * 60], [""], ["x" * 40]][n % 4] * 2 for n in range(50)))
    odd = finding(survey([first, second], quality=[annotated], n_resamples=100), "odd", View.RAW)
    assert odd.intervals[0].mean <= 0.02
    assert odd.values[1][:4] == (0, 1, 1, 0)


def test_rewards_become_scores():
    """Empty answers get the worst reward, and the first file's deciles make scores for utility."""

    def rewarded(own: AnswerSet) -> AnswerSet:
        return dataclasses.replace(
            own, rewards=tuple(float(len(text)) if text else None for text in own.texts), classes=(0, 1)
        )

    first = answers("first", *([f"{'x' * n}", "y" * 20] for n in range(1, 11)))
    second = answers("second", *(["", "y" * 30] for _ in range(10)))
    found = survey([first, second], quality=[rewarded], n_resamples=100)
    assert finding(found, "reward", View.RAW).intervals[1].mean == pytest.approx((1 + 30) / 2)
    utility = finding(found, "utility", View.RAW)
    assert utility.values[1] == (pytest.approx((1 * 1 + 0.8 * 10) / 1.8),) * 10
