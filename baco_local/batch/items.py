"""What a batch is made of: rows of the input, the answers wanted of each, and what became of them.

Plain values that travel between processes; knows no file and no model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

from baco_local.engine.answer import Answer
from baco_local.errors import UsageError
from baco_local.text.chat import Message
from baco_local.types import FinishReason, Role

__all__ = ["Endpoint", "Failure", "Item", "Key", "Outcome", "Row", "Shard", "Written", "digest", "items_of", "seed_of"]

SEED_BITS = 53  # what every reader of JSON can hold exactly

T = TypeVar("T")
Key: TypeAlias = "tuple[str, int]"
"""The id of a row and the number of a sample: one answer."""


class Endpoint(StrEnum):
    """Which of OpenAI's two forms a row has, and its answer will have."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the input: a prompt, and what it wants of its own."""

    line: int  # from 1
    id: str
    messages: tuple[Message, ...]
    endpoint: Endpoint = Endpoint.CHAT
    knobs: Mapping[str, Any] = field(default_factory=dict)  # settings of its own, see ``Knobs``
    seed: int | None = None  # None = that of the run
    n_samples: int | None = None  # None = as many as the run wants

    @property
    def mark(self) -> str:
        """Return a short hash of all that decides its answers; the line and the id are not part of it."""
        messages = [[message.role, message.content] for message in self.messages]
        return digest([messages, dict(self.knobs), self.seed])


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One answer that is wanted."""

    row: Row
    sample: int
    seed: int

    @property
    def key(self) -> Key:
        """Return what no other answer of the batch is called."""
        return (self.row.id, self.sample)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a finished answer leaves behind; nothing in it depends on the clock or on the answers beside it."""

    text: str
    finish: FinishReason
    stop: str | None
    n_tokens: int
    base_share: float
    switches: int
    guards: tuple[tuple[int, str], ...]  # (position, what fired)
    n_prompt: Mapping[Role, int]

    @classmethod
    def of(cls, answer: Answer) -> Written:
        """Keep of an answer what a row of the output says."""
        return cls(
            text=answer.text,
            finish=answer.finish,
            stop=answer.stop,
            n_tokens=len(answer.tokens),
            base_share=answer.base_share,
            switches=answer.switches,
            guards=tuple((event.position, event.guard) for event in answer.guards),
            n_prompt=dict(answer.usage.n_prompt),
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer."""

    kind: str  # the name of the error
    message: str


Outcome: TypeAlias = "tuple[Item, Written | Failure]"


@dataclass(frozen=True, slots=True)
class Shard:
    """Every n-th thing to do: shard i of n takes those k, counted from 0, with k mod n = i - 1."""

    index: int = 1
    count: int = 1  # 1 = everything

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/4``."""
        index, slash, count = text.partition("/")
        numbers = [part.strip() for part in (index, count)]
        if not slash or not all(number.isascii() and number.isdecimal() for number in numbers):
            raise UsageError(f"--shard {text!r} is not i/n; the second of four machines says --shard 2/4")
        shard = cls(int(index), int(count))
        if not 1 <= shard.index <= shard.count:
            raise UsageError(f"--shard {text!r}: there are shards 1/{count} to {count}/{count}")
        return shard

    def has(self, k: int) -> bool:
        """Return whether the k-th is one of this shard."""
        return k % self.count == self.index - 1

    def of(self, things: Iterable[T]) -> Iterator[T]:
        """Yield what is this shard's."""
        return (thing for k, thing in enumerate(things) if self.has(k))

    def __str__(self) -> str:
        """Return it as it is typed."""
        return f"{self.index}/{self.count}"


def items_of(rows: Iterable[Row], *, seed: int, n_samples: int) -> Iterator[Item]:
    """Yield the answers that rows want, those of one row one after the other, so that its prompt is read once."""
    for row in rows:
        base = seed if row.seed is None else row.seed
        for sample in range(row.n_samples or n_samples):
            yield Item(row=row, sample=sample, seed=seed_of(base, row.id, sample))


def seed_of(seed: int, row_id: str, sample: int) -> int:
    """Return the seed of one answer; order, shards and machines have no part in it."""
    return int.from_bytes(_hashed([seed, row_id, sample])[:8], "big") >> (64 - SEED_BITS)


def digest(value: Any) -> str:
    """Return twelve hexadecimal digits that stand for a value of JSON, whatever the order of its keys."""
    return _hashed(value)[:6].hex()


def _hashed(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).digest()
