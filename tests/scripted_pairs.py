"""Scripted pairs for tests of the engine: a few words, scripts chosen by Hypothesis, and settings of every kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from baco_local.config import BoundaryRule, Guards, StopRule
from baco_local.engine.answer import Answer
from baco_local.pair import Pair
from baco_local.routing.base import Router
from baco_local.routing.blends import BLENDS
from baco_local.routing.dial import ROUTERS
from baco_local.testing import WORDS, Script, ScriptedModel, byte_vocab, lively, scripted_pair, word_vocab
from baco_local.text.vocab import Vocab
from baco_local.types import Role

__all__ = [
    "BYTES",
    "LETTERS",
    "NO_GUARDS",
    "PROMPT",
    "SAID",
    "Scripts",
    "id_of",
    "knobs",
    "models_of",
    "same",
    "scripts",
    "towards",
    "tracks",
]

LETTERS = tuple(chr(i) for i in (9, 10, *range(32, 127)))
SAID = word_vocab((*WORDS, "don", "'t", "é", "3", ".5", "User", ":\n", *(c for c in LETTERS if c not in (*WORDS, "3"))))
BYTES = byte_vocab()
PROMPT = "Tell me."
NO_GUARDS = Guards(role_markers=False, loops=False)


def id_of(text: str) -> int:
    """Return the id of a word of ``SAID``."""
    return SAID.pieces.index(text.encode())


@dataclass(frozen=True)
class Scripts:
    """Two models as numbers, so that Hypothesis can print and shrink them."""

    base: int
    aligned: int
    spread: float
    stop_bias: float
    in_bytes: bool = False

    @property
    def vocab(self) -> Vocab:
        """Return the vocabulary of both."""
        return BYTES if self.in_bytes else SAID

    @property
    def script(self) -> dict[Role, Script]:
        """Return both scripts."""
        n = len(self.vocab)
        return {
            Role.BASE: lively(n, self.base, spread=self.spread, stop_bias=self.stop_bias - 1),
            Role.ALIGNED: lively(n, self.aligned, spread=self.spread, stop_bias=self.stop_bias),
        }

    def pair(self, **more: Any) -> Pair:
        """Return a pair of the two."""
        return scripted_pair(self.script[Role.BASE], self.script[Role.ALIGNED], vocab=self.vocab, **more)


def scripts(*, in_bytes: st.SearchStrategy[bool] | None = None) -> st.SearchStrategy[Scripts]:
    """Return a strategy for pairs of scripts."""
    return st.builds(
        Scripts,
        st.integers(0, 999),
        st.integers(0, 999),
        st.sampled_from((0.5, 2.0, 3.0, 5.0)),
        st.sampled_from((-4.0, 0.0, 2.0, 4.0)),
        st.just(False) if in_bytes is None else in_bytes,
    )


def towards(speaker: Role) -> Router:
    """Return a router of one's own that always names one model."""
    return lambda _step: speaker


knobs = st.fixed_dictionaries(
    {
        "router": st.sampled_from((*ROUTERS, *BLENDS)),
        "diversity": st.one_of(st.sampled_from((0, 10)), st.floats(0, 10).map(lambda d: round(d, 1))),
        "boundary": st.sampled_from(BoundaryRule),
        "joiners": st.booleans(),
        "start": st.sampled_from(Role),
        "stop_rule": st.sampled_from(StopRule),
        "guards": st.sampled_from((NO_GUARDS, Guards(), Guards(max_base_run=2))),
        "max_tokens": st.integers(1, 24),
        "stop": st.sampled_from(((), ("fox",), ("\n", "ed"))),
        "base_sampling": st.sampled_from(({}, {"temperature": 1.5}, {"min_p": 0.1}, {"temperature": 0.0})),
        "repeat_penalty": st.sampled_from((1.0, 1.0, 1.5)),
        "xtc_probability": st.sampled_from((0.0, 0.0, 0.5)),
    }
)


def models_of(pair: Pair) -> dict[Role, ScriptedModel]:
    """Return the two models, to look at what they were fed."""
    return pair.engine.models  # type: ignore[return-value]


def tracks(answer: Answer) -> list[tuple[int, Role, str, bool, bool, str]]:
    """Return all that was decided and said, token by token."""
    return [(t.id, t.speaker, t.reason, t.boundary, t.spoken.refused, t.text) for t in answer.tokens]


def same(one: Answer, other: Answer) -> bool:
    """Return whether two answers are the same, whatever they cost."""
    return all(
        getattr(one, name) == getattr(other, name) for name in ("text", "finish", "seed", "sample", "guards", "stop")
    ) and tracks(one) == tracks(other)
