"""What one model has read, sequence by sequence, so that nothing is ever read twice.

A lane is one sequence of a model's KV cache. Finished lanes are parked with what they hold: the next prompt that begins
alike takes one over or forks a busy one. Knows ids and positions, no text and no router.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from baco_local.backend.base import Feed, Model

__all__ = ["Lane", "Lanes", "common_prefix"]


@dataclass(slots=True, eq=False)
class Lane:
    """One sequence of the KV cache."""

    number: int
    prompt: Sequence[int] = ()
    read: list[int] = field(default_factory=list)  # every id that the cache holds, prompt included
    agreed: int = 0  # of these, how many are known to be what the answer wants


class Lanes:
    """All sequences of one model's KV cache: busy, parked or empty."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._empty = list(range(model.n_sequences))[::-1]
        self._busy: dict[int, Lane] = {}
        self._parked: dict[int, Lane] = {}  # oldest first

    def open(self, prompt: Sequence[int]) -> Lane:
        """Return a lane that holds as much of the prompt as any lane already does."""
        parked = max(self._parked.values(), key=lambda lane: self._shared(lane, prompt), default=None)
        busy = max(self._busy.values(), key=lambda lane: self._shared(lane, prompt), default=None)
        n_parked = self._shared(parked, prompt) if parked else 0
        n_busy = self._shared(busy, prompt) if busy else 0
        if parked and n_parked >= n_busy and (n_parked or not self._empty):
            lane = self._parked.pop(parked.number)
            lane.agreed = n_parked
        else:
            lane = Lane(self._free_number())
            if busy and n_busy and self.model.fork(busy.number, lane.number, n_busy):
                lane.read = list(busy.read[:n_busy])
                lane.agreed = n_busy
        lane.prompt = prompt
        self._busy[lane.number] = lane
        return lane

    def park(self, lane: Lane) -> None:
        """Keep what a lane holds for a later prompt."""
        del self._busy[lane.number]
        self._parked[lane.number] = lane

    def drop_parked(self) -> bool:
        """Empty the lane that was parked first, to make room; False = there is none."""
        if not self._parked:
            return False
        lane = self._parked.pop(next(iter(self._parked)))
        self.model.rewind(lane.number, 0)
        self._empty.append(lane.number)
        return True

    def forget(self) -> None:
        """Empty every lane."""
        for number in (*self._busy, *self._parked):
            self.model.rewind(number, 0)
            self._empty.append(number)
        self._busy.clear()
        self._parked.clear()

    def backlog(self, lane: Lane, answer: Sequence[int], guess: Sequence[int], n_rows: int) -> Feed:
        """Return what a lane must read to give the last ``n_rows`` rows after prompt, answer and guess.

        Takes back what the lane has read beyond their common beginning.
        """
        n_prompt, n_answer = len(lane.prompt), len(answer)
        total = n_prompt + n_answer + len(guess)
        agreed = min(lane.agreed, total)
        if agreed < len(lane.read) and agreed < total:
            wanted = (*lane.prompt, *answer, *guess)
            agreed += common_prefix(lane.read[agreed:], wanted[agreed:])
        agreed = min(agreed, total - n_rows)
        if agreed < len(lane.read):
            if not self.model.rewind(lane.number, agreed):
                self.model.rewind(lane.number, 0)
                agreed = 0
            del lane.read[agreed:]
        lane.agreed = agreed
        if agreed >= n_prompt + n_answer:
            return Feed(lane.number, agreed, guess[agreed - n_prompt - n_answer :], n_rows)
        if agreed >= n_prompt:
            return Feed(lane.number, agreed, [*answer[agreed - n_prompt :], *guess], n_rows)
        return Feed(lane.number, agreed, [*lane.prompt[agreed:], *answer, *guess], n_rows)

    def has_read(self, lane: Lane, feed: Feed, n_answer: int) -> int:
        """Note that a feed was computed, and return how many of its ids came after the prompt."""
        lane.read += feed.ids
        lane.agreed = min(len(lane.read), len(lane.prompt) + n_answer)  # a guess may still fall
        return max(0, len(lane.read) - max(feed.position, len(lane.prompt)))

    def disagree_after(self, lane: Lane, n_answer: int) -> None:
        """Note that only the prompt and the first answer tokens of what was read still stand."""
        lane.agreed = min(lane.agreed, len(lane.prompt) + n_answer)

    def _shared(self, lane: Lane, prompt: Sequence[int]) -> int:
        """Return how many positions of a lane a new prompt can use; its last token is always read, for its row."""
        n = min(common_prefix(lane.read, prompt), len(prompt) - 1)
        return n if self.model.can_rewind or n == len(lane.read) else 0

    def _free_number(self) -> int:
        if not self._empty:
            self.drop_parked()
        return self._empty.pop()


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many ids two sequences have in common at their beginning."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
