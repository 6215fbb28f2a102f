"""Rows, items and their seeds: nothing depends on order, shards or machines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.batch.items import Row, Shard, items_of, seed_of
from baco_local.errors import UsageError
from baco_local.text.chat import Message


def rows_of(*ids: str, **more) -> list[Row]:
    """Return rows with these ids."""
    return [Row(line=i, id=name, messages=(Message("user", "hi"),), **more) for i, name in enumerate(ids, start=1)]


ids = st.lists(st.text(max_size=8), unique=True, max_size=12)


@settings(deadline=None)
@given(ids, st.integers(0, 2**63 - 1), st.integers(1, 4), st.randoms())
def test_seeds_do_not_depend_on_order(names, seed, n_samples, dice):
    """However rows are shuffled, each answer has the same seed, and JavaScript can hold it."""
    seeds = {item.key: item.seed for item in items_of(rows_of(*names), seed=seed, n_samples=n_samples)}
    dice.shuffle(names)
    assert {item.key: item.seed for item in items_of(rows_of(*names), seed=seed, n_samples=n_samples)} == seeds
    assert all(0 <= own < 2**53 for own in seeds.values())
    assert len(set(seeds.values())) == len(seeds) == len(names) * n_samples


def test_each_part_of_the_name_matters_for_the_seed():
    """Another run seed, id or sample is another seed, also where the parts run together."""
    assert (
        len({seed_of(1, "a", 0), seed_of(2, "a", 0), seed_of(1, "b", 0), seed_of(1, "a", 1), seed_of(1, "a1", 0)}) == 5
    )
    assert seed_of(0, "a", 0) == 6465278233239491, "the seeds of every output that exists would change"


@settings(deadline=None)
@given(ids, st.integers(1, 6))
def test_shards_are_disjoint_and_complete(names, count):
    """Every row is in exactly one of n shards, and shard i starts with row i."""
    rows = rows_of(*names)
    shards = [list(Shard(index, count).of(rows)) for index in range(1, count + 1)]
    assert sorted((row for shard in shards for row in shard), key=lambda row: row.line) == rows
    assert [shard[0].line for shard in shards if shard] == list(range(1, min(count, len(rows)) + 1))


def test_shards_are_read_as_they_are_typed():
    """2/4 is the second of four; what is none of them is refused with the ones that there are."""
    assert Shard.parse("2/4") == Shard(2, 4)
    assert str(Shard.parse(" 1/1 ")) == "1/1"
    for text in ("0/4", "5/4", "4", "a/b", "1/0", "-1/4", "1/4/2", "²/4"):
        with pytest.raises(UsageError, match="--shard"):
            Shard.parse(text)


def test_a_row_may_want_seeds_and_samples_of_its_own():
    """What a row says goes before what the run says."""
    (row,) = rows_of("a", seed=5, n_samples=3)
    assert [item.seed for item in items_of([row], seed=0, n_samples=1)] == [seed_of(5, "a", k) for k in range(3)]


def test_a_mark_stands_for_what_decides_the_answers():
    """Another prompt, role, setting or seed changes the mark; the line and the id do not."""
    (row,) = rows_of("a")
    same = Row(line=9, id="b", messages=row.messages)
    others = [
        Row(line=1, id="a", messages=(Message("user", "ho"),)),
        Row(line=1, id="a", messages=(Message("system", "hi"), *row.messages)),
        Row(line=1, id="a", messages=row.messages, knobs={"top_k": 3}),
        Row(line=1, id="a", messages=row.messages, seed=1),
    ]
    assert same.mark == row.mark
    assert len({row.mark, *(other.mark for other in others)}) == 5
