"""Anybody's answers out of JSON lines: rows of baco batch and baco run, OpenAI batch output, NoveltyBench, plain rows.

Takes lines and gives answers grouped by prompt; opens no file and computes no metric.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from baco_local.errors import UsageError
from baco_local.metrics.constraints import Constraints, asked, read_constraints

__all__ = ["AnswerFile", "Answered", "dealt", "paired", "parse_answers", "parse_prompts"]

ONE = ("output", "response", "completion", "answer", "generation", "text")  # a field with one answer
MANY = ("generations", "outputs", "responses", "completions", "answers", "texts", "samples")  # a field with several
UNENDED = ("length", "context", "cancelled")  # of finish_reason


class Answer(NamedTuple):
    """One answer as a row has it."""

    text: str
    ended: bool | None = None  # by itself; None = the row does not say
    sample: int | None = None  # its number among the answers to its prompt; None = the row does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """All answers to one prompt, in the order of their numbers, or of their lines where they have none."""

    key: str  # the prompt, or the id where the file has no prompt
    prompt: str = ""
    texts: tuple[str, ...] = ()
    ended: tuple[bool | None, ...] = ()  # by itself; None = the file does not say
    constraints: Constraints | None = None  # written in the file; None = read out of the prompt

    @property
    def asked(self) -> Constraints:
        """Return what the answers are held to."""
        return asked(self.prompt) if self.constraints is None else self.constraints


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFile:
    """The answers of one method."""

    name: str
    prompts: tuple[Answered, ...]
    n_failed: int = 0  # rows that hold an error instead of an answer

    @property
    def n_answers(self) -> int:
        """Return how many answers there are."""
        return sum(len(each.texts) for each in self.prompts)


def parse_answers(lines: Iterable[str], name: str, prompts: Mapping[str, str] | None = None) -> AnswerFile:
    """Group the answers of a file by prompt, or by id where a row has no prompt.

    Args:
        lines: JSON lines; empty ones are passed over.
        name: of the file, for messages.
        prompts: id -> prompt, for files that name their prompts by id alone, as OpenAI batch output does.

    Raises:
        UsageError: a line is not JSON, or holds no answer.

    """
    answers: dict[str, list[Answer]] = {}
    prompt_of: dict[str, str] = {}
    constraints: dict[str, Constraints] = {}
    n_failed = 0
    for number, row in _rows(lines, name):
        identity = _identity(row)
        prompt = _prompt(row) or (prompts or {}).get(identity, "")
        key = prompt or identity
        if row.get("error"):
            n_failed += 1
            continue
        found = _answers(row)
        if found is None:
            known = ", ".join((*ONE, *MANY, "choices", "response.body"))
            raise UsageError(f"{name}, line {number}: no answer in {sorted(row)}\n    fields that are read: {known}")
        prompt_of.setdefault(key, prompt)
        if isinstance(row.get("constraints"), Mapping):
            constraints[key] = read_constraints(row["constraints"])
        answers.setdefault(key, []).extend(found)
    if not answers:
        raise UsageError(f"{name} holds no answers" + (f", but {n_failed} errors" if n_failed else ""))
    return AnswerFile(
        name=name,
        prompts=tuple(
            Answered(
                key=key,
                prompt=prompt_of[key],
                texts=tuple(answer.text for answer in own),
                ended=tuple(answer.ended for answer in own),
                constraints=constraints.get(key),
            )
            for key, own in ((key, _in_order(own)) for key, own in answers.items())
        ),
        n_failed=n_failed,
    )


def _in_order(answers: list[Answer]) -> list[Answer]:
    """Sort answers by their numbers, for rows are written as they are finished."""
    if any(answer.sample is None for answer in answers):
        return answers
    return sorted(answers, key=lambda answer: answer.sample or 0)


def parse_prompts(lines: Iterable[str], name: str) -> dict[str, str]:
    """Return id -> prompt of ``{"id", "prompt"}``, ``{"id", "messages"}`` and OpenAI batch lines."""
    return {identity: _prompt(row) for _, row in _rows(lines, name) if (identity := _identity(row))}


def paired(first: AnswerFile, second: AnswerFile) -> tuple[tuple[AnswerFile, AnswerFile], int]:
    """Keep the prompts that both files have, in the order of the first; return how many were left out, too."""
    theirs = {each.key: each for each in second.prompts}
    ours = [each for each in first.prompts if each.key in theirs]
    if not ours:
        raise UsageError(
            f"{first.name} and {second.name} have no prompt in common: their first are "
            f"{first.prompts[0].key[:60]!r} and {second.prompts[0].key[:60]!r}"
        )
    kept = (
        AnswerFile(name=first.name, prompts=tuple(ours), n_failed=first.n_failed),
        AnswerFile(name=second.name, prompts=tuple(theirs[each.key] for each in ours), n_failed=second.n_failed),
    )
    return kept, len(first.prompts) + len(second.prompts) - 2 * len(ours)


def dealt(prompts: Sequence[Answered], size: int, seed: int) -> list[Answered]:
    """Deal the first answer to each prompt into sets of ``size``; the rest that fills no set is left out.

    The deal depends on the seed and the number of prompts alone, so that two files with the same prompts are dealt
    alike and can be paired.
    """
    order = np.random.default_rng(seed).permutation(len(prompts))
    hands = [
        [prompts[place] for place in order[start : start + size]]
        for start in range(0, len(prompts) - len(prompts) % size, size)
    ]
    return [
        Answered(
            key=f"set {number}",
            texts=tuple(each.texts[0] for each in hand),
            ended=tuple(each.ended[0] if each.ended else None for each in hand),
        )
        for number, hand in enumerate(hands, start=1)
    ]


def _rows(lines: Iterable[str], name: str) -> Iterable[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file with their line numbers."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(
                f"{name}, line {number} is not JSON: {error}\n    wanted: one object per line, see: baco measure --help"
            ) from error
        if not isinstance(row, dict):
            raise UsageError(f"{name}, line {number} is {line.strip()[:60]!r}; wanted: one JSON object per line")
        yield number, row


def _identity(row: Mapping[str, Any]) -> str:
    for name in ("custom_id", "id", "prompt_id", "question_id"):
        if row.get(name) not in (None, ""):
            return str(row[name])
    return ""


def _prompt(row: Mapping[str, Any]) -> str:
    """Return what was asked: a text, or the last user message of a conversation."""
    for name in ("prompt", "messages", "instruction", "question", "input"):
        value = row.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, Sequence) and value and all(isinstance(turn, Mapping) for turn in value):
            said = [str(turn.get("content", "")) for turn in value if turn.get("role") == "user"]
            return said[-1] if said else ""
    body = row.get("body")
    return _prompt(body) if isinstance(body, Mapping) else ""


def _answers(row: Mapping[str, Any]) -> list[Answer] | None:
    """Return the answers of a row; None where there is no such field."""
    response = row.get("response")
    if isinstance(response, Mapping):
        body = response.get("body", response)
        return _answers(body) if isinstance(body, Mapping) else None
    if isinstance(row.get("choices"), Sequence):
        return [_choice(choice) for choice in row["choices"]]
    for name in MANY:
        if isinstance(row.get(name), Sequence) and not isinstance(row[name], str):
            return [answer for each in row[name] for answer in _one(each)]
    for name in ONE:
        if isinstance(row.get(name), str):
            return [Answer(row[name], _end(row), _sample(row))]
    return None


def _one(value: Any) -> list[Answer]:
    return [Answer(value)] if isinstance(value, str) else (_answers(value) or []) if isinstance(value, Mapping) else []


def _choice(choice: Mapping[str, Any]) -> Answer:
    message = choice.get("message")
    text = message.get("content") if isinstance(message, Mapping) else choice.get("text")
    return Answer(text or "", _end(choice), _sample(choice))


def _sample(row: Mapping[str, Any]) -> int | None:
    own = row.get("baco")
    number = row.get("sample", own.get("sample") if isinstance(own, Mapping) else None)
    return number if isinstance(number, int) else None


def _end(row: Mapping[str, Any]) -> bool | None:
    own = row.get("baco")
    reason = row.get("finish_reason", row.get("finish", own.get("finish") if isinstance(own, Mapping) else None))
    return None if reason is None else reason not in UNENDED
