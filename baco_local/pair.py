"""The pair as a user of the library meets it: load, stream, generate.

Turns prompts into ids and requests into engine work; knows no llama.cpp and prints nothing. Not thread-safe: one
thread at a time may use a pair; ``Stream.cancel`` and ``Stream.diversity`` may be touched from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, Unpack

from baco_local.engine.answer import Answer, Token
from baco_local.settings import Knobs, Settings
from baco_local.types import Role, Spoken

if TYPE_CHECKING:
    from baco_local.backend.base import ModelInfo
    from baco_local.catalog import PairCard
    from baco_local.text.chat import Message

__all__ = ["Job", "Pair", "Prompt", "Stream"]

Prompt: TypeAlias = "str | Sequence[Message]"
"""One user message, or a whole conversation that ends with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One answer that is wanted."""

    prompt: Prompt
    settings: Settings = field(default_factory=Settings)
    seed: int = 0
    sample: int = 0
    begun: tuple[Spoken, ...] = ()  # how the answer begins, already decided: it is continued, not said again


class Stream(Iterator[Token]):
    """An answer while it is being written."""

    seed: int
    sample: int

    def __next__(self) -> Token: ...

    @property
    def answer(self) -> Answer:
        """Return the answer so far; finished once the iterator is exhausted."""
        ...

    @property
    def diversity(self) -> float:
        """Return where the dial stands; set it to move the dial from the next token on."""
        ...

    @diversity.setter
    def diversity(self, value: float) -> None: ...

    def cancel(self) -> None:
        """End the answer at the next token, also during a long prompt; its text so far stays."""
        ...


class Pair:
    """Two models that write one text."""

    name: str
    card: PairCard | None
    settings: Settings  # the defaults of this pair: its card's recommendations over baco's own
    notes: tuple[str, ...]  # what the user should know about this pairing, worst first
    infos: dict[Role, ModelInfo]
    n_ctx: int
    n_parallel: int  # answers decoded together; more are queued
    pieces: tuple[bytes, ...]  # [V] token id -> bytes, for showing alternatives

    def stream(
        self,
        prompt: Prompt,
        *,
        settings: Settings | None = None,
        system: str | None = None,
        seed: int | None = None,
        sample: int = 0,
        begun: Sequence[Spoken] = (),
        **knobs: Unpack[Knobs],
    ) -> Stream:
        """Start one answer and return it as an iterator of tokens; seed None = a random one, see ``Stream.seed``."""
        ...

    def interleave(self, jobs: Sequence[Job]) -> Iterator[tuple[Stream, Token]]:
        """Decode several answers together and yield their tokens as they come, each with its stream."""
        ...

    def start(self, jobs: Sequence[Job]) -> list[Stream]:
        """Queue several answers that decode together; iterate any of them, or all through ``interleave``."""
        ...

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        settings: Settings | None = None,
        system: str | None = None,
        n: int = 1,
        first_sample: int = 0,
        seed: int | None = None,
        on_token: Callable[[int, int, Token], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        **knobs: Unpack[Knobs],
    ) -> list[Answer]:
        """Return n answers per prompt, ordered by prompt and sample; sample k is the same text in every call."""
        ...

    def close(self) -> None:
        """Free both models."""
        ...

    def __enter__(self) -> Pair: ...

    def __exit__(self, *_: object) -> None: ...
