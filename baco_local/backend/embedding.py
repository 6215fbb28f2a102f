"""llama.cpp as a reader of whole texts: one vector per text, pooled over its tokens, or the outputs of a classifier.

Speaks only the C functions, as ``llama`` does; knows no prompt and what nobody's vectors mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

import llama_cpp as lc
import numpy as np
from numpy.typing import NDArray

from baco_local.backend.gguf_file import read_header
from baco_local.backend.llama import Weights, recent_log
from baco_local.backend.machine import threads_for, usable_cores
from baco_local.backend.shared import Shared
from baco_local.config import LoadOptions
from baco_local.errors import BackendError, ModelFileError
from baco_local.types import TokenIds

__all__ = ["Embedder", "Pooling", "open_embedder"]

MOST_TOKENS = 2048  # of one text, however long the context that a model was trained for
MOST_TEXTS = 32  # read in one pass by a GPU
LEAST_ROOM = 512  # tokens of one pass, also of a model that was trained on shorter texts


class Pooling(IntEnum):
    """How the states of a text's tokens become one vector (llama.cpp's own numbers)."""

    MEAN = 1
    CLS = 2
    LAST = 3
    RANK = 4  # the outputs of a classification head


class Embedder:
    """Some llama_contexts that turn texts into vectors; as many threads may ask at once."""

    def __init__(
        self, weights: Weights, contexts: Sequence[int], pooling: Pooling, *, n_tokens: int, n_texts: int
    ) -> None:
        weights.borrow()
        self.vocab, self.pooling, self.n_tokens = weights.vocab, pooling, n_tokens
        self.info = weights.info(None)
        self.width: int = (
            lc.llama_model_n_cls_out(weights.handle)
            if pooling is Pooling.RANK
            else lc.llama_model_n_embd(weights.handle)
        )
        self.n_at_once = len(contexts)
        self._weights, self._room, self._n_texts = weights, int(lc.llama_n_batch(contexts[0])), n_texts
        self._eyes = Shared([_Eye(context, self._room) for context in contexts])
        self._open = True
        self._too_long: set[TokenIds] = set()
        self._closing = bool(lc.llama_vocab_get_add_sep(weights.vocab_handle)) or bool(
            lc.llama_vocab_get_add_eos(weights.vocab_handle)
        )

    @property
    def n_cut(self) -> int:
        """Return how many texts so far were longer than ``n_tokens``, and lost their end."""
        return len(self._too_long)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:  # [n, width]
        """Return one vector per text, between the special tokens that the file asks for; not normalised."""
        return self.embed_ids([self.ids(text) for text in texts])

    def embed_ids(self, texts: Sequence[TokenIds]) -> NDArray[np.float32]:  # [n, width]
        """Return one vector per text of ids, cut where they are longer than ``n_tokens``; zeros for no id at all."""
        vectors = np.zeros((len(texts), self.width), np.float32)
        with self._eyes.one() as eye:
            for places in self._passes(texts):
                eye.read([self._cut(texts[place]) for place in places])
                for number, place in enumerate(places):
                    source = lc.llama_get_embeddings_seq(eye.context, number)
                    if not source:
                        raise BackendError(f"{self.info.path} gave no vector; its pooling is {self.pooling.name}")
                    vectors[place] = np.ctypeslib.as_array(source, (self.width,))
        return vectors

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text with the special tokens that the file asks for around it."""
        if not self._open:
            raise ValueError("this model was closed")  # and its vocabulary is gone
        data = text.encode("utf-8", "replace")
        room = (lc.llama_token * (len(data) + 8))()
        n = lc.llama_tokenize(self._weights.vocab_handle, data, len(data), room, len(room), True, False)
        if n < 0:
            room = (lc.llama_token * -n)()
            n = lc.llama_tokenize(self._weights.vocab_handle, data, len(data), room, len(room), True, False)
        return list(room[:n])

    def _cut(self, ids: TokenIds) -> TokenIds:
        """Shorten a text that is too long; its closing special token stays."""
        if len(ids) <= self.n_tokens:
            return ids
        self._too_long.add(tuple(ids))
        return (*ids[: self.n_tokens - 1], ids[-1]) if self._closing else ids[: self.n_tokens]

    def _passes(self, texts: Sequence[TokenIds]) -> Iterator[list[int]]:
        """Yield places of texts that fit into one pass, in order; texts without an id are left out."""
        places: list[int] = []
        n = 0
        for place, ids in enumerate(texts):
            size = min(len(ids), self.n_tokens)
            if not size:
                continue
            if places and (n + size > self._room or len(places) == self._n_texts):
                yield places
                places, n = [], 0
            places.append(place)
            n += size
        if places:
            yield places

    def close(self) -> None:
        """Free the contexts, when nobody reads, and let go of the weights; closing twice does nothing."""
        if self._open:
            self._open = False
            for eye in self._eyes.take_back():
                eye.close()
            self._weights.give_back()


class _Eye:
    """One llama_context and its batch."""

    def __init__(self, context: int, room: int) -> None:
        self.context = context
        self._memory = lc.llama_get_memory(context)  # null for encoders: they keep nothing between passes
        self._batch = lc.llama_batch_init(room, 0, 1)

    def read(self, texts: Sequence[TokenIds]) -> None:
        """Compute all states of some texts, each as a sequence of its own."""
        batch, at = self._batch, 0
        for number, ids in enumerate(texts):
            for position, token in enumerate(ids):
                batch.token[at], batch.pos[at] = token, position
                batch.n_seq_id[at], batch.seq_id[at][0], batch.logits[at] = 1, number, 1
                at += 1
        batch.n_tokens = at
        if self._memory:
            lc.llama_memory_clear(self._memory, True)
        code = (lc.llama_decode if self._memory else lc.llama_encode)(self.context, batch)
        if code:
            error = BackendError(f"llama.cpp could not read {at} tokens of {len(texts)} texts (code {code})")
            error.log = recent_log()
            raise error

    def close(self) -> None:
        """Free the context."""
        lc.llama_free(self.context)
        lc.llama_batch_free(self._batch)


def open_embedder(
    weights: Weights, options: LoadOptions, pooling: Pooling | None = None, n_contexts: int = 1
) -> Embedder:
    """Open contexts that read texts of as many tokens as the model was trained on, or as ``options.ctx_size`` says.

    Args:
        weights: of any model; loaded with ``or_encoder`` for those that only read.
        options: how; a text is always read in one pass, so batch sizes have no say.
        pooling: None = as the file says, the mean where it does not.
        n_contexts: that read at the same time; fewer where memory ends.

    """
    if pooling is None:
        said = weights.text(f"{weights.text('general.architecture')}.pooling_type") or ""
        pooling = Pooling(int(said)) if said.isdecimal() and int(said) in (Pooling.CLS, Pooling.LAST) else Pooling.MEAN
    if pooling is Pooling.RANK and not _has_head(weights):  # llama.cpp would hand out a state's first number
        raise ModelFileError(f"{weights.path} has no classification head")
    n_tokens = min(options.ctx_size or MOST_TOKENS, weights.n_ctx_train)
    n_texts = MOST_TEXTS if weights.layers_offloaded else 1  # a CPU gains nothing, and alone they are always the same
    params = lc.llama_context_default_params()
    room = -(-max(n_tokens, LEAST_ROOM) // n_texts) * n_texts  # llama.cpp aborts where texts do not divide it
    params.n_ctx = params.n_batch = params.n_ubatch = room  # who looks both ways must see a text in one piece
    params.n_seq_max, params.kv_unified = n_texts, True
    params.embeddings, params.pooling_type = True, int(pooling)
    params.n_threads = options.threads or threads_for(weights.summary.n_parameters, usable_cores())
    params.n_threads_batch = options.threads_batch or params.n_threads
    contexts = list(filter(None, (lc.llama_init_from_model(weights.handle, params) for _ in range(n_contexts))))
    if not contexts:
        error = BackendError(f"no context of {n_tokens} tokens could be opened on {weights.path.name}")
        error.log = recent_log()
        raise error
    return Embedder(weights, contexts, pooling, n_tokens=n_tokens, n_texts=n_texts)


def _has_head(weights: Weights) -> bool:
    """Tell whether a file holds the weights of a classifier."""
    tensors = (tensor for part in weights.summary.parts for tensor in read_header(part).tensors)
    return any(tensor.name.startswith("cls.") for tensor in tensors)
