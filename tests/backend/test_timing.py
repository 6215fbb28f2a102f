"""What decodes take is measured, and nothing is left behind."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.backend.timing import measure_decodes
from baco_local.testing import ScriptedModel, byte_vocab, flat


class Clock:
    """A clock on which every decode takes a second, and a tenth for each of its tokens."""

    def __init__(self, *models: ScriptedModel) -> None:
        self.models = models

    def __call__(self) -> float:
        """Return the seconds that the models' work has taken."""
        return sum(model.n_feeds + model.n_fed / 10 for model in self.models)


@pytest.mark.parametrize("can_rewind", [True, False])
def test_decodes_are_timed_by_their_size(*, can_rewind: bool) -> None:
    """Each size is measured alone, and the model is as empty as before."""
    model = ScriptedModel(flat(260), byte_vocab(), can_rewind=can_rewind)
    points = measure_decodes({"alone": {"it": model}}, 1, Clock(model))["alone"]
    assert [n for n, _ in points] == [1, 2, 3, 4, 6, 8, 16]
    assert [seconds for _, seconds in points] == pytest.approx([1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.6])
    assert not model._read[0]


@given(st.lists(st.floats(0.1, 9.0), min_size=1, max_size=90))
def test_a_busy_machine_does_not_make_nonsense(moments: list[float]) -> None:
    """Whatever the clock says, no decode is dearer than its tokens one by one."""
    model = ScriptedModel(flat(260), byte_vocab())
    ticks = itertools.accumulate(itertools.cycle(moments))
    points = measure_decodes({"alone": {"it": model}}, 1, lambda: next(ticks))["alone"]
    assert all(0 < seconds <= n * points[0][1] for n, seconds in points)
    assert points[-1][1] >= points[-2][1]  # so that no larger one is thought to cost less than nothing


@pytest.mark.parametrize("slow", range(4))
def test_a_slow_while_makes_no_group_look_worse(slow: int) -> None:
    """Alone and at once are measured in turns, so that a quarter of the time that is slow spoils no comparison."""
    models = {name: ScriptedModel(flat(260), byte_vocab()) for name in ("one", "other")}
    groups = {"one": {"one": models["one"]}, "other": {"other": models["other"]}, "both": models}
    quiet = Clock(*models.values())
    n_readings = 0

    def count() -> float:
        nonlocal n_readings
        n_readings += 1
        return quiet()

    expected = measure_decodes(groups, 1, count)
    total, n_readings, late = n_readings, 0, 0.0
    quiet = Clock(*models.values())
    before = quiet()

    def spoilt() -> float:
        nonlocal n_readings, late
        n_readings += 1
        late += (slow * total <= 4 * n_readings < (slow + 1) * total) * 10.0
        return quiet() - before + late

    found = measure_decodes(groups, 1, spoilt)
    assert [[n for n, _ in points] for points in found.values()] == [[1, 2, 3, 4, 6, 8, 16]] * 3
    for name, points in expected.items():
        assert [s for _, s in found[name]] == pytest.approx([s for _, s in points])


def test_a_small_context_is_not_overrun() -> None:
    """Sizes that a small context does not hold several times are left out."""
    model = ScriptedModel(flat(260), byte_vocab(), n_ctx=20)
    assert [n for n, _ in measure_decodes({"alone": {"it": model}}, 1)["alone"]] == [1, 2, 3, 4]
