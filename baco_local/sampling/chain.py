"""A recipe run by llama.cpp's own samplers over a numpy array of records.

The only file of this room that speaks to llama.cpp; it draws nothing and knows no seed. Every step is a sampler of its
own, not a link of a ``llama_sampler_chain``: so our coin can leave XTC out, what one step masks is gone before the next
looks (typical-p turns a masked logit into not-a-number), and a fork copies only the steps that remember.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import llama_cpp as lc
import numpy as np
from llama_cpp.llama_grammar import json_schema_to_gbnf
from numpy.typing import NDArray

from baco_local.errors import BackendError, GrammarError, UsageError
from baco_local.sampling.cut import Cut, cut_of
from baco_local.sampling.draw import BARRED, Candidates, temper
from baco_local.sampling.steps import (
    Dry,
    DynamicTemperature,
    Grammar,
    JsonSchema,
    LogitBias,
    MinP,
    Penalties,
    Recipe,
    Temperature,
    TopK,
    TopNSigma,
    TopP,
    Typical,
    Xtc,
)
from baco_local.types import Row

__all__ = ["LlamaChain", "build_chain", "gbnf_of"]

TOKEN_DATA: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data
WHOLE_ANSWER: Final = 2**15  # how far "the whole answer" looks back: llama.cpp allocates that many places at once

REMEMBERS: Final = (Penalties, Dry, Grammar)
MASKS: Final = (LogitBias, Grammar, TopNSigma, Temperature)  # they leave minus infinity where others shorten


class _Owned:
    """One of llama.cpp's samplers, freed when its last user lets go of it."""

    __slots__ = ("__weakref__", "pointer")

    def __init__(self, pointer: Any) -> None:
        self.pointer = pointer
        weakref.finalize(self, lc.llama_sampler_free, pointer)


@dataclass(frozen=True, slots=True)
class _Link:
    """One step at work."""

    sampler: _Owned
    chance: float  # acts where the coin is lower
    remembers: bool
    masks: bool
    judges: bool  # a grammar: it must not be told a token that it forbids, and may leave nobody

    def forked(self) -> _Link:
        """Return a link with a memory of its own; one that has no memory is shared."""
        if not self.remembers:
            return self
        return replace(self, sampler=_Owned(_made(lc.llama_sampler_clone(self.sampler.pointer))))


class _Table:
    """The array that llama.cpp's samplers shorten and reorder; it grows to what was needed most."""

    def __init__(self, n_vocab: int) -> None:
        self.every_id = np.arange(n_vocab, dtype=np.int32)
        self.data = np.zeros(256, TOKEN_DATA)
        self.base: int = self.data.ctypes.data
        self.array = lc.llama_token_data_array()
        self.start = ctypes.c_void_p.from_buffer(self.array)  # its first field: XTC moves it

    def fill(self, ids: NDArray[np.int32], logits: NDArray[np.float32]) -> None:  # [C], [C]
        """Write candidates in no order."""
        if ids.size > self.data.size:
            self.data = np.zeros(ids.size, TOKEN_DATA)
            self.base = self.data.ctypes.data
        self.data["id"][: ids.size] = ids
        self.data["logit"][: ids.size] = logits
        self._hold(ids.size)
        self.array.sorted = False

    def keep_live(self) -> int:
        """Drop masked candidates, keep the order, and return how many are left."""
        seen = self.seen()
        live = seen[seen["logit"] > BARRED]
        self.data[: live.size] = live
        self._hold(live.size)
        return live.size

    def seen(self) -> NDArray[Any]:
        """Return a view of the candidates that are left."""
        first = ((self.start.value or self.base) - self.base) // TOKEN_DATA.itemsize
        return self.data[first : first + self.array.size]

    def _hold(self, size: int) -> None:
        self.start.value = self.base
        self.array.size = size
        self.array.selected = -1


class LlamaChain:
    """A recipe at work on one sequence; fulfils ``sampler.Chain``. Forks share one table: use them from one thread."""

    __slots__ = ("_biased", "_cut", "_last", "_links", "_moved", "_open", "_table")

    def __init__(self, links: tuple[_Link, ...], cut: Cut, last: float, biased: frozenset[int], table: _Table) -> None:
        self._links, self._cut, self._last, self._biased, self._table = links, cut, last, biased, table
        self._moved = set(biased)  # tokens whose logits a bias or a penalty may have moved
        self._open = True

    def apply(self, row: Row, coin: float = 0.0) -> Candidates:  # [V] -> [C]
        """Return the tokens that the recipe leaves; XTC acts where the coin lies below its probability."""
        every_id = self._table.every_id
        assert self._open, "the chain was closed"
        assert row.size <= every_id.size, f"the row holds {row.size} logits; the chain was built for {every_id.size}"
        places = self._cut.survivors(row, self._moved)
        left = Candidates(every_id[: row.size], row) if places is None else Candidates(every_id[places], row[places])
        if self._links and left.ids.size:
            left = self._run(left, coin)
        return temper(left, self._last)

    def accept(self, token: int) -> None:
        """Remember a token that was said."""
        assert self._open, "the chain was closed"
        assert 0 <= token < self._table.every_id.size, f"there is no token {token} in the vocabulary"
        for link in self._links:
            if link.judges and not self._allows(link, token):
                raise GrammarError(f"token {token} was said, but the grammar forbids it at this place")
        for link in self._links:
            if link.remembers:
                lc.llama_sampler_accept(link.sampler.pointer, token)
                self._moved.add(token)

    def fork(self) -> LlamaChain:
        """Return a chain with the same memory; the two never notice each other."""
        assert self._open, "the chain was closed"
        links = tuple(link.forked() for link in self._links)
        twin = LlamaChain(links, self._cut, self._last, self._biased, self._table)
        twin._moved = self._moved.copy()
        return twin

    def reset(self) -> None:
        """Forget everything that was accepted."""
        for link in self._links:
            if link.remembers:
                lc.llama_sampler_reset(link.sampler.pointer)
        self._moved = set(self._biased)

    def close(self) -> None:
        """Let go of the samplers; those that a fork still uses live on."""
        self._links, self._open = (), False

    def _run(self, left: Candidates, coin: float) -> Candidates:  # [C] -> [C]
        """Pass candidates through llama.cpp, step by step."""
        table = self._table
        table.fill(*left)
        array = ctypes.byref(table.array)
        for link in self._links:
            if coin >= link.chance:
                continue
            lc.llama_sampler_apply(link.sampler.pointer, array)
            if link.masks and not table.keep_live():
                if link.judges:
                    raise GrammarError(
                        "the grammar allows no token that could follow; nothing else may be banned there"
                    )
                break
        seen = table.seen()
        return Candidates(seen["id"].copy(), seen["logit"].copy())

    def _allows(self, link: _Link, token: int) -> bool:
        """Ask a grammar about one token: llama.cpp ends the process if it is told one that it forbids."""
        self._table.fill(np.array([token], np.int32), np.zeros(1, np.float32))
        lc.llama_sampler_apply(link.sampler.pointer, ctypes.byref(self._table.array))
        return self._table.keep_live() == 1


def build_chain(recipe: Recipe, vocab_handle: object | None, n_vocab: int) -> LlamaChain:
    """Build a recipe for rows of ``n_vocab`` logits, or fewer: one model of a pair may lack the last ids.

    Args:
        recipe: steps in the order they run.
        vocab_handle: llama.cpp's vocabulary of a loaded model; only grammars and DRY look at it.
        n_vocab: width of the widest row.

    Raises:
        GrammarError: a grammar or JSON schema that cannot be used.
        UsageError: a grammar or DRY without a vocabulary.

    """
    recipe = tuple(Grammar(gbnf_of(step.schema)) if isinstance(step, JsonSchema) else step for step in recipe)
    last = 1.0
    if recipe and isinstance(recipe[-1], Temperature):  # numpy divides as well, and of equals it takes the lowest id
        last, recipe = recipe[-1].t, recipe[:-1]
    biased = frozenset(token for step in recipe if isinstance(step, LogitBias) for token, _added in step.bias)
    cut, recipe = cut_of(recipe)
    links = tuple(
        _Link(
            _Owned(_made(BUILD[type(step)](step, vocab_handle, n_vocab))),
            step.probability if isinstance(step, Xtc) else math.inf,
            isinstance(step, REMEMBERS),
            isinstance(step, MASKS),
            isinstance(step, Grammar),
        )
        for step in recipe
    )
    return LlamaChain(links, cut, last, biased, _Table(n_vocab))


def gbnf_of(schema: str) -> str:
    """Return a grammar for the JSON that fits a schema, or raise GrammarError."""
    try:
        gbnf = str(json_schema_to_gbnf(schema))
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError) as error:
        raise GrammarError(
            f"the JSON schema cannot be turned into a grammar: {type(error).__name__}: {error}"
        ) from error
    # its strings may hold raw line breaks, which JSON forbids
    return gbnf.replace(r'[^"\\]', r'[^"\\\x7F\x00-\x1F]')


def _made(pointer: Any) -> Any:
    """Return a pointer that llama.cpp has just made, or raise where it is null."""
    if not pointer:
        raise BackendError("llama.cpp could not make a sampler; there may be no memory left")
    return pointer


def _wanted(vocab_handle: object | None, by: str) -> Any:
    """Return the vocabulary, or say who misses it."""
    if vocab_handle is None:
        raise UsageError(f"{by} needs the vocabulary of a GGUF model, and this pair has none; leave it out")
    return vocab_handle


def _grammar(step: Grammar, vocab_handle: object | None, _: int) -> Any:
    vocab = _wanted(vocab_handle, "a grammar")
    with _stderr_kept() as said:
        pointer = lc.llama_sampler_init_grammar(vocab, step.gbnf.encode(), step.root.encode())
    if not pointer:
        reason = (
            "".join(said)
            .strip()
            .partition("\n")[0]
            .strip()
            .rpartition("error parsing grammar: ")[2]
            .removesuffix(" at")
        )
        fallback = f"it needs a rule called {step.root!r}, and no rule may begin with itself"
        raise GrammarError(f"llama.cpp cannot use the grammar: {reason or fallback}")
    return pointer


def _dry(step: Dry, vocab_handle: object | None, _: int) -> Any:
    words = [text.encode() for text in step.sequence_breakers]
    breakers = (ctypes.c_char_p * len(words))(*words)
    vocab = _wanted(vocab_handle, "DRY")
    last_n = WHOLE_ANSWER if step.last_n < 0 else step.last_n
    return lc.llama_sampler_init_dry(
        vocab, step.multiplier, step.base, step.allowed_length, last_n, breakers, len(words)
    )


def _penalties(step: Penalties, _: object | None, n_vocab: int) -> Any:
    last_n = WHOLE_ANSWER if step.last_n < 0 else step.last_n
    return lc.llama_sampler_init_penalties(n_vocab, last_n, step.repeat, step.frequency, step.presence)


def _bias(step: LogitBias, _: object | None, n_vocab: int) -> Any:
    wrong = [token for token, _added in step.bias if token >= n_vocab]
    if wrong:
        raise UsageError(f"the logit bias names token {wrong[0]}; the vocabulary ends at {n_vocab - 1}")
    pairs = [lc.llama_logit_bias(token, added) for token, added in step.bias]
    return lc.llama_sampler_init_logit_bias(n_vocab, len(pairs), (lc.llama_logit_bias * len(pairs))(*pairs))


ONE_AT_A_TIME = threading.Lock()  # or one thread would put back what another has put there


@contextlib.contextmanager
def _stderr_kept() -> Iterator[list[str]]:
    """Keep what is written to file descriptor 2: llama.cpp's grammar parser prints there, log callback or not."""
    said: list[str] = []
    with ONE_AT_A_TIME, tempfile.TemporaryFile() as kept, contextlib.ExitStack() as stack:
        try:
            screen = os.dup(2)
        except OSError:  # there is no stderr to protect
            yield said
            return
        stack.callback(os.close, screen)
        stack.callback(os.dup2, screen, 2)
        os.dup2(kept.fileno(), 2)
        yield said
        kept.seek(0)
        said.append(kept.read().decode("utf-8", "replace"))


BUILD: dict[type, Callable[[Any, object | None, int], Any]] = {  # a step -> llama.cpp's sampler
    LogitBias: _bias,
    Penalties: _penalties,
    Dry: _dry,
    TopNSigma: lambda step, _, __: lc.llama_sampler_init_top_n_sigma(step.n),
    TopK: lambda step, _, __: lc.llama_sampler_init_top_k(step.k),
    Typical: lambda step, _, __: lc.llama_sampler_init_typical(step.p, 1),
    TopP: lambda step, _, __: lc.llama_sampler_init_top_p(step.p, 1),
    MinP: lambda step, _, __: lc.llama_sampler_init_min_p(step.p, 1),
    Xtc: lambda step, _, __: lc.llama_sampler_init_xtc(1.0, step.threshold, 1, 0),  # our own coin says when
    Temperature: lambda step, _, __: lc.llama_sampler_init_temp(step.t),
    DynamicTemperature: lambda step, _, __: lc.llama_sampler_init_temp_ext(step.t, step.range, step.exponent),
    Grammar: _grammar,
}
