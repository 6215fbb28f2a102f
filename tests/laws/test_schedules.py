"""A schedule changes what an answer costs, and nothing else: tokens, routes, records and ends are lockstep's."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.config import ContentFrom, DrafterName, EndCheck, Guards, ScheduleName, Uncertainty
from baco_local.engine.answer import Answer
from baco_local.errors import BacoError
from baco_local.pair import Job, Pair, Stream
from baco_local.routing.dial import ROUTERS
from baco_local.testing import Script, lively, scripted_pair
from baco_local.types import Detail, Role, Row, TokenIds
from scripted_grammar import thirds_builder
from scripted_pairs import NO_GUARDS, PROMPT, SAID, Scripts, id_of, knobs, scripts

A, B = Role.ALIGNED, Role.BASE
LONG = "Tell me of the old fox and the small bird, and then of the red sea."
THIRDS = "any; see scripted_grammar"

wider = st.fixed_dictionaries(
    {
        "end_check": st.sampled_from(EndCheck),
        "uncertainty": st.sampled_from(Uncertainty),
        "content_from": st.sampled_from((None, *ContentFrom)),
        "detail": st.sampled_from((Detail.ROUTE, Detail.ROUTE, Detail.SIDES)),
        "n_rivals": st.sampled_from((0, 3)),
        "presence_penalty": st.sampled_from((0.0, 0.0, 2.0)),
        "frequency_penalty": st.sampled_from((0.0, 0.0, 1.0)),
        "top_k": st.sampled_from((0, 0, 3)),
        "grammar": st.sampled_from((None, None, None, THIRDS)),
    }
)
turns = st.builds(lambda one, other: one | other, knobs, wider)
ways = st.fixed_dictionaries(
    {
        "schedule": st.sampled_from((*ScheduleName, ScheduleName.SPECULATIVE, ScheduleName.SPECULATIVE)),
        "drafter": st.sampled_from(DrafterName),
        "draft_max": st.integers(0, 5),
    }
)
thirds = st.sampled_from((B, A, "other"))  # like whom a third model writes
rooms = st.fixed_dictionaries(
    {"n_parallel": st.integers(1, 4), "n_batch": st.sampled_from((3, 16, 512)), "can_rewind": st.booleans()}
)


def paired(two: Scripts, third: str | None = None, **room: Any) -> Pair:
    """Return a pair that knows a grammar, and has a third model that writes like somebody."""
    draft = None if third is None else {**two.script, "other": lively(len(two.vocab), 77)}[third]
    return two.pair(build=thirds_builder(len(two.vocab)), draft=draft, **room)


def whole(answer: Answer) -> dict[str, Any]:
    """Return all of an answer but what it cost."""
    return {
        "spoken": [token.spoken for token in answer.tokens],
        "texts": [token.text for token in answer.tokens],
    } | {name: getattr(answer, name) for name in ("text", "finish", "seed", "sample", "guards", "stop", "end")}


def finished(stream: Stream) -> dict[str, Any]:
    """Read a stream to its end, and return all of its answer, and why it was given up."""
    error = None
    try:
        deque(stream, maxlen=0)
    except BacoError as found:  # a chain may leave nothing to draw; then it does so under every schedule
        error = str(found)
    return whole(stream.answer) | {"error": error}


@settings(max_examples=300, deadline=None)
@given(scripts(in_bytes=st.booleans()), thirds, turns, ways, st.integers(0, 99), st.integers(0, 3), rooms)
def test_every_schedule_says_what_lockstep_says(
    two: Scripts,
    third: str | None,
    turned: dict[str, Any],
    way: dict[str, Any],
    seed: int,
    sample: int,
    room: dict[str, Any],
) -> None:
    """Whatever the router, the dial, the sampling and the guards, an answer is lockstep's to the last record."""
    pair, plain = paired(two, third, **room), paired(two, can_rewind=room["can_rewind"])
    answer = finished(pair.stream(PROMPT, seed=seed, sample=sample, **turned, **way))
    assert answer == finished(plain.stream(PROMPT, seed=seed, sample=sample, **turned))


@settings(max_examples=100, deadline=None)
@given(scripts(), thirds, st.lists(st.tuples(turns, ways), min_size=2, max_size=5), st.integers(0, 99), rooms)
def test_schedules_mix_in_one_batch(
    two: Scripts, third: str, jobs: list[tuple[dict[str, Any], dict[str, Any]]], seed: int, room: dict[str, Any]
) -> None:
    """Answers of several schedules decode together, and each is the one that lockstep gives alone."""
    pair, plain = paired(two, third, **room), paired(two, can_rewind=room["can_rewind"])
    prompts = (PROMPT, LONG, PROMPT, LONG[:30], PROMPT)
    streams = pair.start(
        [
            Job(prompt=prompt, settings=pair.settings.turn(turned | way), seed=seed, sample=i)
            for i, (prompt, (turned, way)) in enumerate(zip(prompts, jobs, strict=False))
        ]
    )
    for i, (prompt, stream, (turned, _)) in enumerate(zip(prompts, streams, jobs, strict=False)):
        assert finished(stream) == finished(plain.stream(prompt, seed=seed, sample=i, **turned))


@settings(max_examples=60, deadline=None)
@given(
    scripts(),
    thirds,
    st.sampled_from(sorted(ROUTERS)),
    ways,
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from((0, 2, 5, 8, 10))), min_size=1, max_size=4),
    st.integers(0, 99),
)
def test_the_dial_may_be_moved_in_mid_answer(
    two: Scripts, third: str, router: str, way: dict[str, Any], moves: list[tuple[int, int]], seed: int
) -> None:
    """A move acts on the token after the last one that was read, under every schedule."""

    def written(**knobs_: Any) -> dict[str, Any]:
        stream = paired(two, third).stream(PROMPT, seed=seed, router=router, guards=NO_GUARDS, max_tokens=24, **knobs_)
        for n, to in moves:
            for _ in zip(range(n), stream, strict=False):
                pass
            stream.diversity = to
        list(stream)
        return whole(stream.answer)

    assert written(**way) == written()


@settings(max_examples=80, deadline=None)
@given(scripts(), thirds, turns, ways, st.integers(0, 99), st.integers(0, 12))
def test_an_answer_may_be_begun(
    two: Scripts, third: str, turned: dict[str, Any], way: dict[str, Any], seed: int, n_begun: int
) -> None:
    """An answer that was begun goes on as in lockstep."""
    turned = turned | {"grammar": None}
    begun = finished(paired(two).stream(PROMPT, seed=seed, **turned))["spoken"][:n_begun]
    answers = [paired(two, third).stream(PROMPT, seed=seed, begun=begun, **turned, **more) for more in (way, {})]
    assert finished(answers[0]) == finished(answers[1])


@settings(max_examples=80, deadline=None)
@given(scripts(), thirds, turns, ways, st.integers(0, 99), st.integers(0, 12))
def test_an_answer_may_be_cancelled(
    two: Scripts, third: str, turned: dict[str, Any], way: dict[str, Any], seed: int, n_read: int
) -> None:
    """An answer that is cancelled keeps what lockstep would keep of it."""
    answers = []
    for more in (way, {}):
        stream = paired(two, third).stream(PROMPT, seed=seed, **turned, **more)
        with suppress(BacoError):
            for _ in zip(range(n_read), stream, strict=False):
                pass
        stream.cancel()
        answers.append(finished(stream))
    assert answers[0] == answers[1]


@settings(max_examples=60, deadline=None)
@given(scripts(), thirds, ways, ways, st.integers(0, 99), st.integers(0, 12))
def test_another_answer_may_join(
    two: Scripts, third: str, way: dict[str, Any], other: dict[str, Any], seed: int, n_read: int
) -> None:
    """An answer that was alone goes on as it would have, when another one is begun beside it."""
    turned: dict[str, Any] = {"router": "RAND", "max_tokens": 24, "seed": seed}
    pair = paired(two, third, n_parallel=2)
    first = pair.stream(PROMPT, **turned, **way)
    for _ in zip(range(n_read), first, strict=False):
        pass
    second = pair.stream(LONG, **turned, **other)
    list(first)
    list(second)
    for prompt, stream in ((PROMPT, first), (LONG, second)):
        assert whole(stream.answer) == whole(paired(two).generate(prompt, **turned)[0])


def marking(script: Script) -> Script:
    """Return a script that likes to break lines and to write a role marker behind them."""
    following = {id_of("\n"): id_of("User"), id_of("User"): id_of(":\n"), id_of(":\n"): id_of(" fox")}

    def row(ids: TokenIds) -> Row:
        found = script(ids).copy()
        found[following.get(ids[-1], id_of("\n"))] += 9.0
        return found

    return row


def marked(two: Scripts, seed: int, **knobs_: Any) -> Answer:
    """Return an answer of a pair that writes many role markers."""
    base, aligned = marking(two.script[B]), marking(two.script[A])
    pair = scripted_pair(base, aligned, vocab=SAID, draft=base)
    guards = Guards(loops=False, barred_boundaries=2)
    return pair.generate(PROMPT, seed=seed, router="RAND", max_tokens=40, guards=guards, **knobs_)[0]


@settings(max_examples=60, deadline=None)
@given(scripts(), ways, st.integers(0, 99), st.sampled_from((5, 8, 10)))
def test_what_a_guard_cuts_was_never_foreseen(two: Scripts, way: dict[str, Any], seed: int, diversity: int) -> None:
    """A role marker is cut, and what had been guessed behind it is forgotten, as in lockstep."""
    assert whole(marked(two, seed, diversity=diversity, **way)) == whole(marked(two, seed, diversity=diversity))


def test_guards_cut_there() -> None:
    """The law above is about cuts that happen."""
    assert sum(len(marked(Scripts(1, 2, 0.5, -9.0), seed, diversity=8).guards) for seed in range(9)) > 9


@pytest.mark.parametrize("schedule", ScheduleName)
def test_a_router_of_the_users_own_is_asked_once(schedule: ScheduleName) -> None:
    """A router that counts, and swallows whatever is raised in it, sees both rows once at each word start."""
    asked: dict[ScheduleName, list[tuple[int, float, float]]] = {}

    for name in (ScheduleName.LOCKSTEP, schedule):
        seen = asked[name] = []

        def router(step: Any, seen: list[tuple[int, float, float]] = seen) -> str:
            try:
                seen.append((step.position, step.base.max_p, step.aligned.max_p))
            except Exception:  # noqa: BLE001 - as a user's router may
                return "base"
            return "base" if step.coin < 0.5 else "aligned"

        paired(Scripts(1, 2, 3.0, -4.0)).generate(PROMPT, seed=3, router=router, max_tokens=30, schedule=name)
    assert asked[schedule] == asked[ScheduleName.LOCKSTEP]
    assert asked[schedule]
