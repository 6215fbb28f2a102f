"""What a study asks: prompts with their paraphrases, tasks and constraints, out of the files that batch reads too.

Reads files of prompts and knows no model and no method.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baco_local.batch.inputs import Input
from baco_local.batch.items import Row
from baco_local.errors import UsageError
from baco_local.metrics.constraints import read_constraints
from baco_local.text.chat import Message

__all__ = ["Question", "read_questions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prompt of a study."""

    id: str
    messages: tuple[Message, ...]  # ends with what the user wants
    paraphrases: tuple[str, ...] = ()  # the same in other words
    task: str = ""  # prompts of one task are averaged before tasks are
    constraints: Mapping[str, Any] | None = None  # as they are written; None = what the prompt's own words say

    @property
    def prompt(self) -> str:
        """Return what the user wants."""
        return self.messages[-1].content

    def asked(self, prompt: str) -> tuple[Message, ...]:
        """Return the conversation with its last words replaced."""
        return (*self.messages[:-1], Message("user", prompt))


def read_questions(path: Path) -> tuple[Question, ...]:
    """Read prompts as ``baco batch`` does, with ``paraphrases``, ``task`` and ``constraints`` where they are given."""
    with Input.open(path) as file:
        file.check()
        rows = tuple(file.rows())
    lines = path.read_bytes().split(b"\n")
    return tuple(_question(row, _record(lines[row.line - 1]), path.name) for row in rows)


def _record(line: bytes) -> Mapping[str, Any]:
    text = line.decode("utf-8-sig").strip()
    return json.loads(text) if text.startswith("{") else {}


def _question(row: Row, record: Mapping[str, Any], name: str) -> Question:
    if row.knobs or row.seed is not None or row.n_samples is not None:
        raise UsageError(
            f"{name!r}, line {row.line} has settings of its own; in a study all prompts are asked alike: remove them"
        )
    paraphrases = record.get("paraphrases", record.get("prompt_paraphrases")) or []
    if not isinstance(paraphrases, list) or not all(isinstance(text, str) and text.strip() for text in paraphrases):
        raise UsageError(f"{name!r}, line {row.line}: paraphrases is {paraphrases!r}; give a list of texts")
    constraints = record.get("constraints")
    if constraints is not None:
        if not isinstance(constraints, dict):
            raise UsageError(f"{name!r}, line {row.line}: constraints is {constraints!r}; give an object")
        read_constraints(constraints)  # refuses what is no constraint
    return Question(
        id=row.id,
        messages=row.messages,
        paraphrases=tuple(paraphrases),
        task=str(record.get("task", "")),
        constraints=constraints,
    )
