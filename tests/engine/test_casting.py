from __future__ import annotations

from typing import Any

import pytest

from baco_local.engine.casting import cast
from baco_local.engine.sequence import Sequence
from baco_local.engine.voice import BlendVoice, SoloVoice, SwitchVoice
from baco_local.errors import UsageError
from baco_local.pair import Pair
from baco_local.routing.blends import BLENDS
from baco_local.routing.dial import ROUTERS, Calibration, LockName
from baco_local.sampling.sampler import Sampler, TemperatureChain
from baco_local.scheduling.base import Voice
from baco_local.settings import Settings
from baco_local.text.shared import share
from baco_local.types import Role
from scripted_pairs import PROMPT, SAID, Scripts, towards, tracks

TWO = Scripts(1, 2, 3.0, -9.0)
NEVER = Calibration(
    max_p=dict.fromkeys(LockName, (1e-9,) * 9), entropy=dict.fromkeys(LockName, (1e9,) * 9)
)  # by this table base is sure everywhere


def voice_of(knobs: dict[str, Any], measured: list[str] | None = None) -> Voice:
    """Return the voice that settings ask for; ``measured`` notes that a calibration was wanted."""
    settings = Settings().turn(knobs)
    answer = Sequence({}, share(dict.fromkeys(Role, SAID)), settings.decode, seed=0, sample=0)

    def calibration() -> None:
        (measured if measured is not None else []).append("measured")

    return cast(answer, Sampler((), lambda _recipe: TemperatureChain()), settings, calibration)


@pytest.mark.parametrize("router", [*ROUTERS, *BLENDS, towards(Role.BASE)])
@pytest.mark.parametrize(("diversity", "role"), [(0, Role.ALIGNED), (10, Role.BASE)])
def test_the_ends_of_the_dial_are_one_model_alone(router: object, diversity: float, role: Role) -> None:
    """Whatever the router, 0 and 10 listen to one model, and nothing is measured for them."""
    measured: list[str] = []
    voice = voice_of({"router": router, "diversity": diversity}, measured)
    assert isinstance(voice, SoloVoice)
    assert tuple(voice.listens) == (role,)
    assert not measured


@pytest.mark.parametrize("router", [*ROUTERS, *BLENDS])
def test_in_between_both_are_heard(router: str) -> None:
    """Routers switch, blends blend, under their names in any case; only a calibrated dial is measured."""
    measured: list[str] = []
    voice = voice_of({"router": f" {router.swapcase()} ", "diversity": 3}, measured)
    assert isinstance(voice, SwitchVoice if router in ROUTERS else BlendVoice)
    assert set(voice.listens) == set(Role)
    assert measured == (["measured"] if router in ROUTERS and ROUTERS[router].calibrated else [])


@pytest.mark.parametrize(
    ("knobs", "error"),
    [
        ({"router": "P", "threshold": 1.5}, "the threshold is 1.5; for the router P it is a probability"),
        ({"router": "H", "threshold": -1.0}, "entropy in nats, 0 or more"),
        ({"router": "PUNC", "threshold": 0.5}, "PUNC has no raw threshold"),
        ({"router": "mix-prob", "threshold": -0.5}, "mix-prob takes a weight from 0 to 1"),
        ({"router": towards(Role.BASE), "threshold": 0.5}, "own has no raw threshold"),
        ({"router": "P-PUNK"}, "there is no router 'P-PUNK'; did you mean P-PUNC"),
        ({"router": "mixprob"}, "did you mean mix-prob"),
    ],
)
def test_what_cannot_be_cast_is_named(knobs: dict[str, Any], error: str) -> None:
    """An unknown router and a threshold without a meaning are refused before anything is decoded."""
    with pytest.raises(UsageError, match=error):
        voice_of(knobs)


def answers(pair: Pair, **knobs: Any) -> list[object]:
    """Return what a pair says under these settings."""
    return tracks(pair.generate(PROMPT, seed=1, max_tokens=16, **knobs)[0])


def test_a_threshold_goes_before_the_dial_and_its_calibration() -> None:
    """With a raw threshold the dial has no say, at its ends neither; without one a calibration decides."""
    pair = TWO.pair()
    by_threshold = answers(pair, router="P", threshold=0.4)
    assert by_threshold == answers(pair, router="P", threshold=0.4, diversity=10)
    assert by_threshold == answers(pair, router="P", diversity=4)  # uncalibrated: d/10
    pair.calibration = NEVER
    assert by_threshold == answers(pair, router="P", threshold=0.4)
    assert {token[1] for token in answers(pair, router="P", diversity=4)} == {Role.ALIGNED}


def test_a_blend_takes_its_threshold_as_weight() -> None:
    """A blend at diversity d is the blend of weight d/10, and contrast goes below 0."""
    pair = TWO.pair()
    assert answers(pair, router="mix-logit", threshold=0.3) == answers(pair, router="mix-logit", diversity=3)
    assert answers(pair, router="contrast", threshold=-0.5) != answers(pair, router="contrast", threshold=0.5)


def test_a_router_of_ones_own_decides() -> None:
    """A callable takes the place of the named router, and its answer may be a word."""
    pair = TWO.pair()
    boundaries = [token for token in answers(pair, router=towards(Role.BASE)) if token[3]]
    assert {token[1] for token in boundaries if not token[4]} == {Role.BASE}
    assert answers(pair, router=lambda _step: "base") == answers(pair, router=towards(Role.BASE))


def test_a_mix_of_ones_own_decides() -> None:
    """A soft mix given as a value speaks as the named one does, and a setting by name takes its place again."""
    pair = TWO.pair()
    own = answers(pair, router=BLENDS["mix-prob"], diversity=4)
    assert own == answers(pair, router="mix-prob", diversity=4)
    assert own != answers(pair, router=BLENDS["mix-logit"], diversity=4)
