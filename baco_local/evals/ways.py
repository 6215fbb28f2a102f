"""How a method asks: policies from one question to n answers, as generators that wish for drafts and get them.

Knows no model and no router; most methods ask n times the same, the prompting rivals of arXiv 2511.05650 do more.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

from baco_local.evals.questions import Question
from baco_local.text.chat import Message
from baco_local.types import Role

__all__ = [
    "Asking",
    "Cost",
    "Draft",
    "Fits",
    "Way",
    "Wish",
    "in_context",
    "paraphrased",
    "plainly",
    "string_seed",
    "unusual",
    "verbalized",
    "wording",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What was spent."""

    generated: int = 0  # tokens that were drawn
    read_base: int = 0  # tokens that the base model has read, prompts included
    read_aligned: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Return both together."""
        return Cost(
            generated=self.generated + other.generated,
            read_base=self.read_base + other.read_base,
            read_aligned=self.read_aligned + other.read_aligned,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What came of one wish, or the part of it that is an answer."""

    voices: tuple[tuple[Role, str], ...] = ()  # who wrote which stretch of it
    finish: str = "end"  # a finish reason, or why there is nothing
    n_tokens: int = 0
    n_base: int = 0  # of these, written by base
    cost: Cost = Cost()

    @property
    def text(self) -> str:
        """Return the whole text."""
        return "".join(part for _, part in self.voices)

    def part(self, start: int, end: int) -> Draft:
        """Return some characters of it, without white space around them; what was spent stays that of the whole."""
        text = self.text[start:end]
        start += len(text) - len(text.lstrip())
        end = start + len(text.strip())
        kept, at = [], 0
        for role, part in self.voices:
            inside = part[max(0, start - at) : max(0, end - at)]
            if inside:
                kept.append((role, inside))
            at += len(part)
        return replace(self, voices=tuple(kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One draft that is wanted."""

    messages: tuple[Message, ...]
    sample: int  # decides the seed, together with the question
    stretch: float = 1.0  # times the usual length


Fits: TypeAlias = Callable[[tuple[Message, ...]], bool]
"""Tell whether a conversation leaves room for an answer of the usual length."""

Asking: TypeAlias = Generator[tuple[Wish, ...], tuple[Draft, ...], tuple[Draft, ...]]

Way: TypeAlias = Callable[[Question, int, Fits], Asking]
"""(question, n, what fits) -> wishes in rounds; each round gets its drafts, and in the end n answers come back."""


def plainly(question: Question, n: int, fits: Fits) -> Asking:  # noqa: ARG001 - every way takes the same
    """Ask n times the same."""
    return (yield tuple(Wish(messages=question.messages, sample=k) for k in range(n)))


def unusual(question: Question, n: int, fits: Fits) -> Asking:  # noqa: ARG001
    """Ask under a system text that wants unusual answers (a mode of NoveltyBench, arXiv 2504.05228)."""
    system = Message("system", wording()["unusual"]["system"])
    return (yield tuple(Wish(messages=(system, *question.messages), sample=k) for k in range(n)))


def paraphrased(question: Question, n: int, fits: Fits) -> Asking:  # noqa: ARG001
    """Ask in other words each time (a mode of NoveltyBench, arXiv 2504.05228)."""
    others = question.paraphrases or (question.prompt,)
    return (yield tuple(Wish(messages=question.asked(others[k % len(others)]), sample=k) for k in range(n)))


def in_context(question: Question, n: int, fits: Fits) -> Asking:
    """Ask again and again in one conversation, which forgets its oldest answers where it would be too long."""
    answers: list[Draft] = []
    again = Message("user", wording()["in_context"]["again"])
    told: list[str] = []
    while len(answers) < n:
        messages = _told(question, told, again)
        while told and not fits(messages):
            told = told[1:]
            messages = _told(question, told, again)
        (draft,) = yield (Wish(messages=messages, sample=len(answers)),)
        answers.append(draft)
        if draft.text.strip():
            told.append(draft.text)
    return tuple(answers)


def _told(question: Question, told: list[str], again: Message) -> tuple[Message, ...]:
    turns = [message for text in told for message in (Message("assistant", text), again)]
    return (*question.messages, *turns)


def verbalized(question: Question, n: int, fits: Fits) -> Asking:  # noqa: ARG001
    """Ask for five answers at once, each with its probability (arXiv 2510.01171); what cannot be read is empty."""
    words = wording()["verbalized"]
    at_once = int(words["n_answers"])
    request = words["request"].format(prompt=question.prompt, n=at_once)
    n_calls = -(-n // at_once)
    drafts = yield tuple(
        Wish(messages=question.asked(request), sample=k, stretch=at_once + 0.5) for k in range(n_calls)
    )
    answers: list[Draft] = []
    for draft in drafts:
        found = [(one.start(1), one.end(1)) for one in TAGGED.finditer(draft.text)][:at_once]
        own = [draft.part(*place) for place in found]
        own += [replace(draft, voices=(), finish="unreadable")] * (at_once - len(own))
        answers += own
    return tuple(answers[:n])


def string_seed(question: Question, n: int, fits: Fits) -> Asking:  # noqa: ARG001
    """Let the model write a random string first, and answer by it (arXiv 2510.21150); only the answer counts."""
    words = wording()["string_seed"]
    request = words["request"].format(prompt=question.prompt)
    drafts = yield tuple(Wish(messages=question.asked(request), sample=k, stretch=1.5) for k in range(n))
    answers = []
    for draft in drafts:
        place = draft.text.find(words["answer"])
        start = place + len(words["answer"])
        answers.append(
            draft.part(start, len(draft.text)) if place >= 0 else replace(draft, voices=(), finish="unreadable")
        )
    return tuple(answers)


@cache
def wording() -> Mapping[str, Any]:
    """Return what the prompting rivals say."""
    return tomllib.loads(files("baco_local.evals").joinpath("wording.toml").read_text(encoding="utf-8"))


TAGGED = re.compile(r"<answer\b[^>]*>(.*?)(?:</answer>|(?=<answer\b)|\Z)", re.DOTALL | re.IGNORECASE)
