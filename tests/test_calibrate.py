from __future__ import annotations

import pytest

from baco_local.calibrate import calibrate, calibration_prompts
from baco_local.pair import Pair
from baco_local.routing.dial import Calibration, LockName
from baco_local.testing import Script, lively, scripted_pair, word_vocab
from baco_local.types import Role, Row, TokenIds
from scripted_pairs import LETTERS, Scripts, models_of, same
from shares import CALIBRATED, open_share

WORDY = word_vocab(  # mostly words, so that most decisions are open
    (*LETTERS, *(f" {a}{b}" for a in "bcdfghklmnprst" for b in ("ox", "ea", "ird", "and", "old", "ing", "un")))
)
PROMPTS = tuple(f"Tell me of {a} {b}." for a in ("a fox", "the sea", "one bird", "old men") for b in "abcd")


def moody(seed: int) -> Script:
    """Return a script that is nearly sure at some positions and has no idea at others, as real models are."""
    plain = lively(len(WORDY), seed, stop_bias=-9.0, reach=64)
    mood = lively(16, seed + 1, reach=2)

    def script(ids: TokenIds) -> Row:
        row = plain(ids) * (0.3 + abs(float(mood(ids)[5])) / 3)
        row[4 : 4 + len(LETTERS)] -= 3.0
        return row

    return script


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Return a scripted pair that was calibrated on other prompts than those of the tests."""
    pair = scripted_pair(moody(1), moody(2), vocab=WORDY, n_parallel=16)
    pair.calibration = calibrate(pair, [f"What is {letter}?" for letter in "abcdefghijklmnop"], n_tokens=50)
    return pair


@pytest.mark.parametrize("router", CALIBRATED)
@pytest.mark.parametrize("d", [2, 4, 6, 8])
def test_the_dial_means_the_share_of_base(pair: Pair, router: str, d: int) -> None:
    """At d about d/10 of the decisions that no lock takes go to base, whatever the router."""
    assert open_share(pair, router, d, PROMPTS, n_tokens=50, seed=7) == pytest.approx(d / 10, abs=0.1)


def test_without_it_the_dial_means_something_else() -> None:
    """The fixed formulas miss the share on this pair, so the test above is one that can fail."""
    plain = scripted_pair(moody(1), moody(2), vocab=WORDY, n_parallel=16)
    shares = [abs(open_share(plain, "P", d, PROMPTS, n_tokens=30, seed=7) - d / 10) for d in (2, 4, 6, 8)]
    assert max(shares) > 0.15


def test_it_is_the_same_every_time_and_can_be_kept(pair: Pair) -> None:
    """A calibration depends on the pair alone, changes nothing of it, and survives JSON."""
    two = Scripts(3, 4, 3.0, -9.0)
    first, again = (calibrate(two.pair(n_parallel=n), ["a", "b"], n_tokens=20) for n in (1, 8))
    assert first == again == Calibration.from_json(first.to_json())
    assert first.n_positions > 0
    assert set(first.max_p) == set(LockName)
    used = two.pair()
    calibrate(used, ["a", "b"], n_tokens=20)
    assert same(*(p.generate("Hi.", seed=1, router="RAND", max_tokens=9)[0] for p in (used, two.pair())))
    assert pair.calibration is not None


def test_a_slow_pair_is_measured_on_less() -> None:
    """Without patience one look at the pair has to do."""
    one = Scripts(3, 4, 3.0, -9.0).pair(n_parallel=1)
    calibrate(one, ["a"] * 20, n_tokens=10, patience_s=0.0)
    whole = Scripts(3, 4, 3.0, -9.0).pair(n_parallel=1)
    calibrate(whole, ["a"] * 20, n_tokens=10)
    assert models_of(one)[Role.BASE].n_fed < models_of(whole)[Role.BASE].n_fed


def test_there_are_prompts_to_measure_on() -> None:
    """The bundled prompts are many, and each is there once."""
    prompts = calibration_prompts()
    assert len(set(prompts)) == len(prompts) >= 30
