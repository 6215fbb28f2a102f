"""The folder of a run: where each point's answers lie, and how they are read again.

Knows paths, lines and the manifest; decodes nothing and measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baco_local.batch.manifest import Manifest
from baco_local.errors import UsageError
from baco_local.evals.ways import Cost

__all__ = ["KIND", "Line", "Said", "answers_path", "lock_path", "manifest_of", "read_line", "read_point"]

KIND = "baco sweep"
NAMES = {"base": "base", "aligned": "aligned"}  # one string for all stretches of a large run


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer of a line."""

    text: str
    finish: str
    voices: tuple[tuple[str, str], ...]  # (base or aligned, stretch of text)

    @property
    def ended(self) -> bool:
        """Return whether it ended by itself."""
        return self.finish in {"end", "stop"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """All answers of one method at one point to one prompt."""

    id: str
    prompt: str
    settings: str  # the hash of what they were made with
    answers: tuple[Said, ...]
    n_tokens: int
    n_base: int
    cost: Cost
    elapsed_s: float
    n_failed: int

    def to_json(self) -> dict[str, Any]:
        """Return the object of the line, which ``baco measure`` reads too."""
        return {
            "id": self.id,
            "prompt": self.prompt,
            "settings": self.settings,
            "answers": [
                {"text": said.text, "finish": said.finish, "voices": [list(voice) for voice in said.voices]}
                for said in self.answers
            ],
            "tokens": self.n_tokens,
            "base_tokens": self.n_base,
            "cost": {
                "generated": self.cost.generated,
                "read_base": self.cost.read_base,
                "read_aligned": self.cost.read_aligned,
                "seconds": round(self.elapsed_s, 4),
            },
            "failed": self.n_failed,
        }


def read_line(record: Mapping[str, Any]) -> Line:
    """Read what ``to_json`` made."""
    cost = record["cost"]
    return Line(
        id=record["id"],
        prompt=record["prompt"],
        settings=record["settings"],
        answers=tuple(
            Said(
                text=said["text"],
                finish=said["finish"],
                voices=tuple((NAMES[role], text) for role, text in said["voices"]),
            )
            for said in record["answers"]
        ),
        n_tokens=record["tokens"],
        n_base=record["base_tokens"],
        cost=Cost(generated=cost["generated"], read_base=cost["read_base"], read_aligned=cost["read_aligned"]),
        elapsed_s=cost["seconds"],
        n_failed=record["failed"],
    )


def answers_path(folder: Path, method: str, place: int) -> Path:
    """Return the file of one point; points count from 1."""
    return folder / "answers" / f"{method}.{place}.jsonl"


def lock_path(folder: Path) -> Path:
    """Return what a process holds while it writes the manifest, and what it measures for all points."""
    return folder / "manifest.lock"


def manifest_of(folder: Path) -> Manifest | None:
    """Return what the run was made with; None where there is no run."""
    return Manifest.read(folder / "manifest.json", KIND)


def read_point(folder: Path, method: str, place: int) -> dict[str, Line]:
    """Return the lines of a point by the id of their prompt; a half-written last line is passed over."""
    path = answers_path(folder, method, place)
    return {line.id: line for line in _lines(path)} if path.exists() else {}


def _lines(path: Path) -> Iterator[Line]:
    for number, text in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not text.endswith(b"\n"):
            return
        try:
            yield read_line(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{str(path)!r}, line {number} is no line of {KIND}: {error!r}\n    take it out, and sweep again"
            ) from error
