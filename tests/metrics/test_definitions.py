"""The list of metrics: every one is explained, and survives odd answers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from baco_local.metrics.base import AnswerSet, Group
from baco_local.metrics.definitions import METRICS, measure

PAGE = Path(__file__).parents[2] / "docs" / "measuring.md"


@pytest.mark.parametrize("name", METRICS)
def test_the_page_explains_every_metric(name):
    """docs/measuring.md repeats title, definition and source of a metric, word by word."""
    metric = METRICS[name]
    assert f"| `{name}` | {metric.title} | {metric.definition} | {metric.source} |" in PAGE.read_text("utf-8")


def test_the_planes_have_eleven_kinds_of_diversity():
    """Coverage and Dominance average over eleven metrics of diversity, as many as the paper's."""
    assert sum(metric.in_planes for metric in METRICS.values()) == 11
    assert {metric.group for metric in METRICS.values() if metric.in_planes} == {Group.LEXICAL, Group.SEMANTIC}


@pytest.mark.parametrize("texts", [(), ("",), ("", ""), ("a fox",), ("a fox", ""), ("…", "\n\n", "\ud800")])
def test_odd_answers(texts):
    """No set of answers makes a metric fail or say something that is not a number."""
    found = measure(AnswerSet(texts=texts, n_words_known=2, ended=(None,) * len(texts)))
    assert found.keys() == METRICS.keys()
    assert all(value is None or math.isfinite(value) for value in found.values())


def test_nothing_is_said_without_its_source():
    """Without vectors, classes, bits or rewards, no metric that needs them has a value."""
    found = measure(AnswerSet(texts=("a fox", "a cat"), n_words_known=3))
    needing = (
        "distinct_k",
        "cosine_distance",
        "vendi",
        "decan",
        "constraints",
        "judge_bits",
        "reward",
        "utility",
        "odd",
    )
    assert [found[name] for name in needing] == [None] * len(needing)


def test_groups():
    """Only the wanted groups are measured."""
    found = measure(AnswerSet(texts=("a", "b")), [Group.SHAPE])
    assert {METRICS[name].group for name in found} == {Group.SHAPE}
