"""Equal things for many threads, each used by one of them at a time.

Knows no model; contexts that only read are lent this way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

__all__ = ["Shared"]

Thing = TypeVar("Thing")


class Shared(Generic[Thing]):
    """Lends things; who finds all of them taken waits."""

    def __init__(self, things: Collection[Thing]) -> None:
        self._n, self._free = len(things), SimpleQueue[Thing | None]()
        for thing in things:
            self._free.put(thing)

    @contextmanager
    def one(self) -> Iterator[Thing]:
        """Lend one of them until the end of the block.

        Raises:
            ValueError: they were closed.

        """
        thing = self._free.get()
        if thing is None:
            self._free.put(None)
            raise ValueError("this model was closed")
        try:
            yield thing
        finally:
            self._free.put(thing)

    def take_back(self) -> Iterator[Thing]:
        """Lend nothing any more, wait until all are back, and yield each; a second time there is nothing to yield."""
        for _ in range(self._n):
            thing = self._free.get()
            if thing is not None:
                yield thing
        self._n = 0
        self._free.put(None)
