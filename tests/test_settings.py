from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from baco_local.config import BoundaryRule, DecodeOptions, StopRule
from baco_local.errors import UsageError
from baco_local.sampling.steps import SamplingOptions
from baco_local.settings import Knobs, Settings
from baco_local.types import Detail, Role


def names(options: type) -> set[str]:
    """Return the names of a dataclass's fields."""
    return {field.name for field in dataclasses.fields(options)}


def test_every_option_is_a_knob_and_every_knob_an_option() -> None:
    """The typed keywords are the fields of both option classes, the frame, and one mapping per side."""
    sides = {"base_sampling", "aligned_sampling"}
    assert set(Knobs.__annotations__) == names(DecodeOptions) | names(SamplingOptions) | {"frame"} | sides


def test_turning_gives_new_settings() -> None:
    """The old settings stay, and nothing else changes."""
    old = Settings()
    new = old.turn({"diversity": 7, "min_p": 0.05, "frame": "raw"})
    assert (old.decode.diversity, old.base.min_p, old.frame) == (5.0, 0.0, "qa")
    assert (new.decode.diversity, new.base.min_p, new.aligned.min_p, new.frame) == (7, 0.05, 0.05, "raw")
    assert new.turn({"diversity": 5.0, "min_p": 0.0, "frame": "qa"}) == old
    assert old.turn({}) == old


@pytest.mark.parametrize("order", [("temperature", "base_sampling"), ("base_sampling", "temperature")])
def test_one_side_goes_before_both(order: tuple[str, ...]) -> None:
    """A number given for one model beats the common one, whichever comes first."""
    knobs = {"temperature": 0.8, "base_sampling": {"temperature": 1.2}}
    turned = Settings().turn({name: knobs[name] for name in order})
    assert (turned.sampling(Role.BASE).temperature, turned.sampling(Role.ALIGNED).temperature) == (1.2, 0.8)


def test_a_router_is_a_name_or_a_callable() -> None:
    """A callable stands in place of the named router until another name is given."""
    router = lambda _step: "base"  # noqa: E731
    own = Settings().turn({"router": router})
    assert own.router is router
    named = own.turn({"router": "H"})
    assert (named.router, named.decode.router) == (None, "H")


@pytest.mark.parametrize(
    ("knobs", "error"),
    [
        ({"diversty": 3}, "'diversty' is not a setting; did you mean 'diversity'?"),
        ({"xyzzy": 3}, "'xyzzy' is not a setting$"),
        ({"base_sampling": {"temprature": 1}}, "'temprature' is not a sampling setting; did you mean 'temperature'?"),
        ({"aligned_sampling": {"router": "P"}}, "'router' is not a sampling setting"),
        ({"diversity": 11}, "diversity is 11"),
        ({"min_p": 2.0}, "min_p is 2.0"),
        ({"stop": ("",)}, "a stop string is empty"),
        ({"boundary": "line"}, "boundary is 'line'; it can be word, token"),
        ({"start": "both"}, "start is 'both'; it can be base, aligned"),
    ],
)
def test_wrong_knobs_are_named(knobs: dict[str, Any], error: str) -> None:
    """An unknown name gets a hint, and a wrong value its limits."""
    with pytest.raises(UsageError, match=error):
        Settings().turn(knobs)


def test_words_name_choices() -> None:
    """A card or a caller may write a choice as a word; it means what the enum means."""
    turned = Settings().turn({"boundary": "token", "start": "base", "stop_rule": "either", "detail": "sides"}).decode
    assert turned.boundary is BoundaryRule.TOKEN
    assert turned.start is Role.BASE
    assert turned.stop_rule is StopRule.EITHER
    assert turned.detail is Detail.SIDES
    assert Settings().turn({"content_from": None}).decode.content_from is None


def test_one_stop_string_is_one() -> None:
    """A single string is one stop, not as many as it has letters, and a list from a file becomes a tuple."""
    assert Settings().turn({"stop": "END"}).decode.stop == ("END",)
    assert Settings().turn({"stop": ["a", "b"]}).decode.stop == ("a", "b")
    biased = Settings().turn({"logit_bias": [[5, 1.0]], "base_sampling": {"logit_bias": [[6, 2.0]]}})
    assert (biased.aligned.logit_bias, biased.base.logit_bias) == (((5, 1.0),), ((6, 2.0),))
    assert hash(biased.base.recipe()) != hash(biased.aligned.recipe())
