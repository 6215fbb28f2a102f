"""Everything that decides a text, apart from prompt and seed: one frozen value, made from named knobs.

Reads no file; knows no model.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypedDict

from baco_local.config import (
    BoundaryRule,
    ContentFrom,
    DecodeOptions,
    DrafterName,
    EndCheck,
    Guards,
    ScheduleName,
    StopRule,
    Uncertainty,
)
from baco_local.errors import UsageError
from baco_local.routing.base import Router
from baco_local.routing.blends import BLENDS, Blend
from baco_local.sampling.steps import SamplingOptions
from baco_local.scheduling.base import Loop
from baco_local.types import Detail, Role

__all__ = ["Knobs", "Settings"]


class Knobs(TypedDict, total=False):
    """Keywords of ``Settings.turn``, ``Pair.stream`` and ``Pair.generate``.

    Sampling knobs turn both models; ``base_sampling`` and ``aligned_sampling`` take the same names for one of them.
    """

    router: str | Router | Blend | Loop
    diversity: float
    threshold: float | None
    boundary: BoundaryRule
    joiners: bool
    start: Role
    stop_rule: StopRule
    end_check: EndCheck
    content_from: ContentFrom | None
    uncertainty: Uncertainty
    guards: Guards
    max_tokens: int
    stop: tuple[str, ...]
    ignore_end: bool
    detail: Detail
    n_rivals: int
    schedule: ScheduleName
    drafter: DrafterName
    draft_max: int
    frame: str
    temperature: float
    dynatemp_range: float
    dynatemp_exponent: float
    top_k: int
    top_p: float
    min_p: float
    typical: float
    top_nsigma: float
    repeat_penalty: float
    repeat_last_n: int
    presence_penalty: float
    frequency_penalty: float
    xtc_probability: float
    xtc_threshold: float
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_penalty_last_n: int
    dry_sequence_breakers: tuple[str, ...]
    logit_bias: tuple[tuple[int, float], ...]
    grammar: str | None
    json_schema: str | None
    samplers: str | tuple[str, ...]
    base_sampling: Mapping[str, Any]
    aligned_sampling: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a pair answers: routing, limits, and one set of sampling numbers per model."""

    decode: DecodeOptions = field(default_factory=DecodeOptions)
    base: SamplingOptions = field(default_factory=SamplingOptions)
    aligned: SamplingOptions = field(default_factory=SamplingOptions)
    router: Router | Blend | Loop | None = None  # a rule, mix or loop of the user's own, in place of decode.router
    frame: str = "qa"  # how the base model is asked: a name of text.frames, or the path of a template

    def sampling(self, role: Role) -> SamplingOptions:
        """Return the sampling numbers of one model."""
        return self.base if role is Role.BASE else self.aligned

    @property
    def blend(self) -> Blend | None:
        """Return the soft mix of both models; None where one of them speaks at a time."""
        if self.router is not None:
            return self.router if isinstance(self.router, Blend) else None
        return BLENDS.get(self.decode.router.strip().lower())

    @property
    def loop(self) -> Loop | None:
        """Return what makes the rounds of an answer in place of router and schedule; mostly None."""
        return self.router if isinstance(self.router, Loop) else None

    def turn(self, knobs: Mapping[str, Any]) -> Settings:
        """Return new settings with some knobs turned; see ``Knobs`` for their names."""
        decode: dict[str, Any] = {}
        base: dict[str, Any] = {}
        aligned: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for name, value in ((name, _frozen(value)) for name, value in knobs.items()):
            if name == "router" and isinstance(value, str):
                own["router"], decode["router"] = None, value
            elif name == "router":
                own["router"] = value
            elif name == "frame":
                own["frame"] = value
            elif name in DECODE_KNOBS:
                decode[name] = _choice(name, value)
            elif name in SAMPLING_KNOBS:
                base.setdefault(name, value)
                aligned.setdefault(name, value)
            elif name in ("base_sampling", "aligned_sampling"):
                side = base if name == "base_sampling" else aligned
                side.update((own_name, _frozen(own_value)) for own_name, own_value in value.items())
            else:
                raise UsageError(f"{name!r} is not a setting{closest(name)}")
        for name in (*base, *aligned):
            if name not in SAMPLING_KNOBS:
                raise UsageError(f"{name!r} is not a sampling setting{closest(name)}")
        return dataclasses.replace(
            self,
            decode=dataclasses.replace(self.decode, **decode),
            base=dataclasses.replace(self.base, **base),
            aligned=dataclasses.replace(self.aligned, **aligned),
            **own,
        )


def closest(name: str) -> str:
    """Return a hint with the nearest known knob, or nothing."""
    near = difflib.get_close_matches(name, Knobs.__annotations__, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _frozen(value: object) -> Any:
    """Return lists, as JSON and TOML write them, as tuples."""
    return tuple(_frozen(one) for one in value) if isinstance(value, list | tuple) else value


def _choice(name: str, value: Any) -> Any:
    """Read a word as the choice that it names, and a single stop string as one of several."""
    if name == "stop" and isinstance(value, str):
        return (value,)
    if name not in CHOICES or not isinstance(value, str):
        return value
    try:
        return CHOICES[name](value)
    except ValueError:
        raise UsageError(f"{name} is {value!r}; it can be {', '.join(CHOICES[name])}") from None


CHOICES: dict[str, type[StrEnum]] = {
    "boundary": BoundaryRule,
    "start": Role,
    "stop_rule": StopRule,
    "end_check": EndCheck,
    "content_from": ContentFrom,
    "uncertainty": Uncertainty,
    "detail": Detail,
    "schedule": ScheduleName,
    "drafter": DrafterName,
}
DECODE_KNOBS = frozenset(f.name for f in dataclasses.fields(DecodeOptions)) - {"router"}
SAMPLING_KNOBS = frozenset(f.name for f in dataclasses.fields(SamplingOptions))
