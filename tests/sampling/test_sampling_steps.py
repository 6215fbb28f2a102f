"""The recipe: flat numbers become steps in llama.cpp's order, off values leave nothing, bad values are refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.errors import GrammarError, UsageError
from baco_local.sampling.steps import (
    ORDER,
    Dry,
    DynamicTemperature,
    Grammar,
    JsonSchema,
    LogitBias,
    MinP,
    Penalties,
    SamplingOptions,
    Step,
    Temperature,
    TopK,
    TopNSigma,
    TopP,
    Typical,
    Xtc,
    sampler_names,
    stateless,
)

ALL_ON = SamplingOptions(
    temperature=0.8,
    top_k=40,
    top_p=0.95,
    min_p=0.05,
    typical=0.9,
    top_nsigma=1.5,
    repeat_penalty=1.1,
    xtc_probability=0.5,
    dry_multiplier=0.8,
    logit_bias=((3, -1.0),),
    grammar='root ::= "a"',
)


def test_as_it_stands_nothing_is_done() -> None:
    """The defaults are the paper's setting: an empty recipe."""
    assert SamplingOptions().recipe() == ()


def test_the_default_order_is_llama_cpps() -> None:
    """Bias and grammar come first, then llama.cpp's order with temperature last."""
    assert [type(step) for step in ALL_ON.recipe()] == [
        LogitBias,
        Grammar,
        Penalties,
        Dry,
        TopNSigma,
        TopK,
        Typical,
        TopP,
        MinP,
        Xtc,
        Temperature,
    ]


def test_a_given_order_is_kept_and_others_do_not_run() -> None:
    """An explicit list of samplers runs in its order, and what it does not name is left out."""
    options = dataclasses.replace(ALL_ON, samplers="min_p;temperature;top_k", grammar=None, logit_bias=())
    assert options.recipe() == (MinP(0.05), Temperature(0.8), TopK(40))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", tuple(ORDER)),
        ((), tuple(ORDER)),
        ("top_k;temperature;min_p", ("top_k", "temperature", "min_p")),
        ("top-k; temp ;typical", ("top_k", "temperature", "typ_p")),
        ("top_p;top_p", ("top_p", "top_p")),
        (("Min_P", "dry"), ("min_p", "dry")),
    ],
)
def test_samplers_are_read_by_llama_cpps_names(text: str | tuple[str, ...], names: tuple[str, ...]) -> None:
    """Names are split at semicolons, hyphens and llama.cpp's short forms are understood."""
    assert sampler_names(text) == names


@pytest.mark.parametrize("text", ["top_k;topp", "top_k,top_p", "mirostat"])
def test_an_unknown_sampler_is_named(text: str) -> None:
    """A wrong name is refused by name, with the known ones."""
    with pytest.raises(UsageError, match="known are penalties, dry") as caught:
        SamplingOptions(samplers=text)
    assert repr(text.split(";")[-1]) in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        SamplingOptions(temperature=1.0),
        SamplingOptions(top_k=0),
        SamplingOptions(top_p=1.0),
        SamplingOptions(min_p=0.0),
        SamplingOptions(typical=1.0),
        SamplingOptions(top_nsigma=-1.0),
        SamplingOptions(top_nsigma=0.0),
        SamplingOptions(repeat_penalty=1.1, repeat_last_n=0),
        SamplingOptions(xtc_probability=0.0, xtc_threshold=0.1),
        SamplingOptions(xtc_probability=0.5, xtc_threshold=0.6),
        SamplingOptions(dry_multiplier=0.0),
        SamplingOptions(dry_multiplier=1.0, dry_penalty_last_n=0),
        SamplingOptions(logit_bias=()),
    ],
    ids=repr,
)
def test_steps_that_are_off_are_left_out(options: SamplingOptions) -> None:
    """Every off value gives an empty recipe."""
    assert options.recipe() == ()


def test_greedy_is_not_off() -> None:
    """Temperature 0 stays in the recipe."""
    assert SamplingOptions(temperature=0.0).recipe() == (Temperature(0.0),)


def test_a_range_makes_the_temperature_dynamic() -> None:
    """A dynatemp range turns the temperature into a dynamic one, at temperature 1 too."""
    assert SamplingOptions(dynatemp_range=0.5).recipe() == (DynamicTemperature(1.0, 0.5, 1.0),)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: Temperature(-0.1), "temperature is -0.1"),
    (lambda: Temperature(1e-9), "0 = greedy"),
    (lambda: Temperature(math.nan), "temperature is nan"),
    (lambda: Temperature(math.inf), "temperature is inf"),
    (lambda: DynamicTemperature(0.0, 0.5), "temperature is 0.0"),
    (lambda: TopK(-1), "top_k is -1"),
    (lambda: TopP(1.5), "top_p is 1.5; it must lie between 0.0 and 1.0"),
    (lambda: MinP(-0.1), "min_p is -0.1"),
    (lambda: Typical(2.0), "typical is 2.0"),
    (lambda: TopNSigma(-1.0), "top_nsigma is -1.0"),
    (lambda: Xtc(1.5, 0.1), "xtc_probability is 1.5"),
    (lambda: Xtc(0.5, -0.1), "xtc_threshold is -0.1"),
    (lambda: Penalties(repeat=0.0), "repeat_penalty is 0.0"),
    (lambda: Penalties(last_n=-2), "repeat_last_n is -2"),
    (lambda: Penalties(frequency=math.inf), "frequency_penalty is inf"),
    (lambda: Penalties(presence=math.nan), "presence_penalty is nan"),
    (lambda: Dry(-1.0), "dry_multiplier is -1.0"),
    (lambda: Dry(1.0, base=0.5), "dry_base is 0.5"),
    (lambda: Dry(1.0, sequence_breakers=("",)), "sequence breaker"),
    (lambda: LogitBias(((-1, 1.0),)), "token of a logit bias is -1"),
    (lambda: LogitBias(((7, math.nan),)), "bias of token 7 is nan"),
    (lambda: LogitBias(((7, math.inf),)), "use a finite number, or -inf"),
    (lambda: SamplingOptions(top_p=math.nan), "top_p is nan"),
    (lambda: SamplingOptions(top_k=-3, samplers="min_p"), "top_k is -3"),
    (lambda: SamplingOptions(grammar='root ::= "a"', json_schema="{}"), "both a grammar and a JSON schema"),
]


@pytest.mark.parametrize(("make", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_values_are_refused_with_name_value_and_range(make: Callable[[], object], words: str) -> None:
    """A number that no step can use raises UsageError where it enters, also if its step would not run."""
    with pytest.raises(UsageError) as caught:
        make()
    assert words in str(caught.value)


@pytest.mark.parametrize("make", [lambda: Grammar(" \n"), lambda: JsonSchema("{no json"), lambda: Grammar("a\0b")])
def test_empty_grammars_and_broken_schemas_are_refused(make: Callable[[], object]) -> None:
    """What cannot be a grammar or JSON raises GrammarError before llama.cpp sees it."""
    with pytest.raises(GrammarError):
        make()


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Penalties(repeat=1.1), False),
        (Dry(1.0), False),
        (Grammar('root ::= "a"'), False),
        (JsonSchema("{}"), False),
        (LogitBias(((1, 1.0),)), True),
        (Xtc(0.5, 0.1), True),
        (TopP(0.9), True),
        (TopNSigma(1.0), True),
    ],
)
def test_steps_that_read_the_answer_are_known(step: Step, expected: bool) -> None:
    """Penalties, DRY and grammars remember; all others depend on the row alone."""
    assert stateless((TopK(3), step, Temperature(0.8))) is expected


@given(st.permutations(list(ORDER)))
def test_every_order_has_every_step(names: list[str]) -> None:
    """Any permutation of the samplers gives the same steps in that order."""
    recipe = dataclasses.replace(ALL_ON, grammar=None, logit_bias=(), samplers=tuple(names)).recipe()
    assert recipe == tuple(ORDER[name](ALL_ON) for name in names)


@given(
    st.fixed_dictionaries(
        {
            "temperature": st.floats(-1, 2),
            "top_k": st.integers(-2, 5),
            "top_p": st.floats(),
            "min_p": st.floats(-0.1, 1.1),
            "repeat_penalty": st.floats(0, 2),
        }
    )
)
def test_whatever_the_numbers_it_is_a_recipe_or_a_usage_error(numbers: dict[str, float]) -> None:
    """No number of any kind ends in anything but a recipe whose steps are hashable, or our own error."""
    try:
        hash(SamplingOptions(**numbers).recipe())  # type: ignore[arg-type]
    except UsageError as error:
        named = str(error)
    else:
        named = "temperature"
    assert any(name in named for name in numbers)
