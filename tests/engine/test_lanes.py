from __future__ import annotations

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from baco_local.backend.base import Feed
from baco_local.engine.lanes import Lane, Lanes, common_prefix
from baco_local.testing import ScriptedModel, byte_vocab, flat

VOCAB = byte_vocab()


def model(*, can_rewind: bool = True, n_sequences: int = 3) -> ScriptedModel:
    """Return a model that finds everything equally likely."""
    return ScriptedModel(flat(len(VOCAB)), VOCAB, n_sequences=n_sequences, can_rewind=can_rewind)


def read(lanes: Lanes, lane: Lane, answer: Sequence[int] = (), *, n: int | None = None) -> int:
    """Let a lane read what it still must, or its first n ids, and return how many that were."""
    todo = lanes.backlog(lane, answer, (), 1)
    feed = Feed(lane.number, todo.position, list(todo.ids)[:n], int(n is None or n >= len(todo.ids)))
    lanes.model.feed([feed])
    lanes.has_read(lane, feed, len(answer))
    return len(feed.ids)


def held(lanes: Lanes, lane: Lane) -> list[int]:
    """Return what the model really holds."""
    return lanes.model._read[lane.number]  # type: ignore[attr-defined]


def test_a_parked_lane_serves_the_next_turn() -> None:
    """A conversation that goes on reads only what is new."""
    lanes = Lanes(model())
    lane = lanes.open([1, 2, 3])
    assert read(lanes, lane) == 3
    assert read(lanes, lane, [7]) == 1
    lanes.park(lane)
    again = lanes.open([1, 2, 3, 7, 8, 9])
    assert again is lane
    assert again.agreed == 4
    assert read(lanes, again) == 2
    assert held(lanes, again) == [1, 2, 3, 7, 8, 9]


def test_a_parked_lane_is_cut_back_for_another_answer() -> None:
    """The same prompt again reads its last token only."""
    lanes = Lanes(model())
    lane = lanes.open([1, 2, 3])
    read(lanes, lane, [7, 8])
    lanes.park(lane)
    assert read(lanes, lanes.open([1, 2, 3])) == 1


def test_samples_fork_the_prompt_that_is_read() -> None:
    """A second sequence of one prompt reads its last token only, and the two never notice each other."""
    lanes = Lanes(model())
    first = lanes.open([1, 2, 3, 4])
    read(lanes, first)
    read(lanes, first, [7])
    second = lanes.open([1, 2, 3, 4])
    assert (first.number, second.agreed) != (second.number, 0)
    assert read(lanes, second) == 1
    read(lanes, second, [8])
    assert (held(lanes, first), held(lanes, second)) == ([1, 2, 3, 4, 7], [1, 2, 3, 4, 8])


def test_the_best_holder_is_chosen() -> None:
    """Of several lanes the one that holds most of the prompt is taken over, and a busy one forked if it holds more."""
    lanes = Lanes(model())
    short, long = lanes.open([1, 2, 5, 5]), lanes.open([1, 2, 3, 4, 5])
    read(lanes, short)
    read(lanes, long)
    lanes.park(short)
    lanes.park(long)
    assert lanes.open([1, 2, 3, 4, 6]) is long
    assert lanes.open([1, 2, 3, 4, 7]).agreed == 4  # busy, and still better than the parked one


def test_an_unlike_prompt_takes_an_empty_lane_first() -> None:
    """What is parked is kept as long as there is an empty lane, and the oldest goes first."""
    lanes = Lanes(model(n_sequences=2))
    first = lanes.open([1, 2])
    read(lanes, first)
    lanes.park(first)
    second = lanes.open([5, 6])
    assert second.number != first.number
    read(lanes, second)
    lanes.park(second)
    assert lanes.open([8, 9]).number == first.number
    assert lanes.open([5, 6, 7]) is second


def test_parked_lanes_can_be_dropped() -> None:
    """Dropping empties the oldest parked lane and leaves busy ones alone."""
    lanes = Lanes(model())
    busy, parked = lanes.open([1, 2]), lanes.open([3, 4])
    read(lanes, busy)
    read(lanes, parked)
    lanes.park(parked)
    assert lanes.drop_parked()
    assert held(lanes, parked) == []
    assert not lanes.drop_parked()
    assert held(lanes, busy) == [1, 2]


def test_without_rewind_only_whole_lanes_are_shared() -> None:
    """A state that cannot be cut serves a prompt that goes on from all of it, and no other."""
    lanes = Lanes(model(can_rewind=False))
    lane = lanes.open([1, 2, 3])
    read(lanes, lane, n=2)
    fork = lanes.open([1, 2, 9])
    assert fork.agreed == 2
    read(lanes, fork)
    read(lanes, lane, [7])
    lanes.park(lane)
    assert lanes.open([1, 2, 3, 4]).agreed == 0
    assert lanes.open([1, 2, 3, 7, 8]).agreed == 4


def test_a_cut_answer_is_read_again() -> None:
    """After a cut a lane takes back what was cut, however long the answer has become since."""
    lanes = Lanes(model())
    lane = lanes.open([1, 2])
    read(lanes, lane, [7, 8, 8])
    lanes.disagree_after(lane, 1)
    read(lanes, lane, [7, 9, 9, 9])
    assert held(lanes, lane) == [1, 2, 7, 9, 9, 9]


def test_common_prefix() -> None:
    """It counts equal ids from the beginning."""
    assert [common_prefix(a, b) for a, b in (([], [1]), ([1, 2], [1, 2, 3]), ([1, 2], [1, 3]), ([2], [1]))] == [
        0,
        2,
        1,
        0,
    ]


class Backlogs(RuleBasedStateMachine):
    """Whatever is opened, read in pieces, said, cut, guessed, parked or dropped, a model holds what its lane says."""

    can_rewind = True
    busy = Bundle("busy")

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(model(can_rewind=self.can_rewind))
        self.answers: dict[int, list[int]] = {}

    @rule(target=busy, prompt=st.lists(st.integers(4, 6), min_size=1, max_size=6))
    def open(self, prompt: list[int]) -> object:
        """Open a lane while there is one."""
        if len(self.answers) == 3:
            return multiple()
        lane = self.lanes.open(prompt)
        self.answers[lane.number] = []
        return lane

    @rule(lane=busy, n=st.integers(1, 4), n_rows=st.integers(1, 3), guess=st.lists(st.integers(4, 6), max_size=3))
    def read(self, lane: Lane, n: int, n_rows: int, guess: list[int]) -> None:
        """Read some of the backlog."""
        answer = self.answers[lane.number]
        wanted = [*lane.prompt, *answer, *guess]
        todo = self.lanes.backlog(lane, answer, guess, min(n_rows, len(wanted)))
        assert held(self.lanes, lane) == wanted[: todo.position]
        assert [*held(self.lanes, lane), *todo.ids] == wanted
        assert len(todo.ids) >= todo.n_rows
        feed = Feed(lane.number, todo.position, list(todo.ids)[:n], 0)
        before = len(held(self.lanes, lane))
        self.lanes.model.feed([feed])
        counted = self.lanes.has_read(lane, feed, len(answer))
        assert counted == max(0, before + len(feed.ids) - max(before, len(lane.prompt)))
        assert held(self.lanes, lane) == wanted[: before + len(feed.ids)]

    @rule(lane=busy, token=st.integers(4, 6))
    def say(self, lane: Lane, token: int) -> None:
        """Let the answer grow."""
        self.answers[lane.number].append(token)

    @rule(lane=busy, n=st.integers(0, 3))
    def cut(self, lane: Lane, n: int) -> None:
        """Take back the last tokens of an answer."""
        answer = self.answers[lane.number]
        del answer[max(0, len(answer) - n) :]
        self.lanes.disagree_after(lane, len(answer))

    @rule(lane=consumes(busy))
    def park(self, lane: Lane) -> None:
        """Finish an answer."""
        del self.answers[lane.number]
        self.lanes.park(lane)

    @rule()
    def drop(self) -> None:
        """Make room."""
        self.lanes.drop_parked()

    @invariant()
    def lanes_know_what_is_held(self) -> None:
        """Say that every lane knows what its sequence holds, and that every sequence belongs to one lane or none."""
        known = {**self.lanes._busy, **self.lanes._parked}
        assert sorted([*known, *self.lanes._empty]) == [0, 1, 2]
        assert all(lane.read == held(self.lanes, lane) for lane in known.values())
        assert all(not self.lanes.model._read[number] for number in self.lanes._empty)  # type: ignore[attr-defined]


class BacklogsWithoutRewind(Backlogs):
    """The same for a model that cannot take back what it read."""

    can_rewind = False


TestBacklogs = Backlogs.TestCase
TestBacklogsWithoutRewind = BacklogsWithoutRewind.TestCase
TestBacklogs.settings = TestBacklogsWithoutRewind.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
