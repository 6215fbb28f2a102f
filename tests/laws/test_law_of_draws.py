"""Under every schedule a token follows the distribution of the side that says it, given what was said before."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from baco_local.config import DrafterName, ScheduleName
from baco_local.numerics import softmax
from baco_local.testing import Script, scripted_pair, word_vocab
from baco_local.types import Role, Row
from scripted_pairs import NO_GUARDS, PROMPT

A, B = Role.ALIGNED, Role.BASE
LETTERS = tuple(sorted({*PROMPT, *"Question: \n\nAnswer:\n\n"}))
VOCAB = word_vocab((" one", " two", " three", " four", " five", *LETTERS))
WORDS = slice(4, 9)  # their ids; each opens a word, so at every position a coin decides who speaks
WAYS = [
    (ScheduleName.LOCKSTEP, DrafterName.NONE),
    (ScheduleName.LAZY, DrafterName.NONE),
    *((ScheduleName.SPECULATIVE, name) for name in DrafterName if name not in {DrafterName.NONE, DrafterName.AUTO}),
    (ScheduleName.AUTO, DrafterName.AUTO),
]


def rows(seed: int) -> Row:  # [V, V]
    """Return a row for every last id; only the five words can be said."""
    table = np.full((len(VOCAB), len(VOCAB)), -1e9, np.float32)
    table[:, WORDS] = np.random.default_rng(seed).normal(0, 1.5, (len(VOCAB), 5))
    return table


TABLES = {B: rows(1), A: rows(2)}


def by_last(table: Row) -> Script:
    """Return a script that looks at the last id."""
    return lambda ids: table[ids[-1]]


def surprise(n_draws: int, schedule: ScheduleName, drafter: DrafterName, **more: float) -> float:
    """Return by how many deviations chi-square over all (last id, side) exceeds its mean."""
    pair = scripted_pair(
        by_last(TABLES[B]), by_last(TABLES[A]), vocab=VOCAB, n_parallel=4, draft=by_last(TABLES[A] + rows(3) / 4)
    )
    knobs = {"router": "RAND", "guards": NO_GUARDS, "max_tokens": 251, "schedule": schedule, "drafter": drafter}
    seen: Counter[tuple[int, Role, int]] = Counter()
    for answer in pair.generate(PROMPT, n=n_draws // 250, seed=11, **knobs, **more):  # type: ignore[arg-type]
        assert len(answer.tokens) == 251
        seen.update((one.id, two.speaker, two.id) for one, two in zip(answer.tokens, answer.tokens[1:], strict=False))
    square, degrees = 0.0, 0
    for last in range(*WORDS.indices(len(VOCAB))):
        for role in Role:
            counts = np.array([seen[last, role, token] for token in range(len(VOCAB))][WORDS], np.float64)
            expected = softmax(TABLES[role][last])[WORDS] * counts.sum()
            square += float(((counts - expected) ** 2 / expected).sum())
            degrees += counts.size - 1
    assert sum(seen.values()) == n_draws
    return (square - degrees) / math.sqrt(2 * degrees)


@pytest.mark.parametrize(("schedule", "drafter"), WAYS)
def test_a_token_follows_the_side_that_says_it(schedule: ScheduleName, drafter: DrafterName) -> None:
    """Some thousand draws are distributed as the rows say, whoever guesses."""
    assert surprise(5_000, schedule, drafter) < 4


@pytest.mark.slow
@pytest.mark.parametrize(("schedule", "drafter"), WAYS)
def test_a_hundred_thousand_tokens_follow_the_side_that_says_them(schedule: ScheduleName, drafter: DrafterName) -> None:
    """So are a hundred thousand."""
    assert surprise(100_000, schedule, drafter) < 4


def test_another_law_would_show() -> None:
    """The measure can fail: tokens that are drawn a little warmer are told from those of the rows."""
    assert surprise(5_000, ScheduleName.LOCKSTEP, DrafterName.NONE, temperature=1.2) > 6
