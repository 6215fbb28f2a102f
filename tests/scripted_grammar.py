"""A grammar without llama.cpp: it forbids a third of all tokens, others after each, and is as strict about them."""

from __future__ import annotations

from baco_local.assemble import chain_builder
from baco_local.sampling.draw import Candidates
from baco_local.sampling.sampler import Build, Chain
from baco_local.sampling.steps import Grammar, Recipe
from baco_local.types import MASKED, Row

__all__ = ["ThirdsChain", "thirds_builder"]


class ThirdsChain:
    """A chain that forbids every third token, counted from the last one, and then does what another chain does."""

    def __init__(self, rest: Chain, last: int = 1) -> None:
        self.rest, self.last = rest, last

    def apply(self, row: Row, coin: float = 0.0) -> Candidates:  # [V] -> [C]
        """Return what is allowed and left."""
        row = row.copy()
        row[[i for i in range(row.size) if not self._allows(i)]] = MASKED
        return self.rest.apply(row, coin)

    def accept(self, token: int) -> None:
        """Remember a token that was allowed; any other would end the process in llama.cpp."""
        assert self._allows(token), f"{token} after {self.last}"
        self.last = token
        self.rest.accept(token)

    def fork(self) -> ThirdsChain:
        """Return a chain with the same memory."""
        return ThirdsChain(self.rest.fork(), self.last)

    def reset(self) -> None:
        """Forget everything."""
        self.last = 1
        self.rest.reset()

    def close(self) -> None:
        """Close the other chain."""
        self.rest.close()

    def _allows(self, token: int) -> bool:
        return (token + self.last) % 3 != 0 or token in (0, 3)  # an end of turn is never forbidden


def thirds_builder(n_vocab: int) -> Build:
    """Return a builder to which every grammar is this one."""
    plain = chain_builder(None, n_vocab)

    def build(recipe: Recipe) -> Chain:
        rest = tuple(step for step in recipe if not isinstance(step, Grammar))
        return ThirdsChain(plain(rest)) if len(rest) < len(recipe) else plain(rest)

    return build
