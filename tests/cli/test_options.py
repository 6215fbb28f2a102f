"""Options become library values: only what was given, under the names that the library knows."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Annotated, get_type_hints

import pytest
import typer

from baco_cli import options
from baco_cli.options import (
    Asking,
    EachModel,
    Machine,
    ModelChoice,
    Output,
    Sampling,
    Writing,
    bias,
    bundled,
    dial_words,
    turned,
    unescaped,
)
from baco_local.config import DrafterName, EndCheck, LoadOptions, Offload, OffloadKind, ScheduleName
from baco_local.errors import UsageError
from baco_local.settings import Settings
from baco_local.text.chat import Message
from baco_local.types import Role

BUNDLES = (Asking, EachModel, Machine, ModelChoice, Output, Sampling, Writing)


def settings(*, defaults=None, **given):
    """Return the settings that these options make of a pair's defaults; options are found by their field."""
    kinds = (Writing, Sampling, EachModel)
    split = [
        {name: value for name, value in given.items() if name in inspect.signature(kind).parameters} for kind in kinds
    ]
    writing, sampling, each = (kind(**own) for kind, own in zip(kinds, split, strict=True))
    return turned(defaults or Settings(), writing, sampling, each)


def test_nothing_given_changes_nothing():
    """Without options the pair's own defaults stay, and models load as the library would."""
    card = Settings().turn({"temperature": 0.8, "min_p": 0.05, "diversity": 3.0})
    assert settings(defaults=card) == card
    assert Machine().load_options() == LoadOptions()
    assert EachModel().load_options(Role.BASE, LoadOptions()) is None


def test_an_option_goes_before_the_card():
    """What is given replaces the card's value, and nothing else."""
    card = Settings().turn({"temperature": 0.8, "min_p": 0.05})
    found = settings(defaults=card, temperature=1.2, diversity=7.0)
    assert (found.base.temperature, found.aligned.temperature, found.base.min_p) == (1.2, 1.2, 0.05)
    assert found.decode.diversity == 7.0


def test_one_model_may_differ():
    """--base-temp and --base-opt reach base alone, whatever is said to both."""
    found = settings(temperature=1.0, base_temp=1.5, base_opt=["top-k=40"], aligned_opt=["--min_p = 0.1"])
    assert (found.base.temperature, found.aligned.temperature) == (1.5, 1.0)
    assert (found.base.top_k, found.aligned.top_k) == (40, 0)
    assert (found.base.min_p, found.aligned.min_p) == (0.0, 0.1)


def test_machine_options_of_one_model():
    """--aligned-ngl and --aligned-opt change how aligned is loaded, over what both have."""
    both = Machine(ctx_size=1024, ngl="all").load_options()
    each = EachModel(aligned_ngl="3", aligned_opt=["threads=2", "top-k=5"])
    found = each.load_options(Role.ALIGNED, both)
    assert found is not None
    assert (found.ctx_size, found.threads, found.offload) == (1024, 2, Offload(OffloadKind.LAYERS, 3))
    assert each.load_options(Role.BASE, both) is None


def test_guards_are_taken_off_one_by_one_or_together():
    """--no-guards takes off all, --no-guard-loops one; the rest stays as the pair has it."""
    assert settings(no_guard_loops=True).decode.guards == dataclasses.replace(Settings().decode.guards, loops=False)
    off = settings(no_guards=True).decode.guards
    assert (off.role_markers, off.loops, off.max_base_run) == (False, False, 0)
    assert settings(no_guards=True, max_base_run=9).decode.guards.max_base_run == 9


def test_dial_and_threshold_exclude_each_other():
    """Both turn the router, so one of them is refused; the words say which one counts."""
    with pytest.raises(UsageError, match="both turn the router"):
        settings(diversity=5.0, threshold=0.4)
    assert dial_words(settings(diversity=7.5)) == "d=7.5"
    assert dial_words(settings(threshold=0.4)) == "threshold=0.4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("123+2.5", (123, 2.5)),
        ("7-1", (7, -1.0)),
        ("7-inf", (7, float("-inf"))),
        (" 5 + .5", (5, 0.5)),
        ("9-false", (9, float("-inf"))),
    ],
)
def test_logit_bias(text, expected):
    """A bias is an id, a sign and a number, as llama.cpp writes it."""
    assert bias(text) == expected


@pytest.mark.parametrize("text", ["", "fox+1", "123", "1+1+1", "-5+2"])
def test_a_wrong_logit_bias_is_refused(text):
    """Anything else is named in the error."""
    with pytest.raises(UsageError, match="is not a token id with a number"):
        bias(text)


def test_typed_escapes_are_read():
    r"""A typed \n in a stop string is a line break, and \\n stays as it is typed."""
    assert unescaped(r"a\nb\\n\t") == "a\nb\\n\t"
    assert settings(stop=[r"\n\n", "END"]).decode.stop == ("\n\n", "END")


def test_seeds():
    """-1 and nothing are random, and short enough to be typed again; others are taken as they are."""
    assert Sampling(seed=7).chosen_seed() == 7
    assert len({Sampling(seed=-1).chosen_seed() for _ in range(4)} | {Sampling().chosen_seed() for _ in range(4)}) > 1
    assert all(0 <= Sampling().chosen_seed() < 2**32 for _ in range(20))


def test_the_prompt_is_what_was_piped_then_the_file_then_the_argument(tmp_path):
    """Parts come in this order with a blank line between, after the system prompt."""
    (tmp_path / "draft.txt").write_text("the file\n")
    asking = Asking(file=tmp_path / "draft.txt", system_prompt="Be brief.")
    messages = asking.messages("the argument", "piped\n")
    assert messages == [Message("system", "Be brief."), Message("user", "piped\n\nthe file\n\nthe argument")]
    assert Asking(prompt_text="p").messages(None, None) == [Message("user", "p")]


def test_an_empty_pipe_is_no_prompt():
    """White space alone asks nothing."""
    with pytest.raises(UsageError, match="there is no prompt"):
        Asking().messages(None, "\n ")


def test_bundles_become_options():
    """A decorated command takes every field of its bundles, and gets the bundles filled."""
    seen = {}

    @bundled
    def command(word: Annotated[str, typer.Argument()], *, writing: Writing, output: Output) -> None:
        seen.update(word=word, writing=writing, output=output)

    names = set(inspect.signature(command).parameters)
    assert names == {"word", *(field.name for kind in (Writing, Output) for field in dataclasses.fields(kind))}
    given = dict.fromkeys(names) | {"word": "hi", "diversity": 3.0, "json": True}
    command(**given)
    assert seen["writing"].diversity == 3.0
    assert seen["output"].json is True


def test_no_two_options_share_a_name():
    """A command may take every bundle at once."""
    names = [
        name
        for kind in BUNDLES
        for hint in get_type_hints(kind, include_extras=True).values()
        for name in declared(hint)
    ]
    assert len(names) == len(set(names))


def declared(hint):
    """Return the option names of one annotation."""
    return [
        name
        for info in hint.__metadata__
        for name in (info.default, *(info.param_decls or ()))
        if isinstance(name, str)
    ]


def test_environment_names_follow_the_option():
    """Every variable is BACO_ and the long name, beside llama.cpp's for shared options."""
    (info,) = get_type_hints(Machine, include_extras=True)["ctx_size"].__metadata__
    assert info.envvar == ["BACO_CTX_SIZE", "LLAMA_ARG_CTX_SIZE"]
    assert options.VALUE_NAMES[int] == "N"


def test_a_schedule_is_chosen_with_its_drafter():
    """--schedule, --drafter, --draft-max and --end-check reach the settings; --draft names a third file."""
    found = settings(schedule=ScheduleName.SPECULATIVE, drafter=DrafterName.LOOKUP, draft_max=3).decode
    assert (found.schedule, found.drafter, found.draft_max) == ("speculative", "lookup", 3)
    assert settings(end_check=EndCheck.SENTENCE).decode.end_check is EndCheck.SENTENCE
    assert ModelChoice(draft=Path("small.gguf")).draft == Path("small.gguf")
