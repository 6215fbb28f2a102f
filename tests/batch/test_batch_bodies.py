"""OpenAI's request bodies: what is obeyed, what is refused by name, what is passed over."""

from __future__ import annotations

import pytest

from baco_local.batch.bodies import read_body
from baco_local.batch.items import Endpoint
from baco_local.errors import UsageError
from baco_local.settings import Settings
from baco_local.text.chat import Message


def body(**fields):
    """Read a body with a prompt and these fields."""
    return read_body({"prompt": "x"} | fields)


@pytest.mark.parametrize(
    ("fields", "knobs"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ({"max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"logit_bias": {"50": -100, "3": 1}}, {"logit_bias": [[3, 1.0], [50, -100.0]]}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"json_schema": '{"type": "object"}'}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}},
            {"json_schema": '{"type": "array"}'},
        ),
        (
            {"min_p": 0.1, "typical_p": 0.5, "xtc_probability": 0.2},
            {"min_p": 0.1, "typical": 0.5, "xtc_probability": 0.2},
        ),
        ({"baco": {"router": "P-FC", "diversity": 6}}, {"router": "P-FC", "diversity": 6}),
        ({"baco": {"threshold": 0.2, "diversity": None}}, {"threshold": 0.2}),
        ({"model": "tales@d7.5"}, {"diversity": 7.5}),
        ({"model": "tales", "user": "me", "logprobs": False, "tools": [], "stream": None}, {}),
    ],
)
def test_what_is_obeyed(fields, knobs):
    """Each known field becomes a setting, and all of them can be turned."""
    found = body(**fields)
    assert found.knobs == knobs
    assert found.ignored == ()
    Settings().turn(found.knobs)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stream": True}, "'stream' is not supported"),
        ({"logprobs": True}, "'logprobs' is not supported"),
        ({"tools": [{}]}, "'tools' is not supported"),
        ({"suffix": "x"}, "'suffix' is not supported"),
        ({"n": 0}, "n is 0"),
        ({"n": True}, "n is True"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"stop": 3}, "stop is 3"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"baco": {"diversity": 5, "threshold": 0.1}}, "both diversity and threshold"),
        ({"baco": {"diversity": 11}}, "diversity is 11"),
        ({"baco": {"loudness": 1}}, "unknown field 'loudness'"),
        ({"baco": 3}, "baco is 3"),
        ({"baco": {"router": "nobody"}}, "nobody"),
        ({"top_k": "many"}, "wrong kind"),
        ({"messages": [{"role": "user", "content": "y"}]}, "either messages or prompt"),
        ({"prompt": ["a", "b"]}, "not a text"),
    ],
)
def test_what_is_refused(fields, words):
    """What cannot be obeyed is refused with its name and value."""
    with pytest.raises(UsageError) as caught:
        body(**fields)
    assert words in str(caught.value)


def test_unknown_names_are_handed_back():
    """Whoever asked can be told what did nothing."""
    assert body(frobnicate=1, temperature=0.5).ignored == ("frobnicate",)


def test_messages_in_parts():
    """Texts in parts are joined, a developer speaks for the system, and pictures are refused."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    found = read_body({"messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": parts}]})
    assert found.messages == (Message("system", "s"), Message("user", "a\nb"))
    assert found.endpoint is Endpoint.CHAT
    with pytest.raises(UsageError, match="both of them text"):
        read_body({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})
