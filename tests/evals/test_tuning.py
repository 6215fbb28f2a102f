from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.errors import UsageError
from baco_local.evals.tuning import Goal, Target, base_share, bisect, dial_for
from baco_local.testing import scripted_pair

PROMPTS = ["a fox", "the sea", "an old bird", "a small sea"]


@given(st.floats(0.05, 0.95), st.floats(0.3, 3))
def test_a_rising_number_is_met(target: float, power: float) -> None:
    """Whatever rises over the whole range is brought to the wished number."""
    found = bisect(lambda place: (place / 10) ** power, target, 0, 10, tolerance=0.005, n_most=30)
    assert found.miss <= 0.005
    assert found.value == pytest.approx(10 * target ** (1 / power), abs=0.5)


def test_what_cannot_be_reached_is_approached() -> None:
    """A number that is never reached gives the nearest that was seen, after as many tries as allowed."""
    found = bisect(lambda place: place / 100, 0.5, 0, 10, tolerance=0.01, n_most=6)
    assert len(found.tried) == 6
    assert found.reached == max(number for _, number in found.tried)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("base-share=0.3", Target(Goal.BASE_SHARE, 0.3)),
        ("base-share = 30%", Target(Goal.BASE_SHARE, 0.3)),
        ("distinct=+20%", Target(Goal.DISTINCT, 0.2, relative=True)),
        ("DISTINCT=.5", Target(Goal.DISTINCT, 0.5)),
    ],
)
def test_targets_are_read(text: str, target: Target) -> None:
    """A wish is read as it is typed, and printed so that it can be read again."""
    assert Target.parse(text) == target
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize(
    "text", ["", "share=0.3", "base-share", "base-share=+10%", "base-share=1.5", "distinct=0", "distinct=x"]
)
def test_odd_targets_are_refused(text: str) -> None:
    """A wish that has no meaning is refused with what could be wished for."""
    with pytest.raises(UsageError, match="--target"):
        Target.parse(text)


def test_the_dial_is_turned_to_a_base_share() -> None:
    """A pair that is tuned writes with the wished base share."""
    pair = scripted_pair()
    settings = pair.settings.turn({"max_tokens": 60, "router": "RAND"})
    found = dial_for(pair, Target.parse("base-share=0.25"), 3 * PROMPTS, settings)
    assert found.miss <= 0.05
    assert base_share(pair, settings.turn({"diversity": found.value}), 3 * PROMPTS, 0) == found.reached


def test_the_dial_is_turned_to_more_variety() -> None:
    """A wish for more than aligned alone is measured against it, on answers cut to like lengths."""
    pair = scripted_pair()
    settings = pair.settings.turn({"max_tokens": 40, "router": "RAND", "aligned_sampling": {"temperature": 0.1}})
    found = dial_for(pair, Target.parse("distinct=+40%"), PROMPTS, settings, n_samples=3)
    rising = [number for _, number in sorted(found.tried)]
    assert rising[-1] > rising[0]
    assert found.miss < 0.2
