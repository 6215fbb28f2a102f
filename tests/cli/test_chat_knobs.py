"""What /set reads."""

from __future__ import annotations

import pytest

from baco_cli.chat.knobs import NAMES, settings_of, spelled, value_of
from baco_local.config import BoundaryRule, Guards
from baco_local.errors import UsageError
from baco_local.settings import Settings
from baco_local.types import Role


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "0.8", 0.8),
        ("temperature", "1", 1.0),
        ("top_k", "40", 40),
        ("joiners", "off", False),
        ("router", "RAND", "RAND"),
        ("boundary", "token", BoundaryRule.TOKEN),
        ("start", "base", Role.BASE),
        ("threshold", "none", None),
        ("threshold", "0.4", 0.4),
        ("content_from", "none", None),
        ("stop", "The end", ("The end",)),
        ("stop", '["a", "b"]', ("a", "b")),
        ("guards", "off", Guards(role_markers=False, loops=False)),
        ("guards", "on", Guards()),
        ("logit_bias", "[[5, -1.5]]", ((5, -1.5),)),
        ("base_sampling", '{"temperature": 1.2}', {"temperature": 1.2}),
        ("grammar", 'root ::= "yes"', 'root ::= "yes"'),
        ("json_schema", '{"type": "object"}', '{"type": "object"}'),
    ],
)
def test_a_knob_is_read_by_its_type(name: str, text: str, value: object) -> None:
    """Typed words become the value that the library wants."""
    read = value_of(name, text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("typed", "name"),
    [("temp", "temperature"), ("--top-k", "top_k"), ("-n", "max_tokens"), ("min-p", "min_p"), ("Seed", "seed")],
)
def test_a_knob_may_be_typed_as_the_command_line_has_it(typed: str, name: str) -> None:
    """Names of options stand for the knobs that they turn."""
    assert spelled(typed) == name
    assert all(spelled(known) == known for known in NAMES)


@pytest.mark.parametrize(("typed", "told"), [("temperatur", "did you mean temperature"), ("xyzzy", "Tab behind /set")])
def test_an_unknown_knob_leads_to_the_known_ones(typed: str, told: str) -> None:
    """What is no setting names one like it, or where they are listed."""
    with pytest.raises(UsageError, match=told):
        spelled(typed)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("temperature", "hot", "takes a number"),
        ("top_k", "4.5", "takes a whole number"),
        ("boundary", "line", "takes word, token"),
        ("joiners", "perhaps", "takes true"),
        ("logit_bias", "5", "takes JSON"),
        ("n_rivals", "3", "set by the chat"),
        ("seed", "-", "takes a number"),
        ("seed", str(2**63), "must lie between"),
        ("temperatur", "1", "did you mean 'temperature'"),
        ("diversity", "11", "0 .*10"),
    ],
)
def test_a_wrong_value_is_refused_in_words(name: str, text: str, told: str) -> None:
    """What cannot be turned names the knob, the value and what would do."""
    with pytest.raises(UsageError, match=told):
        settings_of(Settings(), {name: text})


def test_own_knobs_leave_the_library_alone() -> None:
    """Seed and pace belong to the chat and turn nothing of the library."""
    assert settings_of(Settings(), {"seed": "3", "pace": "0"}) == Settings()


def test_names_are_those_of_the_library_and_the_chat() -> None:
    """Completion offers knobs of both, and none that the chat sets itself."""
    assert {"temperature", "router", "seed", "pace"} <= set(NAMES)
    assert not {"detail", "n_rivals"} & set(NAMES)
