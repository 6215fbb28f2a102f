from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.errors import UsageError
from baco_local.evals.ideas import IDEAS, Ruler, apart, ruler_from, watching
from baco_local.numerics import softmax
from baco_local.routing.base import Route, StepView, as_route
from baco_local.routing.blends import Blend
from baco_local.types import Role, Row
from step_views import PIECES, V, peaked, rows, view, views

RULER = Ruler(None, tuple(float(x) for x in np.linspace(0.6, 0.05, 9)))
ROUTERS = ("jsd-punc", "front-loaded")
MIXES = ("masked-base", "soft-unsure")
STOP = frozenset((V - 1,))
BEACH, COAST, COMMA = 0, 1, 2
SURE, UNSURE = peaked(BEACH, 0.97, 5), peaked(BEACH, 0.2, 20)


def routed(name: str, diversity: float, step: StepView) -> Route:
    """Return what an idea that is a router says."""
    router = IDEAS[name].at(diversity, RULER)
    assert not isinstance(router, Blend)
    return as_route(router(step), step.position)


def mixed(name: str, diversity: float, aligned: Row, base: Row) -> np.ndarray:
    """Return the probabilities of an idea that is a mix."""
    blend = IDEAS[name].at(diversity, RULER)
    assert isinstance(blend, Blend)
    return softmax(blend(aligned, base, diversity / 10, STOP))


@pytest.mark.parametrize("name", ROUTERS)
@given(step=views, one=st.floats(1, 9), other=st.floats(1, 9))
def test_more_dial_never_takes_a_place_from_base(name: str, step: StepView, one: float, other: float) -> None:
    """On the same step, what base writes at some diversity it writes at a higher one, too."""
    low, high = sorted((one, other))
    if routed(name, low, step).speaker is Role.BASE:
        assert routed(name, high, step).speaker is Role.BASE


def test_models_that_agree_leave_the_word_to_aligned() -> None:
    """Two equal rows are no distance apart, so the router of disagreement names aligned however far the dial."""
    step = view(UNSURE, UNSURE, speaker=Role.BASE, proposed=BEACH)
    assert apart(step) == pytest.approx(0, abs=1e-6)
    assert routed("jsd-punc", 9, step).speaker is Role.ALIGNED


def test_base_speaks_where_the_models_are_apart() -> None:
    """Where they differ and aligned finds base's word possible, base speaks; punctuation stays aligned's."""
    base, aligned = peaked(BEACH, 0.6, 3), peaked(COAST, 0.6, 3)
    aligned[BEACH] = np.log(0.05)
    assert routed("jsd-punc", 5, view(base, aligned, speaker=Role.BASE, proposed=BEACH)).speaker is Role.BASE
    assert routed("jsd-punc", 5, view(base, aligned, speaker=Role.BASE, proposed=COMMA)).locked


def test_aligned_has_a_veto() -> None:
    """A word that aligned finds next to impossible is not base's to say, though the models are far apart."""
    step = view(peaked(BEACH, 0.9, 3), peaked(COAST, 0.9, 3), speaker=Role.ALIGNED, proposed=COAST)
    assert routed("jsd-punc", 9, step) == Route(Role.ALIGNED, "veto")


@pytest.mark.parametrize(
    ("text", "gamma"),
    [("the sea", 0.6), ("It rained. He", 0.3), ("It rained. He sang! We", 0.15), ("A. B.\n\nC", 0.15)],
)
def test_the_front_is_loaded(text: str, gamma: float) -> None:
    """At dial 3, base must be less sure than 0.6 in the first sentence, 0.3 in the second and 0.15 after it."""
    for max_p, speaker in ((gamma - 0.02, Role.BASE), (gamma + 0.02, Role.ALIGNED)):
        row = peaked(BEACH, max_p, 45)
        step = view(row, row, speaker=Role.BASE, proposed=BEACH)
        step.text = text
        assert routed("front-loaded", 3, step).speaker is speaker


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("diversity", [1, 5, 9])
def test_a_sure_base_leaves_aligned_alone(name: str, diversity: float) -> None:
    """Where base is surer than the dial wants, the mix is aligned's distribution."""
    aligned = peaked(COAST, 0.5, 9)
    np.testing.assert_allclose(mixed(name, diversity, aligned, SURE), softmax(aligned), atol=1e-6)


@pytest.mark.parametrize("name", MIXES)
@given(aligned=rows, base=rows, diversity=st.floats(1, 9))
def test_the_end_of_a_turn_stays_as_likely_as_aligned_has_it(
    name: str, aligned: Row, base: Row, diversity: float
) -> None:
    """Whatever is mixed, it is a distribution, and the stops keep the probability that aligned gives them."""
    probs = mixed(name, diversity, aligned, base)
    assert probs.sum() == pytest.approx(1)
    assert probs[-1] == pytest.approx(softmax(aligned)[-1], abs=2e-4)


def test_masked_base_says_nothing_implausible() -> None:
    """An unsure base draws in its own proportions, among what aligned finds at least a tenth as likely as its best."""
    aligned = np.log(np.array([0.5, 0.3, 0.06, 0.04, 0.1] + [1e-9] * (V - 5), np.float32))
    base = np.log(np.array([0.1, 0.2, 0.1, 0.3, 0.1] + [0.2 / (V - 5)] * (V - 5), np.float32))
    probs = mixed("masked-base", 5, aligned, base)
    np.testing.assert_allclose(probs[[0, 1, 2, 4]], np.array([0.1, 0.2, 0.1, 0.1]) / 0.5, atol=1e-4)
    assert probs[[3, *range(5, V)]].max() < 1e-6


def test_soft_unsure_is_the_mean_where_base_is_unsure() -> None:
    """An unsure base has half of the say."""
    aligned = peaked(COAST, 0.5, 9)
    aligned[-1], UNSURE[-1] = -30, -30
    blend = IDEAS["soft-unsure"].at(5, RULER)
    assert isinstance(blend, Blend)
    probs = softmax(blend(aligned, UNSURE, 0.5, frozenset((aligned.size - 1,))))
    np.testing.assert_allclose(probs, (softmax(aligned) + softmax(UNSURE)) / 2, atol=1e-4)


def test_a_ruler_gives_tenths_of_what_was_seen() -> None:
    """At dial d, about d/10 of the distances that were seen lie above the threshold."""
    seen = np.random.default_rng(0).random(1000)
    ruler = ruler_from(None, seen)
    assert [round(float((seen > cut).mean()), 1) for cut in ruler.divergence] == [d / 10 for d in range(1, 10)]
    with pytest.raises(UsageError, match="no position"):
        ruler_from(None, [])


def test_the_watcher_sees_open_places_alone() -> None:
    """Distances are noted where no lock decides."""
    seen: list[float] = []
    router = watching(seen)
    router(view(SURE, UNSURE, speaker=Role.BASE, proposed=COMMA))
    assert seen == []
    router(view(SURE, UNSURE, speaker=Role.BASE, proposed=BEACH))
    assert len(seen) == 1
    assert PIECES[COMMA] == ","
