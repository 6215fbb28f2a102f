"""What /set takes: typed words to the values of knobs.

Knows the names and types of the library's knobs and the few of the chat itself; knows no chat and no model.
"""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from baco_local.config import Guards, check_seed
from baco_local.errors import UsageError
from baco_local.settings import Knobs, Settings

__all__ = ["NAMES", "OWN", "settings_of", "spelled", "value_of"]

OWN = {  # knobs of the chat itself
    "seed": "the seed of the next replies; -1 = another one each time",
    "pace": "tokens per second at most, so that a fast pair can be steered; 0 = no limit",
}
TYPES = get_type_hints(Knobs)
SET_BY_CHAT = {"detail", "n_rivals"}  # /why needs them as they are
NAMES = (*OWN, *(name for name in TYPES if name not in SET_BY_CHAT))
SWITCH = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
NOTHING = ("none", "null", "default")
FROM_OPTIONS = {  # where the option of the command line has another name, or a shorter one
    "d": "diversity",
    "gamma": "threshold",
    "n": "max_tokens",
    "n_predict": "max_tokens",
    "s": "seed",
    "temp": "temperature",
}


def settings_of(defaults: Settings, typed: Mapping[str, str]) -> Settings:
    """Return settings with typed knobs turned, or raise UsageError for one that cannot be."""
    for name in OWN.keys() & typed.keys():
        number = _number(name, typed[name], float)
        if name == "seed" and number >= 0:
            check_seed(int(number))
    return defaults.turn({name: value_of(name, text) for name, text in typed.items() if name not in OWN})


def spelled(typed: str) -> str:
    """Return the name of a knob that was typed as the command line has it: temp, --top-k, -n.

    Raises:
        UsageError: there is none of this name.

    """
    name = typed.lstrip("-").replace("-", "_").casefold()
    name = FROM_OPTIONS.get(name, name)
    if name not in NAMES and name not in SET_BY_CHAT:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else "Tab behind /set lists them"
        raise UsageError(f"{typed!r} is not a setting; {hint}")
    return name


def value_of(name: str, text: str) -> Any:
    """Read one knob of the library; a name that it does not know is left for it to refuse."""
    if name in SET_BY_CHAT:
        raise UsageError(f"{name} is set by the chat; /why needs it")
    return _read(name, text.strip(), TYPES.get(name, str))


def _read(name: str, text: str, kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [one for one in get_args(kind) if one is not types.NoneType]
        if len(kinds) < len(get_args(kind)) and text.casefold() in NOTHING:
            return None
        kind = kinds[0]
    if kind is bool:
        return _choice(name, text.casefold(), SWITCH)
    if kind in (int, float):
        return _number(name, text, kind)
    if kind is Guards:
        return Guards() if _choice(name, text.casefold(), SWITCH) else Guards(role_markers=False, loops=False)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _choice(name, text.casefold(), {str(member): member for member in kind})
    if kind is str:
        return text
    return _parts(name, text)


def _number(name: str, text: str, kind: type[int | float]) -> int | float:
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{name} is {text!r}; it takes {'a whole number' if kind is int else 'a number'}") from None


def _choice(name: str, text: str, choices: Mapping[str, Any]) -> Any:
    if text not in choices:
        raise UsageError(f"{name} is {text!r}; it takes {', '.join(choices)}")
    return choices[text]


def _parts(name: str, text: str) -> Any:
    """Read lists and tables as JSON; a plain word is a list of one."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if name == "stop":
        return tuple(map(str, value)) if isinstance(value, list) else (str(value),)
    if name == "logit_bias" and isinstance(value, list) and all(isinstance(pair, list) for pair in value):
        return tuple((int(token), float(added)) for token, added in value)
    if name.endswith("_sampling") and isinstance(value, dict):
        return value
    raise UsageError(f'{name} is {text!r}; it takes JSON: [[id, bias], ...] or {{"temperature": 1.2, ...}}')
