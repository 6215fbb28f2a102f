"""How an answer may go on: a voice speaks on in an answer that is only foreseen, and is not held to it.

Good enough to guess with: text, speaker, sampler and guards are followed, cuts and loops are not. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from collections.abc import Sequence as Items
from dataclasses import replace
from typing import Protocol

import numpy as np

from baco_local.config import DecodeOptions
from baco_local.engine.sequence import Sequence
from baco_local.errors import BacoError
from baco_local.sampling.sampler import Sampler
from baco_local.scheduling.base import Reader, Voice
from baco_local.text.shared import SharedVocab
from baco_local.types import MASKED, Detail, Role, Row, Spoken

__all__ = ["Foreseen", "Guesses", "Scene"]


class Scene(Protocol):
    """What a voice looks at: an answer so far, said or foreseen."""

    vocab: SharedVocab
    options: DecodeOptions
    seed: int
    sample: int
    can_cut: bool
    ids: list[int]
    active: Role
    barred: int
    silenced: bool
    base_run: int

    @property
    def text(self) -> str:
        """Return everything that was said."""
        ...


class Foreseen:
    """An answer some guesses later."""

    __slots__ = (
        "active",
        "barred",
        "base_run",
        "can_cut",
        "ids",
        "options",
        "sample",
        "seed",
        "silenced",
        "text",
        "vocab",
    )

    def __init__(self, sequence: Sequence) -> None:
        self.vocab, self.options, self.can_cut = sequence.vocab, sequence.options, sequence.can_cut
        self.seed, self.sample = sequence.seed, sequence.sample
        self.ids, self.text, self.active = list(sequence.ids), sequence.text, sequence.active
        self.barred, self.silenced, self.base_run = sequence.barred, sequence.silenced, sequence.base_run
        if self.options.detail is not Detail.ROUTE:
            self.options = replace(self.options, detail=Detail.ROUTE)

    def accept(self, spoken: Spoken) -> None:
        """Take a guess as said."""
        if spoken.boundary:
            self.barred = max(0, self.barred - 1)
            self.base_run = self.base_run + 1 if spoken.speaker is Role.BASE else 0
        self.ids.append(spoken.id)
        self.active = spoken.speaker
        self.text += self.vocab.pieces[spoken.id].decode("utf-8", "ignore")


class Guesses:
    """Fulfils ``scheduling.base.Foresight``: the voice itself guesses, with one row standing for those of both models.

    So a guess meets the noise of the side that is expected to speak, and stands far more often than a draw of the
    drafter's own.
    """

    def __init__(self, sequence: Sequence, sampler: Sampler, speak: Callable[[Scene, Sampler], Voice]) -> None:
        self._sequence, self._sampler, self._speak = sequence, sampler, speak
        self._scene: Foreseen | None = None
        self._fork: Sampler | None = None
        self._voice: Voice | None = None

    @property
    def known(self) -> Items[int]:
        """Return the aligned model's prompt and the answer so far."""
        return [*self._sequence.prompts[Role.ALIGNED], *self._sequence.ids]

    def room(self, readers: Collection[Reader]) -> int:
        """Return how many tokens may still be said, and read by these models."""
        return self._sequence.room(readers)

    def readable(self, token: int) -> bool:
        """Return whether a token may be part of an answer, so that every model can read it."""
        return token not in self._sequence.vocab.unspoken

    def guess(self, row: Row) -> int | None:  # [V] -> id
        """Return what would be said next if this row were both models'; None = an end, or nothing can be drawn."""
        if self._scene is None or self._fork is None or self._voice is None:
            self._scene, self._fork = Foreseen(self._sequence), self._sampler.fork()
            self._voice = self._speak(self._scene, self._fork)
        width = len(self._scene.vocab.pieces)
        try:
            said = self._voice.say({role: _of_width(row, width) for role in Role})
        except BacoError:  # the grammar may leave nothing of a foreign row; the true one is judged later
            return None
        if isinstance(said, Role) or said.ends or not self.readable(said.id):
            return None
        self._scene.accept(said)
        self._fork.accept(said.id)
        return said.id

    def close(self) -> None:
        """Let go of the sampler's memory of the guesses."""
        if self._fork is not None:
            self._fork.close()


def _of_width(row: Row, width: int) -> Row:  # [V] -> [width]
    """Return a copy, cut or filled up with masked logits."""
    if row.size == width:
        return row.copy()
    fitting = np.full(width, MASKED, np.float32)
    n = min(width, row.size)
    fitting[:n] = row[:n]
    return fitting
