from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from baco_local.errors import UsageError
from baco_local.routing.blends import BLENDS, contrast, mix_logit, mix_prob
from baco_local.sampling.draw import BARRED
from baco_local.types import MASKED, Row

V = 12
STOPS = frozenset({3, 7})
rows = arrays(np.float32, V, elements=st.floats(-25, 25, width=32))
lambdas = st.floats(0.01, 0.99)
names = st.sampled_from(list(BLENDS))


def softmax(row: NDArray[np.floating]) -> NDArray[np.float64]:  # [V] -> [V]
    """Return the probabilities in float64."""
    powers = np.exp(row.astype(np.float64) - float(row.max()))
    return np.asarray(powers / powers.sum())


def reference(aligned: Row, base: Row, lam: float, how: str, beta: float = 0.1) -> NDArray[np.float64]:  # [V]
    """Return the mixture as its definition says, in float64."""
    s = sorted(STOPS)
    la, lb = aligned.astype(np.float64), base.astype(np.float64)
    p_stop = softmax(la)[s]
    la[s] = lb[s] = -1e30
    if how == "mix-prob":
        q = (1 - lam) * softmax(la) + lam * softmax(lb)
    else:
        z = (1 - lam) * la + lam * lb
        if how == "contrast":
            z[la < np.float32(la.max()) + np.float32(np.log(beta))] = -1e30
        q = softmax(z)
    q *= np.delete(softmax(aligned), s).sum()
    q[s] = p_stop
    return q


@given(names, rows, rows, lambdas)
def test_blends_equal_their_definition(name: str, aligned: Row, base: Row, lam: float) -> None:
    """The softmax of a blended row is the mixture, it is finite, and it sums to 1."""
    row = BLENDS[name](aligned, base, lam, STOPS)
    assert row.dtype == np.float32
    assert np.isfinite(row).all()
    assert softmax(row) == pytest.approx(reference(aligned, base, lam, name), abs=1e-5)


@given(names, rows, rows, lambdas)
def test_the_right_to_end_is_aligneds_alone(name: str, aligned: Row, base: Row, lam: float) -> None:
    """Every stop keeps the probability that it has in the aligned row."""
    stops = sorted(STOPS)
    mixed = softmax(BLENDS[name](aligned, base, lam, STOPS))
    assert mixed[stops] == pytest.approx(softmax(aligned)[stops], rel=1e-4, abs=1e-9)


@given(names, rows, rows)
def test_the_ends_are_one_model_alone(name: str, aligned: Row, base: Row) -> None:
    """At lambda 0 the row is aligned's and at 1 base's, exactly, and neither is the same array."""
    for lam, whole in ((0, aligned), (1, base)):
        row = BLENDS[name](aligned, base, lam, STOPS)
        assert (row == whole).all()
        assert row is not whole


@given(rows, rows)
def test_lambda_0_needs_no_exception(aligned: Row, base: Row) -> None:
    """The formulas themselves give aligned's distribution at lambda 0."""
    for mix in (mix_prob, mix_logit):
        assert softmax(mix(aligned, base, 0.0, STOPS)) == pytest.approx(softmax(aligned), abs=1e-6)


@given(names, rows, rows, lambdas, st.sets(st.integers(0, V - 1), max_size=6))
def test_masked_on_both_sides_stays_masked(name: str, aligned: Row, base: Row, lam: float, masked: set[int]) -> None:
    """A token that neither model may say is not said by the mixture, and the rows are left alone."""
    masked -= {0}
    aligned, base = aligned.copy(), base.copy()
    aligned[sorted(masked)] = base[sorted(masked)] = MASKED
    before = aligned.copy(), base.copy()
    row = BLENDS[name](aligned, base, lam, STOPS)
    assert np.isfinite(row).all()
    assert softmax(row)[sorted(masked)].sum() == 0
    assert (aligned == before[0]).all()
    assert (base == before[1]).all()


@given(names, rows, rows, lambdas, st.sets(st.integers(1, V - 1)), st.sets(st.integers(1, V - 1)))
def test_something_is_left_to_draw(
    name: str, aligned: Row, base: Row, lam: float, mute: set[int], mute_base: set[int]
) -> None:
    """Whatever each model may not say, a word that both may say is left where there is one."""
    aligned, base = aligned.copy(), base.copy()
    aligned[sorted(mute)] = MASKED
    base[sorted(mute_base)] = MASKED
    for weight in (lam, -lam) if name == "contrast" else (lam,):
        row = BLENDS[name](aligned, base, weight, STOPS)
        assert np.isfinite(row).all()
        words = np.delete(row, sorted(STOPS))
        assert words.max() > BARRED
        assert softmax(row)[sorted(STOPS)] == pytest.approx(softmax(aligned)[sorted(STOPS)], rel=1e-4, abs=1e-9)


def test_contrast_measures_plausibility_by_what_both_may_say() -> None:
    """A token that base may not say is out, and hides no other, however sure of it aligned is."""
    aligned = np.array([9, 1, 0, -4], np.float32)
    base = np.array([MASKED, 0, 0, 0], np.float32)
    for lam in (0.5, -0.5):
        probs = softmax(contrast(aligned, base, lam, ()))
        assert (probs > 0).tolist() == [False, True, True, False]


@given(rows, rows, lambdas)
def test_an_empty_set_of_stops(aligned: Row, base: Row, lam: float) -> None:
    """Without stops the geometric mean is the plain one."""
    plain = softmax((1 - lam) * aligned.astype(np.float64) + lam * base.astype(np.float64))
    assert softmax(mix_logit(aligned, base, lam, ())) == pytest.approx(plain, abs=1e-5)


def test_contrast_below_0_pushes_away_from_base() -> None:
    """A negative lambda favours what aligned likes more than base does, and never what base masks."""
    aligned = np.zeros(4, np.float32)
    base = np.array([2, 0, -2, MASKED], np.float32)
    probs = softmax(contrast(aligned, base, -0.5, ()))
    assert probs[0] < probs[1] < probs[2]
    assert probs[3] == 0


def test_contrast_keeps_to_what_aligned_finds_plausible() -> None:
    """What aligned gives less than a tenth of its best is out, however much base likes it."""
    aligned = np.array([0, -2, -3], np.float32)  # shares of the best: 1, 0.14, 0.05
    base = np.array([0, 0, 50], np.float32)
    probs = softmax(contrast(aligned, base, 0.9, ()))
    assert probs[1] > 0
    assert probs[2] == 0


@pytest.mark.parametrize(
    ("name", "lam"), [("mix-prob", -0.1), ("mix-logit", -0.1), ("mix-logit", 1.1), ("contrast", -1.1)]
)
def test_lambdas_without_a_meaning_are_refused(name: str, lam: float) -> None:
    """A lambda outside what a blend is made for is refused."""
    row = np.zeros(V, np.float32)
    with pytest.raises(UsageError, match=name):
        BLENDS[name](row, row, lam, STOPS)


def test_names_are_keys() -> None:
    """Every blend stands under its own name."""
    assert [blend.name for blend in BLENDS.values()] == list(BLENDS)
