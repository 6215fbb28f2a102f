"""Models without weights, for tests of ours and of programs that embed baco: no GGUF, no llama.cpp, no patches.

A ``ScriptedModel`` computes rows with a function of the ids it has read, and is as strict about positions as llama.cpp.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from baco_local.assemble import chain_builder
from baco_local.backend.base import CacheFull, Feed, Interrupted, ModelInfo
from baco_local.catalog import PairCard
from baco_local.pair import Pair
from baco_local.sampling.sampler import Build
from baco_local.scheduling.base import Helper, Reader
from baco_local.text.chat import ChatTemplate
from baco_local.text.shared import share
from baco_local.text.vocab import TokenKind, Vocab
from baco_local.types import Role, Row, Rows, TokenIds

__all__ = [
    "WORDS",
    "Script",
    "ScriptedModel",
    "byte_vocab",
    "chunkings",
    "flat",
    "lively",
    "says",
    "scripted_pair",
    "word_vocab",
]

Script: TypeAlias = Callable[[TokenIds], Row]
"""Maps every id that a sequence has read, prompt included, to the row after it, [V]."""

SPECIALS = ("<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>")
STOPS = frozenset((0, 3))  # of SPECIALS
TEMPLATE = (
    "{% for m in messages %}{{ '<|user|>' if m.role != 'assistant' else '<|assistant|>' }}\n{{ m.content }}<|end|>"
    "{% endfor %}<|assistant|>\n"
)
LETTERS = tuple(chr(i) for i in (9, 10, *range(32, 127)))
WORDS = (
    *(
        " the",
        " a",
        " fox",
        " bird",
        " sea",
        " old",
        " small",
        " red",
        " sang",
        " ran",
        " said",
        " and",
        " but",
        " then",
    ),
    *("The", "A", "Once", "They", "One", "fox", "bird", "ing", "s", "ed", ".", ",", "!", "?", ":", "-", "\n", "\n\n"),
)


def byte_vocab(*, add_bos: bool = True) -> Vocab:
    """Return a vocabulary of four special tokens and the 256 bytes."""
    pieces = tuple(bytes([i]) for i in range(256))
    return _vocab(tuple(f"<0x{i:02X}>" for i in range(256)), pieces, add_bos=add_bos)


def word_vocab(words: Sequence[str], *, add_bos: bool = True) -> Vocab:
    """Return a vocabulary of four special tokens and these pieces of text; longest match splits a text."""
    return _vocab(tuple(words), tuple(word.encode() for word in words), add_bos=add_bos)


def _vocab(texts: tuple[str, ...], pieces: tuple[bytes, ...], *, add_bos: bool) -> Vocab:
    all_texts, all_pieces = SPECIALS + texts, (b"",) * len(SPECIALS) + pieces
    longest_first = sorted(range(len(SPECIALS), len(all_pieces)), key=lambda i: -len(all_pieces[i]))

    def tokenize(text: str, *, trusted: bool) -> list[int]:
        data, ids = text.encode(), []
        while data:
            special = next((i for i, name in enumerate(SPECIALS) if data.startswith(name.encode())), None)
            if trusted and special is not None:
                ids.append(special)
                data = data[len(SPECIALS[special].encode()) :]
                continue
            token = next((i for i in longest_first if data.startswith(all_pieces[i])), None)
            if token is None:
                raise ValueError(f"the scripted vocabulary has no piece for {data[:10]!r}")
            ids.append(token)
            data = data[len(all_pieces[token]) :]
        return ids

    kinds = (TokenKind.CONTROL,) * len(SPECIALS) + (TokenKind.NORMAL,) * len(texts)
    return Vocab(
        model="gpt2",
        texts=all_texts,
        pieces=all_pieces,
        kinds=kinds,
        stops=STOPS,
        bos=0,
        eos=0,
        eot=3,
        add_bos=add_bos,
        tokenize=tokenize,
    )


def flat(n_vocab: int) -> Script:
    """Return a script that finds every token equally likely."""
    return lambda _ids: np.zeros(n_vocab, np.float32)


def lively(n_vocab: int, seed: int = 0, *, spread: float = 3.0, reach: int = 4, stop_bias: float = 0.0) -> Script:
    """Return a script of arbitrary but fixed rows that depend on the last few ids.

    Args:
        n_vocab: the width of a row.
        seed: another seed is another model.
        spread: the standard deviation of the logits; 0 is flat, 6 is nearly sure.
        reach: how many of the last ids matter.
        stop_bias: added to the logits of both end-of-turn tokens.

    """

    def script(ids: TokenIds) -> Row:
        tail = np.asarray(ids[-reach:], np.int64).tobytes()
        state = int.from_bytes(hashlib.blake2b(tail, digest_size=8, key=seed.to_bytes(8, "little")).digest(), "little")
        row = np.random.Generator(np.random.SFC64(state)).standard_normal(n_vocab, np.float32) * np.float32(spread)
        row[list(STOPS)] += np.float32(stop_bias)
        return row

    return script


def says(ids: TokenIds, n_vocab: int, *, after: int, sure: float = 20.0) -> Script:
    """Return a script that says these ids in turn and then ends, whatever was said instead.

    Args:
        ids: what it says.
        n_vocab: the width of a row.
        after: the length of the prompt.
        sure: how many nats its choice lies above everything else.

    """

    def script(read: TokenIds) -> Row:
        row = np.zeros(n_vocab, np.float32)
        place = len(read) - after
        row[ids[place] if place < len(ids) else 3] = sure
        return row

    return script


class ScriptedModel:
    """A model that answers from a script; it fulfils ``backend.base.Model``."""

    def __init__(
        self,
        script: Script,
        vocab: Vocab | None = None,
        *,
        n_ctx: int = 4096,
        n_sequences: int = 8,
        n_batch: int = 512,
        n_cells: int | None = None,
        can_rewind: bool = True,
        chat_template: str | None = None,
        name: str = "scripted",
    ) -> None:
        self.vocab = vocab or byte_vocab()
        self.info = ModelInfo(
            path=name,
            name=name,
            description="a script",
            architecture="script",
            n_parameters=0,
            size_bytes=0,
            n_ctx_train=n_ctx,
            chat_template=chat_template,
        )
        self.n_ctx, self.n_sequences, self.n_batch, self.can_rewind = n_ctx, n_sequences, n_batch, can_rewind
        self.n_threads = 1
        self.cancelled: Callable[[], bool] | None = None
        self.n_feeds = 0  # decodes
        self.n_fed = 0  # ids in all of them
        self._script = script
        self._n_cells = n_cells if n_cells is not None else n_ctx * n_sequences
        self._read: list[list[int]] = [[] for _ in range(n_sequences)]
        self._lent: list[Rows] = []  # handed out by the last feed; the next one spoils them, as llama.cpp's memory is

    def feed(self, feeds: Sequence[Feed]) -> list[Rows]:
        """Read ids and return rows.

        Raises:
            Interrupted: ``cancelled`` says so.
            CacheFull: more positions than the model has cells for.

        """
        if self.cancelled is not None and self.cancelled():
            raise Interrupted
        if sum(map(len, self._read)) + sum(len(feed.ids) for feed in feeds) > self._n_cells:
            raise CacheFull(f"the scripted cache has {self._n_cells} cells")
        self.n_feeds += 1
        for lent in self._lent:
            lent.fill(np.nan)
        self._lent = rows = []
        for feed in feeds:
            read = self._read[feed.sequence]
            assert feed.position == len(read), f"sequence {feed.sequence} holds {len(read)}, not {feed.position}"
            assert 0 <= feed.n_rows <= len(feed.ids), f"{feed.n_rows} rows of {len(feed.ids)} ids"
            assert len(read) + len(feed.ids) <= self.n_ctx, "beyond the context"
            assert all(0 <= token < len(self.vocab) for token in feed.ids), "an id outside the vocabulary"
            read += feed.ids
            self.n_fed += len(feed.ids)
            ends = range(len(read) - feed.n_rows + 1, len(read) + 1)
            rows.append(np.array([self._script(read[:end]) for end in ends], np.float32).reshape(-1, len(self.vocab)))
        return rows

    def use_threads(self, n: int) -> None:
        """Do nothing: a script computes in the caller's thread."""

    def rewind(self, sequence: int, length: int) -> bool:
        """Forget what a sequence holds after its first ``length`` positions; 0 always works."""
        assert 0 <= length <= len(self._read[sequence])
        if length and length < len(self._read[sequence]) and not self.can_rewind:
            return False
        del self._read[sequence][length:]
        return True

    def fork(self, source: int, target: int, length: int) -> bool:
        """Copy the beginning of a sequence to an empty one."""
        assert not self._read[target], f"sequence {target} is not empty"
        if length < len(self._read[source]) and not self.can_rewind:
            return False
        self._read[target] = self._read[source][:length]
        return True

    def close(self) -> None:
        """Forget everything."""
        self._read.clear()


def scripted_pair(
    base: Script | None = None,
    aligned: Script | None = None,
    *,
    vocab: Vocab | None = None,
    n_ctx: int = 4096,
    n_parallel: int = 8,
    n_batch: int = 512,
    n_cores: int = 1,
    can_rewind: bool = True,
    name: str = "scripted",
    card: PairCard | None = None,
    build: Build | None = None,
    draft: Script | None = None,
) -> Pair:
    """Return a pair of scripted models; without scripts, two lively ones over a few words that end at some point.

    With ``draft`` a third model guesses for the speculative schedule; with ``n_cores`` above 1 both read at the same
    time.

    Example::

        pair = scripted_pair()
        assert pair.generate("hi", seed=1) == pair.generate("hi", seed=1)

    """
    vocab = vocab or word_vocab((*WORDS, *(letter for letter in LETTERS if letter not in WORDS)))
    scripts: dict[Reader, Script] = {
        Role.BASE: base or lively(len(vocab), 1),
        Role.ALIGNED: aligned or lively(len(vocab), 2, stop_bias=2.0),
    }
    if draft is not None:
        scripts[Helper.DRAFT] = draft
    models = {
        reader: ScriptedModel(
            script, vocab, n_ctx=n_ctx, n_sequences=n_parallel, n_batch=n_batch, can_rewind=can_rewind, name=str(reader)
        )
        for reader, script in scripts.items()
    }
    return Pair(
        models,
        share(dict.fromkeys(Role, vocab)),
        build or chain_builder(None, len(vocab)),
        name=name,
        card=card or PairCard(name=name),
        template=ChatTemplate(TEMPLATE),
        n_parallel=n_parallel,
        n_cores=n_cores,
    )


def chunkings(text: bytes | str, sizes: Sequence[int]) -> Iterator[bytes | str]:
    """Cut a text into pieces of these sizes, over and over."""
    at, turn = 0, 0
    while at < len(text):
        size = max(1, sizes[turn % len(sizes)]) if sizes else len(text)
        yield text[at : at + size]
        at, turn = at + size, turn + 1
