from __future__ import annotations

import pytest
from hypothesis import given

from baco_local.errors import RouterError
from baco_local.routing.base import Route, RowMissingError, SideView, StepView, as_route
from baco_local.types import Role
from step_views import PIECES, V, peaked, view, views


@pytest.mark.parametrize(
    ("answer", "speaker"),
    [
        ("base", Role.BASE),
        ("aligned", Role.ALIGNED),
        (Role.BASE, Role.BASE),
        (Route(Role.ALIGNED, "why"), Role.ALIGNED),
    ],
)
def test_what_a_router_may_answer(answer: object, speaker: Role) -> None:
    """A router answers with a route, a role or a word."""
    assert as_route(answer, 3).speaker is speaker


@pytest.mark.parametrize("answer", [None, 3, "Base", "both", ["base"], True])
def test_other_answers_are_named_with_their_place(answer: object) -> None:
    """Another answer is an error that holds the answer and the position."""
    with pytest.raises(RouterError, match=r"position 12") as wrong:
        as_route(answer, 12)
    assert repr(answer) in str(wrong.value)


@given(views)
def test_a_side_is_measured_when_looked_at(one: StepView) -> None:
    """Numbers of a side agree with one another, in whatever order they are asked for."""
    side = SideView(one.base.row)
    top = side.top
    assert side.probs[top] == pytest.approx(side.max_p, rel=1e-5)
    assert side.top == top
    assert side.entropy >= -1e-6


@given(views)
def test_watched_tokens(one: StepView) -> None:
    """The last speaker is watched by its draw, the other side by its likeliest token."""
    assert one.watched(one.speaker) == PIECES[one.proposed]
    assert one.watched(one.speaker.other) == PIECES[one.side(one.speaker.other).top]


def test_half_a_character_is_watched_as_nothing() -> None:
    """A piece that holds no whole character is watched as an empty text."""
    row = peaked(0, 0.9, 4)
    one = StepView(
        {Role.BASE: SideView(row)}, (b"\xe2\x80",), position=0, text="", speaker=Role.BASE, proposed=0, coin=lambda: 0.5
    )
    assert one.watched(Role.BASE) == ""
    with pytest.raises(RowMissingError):
        one.watched(Role.ALIGNED)


def test_both_sides_by_name() -> None:
    """The two sides are found by name and by role."""
    one = view(peaked(0, 0.9, 4), peaked(1, 0.9, 4), speaker=Role.BASE, proposed=V - 1)
    assert (one.base.top, one.aligned.top) == (0, 1)
    assert one.side(Role.ALIGNED) is one.aligned
