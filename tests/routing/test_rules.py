from __future__ import annotations

import pytest
from hypothesis import given

from baco_local.config import ContentFrom, Uncertainty
from baco_local.numerics import softmax
from baco_local.routing.base import Route, RowMissingError, SideView, StepView, as_route
from baco_local.routing.dial import ROUTERS
from baco_local.routing.rules import (
    Signals,
    always,
    coin,
    content,
    entropy,
    function_word_lock,
    locked,
    measured_entropy,
    measured_max_p,
    nudge,
    probability,
    punctuation_lock,
)
from baco_local.types import Role
from step_views import PIECES, peaked, view, views

N_OTHERS = {0.35: 13, 0.60: 8, 0.97: 33}  # so that the entropies are 2.31, 1.50 and 0.24 nats
NAMES = ("P", "H", "PUNC", "FC", "P-PUNC", "H-PUNC", "P-FC", "NUDGE")
TRUTH = [
    (" beach", " coast", 0.35, "BBBBBBBA"),
    (" beach", " coast", 0.60, "ABBBABAB"),
    (" beach", " coast", 0.97, "AABBAAAB"),
    (",", " and", 0.35, "BBABAABA"),
    (" and", ",", 0.35, "BBAAAAAA"),
    (" the", " the", 0.35, "BBBABBAA"),
    ("\n", " It", 0.97, "AAABAAAB"),
]


def step(
    base_token: str, aligned_token: str, max_p: float = 0.35, speaker: Role = Role.ALIGNED, **more: float
) -> StepView:
    """Return a view on which the two sides want these tokens."""
    base, aligned = PIECES.index(base_token), PIECES.index(aligned_token)
    proposed = base if speaker is Role.BASE else aligned
    return view(
        peaked(base, max_p, N_OTHERS[max_p]), peaked(aligned, 0.9, 4), speaker=speaker, proposed=proposed, **more
    )


@pytest.mark.parametrize("speaker", Role)
@pytest.mark.parametrize(("base_token", "aligned_token", "max_p", "speakers"), TRUTH)
def test_truth_table_at_diversity_5(
    base_token: str, aligned_token: str, max_p: float, speakers: str, speaker: Role
) -> None:
    """At the middle of the uncalibrated dial every router decides as the table says, whoever spoke last."""
    one = step(base_token, aligned_token, max_p, speaker)
    decided = [as_route(ROUTERS[name].at(5)(one), one.position).speaker for name in NAMES]
    assert "".join("B" if who is Role.BASE else "A" for who in decided) == speakers


def test_reasons() -> None:
    """A reason says what was seen, and a lock says that the dial had no say."""
    unsure, sure = step(" beach", " coast", 0.35), step(" beach", " coast", 0.97)
    assert probability(0.5)(unsure) == Route(Role.BASE, "unsure")
    assert probability(0.5)(sure) == Route(Role.ALIGNED, "sure")
    assert entropy(1.0)(sure) == Route(Role.ALIGNED, "sure")
    assert nudge(0.5)(unsure) == Route(Role.ALIGNED, "unsure")
    assert nudge(0.5)(sure) == Route(Role.BASE, "sure")
    assert locked(punctuation_lock(), probability(0.5))(step(",", ",")) == Route(Role.ALIGNED, "locked", locked=True)
    assert always(Role.BASE)(unsure) == Route(Role.BASE, "base alone")


@pytest.mark.parametrize("q", [0.0, 0.25, 0.75])
def test_coin(q: float) -> None:
    """A coin gives base the numbers below its chance."""
    for number in (0.01, 0.3, 0.74, 0.99):
        expected = Role.BASE if number < q else Role.ALIGNED
        assert coin(q)(step(" beach", " coast", coin=number)) == Route(expected, "coin")


@pytest.mark.parametrize(
    ("diversity", "token", "number", "expected"),
    [
        (5, " beach", 0.99, Route(Role.BASE, "open")),
        (5, ",", 0.01, Route(Role.ALIGNED, "locked", locked=True)),
        (2, " beach", 0.39, Route(Role.BASE, "coin")),
        (2, " beach", 0.41, Route(Role.ALIGNED, "coin")),
        (2, ",", 0.01, Route(Role.ALIGNED, "locked", locked=True)),
        (8, " beach", 0.99, Route(Role.BASE, "open")),
        (8, ",", 0.59, Route(Role.BASE, "coin")),
        (8, ",", 0.61, Route(Role.ALIGNED, "coin")),
    ],
)
def test_content_rules_toss_beside_the_plain_rule(diversity: float, token: str, number: float, expected: Route) -> None:
    """Below 5 a coin holds open positions back, above 5 it frees locked ones."""
    assert content(punctuation_lock(), diversity)(step(token, token, coin=number)) == expected


@pytest.mark.parametrize(
    ("content_from", "locks"),  # for (base, aligned) = (",", " sea"), (" sea", ","), (",", ","), (" sea", " sea")
    [
        (ContentFrom.EITHER, (True, True, True, False)),
        (ContentFrom.BASE, (True, False, True, False)),
        (ContentFrom.ALIGNED, (False, True, True, False)),
        (ContentFrom.BOTH, (False, False, True, False)),
    ],
)
@pytest.mark.parametrize("speaker", Role)
def test_whose_token_a_lock_watches(content_from: ContentFrom, locks: tuple[bool, ...], speaker: Role) -> None:
    """A lock watches the side that it is told to, for punctuation and for function words."""
    for (base, aligned), expected in zip(((0, 1), (1, 0), (0, 0), (1, 1)), locks, strict=True):
        marks, words = (",", " coast"), (" the", " coast")
        signals = Signals(content_from)
        assert punctuation_lock(signals)(step(marks[base], marks[aligned], speaker=speaker)) is expected
        assert function_word_lock(signals)(step(words[base], words[aligned], speaker=speaker)) is expected


def test_the_speaker_is_watched_by_what_it_drew() -> None:
    """A lock sees the draw of the last speaker, and not what that model found likeliest."""
    row = peaked(PIECES.index(" beach"), 0.9, 4)
    one = view(row, row, speaker=Role.BASE, proposed=PIECES.index(","))
    assert punctuation_lock()(one)
    assert not punctuation_lock(Signals(ContentFrom.ALIGNED))(one)


def test_a_draw_that_locks_needs_no_other_row() -> None:
    """A lock on either side is decided by the draw alone where that is enough, and asks for the other row where not."""
    row = SideView(peaked(0, 0.9, 4))

    def lazy(token: str) -> StepView:
        return StepView(
            {Role.ALIGNED: row},
            tuple(piece.encode() for piece in PIECES),
            position=0,
            text="",
            speaker=Role.ALIGNED,
            proposed=PIECES.index(token),
            coin=lambda: 0.5,
        )

    assert punctuation_lock()(lazy(","))
    with pytest.raises(RowMissingError) as missing:
        punctuation_lock()(lazy(" coast"))
    assert missing.value.role is Role.BASE


@given(views)
def test_the_mean_is_between_the_sides(one: StepView) -> None:
    """The averaged distribution is at least as spread as the two sides are on average, and peaks where it does."""
    max_p = [measured_max_p(one, whose) for whose in Uncertainty]
    spread = [measured_entropy(one, whose) for whose in Uncertainty]
    probs = (softmax(one.base.row) + softmax(one.aligned.row)) / 2
    assert max_p[2] == pytest.approx(probs.max(), abs=1e-6)
    assert spread[2] >= (spread[0] + spread[1]) / 2 - 1e-5
    assert max_p[:2] == [one.base.max_p, one.aligned.max_p]
