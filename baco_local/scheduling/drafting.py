"""Where guesses come from: a model that writes ahead, or a place where the same words stood before.

A drafter only proposes; whatever it proposes, what is said stays the same. It knows no router and no model.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from baco_local.scheduling.base import Ask, Foresight, Reader
from baco_local.types import Role, Row, Rows, TokenIds

__all__ = ["Draft", "Drafter", "Drafting", "by_lookup", "by_model", "continuation"]

LONGEST_SUFFIX, SHORTEST_SUFFIX = 4, 2  # tokens at the end that are looked for


@dataclass(frozen=True, slots=True)
class Draft:
    """Guesses, and what a drafter of the pair has read for them."""

    ids: tuple[int, ...] = ()
    rows: Mapping[Role, Sequence[Row]] = field(default_factory=dict)  # row i stands before guess i


Drafting: TypeAlias = Generator[tuple[Ask, ...], tuple[Rows, ...], Draft]

Drafter: TypeAlias = Callable[[Foresight, int], Drafting]
"""Asks for rows if it wants any, and returns at most so many guesses."""


def by_model(reader: Reader) -> Drafter:
    """Let a model write ahead, token by token."""

    def draft(foresight: Foresight, n_most: int) -> Drafting:
        ids: tuple[int, ...] = ()
        rows: list[Row] = []
        for _ in range(min(n_most, foresight.room((reader,)))):
            ((row,),) = yield (Ask(reader, ids),)
            rows.append(row.copy())
            token = foresight.guess(row)
            if token is None:
                break
            ids = (*ids, token)
        return Draft(ids, {reader: rows} if isinstance(reader, Role) and rows else {})

    return draft


def by_lookup(foresight: Foresight, n_most: int) -> Drafting:
    """Go on as the text went on where its last tokens stood before; costs nothing."""
    ids = []
    for token in continuation(foresight.known, n_most):
        if not foresight.readable(token):
            break
        ids.append(token)
    return Draft(tuple(ids))
    yield ()  # a generator that asks for nothing


def continuation(known: TokenIds, n_most: int) -> TokenIds:
    """Return what followed the latest earlier place where the last few tokens stood, the longest match first."""
    packed = array("i", known)
    size, data = packed.itemsize, packed.tobytes()
    for n in range(min(LONGEST_SUFFIX, len(known) - 1), SHORTEST_SUFFIX - 1, -1):
        suffix, end = data[-n * size :], len(data) - 1
        while (at := data.rfind(suffix, 0, end)) >= 0:
            if at % size == 0:
                first = at // size + n
                return known[first : first + n_most]
            end = at + len(suffix) - 1  # bytes of two neighbours, by chance
    return ()
