"""What comes out of the engine: tokens as they are said, and finished answers.

Plain values; knows no model and prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from baco_local.types import FinishReason, Role, SideRecord, Spoken

__all__ = ["Answer", "GuardEvent", "Token", "Usage"]


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer, when its text is settled.

    The texts of an answer's tokens, joined, are the answer's text. A text is empty where a token only begins a
    character that the next one completes.
    """

    text: str
    spoken: Spoken
    position: int  # number of answer tokens before it
    elapsed_s: float  # since the request was submitted

    @property
    def id(self) -> int:
        """Return the token id."""
        return self.spoken.id

    @property
    def speaker(self) -> Role:
        """Return the model that wrote it."""
        return self.spoken.speaker

    @property
    def reason(self) -> str:
        """Return the rule that chose the speaker."""
        return self.spoken.reason

    @property
    def boundary(self) -> bool:
        """Return whether the speaker could have changed here."""
        return self.spoken.boundary

    @property
    def base(self) -> SideRecord | None:
        """Return what the base model thought; None unless recorded."""
        return self.spoken.base

    @property
    def aligned(self) -> SideRecord | None:
        """Return what the aligned model thought; None unless recorded."""
        return self.spoken.aligned


@dataclass(frozen=True, slots=True)
class GuardEvent:
    """A drift guard that fired."""

    position: int
    guard: str  # "role marker", "loop", "base run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an answer cost."""

    n_prompt: Mapping[Role, int]  # tokens of each model's prompt
    n_prompt_cached: Mapping[Role, int]  # of these, how many were in the KV cache already
    n_decoded: Mapping[Role, int]  # answer tokens that each model has read
    n_decodes: Mapping[Role, int]  # in how many decodes; one per token but the first, where a model misses none
    elapsed_s: float
    first_token_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A finished answer, or what there is of one."""

    text: str
    tokens: tuple[Token, ...]
    finish: FinishReason
    seed: int
    sample: int
    usage: Usage
    guards: tuple[GuardEvent, ...] = ()
    stop: str | None = None  # the stop string that ended it
    end: Spoken | None = None  # the end-of-turn decision, when finish is END
    prompt: int = field(default=0)  # the index of its prompt in the call

    @property
    def base_share(self) -> float:
        """Return base tokens / all tokens; 0 for an empty answer."""
        return sum(token.speaker is Role.BASE for token in self.tokens) / max(1, len(self.tokens))

    @property
    def switches(self) -> int:
        """Return how often the speaker changed."""
        return sum(a.speaker is not b.speaker for a, b in zip(self.tokens, self.tokens[1:], strict=False))

    @property
    def tokens_per_s(self) -> float:
        """Return the speed after the first token; 0 where it cannot be told."""
        if self.usage.first_token_s is None or len(self.tokens) < 2:
            return 0.0
        return (len(self.tokens) - 1) / max(1e-9, self.usage.elapsed_s - self.usage.first_token_s)
