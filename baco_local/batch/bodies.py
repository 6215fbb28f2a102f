"""The body of an OpenAI request as messages and settings: what is known is read, what cannot be obeyed is refused.

Knows no file and no model; unknown names are handed back, so that whoever asked can say that they did nothing.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from baco_local.batch.items import Endpoint
from baco_local.config import DecodeOptions, check_seed
from baco_local.errors import UsageError
from baco_local.routing.blends import BLENDS
from baco_local.routing.dial import find_router
from baco_local.sampling.steps import SamplingOptions
from baco_local.settings import Settings
from baco_local.text.chat import Message

__all__ = ["Body", "read_body", "read_messages", "read_prompt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a request asks for."""

    messages: tuple[Message, ...]
    endpoint: Endpoint
    knobs: Mapping[str, Any]
    seed: int | None
    n_samples: int | None
    ignored: tuple[str, ...]  # names that mean nothing here


def read_body(body: Mapping[str, Any]) -> Body:
    """Read a body with ``messages`` or ``prompt``.

    Raises:
        UsageError: the first thing in it that cannot be obeyed.

    """
    chat = "messages" in body
    if chat == ("prompt" in body):
        raise UsageError("a body has either messages or prompt")
    knobs: dict[str, Any] = {}
    ignored = []
    for name, value in body.items():
        if name in OWN or value is None:
            continue
        if name in REFUSED:
            if value not in REFUSED[name]:
                raise UsageError(f"{name!r} is not supported; leave it out")
        elif name in KNOBS:
            knobs |= KNOBS[name](value)
        elif name in SAMPLING:
            knobs[name] = value
        elif name not in HARMLESS:
            ignored.append(name)
    _check(knobs)
    return Body(
        messages=read_messages(body["messages"]) if chat else (Message("user", read_prompt(body["prompt"])),),
        endpoint=Endpoint.CHAT if chat else Endpoint.COMPLETIONS,
        knobs=knobs,
        seed=None if body.get("seed") is None else check_seed(_whole("seed", body["seed"])),
        n_samples=None if body.get("n") is None else _positive("n", body["n"]),
        ignored=tuple(ignored),
    )


def read_messages(value: Any) -> tuple[Message, ...]:
    """Read a list of ``{"role", "content"}`` that ends with a message to be answered."""
    if not isinstance(value, list) or not value or not all(isinstance(message, dict) for message in value):
        raise UsageError("messages is not a list of {role, content}")
    messages = tuple(_message(message) for message in value)
    if messages[-1].role != "user":
        raise UsageError(f"the last message is of the role {messages[-1].role!r}; it must be the user's")
    return messages


def read_prompt(value: Any) -> str:
    """Read a prompt that is one text."""
    if not isinstance(value, str) or not value.strip():
        raise UsageError("the prompt is not a text, or it is empty")
    return value


def _message(message: Mapping[str, Any]) -> Message:
    role = message.get("role")
    content = message.get("content")
    if isinstance(content, list):
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content
        ]
        content = None if None in parts else "\n".join(map(str, parts))
    if not isinstance(role, str) or not isinstance(content, str):
        raise UsageError("a message needs a role and a content, both of them text")
    return Message("system" if role == "developer" else role, content)


def _check(knobs: Mapping[str, Any]) -> None:
    """Refuse settings that no answer could be written with."""
    try:
        settings = Settings().turn(knobs)
    except TypeError as error:
        raise UsageError(f"a setting has a value of the wrong kind: {error}") from error
    if "router" in knobs and str(knobs["router"]).strip().lower() not in BLENDS:
        find_router(settings.decode.router)


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{name} is {value!r}; it must be a whole number")
    return value


def _positive(name: str, value: Any) -> int:
    if _whole(name, value) < 1:
        raise UsageError(f"{name} is {value}; it must be at least 1")
    return int(value)


def _stop(value: Any) -> dict[str, Any]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"stop is {value!r}; it must be a text or a list of texts")
    return {"stop": texts}


def _logit_bias(value: Any) -> dict[str, Any]:
    try:
        return {"logit_bias": sorted([int(token), float(added)] for token, added in dict(value).items())}
    except (TypeError, ValueError):
        raise UsageError(f"logit_bias is {value!r}; it must be an object of token ids and numbers") from None


def _response_format(value: Any) -> dict[str, Any]:
    match value:
        case {"type": "text"}:
            return {}
        case {"type": "json_object"}:
            return {"json_schema": '{"type": "object"}'}
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return {"json_schema": json.dumps(schema)}
    raise UsageError(f"response_format is {value!r}; its type is text, json_object or json_schema with a schema")


def _model(value: Any) -> dict[str, Any]:
    """Read the dial where the name of the model carries it, as in ``tales@d7``; otherwise it names what is loaded."""
    found = re.search(r"@d(\d+\.?\d*)$", str(value))
    return {"diversity": float(found[1])} if found else {}


def _baco(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"baco is {value!r}; it must be an object such as {{'diversity': 6}}")
    for name in value:
        if name not in DECODING:
            raise UsageError(f"baco has the unknown field {name!r}; known are {', '.join(sorted(DECODING))}")
    if value.get("diversity") is not None and value.get("threshold") is not None:
        raise UsageError("baco has both diversity and threshold; give one of them")
    return {name: each for name, each in value.items() if each is not None}


OWN = {"messages", "prompt", "seed", "n"}
HARMLESS = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"}
SAMPLING = {field.name for field in dataclasses.fields(SamplingOptions)}
DECODING = {field.name for field in dataclasses.fields(DecodeOptions)} | {"frame"}
DECODING -= {"guards", "detail", "n_rivals"}  # what JSON does not hold, and what changes nothing in a row

REFUSED: dict[str, tuple[Any, ...]] = {  # what we cannot do, and the values that ask for nothing
    "stream": (False,),
    "stream_options": ({},),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
    "audio": (),
    "modalities": (["text"],),
}

KNOBS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "model": _model,
    "baco": _baco,
    "max_tokens": lambda value: {"max_tokens": _positive("max_tokens", value)},
    "max_completion_tokens": lambda value: {"max_tokens": _positive("max_completion_tokens", value)},
    "stop": _stop,
    "logit_bias": _logit_bias,
    "response_format": _response_format,
    "typical_p": lambda value: {"typical": value},
    "top_n_sigma": lambda value: {"top_nsigma": value},
}
