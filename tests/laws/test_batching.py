"""What is decoded together is what is decoded alone: batches, samples, order, room and pieces never change a token."""

from __future__ import annotations

from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.pair import Job, Pair
from scripted_pairs import Scripts, knobs, same, scripts

PROMPTS = st.lists(
    st.sampled_from(("Hi.", "Tell me.", "Tell me of a fox.", "Tell me of a bird and the sea.", "?")),
    min_size=1,
    max_size=4,
)
Room: TypeAlias = tuple[int, int, bool, int]
ROOMS = st.tuples(  # n_parallel, n_batch, can_rewind, n_cores
    st.integers(1, 5), st.sampled_from((3, 16, 512)), st.booleans(), st.sampled_from((1, 2))
)


def room(two: Scripts, size: Room) -> Pair:
    """Return a pair with so much room."""
    n_parallel, n_batch, can_rewind, n_cores = size
    return two.pair(n_parallel=n_parallel, n_batch=n_batch, can_rewind=can_rewind, n_cores=n_cores)


@settings(max_examples=60, deadline=None)
@given(scripts(), PROMPTS, st.lists(knobs, min_size=4, max_size=4), st.integers(0, 99), ROOMS, st.randoms())
def test_together_equals_alone(
    two: Scripts,
    prompts: list[str],
    turns: list[dict[str, Any]],
    seed: int,
    size: Room,
    dice: Any,
) -> None:
    """N answers under N settings, in any order and any room, are the N answers that each gives alone."""
    alone = [
        two.pair(can_rewind=size[2]).generate(prompt, seed=seed, **knobs_)[0]
        for prompt, knobs_ in zip(prompts, turns, strict=False)
    ]
    pair = room(two, size)
    order = list(range(len(prompts)))
    dice.shuffle(order)
    streams = pair.start([Job(prompt=prompts[i], settings=pair.settings.turn(turns[i]), seed=seed) for i in order])
    for stream in streams:
        list(stream)
    for i, stream in zip(order, streams, strict=True):
        assert same(stream.answer, alone[i])


@settings(max_examples=30, deadline=None)
@given(scripts(), knobs, st.integers(2, 5), st.integers(0, 99), ROOMS)
def test_a_sample_is_the_same_in_every_run(two: Scripts, turned: dict[str, Any], n: int, seed: int, size: Room) -> None:
    """Sample k of N is the text of a run that makes sample k only."""
    two_rooms = room(two, size), room(two, (1, 512, size[2], 1))
    together = two_rooms[0].generate("Tell me.", n=n, seed=seed, **turned)
    apart = [two_rooms[1].generate("Tell me.", first_sample=k, seed=seed, **turned)[0] for k in range(n)]
    assert [answer.sample for answer in together] == list(range(n))
    assert all(same(one, other) for one, other in zip(together, apart, strict=True))


@settings(max_examples=20, deadline=None)
@given(scripts(), knobs, st.integers(0, 99), st.lists(st.integers(0, 3), max_size=6))
def test_history_never_shows(two: Scripts, turned: dict[str, Any], seed: int, before: list[int]) -> None:
    """What a pair has answered before, and still holds in its caches, changes nothing."""
    pair = two.pair(n_parallel=2)
    for n in before:
        pair.generate(("Hi.", "Tell me.", "Tell me. The fox", "?")[n], seed=n, max_tokens=5)
    assert same(*(each.generate("Tell me.", seed=seed, **turned)[0] for each in (pair, two.pair())))
