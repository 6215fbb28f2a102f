"""Workers side by side: the same answers as one of them, nothing lost, and nobody decodes after the end."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import wait

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.batch.items import Failure, Item, Row, Written, items_of
from baco_local.batch.runner import run
from baco_local.batch.team import Team, deal
from baco_local.batch.worker import Wishes, Worker
from baco_local.config import DecodeOptions
from baco_local.errors import BackendError, UsageError
from baco_local.sampling.steps import SamplingOptions
from baco_local.settings import Settings
from baco_local.text.chat import Message
from scripted_batches import hands, hands_that_fail, slow_pair

WISHES = Wishes(settings=Settings(decode=DecodeOptions(max_tokens=20)))


def rows_of(*prompts: str) -> list[Row]:
    """Return a row per prompt, called by its place."""
    return [Row(line=i, id=str(i), messages=(Message("user", prompt),)) for i, prompt in enumerate(prompts, start=1)]


def done(crew, rows: list[Row], n_samples: int = 1, **more) -> dict:
    """Have everything done and return the results by key."""
    results = {}

    def take(outcome) -> None:
        item, result = outcome
        assert item.key not in results
        results[item.key] = result

    run(items_of(rows, seed=0, n_samples=n_samples), crew, take, **more)
    assert crew.idle
    return results


def team_of(*pairs, wishes: Wishes = WISHES) -> Team:
    """Return a team with a worker per pair."""
    return Team([Worker(pair, wishes) for pair in pairs])


@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_any_number_of_workers_writes_what_one_does(n_workers):
    """Each answer is there once and is the text that it has alone."""
    rows = rows_of(*(f"{i}?" for i in range(9)))
    alone = done(Worker(hands(1), WISHES), rows, 3)
    with team_of(*(hands(3) for _ in range(n_workers))) as team:
        assert done(team, rows, 3) == alone
        figures = team.figures()
    assert figures.n_tokens == sum(result.n_tokens for result in alone.values())


def test_workers_write_at_the_same_time():
    """Two that wait for each other in the middle of an answer both end."""
    meeting, pairs = threading.Barrier(2, timeout=20), [hands(1), hands(1)]
    for pair in pairs:
        step, met = pair.engine.step, []

        def meet(step=step, met=met):
            if not met:
                met.append(meeting.wait())
            return step()

        pair.engine.step = meet
    with team_of(*pairs) as team:
        assert all(isinstance(result, Written) for result in done(team, rows_of("One.", "Two.")).values())


def test_items_are_taken_as_there_is_room():
    """No more of the input is held than a few answers per place."""
    taken, outcomes = [], []

    def endless():
        for i in range(10**9):
            taken.append(i)
            yield Item(row=Row(line=i, id=str(i), messages=(Message("user", "Hi."),)), sample=0, seed=i)

    with team_of(hands(3), hands(3)) as team:
        run(endless(), team, outcomes.append, stopped=lambda: len(outcomes) >= 20)
        assert team.idle
    assert len(taken) <= len(outcomes) + 2 * 2 * 3


def test_a_row_that_breaks_a_decode_fails_alone():
    """Neither the other worker nor the other rows notice."""
    rows = rows_of("One.", "BANG", "Two.", "Three.", "Four.", "Five.")
    with team_of(hands_that_fail("BANG"), hands_that_fail("BANG")) as team:
        results = done(team, rows)
    assert results["2", 0] == Failure("BackendError", "llama_decode failed")
    assert {key for key, result in results.items() if isinstance(result, Written)} == {
        (row.id, 0) for row in rows if row.id != "2"
    }


def test_a_model_that_only_fails_ends_the_run_and_its_threads():
    """The error of one worker is that of the team, and no thread is left behind."""
    before = threading.active_count()
    with (
        pytest.raises(BackendError, match="llama_decode failed"),
        team_of(hands_that_fail("T"), hands(4)) as team,
    ):
        done(team, rows_of(*(f"T{i}" for i in range(40))))
    assert threading.active_count() == before


def test_what_is_cancelled_is_given_up_and_what_is_finished_is_kept():
    """Every answer that is handed in is whole; afterwards nothing is decoded, and the pairs can be used again."""
    rows, pairs, outcomes = rows_of(*(f"{i}?" for i in range(60))), [slow_pair(), slow_pair()], []
    with team_of(*pairs) as team:

        def stopped() -> bool:
            if len(outcomes) >= 5:
                team.cancel()
            return len(outcomes) >= 5

        run(items_of(rows, seed=0, n_samples=1), team, outcomes.append, stopped=stopped)
        assert team.idle
        assert all(pair.engine.idle for pair in pairs)
        whole = done(Worker(hands(1), WISHES), rows)
        assert 5 <= len(outcomes) < 60
        assert {item.key: result for item, result in outcomes}.items() <= whole.items()
        rest = done(team, rows)
    assert rest == whole


def test_what_others_have_finished_comes_before_an_error():
    """One worker fails; the answers of the other one are handed in, and then the error is raised."""
    outcomes, short = [], Wishes(settings=Settings(decode=DecodeOptions(max_tokens=2)))
    slower = hands(4)
    step = slower.engine.step
    slower.engine.step = lambda: (time.sleep(0.02), step())[1]
    with (
        team_of(hands_that_fail("T"), slower, wishes=short) as team,
        pytest.raises(BackendError, match="llama_decode failed"),
    ):
        run(items_of(rows_of(*(f"T{i}" for i in range(16))), seed=0, n_samples=1), team, outcomes.append)
    written = {item.key: result for item, result in outcomes if isinstance(result, Written)}
    assert written
    whole = done(Worker(hands(1), short), rows_of(*(f"T{i}" for i in range(16))))
    assert written.items() <= whole.items()


def test_a_stop_hands_in_what_is_finished():
    """Wherever the signal comes, no finished answer is lost, and a cancelled team has nothing left to do."""
    items = [Item(row=row, sample=0, seed=0) for row in rows_of("One.", "Two.")]
    short = Wishes(settings=Settings(decode=DecodeOptions(max_tokens=1)))
    with team_of(hands(1), hands(1), wishes=short) as team:
        found = team.work(items)
        wait([desk.call for desk in team._desks if desk.call])  # one may end while nobody looks
        found += team.stop()
        assert team.idle
        assert {item.row.id for item, _ in found} == {"1", "2"}
    with team_of(slow_pair(), slow_pair()) as team:
        team.work(items[:1])
        team.cancel()
        while not team.idle:
            team.work([])


def test_samples_of_one_prompt_are_shared_out():
    """Many answers to one prompt keep all workers busy."""
    shelves = [Shelf(20), Shelf(20)]
    deal(list(items_of(rows_of("One."), seed=0, n_samples=20)), shelves)
    assert [len(shelf.waiting) for shelf in shelves] == [10, 10]


def test_a_cancelled_team_waits_for_all_its_workers():
    """What the slower worker has finished by then is handed in, too."""
    quick, slow = hands(1), hands(1)
    step = slow.engine.step
    slow.engine.step = lambda: (time.sleep(0.03), step())[1]
    short = Wishes(settings=Settings(decode=DecodeOptions(max_tokens=1)))
    with team_of(quick, slow, wishes=short) as team:
        items = [Item(row=row, sample=0, seed=0) for row in rows_of("One.", "Two.")]
        team.cancel()  # nothing is written yet, so nothing is cut short
        assert {item.row.id for item, _ in team.work(items)} == {"1", "2"}


def test_settings_that_suit_nobody_are_refused_beforehand():
    """Preparing raises what every row would fail with."""
    base, aligned = SamplingOptions(grammar='root ::= "a"'), SamplingOptions()
    odd = Wishes(settings=Settings(base=base, aligned=aligned))
    with team_of(hands(2), hands(2), wishes=odd) as team, pytest.raises(UsageError, match="grammar"):
        team.prepare()


def test_the_dial_means_the_same_to_all():
    """What the first worker says of it is told to the others."""
    pairs = [hands(2), hands(2)]
    known = {"router": {"P": [0.1, 0.2, 0.3]}}
    with team_of(*pairs) as team:
        first, second = (desk.worker for desk in team._desks)
        told = []
        first.prepare = {None: known}.get
        second.prepare = told.append
        assert team.prepare() == known
    assert told == [known]


class Shelf:
    """A place with room for some items."""

    def __init__(self, size: int) -> None:
        self._size, self.waiting = size, deque()

    @property
    def room(self) -> int:
        """Return how many more there is room for."""
        return max(0, self._size - len(self.waiting))


@given(
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    n_samples=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    data=st.data(),
)
def test_all_items_are_dealt_and_rows_stay_together_where_there_is_room(sizes, n_samples, data):
    """Nothing is dealt twice or beyond the room there is, and nothing that fits half of the roomiest is parted."""
    shelves = [Shelf(size) for size in sizes]
    items = [
        Item(row=row, sample=k, seed=0)
        for row, n in zip(rows_of(*map(str, n_samples)), n_samples, strict=True)
        for k in range(n)
    ]
    items = items[: data.draw(st.integers(0, sum(sizes)))]
    deal(items, shelves)
    assert sorted(item.key for shelf in shelves for item in shelf.waiting) == sorted(item.key for item in items)
    assert all(len(shelf.waiting) <= size for shelf, size in zip(shelves, sizes, strict=True))
    if len(items) == n_samples[0] <= max(sizes) / 2:
        assert sum(bool(shelf.waiting) for shelf in shelves) == 1
