"""What a model says of a text that somebody else wrote: its bits, a yes or no, a reward.

Asks through chat templates and frames, as a pair does; decodes nothing and knows no metric.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from baco_local.backend.base import Feed, Model
from baco_local.backend.shared import Shared
from baco_local.text.chat import ChatTemplate, Message, aligned_ids
from baco_local.text.frames import base_ids, frame
from baco_local.text.vocab import Vocab
from baco_local.types import TokenIds

__all__ = ["Rewarder", "Scorer", "Vectoriser"]

ROWS_AT_ONCE = 64  # rows of a whole vocabulary that are kept at a time
LN2 = float(np.log(2.0))


class Scorer:
    """One model that reads and does not write, in some contexts: as many threads may ask at once.

    Args:
        models: the contexts.
        template: how it is asked; None = the plain frame.

    """

    def __init__(self, models: Sequence[Model], template: ChatTemplate | None = None) -> None:
        self.vocab, self.info, self.n_at_once = models[0].vocab, models[0].info, len(models)
        self._readings, self._template = Shared([_Reading(model) for model in models]), template

    @property
    def form(self) -> str:
        """Return how it is asked, in words."""
        return "its chat template" if self._template is not None else "the plain frame Question: ... Answer:"

    def bits(self, prompt: str, text: str) -> float:
        """Return -log2 p of an answer after a prompt, asked in the model's own form."""
        return self._bits(self._asked(prompt), self.vocab.tokenize(text, trusted=False))

    def logprob(self, prompt: str, text: str) -> float:
        """Return the mean natural log-probability per token of an answer; 0 for an answer without a token."""
        ids = self.vocab.tokenize(text, trusted=False)
        return -self._bits(self._asked(prompt), ids) * LN2 / len(ids) if ids else 0.0

    def bits_after(self, prefix: str, text: str) -> float:
        """Return -log2 p of a text right after another; their tokens do not merge."""
        vocab = self.vocab
        before = vocab.tokenize(prefix, trusted=False)
        opening = [vocab.bos] if vocab.add_bos and vocab.bos is not None else []
        return self._bits([*opening, *before], vocab.tokenize(text, trusted=False))

    def chance_of_yes(self, question: str) -> float:
        """Return p(yes) / (p(yes) + p(no)) of the first token of its answer."""
        asked = self._asked(question)
        with self._readings.one() as reading:
            row = reading.rows(asked, 1)[0].astype(np.float64)
        yes, no = (
            np.logaddexp.reduce([row[self.vocab.tokenize(word, trusted=False)[0]] for word in words])
            for words in (("Yes", " Yes", "yes"), ("No", " No", "no"))
        )
        return float(1 / (1 + np.exp(no - yes)))

    def close(self) -> None:
        """Free the model."""
        for reading in self._readings.take_back():
            reading.model.close()

    def _asked(self, prompt: str) -> list[int]:
        messages = [Message("user", prompt)]
        if self._template is None:
            return base_ids(self.vocab, frame("qa"), messages)
        return aligned_ids(self.vocab, self._template, messages)

    def _bits(self, before: Sequence[int], ids: Sequence[int]) -> float:
        with self._readings.one() as reading:
            return reading.bits(before, ids)


class _Reading:
    """One context, which keeps what a text has in common with the one before."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._held: list[int] = []

    def bits(self, before: Sequence[int], ids: Sequence[int]) -> float:
        """Sum over the ids; where a text is longer than the context, each id sees at least half a context."""
        everything = [*before, *ids]
        place = max(1, len(before))  # nothing can be said of an id that has nothing before it
        total, start, room = 0.0, 0, self.model.n_ctx
        while place < len(everything):
            if place >= start + room:
                start = place - room // 2
            stop = min(len(everything), start + room, place + ROWS_AT_ONCE)
            rows = self.rows(everything[start : stop - 1], stop - place)
            total += _nats(rows, everything[place:stop])
            place = stop
        return total / LN2

    def rows(self, ids: Sequence[int], n_rows: int) -> NDArray[np.float32]:  # [n_rows, V]
        """Return the last rows after some ids, reading only what the last call did not."""
        common = sum(
            1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(self._held, ids, strict=False))
        )
        common = min(common, len(ids) - n_rows)
        if not self.model.rewind(0, common):
            common = 0
            self.model.rewind(0, 0)
        (rows,) = self.model.feed([Feed(0, common, tuple(ids[common:]), n_rows)])
        self._held = list(ids)
        return np.asarray(rows)


def _nats(rows: NDArray[np.float32], ids: Sequence[int]) -> float:  # [n, V], [n]
    peaks = rows.max(axis=1, keepdims=True)
    normalisers = peaks[:, 0] + np.log(np.exp(rows - peaks).sum(axis=1, dtype=np.float64))
    return float((normalisers - rows[np.arange(len(ids)), list(ids)]).sum())


class Vectoriser(Protocol):
    """What a rewarder needs of ``backend.embedding.Embedder``."""

    vocab: Vocab
    n_at_once: int

    def embed_ids(self, texts: Sequence[TokenIds]) -> NDArray[np.float32]:
        """Return one vector per text, [n, width]."""
        ...

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text with special tokens around it."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class Rewarder:
    """A reward model: the last state of a conversation times a row of weights, or the outputs of a classifier.

    Args:
        embedder: pools LAST with ``head``, RANK without.
        template: None = prompt and answer are read as a pair of texts, as rerankers do.
        head: [width] the row of weights; None = the embedder's own head.
        softmax: the embedder's head ends in a softmax over two labels, as llama.cpp computes Qwen3's.

    """

    def __init__(
        self,
        embedder: Vectoriser,
        template: ChatTemplate | None,
        head: NDArray[np.float32] | None = None,
        *,
        softmax: bool = False,
    ) -> None:
        self._embedder, self._template, self._head, self._softmax = embedder, template, head, softmax
        self.n_at_once = embedder.n_at_once  # threads that may ask

    def __call__(self, prompt: str, answers: Sequence[str]) -> list[float]:
        """Return one reward per answer."""
        outputs = self._embedder.embed_ids([self._ids(prompt, answer) for answer in answers]).astype(np.float64)
        if self._head is not None:
            return [float(reward) for reward in outputs @ self._head.astype(np.float64)]
        if self._softmax:
            return [float(np.log(p[0]) - np.log(p[1])) for p in np.maximum(outputs, 1e-30)]
        return [float(reward) for reward in outputs[:, 0]]

    def close(self) -> None:
        """Free the model."""
        self._embedder.close()

    def _ids(self, prompt: str, answer: str) -> list[int]:
        vocab = self._embedder.vocab
        if self._template is not None:
            turns = [Message("user", prompt), Message("assistant", answer)]
            return aligned_ids(vocab, self._template, turns, open_turn=False)
        return [*self._embedder.ids(prompt), *self._embedder.ids(answer)[int(vocab.add_bos) :]]
