"""One row becomes one token: the recipe of a side shapes the row, the address draws.

Knows no model and no llama.cpp; what a recipe does to a row is the matter of a ``Chain`` that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeAlias

import numpy as np

from baco_local.sampling.draw import Address, Candidates, Stream, coin, draw, temper
from baco_local.sampling.steps import Recipe, Temperature, Xtc, stateless
from baco_local.types import MASKED, Role, Row

__all__ = ["Build", "Chain", "Sampler", "TemperatureChain", "build_plainly"]


class Chain(Protocol):
    """A recipe at work on one sequence: it remembers what the answer holds, and draws nothing itself."""

    def apply(self, row: Row, coin: float = 0.0) -> Candidates:  # [V] -> [C]
        """Return the tokens that the recipe leaves; XTC acts where the coin lies below its probability."""
        ...

    def accept(self, token: int) -> None:
        """Remember a token that was said."""
        ...

    def fork(self) -> Chain:
        """Return a chain with the same memory; the two never notice each other."""
        ...

    def reset(self) -> None:
        """Forget everything that was accepted."""
        ...

    def close(self) -> None:
        """Let go of what it holds; it must not be used afterwards."""
        ...


Build: TypeAlias = Callable[[Recipe], Chain]


class TemperatureChain:
    """A chain that divides by temperatures and does nothing else."""

    def __init__(self, *temperatures: float) -> None:
        self._temperatures = temperatures
        self._ids = np.empty(0, np.int32)

    def apply(self, row: Row, coin: float = 0.0) -> Candidates:  # [V] -> [V]  # noqa: ARG002
        """Return every token, at its temperature."""
        if self._ids.size != row.size:
            self._ids = np.arange(row.size, dtype=np.int32)
        left = Candidates(self._ids, row)
        for temperature in self._temperatures:
            left = temper(left, temperature)
        return left

    def accept(self, token: int) -> None:
        """Remember nothing."""

    def fork(self) -> TemperatureChain:
        """Return itself: there is no memory to part."""
        return self

    def reset(self) -> None:
        """Forget nothing."""

    def close(self) -> None:
        """Hold nothing."""


def build_plainly(recipe: Recipe, build: Build) -> Chain:
    """Return a numpy chain for a recipe of nothing but temperatures, else what ``build`` makes of it."""
    temperatures = [step.t for step in recipe if isinstance(step, Temperature)]
    return TemperatureChain(*temperatures) if len(temperatures) == len(recipe) else build(recipe)


class Sampler:
    """The chains of one sequence: one, or one per side where the sides are sampled differently."""

    __slots__ = ("_chains", "_coins", "_own")

    def __init__(self, recipe: Recipe, build: Build, sides: Mapping[Role, Recipe] | None = None) -> None:
        """Build the chains; ``sides`` holds the recipes of sides that do not use the common one."""
        recipes = dict.fromkeys(Role, recipe) | dict(sides or {})
        made = {each: build_plainly(each, build) for each in set(recipes.values())}
        self._chains = {role: made[recipes[role]] for role in Role}
        self._coins = {role: any(isinstance(step, Xtc) for step in recipes[role]) for role in Role}
        self._own = [chain for each, chain in made.items() if not stateless(each)]

    def pick(self, row: Row, at: Address, banned: Collection[int] = ()) -> int:  # [V] -> id
        """Draw a token as the side of this stream would; banned tokens are gone before the first step.

        Raises:
            BacoError: no token can be drawn.
            GrammarError: the grammar leaves none.

        """
        if banned:
            row = row.copy()
            row[list(banned)] = MASKED
        role, xtc_stream = SIDES[at.stream]
        toss = coin(at._replace(stream=xtc_stream)) if self._coins[role] else 0.0
        return draw(self._chains[role].apply(row, toss), at)

    def accept(self, token: int) -> None:
        """Remember a token of the answer, whoever said it."""
        for chain in self._own:
            chain.accept(token)

    def fork(self) -> Sampler:
        """Return a sampler with the same memory; chains without memory are shared."""
        twin = Sampler.__new__(Sampler)
        parted = {id(chain): chain.fork() for chain in self._own}
        twin._chains = {role: parted.get(id(chain), chain) for role, chain in self._chains.items()}
        twin._coins = self._coins
        twin._own = list(parted.values())
        return twin

    def reset(self) -> None:
        """Forget the answer."""
        for chain in self._own:
            chain.reset()

    def close(self) -> None:
        """Let go of the chains that are this sampler's own; shared ones live as long as their last user."""
        for chain in self._own:
            chain.close()


SIDES: dict[Stream, tuple[Role, Stream]] = {  # a stream that draws -> whose recipe, and which coin XTC tosses
    Stream.BASE: (Role.BASE, Stream.XTC_BASE),
    Stream.ALIGNED: (Role.ALIGNED, Stream.XTC_ALIGNED),
    Stream.REDRAW: (Role.BASE, Stream.XTC_BASE),  # the same cut as the draw that it replaces
}
