"""What a sweep shall do, as one frozen value: prompts, methods, points, samples, and the settings that all share.

Reads a sweep file (TOML) and the prompts that it names; loads no model.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baco_local.calibrate import calibration_prompts
from baco_local.config import check_seed
from baco_local.errors import UsageError
from baco_local.evals.methods import Method, chosen
from baco_local.evals.questions import Question, read_questions
from baco_local.settings import Settings

__all__ = ["Plan", "Wanted", "planned", "read_wanted"]

N_HELD_OUT = 20  # prompts on which a control is matched and an idea's dial is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a sweep file or the options of a command ask for; None = not said."""

    prompts: Path | None = None
    methods: tuple[str, ...] | None = None
    points: int | None = None
    samples: int | None = None
    max_tokens: int | None = None
    seed: int | None = None
    limit: int | None = None  # prompts, at most
    held_out: Path | None = None  # other prompts, for matching
    settings: Mapping[str, Any] = field(default_factory=dict)  # for all methods, see ``Knobs``

    def over(self, other: Wanted) -> Wanted:
        """Return what this says, and what ``other`` says where this is silent."""
        own = {name: value for name, value in _fields(self).items() if value is not None}
        return dataclasses.replace(other, **own | {"settings": {**other.settings, **self.settings}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sweep, checked."""

    questions: tuple[Question, ...]
    methods: tuple[Method, ...]
    n_samples: int
    max_tokens: int
    seed: int
    held_out: tuple[str, ...]  # prompts of no question
    knobs: Mapping[str, Any]

    @property
    def settings(self) -> Settings:
        """Return what all methods start from: temperature 1 and no truncation, whatever the pair recommends."""
        return Settings().turn({"max_tokens": self.max_tokens, **self.knobs})

    @property
    def n_points(self) -> int:
        """Return how many points each method has."""
        return len(self.methods[0].points)

    @property
    def n_answers(self) -> int:
        """Return how many answers there will be."""
        return len(self.methods) * self.n_points * len(self.questions) * self.n_samples


def read_wanted(path: Path) -> Wanted:
    """Read a sweep file; paths in it are relative to it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the sweep file {str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"the sweep file {str(path)!r} is not TOML: {error}") from error
    for key, value in table.items():
        if key not in KINDS:
            near = difflib.get_close_matches(key, KINDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KINDS)}"
            raise UsageError(f"the sweep file {str(path)!r} has the unknown key {key!r}; {hint}")
        if not isinstance(value, KINDS[key]) or isinstance(value, bool):
            raise UsageError(f"the sweep file {str(path)!r} has {key} = {value!r}; that is of the wrong kind")
    for key in ("prompts", "held_out"):
        if key in table:
            table[key] = path.parent / Path(table[key]).expanduser()
    if "methods" in table:
        names = table["methods"]
        table["methods"] = tuple(names.split(",") if isinstance(names, str) else map(str, names))
    return Wanted(**table)


def planned(wanted: Wanted) -> Plan:
    """Check what is wanted and return it as a plan."""
    if wanted.prompts is None:
        raise UsageError("a sweep needs prompts\n    give a file:  baco sweep --prompts prompts.jsonl --methods all")
    questions = read_questions(wanted.prompts)[: wanted.limit]
    methods = chosen(wanted.methods or ("all",))
    if wanted.points is not None:
        methods = tuple(method.thinned(wanted.points) for method in methods)
    if any(method.name == "paraphrase" for method in methods):
        lacking = [question.id for question in questions if not question.paraphrases]
        if lacking and wanted.methods is not None and "paraphrase" in wanted.methods:
            raise UsageError(f"the prompt {lacking[0]!r} has no paraphrases, which the method paraphrase asks with")
        if lacking:  # "all" means all that can be done
            methods = tuple(method for method in methods if method.name != "paraphrase")
    asked = {question.prompt.strip() for question in questions}
    others = (
        calibration_prompts()
        if wanted.held_out is None
        else tuple(question.prompt for question in read_questions(wanted.held_out))
    )
    held_out = tuple(prompt for prompt in others if prompt.strip() not in asked)[:N_HELD_OUT]
    n_samples = 10 if wanted.samples is None else wanted.samples
    if n_samples < 2:
        raise UsageError(f"samples is {n_samples}; diversity needs at least two answers to a prompt")
    plan = Plan(
        questions=questions,
        methods=methods,
        n_samples=n_samples,
        max_tokens=300 if wanted.max_tokens is None else wanted.max_tokens,
        seed=check_seed(0 if wanted.seed is None else wanted.seed),
        held_out=held_out,
        knobs=dict(wanted.settings),
    )
    for name in plan.knobs:
        if name in {"router", "diversity", "threshold"}:
            raise UsageError(f"settings has {name!r}, which the methods turn; name methods instead")
    _ = plan.settings  # refuses knobs that are none
    return plan


def _fields(wanted: Wanted) -> dict[str, Any]:
    return {one.name: getattr(wanted, one.name) for one in dataclasses.fields(wanted)}


KINDS: dict[str, Any] = {
    "prompts": str,
    "methods": list | str,
    "points": int,
    "samples": int,
    "max_tokens": int,
    "seed": int,
    "limit": int,
    "held_out": str,
    "settings": dict,
}
