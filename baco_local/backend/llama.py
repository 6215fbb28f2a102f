"""llama.cpp behind our Model: loads GGUF files, feeds batches of ids, hands out rows, turns mistakes into errors.

Speaks only the C functions, never llama-cpp-python's ``Llama``; knows no prompt, no router and no other model.
"""

from __future__ import annotations

import ctypes
import operator
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # else ggml starts a debugger whenever it aborts
import llama_cpp as lc

from baco_local.backend.base import CacheFull, Feed, Interrupted, ModelInfo
from baco_local.backend.gguf_file import MOST_LAYERS, GgufSummary, check_adapter, check_model
from baco_local.backend.machine import BuildFacts, Device, threads_for, ubatch_for, usable_cores
from baco_local.backend.memory import ROWS_PER_SEQUENCE, cells, keeps_apart
from baco_local.config import CacheType, FlashAttention, LoadOptions, OffloadKind
from baco_local.errors import BackendError, BacoError, ModelFileError, UsageError
from baco_local.text.vocab import TokenKind, Vocab
from baco_local.types import Rows, TokenIds

__all__ = ["BuildFacts", "LlamaModel", "Weights", "build_facts", "load_weights", "open_model", "recent_log"]

MOST_THREADS = 512  # GGML_MAX_N_THREADS
MOST_CELLS = 2**31 - 1
LONG_FEED = 32  # tokens; shorter feeds end before anybody could want to stop them
ALL_LAYERS = -1
PREFIXES = re.compile(
    r"^(?:\w+: |error loading model[ \w]*: |error: )+"
)  # names of C functions, and what everybody says
GPU, INTEGRATED_GPU = 1, 2  # ggml_backend_dev_type
NO_ROOM, STOPPED = 1, 2  # what llama_decode returns
ERROR, CONTINUED = 4, 5  # ggml_log_level; the table in llama-cpp-python's _logger.py is wrong

# --- log: llama.cpp has one for the whole process and calls it from any thread until the process ends ------------

_said: deque[tuple[int, str]] = deque(maxlen=400)


@lc.llama_log_callback  # type: ignore[untyped-decorator]
def _listen(level: int, text: bytes | None, _user_data: object) -> None:
    _said.append((level, (text or b"").decode("utf-8", "replace")))


lc.llama_log_set(_listen, None)
lc.llama_backend_init()


def recent_log() -> tuple[str, ...]:
    """Return the last lines that llama.cpp logged, oldest first."""
    return tuple("".join(text for _, text in list(_said)).splitlines())


def _complaints() -> str:
    """Return the last errors that llama.cpp logged, as one sentence."""
    lines: list[str] = []
    for level, text in list(_said):
        if level == ERROR:
            lines.append(text)
        elif level == CONTINUED and lines:
            lines[-1] += text
    words = (" ".join(PREFIXES.sub("", line).split()) for line in "".join(lines).splitlines())
    return "; ".join(dict.fromkeys(w for w in words if w and w != "failed to load model")) or "llama.cpp gave no reason"


def _fail(kind: type[BacoError], what: str) -> NoReturn:
    error = kind(f"{what}: {_complaints()}")
    error.log = recent_log()
    raise error


# --- weights ------------------------------------------------------------------------------------------------------


class Weights:
    """One llama_model and its vocabulary; freed when its owner and every model opened on it have let go."""

    def __init__(self, path: Path, handle: int, layers_offloaded: int, summary: GgufSummary) -> None:
        self.path, self.handle, self.layers_offloaded, self.summary = path, handle, layers_offloaded, summary
        self.vocab_handle: int = lc.llama_model_get_vocab(handle)
        self.vocab = read_vocab(self)
        self.n_ctx_train: int = lc.llama_model_n_ctx_train(handle)
        self._users, self._owned = 0, True

    def borrow(self) -> None:
        """Count one more model that reads these weights."""
        self._users += 1

    def give_back(self) -> None:
        """Count one model less, and free the weights when nobody is left."""
        self._users -= 1
        self._free_if_unused()

    def close(self) -> None:
        """Let go of the weights; models that were opened on them stay usable until they are closed."""
        self._owned = False
        self._free_if_unused()

    def _free_if_unused(self) -> None:
        if self.handle and not self._owned and not self._users:
            lc.llama_model_free(self.handle)  # before its contexts it would be a segmentation fault
            self.handle = self.vocab_handle = 0

    def text(self, key: str) -> str | None:
        """Return a metadata value of the file as text."""
        room = ctypes.create_string_buffer(512)
        n = lc.llama_model_meta_val_str(self.handle, key.encode(), room, len(room))
        return None if n < 0 else room.value.decode("utf-8", "replace")

    def info(self, adapter: Path | None) -> ModelInfo:
        """Return what the file says of itself."""
        room = ctypes.create_string_buffer(256)
        lc.llama_model_desc(self.handle, room, len(room))
        template = lc.llama_model_chat_template(self.handle, None)
        device = next((d.name for d in devices() if d.is_gpu), "GPU") if self.layers_offloaded else "CPU"
        return ModelInfo(
            path=str(self.path),
            name=self.text("general.name") or self.path.stem,
            description=room.value.decode("utf-8", "replace"),
            architecture=self.text("general.architecture") or "",
            n_parameters=lc.llama_model_n_params(self.handle),
            size_bytes=lc.llama_model_size(self.handle),
            n_ctx_train=self.n_ctx_train,
            chat_template=template.decode("utf-8", "replace") if template else None,
            adapter=None if adapter is None else str(adapter),
            device=device,
            layers_offloaded=self.layers_offloaded,
            n_layers=lc.llama_model_n_layer(self.handle),
        )


def load_weights(path: Path, options: LoadOptions, *, vocab_only: bool = False, or_encoder: bool = False) -> Weights:
    """Load one GGUF file; offload ``auto`` means all layers here, for what fits is planned before (``memory``).

    With ``vocab_only`` the token table alone is read, in a fraction of the time; no model can be opened on that. With
    ``or_encoder`` it may be a model that only reads, for ``embedding``.

    Raises:
        ModelNotFoundError: nothing is there.
        ModelFileError: it is not a model that can continue text, or llama.cpp cannot load it.

    """
    summary = check_model(path, or_encoder=or_encoder)
    params = lc.llama_model_default_params()
    can_offload = bool(lc.llama_supports_gpu_offload())
    n_gpu_layers = (
        min(options.offload.layers, MOST_LAYERS + 1) if options.offload.kind is OffloadKind.LAYERS else ALL_LAYERS
    )
    params.n_gpu_layers = n_gpu_layers if can_offload else 0
    params.vocab_only = vocab_only
    params.load_mode = lc.LLAMA_LOAD_MODE_AUTO if options.mmap else lc.LLAMA_LOAD_MODE_NONE
    shares = options.tensor_split
    if shares:
        if len(shares) > lc.llama_max_devices() or min(shares) < 0 or sum(shares) <= 0:
            raise UsageError(f"tensor split is {shares}; give one share per device, at most {lc.llama_max_devices()}")
        room = (ctypes.c_float * lc.llama_max_devices())(*shares)
        params.tensor_split = ctypes.cast(room, ctypes.POINTER(ctypes.c_float))
    n_gpus = sum(device.is_gpu for device in devices()) if can_offload else 0
    if options.main_gpu and not 0 <= options.main_gpu < n_gpus:
        raise UsageError(f"main GPU is {options.main_gpu}; this llama.cpp sees {n_gpus} of them, counted from 0")
    if options.main_gpu and not shares:
        params.split_mode, params.main_gpu = lc.LLAMA_SPLIT_MODE_NONE, options.main_gpu
    _said.clear()
    handle = lc.llama_model_load_from_file(os.fsencode(path), params)
    if not handle:
        if "unknown model architecture" in _complaints():
            _fail(ModelFileError, f"{path} needs a newer llama.cpp than {version()} or another model")
        _fail(ModelFileError, f"{path} cannot be loaded")
    n_layers = lc.llama_model_n_layer(handle) + 1  # llama.cpp counts the output as one more
    offloaded = n_layers if params.n_gpu_layers < 0 else min(params.n_gpu_layers, n_layers)
    weights = Weights(path, handle, offloaded, summary)
    if lacking := _bytes_without_token(weights):
        weights.close()
        raise ModelFileError(
            f"{path} has no token for byte {lacking[0]:#04x} and {len(lacking)} in all; llama.cpp would end over text "
            "with it; convert the model again"
        )
    return weights


# --- vocabulary ---------------------------------------------------------------------------------------------------


def read_vocab(weights: Weights) -> Vocab:
    """Return the token table of loaded weights."""
    vocab = weights.vocab_handle
    ids = range(lc.llama_vocab_n_tokens(vocab))
    room = ctypes.create_string_buffer(512)

    def piece(token: int) -> bytes:
        nonlocal room
        n = lc.llama_token_to_piece(vocab, token, room, len(room), 0, False)  # False: control tokens show nothing
        if n < 0:
            room = ctypes.create_string_buffer(-n)
            n = lc.llama_token_to_piece(vocab, token, room, len(room), 0, False)
        return room.raw[:n]

    def tokenize(text: str, *, trusted: bool) -> list[int]:
        if not weights.handle:
            raise ValueError("the weights of this vocabulary were closed")
        data = text.encode("utf-8", "replace")  # a lone surrogate becomes a question mark
        found = (lc.llama_token * (len(data) + 8))()  # SentencePiece adds a space in front
        n = lc.llama_tokenize(vocab, data, len(data), found, len(found), False, trusted)
        if n < 0:
            found = (lc.llama_token * -n)()
            n = lc.llama_tokenize(vocab, data, len(data), found, len(found), False, trusted)
        return list(found[:n])

    def known(token: int) -> int | None:
        return None if token < 0 else token  # LLAMA_TOKEN_NULL is -1

    attributes = [lc.llama_vocab_get_attr(vocab, i) for i in ids]
    kinds = {number: TokenKind(number) for number in set(attributes)}

    return Vocab(
        model=weights.text("tokenizer.ggml.model") or "",
        texts=tuple((lc.llama_vocab_get_text(vocab, i) or b"").decode("utf-8", "replace") for i in ids),
        pieces=tuple(map(piece, ids)),
        kinds=tuple(kinds[number] for number in attributes),
        stops=frozenset(i for i in ids if lc.llama_vocab_is_eog(vocab, i)),
        bos=known(lc.llama_vocab_bos(vocab)),
        eos=known(lc.llama_vocab_eos(vocab)),
        eot=known(lc.llama_vocab_eot(vocab)),
        add_bos=bool(lc.llama_vocab_get_add_bos(vocab)),
        tokenize=tokenize,
    )


def _bytes_without_token(weights: Weights) -> list[int]:
    """Return the bytes that a SentencePiece vocabulary cannot spell; the other kinds of vocabulary drop such bytes."""
    if lc.llama_vocab_type(weights.vocab_handle) != lc.LLAMA_VOCAB_TYPE_SPM:
        return []
    texts = set(weights.vocab.texts)
    return [byte for byte in range(256) if f"<0x{byte:02X}>" not in texts and (byte > 127 or chr(byte) not in texts)]


# --- batches ------------------------------------------------------------------------------------------------------


class Batch:
    """A llama_batch over numpy memory, filled in about a microsecond and copied by llama.cpp on entry."""

    def __init__(self, room: int) -> None:
        self.token, self.pos, self.seq = (np.zeros(room, np.int32) for _ in range(3))
        self.wanted, self._one = np.zeros(room, np.int8), np.ones(room, np.int32)
        self._seq_at = self.seq.ctypes.data + 4 * np.arange(room, dtype=np.uint64)  # int32_t **: where each id lies
        self.raw = lc.llama_batch()
        arrays: dict[str, NDArray[Any]] = {
            "token": self.token,
            "pos": self.pos,
            "n_seq_id": self._one,
            "seq_id": self._seq_at,
            "logits": self.wanted,
        }
        for field, array in arrays.items():
            setattr(self.raw, field, array.ctypes.data_as(dict(lc.llama_batch._fields_)[field]))

    def put(self, at: int, ids: TokenIds, position: int, sequence: int, n_rows: int) -> int:
        """Place ids of one sequence, of which the last ``n_rows`` want a row; return the next free place."""
        if len(ids) == 1:
            self.token[at], self.pos[at], self.seq[at], self.wanted[at] = ids[0], position, sequence, n_rows
            return at + 1
        end = at + len(ids)
        self.token[at:end], self.seq[at:end], self.wanted[at:end] = ids, sequence, 0
        self.pos[at:end] = np.arange(position, position + len(ids))
        self.wanted[end - n_rows : end] = 1
        return end


class Piece(NamedTuple):
    """A run of the ids of one feed that goes into one decode; its last ``n_rows`` want a row."""

    feed: int
    first: int
    stop: int
    n_rows: int


def cut(feeds: Sequence[Feed], n_batch: int, n_outputs: int) -> list[list[Piece]]:
    """Split feeds into decodes of at most ``n_batch`` ids and ``n_outputs`` rows, in order."""
    if len(feeds) == 1 and len(feeds[0].ids) == 1:
        return [[Piece(0, 0, 1, feeds[0].n_rows)]]
    decodes: list[list[Piece]] = [[]]
    ids_left, rows_left = n_batch, n_outputs
    for index, feed in enumerate(feeds):
        first, n = 0, len(feed.ids)
        silent = n - feed.n_rows  # ids before this one want no row
        while first < n:
            stop = min(n, first + ids_left, max(first, silent) + rows_left)
            if stop == first:
                decodes.append([])
                ids_left, rows_left = n_batch, n_outputs
                continue
            n_rows = max(0, stop - max(first, silent))
            decodes[-1].append(Piece(index, first, stop, n_rows))
            ids_left, rows_left, first = ids_left - (stop - first), rows_left - n_rows, stop
    return decodes if decodes[0] else []


# --- the model ----------------------------------------------------------------------------------------------------


class LlamaModel:
    """One llama_context over shared weights, with or without an adapter; fulfils ``backend.base.Model``."""

    def __init__(
        self, weights: Weights, context: int, adapter_handle: Any, *, n_ctx: int, n_outputs: int, info: ModelInfo
    ) -> None:
        weights.borrow()
        self.vocab, self.info, self.vocab_handle = weights.vocab, info, weights.vocab_handle
        self.n_ctx = n_ctx
        self.n_sequences: int = lc.llama_n_seq_max(context)
        self.n_batch: int = lc.llama_n_batch(context)
        self.n_threads: int = 0 if info.layers_offloaded else lc.llama_n_threads(context)
        self.cancelled: Callable[[], bool] | None = None
        self._most_threads = lc.llama_n_threads(context), lc.llama_n_threads_batch(context)
        self._n_cores = 0  # as many as it may use
        self._weights, self._adapter = weights, adapter_handle
        self._context: int | None = context
        self._memory = lc.llama_get_memory(context)
        self._width, self._n_outputs = len(self.vocab), n_outputs
        self._lengths = [0] * self.n_sequences
        self._apart = keeps_apart(self.n_sequences)
        self._batch = Batch(self.n_batch)
        self._rows = np.empty((self.n_sequences, self._width), np.float32)  # grows with what is asked for
        self._rows_at: int = self._rows.ctypes.data
        self._raised: BaseException | None = None
        self._watch = lc.ggml_abort_callback(self._wants_to_stop)  # kept alive as long as the context
        self._ignore = lc.ggml_abort_callback()  # a null pointer
        try:
            self.can_rewind = self._probe_rewind()
        except BaseException:
            self.close()
            raise

    def _probe_rewind(self) -> bool:
        """Read two tokens and take one back, as llama.cpp's own server does to find out."""
        if self.n_ctx < 2:
            return False
        self.feed([Feed(0, 0, (0, 0), n_rows=0)])
        can_rewind = bool(lc.llama_memory_seq_rm(self._memory, 0, 1, -1))
        self._forget(0, 0)
        return can_rewind

    # --- reading ---

    def feed(self, feeds: Sequence[Feed]) -> list[Rows]:
        """Read ids of many sequences together and return the wanted rows, [n_rows, V] per feed.

        The rows lie in memory of this model that the next ``feed`` overwrites. Whatever is raised, no sequence has
        changed; one of a model that cannot rewind may have been emptied.

        Raises:
            CacheFull: no cell is left that the sequences of this context share.
            Interrupted: ``cancelled`` said so.
            BackendError: llama.cpp failed.

        """
        n_ids, n_rows = self._check(feeds)
        if n_rows > len(self._rows):
            self._rows = np.empty((n_rows, self._width), np.float32)
            self._rows_at = self._rows.ctypes.data
        # sequences with cells of their own are computed together only if they follow one another
        ordered = sorted(feeds, key=operator.attrgetter("sequence")) if self._apart and len(feeds) > 1 else feeds
        stoppable = n_ids > LONG_FEED and self.cancelled is not None and self._can_restore(feeds)
        try:
            if stoppable:
                lc.llama_set_abort_callback(self._context, self._watch, None)
            at = 0
            for pieces in cut(ordered, self.n_batch, self._n_outputs):
                if stoppable and self._wants_to_stop(None):
                    self._report(STOPPED, 0)
                at = self._decode(ordered, pieces, at)
        except BaseException:
            for feed in feeds:
                self._restore(feed)
            raise
        finally:
            if stoppable:
                lc.llama_set_abort_callback(self._context, self._ignore, None)
        at, rows = 0, {}
        for feed in ordered:
            self._lengths[feed.sequence] = feed.position + len(feed.ids)
            rows[feed.sequence] = self._rows[at : at + feed.n_rows]
            at += feed.n_rows
        return [rows[feed.sequence] for feed in feeds]

    def _check(self, feeds: Sequence[Feed]) -> tuple[int, int]:
        """Refuse what llama.cpp would answer with an abort or a riddle; count ids and rows."""
        if not self._context:
            raise ValueError("this model was closed")
        n_ids = all_rows = 0
        for sequence, position, ids, n_rows in feeds:
            n = len(ids)
            if not 0 <= sequence < self.n_sequences:
                raise ValueError(f"sequence {sequence} is not one of the {self.n_sequences} of this model")
            if position != self._lengths[sequence]:
                raise ValueError(f"sequence {sequence} holds {self._lengths[sequence]} positions; fed at {position}")
            if position + n > self.n_ctx:
                raise ValueError(f"sequence {sequence} would hold {position + n} positions; n_ctx is {self.n_ctx}")
            if not 0 <= n_rows <= n:
                raise ValueError(f"{n_rows} rows were asked of {n} ids")
            low, high = (ids[0], ids[0]) if n == 1 else (min(ids), max(ids)) if n else (0, 0)
            if low < 0 or high >= self._width:
                raise ValueError(f"id {low if low < 0 else high} is not one of the {self._width} of this vocabulary")
            n_ids, all_rows = n_ids + n, all_rows + n_rows
        if len(feeds) > 1 and len({feed.sequence for feed in feeds}) < len(feeds):
            raise ValueError("a sequence is fed twice at once")
        return n_ids, all_rows

    def _decode(self, feeds: Sequence[Feed], pieces: list[Piece], first_row: int) -> int:
        """Compute one batch, keep its rows from ``first_row`` on, and return the next free row."""
        batch, at, n_rows = self._batch, 0, 0
        for index, first, stop, wanted in pieces:
            feed = feeds[index]
            ids = feed.ids if stop - first == len(feed.ids) else feed.ids[first:stop]
            at = batch.put(at, ids, feed.position + first, feed.sequence, wanted)
            n_rows += wanted
        batch.raw.n_tokens = at
        code = lc.llama_decode(self._context, batch.raw)
        if code:
            self._report(code, at)
        if n_rows:  # copied, because llama.cpp frees its own buffer when it needs a larger one
            size = 4 * self._width
            source = lc.llama_get_logits(self._context)  # waits for the computation
            ctypes.memmove(self._rows_at + first_row * size, source, n_rows * size)
        return first_row + n_rows

    def _report(self, code: int, n_ids: int) -> NoReturn:
        if code == STOPPED:
            raised, self._raised = self._raised, None
            raise raised or Interrupted
        if code == NO_ROOM:
            held = sum(self._lengths)
            raise CacheFull(
                f"the KV cache has no room for {n_ids} more tokens beside the {held} positions that it holds; "
                "write fewer answers at once or raise the context size"
            )
        _fail(BackendError, f"llama.cpp could not compute {n_ids} tokens (code {code})")

    def use_threads(self, n: int) -> None:
        """Let at most so many threads compute the next feeds; rows may differ in their last digits by that."""
        if n != self._n_cores:
            self._n_cores = n
            lc.llama_set_n_threads(self._context, *(min(n, most) for most in self._most_threads))

    # --- stopping ---

    def _wants_to_stop(self, _data: object) -> bool:
        """Ask ``cancelled``; an exception cannot pass through C, so it is kept and raised after the decode."""
        try:
            return self.cancelled is not None and self.cancelled()
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt arrives here too and would be lost
            self._raised = error
            return True

    def _can_restore(self, feeds: Sequence[Feed]) -> bool:
        return self.can_rewind or all(feed.position == 0 for feed in feeds)

    def _restore(self, feed: Feed) -> None:
        """Take back what a failed feed left in a sequence; a state that cannot be cut is emptied."""
        if not self._forget(feed.sequence, feed.position):
            self._forget(feed.sequence, 0)

    # --- sequences ---

    def rewind(self, sequence: int, length: int) -> bool:
        """Forget what a sequence holds after its first ``length`` positions; 0 always works, False = cannot."""
        held = self._held(sequence)
        if not 0 <= length <= held:
            raise ValueError(f"sequence {sequence} holds {held} positions; it cannot be rewound to {length}")
        return length == held or self._forget(sequence, length)

    def fork(self, source: int, target: int, length: int) -> bool:
        """Let an empty sequence share the first ``length`` positions of another; False = cannot."""
        held = self._held(source)
        if self._held(target) or source == target:
            raise ValueError(f"sequence {target} is not empty; rewind it to 0 before it shares another")
        if not 0 <= length <= held:
            raise ValueError(f"sequence {source} holds {held} positions; {length} cannot be shared")
        if length < held and not self.can_rewind:
            return False
        if length and self._apart:  # whole sequences are copied, before the next decode; a part would abort
            lc.llama_memory_seq_cp(self._memory, source, target, -1, -1)
            if length < held:
                lc.llama_memory_seq_rm(self._memory, target, length, -1)
        elif length:
            lc.llama_memory_seq_cp(self._memory, source, target, 0, length)
        self._lengths[target] = length
        return True

    def length(self, sequence: int) -> int:
        """Return how many positions a sequence holds."""
        return self._held(sequence)

    def _held(self, sequence: int) -> int:
        if not self._context:
            raise ValueError("this model was closed")
        if not 0 <= sequence < self.n_sequences:
            raise ValueError(f"sequence {sequence} is not one of the {self.n_sequences} of this model")
        return self._lengths[sequence]

    def _forget(self, sequence: int, length: int) -> bool:
        if not lc.llama_memory_seq_rm(self._memory, sequence, length, -1):
            return False
        self._lengths[sequence] = length
        return True

    def close(self) -> None:
        """Free context and adapter and let go of the weights; closing twice does nothing."""
        if not self._context:
            return
        lc.llama_free(self._context)
        if self._adapter:
            lc.llama_adapter_lora_free(self._adapter)
        self._context = self._memory = self._adapter = None
        self._weights.give_back()


def open_model(
    weights: Weights,
    options: LoadOptions,
    *,
    n_sequences: int,
    adapter: Path | None = None,
    adapter_scale: float = 1.0,
) -> LlamaModel:
    """Open a context of its own on loaded weights, with room for ``n_sequences`` of ``options.ctx_size`` positions."""
    if not weights.handle:
        raise ValueError("the weights were closed")
    most = lc.llama_max_parallel_sequences()
    if not 1 <= n_sequences <= most:
        raise UsageError(f"{n_sequences} sequences were asked for; llama.cpp computes 1 to {most} at once")
    if options.cache_type_v not in FLOATS and options.flash_attention is FlashAttention.OFF:
        raise UsageError(f"a KV cache of type {options.cache_type_v} for V needs flash attention; leave it on or auto")
    if max(options.threads, options.threads_batch) > MOST_THREADS:
        raise UsageError(
            f"{max(options.threads, options.threads_batch)} threads are more than llama.cpp's {MOST_THREADS}"
        )
    n_ctx = options.ctx_size or weights.n_ctx_train
    if cells(n_ctx, n_sequences) > MOST_CELLS:
        raise UsageError(f"{n_sequences} sequences of {n_ctx} positions are more than llama.cpp can count")
    params = lc.llama_context_default_params()
    known = (params.n_ctx, params.n_batch, params.n_ubatch, params.type_k, params.swa_full)
    if known != (512, 2048, 512, CACHE_TYPES[CacheType.F16], True):
        raise BackendError(f"this llama.cpp {version()} has other structs than llama-cpp-python {lc.__version__}")
    params.n_ctx = cells(n_ctx, n_sequences)
    ubatch_size = options.ubatch_size or ubatch_for(weights.summary.n_parameters, weights.layers_offloaded)
    params.n_batch, params.n_ubatch = min(options.batch_size, params.n_ctx), min(ubatch_size, params.n_ctx)
    params.n_seq_max, params.kv_unified = n_sequences, not keeps_apart(n_sequences)
    params.n_outputs_max = n_outputs = n_sequences * ROWS_PER_SEQUENCE
    params.n_threads = options.threads or threads_for(weights.summary.n_parameters, usable_cores())
    params.n_threads_batch = options.threads_batch or params.n_threads
    params.flash_attn_type = FLASH_ATTENTION[options.flash_attention]
    params.type_k, params.type_v = CACHE_TYPES[options.cache_type_k], CACHE_TYPES[options.cache_type_v]
    params.swa_full = True  # else a sliding window says that it was rewound when it was not
    _said.clear()
    adapter_handle = None
    if adapter is not None:
        check_adapter(adapter, weights.summary)
        adapter_handle = lc.llama_adapter_lora_init(weights.handle, os.fsencode(adapter))
        if not adapter_handle:
            _fail(ModelFileError, f"{adapter} is not an adapter for {weights.path.name}")
    context = lc.llama_init_from_model(weights.handle, params)
    if not context:
        if adapter_handle:
            lc.llama_adapter_lora_free(adapter_handle)
        _fail(BackendError, f"no context of {params.n_ctx} cells could be opened on {weights.path.name}")
    if adapter_handle:
        handles = (lc.llama_adapter_lora_p_ctypes * 1)(adapter_handle)
        lc.llama_set_adapters_lora(context, handles, 1, (ctypes.c_float * 1)(adapter_scale))
    return LlamaModel(weights, context, adapter_handle, n_ctx=n_ctx, n_outputs=n_outputs, info=weights.info(adapter))


# --- the build ----------------------------------------------------------------------------------------------------


def version() -> str:
    """Return llama.cpp's own version."""
    return str(lc.llama_version().decode())


def build_facts() -> BuildFacts:
    """Return what ``baco doctor`` shows of llama.cpp."""
    return BuildFacts(
        version=version(),
        bindings=lc.__version__,
        system=lc.llama_print_system_info().decode("utf-8", "replace").strip(),
        backends=backends(),
        supports_gpu_offload=bool(lc.llama_supports_gpu_offload()),
        devices=devices(),
        library=str(lc.llama_cpp._lib._name),
    )


def _device_call(name: str, arguments: list[Any], result: Any) -> Callable[..., Any] | None:
    """Bind a ggml function that llama-cpp-python leaves out; None where the library hides it."""
    call = getattr(lc.llama_cpp._lib, name, None)
    if call is not None:
        call = lc.llama_cpp._lib[name]  # an object of our own: the types below stay ours
        call.argtypes, call.restype = arguments, result
    return call


def backends() -> tuple[str, ...]:
    """Return the names of what ggml was built to compute with."""
    count = _device_call("ggml_backend_reg_count", [], ctypes.c_size_t)
    get = _device_call("ggml_backend_reg_get", [ctypes.c_size_t], ctypes.c_void_p)
    name = _device_call("ggml_backend_reg_name", [ctypes.c_void_p], ctypes.c_char_p)
    if not (count and get and name):
        return ()
    return tuple(name(get(i)).decode("utf-8", "replace") for i in range(count()))


def devices() -> tuple[Device, ...]:
    """Return what ggml can compute on, with its free memory now."""
    pointer, size = ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)
    count = _device_call("ggml_backend_dev_count", [], ctypes.c_size_t)
    get = _device_call("ggml_backend_dev_get", [ctypes.c_size_t], pointer)
    name = _device_call("ggml_backend_dev_name", [pointer], ctypes.c_char_p)
    description = _device_call("ggml_backend_dev_description", [pointer], ctypes.c_char_p)
    kind = _device_call("ggml_backend_dev_type", [pointer], ctypes.c_int)
    memory = _device_call("ggml_backend_dev_memory", [pointer, size, size], None)
    if not (count and get and name and description and kind and memory):
        return ()
    found = []
    for device in map(get, range(count())):
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        memory(device, ctypes.byref(free), ctypes.byref(total))
        found.append(
            Device(
                name=name(device).decode("utf-8", "replace"),
                description=description(device).decode("utf-8", "replace").strip(),
                is_gpu=kind(device) in (GPU, INTEGRATED_GPU),
                shares_memory=kind(device) != GPU or sys.platform == "darwin",
                free_bytes=free.value,
                total_bytes=total.value,
            )
        )
    return tuple(found)


FLOATS = (CacheType.F32, CacheType.F16, CacheType.BF16)
CACHE_TYPES: dict[CacheType, int] = {kind: getattr(lc, f"GGML_TYPE_{kind.name}", 30) for kind in CacheType}  # 30: BF16
FLASH_ATTENTION: dict[FlashAttention, int] = {
    FlashAttention.AUTO: lc.LLAMA_FLASH_ATTN_TYPE_AUTO,
    FlashAttention.ON: lc.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    FlashAttention.OFF: lc.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
