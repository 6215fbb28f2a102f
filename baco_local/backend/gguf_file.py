"""Looks into a GGUF file before llama.cpp sees it, describes it, and says in one line what is wrong with it.

Reads header, metadata and tensor table with ``struct`` alone; never a weight, and knows nothing of llama.cpp's state.
"""

from __future__ import annotations

import difflib
import hashlib
import mmap
import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TypeAlias

from baco_local.errors import ModelFileError, ModelNotFoundError

__all__ = [
    "MOST_LAYERS",
    "GgufHeader",
    "GgufSummary",
    "Tensor",
    "check_adapter",
    "check_model",
    "describe",
    "read_header",
]

Value: TypeAlias = int | float | bool | str | tuple[int | float | bool, ...]

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # 1 had other widths and is read by nobody any more
MOST_ENTRIES = 1 << 24  # of one array; the largest vocabularies have 2 ** 18 tokens and 2 ** 19 merges
MOST_TENSORS = 1 << 20
MOST_BYTES = 1 << 24  # of one string; the longest chat templates have 2 ** 15
MOST_LAYERS, MOST_EXPERTS = 512, 1024  # LLAMA_MAX_LAYERS, LLAMA_MAX_EXPERTS; beyond them llama.cpp aborts
TOKENS = "tokenizer.ggml.tokens"
KEPT_NUMBERS = 1 << 12  # arrays up to this length are kept: one number per layer, never one per token


@dataclass(frozen=True, slots=True)
class Tensor:
    """A line of the tensor table."""

    name: str
    shape: tuple[int, ...]  # GGUF's order: the innermost dimension first
    kind: int  # ggml_type
    offset: int  # from the start of the data

    @property
    def n_numbers(self) -> int:
        """Return how many numbers it holds."""
        return prod(self.shape)

    @property
    def n_bytes(self) -> int | None:
        """Return how many bytes it takes; None for a type that this version of baco does not know."""
        if self.kind not in TENSOR_TYPES:
            return None
        _, numbers, size = TENSOR_TYPES[self.kind]
        return self.n_numbers // numbers * size


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything in front of the weights."""

    path: Path
    version: int
    file_bytes: int
    data_start: int
    values: dict[str, Value]  # numbers, texts and short arrays of numbers
    counts: dict[str, int]  # lengths of all arrays
    repeated_token: str | None  # a token text that stands twice in the vocabulary
    tokens_digest: str  # of all token texts; empty when the file has none
    tensors: tuple[Tensor, ...]

    def text(self, key: str) -> str | None:
        """Return a metadata text; None when there is none."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str, default: int = 0) -> int:
        """Return a whole metadata number; the largest of an array."""
        return max(self.numbers(key), default=default)

    def numbers(self, key: str) -> tuple[int, ...]:
        """Return the whole metadata numbers under a key: several, one or none."""
        value = self.values.get(key)
        many = value if isinstance(value, tuple) else (value,)
        return tuple(int(one) for one in many if isinstance(one, int))

    @property
    def needed_bytes(self) -> int:
        """Return how long the file must be to hold every tensor of a known type."""
        return max((self.data_start + t.offset + (t.n_bytes or 0) for t in self.tensors), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufSummary:
    """What a file holds, in the terms in which people and the memory plan speak."""

    path: Path
    kind: str  # general.type: "model", "adapter", "mmproj" ...
    architecture: str
    name: str
    quantisation: str  # "Q4_K_M", "F16" ...
    size_bytes: int  # of all parts
    n_parameters: int
    n_layers: int
    n_ctx_train: int
    n_vocab: int
    tokenizer: str  # tokenizer.ggml.model: "gpt2", "llama" ...; empty when the file has none
    tokens_digest: str = ""  # equal ones: the same texts under the same ids; says nothing of how text is split
    chat_template: str | None
    cache_width_k: int  # numbers that the KV cache keeps per position, all layers together
    cache_width_v: int
    parts: tuple[Path, ...]  # more than one when the file is split


# --- reading ------------------------------------------------------------------------------------------------------


class Malformed(Exception):  # noqa: N818 - caught in this file
    """The bytes do not make a GGUF header."""


@dataclass(slots=True)
class Cursor:
    """A place in the bytes of a file; refuses to read past the end."""

    data: mmap.mmap
    at: int = 0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.data)

    def one(self, form: struct.Struct) -> int | float | bool:
        """Read one number."""
        try:
            (number,) = form.unpack_from(self.data, self.at)
        except struct.error as error:
            raise Malformed("its header is cut off") from error
        self.at += form.size
        return number  # type: ignore[no-any-return]

    def whole(self, form: struct.Struct, most: int, what: str) -> int:
        """Read a count that must lie in reason."""
        number = int(self.one(form))
        if number > most:
            raise Malformed(f"it claims {number} {what}")
        return number

    def text(self) -> str:
        """Read a string: its length, then its bytes."""
        n = self.whole(U64, MOST_BYTES, "bytes of text in one value")
        if self.at + n > self.size:
            raise Malformed("its header is cut off")
        self.at += n
        return self.data[self.at - n : self.at].decode("utf-8", "replace")

    def skip_texts(self, n: int) -> list[int]:
        """Pass over an array of strings; return where each one ends."""
        at, data, read, ends = self.at, self.data, U64.unpack_from, []
        try:
            for _ in range(n):
                at += 8 + read(data, at)[0]
                ends.append(at)
        except (struct.error, OverflowError) as error:
            raise Malformed("its header is cut off") from error
        if at > self.size:
            raise Malformed("its header is cut off")
        self.at = at
        return ends

    def array(self) -> tuple[int, Value]:
        """Read an array; return its length and, when it is a short one of numbers, the numbers."""
        kind, n = int(self.one(U32)), self.whole(U64, MOST_ENTRIES, "entries in one list")
        if kind == STRING:
            self.skip_texts(n)
            return n, ()
        if kind not in NUMBERS:
            raise Malformed(f"it holds a list of the unknown type {kind}")
        form = NUMBERS[kind]
        if self.at + n * form.size > self.size:
            raise Malformed("its header is cut off")
        kept = tuple(self.one(form) for _ in range(n)) if n <= KEPT_NUMBERS else ()
        self.at += 0 if kept else n * form.size
        return n, kept


def read_header(path: Path) -> GgufHeader:
    """Read everything in front of the weights.

    Raises:
        ModelNotFoundError: nothing is there.
        ModelFileError: it cannot be read as GGUF; the message says what it looks like.

    """
    _refuse_what_is_no_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(512)
            if not start:
                raise ModelFileError(f"{path} is empty; fetch it again")
            if start[:4] != MAGIC:
                raise ModelFileError(f"{path} is not a GGUF file: {_looks_like(start)}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(path, Cursor(data, at=len(MAGIC)))
    except Malformed as error:
        raise ModelFileError(f"{path} is damaged: {error}; fetch it again") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from error


def _parse(path: Path, cursor: Cursor) -> GgufHeader:
    version = int(cursor.one(U32))
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        if swapped in VERSIONS:
            raise ModelFileError(f"{path} was written for big-endian machines; convert it for this one")
        raise ModelFileError(f"{path} is GGUF version {version}; this llama.cpp reads {VERSIONS[0]} and {VERSIONS[-1]}")
    n_tensors = cursor.whole(U64, MOST_TENSORS, "tensors")
    n_values = cursor.whole(U64, MOST_TENSORS, "metadata entries")
    values: dict[str, Value] = {}
    counts: dict[str, int] = {}
    repeated, digest = None, ""
    for _ in range(n_values):
        key, kind = cursor.text(), int(cursor.one(U32))
        if kind == STRING:
            values[key] = cursor.text()
        elif kind == ARRAY:
            start = cursor.at + U32.size + U64.size
            counts[key], numbers = cursor.array()
            if key == TOKENS:
                repeated = _repeated(cursor, start, counts[key])
                digest = hashlib.blake2b(cursor.data[start : cursor.at], digest_size=16).hexdigest()
            if numbers:
                values[key] = numbers
        elif kind in NUMBERS:
            values[key] = cursor.one(NUMBERS[kind])
        else:
            raise Malformed(f"its entry {key[:80]!r} has the unknown type {kind}")
    tensors = tuple(_tensor(cursor) for _ in range(n_tensors))
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise Malformed(f"its alignment is {alignment}")
    data_start = -(-cursor.at // alignment) * alignment
    return GgufHeader(path, version, cursor.size, data_start, values, counts, repeated, digest, tensors)


def _repeated(cursor: Cursor, start: int, n: int) -> str | None:
    """Return a text that stands twice in the array of strings at ``start``; llama.cpp aborts over it."""
    after, cursor.at = cursor.at, start
    seen: set[bytes] = set()
    for end in cursor.skip_texts(n):
        text = cursor.data[start + U64.size : end]
        if text and text in seen:  # llama.cpp gives empty ones a name of their own
            cursor.at = after
            return text.decode("utf-8", "replace")
        seen.add(text)
        start = end
    return None


def _tensor(cursor: Cursor) -> Tensor:
    name = cursor.text()
    n_dimensions = cursor.whole(U32, 4, f"dimensions in tensor {name[:80]!r}")
    shape = tuple(int(cursor.one(U64)) for _ in range(n_dimensions))
    return Tensor(name, shape, int(cursor.one(U32)), int(cursor.one(U64)))


def _refuse_what_is_no_file(path: Path) -> None:
    try:
        if path.is_file():
            return
        if path.is_dir():
            inside = sorted(p.name for p in path.glob("*.gguf"))[:3]
            hint = f"; name one of its files: {', '.join(inside)}" if inside else ", and there is no GGUF file in it"
            raise ModelFileError(f"{path} is a folder{hint}")
        if path.exists():
            raise ModelFileError(f"{path} is no regular file")
        beside = [p.name for p in path.parent.glob("*.gguf")] if path.parent.is_dir() else []
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from error
    close = difflib.get_close_matches(path.name, beside, n=1)
    raise ModelNotFoundError(f"{path} does not exist" + (f"; did you mean {close[0]}?" if close else ""))


def _looks_like(start: bytes) -> str:
    for recognises, words in FOREIGN:
        if recognises(start):
            return words
    return "its first bytes are " + start[:8].hex(" ")


# --- describing ---------------------------------------------------------------------------------------------------


def describe(path: Path) -> GgufSummary:
    """Read a file and say what it holds; a file that is not GGUF raises as in ``read_header``."""
    return _summary(read_header(path))


def _summary(header: GgufHeader) -> GgufSummary:
    parts = _parts(header)
    tensors = list(header.tensors)
    for part in parts:
        if part != header.path and part.is_file():
            tensors.extend(read_header(part).tensors)
    architecture = header.text("general.architecture") or ""
    width_k, width_v = _cache_widths(header, architecture)
    return GgufSummary(
        path=header.path,
        kind=header.text("general.type") or "model",
        architecture=architecture,
        name=header.text("general.name") or header.path.stem,
        quantisation=_quantisation(header, tensors),
        size_bytes=sum(part.stat().st_size for part in parts if part.is_file()),
        n_parameters=sum(tensor.n_numbers for tensor in tensors),
        n_layers=header.number(f"{architecture}.block_count"),
        n_ctx_train=header.number(f"{architecture}.context_length"),
        n_vocab=header.counts.get(TOKENS, 0),
        tokenizer=header.text("tokenizer.ggml.model") or "",
        tokens_digest=header.tokens_digest,
        chat_template=header.text("tokenizer.chat_template"),
        cache_width_k=width_k,
        cache_width_v=width_v,
        parts=parts,
    )


def _cache_widths(header: GgufHeader, architecture: str) -> tuple[int, int]:
    """Return how many numbers keys and values take per position, an upper bound where layers share or skip a cache."""

    def number(key: str, default: int = 0) -> int:
        return header.number(f"{architecture}.{key}", default)

    heads = number("attention.head_count")
    default_width = number("embedding_length") // heads if heads else 0
    per_layer = header.numbers(f"{architecture}.attention.head_count_kv")
    n_layers = number("block_count")
    kv_heads = sum(per_layer) if len(per_layer) > 1 else n_layers * (per_layer[0] if per_layer else heads)
    width_k = number("attention.key_length", default_width)
    width_v = number("attention.value_length", default_width)
    return kv_heads * width_k, kv_heads * width_v


def _quantisation(header: GgufHeader, tensors: list[Tensor]) -> str:
    """Return the file type, or where the file does not say the type that most numbers have."""
    numbers: Counter[int] = Counter()
    for tensor in tensors:
        numbers[tensor.kind] += tensor.n_numbers
    commonest = TENSOR_TYPES.get(numbers.most_common(1)[0][0], ("unknown", 1, 1))[0] if tensors else "no weights"
    return FILE_TYPES.get(header.number("general.file_type", -1), commonest)


def _parts(header: GgufHeader) -> tuple[Path, ...]:
    """Return the files that a split model consists of, the file itself when it is whole."""
    count = header.number("split.count")
    match = PART_NAME.fullmatch(header.path.name)
    if count < 2 or match is None or count > 99_999:
        return (header.path,)
    return tuple(header.path.with_name(f"{match['stem']}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1))


# --- checking -----------------------------------------------------------------------------------------------------


def check_model(path: Path, *, or_encoder: bool = False) -> GgufSummary:
    """Describe a file that can be loaded as a model which continues text, or refuse it and say why.

    With ``or_encoder`` a model that reads texts and writes none, such as an embedding model, will do as well.
    """
    header = read_header(path)
    summary = _summary(header)
    _check_parts(header, summary)
    if reason := _not_a_model(header, summary, or_encoder=or_encoder):
        raise ModelFileError(f"{path} {reason}")
    return summary


def _not_a_model(header: GgufHeader, summary: GgufSummary, *, or_encoder: bool) -> str | None:
    """Return why a readable file cannot continue text; None = it can, as far as its header tells."""
    architecture = summary.architecture
    if summary.kind == "adapter" or any(tensor.name.endswith(".lora_a") for tensor in header.tensors):
        return "is an adapter, not a model; give it with --aligned-lora beside the base model that it was made for"
    if summary.kind == "mmproj" or architecture == "clip":
        return "is the picture or sound half of a multimodal model (mmproj); give the file of the language model"
    if summary.kind != "model":
        return f"is of type {summary.kind!r}, not a model"
    if not architecture:
        return "does not name its architecture; it was not converted for llama.cpp"
    if architecture == "controlvector":
        return "is a control vector, not a model"
    if not header.tensors:
        return "holds a vocabulary and no weights; fetch the whole model"
    if architecture in NOT_CAUSAL and not (or_encoder and NOT_CAUSAL[architecture] == ENCODER):
        return f"is {NOT_CAUSAL[architecture]} ({architecture}) and cannot continue text; give a causal language model"
    pooling = header.number(f"{architecture}.pooling_type")
    reads_only = pooling or header.values.get(f"{architecture}.attention.causal") is False
    if reads_only and not or_encoder:
        return f"is an embedding model ({architecture}) and cannot continue text; give a causal language model"
    if not summary.n_vocab or summary.tokenizer in ("", "no_vocab", "none"):
        return "has no tokenizer; convert the model again with its tokenizer files"
    if header.repeated_token is not None:
        return f"names the token {header.repeated_token!r} twice; convert the model again"
    return _beyond_llama_cpp(header, architecture)


def _beyond_llama_cpp(header: GgufHeader, architecture: str) -> str | None:
    """Return which number llama.cpp would end the process over; None = it would not."""
    n_layers, n_experts = header.number(f"{architecture}.block_count"), header.number(f"{architecture}.expert_count")
    n_used = header.number(f"{architecture}.expert_used_count")
    if not 0 < n_layers <= MOST_LAYERS:
        return f"says that it has {n_layers} layers; llama.cpp computes 1 to {MOST_LAYERS}; the file is damaged"
    if n_experts > MOST_EXPERTS or n_used > n_experts or (n_experts and not n_used):
        return f"says that it uses {n_used} of {n_experts} experts; the file is damaged or needs a newer llama.cpp"
    for name in ("layer_norm_epsilon", "layer_norm_rms_epsilon"):
        epsilon = header.values.get(f"{architecture}.attention.{name}", 0.0)
        if not isinstance(epsilon, int | float) or not 0 <= epsilon < 1:
            return f"says that its {name} is {epsilon}; the file is damaged"
    return None


def check_adapter(path: Path, model: GgufSummary) -> GgufSummary:
    """Describe a file that can be loaded as an adapter of a model, or refuse it and say why."""
    header = read_header(path)
    summary = _summary(header)
    _check_parts(header, summary)
    if summary.kind != "adapter":
        raise ModelFileError(f"{path} is a {summary.kind}, not an adapter; give a LoRA converted to GGUF")
    kind = header.text("adapter.type")
    if kind != "lora":
        raise ModelFileError(f"{path} is an adapter of type {kind or 'unknown'}; only LoRA adapters can be applied")
    if summary.architecture != model.architecture:
        raise ModelFileError(
            f"{path} is an adapter for {summary.architecture or 'no'} models, and {model.path.name} is a "
            f"{model.architecture} model; give the model that it was made for"
        )
    if not header.tensors:
        raise ModelFileError(f"{path} is an adapter without weights; fetch it again")
    return summary


def _check_parts(header: GgufHeader, summary: GgufSummary) -> None:
    """Refuse a file that is cut off and a split model that is not complete."""
    count = header.number("split.count")
    if count > 1 and len(summary.parts) != count:
        raise ModelFileError(
            f"{header.path} is part {header.number('split.no') + 1} of {count}, and was renamed; "
            f"llama.cpp finds the parts by names like model-00001-of-{count:05d}.gguf"
        )
    if header.number("split.no"):
        raise ModelFileError(f"{header.path} is a later part of a split model; give its first, {summary.parts[0].name}")
    missing = [part.name for part in summary.parts if not part.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelFileError(f"{header.path} is one of {count} parts; {missing[0]}{more} should lie beside it")
    for part in summary.parts:
        whole = header if part == header.path else read_header(part)
        if whole.needed_bytes > whole.file_bytes:
            raise ModelFileError(
                f"{part} is cut off: it needs {whole.needed_bytes:,} bytes and has {whole.file_bytes:,}; fetch it again"
            )


# --- tables -------------------------------------------------------------------------------------------------------

U32, U64 = struct.Struct("<I"), struct.Struct("<Q")
STRING, ARRAY = 8, 9  # gguf_type
NUMBERS = {  # gguf_type -> form
    kind: struct.Struct("<" + form)
    for kind, form in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"
    }.items()
}  # fmt: skip
PART_NAME = re.compile(r"(?P<stem>.+)-\d{5}-of-\d{5}\.gguf")

TENSOR_TYPES = {  # ggml_type -> (name, numbers of a block, bytes of a block)
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36),
}  # fmt: skip

FILE_TYPES = {  # llama_ftype
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4",
}  # fmt: skip

ENCODER, BOTH, DIFFUSION = "an embedding model", "an encoder-decoder model", "a diffusion model"
DRAFTER = "the draft head of another model"
NOT_CAUSAL = {
    "bert": ENCODER, "modern-bert": ENCODER, "nomic-bert": ENCODER, "nomic-bert-moe": ENCODER, "neo-bert": ENCODER,
    "jina-bert-v2": ENCODER, "jina-bert-v3": ENCODER, "eurobert": ENCODER, "gemma-embedding": ENCODER,
    "llama-embed": ENCODER, "t5encoder": ENCODER, "t5": BOTH, "wavtokenizer-dec": "half of a speech model",
    "eagle3": DRAFTER, "dflash": DRAFTER, "gemma4-assistant": DRAFTER,
    "dream": DIFFUSION, "llada": DIFFUSION, "llada-moe": DIFFUSION, "rnd1": DIFFUSION,
}  # fmt: skip


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(starts)


def _is_page(data: bytes) -> bool:
    return data.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))


FOREIGN: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (_starts(b"version https://git-lfs"), "it is a Git LFS pointer; fetch the file behind it with `git lfs pull`"),
    (_is_page, "it is a web page, as a failed download leaves behind; fetch the file again"),
    (lambda data: data[8:10] == b'{"', "it is a safetensors file; convert it with llama.cpp's convert_hf_to_gguf.py"),
    (
        _starts(b"PK\x03\x04", b"\x80\x02"),
        "it is a zip or PyTorch file; convert it with llama.cpp's convert_hf_to_gguf.py",
    ),
    (_starts(b"tjgg", b"fmgg", b"lmgg", b"algg"), "it has llama.cpp's format from before GGUF; fetch a newer file"),
    (
        _starts(b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ"),
        "it is compressed; unpack it first",
    ),
    (lambda data: data.lstrip()[:1] in (b"{", b"["), "it is a JSON text; give the .gguf file of the model"),
    (lambda data: not data.strip(b"\0"), "it begins with zeros, as an unfinished download does; fetch it again"),
)
