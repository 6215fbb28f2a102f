"""On the bundled pair every schedule writes lockstep's text, and reads less or in fewer batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from baco_local.assemble import load
from baco_local.config import DrafterName, EndCheck, LoadOptions, ScheduleName
from baco_local.engine.answer import Answer
from baco_local.pair import Pair
from baco_local.settings import Settings
from baco_local.types import Role
from scripted_pairs import NO_GUARDS

pytestmark = [pytest.mark.model, pytest.mark.slow]

PROMPTS = tuple(
    f"Tell me a story about {who}." for who in ("a fox", "a small bird", "two brothers", "an old king", "the sea")
)
SETTINGS: tuple[dict[str, Any], ...] = (  # six answers each to five prompts
    {"router": "P-PUNC", "diversity": 5},
    {"router": "P", "diversity": 7, "end_check": EndCheck.SENTENCE},
    {"router": "RAND", "diversity": 5, "repeat_penalty": 1.2},
    {"router": "NUDGE", "diversity": 4, "xtc_probability": 0.3},
    {"router": "mix-prob", "diversity": 5},
    {"router": "P-PUNC", "diversity": 3, "grammar": "root ::= [A-Za-z ,.\\n\"!?']+"},
)
WAYS = (
    (ScheduleName.LAZY, DrafterName.NONE),
    (ScheduleName.SPECULATIVE, DrafterName.MODEL),
    (ScheduleName.SPECULATIVE, DrafterName.BASE),
    (ScheduleName.SPECULATIVE, DrafterName.ALIGNED),
    (ScheduleName.SPECULATIVE, DrafterName.LOOKUP),
    (ScheduleName.AUTO, DrafterName.AUTO),
)


@pytest.fixture(scope="module")
def pair(tales: Path) -> Iterator[Pair]:
    """Return the pair on one thread, with its own aligned model as a drafter beside it."""
    with load(
        base=tales / "base.gguf",
        aligned=tales / "aligned.gguf",
        draft=tales / "aligned.gguf",
        options=LoadOptions(threads=1, ctx_size=1024),
        n_parallel=4,
        calibrate=False,
    ) as opened:
        yield opened


def written(pair: Pair, **way: Any) -> list[Answer]:
    """Return thirty answers, each alone and from an empty cache."""
    answers = []
    for seed, turned in enumerate(SETTINGS):
        settings = Settings().turn({"temperature": 0.8, "min_p": 0.05, "max_tokens": 60} | turned | way)
        for prompt in PROMPTS:
            pair.engine.abandon()
            answers += pair.generate(prompt, settings=settings, seed=seed)
    return answers


def tracks(answer: Answer) -> list[tuple[int, Role, str]]:
    """Return what was said, by whom and why."""
    return [(token.id, token.speaker, token.spoken.reason) for token in answer.tokens]


@pytest.fixture(scope="module")
def lockstep(pair: Pair) -> list[Answer]:
    """Return what lockstep writes."""
    return written(pair)


@pytest.mark.parametrize(("schedule", "drafter"), WAYS)
def test_the_text_is_lockstep_s(
    pair: Pair, lockstep: list[Answer], schedule: ScheduleName, drafter: DrafterName
) -> None:
    """Thirty answers under six settings are the same to the last route, and some decodes were not made."""
    answers = written(pair, schedule=schedule, drafter=drafter)
    assert [tracks(one) for one in answers] == [tracks(one) for one in lockstep]
    n_decodes = [sum(sum(one.usage.n_decodes.values()) for one in some) for some in (answers, lockstep)]
    print(f"{schedule} {drafter}: {n_decodes[0]} decodes, lockstep {n_decodes[1]}")  # noqa: T201
    assert n_decodes[0] < n_decodes[1] or schedule is ScheduleName.AUTO


def test_schedules_mix_on_real_models(pair: Pair) -> None:
    """Four answers of two schedules decode together, and each is what it is alone."""
    knobs: dict[str, Any] = {"temperature": 0.8, "min_p": 0.05, "max_tokens": 60, "seed": 5, "guards": NO_GUARDS}
    pair.engine.abandon()
    streams = [  # no guesses: those that fall leave gaps in the cache, which others fill in another order of sums
        pair.stream(prompt, schedule=schedule, **knobs)
        for prompt, schedule in zip(PROMPTS, 2 * (ScheduleName.LOCKSTEP, ScheduleName.LAZY), strict=False)
    ]
    for stream in streams:
        list(stream)
    for prompt, stream in zip(PROMPTS, streams, strict=False):
        pair.engine.abandon()
        assert tracks(stream.answer) == tracks(pair.generate(prompt, **knobs)[0])


def test_models_that_read_at_the_same_time_write_the_same(tales: Path) -> None:
    """Answers of a pair that keeps two cores busy are those of one that reads model by model on one."""
    apart, abreast = (
        load(base=tales / "base.gguf", aligned=tales / "aligned.gguf", options=LoadOptions(threads=n), n_parallel=4)
        for n in (1, 2)
    )
    for turned in SETTINGS[:3]:
        knobs = {"temperature": 0.8, "min_p": 0.05, "max_tokens": 60, "seed": 7, "guards": NO_GUARDS} | turned
        written_by = []
        for each in (apart, abreast):
            each.engine.abandon()
            written_by.append([tracks(answer) for answer in each.generate(list(PROMPTS[:4]), n=2, **knobs)])
        assert written_by[0] == written_by[1]
    apart.close()
    abreast.close()
