"""What decodes take is measured, and nothing is left behind."""

from __future__ import annotations

import itertools

import pytest

from baco_local.backend.timing import measure_decodes
from baco_local.testing import ScriptedModel, byte_vocab, flat


class Clock:
    """A clock on which every decode takes a second, and a tenth for each of its tokens."""

    def __init__(self, model: ScriptedModel) -> None:
        self.model = model

    def __call__(self) -> float:
        """Return the seconds that the model's work has taken."""
        return self.model.n_feeds + self.model.n_fed / 10


@pytest.mark.parametrize("can_rewind", [True, False])
def test_decodes_are_timed_by_their_size(*, can_rewind: bool) -> None:
    """Each size is measured alone, and the model is as empty as before."""
    model = ScriptedModel(flat(260), byte_vocab(), can_rewind=can_rewind)
    points = measure_decodes({"it": model}, 1, Clock(model))
    assert [n for n, _ in points] == [1, 2, 4, 8, 16]
    assert [seconds for _, seconds in points] == pytest.approx([1.1, 1.2, 1.4, 1.8, 2.6])
    assert not model._read[0]


def test_a_busy_machine_does_not_make_nonsense() -> None:
    """A slow moment makes no larger batch look free, and none dearer than its tokens one by one."""
    model = ScriptedModel(flat(260), byte_vocab())
    ticks = itertools.accumulate(itertools.chain([0, 1] * 8, [0, 9] * 8, itertools.cycle([0, 1])))  # slow at 2 tokens
    points = measure_decodes({"it": model}, 1, lambda: float(next(ticks)))
    seconds = [s for _, s in points]
    assert seconds == sorted(seconds)
    assert all(s <= n * seconds[0] for n, s in points)


def test_a_small_context_is_not_overrun() -> None:
    """Sizes that a small context does not hold several times are left out."""
    model = ScriptedModel(flat(260), byte_vocab(), n_ctx=20)
    assert [n for n, _ in measure_decodes({"it": model}, 1)] == [1, 2, 4]
