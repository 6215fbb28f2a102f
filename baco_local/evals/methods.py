"""Every way to write that a study compares: each with its family, the knob that it sweeps and nine points on it.

Names, knobs and ways of asking; decodes nothing. Truncation comes before temperature, as in llama.cpp: papers that
temper first get other numbers away from temperature 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from baco_local.errors import UsageError
from baco_local.evals.ideas import IDEAS, Ruler
from baco_local.evals.nudging import NUDGING, nudged
from baco_local.evals.ways import Way, in_context, paraphrased, plainly, string_seed, unusual, verbalized
from baco_local.routing.blends import BLENDS
from baco_local.routing.dial import ROUTERS
from baco_local.scheduling.base import Loop

__all__ = ["DEFAULT", "FAMILIES", "METHODS", "Method", "chosen"]

TEMPERATURES = (0.3, 0.5, 0.7, 0.85, 1.0, 1.15, 1.3, 1.5, 1.8)
HOT = (0.7, 0.85, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)  # where a truncation holds the tail down
CHANCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
DIALS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)  # without the ends, which are aligned and base alone
DEFAULT = "p-punc"

FAMILIES = {
    "switch": "both models in turn",
    "control": "both models by a coin",
    "mix": "both models at once",
    "idea": "ideas of ours",
    "nudging": "aligned helps base",
    "temperature": "one model, by temperature",
    "truncation": "one model, its tail cut",
    "prompting": "one model, asked otherwise",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to write, at several settings."""

    name: str
    family: str  # of FAMILIES
    does: str  # one sentence
    source: str
    turned: str  # the knob that it sweeps
    points: tuple[float, ...]
    knobs: Mapping[str, Any] = field(default_factory=dict)  # what else it sets, see ``Knobs``
    way: Way = plainly
    matched: str | None = None  # sweeps no points of its own: each takes the base share of this method's point
    idea: str | None = None  # of IDEAS: what decides is built for the pair
    loop: Loop | None = None  # takes the place of a router

    def at(self, point: float, ruler: Ruler | None = None) -> dict[str, Any]:
        """Return the knobs of one point; an idea needs to know what its dial means for the pair."""
        knobs = dict(self.knobs) | {self.turned: point}
        if self.idea is not None:
            assert ruler is not None, "an idea was not measured for this pair"
            knobs["router"] = IDEAS[self.idea].at(point, ruler)
        if self.loop is not None:
            knobs["router"] = self.loop
        return knobs

    def thinned(self, n_points: int) -> Method:
        """Return it with fewer points, evenly spread, both ends among them."""
        if not 1 <= n_points <= len(self.points):
            raise UsageError(f"points is {n_points}; {self.name} has 1 to {len(self.points)}")
        places = np.linspace(0, len(self.points) - 1, n_points).round().astype(int)
        return replace(self, points=tuple(self.points[place] for place in places))


def chosen(names: Sequence[str]) -> tuple[Method, ...]:
    """Return methods by name, in any case; ``all``, ``routers``, ``rivals``, ``mixes`` and ``ideas`` name several."""
    found: dict[str, Method] = {}
    for name in names:
        word = name.strip().lower()
        if word in GROUPS:
            found |= {each: METHODS[each] for each in METHODS if METHODS[each].family in GROUPS[word]}
        elif word in METHODS:
            found[word] = METHODS[word]
        else:
            near = difflib.get_close_matches(word, [*METHODS, *GROUPS], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"there is no method {name!r}{hint}\n    known: {', '.join([*GROUPS, *METHODS])}")
    if not found:
        raise UsageError("no method is named; say --methods all, or some of: " + ", ".join(METHODS))
    needed = {method.matched for method in found.values()} - {None}
    missing = [name for name in needed if name not in found]
    if missing:
        raise UsageError(f"{missing[0]!r} is missing, whose base share a control is matched to; add it")
    return tuple(METHODS[name] for name in METHODS if name in found)


def _alone(
    name: str, does: str, source: str, family: str, turned: str, points: tuple[float, ...], **knobs: Any
) -> Method:
    return Method(name=name, family=family, does=does, source=source, turned=turned, points=points, knobs=knobs)


def _asked(name: str, way: Way) -> Method:
    """Return a way of asking the aligned model, by temperature."""
    does = (way.__doc__ or "").strip().splitlines()[0]
    return Method(
        name=name,
        family="prompting",
        does=does,
        source="in our own words, see wording.toml",
        turned="temperature",
        points=TEMPERATURES,
        knobs={"diversity": 0.0},
        way=way,
    )


def _nudging(name: str, does: str, temperature: float) -> Method:
    return Method(
        name=name,
        family="nudging",
        does=does,
        source="arXiv 2410.09300, by words as in its public code",
        turned="threshold",
        points=CHANCES,
        knobs={"temperature": temperature},
        way=nudged,
        loop=NUDGING,
    )


def _router(name: str) -> Method:
    dial = ROUTERS[name]
    family = "nudging" if name == "NUDGE" else "switch"
    return _alone(name.lower(), dial.does, dial.source, family, "diversity", DIALS, router=name)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(_router(name) for name in ROUTERS if name != "RAND"),
        Method(
            name="rand",
            family="control",
            does="A coin decides, with the base share that P-PUNC has at the same point: the control for every claim.",
            source=ROUTERS["RAND"].source,
            turned="threshold",
            points=DIALS,
            knobs={"router": "RAND"},
            matched=DEFAULT,
        ),
        _nudging(
            "nudge-words", "Base writes while its best token reaches the threshold; aligned nudges by words.", 0.0
        ),
        _nudging(
            "nudge-words-drawn", "As nudge-words, which is greedy, with both models drawing at temperature 1.", 1.0
        ),
        *(_alone(name, mix.does, mix.source, "mix", "diversity", DIALS, router=name) for name, mix in BLENDS.items()),
        *(
            Method(
                name=idea.name,
                family="idea",
                does=idea.does,
                source=idea.source,
                turned="diversity",
                points=DIALS,
                idea=idea.name,
            )
            for idea in IDEAS.values()
        ),
        _alone(
            "aligned", "Aligned alone.", "temperature only", "temperature", "temperature", TEMPERATURES, diversity=0.0
        ),
        _alone("base", "Base alone.", "temperature only", "temperature", "temperature", TEMPERATURES, diversity=10.0),
        _alone(
            "min-p",
            "Aligned alone, tokens kept that are at least 0.05 times as likely as the best.",
            "arXiv 2407.01082; its benefit is disputed",
            "truncation",
            "temperature",
            HOT,
            diversity=0.0,
            min_p=0.05,
        ),
        _alone(
            "top-n-sigma",
            "Aligned alone, logits kept within one standard deviation of the best.",
            "arXiv 2411.07641",
            "truncation",
            "temperature",
            HOT,
            diversity=0.0,
            top_nsigma=1.0,
        ),
        _alone(
            "xtc",
            "Aligned alone; with some chance all tokens from 0.1 on are removed but the least likely of them.",
            "a community sampler, in llama.cpp",
            "truncation",
            "xtc_probability",
            CHANCES,
            diversity=0.0,
            xtc_threshold=0.1,
        ),
        _asked("verbalized", verbalized),
        _asked("in-context", in_context),
        _asked("paraphrase", paraphrased),
        _asked("unusual", unusual),
        _asked("string-seed", string_seed),
    )
}

GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(FAMILIES),
    "routers": ("switch", "control"),
    "mixes": ("mix",),
    "rivals": ("nudging", "temperature", "truncation", "prompting"),
    "ideas": ("idea",),
}
