"""What a lazy answer does not read, and that its prompts are shared all the same."""

from __future__ import annotations

from typing import Any

import pytest

from baco_local.config import EndCheck, ScheduleName
from baco_local.engine.answer import Answer
from baco_local.pair import Pair
from baco_local.types import Detail, Role
from scripted_pairs import NO_GUARDS, PROMPT, Scripts, models_of

A, B = Role.ALIGNED, Role.BASE
TWO = Scripts(1, 2, 3.0, -9.0)  # never ends by itself
LONG = "Tell me of the old fox and the small bird, and then of the red sea."
LAZY: dict[str, Any] = {"schedule": ScheduleName.LAZY, "guards": NO_GUARDS, "seed": 1, "max_tokens": 40}


def fed(pair: Pair) -> dict[Role, tuple[int, int]]:
    """Return what each model has read: (ids, decodes)."""
    return {role: (model.n_fed, model.n_feeds) for role, model in models_of(pair).items()}


def written(**knobs: Any) -> tuple[Answer, dict[Role, tuple[int, int]]]:
    """Return a lazy answer, and what it cost."""
    pair = TWO.pair()
    return pair.generate(PROMPT, **LAZY, **knobs)[0], fed(pair)


@pytest.mark.parametrize("role", Role)
def test_a_coin_wakes_nobody(role: Role) -> None:
    """Where a coin decides and the end is not looked up inside sentences, the other model hardly ever reads."""
    threshold = 0.0 if role is A else 1.0
    knobs: dict[str, Any] = {"router": "RAND", "threshold": threshold, "start": role, "end_check": EndCheck.SENTENCE}
    answer, cost = written(**knobs)
    assert {token.speaker for token in answer.tokens} == {role}
    assert cost[role][1] == 40
    starts = sum(token.boundary for token in answer.tokens)
    assert cost[role.other][1] == 0 if role is A else cost[role.other][1] < starts / 2


def test_words_are_finished_alone() -> None:
    """Under the default rule the model that does not speak is asked once per word, and reads all it has missed."""
    answer, cost = written(router="P", diversity=5)
    inside = sum(token.reason == "inside word" for token in answer.tokens)
    assert inside > 5
    usage = answer.usage
    spared = sum(39 - usage.n_decodes[role] for role in Role)
    assert inside - 2 <= spared <= inside
    assert cost[B][1] + cost[A][1] == 80 - spared


def test_both_are_read_where_both_are_recorded() -> None:
    """With records of both sides lazy is lockstep: no decode is spared."""
    answer, _ = written(router="RAND", diversity=5, detail=Detail.SIDES)
    assert all(token.base and token.aligned for token in answer.tokens)
    assert answer.usage.n_decodes == {A: 39, B: 39}


@pytest.mark.parametrize("can_rewind", [True, False])
@pytest.mark.parametrize("n_batch", [512, 7])
def test_samples_share_a_prompt_that_nobody_has_asked_for(*, can_rewind: bool, n_batch: int) -> None:
    """The prompt of a model that sleeps is read once for all samples that wait for it."""
    pair = TWO.pair(can_rewind=can_rewind, n_batch=n_batch)
    pair.generate(LONG, n=4, router="RAND", threshold=0.0, **LAZY)
    n_base = len(pair.prompt_ids(LONG)[B])
    assert models_of(pair)[B].n_fed == n_base - 1
    one = TWO.pair(can_rewind=can_rewind)
    one.generate(LONG, router="RAND", threshold=0.0, **LAZY)
    assert models_of(one)[B].n_fed == 0


def test_a_long_sleep_ends_in_pieces() -> None:
    """A model that has missed more than one batch holds catches up in several."""
    pair, plain = TWO.pair(n_batch=8), TWO.pair()
    stream = pair.stream(PROMPT, diversity=0, **LAZY)
    for _ in range(30):
        next(stream)
    assert models_of(pair)[B].n_fed == 0
    stream.diversity = 5
    rest = [token.id for token in stream]
    begun = [token.spoken for token in stream.answer.tokens[:30]]
    again = plain.stream(PROMPT, begun=begun, **(LAZY | {"schedule": ScheduleName.LOCKSTEP}))
    assert [token.id for token in again][30:] == rest
    assert len(rest) == 10
