"""What was asked for and can be checked without a judge: topic, length, words, JSON, an end, no loop.

Reads a prompt's plain English as far as a few patterns go, or constraints that are written beside it; knows no model.
The idea is IFEval's (arXiv 2311.07911); the patterns are ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from baco_local.errors import UsageError
from baco_local.metrics.texts import ends, loops, sentences

__all__ = ["Constraints", "Span", "asked", "check", "read_constraints", "share_met"]


@dataclass(frozen=True, slots=True)
class Span:
    """A count that must lie between two bounds; None = no bound."""

    least: int | None = None
    most: int | None = None

    def holds(self, n: int) -> bool:
        """Tell whether a count lies inside."""
        return (self.least is None or n >= self.least) and (self.most is None or n <= self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What an answer must be; None and () ask for nothing."""

    words: Span | None = None
    sentences: Span | None = None
    lines: Span | None = None
    paragraphs: Span | None = None
    topic: tuple[str, ...] = ()  # each word must be met, in the singular or plural
    contains: tuple[str, ...] = ()  # each text must be met, in any case of letters
    excludes: tuple[str, ...] = ()
    json: bool = False


def asked(prompt: str) -> Constraints:
    """Return what a prompt asks for in words that can be counted: a topic after "about", a number of sentences."""
    spans: dict[str, Span] = {}
    for found in COUNT.finditer(prompt):
        unit = found["unit"].lower()
        spans.setdefault(f"{unit}s", _span(found["bound"], _number(found["n"]), exact=unit != "word"))
    return Constraints(topic=_topic(prompt), **spans)  # type: ignore[arg-type]


def read_constraints(record: Mapping[str, Any]) -> Constraints:
    """Read constraints from JSON: ``{"words": [50, 100], "contains": ["fox"], "json": true}``."""
    known = {field.name for field in fields(Constraints)}
    if unknown := sorted(record.keys() - known):
        raise UsageError(f"there is no constraint {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for name, value in record.items():
        if name == "json":
            values[name] = bool(value)
        elif name in COUNTS:
            values[name] = _read_span(name, value)
        else:
            texts = [value] if isinstance(value, str) else value
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise UsageError(f"the constraint {name!r} is {value!r}; give a text or a list of texts")
            values[name] = tuple(texts)
    return Constraints(**values)


def check(wanted: Constraints, text: str, *, ended: bool | None = None) -> dict[str, bool]:
    """Return constraint -> met; that an answer is not empty, ends and does not loop is always asked.

    Args:
        wanted: what was asked for.
        text: the answer, uncut.
        ended: whether it ended by itself; None = not known, so its last sign decides.

    """
    found = {
        "not empty": bool(text.strip()),
        "ends": ends(text) if ended is None else ended,
        "no loop": not loops(text),
    }
    for name, count in COUNTS.items():
        span: Span | None = getattr(wanted, name)
        if span is not None:
            found[name] = span.holds(count(text))
    lower = text.lower()
    if wanted.topic:
        found["topic"] = all(_mentions(word, lower) for word in wanted.topic)
    if wanted.contains:
        found["contains"] = all(part.lower() in lower for part in wanted.contains)
    if wanted.excludes:
        found["excludes"] = not any(part.lower() in lower for part in wanted.excludes)
    if wanted.json:
        found["json"] = _is_json(text)
    return found


def share_met(wanted: Constraints, text: str, *, ended: bool | None = None) -> float:
    """Return the share of constraints that an answer meets; 0 for an empty answer, whatever else it meets."""
    found = check(wanted, text, ended=ended)
    return sum(found.values()) / len(found) if found["not empty"] else 0.0


def _span(bound: str | None, n: int, *, exact: bool) -> Span:
    words = (bound or "").lower()
    if re.search(r"least|more than|over", words):
        return Span(least=n)
    if re.search(r"most|than|under|below|up to|within|max", words):
        return Span(most=n)
    if exact and not re.search(r"about|around|roughly|approx", words):
        return Span(n, n)
    return Span(round(0.8 * n), round(1.2 * n))  # nobody counts words to the last one


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else NUMBERS.index(text.lower()) + 1


def _topic(prompt: str) -> tuple[str, ...]:
    found = TOPIC.search(prompt)
    if found is None:
        return ()
    parts = re.split(r"\s+and\s+|\s*,\s*", found["topic"])
    nouns = (NOT_LAST.sub("", re.sub(r"[^\w\s'-]", "", part).strip()) for part in parts)
    return tuple(noun.split()[-1].lower() for noun in nouns if noun.split())


def _mentions(word: str, lower: str) -> bool:
    """Tell whether a noun stands in a text, as it is or in the other number."""
    forms = {word, f"{word}s", f"{word}es", re.sub("y$", "ies", word), re.sub("ies$", "y", word)}
    if word.endswith("s") and not word.endswith("ss"):
        forms.add(word[:-1])
    return re.search(rf"\b(?:{'|'.join(map(re.escape, sorted(forms)))})\b", lower) is not None


def _read_span(name: str, value: Any) -> Span:
    if isinstance(value, int) and not isinstance(value, bool):
        return Span(value, value)
    if isinstance(value, list) and len(value) == 2 and all(n is None or isinstance(n, int) for n in value):
        return Span(*value)
    raise UsageError(f"the constraint {name!r} is {value!r}; give a number, or [least, most] with null for no bound")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


COUNTS: dict[str, Callable[[str], int]] = {
    "words": lambda text: len(text.split()),
    "sentences": lambda text: len(sentences(text)),
    "lines": lambda text: sum(bool(line.strip()) for line in text.splitlines()),
    "paragraphs": lambda text: sum(bool(part.strip()) for part in re.split(r"\n\s*\n", text)),
}
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
COUNT = re.compile(
    rf"(?P<bound>at least|at most|no more than|not more than|more than|fewer than|less than|under|below|over|up to|"
    rf"within|maximum of|max|about|around|roughly|approximately|exactly)?\s*\b(?P<n>\d{{1,4}}|{'|'.join(NUMBERS)})"
    rf"(?:-|\s+)(?:\w+\s+)?(?P<unit>word|sentence|line|paragraph)s?\b",
    re.IGNORECASE,
)
TOPIC = re.compile(
    r"\b(?:story|tale|poem|haiku|limerick|song|joke|fable|riddle|essay|paragraph|sentences?|lines?|something)\s+about\s+"
    r"(?P<topic>[^.?!:;\n]+?)(?=\s+(?:who|whose|that|which|where|when|while|in|on|at|with|for|from|of|trying|called|"
    r"named|using)\b|[.?!:;\n]|$)",
    re.IGNORECASE,
)
NOT_LAST = re.compile(r"^(?:an?|the|his|her|their|its|my|your|our|some|two|three|being|how)\s+", re.IGNORECASE)
